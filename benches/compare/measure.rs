use std::{
    thread,
    time::{Duration, Instant},
};

use portolan::{
    kernel::{DataPlane, NetlinkDataPlane},
    lab::in_namespace,
    model::Family,
};
use serde::{Deserialize, Serialize};

use crate::{
    cluster::{
        Process,
        nftables::{Announcements, Counter},
    },
    objects::Objects,
    options::Options,
    processes::processor_seconds,
    subject::{Program, Subject},
    usage::{MemoryWatch, Peak},
};

/// How long a start or a change may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a program is left alone after its start and after the churn, so that the next figure is not of them.
const SETTLE: Duration = Duration::from_secs(5);

/// What was found out about one program with one number of Services. Times in seconds, memory in bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    pub program: Program,
    pub services: usize,
    pub endpoints: usize,
    /// From the start of the process until the kernel holds everything
    pub start: f64,
    /// Processor time of that, and of 5 s to come to rest
    pub start_processor: f64,
    /// Peak memory after the start
    pub start_memory: u64,
    /// For each single change, from the API's answer to the kernel's announcement
    pub changes: Vec<f64>,
    /// How long it was idle, and the processor time of that
    pub idle: f64,
    pub idle_processor: f64,
    /// How long it was under churn, how many changes that were, and the processor time of it
    pub churn: f64,
    pub churn_changes: usize,
    pub churn_processor: f64,
    /// One more change right behind them, from the API's answer to the kernel's announcement
    pub churn_last: f64,
    /// Peak memory of the process, of what it spawned, and of both at one time
    pub memory_own: u64,
    pub memory_children: u64,
    pub memory: u64,
}

/// Measures a program from its start to its end.
pub fn run(subject: &Subject<'_>, objects: &mut Objects, options: &Options) -> Measured {
    let label = format!("{} with {} x {}", subject.program, objects.services(), objects.endpoints());
    eprintln!("{label}: start");
    let (mut process, start, watch) = start(subject, objects);
    thread::sleep(SETTLE);
    let (start_processor, start_memory) = (processor_seconds(process.id()), watch.peak().both);
    eprintln!("{label}: programmed after {start:.3} s; {} changes", options.changes);
    let changes = changes(subject, objects, options, &process);
    eprintln!("{label}: churn for {} s", options.churn_seconds);
    let (started, before) = (Instant::now(), processor_seconds(process.id()));
    let churn_changes = churn(objects, options);
    let churn = started.elapsed().as_secs_f64();
    let churn_last = change(&mut Announcements::listen(&subject.namespace), objects, &process);
    thread::sleep(SETTLE);
    let churn_processor = processor_seconds(process.id()) - before;
    assert!(process.is_alive(), "{}", process.last_words());
    let Peak { own, children, both } = watch.peak();
    drop(watch);
    process.terminate(PATIENCE);
    Measured {
        program: subject.program,
        services: objects.services(),
        endpoints: objects.endpoints(),
        start,
        start_processor,
        start_memory,
        changes,
        idle: 0.0,
        idle_processor: 0.0,
        churn,
        churn_changes,
        churn_processor,
        churn_last,
        memory_own: own,
        memory_children: children,
        memory: both,
    }
}

/// Starts the program and waits until everything is programmed: looks at the ruleset's generation every millisecond, and
/// counts elements only when it has moved.
fn start(subject: &Subject<'_>, objects: &Objects) -> (Process, f64, MemoryWatch) {
    let mut kernel = in_namespace(&subject.namespace, NetlinkDataPlane::open).unwrap().unwrap();
    let mut counter = Counter::open(&subject.namespace);
    let wanted = subject.complete(objects.services(), objects.endpoints());
    let mut seen = kernel.generation().unwrap();
    let started = Instant::now();
    let mut process = subject.start();
    let watch = MemoryWatch::start(process.id());
    loop {
        let generation = kernel.generation().unwrap();
        let noticed = Instant::now();
        if generation != seen {
            seen = generation;
            let mut counts = wanted.iter().map(|set| counter.elements(Family::V4, set.table, set.set) == set.elements);
            if counts.all(|complete| complete) {
                return (process, (noticed - started).as_secs_f64(), watch);
            }
        }
        assert!(process.is_alive() && started.elapsed() < PATIENCE, "{}", process.last_words());
        thread::sleep(Duration::from_millis(1));
    }
}

/// Replaces one endpoint after another, each in silence.
fn changes(subject: &Subject<'_>, objects: &mut Objects, options: &Options, process: &Process) -> Vec<f64> {
    let mut announcements = Announcements::listen(&subject.namespace);
    let (mut times, begun) = (Vec::new(), Instant::now());
    while times.len() < options.changes && begun.elapsed().as_secs() < options.changes_seconds {
        times.push(change(&mut announcements, objects, process));
        thread::sleep(options.pause_ms.of(subject.program));
    }
    times
}

/// Replaces one endpoint; how long that took to reach the kernel after the API had taken it.
fn change(announcements: &mut Announcements, objects: &mut Objects, process: &Process) -> f64 {
    let (change, address) = objects.next_change();
    objects.client().replace(&change);
    let written = Instant::now();
    let Some(announced) = announcements.of_address(address, PATIENCE) else {
        panic!("no rule with {address}: {}", process.last_words());
    };
    announced.saturating_duration_since(written).as_secs_f64()
}

/// Starts all programs once more, each on its own node, and measures what they take while nothing happens: at the same
/// time, for idle programs are not in each other's way.
pub fn idle(subjects: &[Subject<'_>], objects: &Objects, options: &Options, results: &mut [Measured]) {
    eprintln!("{} x {}: all are started again, to be idle", objects.services(), objects.endpoints());
    let mut running: Vec<Process> = subjects.iter().map(|subject| start(subject, objects).0).collect();
    thread::sleep(2 * SETTLE);
    eprintln!("idle for {} s", options.idle_seconds);
    let before: Vec<f64> = running.iter().map(|process| processor_seconds(process.id())).collect();
    let started = Instant::now();
    thread::sleep(Duration::from_secs(options.idle_seconds));
    for ((process, before), measured) in running.iter_mut().zip(before).zip(results) {
        assert!(process.is_alive(), "{}", process.last_words());
        measured.idle = started.elapsed().as_secs_f64();
        measured.idle_processor = processor_seconds(process.id()) - before;
    }
    for process in running {
        process.terminate(PATIENCE);
    }
}

/// Changes endpoints at a steady rate; how often.
fn churn(objects: &mut Objects, options: &Options) -> usize {
    let total = options.churn_seconds * u64::from(options.churn_rate);
    let changes: Vec<_> = (0..total).map(|_| objects.next_change().0).collect();
    objects.client().replace_steadily(&changes, options.churn_rate);
    changes.len()
}
