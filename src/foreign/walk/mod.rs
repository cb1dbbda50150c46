//! The way of a packet through the chains.
//!
//! Where it is not known whether a rule matches, the walk goes on both ways. What is certain is meant so: whatever the
//! unknown things are, this happens to the packet unless something that was found before happens first.

mod effects;
mod order;

use std::collections::BTreeSet;

use effects::value_of;
use order::{SOURCE_NAT, chains};

use super::{
    Fate, Finding, Hook, Packet,
    facts::{Moment, ORDER, View, matches},
    ruleset::{Base, Chain, Rule, Ruleset, Table},
    statement::{Statement, Verdict},
    value::{Bits, Truth},
};
use crate::model::Target;

/// nft allows 16 levels of jumps.
const DEEPEST: usize = 32;
/// No sensible ruleset makes a packet meet as many rules.
const MOST_RULES: usize = 1 << 20;

/// What something depends on; nothing if it is certain.
type Doubts = BTreeSet<String>;

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
    findings: Vec<Finding>,
    /// A process of this node sent the packet
    local: bool,
    /// What rules of others made of the mark, and the bits that they changed
    mark: (Bits, u128),
    connection_mark: Bits,
    exempt: Option<bool>,
    moved: bool,
    /// The way certainly ends in this base chain
    ended: bool,
    asked: usize,
}

