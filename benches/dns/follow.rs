//! How a server follows the API server: how soon a change is in its answers, and what many changes leave in memory.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    check,
    cluster::Client,
    data::{Data, Kind, ZONE, owner, target},
    options::Options,
    questions::Question,
    server::{Running, Server, Subject},
};

/// How long a change may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing happens for so long before every single change.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a server is asked while a change is on its way.
const INTERVAL: Duration = Duration::from_micros(200);
/// How long it is left alone after many changes.
const SETTLE: Duration = Duration::from_secs(10);
/// Changes are made ready in parts, each of so many.
const PART: usize = 2000;

/// What was found out about one server. Times in seconds, memory in bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Following {
    pub server: Server,
    /// From the start of the process until it answered for everything
    pub start: f64,
    pub memory_rest: u64,
    /// For each single change, from the API server's answer to the first answer with the new address
    pub changes: Vec<f64>,
    /// Many changes: how many, how long that took, how much processor time of the server
    pub churn_changes: usize,
    pub churn: f64,
    pub churn_processor: f64,
    /// One more change right behind them
    pub churn_last: f64,
    /// Memory afterwards
    pub memory_after: u64,
}

/// Measures one server from its start to its end.
pub fn run(subject: &Subject<'_>, data: &Data, options: &Options) -> Following {
    let mut server = subject.start(data);
    let memory_rest = server.memory();
    let client = subject.api().admin();
    let mut changes = Changes { data: *data, headless: data.of_kind(Kind::Headless), made: 0 };
    eprintln!("{}: {} single changes", subject.server, options.changes);
    let mut times = Vec::new();
    for _ in 0..options.changes {
        thread::sleep(PAUSE);
        times.push(change(&server, &client, &mut changes));
    }
    eprintln!("{}: {} changes without a pause", subject.server, options.churn);
    let (started, before) = (Instant::now(), server.processor());
    let mut left = options.churn;
    while left > 0 {
        let part: Vec<Value> = (0..left.min(PART)).map(|_| changes.next_slice()).collect();
        client.replace_steadily(&part, 1_000_000);
        left -= part.len();
    }
    let churn = started.elapsed().as_secs_f64();
    let churn_last = change(&server, &client, &mut changes);
    thread::sleep(SETTLE);
    server.assert_alive();
    let following = Following {
        server: subject.server,
        start: server.start,
        memory_rest,
        changes: times,
        churn_changes: options.churn,
        churn,
        churn_processor: server.processor() - before,
        churn_last,
        memory_after: server.memory(),
    };
    eprintln!("{}", serde_json::to_string(&following).unwrap());
    following
}

/// Makes one change; how long that took to reach an answer after the API server had taken it.
fn change(server: &Running, client: &Client, changes: &mut Changes) -> f64 {
    let (number, slice, address) = changes.next_headless();
    client.replace(&slice);
    let written = Instant::now();
    wait_for(server, number, address);
    written.elapsed().as_secs_f64()
}

/// Asks for a headless Service until the address is in the answer.
fn wait_for(server: &Running, number: usize, address: Ipv4Addr) {
    let wire = check::wire(&Question { name: format!("{}.{ZONE}", owner(number)), kind: "A".into() });
    let (started, mut buffer) = (Instant::now(), [0; 4096]);
    loop {
        let length = server.asker.exchange(&wire, &mut buffer).unwrap_or(0);
        // New addresses are all different and of a range of their own: nothing else in an answer looks like them.
        if buffer[..length].windows(4).any(|window| window == address.octets()) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{} did not get {address}", owner(number));
        thread::sleep(INTERVAL);
    }
}

/// Replaces one endpoint of some Service after another.
struct Changes {
    data: Data,
    headless: Vec<usize>,
    /// How many so far, so that every address is new
    made: u32,
}

impl Changes {
    /// Of a headless Service, which is where a client sees it: its number, the slice to write and the new address.
    fn next_headless(&mut self) -> (usize, Value, Ipv4Addr) {
        // A number that is prime to the number of Services goes round all of them.
        let number = self.headless[(self.made as usize * 7919) % self.headless.len()];
        let (slice, address) = self.change(number);
        (number, slice, address)
    }

    /// Of any Service that has endpoints.
    fn next_slice(&mut self) -> Value {
        let number = (self.made as usize * 7919) % self.data.services;
        // An alias has no endpoints; the Service behind it has.
        let number = if Kind::of(number) == Kind::External { target(number) } else { number };
        self.change(number).0
    }

    fn change(&mut self, number: usize) -> (Value, Ipv4Addr) {
        self.made += 1;
        let fresh = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 32, 0, 0)) + self.made);
        let index = self.made as usize % self.data.endpoints;
        (self.data.slice(number, Some((index, fresh))), fresh)
    }
}
