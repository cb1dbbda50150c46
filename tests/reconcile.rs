//! From the API server's changes to the tables: what the loop waits for, what it keeps, and that any history ends where
//! a fresh start would.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use common::without_slot_order;
use ipnet::IpNet;
use portolan::{
    agent::{Agent, Synced},
    desired::Desired,
    health::{Health, NodeState},
    kernel::{Count, DataPlane, KernelError, MemoryDataPlane, monitor::RulesetMonitor},
    metrics::Metrics,
    model::{Family, Node, ServiceId, Settings, World, ingest},
    objects::Object,
    reconcile::{Changed, ClusterFeed, ClusterInputs, Inputs, Keeper, Observer, Pass, Reconciler, Timing},
    source::kube::{Change, Kind},
    tables::Contents,
};
use proptest::prelude::*;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

fn service(name: &str, cluster_ip: &str) -> Object {
    Object::Service(
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"clusterIP": cluster_ip, "clusterIPs": [cluster_ip], "ports": [{"name": "http", "port": 80}]},
        }))
        .unwrap(),
    )
}

fn slice(name: &str, service: &str, addresses: &[&str]) -> Object {
    let endpoints: Vec<_> = addresses.iter().map(|a| json!({"addresses": [a]})).collect();
    Object::EndpointSlice(
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": service},
                "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-11-21T08:00:00Z"},
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8080}],
        }))
        .unwrap(),
    )
}

fn node(address: &str) -> Object {
    let addresses = json!([{"type": "InternalIP", "address": address}]);
    Object::Node(
        serde_json::from_value(json!({"metadata": {"name": "here"}, "status": {"addresses": addresses}})).unwrap(),
    )
}

fn service_cidr(name: &str, cidr: &str) -> Object {
    Object::ServiceCidr(serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"cidrs": [cidr]}})).unwrap())
}

fn put(object: Object) -> Change {
    Change::Put(Box::new(object))
}

fn gone(object: &Object) -> Change {
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == object.kind()).unwrap();
    Change::Gone { kind, namespace: object.namespace().into(), name: object.metadata().name.as_str().into() }
}

/// An agent that keeps a copy of its tables after every pass.
struct Watched {
    agent: Agent<MemoryDataPlane>,
    tables: Arc<Mutex<Vec<BTreeSet<String>>>>,
}

impl Keeper for Watched {
    fn desired(&mut self) -> &mut Desired {
        self.agent.desired()
    }

    fn set_node(&mut self, node: Node, settings: Settings) {
        self.agent.set_node(node, settings);
    }

    fn set(&mut self, world: World, settings: Settings, refused: BTreeSet<ServiceId>, incomplete: bool) {
        self.agent.keep(refused);
        self.agent.set(world, settings, incomplete);
    }

    fn doubt(&mut self) {
        self.agent.doubt();
    }

    fn sync(&mut self) -> Result<Synced, KernelError> {
        let synced = self.agent.sync();
        let tables = without_slot_order(&self.agent.kernel().dump()?);
        self.tables.lock().unwrap().push(tables);
        synced
    }

    fn contents(&self) -> &Contents {
        self.agent.contents()
    }

    fn set_incomplete(&mut self, incomplete: bool) {
        self.agent.set_incomplete(incomplete);
    }

    fn retry(&mut self) {
        self.agent.retry();
    }

    fn watch(&mut self) -> Result<Option<RulesetMonitor>, KernelError> {
        Ok(None)
    }

    fn generation(&mut self) -> Result<u32, KernelError> {
        self.agent.kernel().generation()
    }

    fn counters(&mut self) -> Result<Vec<Count>, KernelError> {
        Ok(Vec::new())
    }
}

struct Passes {
    passes: mpsc::UnboundedSender<Changed>,
    health: Health,
}

impl Observer for Passes {
    fn changed(&mut self, changed: &Changed, ready: bool) {
        if changed.any() && ready {
            self.health.queued();
        }
    }

    fn failed(&mut self, _: &str) {}

    fn passed(&mut self, pass: &Pass, _: &mut impl Keeper) {
        self.passes.send(pass.changed.clone()).unwrap();
    }

    async fn asked(&mut self) {
        std::future::pending().await
    }

    fn answer(&mut self, _: &mut impl Keeper) {}
}

/// A running loop with its ends in hand.
struct Loop {
    changes: mpsc::Sender<Change>,
    passes: mpsc::UnboundedReceiver<Changed>,
    tables: Arc<Mutex<Vec<BTreeSet<String>>>>,
    health: Health,
    shutdown: CancellationToken,
}

