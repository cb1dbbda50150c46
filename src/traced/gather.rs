use std::collections::VecDeque;

use super::{By, Event, Headers, TABLE_PREFIX, Verdict, is_programs};

/// The most events that are kept of one packet. A packet meets a few dozen rules; of a ruleset that jumps about between
/// hundreds of chains the rest is left out, but for what [`says_much`].
pub(super) const MOST_EVENTS: usize = 500;
/// The most events with those.
const MOST_OF_ALL: usize = 2 * MOST_EVENTS;
/// So many calls of [`Gatherer::tick`] without an event, and a packet is taken for gone.
const PATIENCE: u8 = 2;
/// Packets on their way to the chain that has them traced, at most; there is one for each processor.
const MOST_ARRIVING: usize = 256;

/// The way of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Packets are counted from 1
    pub number: usize,
    /// The packet as it came
    pub headers: Headers,
    /// The interface that it came by; none for a process of this node
    pub incoming: Option<String>,
    /// Everything that happened to it, in order, without the rules that had it traced
    pub events: Vec<Event>,
    /// It met more rules than are kept: some are missing from number [`MOST_EVENTS`] on
    pub cut: bool,
    /// The kernel lost events while it was on its way: of it, or of others
    pub missed: bool,
    id: u32,
    ticks: u8,
    /// It left by the loopback interface, so: it comes in again, under another number
    looped: Option<Headers>,
}

/// Sorts events by packet. Keeps no more than it was told to, whatever comes.
pub struct Gatherer {
    /// The table whose rules have packets traced for us; others may trace others
    table: String,
    /// How many packets are still taken
    room: usize,
    begun: usize,
    open: Vec<Passage>,
    /// Packets that another trace had traced before they came to our table
    arriving: VecDeque<Event>,
    /// So many calls of [`Gatherer::tick`] it takes until all is read that was there when events were lost
    missing: u8,
}

impl Gatherer {
    /// For the packets that this table has traced, up to `most`.
    pub fn new(table: &str, most: usize) -> Self {
        Self { table: table.to_owned(), room: most, begun: 0, open: Vec::new(), arriving: VecDeque::new(), missing: 0 }
    }

    /// Takes no further packets.
    pub fn close(&mut self) {
        self.room = 0;
    }

    /// Whether further packets are taken no more.
    pub fn is_closed(&self) -> bool {
        self.room == 0
    }

    /// Whether nothing more is to come.
    pub fn is_done(&self) -> bool {
        self.room == 0 && self.open.is_empty()
    }

    /// Takes an event. Returns the passages that are known to be over by it.
    pub fn take(&mut self, event: Event) -> Vec<Passage> {
        if event.table == self.table && event.chain == SAMPLE {
            return self.sampled(event).into_iter().collect();
        }
        if event.table.starts_with(TABLE_PREFIX) && !is_watch(&event, &self.table) {
            if event.table == self.table && event.headers.is_some() {
                if let Some(passage) = self.open.iter_mut().find(|p| p.looped.is_some() && p.looped == event.headers) {
                    (passage.id, passage.looped) = (event.id, None);
                }
                // What another trace shows of the packet is not shown again in the chain that samples.
                self.arriving.truncate(MOST_ARRIVING - 1);
                self.arriving.push_front(event);
            }
            return Vec::new();
        }
        let Some(index) = self.open.iter().position(|passage| passage.id == event.id) else { return Vec::new() };
        let over = is_over(&event);
        if let Some(passage) = self.open.get_mut(index) {
            passage.ticks = 0;
            if leaves_by_loopback(&event) {
                passage.looped = event.headers;
            }
            let most = if says_much(&event) { MOST_OF_ALL } else { MOST_EVENTS };
            // How it ended is never left out.
            if over || passage.events.len() < most {
                passage.events.push(event);
            } else {
                passage.cut = true;
            }
        }
        if over { vec![self.open.remove(index)] } else { Vec::new() }
    }

    /// A new packet. An old one with its number is over, unseen: numbers come back.
    fn sampled(&mut self, event: Event) -> Option<Passage> {
        if !matches!(event.by, By::Rule(_)) {
            return None;
        }
        let id = event.id;
        let shown = match event.headers {
            Some(_) => Some(event),
            None => self.arriving.iter().position(|arriving| arriving.id == id).and_then(|at| self.arriving.remove(at)),
        };
        let Some(Event { headers: Some(headers), incoming, .. }) = shown else { return None };
        let same = self.open.iter().position(|passage| passage.id == id);
        let old = same.map(|index| self.open.remove(index));
        if self.room > 0 {
            self.room -= 1;
            self.begun += 1;
            self.open.push(Passage {
                number: self.begun,
                headers,
                incoming,
                events: Vec::new(),
                cut: false,
                missed: self.missing > 0,
                id,
                ticks: 0,
                looped: None,
            });
        }
        old
    }

