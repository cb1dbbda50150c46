//! What is printed.

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    Question,
    asker::{Asker, NDOTS},
    live::Live,
    walk::{Answer, Outcome, Tried, Walk},
};
use crate::{cli::table, config::dns::Name};

/// For people.
pub fn text(question: &Question, asker: &Asker, walk: &Walk, live: Option<&Live>) -> String {
    let mut text = String::new();
    if asker.pod.is_some() || !question.absolute {
        text.push_str(&intro(asker));
    }
    if walk.tried.len() > 1 {
        text.push_str(&tried(question, walk));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let Some(result) = walk.tried.get(walk.result) else { return text };
    for (index, answer) in result.asked().iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        line(&mut text, format_args!("{} {}", result.name, answer.qtype));
        steps(&mut text, answer, result.asked().first().filter(|_| index > 0));
        said(&mut text, answer);
        if let (Some(live), Some(other), Some(differs)) = (live, result.live.get(index), result.differs.get(index)) {
            beside(&mut text, answer, other, *differs, live);
        }
    }
    for hint in hints(walk, result) {
        line(&mut text, format_args!("Note: {hint}"));
    }
    text
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    // A String takes everything.
    let _ = writeln!(text, "{words}");
}

fn intro(asker: &Asker) -> String {
    let search: Vec<String> = asker.search.iter().map(ToString::to_string).collect();
    let who = match (&asker.pod, asker.known_address()) {
        (Some(pod), Some(address)) => format!("Pod {pod} ({address})"),
        (Some(pod), None) => format!("Pod {pod}"),
        (None, _) => format!("a pod of namespace {} (--from says another)", asker.namespace),
    };
    let mut text = format!("Asked by {who}: search {}, ndots {NDOTS}\n", search.join(" "));
    if asker.host_network {
        text.push_str(
            "Note: with hostNetwork a pod has this only by dnsPolicy ClusterFirstWithHostNet, else the node's resolv.conf\n",
        );
    }
    text
}

/// A line for each candidate.
fn tried(question: &Question, walk: &Walk) -> String {
    let types = question.types.iter().map(ToString::to_string);
    let mut lines: Vec<Vec<String>> = vec![std::iter::once("TRIED".to_owned()).chain(types).collect()];
    for one in &walk.tried {
        let cells = one.asked().iter().enumerate().map(|(index, answer)| match one.live.get(index) {
            Some(live) if one.differs.get(index) == Some(&true) => format!("{} (live: {})", answer.word(), live.word()),
            Some(live) if answer.outcome == Outcome::Forwarded => format!("forwarded (live: {})", live.word()),
            _ => answer.word().to_owned(),
        });
        lines.push(std::iter::once(one.name.clone()).chain(cells).collect());
    }
    table::columns(&lines)
}

/// Numbered; those that another type has had are not repeated.
fn steps(text: &mut String, answer: &Answer, other: Option<&Answer>) {
    let same = other.map_or(0, |other| other.steps.iter().zip(&answer.steps).take_while(|(a, b)| a == b).count());
    if let Some(other) = other.filter(|_| same > 0) {
        match same {
            1 => line(text, format_args!("1. As for {}.", other.qtype)),
            _ => line(text, format_args!("1-{same}. As for {}.", other.qtype)),
        }
    }
    for (index, step) in answer.steps.iter().enumerate().skip(same) {
        line(text, format_args!("{}. {step}", index + 1));
    }
}

fn said(text: &mut String, answer: &Answer) {
    match answer.outcome {
        Outcome::Forwarded => line(text, format_args!(";; forwarded to {}", answer.forwarded_to.join(" or "))),
        _ => line(text, format_args!(";; {}", answer.word())),
    }
    answer.lines.iter().for_each(|record| line(text, format_args!("{record}")));
}

/// The running server's answer.
fn beside(text: &mut String, answer: &Answer, other: &Answer, differs: bool, live: &Live) {
    let unknown = answer.outcome == Outcome::Forwarded || answer.outcome == Outcome::Dropped;
    match (differs, unknown) {
        (true, _) => line(text, format_args!("!! {} answers otherwise:", live.server)),
        (false, true) => line(text, format_args!("{} answers:", live.server)),
        (false, false) => return line(text, format_args!("{} answers the same.", live.server)),
    }
    said(text, other);
}

/// Where the result is no answer, what may have been meant by any of the candidates.
fn hints(walk: &Walk, result: &Tried) -> Vec<String> {
    let answered = result.asked().iter().any(|answer| answer.outcome == Outcome::Answer);
    let of: Vec<&Tried> = if answered { vec![result] } else { walk.tried.iter().collect() };
    let mut hints: Vec<String> = Vec::new();
    for hint in of.iter().flat_map(|one| one.asked()).flat_map(|answer| &answer.hints) {
        if !hints.contains(hint) {
            hints.push(hint.clone());
        }
    }
    hints
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    question: String,
    from: FromJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    /// The name that the result is of
    name: &'a str,
    answered: bool,
    tried: &'a [Tried],
}

#[derive(Serialize)]
struct FromJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<std::net::IpAddr>,
    namespace: &'a str,
    search: Vec<String>,
    ndots: usize,
}

/// For programs.
///
/// # Errors
/// None that is known of.
pub fn json(
    name: &str,
    question: &Question,
    asker: &Asker,
    walk: &Walk,
    live: Option<&Live>,
) -> anyhow::Result<String> {
    let search: &[Name] = if question.absolute { &[] } else { &asker.search };
    let from = FromJson {
        pod: asker.pod.as_deref(),
        address: asker.known_address(),
        namespace: &asker.namespace,
        search: search.iter().map(ToString::to_string).collect(),
        ndots: NDOTS,
    };
    let json = Json {
        question: name.to_owned(),
        from,
        server: live.map(|live| live.server.to_string()),
        name: walk.tried.get(walk.result).map_or("", |tried| &tried.name),
        answered: walk.answered(),
        tried: &walk.tried,
    };
    Ok(serde_json::to_string_pretty(&json)? + "\n")
}
