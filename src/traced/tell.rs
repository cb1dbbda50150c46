mod program;

use std::fmt;

use serde::Serialize;

use super::{
    By, Event, Headers, Names, Passage, TABLE_PREFIX, Tracking, Verdict,
    gather::{FORWARD, INPUT, MOST_EVENTS, POSTROUTING},
    is_programs,
};
use crate::{
    listing,
    model::{Frontend, Target},
    tables::DNS_TABLE,
};

/// What became of a packet, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Packets are counted from 1
    pub number: usize,
    /// Who sent it
    pub client: String,
    /// Where it was sent to
    pub dialled: String,
    /// The Service that this belongs to, as `namespace/name`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The interface that it came by; none for a process of this node
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incoming: Option<String>,
    /// The way, in order
    pub steps: Vec<Step>,
    /// What became of it
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// One step of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Table and chain, `ip portolan internal`
    pub at: String,
    /// The rule's text, if it is a rule that decided
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What was decided, one line, without a full stop
    pub text: String,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// It left the node, or a process of the node got it
    Delivered {
        /// Where to
        to: String,
        /// Whom the receiver sees as the sender, if that is not the client
        #[serde(rename = "seenAs", skip_serializing_if = "Option::is_none")]
        seen_as: Option<String>,
        /// The interface that it left by; none if it is for a process of this node
        #[serde(skip_serializing_if = "Option::is_none")]
        outgoing: Option<String>,
    },
    /// An error went back
    Refused {
        /// Why, or by which rule
        reason: String,
    },
    /// Thrown away silently
    Dropped {
        /// Why, or by which rule
        reason: String,
    },
    /// A program, or something in the kernel, has it
    HandedOver {
        /// To whom, by which rule
        reason: String,
    },
    /// It did not come to the next chain, and no rule says why
    Lost {
        /// After what, and what that can be
        reason: String,
    },
    /// Nobody can say
    Unknown {
        /// Why
        reason: String,
    },
}

impl fmt::Display for Outcome {
    /// `dropped by inet firewall forward: tcp dport 8080 drop`, `refused: no endpoint for ...`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, reason) = match self {
            Outcome::Delivered { to, .. } => return write!(f, "went to {to}"),
            Outcome::Refused { reason } => ("refused", reason),
            Outcome::Dropped { reason } => ("dropped", reason),
            Outcome::HandedOver { reason } => ("handed over", reason),
            Outcome::Lost { reason } => ("lost", reason),
            Outcome::Unknown { reason } => ("not known", reason),
        };
        // The rule of somebody else is who did it, everything else why.
        let colon = if reason.starts_with("by ") { "" } else { ":" };
        write!(f, "{word}{colon} {reason}")
    }
}

/// Says what became of a packet.
pub fn tell(passage: &Passage, names: &Names) -> Told {
    let mut teller = Teller::new(passage, names);
    for (index, event) in passage.events.iter().enumerate() {
        if passage.cut && index == MOST_EVENTS {
            teller.say_of_headers(event, format!("meets more than {MOST_EVENTS} rules: not all are told from here on"));
        }
        teller.hear(event);
    }
    let frontend = frontend(passage.headers);
    let outcome = teller.outcome.take().unwrap_or_else(|| teller.without_end());
    Told {
        number: passage.number,
        client: names.target(passage.headers.source),
        dialled: frontend.to_string(),
        service: names.owners.get(&frontend).map(|owner| owner.service().to_owned()),
        incoming: passage.incoming.clone(),
        steps: teller.steps,
        outcome,
    }
}

fn frontend(headers: Headers) -> Frontend {
    let Target { address, port } = headers.destination;
    Frontend { address, protocol: headers.protocol, port }
}

/// How nft and iptables write, in any case of letters, that a rule chooses another destination.
const TRANSLATING: [&str; 2] = ["dnat", "redirect"];
/// And that it sends an error back.
const REFUSING: [&str; 1] = ["reject"];

/// What was heard so far of one packet.
struct Teller<'a> {
    names: &'a Names,
    passage: &'a Passage,
    steps: Vec<Step>,
    outcome: Option<Outcome>,
    /// The packet as it is now
    now: Headers,
    /// Who translated it, if the next headers are others
    translator: Option<Translator>,
    /// A rule has it masqueraded
    masqueraded: Option<&'static str>,
    /// It was asked for a frontend: first packets only
    asked: bool,
    /// Our program saw it at all
    programmed: bool,
    /// A rule of ours took it for a frontend's, or sent it to an endpoint
    taken: bool,
    tracking: Option<Tracking>,
    /// Why `refuse` refuses it
    refusal: Option<String>,
    /// The last hook whose end it reached
    reached: Option<&'static str>,
}

