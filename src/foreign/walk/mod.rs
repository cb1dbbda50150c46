//! The way of a packet through the chains.
//!
//! Where it is not known whether a rule matches, the walk goes on both ways. What is certain is meant so: whatever the
//! unknown things are, this happens to the packet unless something that was found before happens first.

mod effects;
mod order;

use std::{collections::BTreeMap, fmt};

use effects::value_of;
use order::{SOURCE_NAT, chains};

use super::{
    Fate, Finding, Hook, Packet,
    facts::{Moment, ORDER, View, matches},
    ruleset::{Base, Chain, Rule, Ruleset, Table},
    statement::{Statement, Verdict},
    value::{Bits, Doubts, Truth, add, both},
};
use crate::model::Target;

/// nft allows 16 levels of jumps.
const DEEPEST: usize = 32;
/// How a packet may come out of a chain, and what that depends on.
#[derive(Default)]
struct Exits {
    /// By its end or a `return`
    falls: Option<Doubts>,
    /// By an `accept`
    accepts: Option<Doubts>,
}

/// What a rule makes of a packet that may be there.
enum Step {
    /// It goes on with the next rule
    Next,
    /// It comes here no more
    Gone,
}

pub(super) struct Walk<'a> {
    rules: &'a Ruleset,
    /// What was found, with its place in the order
    findings: BTreeMap<Finding, usize>,
    /// A process of this node sent the packet
    local: bool,
    /// What rules of others made of the mark, and the bits that they changed
    mark: (Bits, u128),
    connection_mark: Bits,
    exempt: Option<bool>,
    moved: bool,
    /// The way certainly ends in this base chain
    ended: bool,
    /// Rules that may still be asked
    left: usize,
}

impl<'a> Walk<'a> {
    pub fn new(rules: &'a Ruleset, local: bool, left: usize) -> Self {
        let connection_mark = Bits::exactly(0_u8);
        let mark = (Bits::exactly(0_u8), 0);
        Self {
            rules,
            findings: BTreeMap::new(),
            local,
            mark,
            connection_mark,
            exempt: Some(false),
            moved: false,
            ended: false,
            left,
        }
    }

    /// Asks every base chain of a hook. `next_mark` is the mark at the next hook, which our own translation may have set.
    /// False if the packet's way certainly ends here.
    pub fn hook(&mut self, hook: Hook, packet: &Packet, next_mark: u32) -> bool {
        for (position, table, name, chain, base) in chains(self.rules, hook, packet.family) {
            let Some(moment) = self.moment(hook, packet, position, base, next_mark) else { continue };
            let mut doubts = Doubts::new();
            if base.nat && moment.view == View::Either && packet.dialled != packet.destination {
                doubts.insert(ORDER.to_owned());
            }
            if base.nat && moment.tracked.is_none() {
                doubts.insert("whether the connection is tracked".to_owned());
            }
            if base.nat && position == SOURCE_NAT {
                doubts.insert("whether another chain hid the sender before".to_owned());
            }
            if !self.base_chain(moment, table, name, chain, base, doubts) {
                return false;
            }
        }
        true
    }

    /// What was found, in order, and how many rules more might have been asked.
    pub fn end(self) -> (Vec<Finding>, usize) {
        let mut findings: Vec<(Finding, usize)> = self.findings.into_iter().collect();
        findings.sort_unstable_by_key(|(_, place)| *place);
        (findings.into_iter().map(|(finding, _)| finding).collect(), self.left)
    }

    /// False if the packet does not come out of the chain in any case.
    fn base_chain(
        &mut self,
        moment: Moment<'_>,
        table: &'a Table,
        name: &str,
        chain: &'a Chain,
        base: Base,
        doubts: Doubts,
    ) -> bool {
        let mut here = Here { moment, table, base };
        let exits = self.chain(&mut here, name, chain, doubts.clone(), 0);
        if let Some(falls) = &exits.falls
            && base.drops
        {
            // Where nothing is accepted, all come to the end that are not stopped, by whatever way.
            let falls = if exits.accepts.is_some() { falls } else { &doubts };
            self.find(Fate::Dropped, falls, Place { table, chain: name, words: "policy drop" }, None);
        }
        let falls = exits.falls.is_some() && !base.drops;
        // A chain that may not be asked at all stops nobody for certain.
        !self.ended && (falls || exits.accepts.is_some() || !doubts.is_empty())
    }

