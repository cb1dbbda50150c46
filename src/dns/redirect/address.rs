//! One address: what is known of it, and what follows for the kernel.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{Answering, HOLD, LIFE, REFRESH, SILENCE, State, UNANSWERED, Why};
use crate::kernel::redirect::{Set, Step};

/// How long after a failure sockets are tried again.
const REOPEN: Duration = Duration::from_secs(2);

/// An address that is wanted, or whose sockets are still to be closed.
pub(super) struct Address {
    address: IpAddr,
    pub answering: Option<Box<dyn Answering>>,
    /// Why there are no sockets, and since when
    refused: Option<(String, Instant)>,
    state: State,
    /// When we last began to ask ourselves, and whether we still wait
    asked: Option<Instant>,
    asking: bool,
    /// The last answer
    answered: Option<Instant>,
    /// What was wrong since
    complaint: Option<String>,
    /// When the kernel was last told
    told: Option<Instant>,
}

impl Address {
    /// An address without sockets.
    pub fn new(address: IpAddr) -> Self {
        Self {
            address,
            answering: None,
            refused: None,
            state: State::Off(Why::NotReady),
            asked: None,
            asking: false,
            answered: None,
            complaint: None,
            told: None,
        }
    }

    /// How it stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether sockets are to be opened now.
    pub fn opens(&self, now: Instant) -> bool {
        let waited = self.refused.as_ref().is_none_or(|(_, at)| now.duration_since(*at) >= REOPEN);
        self.answering.is_none() && waited
    }

    /// What opening gave.
    pub fn opened(&mut self, outcome: Result<Box<dyn Answering>, String>, now: Instant) {
        match outcome {
            Ok(answering) => (self.answering, self.refused) = (Some(answering), None),
            Err(reason) => self.refused = Some((reason, now)),
        }
    }

    /// Whether we are to ask ourselves now. If so, the answer is awaited.
    pub fn asks(&mut self, now: Instant) -> bool {
        let due = self.asked.is_none_or(|at| now.duration_since(at) >= REFRESH);
        let asks = due && !self.asking && self.answering.is_some();
        if asks {
            (self.asked, self.asking) = (Some(now), true);
        }
        asks
    }

    /// What became of asking.
    pub fn asked(&mut self, outcome: Result<(), String>, now: Instant) {
        self.asking = false;
        match outcome {
            Ok(()) => (self.answered, self.complaint) = (Some(now), None),
            Err(complaint) => self.complaint = Some(complaint),
        }
    }

    /// Whether queries may come here.
    fn judge(&self, ready: bool, now: Instant) -> Result<(), Why> {
        if !ready {
            return Err(Why::NotReady);
        }
        let Some(answering) = &self.answering else {
            let reason = self.refused.as_ref().map_or("no sockets yet", |(reason, _)| reason);
            return Err(Why::Sockets(reason.to_owned()));
        };
        if answering.silence() > SILENCE {
            return Err(Why::Hung);
        }
        match self.answered {
            Some(at) if now.duration_since(at) < UNANSWERED => Ok(()),
            _ => Err(Why::SelfQuery(self.complaint.clone().unwrap_or_else(|| "not asked yet".into()))),
        }
    }

    /// The state that this moment calls for, and what the kernel is to be told for it.
    pub fn look(&mut self, ready: bool, now: Instant) -> (State, Vec<Step>) {
        let due = self.told.is_none_or(|at| now.duration_since(at) >= REFRESH);
        let hold = Step::Put(Set::Held, self.address, HOLD);
        match self.judge(ready, now) {
            Ok(()) if due || self.state != State::On => (State::On, vec![Step::Put(Set::Live, self.address, LIFE)]),
            Ok(()) => (State::On, Vec::new()),
            Err(why) if self.state == State::On => {
                // Another answer to ourselves, before it is on again.
                self.answered = None;
                (State::Off(why), vec![hold, Step::Remove(Set::Live, self.address)])
            }
            // Where another process shares the address and calls it live, some of its queries would come here.
            Err(why) if self.answering.is_some() && due && self.is_bad(&why) => (State::Off(why), vec![hold]),
            Err(why) => (State::Off(why), Vec::new()),
        }
    }

    /// Whether there is more than no proof yet.
    fn is_bad(&self, why: &Why) -> bool {
        !matches!(why, Why::SelfQuery(_)) || self.complaint.is_some()
    }

    /// The kernel was told, or needed not be.
    pub fn stands(&mut self, state: State, told: bool, now: Instant) {
        self.state = state;
        if told {
            self.told = Some(now);
        }
    }