    /// To be called when the kernel says that events were lost. It says so before it tells what it had kept until then: of
    /// packets that begin in that, too, something can be missing.
    pub fn lost(&mut self) {
        self.missing = PATIENCE;
        self.open.iter_mut().for_each(|passage| passage.missed = true);
    }

    /// To be called now and then. Returns the passages that nothing was heard of for two calls: packets that the kernel
    /// lost between two chains.
    pub fn tick(&mut self) -> Vec<Passage> {
        self.missing = self.missing.saturating_sub(1);
        self.open.iter_mut().for_each(|passage| passage.ticks += 1);
        let (gone, open) = std::mem::take(&mut self.open).into_iter().partition(|p| p.ticks >= PATIENCE);
        self.open = open;
        gone
    }
}

/// The chain that has packets traced, and those at the end of each hook.
pub(super) const SAMPLE: &str = "sample";
pub(super) const INPUT: &str = "input";
pub(super) const FORWARD: &str = "forward";
pub(super) const POSTROUTING: &str = "postrouting";

/// Whether it is one of the chains that see a packet last in its hook.
fn is_watch(event: &Event, table: &str) -> bool {
    event.table == table && [INPUT, FORWARD, POSTROUTING].contains(&event.chain.as_str())
}

/// What leaves so comes in again.
fn leaves_by_loopback(event: &Event) -> bool {
    event.table.starts_with(TABLE_PREFIX) && event.chain == POSTROUTING && event.outgoing.as_deref() == Some("lo")
}

/// What says how the packet stands, or what our own program did with it.
fn says_much(event: &Event) -> bool {
    event.headers.is_some() || is_programs(&event.table)
}

