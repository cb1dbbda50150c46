//! From objects to the snapshots that answers are made from, wherever the objects come from.
//!
//! [`Names`] is written by one task, [`Served`] is read by every thread that answers. Changes that come together are
//! published together: an SRV record and its glue, a name and its reverse are always of one moment (2.7).

mod stats;

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::{
    answers::Sources,
    config::dns::{DnsConfig, KubernetesOptions},
    objects::{Object, SERVICE_NAME_LABEL},
    zone::{Builder, Snapshot, State},
};

pub use stats::{LATENCIES, NameStats, PROGRAMMING};

/// So long after a change others are waited for, to be published with it.
pub const GATHER: Duration = Duration::from_millis(20);
/// The newest snapshot of every block.
pub type Served = ArcSwap<Snapshots>;

/// What all blocks answer from at one moment.
#[derive(Debug)]
pub struct Snapshots {
    by_block: Box<[Option<Arc<Snapshot>>]>,
    /// How often something was published
    pub generation: u64,
    /// When
    pub published: Instant,
}

impl Sources for Snapshots {
    fn snapshot(&self, block: usize) -> Option<&Snapshot> {
        self.by_block.get(block)?.as_deref()
    }
}

impl Snapshots {
    /// Each block with the snapshot it answers from.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Arc<Snapshot>)> {
        self.by_block.iter().enumerate().filter_map(|(block, snapshot)| Some((block, snapshot.as_ref()?)))
    }

    /// The cluster IPs of the Service that clients ask, in order.
    pub fn dns_addresses(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> =
            self.iter().flat_map(|(_, snapshot)| snapshot.dns_addresses()).copied().collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}

/// Keeps the names of all `kubernetes` blocks.
#[derive(Debug)]
pub struct Names {
    builders: Vec<Option<Builder>>,
    options: Vec<Option<Arc<KubernetesOptions>>>,
    served: Arc<Served>,
    stats: Arc<NameStats>,
    state: State,
    serial: u32,
    gather: Duration,
    /// When the oldest change came that is not published
    waiting: Option<Instant>,
    /// When endpoints of headless Services changed that are not published
    triggers: Vec<Timestamp>,
}

impl Names {
    /// No names yet: until [`Names::synced`] the cluster's zones are answered with SERVFAIL.
    pub fn new(config: &DnsConfig) -> Self {
        let options = options(config);
        let builders = options.iter().map(|options| options.clone().map(Builder::new)).collect();
        let nothing =
            Snapshots { by_block: options.iter().map(|_| None).collect(), generation: 0, published: Instant::now() };
        Self {
            builders,
            options,
            served: Arc::new(ArcSwap::from_pointee(nothing)),
            stats: Arc::default(),
            state: State::Unsynced,
            serial: 0,
            gather: GATHER,
            waiting: None,
            triggers: Vec::new(),
        }
    }

    /// The same, with another time than [`GATHER`]: none for who gathers changes before they come here.
    pub fn gathering(self, gather: Duration) -> Self {
        Self { gather, ..self }
    }

    /// No names yet, to take the place of these one day; what is counted goes on.
    pub fn anew(&self, config: &DnsConfig) -> Self {
        Self { stats: self.stats.clone(), serial: self.serial, gather: self.gather, ..Self::new(config) }
    }

    /// Takes the place of others: generations go on from theirs.
    pub fn take_place_of(&mut self, others: &Self) {
        let (own, generation) = (self.served.load_full(), others.served.load().generation + 1);
        self.serial = self.serial.max(others.serial);
        self.served.store(Arc::new(Snapshots { by_block: own.by_block.clone(), generation, published: own.published }));
    }

    /// What readers hold on to.
    pub fn served(&self) -> Arc<Served> {
        self.served.clone()
    }

    /// What was counted.
    pub fn stats(&self) -> Arc<NameStats> {
        self.stats.clone()
    }

    /// Whether a configuration's names can be made of the objects that are known. If not, names that begin anew are
    /// needed.
    pub fn fit(&self, config: &DnsConfig) -> bool {
        self.places(&options(config)).is_some()
    }