    /// What the kernel was told is lost.
    pub fn untold(&mut self) {
        self.told = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    struct Thread(Arc<Mutex<Duration>>);

    impl Answering for Thread {
        fn silence(&self) -> Duration {
            *self.0.lock().unwrap()
        }

        fn close(self: Box<Self>) -> super::super::Later<()> {
            Box::pin(async {})
        }
    }

    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 10));

    struct Trial {
        address: Address,
        silence: Arc<Mutex<Duration>>,
        now: Instant,
    }

    impl Trial {
        fn new() -> Self {
            Self { address: Address::new(VIP), silence: Arc::default(), now: Instant::now() }
        }

        fn open(&mut self) {
            self.address.opened(Ok(Box::new(Thread(self.silence.clone()))), self.now);
        }

        /// The state and the steps, which the kernel takes.
        fn look(&mut self, ready: bool) -> (State, Vec<Step>) {
            let (state, steps) = self.address.look(ready, self.now);
            self.address.stands(state.clone(), !steps.is_empty(), self.now);
            (state, steps)
        }

        fn pass(&mut self, milliseconds: u64) {
            self.now += Duration::from_millis(milliseconds);
        }

        fn answer(&mut self, outcome: Result<(), String>) {
            self.address.asked(outcome, self.now);
        }
    }

    const HELD: Step = Step::Put(Set::Held, VIP, HOLD);
    const LIVE: Step = Step::Put(Set::Live, VIP, LIFE);
    const DEAD: Step = Step::Remove(Set::Live, VIP);

    #[test]
    fn it_is_on_once_it_is_ready_open_and_answers_itself() {
        let mut trial = Trial::new();
        assert_eq!(trial.look(false), (State::Off(Why::NotReady), vec![]));
        assert!(matches!(trial.look(true), (State::Off(Why::Sockets(_)), steps) if steps.is_empty()));
        assert!(trial.address.opens(trial.now) && !trial.address.asks(trial.now));
        trial.open();
        assert!(matches!(trial.look(true), (State::Off(Why::SelfQuery(_)), steps) if steps.is_empty()));
        assert!(!trial.address.opens(trial.now));
        assert!(trial.address.asks(trial.now) && !trial.address.asks(trial.now));
        trial.answer(Ok(()));
        assert!(!trial.address.asks(trial.now), "a second later");
        assert_eq!(trial.look(true), (State::On, vec![LIVE]));
        assert_eq!(trial.look(true), (State::On, vec![]));
        trial.pass(1000);
        assert_eq!(trial.look(true), (State::On, vec![LIVE]));
        assert!(trial.address.asks(trial.now));
    }

    #[test]
    fn a_thread_that_hangs_ends_it_at_once_and_vetoes_it_while_it_hangs() {
        let mut trial = Trial::new();
        trial.open();
        trial.answer(Ok(()));
        trial.look(true);
        *trial.silence.lock().unwrap() = Duration::from_millis(2001);
        assert_eq!(trial.look(true), (State::Off(Why::Hung), vec![HELD, DEAD]));
        assert_eq!(trial.look(true), (State::Off(Why::Hung), vec![]));
        trial.pass(1000);
        assert_eq!(trial.look(true), (State::Off(Why::Hung), vec![HELD]));
        *trial.silence.lock().unwrap() = Duration::ZERO;
        assert!(matches!(trial.look(true), (State::Off(Why::SelfQuery(_)), _)), "it has to prove itself again");
        trial.answer(Ok(()));
        assert_eq!(trial.look(true), (State::On, vec![LIVE]));
    }

    #[test]
    fn answers_to_ourselves_may_be_missing_for_a_while() {
        let mut trial = Trial::new();
        trial.open();
        trial.answer(Ok(()));
        trial.look(true);
        for _ in 0..4 {
            trial.pass(500);
            trial.answer(Err("no answer".into()));
            assert_eq!(trial.look(true), (State::On, vec![LIVE]));
        }
        trial.pass(500);
        assert_eq!(trial.look(true), (State::Off(Why::SelfQuery("no answer".into())), vec![HELD, DEAD]));
    }

    #[test]
    fn sockets_that_are_refused_are_tried_again_later() {
        let mut trial = Trial::new();
        trial.address.opened(Err("no IPv6".into()), trial.now);
        assert_eq!(trial.look(true).0, State::Off(Why::Sockets("no IPv6".into())));
        assert!(!trial.address.opens(trial.now));
        trial.pass(2000);
        assert!(trial.address.opens(trial.now));
    }
}