    fn chain(
        &mut self,
        here: &mut Here<'_, 'a>,
        name: &str,
        chain: &'a Chain,
        mut doubts: Doubts,
        depth: usize,
    ) -> Exits {
        let mut exits = Exits::default();
        for rule in &chain.rules {
            if self.left == 0 || depth > DEEPEST {
                add(&mut doubts, ["more rules than were looked at".to_owned()]);
                // One of them may accept the packet.
                merge(&mut exits.accepts, doubts.clone());
                break;
            }
            self.left -= 1;
            if let Step::Gone = self.rule(here, name, rule, &mut doubts, &mut exits, depth) {
                return exits;
            }
        }
        merge(&mut exits.falls, doubts);
        exits
    }

    /// `doubts` are those about the packet being here, and afterwards those about its being at the next rule.
    fn rule(
        &mut self,
        here: &mut Here<'_, 'a>,
        chain: &str,
        rule: &'a Rule,
        doubts: &mut Doubts,
        exits: &mut Exits,
        depth: usize,
    ) -> Step {
        // What it depends on whether the rule goes on to this statement
        let mut own = Doubts::new();
        let place = Place { table: here.table, chain, words: &rule.words };
        for statement in &rule.statements {
            let certain = doubts.is_empty() && own.is_empty();
            match statement {
                Statement::Match(left, comparison, right) => match here.moment.compare(left, *comparison, right) {
                    Truth::Yes => {}
                    Truth::No => return Step::Next,
                    Truth::Unknown(more) => add(&mut own, more),
                },
                Statement::Perhaps(what) => add(&mut own, [what.clone()]),
                Statement::SetMark(value) => {
                    let value = value_of(&here.moment, value);
                    let before = here.moment.mark;
                    let after = if certain { value } else { value.either(before) };
                    self.mark = (after, self.mark.1 | after.differs(before));
                    here.moment.mark = after;
                }
                Statement::SetConnectionMark(value) if here.moment.tracked != Some(false) => {
                    let value = value_of(&here.moment, value);
                    let certain = certain && here.moment.tracked.is_some();
                    self.connection_mark = if certain { value } else { value.either(self.connection_mark) };
                    here.moment.connection_mark = self.connection_mark;
                }
                Statement::SetConnectionMark(_) => {}
                Statement::NoTrack => self.exempt(&mut here.moment, both(doubts, &own), place),
                Statement::Rewrite => {
                    self.find(Fate::Translated, &both(doubts, &own), place, None);
                    self.moved(&mut here.moment, certain);
                }
                Statement::TransparentProxy(what) => {
                    add(&mut own, [what.clone()]);
                    self.find(Fate::Translated, &both(doubts, &own), place, None);
                }
                Statement::Verdict(verdict) => {
                    return self.verdict(here, place, verdict, (doubts, own), exits, depth);
                }
                Statement::Reject => {
                    self.find(Fate::Refused, &both(doubts, &own), place, None);
                    return if own.is_empty() { Step::Gone } else { Step::Next };
                }
                Statement::HandOver(what) => {
                    let also = both(&Doubts::from([what.clone()]), &both(doubts, &own));
                    self.find(Fate::Dropped, &also, place, None);
                    return accept(doubts, own, exits);
                }
                Statement::HideSource if here.base.nat => return accept(doubts, own, exits),
                Statement::HideSource => {}
                Statement::Translate(translation) => {
                    match self.translate(here, translation, place, &both(doubts, &own)) {
                        Some(Truth::Unknown(more)) => {
                            add(&mut own, more);
                            return accept(doubts, own, exits);
                        }
                        Some(Truth::Yes) => return accept(doubts, own, exits),
                        Some(Truth::No) => return Step::Next,
                        None => {}
                    }
                }
                Statement::VerdictMap(key, pairs) => {
                    let fact = here.moment.fact(key);
                    for (pattern, verdict) in pairs {
                        let more = match matches(&fact, pattern) {
                            Truth::No => continue,
                            Truth::Yes => Doubts::new(),
                            Truth::Unknown(more) => more,
                        };
                        let sure = more.is_empty();
                        let own = both(&own, &more);
                        if let Step::Gone = self.verdict(here, place, verdict, (doubts, own), exits, depth) {
                            return Step::Gone;
                        }
                        if sure && *verdict != Verdict::Continue {
                            return Step::Next;
                        }
                    }
                    // Without a hit the rule ends.
                    if pairs.iter().all(|(_, verdict)| *verdict != Verdict::Continue) {
                        return Step::Next;
                    }
                    add(&mut own, ["the verdict of a map".to_owned()]);
                }
            }
        }
        Step::Next
    }

