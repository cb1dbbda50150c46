//! The plan as text: a table of Services, then what changes, the worst first, then the line that sums up.

use std::{collections::BTreeSet, fmt::Write};

use crate::{
    cli::table,
    plan::{Effect, Impact, Plan, ServicePlan},
};

/// The whole text.
pub fn text(plan: &Plan) -> String {
    let mut text = String::new();
    if !plan.services.is_empty() {
        let mut lines = vec![["SERVICE", "CHANGE", "WHO NOTICES"].map(str::to_owned).to_vec()];
        lines.extend(plan.services.iter().map(line));
        text = table::columns(&lines) + "\n";
    }
    // Writing to a String cannot fail: hence `let _` below.
    for service in &plan.services {
        let _ = writeln!(text, "{}: {}{}", service.service, service.change.name(), on(&service.nodes, &plan.nodes));
        service.effects.iter().for_each(|effect| tell(effect, &service.nodes, &mut text));
        text.push('\n');
    }
    if !plan.node.is_empty() {
        text.push_str("Nodes:\n");
        plan.node.iter().for_each(|effect| tell(effect, &plan.nodes, &mut text));
        text.push('\n');
    }
    for refused in &plan.refused {
        let _ = writeln!(text, "Refused: {refused}");
    }
    if !plan.refused.is_empty() {
        text.push('\n');
    }
    text + &plan.summary + "\n"
}

fn line(service: &ServicePlan) -> Vec<String> {
    let more = match service.effects.len() {
        0 | 1 => String::new(),
        n => format!(" (+{})", n - 1),
    };
    let who = match service.effects.first() {
        Some(effect) if service.impact > Impact::Nobody => notices(effect),
        _ => Impact::Nobody.name().to_owned(),
    };
    vec![service.service.clone(), service.change.name().to_owned(), who + &more]
}

/// Who notices, in a word, and what: the word is left out where the sentence begins with it.
fn notices(effect: &Effect) -> String {
    let word = effect.impact.name();
    if effect.notices.starts_with(word) { effect.notices.clone() } else { format!("{word}: {}", effect.notices) }
}

/// ` (on node-1)`, where not all nodes are meant.
fn on(some: &BTreeSet<String>, all: &BTreeSet<String>) -> String {
    if some.is_empty() || some == all {
        return String::new();
    }
    format!(" (on {})", some.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
}

fn tell(effect: &Effect, all: &BTreeSet<String>, text: &mut String) {
    let frontends = match effect.frontends.is_empty() {
        true => String::new(),
        false => format!("{}: ", effect.frontends.join(", ")),
    };
    let change = effect.change.replace('\n', "\n      ");
    let _ = writeln!(text, "  - {frontends}{change}{}", on(&effect.nodes, all));
    let _ = writeln!(text, "    {}", notices(effect));
}
