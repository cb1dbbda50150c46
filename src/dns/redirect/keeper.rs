//! The task that keeps the redirect on while all is well.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet, spawn_blocking},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{DRAIN, HOLD, Inputs, LOOK, State, States, Why, address::Address};
use crate::kernel::{
    KernelError,
    monitor::{ForeignChange, RulesetMonitor, Touch},
    redirect::{RedirectTable, Routing, Set, Step, remove},
};

/// How often the tables are looked at where nobody says that they were changed.
const CHECK: Duration = Duration::from_secs(300);
/// The least time between two looks at them: somebody may change them as often as we mend them.
const MENDING: Duration = Duration::from_secs(2);
/// How long what answers may take to close its sockets.
const CLOSING: Duration = Duration::from_secs(10);

/// How a redirect ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Another process is about to go on: tables, rules and routes stay
    Restart,
    /// It is no longer wanted: nothing stays
    Off,
}

/// The redirect of a set of addresses. Dropped without [`Keeper::stop`], the redirect ends as if the process had died.
pub struct Keeper {
    states: watch::Receiver<States>,
    stop: CancellationToken,
    task: JoinHandle<Task>,
}

impl Keeper {
    /// Starts to keep the redirect. Must be called within a tokio runtime with I/O and time enabled, on a thread of the
    /// node's network namespace.
    ///
    /// # Errors
    /// [`KernelError::Failed`] if no netlink socket can be had. All else is reported in [`Keeper::states`] and tried
    /// again.
    pub fn start(inputs: Inputs) -> Result<Self, KernelError> {
        let table = RedirectTable::open(inputs.numbers.marks)?;
        let routing = Routing::open(inputs.numbers)?;
        let (sender, states) = watch::channel(States::new());
        let stop = CancellationToken::new();
        let task = Task {
            inputs,
            table: Arc::new(Mutex::new(table)),
            routing,
            monitor: None,
            addresses: BTreeMap::new(),
            questions: JoinSet::new(),
            closing: JoinSet::new(),
            states: sender,
            installed: Err("the tables of the DNS redirect are not made yet".into()),
            look_at_table: None,
            looked: None,
        };
        Ok(Self { states, stop: stop.clone(), task: tokio::spawn(task.run(stop)) })
    }

    /// How each address stands, now and with each change.
    pub fn states(&self) -> watch::Receiver<States> {
        self.states.clone()
    }

    /// Sends clients away, serves on until they are gone, and closes the sockets: [`DRAIN`] and what closing takes.
    pub async fn stop(mut self, ending: Ending) {
        self.stop.cancel();
        match (&mut self.task).await {
            Ok(task) => task.end(ending).await,
            Err(error) => tracing::error!("the keeper of the DNS redirect ended early: {error}"),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Task {
    inputs: Inputs,
    table: Arc<Mutex<RedirectTable>>,
    routing: Routing,
    monitor: Option<RulesetMonitor>,
    addresses: BTreeMap<IpAddr, Address>,
    questions: JoinSet<(IpAddr, Result<(), String>)>,
    /// Addresses whose sockets are being closed
    closing: JoinSet<Vec<IpAddr>>,
    states: watch::Sender<States>,
    /// The tables are there as far as we know; or why not
    installed: Result<(), String>,
    /// Somebody changed them, or may have: look at this time
    look_at_table: Option<Instant>,
    /// When they were last looked at
    looked: Option<Instant>,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) -> Self {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return self,
                _ = looks.tick() => self.look().await,
                Some(Ok((address, outcome))) = self.questions.join_next() => self.answered(address, outcome).await,
                Some(Ok(closed)) = self.closing.join_next() => self.forget(closed).await,
                change = heard(&mut self.monitor) => self.changed(change),
            }
        }
    }

    /// One look at everything.
    async fn look(&mut self) {
        self.follow_addresses().await;
        if self.addresses.is_empty() {
            return;
        }
        if let Err(error) = self.keep_table().await {
            self.installed = Err(error.to_string());
        }
        let ready = *self.inputs.ready.borrow();
        for address in self.addresses.keys().copied().collect::<Vec<_>>() {
            if ready && self.installed.is_ok() {
                self.open(address).await;
            }
            self.ask(address);
        }
        self.tell(ready).await;
    }

