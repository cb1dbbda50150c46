//! What clients see while names change: always one state, never parts of two (2.7).

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    thread,
    time::Duration,
};

use portolan::{
    config::dns::{DnsConfig, corefile::parse},
    dns::{
        names::Names,
        process::{self, Feed},
    },
    objects::Object,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    answering::{Fixed, options},
    client::Udp,
    dns::decode::{Decoded, decode},
    sandbox::eventually,
    server::address,
};

/// How often the names change at least.
const CHANGES: u32 = 3000;
/// How often each client must have seen each of the two states; it goes on asking until it has.
const SEEN: u32 = 50;

/// One of two states of two headless Services with the same endpoints.
struct State {
    /// Begin of the host names
    host: &'static str,
    /// Addresses that only this state has, besides [`SHARED`]
    addresses: &'static [&'static str],
    port: u16,
}

/// An endpoint in both states, with another name in each.
const SHARED: &str = "10.9.9.9";
const STATES: [State; 2] = [
    State { host: "x", addresses: &["10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4"], port: 1111 },
    State { host: "y", addresses: &["10.2.0.1", "10.2.0.2"], port: 2222 },
];
const SERVICES: [&str; 2] = ["pair", "twin"];

impl State {
    fn hosts(&self) -> impl Iterator<Item = (String, &'static str)> {
        let addresses = self.addresses.iter().copied().chain([SHARED]).enumerate();
        addresses.map(|(number, address)| (format!("{}-{number}", self.host), address))
    }

    /// Two slices for each Service: they change together or not at all.
    fn slices(&self) -> Vec<Object> {
        let endpoints: Vec<Value> =
            self.hosts().map(|(host, address)| json!({"addresses": [address], "hostname": host})).collect();
        let halves = endpoints.split_at(endpoints.len() / 2);
        let slice = |service: &str, number: u8, endpoints: &[Value]| {
            object(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {
                    "name": format!("{service}-{number}"), "namespace": "shop",
                    "labels": {"kubernetes.io/service-name": service},
                },
                "ports": [{"name": "p", "port": self.port}], "endpoints": endpoints,
            }))
        };
        SERVICES.iter().flat_map(|service| [slice(service, 1, halves.0), slice(service, 2, halves.1)]).collect()
    }

    /// What a client may be told, all of it.
    fn answers(&self) -> [Told; 3] {
        let own = |host: &str, service: &str| format!("{host}.{service}.shop.svc.cluster.local.");
        let addresses = self.hosts().map(|(_, address)| address.to_owned()).collect();
        let glue = self.hosts().map(|(host, address)| format!("{} {address}", own(&host, "pair"))).collect();
        let targets = self.hosts().map(|(host, _)| format!("{} {}", self.port, own(&host, "pair"))).collect();
        let (shared, _) = self.hosts().last().expect("hosts");
        let names = SERVICES.iter().map(|service| own(&shared, service)).collect();
        [(addresses, BTreeSet::new()), (targets, glue), (names, BTreeSet::new())]
    }
}

/// Answers and glue.
type Told = (BTreeSet<String>, BTreeSet<String>);

fn object(value: Value) -> Object {
    let read = portolan::source::manifests::read_text("test.json".as_ref(), &value.to_string());
    assert!(read.notices.is_empty(), "{:?}", read.notices);
    read.objects.into_iter().next().expect("an object").object
}

/// The two states in turn, each published at once.
struct Alternating<'a> {
    begun: bool,
    states: [Vec<Object>; 2],
    changes: &'a AtomicU32,
}

