//! Real packets, and whether they did what was predicted.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use portolan::{
    lab::{Outcome, PATIENCE, Probe},
    model::{Frontend, Protocol},
};
use serde_json::Value;

use crate::{
    caller::Caller,
    stage::{STRANGER, Stage, node_address},
};

/// How long silence is waited for. Whoever is answered, or refused, is so within a millisecond or two.
const BRIEF: Duration = Duration::from_millis(100);
/// The fewest connections that show whom a client is sent to.
const FEWEST: usize = 8;
/// The most: of four endpoints one is missed with a probability of 10^-36.
const MOST: usize = 300;

/// `Prediction`, read from JSON.
pub struct Predicted {
    pub outcome: String,
    pub frontend: Option<Frontend>,
    endpoints: BTreeSet<SocketAddr>,
    hidden: bool,
}

impl Predicted {
    /// Reads it; what is not as documented is a failure.
    pub fn parse(json: &Value) -> Self {
        let endpoint = |value: &Value| value.as_str().unwrap().parse().unwrap();
        Self {
            outcome: json["outcome"].as_str().unwrap_or_else(|| panic!("no outcome: {json}")).to_owned(),
            frontend: json["frontend"].as_str().map(frontend),
            endpoints: json["endpoints"].as_array().unwrap().iter().map(endpoint).collect(),
            hidden: json["hidden"].as_bool().unwrap(),
        }
    }
}

/// Reads `10.96.0.1:80/TCP`.
pub fn frontend(text: &str) -> Frontend {
    let (address, protocol) = text.rsplit_once('/').unwrap();
    let address: SocketAddr = address.parse().unwrap();
    Frontend { address: address.ip(), protocol: Protocol::parse(protocol).unwrap(), port: address.port() }
}

/// What is known of a question beside the prediction.
pub struct Expected {
    pub caller: Caller,
    /// The node whose address hides the client's
    pub decided_by: u8,
    /// One of the endpoints answers, always the same
    pub sticky: bool,
    /// Some connections are lost
    pub partly: bool,
    /// What the answer must be put down to
    pub cause: Option<&'static str>,
}

fn probe(stage: &Stage, caller: Caller, frontend: Frontend) -> Probe {
    let own = caller.address(stage, frontend.family());
    Probe::new(frontend).from(if frontend.address.is_loopback() { frontend.address } else { own })
}

/// Asks once.
pub fn once(stage: &Stage, caller: Caller, frontend: Frontend) -> Outcome {
    probe(stage, caller, frontend).patience(BRIEF).run(&caller.namespace(stage)).unwrap()
}

/// Asks until the prediction is proved or disproved. Returns what the packets did, in words.
pub fn compare(
    stage: &Stage,
    frontend: Frontend,
    predicted: &Predicted,
    expected: &Expected,
) -> Result<String, String> {
    let (caller, family) = (expected.caller, frontend.family());
    if predicted.outcome == "answered" {
        let own = caller.address(stage, family);
        let seen_as = if predicted.hidden { node_address(expected.decided_by, family) } else { own };
        let patience = if expected.partly { BRIEF } else { PATIENCE };
        let ask = || probe(stage, caller, frontend).patience(patience).run(&caller.namespace(stage)).unwrap();
        return answers(ask, predicted, seen_as, expected).map_err(|wrong| format!("{frontend}: {wrong}"));
    }
    let outcome = once(stage, caller, frontend);
    let here = SocketAddr::new(frontend.address, frontend.port);
    let right = match predicted.outcome.as_str() {
        "refused" => match outcome {
            Outcome::Refused | Outcome::Reset => true,
            // The error that a firewall's owner chose, or that of the route.
            Outcome::Unreachable => matches!(expected.cause, Some("foreign-rule" | "no-route")),
            _ => false,
        },
        // The kernel tells a host's own UDP socket that its packet was dropped.
        "dropped" if matches!(caller, Caller::Host(_)) && frontend.protocol == Protocol::Udp => {
            outcome == Outcome::NotPermitted
        }
        "dropped" => outcome == Outcome::Silence,
        "passed" => passed(&outcome, here, frontend.protocol, expected.cause),
        _ => false,
    };
    if right { Ok(outcome.to_string()) } else { Err(format!("{frontend}: the packet met {outcome:?}")) }
}

/// A name that leads to the endpoints themselves: its addresses are these, and each answers for itself.
pub fn directly(
    stage: &Stage,
    caller: Caller,
    found: &[IpAddr],
    port: u16,
    predicted: &Predicted,
) -> Result<String, String> {
    let dialled: BTreeSet<SocketAddr> = found.iter().map(|address| SocketAddr::new(*address, port)).collect();
    if dialled != predicted.endpoints {
        return Err(format!("the name has {found:?}"));
    }
    for target in &dialled {
        let outcome = once(stage, caller, Frontend { address: target.ip(), protocol: Protocol::Tcp, port });
        if !matches!(outcome, Outcome::Answered { destination, .. } if destination == *target) {
            return Err(format!("{target}: the packet met {outcome:?}"));
        }
    }
    Ok(format!("each of {dialled:?} answers"))
}

/// Left to the routes: whoever has the address may answer, and nobody else; the lab's router knows who there is.
fn passed(outcome: &Outcome, here: SocketAddr, protocol: Protocol, cause: Option<&str>) -> bool {
    match outcome {
        Outcome::Answered { pod, .. } if cause == Some("foreign-translation") => {
            *pod == IpAddr::from(STRANGER).to_string()
        }
        Outcome::Answered { destination, .. } => *destination == here,
        // What somebody wrote into a program can be anything, and a route may throw packets away.
        Outcome::Silence => matches!(cause, Some("no-route" | "program-edited")),
        Outcome::Refused => protocol == Protocol::Udp || cause == Some("program-edited"),
        Outcome::Reset | Outcome::Unreachable => true,
        Outcome::NotPermitted => false,
    }
}

/// All of the endpoints answer, and nobody else; they see the client as this address.
fn answers(
    ask: impl Fn() -> Outcome,
    predicted: &Predicted,
    seen_as: IpAddr,
    expected: &Expected,
) -> Result<String, String> {
    let (mut met, mut names, mut lost) = (BTreeSet::new(), BTreeSet::new(), 0);
    for count in 1..=MOST {
        let outcome = ask();
        let Outcome::Answered { pod, source, destination } = &outcome else {
            lost += 1;
            if expected.partly {
                continue;
            }
            return Err(format!("packet {count} met {outcome:?}"));
        };
        if !predicted.endpoints.contains(destination) {
            return Err(format!("{pod} answers, on {destination}"));
        }
        if source.ip() != seen_as {
            return Err(format!("{pod} sees {} and not {seen_as}", source.ip()));
        }
        met.insert(*destination);
        names.insert(pod.clone());
        let complete = met == predicted.endpoints && expected.partly == (lost > 0);
        if count >= FEWEST && (expected.sticky || complete) {
            break;
        }
    }
    if expected.sticky && met.len() != 1 {
        return Err(format!("{names:?} answer, in spite of the affinity"));
    }
    if !expected.sticky && met != predicted.endpoints {
        return Err(format!("of {:?} only {met:?} answer", predicted.endpoints));
    }
    if expected.partly && lost == 0 {
        return Err("no connection was lost".to_owned());
    }
    let lost = if expected.partly { "; some are lost" } else { "" };
    Ok(format!("{} as {seen_as}{lost}", names.into_iter().collect::<Vec<_>>().join(", ")))
}
