//! How long it takes, and how much memory, to program a node: Portolan beside rulesets of kube-proxy's shape.
//!
//! `cargo bench --bench programming` prints Markdown tables; docs/benchmarks.md holds a copy. Every row is measured in
//! a process and a network namespace of its own. `--quick` leaves out the largest rows.

mod common;

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use common::kube_proxy_shape::Shape;
use common::{Cluster, Table, mebibytes, milliseconds, peak_memory};
use portolan::{
    agent::Agent,
    desired::Desired,
    kernel::{DataPlane, NetlinkDataPlane},
    model::Family,
    tables::{Contents, Program},
};
use serde::{Deserialize, Serialize};

/// Endpoint changes of the churn measurement.
const CHANGES: usize = 400;

/// What a child process measures.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Job {
    Load(Cluster),
    Restart(Cluster),
    Change(Cluster),
    Peer(Shape, Cluster),
}

/// Times in seconds, memory in bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Measured {
    compile: f64,
    diff: f64,
    encode: f64,
    commit: f64,
    total: f64,
    elements: usize,
    memory: u64,
    changes: Vec<f64>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(job) = arguments.iter().position(|a| a == "--job").and_then(|at| arguments.get(at + 1)) {
        let measured = run(serde_json::from_str(job).unwrap());
        println!("{}", serde_json::to_string(&measured).unwrap());
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: the benchmark programs a kernel and needs root");
        return;
    }
    let quick = arguments.iter().any(|a| a == "--quick");
    loads(quick);
    changes(quick);
    peers(quick);
}

fn loads(quick: bool) {
    let mut table = Table::new(&[
        "services x endpoints",
        "elements",
        "compile ms",
        "diff ms",
        "encode ms",
        "commit ms",
        "total ms",
        "peak MiB",
        "restart ms",
    ]);
    let mut clusters = vec![Cluster::new(1_000, 10), Cluster::new(10_000, 10)];
    if !quick {
        clusters.extend([Cluster::new(44_000, 1), Cluster::new(5_000, 50)]);
    }
    for cluster in clusters {
        let load = in_child(Job::Load(cluster));
        let restart = in_child(Job::Restart(cluster));
        table.row(&[
            cluster.to_string(),
            load.elements.to_string(),
            milliseconds(load.compile),
            milliseconds(load.diff),
            milliseconds(load.encode),
            milliseconds(load.commit),
            milliseconds(load.total),
            mebibytes(load.memory),
            milliseconds(restart.total),
        ]);
    }
    println!("### A node starts: everything is programmed\n\n{table}");
}

fn changes(quick: bool) {
    let mut table = Table::new(&["services x endpoints", "changes", "p50 ms", "p99 ms", "slowest ms"]);
    let cluster = if quick { Cluster::new(1_000, 10) } else { Cluster::new(10_000, 10) };
    let mut changes = in_child(Job::Change(cluster)).changes;
    changes.sort_by(f64::total_cmp);
    let at = |percent: usize| milliseconds(changes[(changes.len() - 1) * percent / 100]);
    table.row(&[cluster.to_string(), changes.len().to_string(), at(50), at(99), at(100)]);
    println!("### One endpoint changes: from the slice to the committed kernel\n\n{table}");
}

fn peers(quick: bool) {
    let mut table =
        Table::new(&["services x endpoints", "ruleset", "ms", "times Portolan", "peak MiB", "times Portolan"]);
    let sizes: &[usize] = if quick { &[500] } else { &[500, 1_000, 2_000] };
    for services in sizes {
        let cluster = Cluster::new(*services, 10);
        let own = in_child(Job::Load(cluster));
        table.row(&[
            cluster.to_string(),
            "Portolan".into(),
            milliseconds(own.total),
            "1".into(),
            mebibytes(own.memory),
            "1".into(),
        ]);
        for shape in Shape::ALL {
            let peer = in_child(Job::Peer(shape, cluster));
            table.row(&[
                cluster.to_string(),
                shape.to_string(),
                milliseconds(peer.total),
                format!("{:.0}", peer.total / own.total),
                mebibytes(peer.memory),
                format!("{:.1}", peer.memory as f64 / own.memory as f64),
            ]);
        }
    }
    println!("### Beside rulesets of kube-proxy's shape, loaded by `nft -f`\n\n{table}");
}

