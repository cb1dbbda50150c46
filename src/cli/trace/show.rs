//! What is printed.

use serde::Serialize;

use crate::traced::{Flow, Outcome, Sender, Told};

/// The most destinations that are named.
const MOST_NAMED: usize = 6;

/// What is waited for: `new connections to shop/web (10.96.0.10:80/TCP) from 10.244.1.20`.
pub fn wanted(target: &str, flows: &[Flow], first_only: bool) -> String {
    let mut destinations: Vec<String> = flows.iter().map(ToString::to_string).collect();
    destinations.dedup();
    let destinations = match destinations.as_slice() {
        [one] if one == target => target.to_owned(),
        several if several.len() > MOST_NAMED => {
            let (named, others) = several.split_at(MOST_NAMED);
            format!("{target} ({} and {} more)", named.join(", "), others.len())
        }
        several => format!("{target} ({})", several.join(", ")),
    };
    let mut senders: Vec<String> = flows.iter().map(|flow| sender(flow.from)).collect();
    senders.sort();
    senders.dedup();
    let what = if first_only { "new connections" } else { "packets" };
    format!("{what} to {destinations} from {}", senders.join(", "))
}

fn sender(sender: Sender) -> String {
    match sender {
        Sender::Anybody => "anybody".to_owned(),
        Sender::Address(address) => address.to_string(),
        Sender::Host => "this node's processes".to_owned(),
    }
}

/// One packet, for people.
pub fn packet(told: &Told) -> String {
    let from = match &told.incoming {
        Some(interface) => format!("in by {interface}"),
        None => "from a process of this node".to_owned(),
    };
    let mut text = format!("Packet {}: {} -> {}, {from}\n", told.number, told.client, told.dialled);
    for step in &told.steps {
        text.push_str(&format!("  {}\n", step.text));
    }
    // All other ends are a step.
    if matches!(told.outcome, Outcome::Lost { .. } | Outcome::Unknown { .. }) {
        text.push_str(&format!("  {}\n", told.outcome));
    }
    text
}

/// Everything, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Json<'a> {
    /// What was waited for
    pub waited_for: &'a str,
    /// The packets, in the order of their ends
    pub packets: &'a [Told],
    /// The kernel had more to tell than could be read: steps are missing
    pub events_lost: bool,
    /// Every packet was delivered
    pub delivered: bool,
    /// The last line of the text
    pub sentence: &'a str,
}
