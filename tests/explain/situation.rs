//! One situation: a cluster, what is wrong with it, a question, and the answer that is true.

use std::process::Output;

use portolan::model::{Frontend, Protocol};
use serde_json::Value;

use crate::{
    caller::{CLIENT, Caller},
    manifests::Manifests,
    names,
    packets::{self, Expected, Predicted},
    stage::Stage,
};

/// The packet that the question is about; written down here, and not read from the answer.
#[derive(Clone, Debug)]
pub enum Dial {
    /// What the client dials, as `10.96.0.1:80/TCP`
    At(&'static str),
    /// A name that the client's resolver is asked for; what it finds is dialled, on this port
    Name(&'static str, u16),
    /// There is no packet, because of this
    Nothing(&'static str),
}

/// How the data plane gets onto the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Programming {
    /// By `portolan apply`: nobody watches over it afterwards
    Once,
    /// node-1 by `portolan run`, which goes on
    Agent,
    /// Nothing is programmed
    None,
}

/// Something done to the nodes after they were programmed.
pub type Damage = Box<dyn Fn(&mut Stage) + Send + Sync>;

/// One situation.
pub struct Situation {
    pub name: &'static str,
    manifests: Manifests,
    flags: Vec<&'static str>,
    programming: Programming,
    damage: Vec<Damage>,
    caller: Caller,
    /// The question without `--from`, to see whom it is taken for
    unsaid: bool,
    target: &'static str,
    live: bool,
    dial: Dial,
    cause: Option<&'static str>,
    words: Vec<&'static str>,
    exit: i32,
    /// Who is asked again may be sent to one of several for good
    sticky: bool,
    /// Some connections are lost
    partly: bool,
    /// The node that decides, if it is not the caller's
    decided_by: Option<u8>,
    /// A DNS server runs, and resolvers know it
    dns: Dns,
}

/// What there is of DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dns {
    /// Nothing: no name is asked for
    None,
    /// A server, and an upstream
    Runs,
    /// A server, whose upstream is away
    WithoutUpstream,
    /// Resolvers ask a server that is away
    Dead,
}

/// What came of a situation, for the table.
pub struct Told {
    pub sentence: String,
    pub packet: String,
}

impl Situation {
    /// Pod client-1 asks for shop/web on port 80, offline, and is told that all is well.
    pub fn new(name: &'static str, manifests: Manifests) -> Self {
        Self {
            name,
            manifests,
            flags: Vec::new(),
            programming: Programming::Once,
            damage: Vec::new(),
            caller: CLIENT,
            unsaid: false,
            target: "shop/web:80",
            live: false,
            dial: Dial::At("10.96.0.1:80/TCP"),
            cause: None,
            words: Vec::new(),
            exit: 0,
            sticky: false,
            partly: false,
            decided_by: None,
            dns: Dns::None,
        }
    }

    /// Somebody else asks.
    pub fn from(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }

    /// The command is not told who asks.
    pub fn unsaid(self) -> Self {
        Self { unsaid: true, ..self }
    }

    /// Asks for something else, which means this packet.
    pub fn asks(self, target: &'static str, dial: &'static str) -> Self {
        Self { target, dial: Dial::At(dial), ..self }
    }

    /// Asks for something that no packet can be sent to.
    pub fn asks_in_vain(self, target: &'static str, why: &'static str) -> Self {
        Self { target, dial: Dial::Nothing(why), ..self }
    }

    /// Asks for a name, and so does the client's resolver.
    pub fn asks_by_name(self, target: &'static str, name: &'static str, port: u16) -> Self {
        Self { target, dial: Dial::Name(name, port), ..self }
    }