impl<'a> Walk<'a> {
    pub fn new(rules: &'a Ruleset, local: bool) -> Self {
        let connection_mark = Bits::exactly(0_u8);
        let mark = (Bits::exactly(0_u8), 0);
        Self {
            rules,
            findings: Vec::new(),
            local,
            mark,
            connection_mark,
            exempt: Some(false),
            moved: false,
            ended: false,
            asked: 0,
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

    pub fn findings(self) -> Vec<Finding> {
        self.findings
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
            self.find(Fate::Dropped, falls, &here.place(name, "policy drop"), None);
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
            self.asked += 1;
            if self.asked > MOST_RULES || depth > DEEPEST {
                doubts.insert("more rules than were looked at".to_owned());
                break;
            }
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
        for statement in &rule.statements {
            let all: Doubts = doubts.union(&own).cloned().collect();
            let words = here.place(chain, &rule.words);
            match statement {
                Statement::Match(left, comparison, right) => match here.moment.compare(left, *comparison, right) {
                    Truth::Yes => {}
                    Truth::No => return Step::Next,
                    Truth::Unknown(more) => own.extend(more),
                },
                Statement::Perhaps(what) => drop(own.insert(what.clone())),
                Statement::SetMark(value) => {
                    let value = value_of(&here.moment, value);
                    let before = here.moment.mark;
                    let after = if all.is_empty() { value } else { value.either(before) };
                    self.mark = (after, self.mark.1 | after.differs(before));
                    here.moment.mark = after;
                }
                Statement::SetConnectionMark(value) if here.moment.tracked != Some(false) => {
                    let value = value_of(&here.moment, value);
                    let certain = all.is_empty() && here.moment.tracked.is_some();
                    self.connection_mark = if certain { value } else { value.either(self.connection_mark) };
                    here.moment.connection_mark = self.connection_mark;
                }
                Statement::SetConnectionMark(_) => {}
                Statement::NoTrack => self.exempt(&mut here.moment, &all, &words),
                Statement::Rewrite => {
                    self.find(Fate::Translated, &all, &words, None);
                    self.moved(&mut here.moment, all.is_empty());
                }
                Statement::TransparentProxy(what) => {
                    own.insert(what.clone());
                    let all = doubts.union(&own).cloned().collect();
                    self.find(Fate::Translated, &all, &words, None);
                }
                Statement::Verdict(verdict) => {
                    return self.verdict(here, chain, verdict, &words, (doubts, own), exits, depth);
                }
                Statement::Reject => {
                    self.find(Fate::Refused, &all, &words, None);
                    return if own.is_empty() { Step::Gone } else { Step::Next };
                }
                Statement::HandOver(what) => {
                    let also = all.iter().cloned().chain([what.clone()]).collect();
                    self.find(Fate::Dropped, &also, &words, None);
                    return accept(doubts, own, exits);
                }
                Statement::HideSource if here.base.nat => return accept(doubts, own, exits),
                Statement::HideSource => {}
                Statement::Translate(translation) => match self.translate(here, translation, &words, doubts, &own) {
                    Some(Truth::Unknown(more)) => {
                        own.extend(more);
                        return accept(doubts, own, exits);
                    }
                    Some(Truth::Yes) => return accept(doubts, own, exits),
                    Some(Truth::No) => return Step::Next,
                    None => {}
                },
                Statement::VerdictMap(key, pairs) => {
                    let fact = here.moment.fact(key);
                    for (pattern, verdict) in pairs {
                        let more = match matches(&fact, pattern) {
                            Truth::No => continue,
                            Truth::Yes => Doubts::new(),
                            Truth::Unknown(more) => more,
                        };
                        let sure = more.is_empty();
                        let own = own.union(&more).cloned().collect();
                        if let Step::Gone = self.verdict(here, chain, verdict, &words, (doubts, own), exits, depth) {
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
                    own.insert("the verdict of a map".to_owned());
                }
            }
        }
        Step::Next
    }

    #[expect(clippy::too_many_arguments, reason = "all of it is the rule's")]
    fn verdict(
        &mut self,
        here: &mut Here<'_, 'a>,
        chain: &str,
        verdict: &'a Verdict,
        words: &str,
        (doubts, own): (&mut Doubts, Doubts),
        exits: &mut Exits,
        depth: usize,
    ) -> Step {
        let all: Doubts = doubts.union(&own).cloned().collect();
        match verdict {
            Verdict::Continue => Step::Next,
            Verdict::Accept => accept(doubts, own, exits),
            Verdict::Drop => {
                self.find(Fate::Dropped, &all, words, None);
                if own.is_empty() { Step::Gone } else { Step::Next }
            }
            Verdict::Return => {
                merge(&mut exits.falls, all);
                leave(doubts, own)
            }
            Verdict::Jump(target) | Verdict::Goto(target) => {
                let returns = matches!(verdict, Verdict::Jump(_));
                let Some((name, to)) = here.table.chains.get_key_value(target).filter(|_| target != chain) else {
                    // It was listed while somebody changed it.
                    doubts.insert(format!("the chain {target}, which was not listed"));
                    return Step::Next;
                };
                let inner = self.chain(here, name, to, all, depth + 1);
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
                        doubts.extend(own.into_iter().filter(|_| may_be_lost));
                        Step::Next
                    }
                }
            }
        }
    }

    fn find(&mut self, fate: Fate, doubts: &Doubts, rule: &str, to: Option<Target>) {
        let depends_on = doubts.iter().cloned().collect();
        let finding = Finding { fate, certain: doubts.is_empty(), rule: rule.to_owned(), depends_on, to };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

/// A base chain that is being asked.
struct Here<'p, 'a> {
    moment: Moment<'p>,
    table: &'a Table,
    base: Base,
}

impl Here<'_, '_> {
    /// `inet firewall forward: tcp dport 8080 drop`
    fn place(&self, chain: &str, words: &str) -> String {
        format!("{} {} {chain}: {words}", self.table.family, self.table.name)
    }
}

/// The packet leaves the base chain, if the rule matches.
fn accept(doubts: &mut Doubts, own: Doubts, exits: &mut Exits) -> Step {
    merge(&mut exits.accepts, doubts.union(&own).cloned().collect());
    leave(doubts, own)
}

/// The packet is at the next rule only if this one did not match.
fn leave(doubts: &mut Doubts, own: Doubts) -> Step {
    if own.is_empty() {
        return Step::Gone;
    }
    doubts.extend(own);
    Step::Next
}

/// One more way out; it takes only one that is certain to be so.
fn merge(exit: &mut Option<Doubts>, doubts: Doubts) {
    match exit {
        None => *exit = Some(doubts),
        Some(known) if known.is_empty() || doubts.is_empty() => known.clear(),
        Some(known) => known.extend(doubts),
    }
}
