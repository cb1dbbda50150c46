//! Real packets, and whether they did what was predicted.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use portolan::{
    lab::{Outcome, Probe},
    model::{Frontend, Protocol},
};
use serde_json::Value;

use crate::{
    situation::Caller,
    stage::{Stage, node_address},
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

/// Asks until the prediction is proved or disproved. Returns what the packets did, in words.
pub fn compare(
    stage: &Stage,
    caller: Caller,
    frontend: Frontend,
    predicted: &Predicted,
    sticky: bool,
) -> Result<String, String> {
    let family = frontend.family();
    let own = caller.address(stage, family);
    let probe = Probe::new(frontend).from(if frontend.address.is_loopback() { frontend.address } else { own });
    let probe = if predicted.outcome == "answered" { probe } else { probe.patience(BRIEF) };
    let ask = || probe.run(&caller.namespace(stage)).unwrap();
    if predicted.outcome == "answered" {
        let seen_as = if predicted.hidden { node_address(caller.node(), family) } else { own };
        return answers(ask, predicted, seen_as, sticky).map_err(|wrong| format!("{frontend}: {wrong}"));
    }
    let outcome = ask();
    // The kernel tells a host's own UDP socket that its packet was dropped.
    let told = matches!(caller, Caller::Host(_)) && frontend.protocol == Protocol::Udp;
    let right = match predicted.outcome.as_str() {
        "refused" => matches!(outcome, Outcome::Refused | Outcome::Reset),
        "dropped" => outcome == if told { Outcome::NotPermitted } else { Outcome::Silence },
        // Whoever has the address may answer, but nobody else.
        "passed" => match outcome {
            Outcome::Answered { destination, .. } => destination == SocketAddr::new(frontend.address, frontend.port),
            _ => true,
        },
        _ => false,
    };
    if right { Ok(outcome.to_string()) } else { Err(format!("{frontend}: the packet met {outcome:?}")) }
}

/// All of the endpoints answer, and nobody else; they see the client as this address.
fn answers(ask: impl Fn() -> Outcome, predicted: &Predicted, seen_as: IpAddr, sticky: bool) -> Result<String, String> {
    let mut met = BTreeSet::new();
    let mut names = BTreeSet::new();
    for count in 1..=MOST {
        let outcome = ask();
        let Outcome::Answered { pod, source, destination } = &outcome else {
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
        if count >= FEWEST && (sticky || met == predicted.endpoints) {
            break;
        }
    }
    if sticky && met.len() != 1 {
        return Err(format!("{names:?} answer, in spite of the affinity"));
    }
    if !sticky && met != predicted.endpoints {
        return Err(format!("of {:?} only {met:?} answer", predicted.endpoints));
    }
    Ok(format!("{} as {seen_as}", names.into_iter().collect::<Vec<_>>().join(", ")))
}