impl Feed for Alternating<'_> {
    async fn changed(&mut self) {
        // Not in one go: those who answer are to see as many states as there are.
        tokio::time::sleep(Duration::from_micros(100)).await;
    }

    fn apply(&mut self, names: &mut Names) {
        if !self.begun {
            let metadata = |name: &str| json!({"name": name, "namespace": "shop"});
            names.put(&object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})));
            for service in SERVICES {
                let spec = json!({"clusterIP": "None", "ports": [{"name": "p", "port": 1}]});
                let metadata = metadata(service);
                names.put(&object(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})));
            }
        }
        let change = self.changes.fetch_add(1, Relaxed);
        self.states[change as usize % 2].iter().for_each(|slice| names.put(slice));
        if self.begun {
            names.publish()
        } else {
            names.synced()
        }
        self.begun = true;
    }

    fn again(&self, _: &DnsConfig) -> Result<Self, String> {
        Err("it begins once".to_owned())
    }

    fn missing(&self) -> Vec<String> {
        Vec::new()
    }
}

#[test]
fn no_answer_is_of_two_states() {
    let server = address();
    let text = format!(
        ".:{} {{\n bind {}\n kubernetes cluster.local in-addr.arpa\n loadbalance\n}}\n",
        server.port(),
        server.ip()
    );
    let (config, _) = parse(&text, "Corefile", &|_| None, &|_| Err("none".to_owned())).unwrap();
    let (changes, stop) = (AtomicU32::new(0), CancellationToken::new());
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut feed = Alternating { begun: false, states: STATES.map(|state| state.slices()), changes: &changes };
        let stopped = stop.clone();
        let running = scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(process::run(&options(2, None), &mut Fixed(config), &mut feed, stopped))
        });
        // Ends the process also when an assertion fails, or the scope would wait for it for ever.
        let stop = stop.drop_guard();
        eventually("names change", || changes.load(Relaxed) > 0);
        let asking: Vec<_> = (0..3)
            .map(|which| {
                scope.spawn({
                    let (changes, failed) = (&changes, &failed);
                    move || ask(server, which, changes, failed)
                })
            })
            .collect();
        let wrong: Vec<String> =
            asking.into_iter().filter_map(|asking| asking.join().expect("a client").err()).collect();
        drop(stop);
        running.join().expect("the process").unwrap();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// Asks one of the questions until both states were seen often enough, or something is wrong.
fn ask(server: SocketAddr, which: usize, changes: &AtomicU32, failed: &AtomicBool) -> Result<(), String> {
    let (name, qtype) = [
        ("pair.shop.svc.cluster.local", 1_u16),
        ("_p._tcp.pair.shop.svc.cluster.local", 33),
        ("9.9.9.10.in-addr.arpa", 12),
    ][which];
    let states = STATES.map(|state| state.answers()[which].clone());
    let client = Udp::new(server);
    let mut seen = [0; 2];
    while (changes.load(Relaxed) < CHANGES || seen.iter().any(|seen| *seen < SEEN)) && !failed.load(Relaxed) {
        let reply = client.ask(&query(name, qtype))?;
        let told = told(&decode(&reply)?);
        let Some(state) = states.iter().position(|state| *state == told) else {
            failed.store(true, Relaxed);
            return Err(format!("{name}: {told:#?} is neither of {states:#?}"));
        };
        seen[state] += 1;
    }
    Ok(())
}

fn query(name: &str, qtype: u16) -> Vec<u8> {
    let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).expect("a label"));
        query.extend(label.bytes());
    }
    query.push(0);
    query.extend(qtype.to_be_bytes());
    // The OPT record makes room for all of the answer and its glue.
    query.extend([0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    query
}

/// What an answer says, apart from the name asked for and what all records have in common.
fn told(decoded: &Decoded) -> Told {
    let answers = decoded.answer.iter().map(|record| {
        let fields: Vec<&str> = record.split(' ').collect();
        // Priority and weight of SRV records depend on how many there are.
        fields[if fields[3] == "SRV" { 6 } else { 4 }..].join(" ")
    });
    let glue = decoded.additional.iter().map(|record| {
        let fields: Vec<&str> = record.split(' ').collect();
        format!("{} {}", fields[0], fields[4])
    });
    (answers.collect(), glue.collect())
}