    /// Takes up new addresses and gives up those that are no longer wanted.
    async fn follow_addresses(&mut self) {
        let wanted = self.inputs.addresses.borrow_and_update().clone();
        let gone: Vec<IpAddr> = self.addresses.keys().filter(|address| !wanted.contains(address)).copied().collect();
        if !gone.is_empty() {
            let leaving = gone.into_iter().filter_map(|a| Some((a, self.addresses.remove(&a)?)));
            let (open, shut): (Vec<_>, Vec<_>) = leaving.partition(|(_, entry)| entry.answering.is_some());
            self.leave(open).await;
            self.forget(shut.into_iter().map(|(address, _)| address).collect()).await;
        }
        for address in wanted {
            self.addresses.entry(address).or_insert_with(|| Address::new(address));
        }
    }

    /// Removes the routes to addresses without sockets, unless they are wanted again. Not before: by its route comes
    /// what is said over a connection that is still open.
    async fn forget(&mut self, closed: Vec<IpAddr>) {
        for address in closed {
            if self.addresses.contains_key(&address) {
                continue;
            }
            self.routing.forget(address).await.unwrap_or_else(|error| tracing::warn!("{error}"));
        }
    }

    /// Has the tables be there as they should.
    async fn keep_table(&mut self) -> Result<(), KernelError> {
        let now = Instant::now();
        let due = self.look_at_table.is_none_or(|at| now >= at);
        let rested = self.looked.is_none_or(|at| now.duration_since(at) >= MENDING);
        if !rested || !due {
            return Ok(());
        }
        self.looked = Some(now);
        let first = self.monitor.is_none() && self.installed.is_err();
        let made = with_table(&self.table, move |table| table.ensure(first)).await?;
        if made {
            let what = if first { "made" } else { "somebody changed them; mended" };
            tracing::info!("tables of the DNS redirect: {what}");
            self.addresses.values_mut().for_each(Address::untold);
        }
        if first {
            let addresses: Vec<IpAddr> = self.addresses.keys().copied().collect();
            self.routing.keep_only(&addresses).await.unwrap_or_else(|error| tracing::warn!("{error}"));
        }
        if self.monitor.is_none() {
            let monitor = self.table.lock().unwrap_or_else(PoisonError::into_inner).watch();
            self.monitor = monitor.inspect_err(|error| tracing::warn!("{error}")).ok();
        }
        self.installed = Ok(());
        self.look_at_table = Some(now + CHECK);
        Ok(())
    }

    /// Somebody else committed to the ruleset. Other processes of ours write elements all the time.
    fn changed(&mut self, change: Result<ForeignChange, KernelError>) {
        match change {
            Err(error) => {
                tracing::warn!("{error}");
                self.monitor = None;
            }
            Ok(change) => {
                let element = |how| matches!(how, Touch::ElementsAdded | Touch::ElementsDeleted);
                if !change.what.is_empty() && change.what.iter().all(|touched| element(touched.how)) {
                    return;
                }
            }
        }
        self.look_at_table = Some(Instant::now());
    }

    /// Opens what is not open.
    async fn open(&mut self, address: IpAddr) {
        let now = Instant::now();
        let Some(entry) = self.addresses.get_mut(&address).filter(|entry| entry.opens(now)) else { return };
        let outcome = match self.routing.ensure(address).await {
            Ok(()) => self.inputs.service.open(address),
            Err(error) => Err(error.to_string()),
        };
        entry.opened(outcome, now);
    }

    /// Asks ourselves, if it is time.
    fn ask(&mut self, address: IpAddr) {
        if self.addresses.get_mut(&address).is_some_and(|entry| entry.asks(Instant::now())) {
            let question = (self.inputs.ask)(address);
            self.questions.spawn(async move { (address, question.await) });
        }
    }

    /// What became of asking. If nothing came, somebody may have taken away the rule or the route.
    async fn answered(&mut self, address: IpAddr, outcome: Result<(), String>) {
        let Some(entry) = self.addresses.get_mut(&address) else { return };
        let failed = outcome.is_err();
        entry.asked(outcome, Instant::now());
        if failed {
            self.look_at_table = Some(Instant::now());
            self.routing.ensure(address).await.unwrap_or_else(|error| tracing::warn!("{error}"));
        }
        let ready = *self.inputs.ready.borrow();
        self.tell(ready).await;
    }