    /// Serves another configuration, which must [`Names::fit`]. Who reads what was served so far goes on seeing that as
    /// it was: [`Names::served`] is another one from now on, since blocks may stand elsewhere.
    pub fn take_up(&mut self, config: &DnsConfig) {
        let options = options(config);
        let Some(places) = self.places(&options).filter(|_| options != self.options) else { return };
        let old = self.served.load_full();
        // What an earlier process left was made by the options of then.
        let usable = |place: usize, block: usize| self.state == State::Synced || self.options[place] == options[block];
        let of_block = |(block, place): (usize, &Option<usize>)| {
            old.by_block.get((*place).filter(|place| usable(*place, block))?)?.clone()
        };
        let by_block = places.iter().enumerate().map(of_block).collect();
        self.builders = places.iter().map(|place| self.builders.get_mut((*place)?)?.take()).collect();
        self.options = options;
        for (builder, options) in self.builders.iter_mut().zip(&self.options) {
            if let (Some(builder), Some(options)) = (builder, options) {
                builder.change_options(options.clone());
            }
        }
        let moved = Snapshots { by_block, generation: old.generation + 1, published: old.published };
        self.served = Arc::new(ArcSwap::from_pointee(moved));
        self.publish();
    }

    /// Whose builder each block takes, by the place of that block so far; none if they do not suffice. Only what
    /// `kubernetes` says matters, not where the blocks stand.
    fn places(&self, wanted: &[Option<Arc<KubernetesOptions>>]) -> Option<Vec<Option<usize>>> {
        let mut free: Vec<usize> = (0..self.builders.len()).filter(|place| self.builders[*place].is_some()).collect();
        let mut places = vec![None; wanted.len()];
        // Blocks that say the same as before have their names already; of the others each takes what fits.
        for same in [true, false] {
            for (options, found) in wanted.iter().zip(&mut places) {
                let Some(options) = options.as_ref().filter(|_| found.is_none()) else { continue };
                let suits = |place: &usize| match same {
                    true => self.options[*place].as_ref() == Some(options),
                    false => self.builders[*place].as_ref().is_some_and(|builder| builder.fits(options)),
                };
                *found = free.iter().position(suits).map(|at| free.remove(at));
            }
        }
        let complete = wanted.iter().zip(&places).all(|(options, place)| options.is_some() == place.is_some());
        complete.then_some(places)
    }

    /// The options of each block; none for blocks without the cluster's names.
    pub fn all_options(&self) -> impl Iterator<Item = Option<&Arc<KubernetesOptions>>> {
        self.options.iter().map(Option::as_ref)
    }

    /// How much is known.
    pub fn state(&self) -> State {
        self.state
    }

    /// An object is there, new or changed.
    pub fn put(&mut self, object: &Object) {
        if self.each(|builder| builder.put(object)) {
            self.triggers.extend(self.trigger(object));
        }
    }

    /// An object is gone; `kind` as [`Object::kind`] spells it.
    pub fn remove(&mut self, kind: &str, namespace: &str, name: &str) {
        self.each(|builder| builder.remove(kind, namespace, name));
    }

    /// When the change was made that a headless Service's slice brings. What was there at the start does not count.
    fn trigger(&self, object: &Object) -> Option<Timestamp> {
        let Object::EndpointSlice(slice) = object else { return None };
        let trigger = slice.change_trigger().filter(|_| self.state == State::Synced)?;
        let service = slice.metadata.labels.get(SERVICE_NAME_LABEL)?;
        let headless = |builder: &Builder| builder.is_headless(object.namespace(), service);
        self.builders.iter().flatten().any(headless).then_some(trigger)
    }

    /// Everything that there is has been put once. Stays so, whatever happens to the source (2.7).
    pub fn synced(&mut self) {
        if self.state != State::Synced {
            self.state = State::Synced;
            // The first time there is nobody who would have to see two changes at once.
            self.publish();
        }
    }

