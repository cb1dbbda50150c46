//! Answering this node's own clients at the addresses of the DNS Service (3.3).

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch};

use super::responder::Group;
use crate::{
    config::dns::{DnsConfig, Name},
    dns::{
        redirect::{
            Answering, DNS_PORT, Ending, Inputs, Keeper, Later, Numbers, RedirectMarks, SelfQuery, Service, States,
            probe, sockets,
        },
        serve::{Counts, Heartbeats, Limits, Serving, Sockets},
    },
    kernel::KernelError,
    zone::State,
};

/// The redirect of this node's queries to us, and what it goes by.
pub struct Node {
    keeper: Keeper,
    addresses: watch::Sender<Vec<IpAddr>>,
    ready: watch::Sender<bool>,
    zone: watch::Sender<Option<Name>>,
    open: Open,
}

impl Node {
    /// Begins. Nothing is redirected before [`Node::follow`] tells of names that are complete. Must be called within a
    /// runtime.
    ///
    /// # Errors
    /// No netlink socket.
    pub fn start(group: Arc<Group>, workers: usize, numbers: Numbers) -> Result<Self, KernelError> {
        let (addresses, addresses_seen) = watch::channel(Vec::new());
        let (ready, ready_seen) = watch::channel(false);
        let (zone, zone_seen) = watch::channel(None);
        let open = Open::default();
        let service =
            AtAddress { group, workers, marks: numbers.marks, open: open.clone(), runtime: Handle::current() };
        let inputs = Inputs {
            addresses: addresses_seen,
            ready: ready_seen,
            service: Arc::new(service),
            ask: ask(zone_seen, numbers.marks),
            numbers,
        };
        Ok(Self { keeper: Keeper::start(inputs)?, addresses, ready, zone, open })
    }

    /// Says what is known now: the addresses that are to be redirected, and how much of the names.
    pub fn follow(&self, config: &DnsConfig, addresses: &[IpAddr], state: State) {
        let set = |old: &mut Vec<IpAddr>| {
            *old != addresses && {
                *old = addresses.to_vec();
                true
            }
        };
        self.addresses.send_if_modified(set);
        let is_ready = state == State::Synced;
        self.ready.send_if_modified(|old| std::mem::replace(old, is_ready) != is_ready);
        let first =
            config.servers.iter().filter_map(|server| server.kubernetes.as_ref()?.zones.first()).next().cloned();
        self.zone.send_if_modified(|old| {
            *old != first && {
                *old = first.clone();
                true
            }
        });
    }

    /// How each address stands.
    pub fn states(&self) -> watch::Receiver<States> {
        self.keeper.states()
    }

    /// A reader of what the sockets saw, those that were closed as well.
    pub fn counter(&self) -> impl Fn() -> Counts + Send + Sync + 'static {
        let open = self.open.clone();
        move || open.counts()
    }

    /// Sends this node's clients to the Service again, answers what has arrived, and closes the sockets.
    pub async fn stop(self) {
        self.keeper.stop(Ending::Restart).await;
    }
}

/// What is open, for who counts.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<Sums>>);

#[derive(Default)]
struct Sums {
    open: BTreeMap<IpAddr, Box<dyn Fn() -> Counts + Send + Sync>>,
    closed: Counts,
}

impl Open {
    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> Counts {
        let sums = self.sums();
        let mut counts = sums.closed.clone();
        sums.open.values().for_each(|open| counts += open());
        counts
    }

    fn add(&self, address: IpAddr, counter: impl Fn() -> Counts + Send + Sync + 'static) {
        self.sums().open.insert(address, Box::new(counter));
    }

    fn close(&self, address: IpAddr) {
        let mut sums = self.sums();
        if let Some(closed) = sums.open.remove(&address) {
            sums.closed += Counts { outstanding: 0, ..closed() };
        }
    }
}

/// Answers at redirected addresses.
struct AtAddress {
    group: Arc<Group>,
    workers: usize,
    marks: RedirectMarks,
    open: Open,
    runtime: Handle,
}

impl Service for AtAddress {
    fn open(&self, address: IpAddr) -> Result<Box<dyn Answering>, String> {
        let serving = self.serve(address).map_err(|error| {
            format!(
                "cannot answer at {address}, port {DNS_PORT}: {error}; the process needs NET_ADMIN and NET_BIND_SERVICE"
            )
        })?;
        self.open.add(address, serving.counter());
        Ok(Box::new(Answers { beats: serving.heartbeats(), serving, address, open: self.open.clone() }))
    }
}

impl AtAddress {
    fn serve(&self, address: IpAddr) -> std::io::Result<Serving> {
        let mut sockets = Sockets::default();
        for _ in 0..self.workers.max(1) {
            sockets.udp.push(vec![sockets::udp(address, self.marks)?]);
        }
        sockets.tcp.push(sockets::tcp(address, self.marks)?);
        Serving::start(&self.group, sockets, Limits::default(), &self.runtime)
    }
}

/// What answers at one address.
struct Answers {
    serving: Serving,
    beats: Heartbeats,
    address: IpAddr,
    open: Open,
}

impl Answering for Answers {
    fn silence(&self) -> Duration {
        self.beats.oldest()
    }

    fn close(self: Box<Self>) -> Later<()> {
        Box::pin(async move {
            self.serving.stop().await;
            self.open.close(self.address);
        })
    }
}

/// Asks for the SOA of the cluster's zone: an answer to that takes everything that an answer takes.
fn ask(zone: watch::Receiver<Option<Name>>, marks: RedirectMarks) -> SelfQuery {
    Arc::new(move |address| {
        let zone = zone.borrow().clone();
        Box::pin(async move {
            let zone = zone.ok_or("no server block has the cluster's names")?;
            let query = soa_query(&zone);
            let answer = probe::ask(address, marks, &query).await?;
            match answer.get(..4) {
                // An answer (QR), authoritative (AA), NOERROR.
                Some([_, _, flags, code]) if flags & 0x84 == 0x84 && code & 0x0f == 0 => Ok(()),
                Some([_, _, _, code]) => Err(format!("code {}", code & 0x0f)),
                _ => Err("half a header".to_owned()),
            }
        })
    })
}

fn soa_query(zone: &Name) -> Vec<u8> {
    let id: u16 = rand::random();
    // One question, no wish for recursion.
    let mut query = [&id.to_be_bytes()[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    query.extend_from_slice(zone.as_octets());
    // SOA, IN
    query.extend_from_slice(&[0, 6, 0, 1]);
    query
}
