//! How servers serve: all are there at once, one at a time is asked.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    check,
    data::Data,
    dnsperf, flood,
    options::Options,
    questions,
    server::{Running, Server, Subject},
};

/// What was found out about one server. Times in seconds, memory in bytes; a value for each round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Serving {
    pub server: Server,
    /// From the start of the process until it answered for everything
    pub start: f64,
    /// Memory then, and after all rounds
    pub memory_rest: u64,
    pub memory_after: u64,
    pub rounds: Vec<Round>,
}

/// One round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Round {
    /// Answers a second to dnsperf without a limit, and queries lost
    pub dnsperf: f64,
    pub dnsperf_lost: f64,
    /// Answers a second to a client that only counts, what part of its processor the server needed for them, and
    /// queries lost
    pub most: f64,
    pub busy: f64,
    pub most_lost: f64,
    /// Bytes of an answer, on average
    pub answer_size: f64,
    /// At a steady rate: latencies, processor time of a query, and queries lost
    pub p50: f64,
    pub p99: f64,
    pub processor: f64,
    pub steady_lost: f64,
}

/// Before a server is measured it is asked for so long.
const WARM_UP: Duration = Duration::from_secs(1);

/// The mix, for dnsperf and as messages.
struct Questions {
    file: PathBuf,
    messages: Vec<Vec<u8>>,
}

/// Measures all servers in turns. `questions` is the file for dnsperf.
pub fn run(subjects: &[Subject<'_>], data: &Data, options: &Options, questions: &Path) -> Vec<Serving> {
    let mut running: Vec<Running> = subjects.iter().map(|subject| subject.start(data)).collect();
    let mut results: Vec<Serving> =
        subjects.iter().zip(&running).map(|(subject, server)| at_rest(subject, server)).collect();
    let sample = questions::mix(data, options.checked);
    if let [first, others @ ..] = &running[..] {
        for (other, subject) in others.iter().zip(&subjects[1..]) {
            let names = [subjects[0].server, subject.server].map(|server| server.to_string());
            eprintln!("{} and {}: {} answers are compared", names[0], names[1], sample.len());
            check::compare([&names[0], &names[1]], [&first.asker, &other.asker], &sample);
        }
    }
    let questions = Questions { file: questions.into(), messages: flood::messages(questions) };
    for number in 1..=options.rounds {
        for ((subject, server), result) in subjects.iter().zip(&mut running).zip(&mut results) {
            let round = round(subject, server, options, &questions);
            eprintln!("round {number}, {}: {}", subject.server, serde_json::to_string(&round).unwrap());
            server.assert_alive();
            result.rounds.push(round);
        }
    }
    for (server, result) in running.iter().zip(&mut results) {
        result.memory_after = server.memory();
    }
    results
}

fn at_rest(subject: &Subject<'_>, server: &Running) -> Serving {
    let (start, memory_rest) = (server.start, server.memory());
    Serving { server: subject.server, start, memory_rest, memory_after: memory_rest, rounds: Vec::new() }
}

fn round(subject: &Subject<'_>, server: &Running, options: &Options, questions: &Questions) -> Round {
    let (namespace, seconds) = (&subject.namespace, options.seconds);
    flood::run(namespace, &questions.messages, WARM_UP);
    let before = server.processor();
    let flooded = flood::run(namespace, &questions.messages, Duration::from_secs(seconds));
    let busy = (server.processor() - before) / flooded.seconds;
    let most = dnsperf::saturate(namespace, &questions.file, seconds);
    let before = server.processor();
    let steady = dnsperf::steady(namespace, &questions.file, seconds, options.rate);
    let processor = (server.processor() - before) / steady.completed;
    Round {
        dnsperf: most.rate,
        dnsperf_lost: most.lost,
        most: flooded.answers as f64 / flooded.seconds,
        busy,
        most_lost: flooded.lost as f64,
        answer_size: most.answer_size,
        p50: steady.latency(0.5),
        p99: steady.latency(0.99),
        processor,
        steady_lost: steady.lost,
    }
}