    /// More flags, for programming and question alike.
    pub fn flags(self, flags: &[&'static str]) -> Self {
        Self { flags: flags.to_vec(), ..self }
    }

    /// How the nodes are programmed.
    pub fn programmed(self, programming: Programming) -> Self {
        Self { programming, ..self }
    }

    /// The question is put to the live node.
    pub fn live(self) -> Self {
        Self { live: true, ..self }
    }

    /// Something happens to the nodes; the question is put to the live node.
    pub fn after(mut self, damage: impl Fn(&mut Stage) + Send + Sync + 'static) -> Self {
        self.damage.push(Box::new(damage));
        self.live()
    }

    /// nft is told this on node-1.
    pub fn after_nft(self, text: &'static str) -> Self {
        self.after(move |stage| stage.nft(1, text))
    }

    /// The Service has session affinity.
    pub fn sticky(self) -> Self {
        Self { sticky: true, ..self }
    }

    /// Endpoints of which nothing is predicted get connections too, which are lost.
    pub fn partly(self) -> Self {
        Self { partly: true, ..self }
    }

    /// Another node's frontend is asked for.
    pub fn decided_by(self, node: u8) -> Self {
        Self { decided_by: Some(node), ..self }
    }

    /// Names are asked for.
    pub fn dns(self, dns: Dns) -> Self {
        Self { dns, ..self }
    }

    /// It does not work, because of this; the sentence has these words.
    pub fn fails(self, cause: &'static str, words: &[&'static str]) -> Self {
        Self { cause: Some(cause), words: words.to_vec(), exit: 1, ..self }
    }

    /// It works, but there is this to know.
    pub fn works_but(self, cause: &'static str, words: &[&'static str]) -> Self {
        Self { cause: Some(cause), words: words.to_vec(), exit: 0, ..self }
    }

    /// Whether something is to be claimed.
    pub fn is_broken(&self) -> bool {
        self.cause.is_some()
    }