impl Loop {
    /// Runs `test` beside a loop that loses its patience after `patience`.
    fn with(patience: Duration, test: impl AsyncFnOnce(&mut Loop)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (changes, receiver) = mpsc::channel(64);
            let (sender, passes) = mpsc::unbounded_channel();
            let tables = Arc::new(Mutex::new(Vec::new()));
            let keeper = Watched { agent: Agent::new(MemoryDataPlane::new()), tables: tables.clone() };
            let describe = |node: Node, _: &[IpNet]| (node, common::settings(), Vec::new());
            let inputs = ClusterInputs::new("here", Vec::new());
            let health = Health::new(Duration::from_secs(60), NodeState::Unknown);
            let feed = ClusterFeed::new(inputs, receiver, describe, patience, health.clone(), Metrics::new(0));
            let observer = Passes { passes: sender, health: health.clone() };
            let timing = Timing { least: Duration::from_millis(1), longest_retry: Duration::from_secs(1) };
            let reconciler = Reconciler::new(feed, keeper, observer, timing).await.unwrap();
            let shutdown = CancellationToken::new();
            let mut ends = Loop { changes, passes, tables, health, shutdown: shutdown.clone() };
            let run = reconciler.run(shutdown.clone());
            let test = async {
                test(&mut ends).await;
                ends.shutdown.cancel();
            };
            tokio::join!(run, test);
        });
    }

    async fn send(&self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            self.changes.send(change).await.unwrap();
        }
    }

    /// The changes of the next pass that had any.
    async fn pass(&mut self) -> Changed {
        let some = async {
            loop {
                let changed = self.passes.recv().await.unwrap();
                if changed.any() {
                    return changed;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), some).await.expect("a pass within ten seconds")
    }

    /// Whether the tables hold a target that begins so.
    fn holds(&self, text: &str) -> bool {
        self.tables.lock().unwrap().last().is_some_and(|tables| tables.iter().any(|row| row.contains(text)))
    }

    fn passes(&self) -> usize {
        self.tables.lock().unwrap().len()
    }
}

fn listed(kinds: &[Kind]) -> Vec<Change> {
    kinds.iter().copied().map(Change::Listed).collect()
}