fn is_over(event: &Event) -> bool {
    match event.verdict {
        Verdict::Drop | Verdict::Queue | Verdict::Stolen => true,
        // The first event of the chain, which says all: others are of no interest.
        _ if event.table.starts_with(TABLE_PREFIX) && event.headers.is_some() => {
            event.chain == INPUT || (event.chain == POSTROUTING && !leaves_by_loopback(event))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Protocol, Target},
        traced::tests::event,
    };

    const OWN: &str = "portolan-trace-1";

    fn begin(gatherer: &mut Gatherer, id: u32) -> Vec<Passage> {
        let event = event(OWN, SAMPLE, By::Rule(3), Verdict::Continue);
        gatherer.take(Event { id, headers: Some(headers()), ..event })
    }

    fn headers() -> Headers {
        let target = |port| Target { address: [10, 0, 0, 1].into(), port };
        Headers { protocol: Protocol::Tcp, source: target(1), destination: target(2) }
    }

    fn policy(table: &str, chain: &str, id: u32) -> Event {
        Event { id, headers: Some(headers()), ..event(table, chain, By::Policy, Verdict::Accept) }
    }

    #[test]
    fn each_packet_gets_its_own_events_and_others_none() {
        let mut gatherer = Gatherer::new(OWN, 2);
        assert_eq!(gatherer.take(policy("firewall", "forward", 9)), [], "whom somebody else traces");
        begin(&mut gatherer, 1);
        begin(&mut gatherer, 2);
        begin(&mut gatherer, 3);
        assert!(gatherer.is_closed() && !gatherer.is_done());
        for event in [
            policy("firewall", "forward", 2),
            policy("portolan-trace-2", POSTROUTING, 2),
            policy(OWN, "prerouting", 2),
            policy(OWN, FORWARD, 2),
        ] {
            assert_eq!(gatherer.take(event), []);
        }
        let over = gatherer.take(policy(OWN, POSTROUTING, 2));
        let chains: Vec<&str> = over[0].events.iter().map(|event| event.chain.as_str()).collect();
        assert_eq!((over[0].number, chains), (2, vec!["forward", "forward", "postrouting"]));
        assert_eq!(gatherer.take(policy(OWN, POSTROUTING, 3)), [], "one too many");
        let dropped = Event { verdict: Verdict::Drop, ..policy("firewall", "forward", 1) };
        assert_eq!(gatherer.take(dropped).len(), 1);
        assert!(gatherer.is_done());
    }

    #[test]
    fn what_is_not_heard_of_any_more_is_gone() {
        let mut gatherer = Gatherer::new(OWN, 3);
        begin(&mut gatherer, 1);
        assert_eq!(gatherer.tick(), []);
        gatherer.take(policy("firewall", "forward", 1));
        assert_eq!(gatherer.tick(), [], "heard of since");
        assert_eq!(gatherer.tick().len(), 1);
        begin(&mut gatherer, 1);
        assert_eq!(begin(&mut gatherer, 1).len(), 1, "the number came back");
    }

    #[test]
    fn out_by_the_loopback_interface_is_in_again() {
        let mut gatherer = Gatherer::new(OWN, 1);
        begin(&mut gatherer, 1);
        let by_lo = Event { outgoing: Some("lo".into()), ..policy(OWN, POSTROUTING, 1) };
        assert_eq!(gatherer.take(by_lo), []);
        assert_eq!(gatherer.take(Event { headers: None, ..policy(OWN, POSTROUTING, 1) }), [], "its second event");
        assert_eq!(gatherer.take(policy(OWN, "prerouting", 2)), [], "in again, with another number");
        assert_eq!(gatherer.take(policy(OWN, INPUT, 2)).len(), 1);
    }

    #[test]
    fn a_packet_that_another_trace_took_before_is_ours_too() {
        let mut gatherer = Gatherer::new(OWN, 1);
        let goto = event(OWN, "prerouting", By::Rule(5), Verdict::Goto(SAMPLE.into()));
        let sample = event(OWN, SAMPLE, By::Rule(3), Verdict::Continue);
        for id in 0..1000 {
            gatherer.take(Event { id, headers: Some(headers()), ..goto.clone() });
        }
        gatherer.take(Event { id: 3, ..sample.clone() });
        assert!(!gatherer.is_closed(), "forgotten: memory is bounded");
        gatherer.take(Event { id: 999, ..sample });
        assert_eq!(gatherer.take(policy(OWN, INPUT, 999))[0].headers, headers());
    }

    #[test]
    fn memory_is_bounded() {
        let mut gatherer = Gatherer::new(OWN, 1);
        begin(&mut gatherer, 1);
        for _ in 0..2 * MOST_EVENTS {
            gatherer.take(policy("firewall", "forward", 1));
        }
        let passage = gatherer.take(policy(OWN, INPUT, 1)).remove(0);
        assert!(passage.cut);
        assert_eq!(passage.events.len(), MOST_OF_ALL + 1, "and its end");
        assert_eq!(passage.events.last().unwrap().chain, INPUT);
    }

    #[test]
    fn of_very_many_rules_those_of_others_are_left_out() {
        let mut gatherer = Gatherer::new(OWN, 1);
        begin(&mut gatherer, 1);
        for _ in 0..3 * MOST_EVENTS {
            gatherer.take(Event { id: 1, ..event("firewall", "forward", By::Rule(7), Verdict::Continue) });
        }
        gatherer.take(Event { id: 1, ..event("portolan", "prerouting", By::Rule(7), Verdict::Continue) });
        gatherer.take(policy("portolan", "filter-forward", 1));
        let dropped = Event { id: 1, ..event("firewall", "forward", By::Rule(8), Verdict::Drop) };
        let passage = gatherer.take(dropped).remove(0);
        let last: Vec<&str> = passage.events[MOST_EVENTS..].iter().map(|event| event.chain.as_str()).collect();
        assert_eq!(last, ["prerouting", "filter-forward", "forward"]);
        assert!(passage.cut && !passage.missed);
    }

    #[test]
    fn packets_on_their_way_when_events_are_lost_are_marked() {
        let mut gatherer = Gatherer::new(OWN, 9);
        begin(&mut gatherer, 1);
        gatherer.lost();
        begin(&mut gatherer, 2);
        gatherer.tick();
        begin(&mut gatherer, 3);
        let gone = gatherer.tick();
        assert_eq!(gone.iter().map(|passage| passage.missed).collect::<Vec<_>>(), [true, true]);
        begin(&mut gatherer, 4);
        let missed = |gatherer: &mut Gatherer, id| gatherer.take(policy(OWN, INPUT, id))[0].missed;
        assert!(missed(&mut gatherer, 3), "what was kept when events were lost is read after that");
        assert!(!missed(&mut gatherer, 4));
    }
}