    /// Whether no packet is sent, and why.
    pub fn without_packet(&self) -> Option<&'static str> {
        if let Dial::Nothing(why) = self.dial { Some(why) } else { None }
    }

    /// Plays it. Leaves nothing behind for the next one.
    pub fn play(&self, stage: &mut Stage) -> Result<Told, String> {
        let manifests = self.manifests.clone();
        stage.write(&if self.dns == Dns::None { manifests } else { names::with_service(manifests) });
        match self.programming {
            Programming::Once => stage.apply(&self.flags),
            Programming::Agent => drop(stage.run_agent(1, &self.flags)),
            Programming::None => {}
        }
        let _upstream = names::start(stage, self.dns);
        for damage in &self.damage {
            damage(stage);
        }
        let told = self.judge(stage);
        stage.reset();
        told
    }

    /// Asks, and sends packets.
    fn judge(&self, stage: &Stage) -> Result<Told, String> {
        let answer = self.ask(stage, self.live).map_err(|wrong| format!("{wrong}\n  packet: {}", self.once(stage)))?;
        let mut complaints = self.complaints(&answer);
        if !self.live && self.exit != 2 {
            // What is seen of a node that nothing is wrong with leads to the same answer.
            let live = self.ask(stage, true)?;
            if live["prediction"] != answer["prediction"] || (self.exit == 1 && live["cause"] != answer["cause"]) {
                complaints.push(format!("--live says otherwise: {} {}", live["sentence"], live["prediction"]));
            }
        }
        let sentence = answer["sentence"].as_str().unwrap_or_default().to_owned();
        let packet = self.drive(stage, &answer).unwrap_or_else(|complaint| {
            complaints.push(complaint);
            String::new()
        });
        if complaints.is_empty() {
            return Ok(Told { sentence, packet });
        }
        let steps: Vec<String> = answer["steps"].as_array().into_iter().flatten().map(step).collect();
        Err(format!(
            "{}: {}\n  {}\n    {}\n    => {} [{}] {}",
            self.name,
            self.question(self.live).join(" "),
            complaints.join("\n  "),
            steps.join("\n    "),
            sentence,
            answer["cause"],
            answer["prediction"],
        ))
    }

    fn question(&self, live: bool) -> Vec<String> {
        let mut words = vec!["explain".to_owned(), self.target.to_owned(), "-o".to_owned(), "json".to_owned()];
        if !self.unsaid {
            words.extend(["--from".to_owned(), self.caller.said()]);
        }
        words.extend(live.then(|| "--live".to_owned()));
        if self.dns != Dns::None {
            words.extend(["--corefile".to_owned(), names::COREFILE_PATH.to_owned()]);
        }
        words
    }

    /// Runs the command. The exit code must be as expected.
    fn ask(&self, stage: &Stage, live: bool) -> Result<Value, String> {
        let question = self.question(live);
        let corefile = stage.path(names::COREFILE_PATH).display().to_string();
        let here = |word: &String| if word == names::COREFILE_PATH { corefile.clone() } else { word.clone() };
        let words: Vec<String> = question.iter().map(here).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output: Output = stage.portolan(self.caller.node(), &words, &self.flags);
        let (said, erred) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if self.exit == 2 {
            let rightly = output.status.code() == Some(2) && self.words.iter().all(|word| erred.contains(word));
            let answer = serde_json::json!({ "sentence": erred.trim() });
            return if rightly { Ok(answer) } else { Err(format!("{}: not refused: {said}{erred}", self.name)) };
        }
        let about = || format!("{}: {}: {:?}\n{said}{erred}", self.name, question.join(" "), output.status.code());
        let answer: Value = serde_json::from_str(&said).map_err(|_| about())?;
        if output.status.code() == Some(self.exit) { Ok(answer) } else { Err(about()) }
    }

    fn complaints(&self, answer: &Value) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.exit == 2 {
            return complaints;
        }
        if answer["cause"].as_str() != self.cause {
            complaints.push(format!("wanted the cause {:?}", self.cause));
        }
        let verdict = match (self.cause, self.exit) {
            (None, _) => "works",
            (Some(_), 0) => "works-but",
            _ => "fails",
        };
        if answer["verdict"] != verdict {
            complaints.push(format!("wanted the verdict {verdict}, got {}", answer["verdict"]));
        }
        let sentence = answer["sentence"].as_str().unwrap_or_default();
        complaints.extend(self.words.iter().filter(|w| !sentence.contains(**w)).map(|w| format!("no word of {w:?}")));
        complaints
    }

    /// Sends the packets and compares them with the prediction.
    fn drive(&self, stage: &Stage, answer: &Value) -> Result<String, String> {
        if self.exit == 2 {
            return Ok("no question".to_owned());
        }
        let predicted = Predicted::parse(&answer["prediction"]);
        let frontend = match &self.dial {
            Dial::At(text) => packets::frontend(text),
            Dial::Name(name, port) => {
                let found = self.caller.resolve(stage, name);
                if predicted.frontend.is_none() && predicted.outcome == "answered" {
                    return packets::directly(stage, self.caller, &found, *port, &predicted);
                }
                let found = found.into_iter().find(|a| predicted.frontend.is_none_or(|f| f.address == *a));
                match found {
                    Some(address) if predicted.outcome != "no-address" => {
                        Frontend { address, protocol: Protocol::Tcp, port: *port }
                    }
                    None if predicted.outcome == "no-address" => return Ok(format!("no address for {name}")),
                    found => return Err(format!("{name} is {found:?}")),
                }
            }
            Dial::Nothing(_) if predicted.outcome == "no-address" => return Ok("none: there is no address".to_owned()),
            Dial::Nothing(_) => return Err("a packet is predicted where there can be none".to_owned()),
        };
        if predicted.frontend.is_some_and(|claimed| claimed != frontend) {
            return Err(format!("the client dials {frontend}"));
        }
        let expected = Expected {
            caller: self.caller,
            decided_by: self.decided_by.unwrap_or(self.caller.node()),
            sticky: self.sticky,
            partly: self.partly,
            cause: self.cause,
        };
        packets::compare(stage, frontend, &predicted, &expected)
    }

    /// One packet, where the command said nothing of use.
    fn once(&self, stage: &Stage) -> String {
        match &self.dial {
            Dial::At(text) => packets::once(stage, self.caller, packets::frontend(text)).to_string(),
            Dial::Name(name, _) => format!("{name} is {:?}", self.caller.resolve(stage, name)),
            Dial::Nothing(why) => (*why).to_owned(),
        }
    }
}

fn step(step: &Value) -> String {
    let text = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
    format!("{} {}: {}", text("stage"), text("mark"), text("text"))
}
