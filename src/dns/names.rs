//! From objects to the snapshots that answers are made from, wherever the objects come from.
//!
//! [`Names`] is written by one task, [`Served`] is read by every thread that answers. Changes that come together are
//! published together: an SRV record and its glue, a name and its reverse are always of one moment (2.7).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::{
    answers::Sources,
    config::dns::{DnsConfig, KubernetesOptions, ServerBlock},
    objects::{Object, SERVICE_NAME_LABEL},
    zone::{Builder, Snapshot, State},
};

/// So long after a change others are waited for, to be published with it.
pub const GATHER: Duration = Duration::from_millis(20);
/// Upper limits of the times until a change is visible, in seconds.
pub const LATENCIES: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.5, 1.0];

/// Upper limits of the times from a change of endpoints to their names: 0.001 seconds times powers of two, this many.
pub const PROGRAMMING: usize = 20;

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
}

/// What [`Names`] counts.
#[derive(Debug, Default)]
pub struct NameStats {
    /// Objects that came, changed or went
    pub events: AtomicU64,
    /// Times from a change to its publication, by [`LATENCIES`] and above, not cumulative
    pub latencies: [AtomicU64; LATENCIES.len() + 1],
    /// Their sum, in microseconds
    pub latency_sum: AtomicU64,
    /// Times from a change of a headless Service's endpoints, as their slice tells it, to its publication, by
    /// [`PROGRAMMING`] and above, not cumulative
    pub programming: [AtomicU64; PROGRAMMING + 1],
    /// Their sum, in microseconds
    pub programming_sum: AtomicU64,
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
    /// When the oldest change came that is not published
    waiting: Option<Instant>,
    /// When endpoints of headless Services changed that are not published
    triggers: Vec<Timestamp>,
}

impl Names {
    /// No names yet: until [`Names::synced`] the cluster's zones are answered with SERVFAIL.
    pub fn new(config: &DnsConfig) -> Self {
        let options: Vec<_> = config.servers.iter().map(|server| server.kubernetes.clone().map(Arc::new)).collect();
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
            waiting: None,
            triggers: Vec::new(),
        }
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
        let fits = |(builder, server): (&Option<Builder>, &ServerBlock)| match (builder, &server.kubernetes) {
            (Some(builder), Some(options)) => builder.fits(options),
            (None, None) => true,
            _ => false,
        };
        self.builders.len() == config.servers.len() && self.builders.iter().zip(&config.servers).all(fits)
    }

    /// Serves another configuration, which must [`Names::fit`].
    pub fn take_up(&mut self, config: &DnsConfig) {
        self.options = config.servers.iter().map(|server| server.kubernetes.clone().map(Arc::new)).collect();
        for (builder, options) in self.builders.iter_mut().zip(&self.options) {
            if let (Some(builder), Some(options)) = (builder, options) {
                builder.change_options(options.clone());
            }
        }
        self.publish();
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
        self.triggers.extend(self.trigger(object));
        self.each(|builder| builder.put(object));
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
        self.waiting.filter(|_| self.state == State::Synced).map(|since| since + GATHER)
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

    fn each(&mut self, mut change: impl FnMut(&mut Builder) -> bool) {
        self.stats.events.fetch_add(1, Relaxed);
        let mut changed = false;
        for builder in self.builders.iter_mut().flatten() {
            changed |= change(builder);
        }
        if changed {
            self.waiting.get_or_insert_with(Instant::now);
        }
    }
}

impl NameStats {
    fn programmed(&self, took: Duration) {
        let class = (0..PROGRAMMING).find(|power| took <= Duration::from_millis(1 << power)).unwrap_or(PROGRAMMING);
        self.programming[class].fetch_add(1, Relaxed);
        self.programming_sum.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    fn took(&self, took: Duration) {
        let class = LATENCIES.iter().position(|limit| took.as_secs_f64() <= *limit).unwrap_or(LATENCIES.len());
        self.latencies[class].fetch_add(1, Relaxed);
        self.latency_sum.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// Greater than the one before, and than those of processes before this one, unless they published more than once a
/// second all their lives: what begins with the time does not go back.
fn next_serial(last: u32) -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = u32::try_from(now).unwrap_or(u32::MAX);
    now.max(last.wrapping_add(1))
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
        assert!(served.load().snapshot(1).unwrap().serial() > serial);
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
        assert!(served.load().snapshot(1).unwrap().serial() > serial);
        names.forget_stale();
        assert_eq!(names.state(), State::Synced);
    }
}