    fn verdict(
        &mut self,
        here: &mut Here<'_, 'a>,
        place: Place<'_>,
        verdict: &'a Verdict,
        (doubts, own): (&mut Doubts, Doubts),
        exits: &mut Exits,
        depth: usize,
    ) -> Step {
        match verdict {
            Verdict::Continue => Step::Next,
            Verdict::Accept => accept(doubts, own, exits),
            Verdict::Drop => {
                self.find(Fate::Dropped, &both(doubts, &own), place, None);
                if own.is_empty() { Step::Gone } else { Step::Next }
            }
            Verdict::Return => {
                merge(&mut exits.falls, both(doubts, &own));
                leave(doubts, own)
            }
            Verdict::Jump(target) | Verdict::Goto(target) => {
                let returns = matches!(verdict, Verdict::Jump(_));
                let Some((name, to)) = here.table.chains.get_key_value(target).filter(|_| target != place.chain) else {
                    // It was listed while somebody changed it.
                    add(doubts, [format!("the chain {target}, which was not listed")]);
                    merge(&mut exits.accepts, doubts.clone());
                    return Step::Next;
                };
                let inner = self.chain(here, name, to, both(doubts, &own), depth + 1);
                let may_be_lost = inner.accepts.is_some() || (inner.falls.is_some() && !returns);
                if let Some(accepts) = inner.accepts {
                    merge(&mut exits.accepts, accepts);
                }
                match inner.falls {
                    Some(falls) if !returns => {
                        merge(&mut exits.falls, falls);
                        leave(doubts, own)
                    }
                    // Where nothing is accepted, all come back that are not stopped, by whatever way.
                    Some(falls) if own.is_empty() => {
                        if may_be_lost {
                            *doubts = falls;
                        }
                        Step::Next
                    }
                    None if own.is_empty() => Step::Gone,
                    _ => {
                        add(doubts, own.into_iter().filter(|_| may_be_lost));
                        Step::Next
                    }
                }
            }
        }
    }

    fn find(&mut self, fate: Fate, doubts: &Doubts, place: Place<'_>, to: Option<Target>) {
        let depends_on = doubts.iter().cloned().collect();
        let finding = Finding { fate, certain: doubts.is_empty(), rule: place.to_string(), depends_on, to };
        let next = self.findings.len();
        self.findings.entry(finding).or_insert(next);
    }
}

/// A base chain that is being asked.
struct Here<'p, 'a> {
    moment: Moment<'p>,
    table: &'a Table,
    base: Base,
}

/// A rule, as it is named: `inet firewall forward: tcp dport 8080 drop`
#[derive(Clone, Copy)]
struct Place<'p> {
    table: &'p Table,
    chain: &'p str,
    words: &'p str,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}: {}", self.table.family, self.table.name, self.chain, self.words)
    }
}

/// The packet leaves the base chain, if the rule matches.
fn accept(doubts: &mut Doubts, own: Doubts, exits: &mut Exits) -> Step {
    merge(&mut exits.accepts, both(doubts, &own));
    leave(doubts, own)
}

/// The packet is at the next rule only if this one did not match.
fn leave(doubts: &mut Doubts, own: Doubts) -> Step {
    if own.is_empty() {
        return Step::Gone;
    }
    add(doubts, own);
    Step::Next
}

/// One more way out; it takes only one that is certain to be so.
fn merge(exit: &mut Option<Doubts>, doubts: Doubts) {
    match exit {
        None => *exit = Some(doubts),
        Some(known) if known.is_empty() || doubts.is_empty() => known.clear(),
        Some(known) => add(known, doubts),
    }
}