#[test]
fn nothing_is_written_before_the_first_lists_are_complete() {
    Loop::with(Duration::from_secs(600), async |ends| {
        ends.send([put(service("web", "172.30.0.1")), put(node("192.168.49.11"))]).await;
        ends.send(listed(&[Kind::Service, Kind::Node, Kind::ServiceCidr])).await;
        ends.send([put(slice("web-1", "web", &["10.0.0.1"]))]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(ends.passes(), 0, "the list of EndpointSlices is not complete");
        let waiting = serde_json::to_string(&ends.health.readyz()).unwrap();
        assert!(waiting.contains("the list of EndpointSlices") && !waiting.contains("Services"), "{waiting}");
        ends.send(listed(&[Kind::EndpointSlice])).await;
        let changed = ends.pass().await;
        assert_eq!((changed.services, changed.slices), (1, 1));
        assert_eq!(changed.triggers, [(Family::V4, "2026-11-21T08:00:00Z".parse().unwrap())]);
        assert!(ends.holds("10.0.0.1"));
    });
}

#[test]
fn the_own_node_is_waited_for_only_so_long() {
    Loop::with(Duration::from_millis(30), async |ends| {
        ends.send([put(service("web", "172.30.0.1")), put(slice("web-1", "web", &["10.0.0.1"]))]).await;
        ends.send(listed(&[Kind::Service, Kind::EndpointSlice])).await;
        ends.pass().await;
        assert!(ends.holds("10.0.0.1"));
    });
}

#[test]
fn what_is_delivered_again_unchanged_causes_no_pass() {
    Loop::with(Duration::from_millis(10), async |ends| {
        let all = || [put(service("web", "172.30.0.1")), put(slice("web-1", "web", &["10.0.0.1"]))];
        ends.send(all()).await;
        ends.send(listed(&[Kind::Service, Kind::EndpointSlice, Kind::Node, Kind::ServiceCidr])).await;
        ends.pass().await;
        ends.send(all()).await;
        ends.send(listed(&[Kind::Service, Kind::EndpointSlice])).await;
        ends.send([put(slice("web-1", "web", &["10.0.0.2"]))]).await;
        let changed = ends.pass().await;
        assert_eq!((changed.services, changed.slices), (0, 1), "only the last one was a change");
        assert!(ends.holds("10.0.0.2") && !ends.holds("10.0.0.1"));
    });
}

#[test]
fn a_service_that_cannot_be_read_any_more_keeps_what_it_has() {
    Loop::with(Duration::from_millis(10), async |ends| {
        ends.send([put(service("web", "172.30.0.1")), put(slice("web-1", "web", &["10.0.0.1"]))]).await;
        ends.send(listed(&Kind::ALL)).await;
        ends.pass().await;
        let reference = service("web", "172.30.0.1").reference();
        ends.send([Change::Undecodable { object: reference, reason: "spec.ports: a map".into() }]).await;
        let changed = ends.pass().await;
        let notice = changed.notices[0].to_string();
        assert_eq!(notice, "Service shop/web: spec.ports: a map; what was programmed for it stays");
        assert!(ends.holds("10.0.0.1"));
        ends.send([gone(&service("web", "172.30.0.1"))]).await;
        ends.pass().await;
        assert!(!ends.holds("10.0.0.1"), "deleted is deleted");
    });
}

/// One step of an API server's life.
#[derive(Clone, Debug)]
enum Step {
    Put(Box<Object>),
    Delete(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c")];
    let address = prop_oneof![Just("10.0.0.1"), Just("10.0.0.2"), Just("10.0.0.3"), Just("no address")];
    let ip = prop_oneof![Just("172.30.0.1"), Just("172.30.0.2"), Just("None"), Just("bad")];
    let step = prop_oneof![
        (name.clone(), ip).prop_map(|(name, ip)| Step::Put(Box::new(service(name, ip)))),
        (name.clone(), name.clone(), proptest::collection::vec(address, 0..3))
            .prop_map(|(slice_name, of, addresses)| Step::Put(Box::new(slice(slice_name, of, &addresses)))),
        (name, prop_oneof![Just("172.30.0.0/16"), Just("172.31.0.0/16")])
            .prop_map(|(name, cidr)| Step::Put(Box::new(service_cidr(name, cidr)))),
        prop_oneof![Just("192.168.49.11"), Just("192.168.49.12")]
            .prop_map(|address| Step::Put(Box::new(node(address)))),
        (0..20_usize).prop_map(Step::Delete),
    ];
    proptest::collection::vec(step, 0..40)
}

proptest! {
    /// One object after the other gives the same inputs as all that are left at once.
    #[test]
    fn any_history_ends_where_a_fresh_start_would(steps in steps()) {
        let mut inputs = ClusterInputs::new("here", Vec::new());
        let mut desired = Desired::default();
        let mut objects = BTreeMap::new();
        for step in steps {
            let change = match step {
                Step::Put(object) => {
                    objects.insert(object.reference(), (*object).clone());
                    Change::Put(object)
                }
                // The node stays what it was when its object goes.
                Step::Delete(at) => match objects.keys().nth(at).cloned() {
                    Some(reference) if &*reference.kind != "Node" => gone(&objects.remove(&reference).unwrap()),
                    _ => continue,
                },
            };
            inputs.apply(&change, &mut desired);
        }
        let (mut wanted, _) = ingest::world("here", objects.values().map(|object| (object, None)));
        prop_assert_eq!(inputs.node(), &wanted.node);
        wanted.node = desired.world().node.clone();
        prop_assert_eq!(desired.world(), &wanted);
    }
}

#[test]
fn settings_follow_the_node_and_the_interfaces() {
    let mut inputs = ClusterInputs::new("here", Vec::new());
    let mut desired = Desired::default();
    inputs.apply(&put(node("192.168.49.11")), &mut desired);
    assert!(inputs.take_changed().node);
    inputs.apply(&put(node("192.168.49.11")), &mut desired);
    assert!(!inputs.take_changed().node);
    inputs.apply(&put(node("192.168.49.12")), &mut desired);
    assert!(inputs.take_changed().node);
    assert_eq!(inputs.node().addresses, ["192.168.49.12".parse::<IpAddr>().unwrap()]);
}

/// Inputs that cannot be read the first three times.
#[derive(Default)]
struct Unreadable {
    told: bool,
    tries: usize,
}

impl Inputs for Unreadable {
    async fn changed(&mut self) {
        if std::mem::replace(&mut self.told, true) {
            std::future::pending().await
        }
    }

    fn apply(&mut self, _: &mut impl Keeper, _: &[IpAddr]) -> anyhow::Result<Changed> {
        self.tries += 1;
        anyhow::ensure!(self.tries > 3, "no such file");
        Ok(Changed::default())
    }

    fn ready(&self) -> bool {
        true
    }
}

/// Tells of each pass whether it went well, and whether the inputs were not applied.
struct Flags(mpsc::UnboundedSender<(bool, bool)>);

impl Observer for Flags {
    fn changed(&mut self, _: &Changed, _: bool) {}

    fn failed(&mut self, _: &str) {}

    fn passed(&mut self, pass: &Pass, _: &mut impl Keeper) {
        self.0.send((pass.result.is_ok(), pass.unapplied)).unwrap();
    }

    async fn asked(&mut self) {
        std::future::pending().await
    }

    fn answer(&mut self, _: &mut impl Keeper) {}
}

#[test]
fn a_pass_says_that_inputs_could_not_be_applied() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let keeper = Watched { agent: Agent::new(MemoryDataPlane::new()), tables: Arc::default() };
        let (sender, mut passes) = mpsc::unbounded_channel();
        let timing = Timing { least: Duration::from_millis(1), longest_retry: Duration::from_millis(10) };
        let reconciler = Reconciler::new(Unreadable::default(), keeper, Flags(sender), timing).await.unwrap();
        let shutdown = CancellationToken::new();
        let test = async {
            let patience = Duration::from_secs(10);
            let mut next = async || tokio::time::timeout(patience, passes.recv()).await.unwrap().unwrap();
            while next().await != (true, true) {}
            while next().await != (true, false) {}
            shutdown.cancel();
        };
        tokio::join!(reconciler.run(shutdown.clone()), test);
    });
}