    /// Serves what an earlier process left, until there is better. `snapshots` are in the order of the blocks.
    pub fn serve_stale(&mut self, snapshots: Vec<Option<Arc<Snapshot>>>) {
        if self.state == State::Unsynced && snapshots.len() == self.builders.len() {
            self.state = State::Stale;
            self.serial = snapshots.iter().flatten().map(|snapshot| snapshot.serial()).max().unwrap_or_default();
            self.store(snapshots.into());
        }
    }

    /// What was left has become too old to be served.
    pub fn forget_stale(&mut self) {
        if self.state == State::Stale {
            self.state = State::Unsynced;
            self.store(self.builders.iter().map(|_| None).collect());
        }
    }

    /// When to [`Names::publish`]; none while there is nothing to publish.
    pub fn due(&self) -> Option<Instant> {
        self.waiting.filter(|_| self.state == State::Synced).map(|since| since + self.gather)
    }

    /// Makes every change so far visible.
    pub fn publish(&mut self) {
        let since = self.waiting.take();
        if self.state != State::Synced {
            return;
        }
        let mut changed = self.served.load().generation == 0 || self.served.load().iter().count() == 0;
        for builder in self.builders.iter_mut().flatten() {
            changed |= builder.settle();
        }
        changed |= self.served.load().iter().any(|(_, snapshot)| snapshot.state() != State::Synced);
        if !changed {
            self.triggers.clear();
            return;
        }
        self.serial = next_serial(self.serial);
        let (state, serial) = (self.state, self.serial);
        let publish = |builder: &mut Option<Builder>| builder.as_mut().map(|builder| builder.publish(state, serial));
        let snapshots = self.builders.iter_mut().map(publish).collect();
        self.store(snapshots);
        if let Some(since) = since {
            self.stats.took(since.elapsed());
        }
        let now = Timestamp::now();
        for trigger in self.triggers.drain(..) {
            self.stats.programmed(now.duration_since(trigger).unsigned_abs());
        }
    }

    fn store(&self, by_block: Box<[Option<Arc<Snapshot>>]>) {
        let generation = self.served.load().generation + 1;
        self.served.store(Arc::new(Snapshots { by_block, generation, published: Instant::now() }));
    }

    fn each(&mut self, mut change: impl FnMut(&mut Builder) -> bool) -> bool {
        self.stats.events.fetch_add(1, Relaxed);
        let mut changed = false;
        for builder in self.builders.iter_mut().flatten() {
            changed |= change(builder);
        }
        if changed {
            self.waiting.get_or_insert_with(Instant::now);
        }
        changed
    }
}

fn options(config: &DnsConfig) -> Vec<Option<Arc<KubernetesOptions>>> {
    config.servers.iter().map(|server| server.kubernetes.clone().map(Arc::new)).collect()
}