    /// Tells the kernel what the moment calls for, and everybody else how it stands.
    async fn tell(&mut self, ready: bool) {
        let now = Instant::now();
        let looks: Vec<_> = self.addresses.iter_mut().map(|(a, entry)| (*a, entry.look(ready, now))).collect();
        let steps: Vec<Step> = looks.iter().flat_map(|(_, (_, steps))| steps.clone()).collect();
        let mut outcome = self.installed.clone();
        if outcome.is_ok() && !steps.is_empty() {
            let committed = with_table(&self.table, move |table| table.commit(&steps)).await;
            outcome = committed.map_err(|error| error.to_string());
        }
        if outcome.is_err() {
            self.look_at_table = Some(now);
        }
        for (address, (state, steps)) in looks {
            let Some(entry) = self.addresses.get_mut(&address) else { continue };
            let state = match &outcome {
                Err(error) if state == State::On || entry.answering.is_none() && ready => {
                    State::Off(Why::Kernel(error.clone()))
                }
                _ => state,
            };
            if *entry.state() != state {
                log(address, entry.state(), &state);
            }
            entry.stands(state, outcome.is_ok() && !steps.is_empty(), now);
        }
        self.publish(|address| address.state().clone());
    }

    fn publish(&self, state: impl Fn(&Address) -> State) {
        let states: States = self.addresses.iter().map(|(address, entry)| (*address, state(entry))).collect();
        self.states.send_if_modified(|known| {
            let modified = *known != states;
            *known = states;
            modified
        });
    }

    /// Takes clients away from addresses, waits for what is on its way, and closes the sockets in the background.
    ///
    /// The element stays: what was said over TCP may end well, and another process may answer here. Its time is over
    /// before that of what holds new conversations away.
    async fn leave(&mut self, addresses: Vec<(IpAddr, Address)>) {
        let open: Vec<_> = addresses.into_iter().filter_map(|(a, entry)| Some((a, entry.answering?))).collect();
        if open.is_empty() {
            return;
        }
        let steps: Vec<Step> = open.iter().map(|(a, _)| Step::Put(Set::Held, *a, HOLD)).collect();
        if let Err(error) = with_table(&self.table, move |table| table.commit(&steps)).await {
            tracing::warn!("{error}; queries on their way may be lost");
        }
        self.closing.spawn(async move {
            sleep(DRAIN).await;
            let closed = open.iter().map(|(address, _)| *address).collect();
            let mut closing: JoinSet<()> = open.into_iter().map(|(_, answering)| answering.close()).collect();
            while closing.join_next().await.is_some() {}
            closed
        });
    }

    async fn end(mut self, ending: Ending) {
        self.publish(|_| State::Off(Why::Stopping));
        self.questions.shutdown().await;
        let all = std::mem::take(&mut self.addresses).into_iter().collect();
        self.leave(all).await;
        let closed = async { while self.closing.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN + CLOSING, closed).await.is_err() {
            tracing::warn!("the sockets of the DNS redirect were not closed within {} s", CLOSING.as_secs());
        }
        if ending == Ending::Off {
            remove().await.unwrap_or_else(|error| tracing::warn!("{error}"));
        }
    }
}

/// Does something with the tables where it may take its time: somebody else may be changing the ruleset.
async fn with_table<T: Send + 'static>(
    table: &Arc<Mutex<RedirectTable>>,
    work: impl FnOnce(&mut RedirectTable) -> Result<T, KernelError> + Send + 'static,
) -> Result<T, KernelError> {
    let table = table.clone();
    let done = spawn_blocking(move || work(&mut table.lock().unwrap_or_else(PoisonError::into_inner))).await;
    done.unwrap_or_else(|error| {
        Err(KernelError::Failed { attempt: "changing the DNS redirect".into(), reason: error.to_string() })
    })
}

/// The next change by somebody else.
async fn heard(monitor: &mut Option<RulesetMonitor>) -> Result<ForeignChange, KernelError> {
    match monitor {
        Some(monitor) => monitor.changed().await,
        None => std::future::pending().await,
    }
}

/// Says of a change what it means. What is not on yet is no reason to worry.
fn log(address: IpAddr, before: &State, now: &State) {
    match (before, now) {
        (_, State::On) => tracing::info!("DNS queries to {address} are answered on this node"),
        (State::Off(_), State::Off(why @ (Why::NotReady | Why::SelfQuery(_) | Why::Stopping))) => {
            tracing::debug!("DNS queries to {address} go to the Service's endpoints still: {why}");
        }
        (_, State::Off(why)) => tracing::warn!("DNS queries to {address} go to the Service's endpoints: {why}"),
    }
}