/// Runs a job in a process of its own, so that memory is that job's alone.
fn in_child(job: Job) -> Measured {
    eprintln!("{job:?} ...");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--job", &serde_json::to_string(&job).unwrap()])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{job:?} failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn run(job: Job) -> Measured {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    match job {
        Job::Load(cluster) => load(cluster),
        Job::Restart(cluster) => restart(cluster),
        Job::Change(cluster) => change(cluster),
        Job::Peer(shape, cluster) => peer(shape, cluster),
    }
}

fn load(cluster: Cluster) -> Measured {
    let (world, settings) = (cluster.world(), Cluster::settings());
    let mut kernel = NetlinkDataPlane::open().unwrap();
    let programs = Family::ALL.map(|family| Program::new(family, &settings));
    let started = Instant::now();
    kernel.install(&programs).unwrap();
    let installed = started.elapsed();

    let mut desired = Desired::default();
    let mut contents = Contents::default();
    let started = Instant::now();
    desired.replace(world, settings);
    let work = desired.work(&contents);
    let compile = started.elapsed();

    let started = Instant::now();
    let transaction = contents.change(&work.changes);
    let diff = started.elapsed();
    contents.accept(work.changes);

    let (encode, commit) = timed_commit(&mut kernel, &transaction);
    Measured {
        compile: compile.as_secs_f64(),
        diff: diff.as_secs_f64(),
        encode: encode.as_secs_f64(),
        commit: (installed + commit).as_secs_f64(),
        total: (installed + compile + diff + encode + commit).as_secs_f64(),
        elements: transaction.add.len(),
        memory: peak_memory(),
        ..Measured::default()
    }
}

fn timed_commit(kernel: &mut NetlinkDataPlane, transaction: &portolan::tables::Transaction) -> (Duration, Duration) {
    let started = Instant::now();
    let bytes = kernel.encode(transaction);
    let encode = started.elapsed();
    assert!(bytes > 0);
    let started = Instant::now();
    kernel.commit(transaction).unwrap();
    (encode, started.elapsed().saturating_sub(encode))
}

/// A new process finds a kernel that holds everything already.
fn restart(cluster: Cluster) -> Measured {
    let mut agent = Agent::new(NetlinkDataPlane::open().unwrap());
    agent.set(cluster.world(), Cluster::settings(), false);
    agent.sync().unwrap();
    let world = cluster.world();
    let started = Instant::now();
    let mut agent = Agent::new(NetlinkDataPlane::open().unwrap());
    agent.set(world, Cluster::settings(), false);
    let synced = agent.sync().unwrap();
    let total = started.elapsed().as_secs_f64();
    assert!(synced.changed.is_empty(), "a restart found something to change");
    Measured { total, memory: peak_memory(), ..Measured::default() }
}

/// Endpoints of one Service after another are replaced, one at a time.
fn change(cluster: Cluster) -> Measured {
    let mut agent = Agent::new(NetlinkDataPlane::open().unwrap());
    agent.set(cluster.world(), Cluster::settings(), false);
    agent.sync().unwrap();
    let mut changes = Vec::new();
    for number in 0..CHANGES {
        let slice = cluster.changed_slice(number * 7 % cluster.services, number);
        let started = Instant::now();
        agent.desired().put_slice(slice);
        let synced = agent.sync().unwrap();
        changes.push(started.elapsed().as_secs_f64());
        assert_eq!(synced.changed.len(), 1);
    }
    Measured { changes, memory: peak_memory(), ..Measured::default() }
}

fn peer(shape: Shape, cluster: Cluster) -> Measured {
    let text = shape.ruleset(cluster);
    let started = Instant::now();
    let memory = common::load_with_nft(&text);
    Measured { total: started.elapsed().as_secs_f64(), memory, ..Measured::default() }
}
