use std::collections::BTreeMap;

use super::{Outcome, Told};

/// What was asked, for the words at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What was waited for: `new connections to shop/web (10.96.0.10:80/TCP) from 10.244.1.20`
    pub what: String,
    /// How long, until now: `10s`
    pub waited: String,
    /// Only first packets were looked at
    pub first_only: bool,
}

/// One sentence for all packets, and whether every one was delivered.
pub fn sentence(question: &Question, packets: &[Told]) -> (String, bool) {
    if packets.is_empty() {
        return (nothing(question), false);
    }
    // By what became of them, in the order in which that was first seen.
    let mut ends: Vec<String> = Vec::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for told in packets {
        let end = told.outcome.to_string();
        if !counts.contains_key(&end) {
            ends.push(end.clone());
        }
        *counts.entry(end).or_default() += 1;
    }
    let all = packets.iter().all(|told| matches!(told.outcome, Outcome::Delivered { .. }));
    let count = |n: usize| if n == 1 { "1 packet".to_owned() } else { format!("{n} packets") };
    let parts: Vec<String> =
        ends.iter().map(|end| format!("{} {end}", counts.get(end).copied().unwrap_or(0))).collect();
    let text = match parts.as_slice() {
        [_] => ends.concat(),
        _ => parts.join("; "),
    };
    (format!("{}: {text}.", count(packets.len())), all)
}

fn nothing(question: &Question) -> String {
    let Question { what, waited, first_only } = question;
    let first = if *first_only { "; packets of open connections are seen with --all-packets only" } else { "" };
    format!(
        "No packet seen in {waited}: {what} did not come to this node; the client sends to another address, or by another \
         way (look there), or not at all{first}."
    )
}