/// When names changed, in seconds of Unix time (1.3). Does not go back (RFC 1982), also if the clock does.
fn next_serial(last: u32) -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    u32::try_from(now).unwrap_or(u32::MAX).max(last)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        config::dns::{Name, ServerBlock},
        source::manifests,
        zone::Found,
    };

    fn config() -> DnsConfig {
        let zone: Name = "cluster.local".parse().unwrap();
        let kubernetes = KubernetesOptions::new(vec![zone]);
        let with = ServerBlock { kubernetes: Some(kubernetes), ..ServerBlock::new(vec![Name::root_vec()], 53) };
        DnsConfig { servers: vec![ServerBlock::new(vec![Name::root_vec()], 54), with] }
    }

    fn objects(text: &str) -> Vec<Object> {
        let read = manifests::read_text(Path::new("test"), text);
        read.objects.into_iter().map(|located| located.object).collect()
    }

    const SHOP: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n---\n\
                        {apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: \
                        {clusterIP: 10.96.20.1, ports: [{port: 80}]}}";

    fn there(served: &Served) -> bool {
        let snapshots = served.load();
        let snapshot = snapshots.snapshot(1).unwrap();
        matches!(snapshot.find(b"\x03web\x04shop\x03svc"), Found::Service(_))
    }

    #[test]
    fn nothing_is_served_before_all_is_known_and_changes_are_gathered_after() {
        let mut names = Names::new(&config());
        let served = names.served();
        let shop = objects(SHOP);
        shop.iter().for_each(|object| names.put(object));
        assert_eq!(names.due(), None);
        names.publish();
        assert!(served.load().snapshot(1).is_none());
        names.synced();
        assert!(there(&served));
        assert!(served.load().snapshot(0).is_none(), "a block without names of the cluster");
        let (first, serial) = (served.load().generation, served.load().snapshot(1).unwrap().serial());
        assert_eq!(names.due(), None);
        // The same again is no change.
        shop.iter().for_each(|object| names.put(object));
        assert_eq!(names.due(), None);
        names.remove("Service", "shop", "web");
        let due = names.due().unwrap();
        names.remove("Namespace", "", "shop");
        assert_eq!(names.due(), Some(due), "the first change decides when");
        assert!(there(&served), "not yet");
        names.publish();
        assert!(!there(&served));
        assert_eq!(served.load().generation, first + 1);
        assert!(served.load().snapshot(1).unwrap().serial() >= serial);
        assert_eq!(names.due(), None);
    }

    #[test]
    fn what_an_earlier_process_left_is_served_until_there_is_better() {
        let mut before = Names::new(&config());
        objects(SHOP).iter().for_each(|object| before.put(object));
        before.synced();
        let left: Vec<_> = (0..2).map(|block| before.served().load().by_block[block].clone()).collect();
        let serial = left[1].as_ref().unwrap().serial();
        let mut names = Names::new(&config());
        let served = names.served();
        names.serve_stale(left);
        assert!(there(&served));
        // Lists that are on their way do not show in parts.
        names.put(&objects(SHOP)[0]);
        names.publish();
        assert!(there(&served));
        names.synced();
        assert!(!there(&served), "the Service is gone");
        assert!(served.load().snapshot(1).unwrap().serial() >= serial);
        names.forget_stale();
        assert_eq!(names.state(), State::Synced);
    }

    /// Blocks may come, go and move: those with the cluster's names are known by what they say.
    #[test]
    fn names_go_with_their_blocks() {
        let mut names = Names::new(&config());
        let before = names.served();
        objects(SHOP).iter().for_each(|object| names.put(object));
        names.synced();
        let (generation, serial) = (before.load().generation, before.load().snapshot(1).unwrap().serial());
        let with = config().servers.remove(1);
        let without = |port| ServerBlock::new(vec![Name::root_vec()], port);
        let moved = DnsConfig { servers: vec![with.clone(), without(54), without(55)] };
        assert!(names.fit(&moved));
        names.take_up(&moved);
        let served = names.served();
        assert!(served.load().snapshot(0).is_some() && served.load().snapshot(1).is_none());
        assert!(there(&before), "who answers by the old configuration sees its blocks");
        assert!(served.load().generation > generation);
        let mut other = with.clone();
        other.kubernetes.as_mut().unwrap().ttl = 77;
        let back = DnsConfig { servers: vec![without(54), other.clone()] };
        names.take_up(&back);
        assert!(there(&names.served()), "other options of the same objects");
        assert_eq!(names.served().load().snapshot(1).unwrap().options().ttl, 77);
        // One more needs objects of its own, and so does one that keeps others.
        assert!(!names.fit(&DnsConfig { servers: vec![other, with.clone()] }));
        let mut selective = with;
        selective.kubernetes.as_mut().unwrap().namespaces = vec!["shop".to_owned()];
        let selective = DnsConfig { servers: vec![selective] };
        assert!(!names.fit(&selective));
        let mut anew = names.anew(&selective);
        anew.synced();
        anew.take_place_of(&names);
        assert!(anew.served().load().generation > names.served().load().generation);
        assert!(anew.served().load().snapshot(0).unwrap().serial() >= serial);
    }
}