/// Who chose another destination.
enum Translator {
    /// A pick chain
    Pick,
    /// Session affinity
    Affinity,
    /// A rule of others
    Foreign(String),
}

impl<'a> Teller<'a> {
    fn new(passage: &'a Passage, names: &'a Names) -> Self {
        Self {
            names,
            passage,
            steps: Vec::new(),
            outcome: None,
            now: passage.headers,
            translator: None,
            masqueraded: None,
            asked: false,
            programmed: false,
            taken: false,
            tracking: None,
            refusal: None,
            reached: None,
        }
    }

    fn hear(&mut self, event: &Event) {
        self.tracking = event.tracking.or(self.tracking);
        let ours = is_programs(&event.table);
        let nat = ours && ["prerouting", "output"].contains(&event.chain.as_str());
        self.asked |= nat;
        self.programmed |= ours;
        if let Some(headers) = event.headers {
            self.move_to(headers, event);
        }
        if event.table.starts_with(TABLE_PREFIX) {
            // Others are of the same place.
            if event.headers.is_some() {
                self.watch(event);
            }
        } else if ours {
            self.program(event);
        } else {
            self.foreign(event);
        }
    }

    /// The text of the rule that decided, if one did, and if it is known.
    fn rule(&self, event: &Event) -> Option<&'a str> {
        match event.by {
            By::Rule(handle) => self.names.rule(event, handle),
            By::End | By::Return | By::Policy => None,
        }
    }

    fn say(&mut self, event: &Event, text: String) {
        let rule = self.rule(event).map(str::to_owned);
        self.steps.push(Step { at: place(event), rule, text });
    }

    /// The packet stands otherwise at this base chain than at the one before.
    fn move_to(&mut self, headers: Headers, event: &Event) {
        let (was, to) = (std::mem::replace(&mut self.now, headers), self.names.target(headers.destination));
        if was.destination != headers.destination {
            let text = match self.translator.take() {
                Some(Translator::Pick) => format!("to endpoint {to}"),
                Some(Translator::Affinity) => format!("to endpoint {to}, as before"),
                Some(Translator::Foreign(rule)) => format!("sent to {to} by {rule}"),
                // What was lost may say something else.
                None if self.passage.missed => format!("now goes to {to}"),
                None if !self.asked && self.programmed => format!("belongs to a tracked connection; goes to {to}"),
                None => format!("now goes to {to}"),
            };
            self.say_of_headers(event, text);
        } else if !self.asked
            && !self.taken
            && !self.passage.missed
            && is_later(event)
            && self.tracking != Some(Tracking::Untracked)
        {
            let text = match (self.programmed, self.tracking) {
                (true, Some(Tracking::Invalid)) => {
                    format!("belongs to no connection (ct state invalid); goes to {to}, untranslated")
                }
                (true, None) => {
                    format!("belongs to a tracked connection, or is invalid; goes to {to}, untranslated")
                }
                (true, Some(_)) => format!("belongs to a tracked connection; goes to {to}, untranslated"),
                (false, _) => format!("no table of Portolan saw it: nothing is programmed here; goes to {to}"),
            };
            self.say_of_headers(event, text);
        }
        // Said once.
        self.taken |= !self.asked && is_later(event);
        if was.source.address != headers.source.address {
            let source = headers.source.address;
            let text = match self.masqueraded.take() {
                Some(why) => format!("source hidden: {why}, the receiver sees {source}"),
                None if self.passage.missed => format!("source hidden: the receiver sees {source}"),
                None if !self.asked => {
                    format!("source hidden, as in the connection's first packet: the receiver sees {source}")
                }
                None => format!("source hidden by rules of others: the receiver sees {source}"),
            };
            self.say_of_headers(event, text);
        }
    }

    /// What headers show was decided before, by something that is not told.
    fn say_of_headers(&mut self, event: &Event, text: String) {
        self.steps.push(Step { at: place(event), rule: None, text });
    }

    /// The end of a hook.
    fn watch(&mut self, event: &Event) {
        let to = self.names.target(self.now.destination);
        let original = self.passage.headers.source.address;
        let seen_as = (self.now.source.address != original).then(|| self.now.source.address.to_string());
        match event.chain.as_str() {
            FORWARD => self.reached = Some(FORWARD),
            INPUT => {
                self.reached = Some(INPUT);
                self.say(event, format!("handed to this node's process at {to}"));
                self.outcome = Some(Outcome::Delivered { to, seen_as, outgoing: None });
            }
            POSTROUTING => {
                self.reached = Some(POSTROUTING);
                let outgoing = event.outgoing.clone();
                if outgoing.as_deref() != Some("lo") {
                    self.say(
                        event,
                        format!("leaves by {}", outgoing.as_deref().unwrap_or("an interface without a name")),
                    );
                }
                self.outcome = Some(Outcome::Delivered { to, seen_as, outgoing });
            }
            _ => {}
        }
    }

    /// A table of others. What it lets pass needs no word.
    fn foreign(&mut self, event: &Event) {
        let name = self.named(event);
        match &event.verdict {
            Verdict::Drop if self.rule(event).is_some_and(|rule| says(rule, &REFUSING)) => {
                self.ended(event, Outcome::Refused { reason: by(&name) })
            }
            Verdict::Drop => self.ended(event, Outcome::Dropped { reason: by(&name) }),
            Verdict::Queue | Verdict::Stolen => {
                self.ended(event, Outcome::HandedOver { reason: format!("to a program or module, by {name}") });
            }
            // Every rule that accepts ends its base chain; of these only some translate.
            Verdict::Accept if self.rule(event).is_some_and(|rule| says(rule, &TRANSLATING)) => {
                self.translator = Some(Translator::Foreign(name));
            }
            _ if event.table == DNS_TABLE && event.chain == "deliver" && matches!(event.by, By::Rule(_)) => {
                let text = "a query for cluster DNS: kept for the portolan dns of this node";
                if self.steps.last().is_none_or(|step| step.text != text) {
                    self.say(event, text.to_owned());
                }
            }
            _ => {}
        }
    }

    /// `inet firewall forward: tcp dport 8080 drop`
    fn named(&self, event: &Event) -> String {
        let what = match event.by {
            By::Rule(handle) => {
                self.rule(event).map_or_else(|| format!("the rule with handle {handle}"), str::to_owned)
            }
            By::End | By::Return => "no rule".to_owned(),
            By::Policy => "policy drop".to_owned(),
        };
        format!("{}: {what}", place(event))
    }

    fn ended(&mut self, event: &Event, outcome: Outcome) {
        self.say(event, outcome.to_string());
        self.outcome = Some(outcome);
    }

    /// No event says that it ended.
    fn without_end(&self) -> Outcome {
        if self.passage.missed {
            let reason = "events were lost: the kernel had more to tell than could be read";
            return Outcome::Unknown { reason: reason.to_owned() };
        }
        let to = self.names.target(self.now.destination);
        let reason = match (self.reached, &self.passage.incoming) {
            (Some(hook), _) => format!("between the hooks {hook} and postrouting, on its way to {to}"),
            (None, Some(_)) => format!(
                "after the hook prerouting: neither input nor forward got the packet to {to}. The node does not forward \
                 (net.ipv4.ip_forward, net.ipv6.conf.all.forwarding), has no route, or does not believe the source (rp_filter); \
                 or something that is not nftables dropped it"
            ),
            (None, None) => format!(
                "after the hook output, on its way to {to}: the node has no route, or something that is not nftables \
                 dropped it"
            ),
        };
        Outcome::Lost { reason }
    }
}

fn by(name: &str) -> String {
    format!("by {name}")
}

/// Whether a rule has one of these statements, of nft (`reject`) or of iptables (`xt target "REJECT"`). Names, comments and
/// prefixes of logs that hold such a word do not count.
fn says(rule: &str, statements: &[&str]) -> bool {
    let mut before = "";
    listing::split(rule).any(|word| {
        let is_target = std::mem::replace(&mut before, word) == "target";
        let word = if is_target { word.trim_matches('"') } else { word };
        statements.iter().any(|statement| word.eq_ignore_ascii_case(statement))
    })
}

/// Past the hooks that translate destinations.
fn is_later(event: &Event) -> bool {
    let ours = is_programs(&event.table) || event.table.starts_with(TABLE_PREFIX);
    let early = ["prerouting", "output"].contains(&event.chain.as_str());
    ours && !early
}

/// `ip portolan internal`
fn place(event: &Event) -> String {
    let table = match event.table.starts_with(TABLE_PREFIX) {
        true => "hook",
        false => event.table.as_str(),
    };
    match table {
        "hook" => format!("hook {}", event.chain),
        table => format!("{} {table} {}", event.family, event.chain),
    }
}
