//! What a change of names is called, and who notices.

use std::collections::BTreeSet;

use super::{Change, Impact, words::joined};

/// A change of names, or of what nobody sees.
pub fn names(change: &Change) -> (Impact, String, String) {
    match change {
        Change::NameAppears(name, answers) if answers.is_empty() => (
            Impact::NewConnections,
            format!("DNS: {name} appears, without an address"),
            "there is no endpoint".to_owned(),
        ),
        Change::NameAppears(name, answers) => (
            Impact::NewConnections,
            format!("DNS: {name} appears: {}", joined(answers)),
            "the name can be looked up; who asked in vain before may be told so for some seconds more".to_owned(),
        ),
        Change::NameVanishes(name, served) => (
            if *served { Impact::Interrupted } else { Impact::Nobody },
            format!("DNS: {name} disappears"),
            "look-ups fail: there is no such name".to_owned(),
        ),
        Change::NameAnswers { name, lost, empty: true, .. } => (
            Impact::Interrupted,
            format!("DNS: {name} has no address any more; had {}", joined(lost)),
            "look-ups give no address: no endpoint is left".to_owned(),
        ),
        Change::NameAnswers { name, gained, lost, .. } => {
            let side =
                |verb: &str, set: &BTreeSet<String>| (!set.is_empty()).then(|| format!("{verb} {}", joined(set)));
            let parts: Vec<String> = [side("gains", gained), side("loses", lost)].into_iter().flatten().collect();
            let notices = "new look-ups; who holds an older answer keeps it for as long as it may".to_owned();
            (Impact::NewConnections, format!("DNS: {name} {}", parts.join(", ")), notices)
        }
        Change::EndpointNames { gained, lost, moved } => {
            let side =
                |set: &BTreeSet<String>, verb: &str| (!set.is_empty()).then(|| format!("{} {verb}", joined(set)));
            let parts = [side(gained, "appear"), side(lost, "disappear"), side(moved, "lead elsewhere")];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            let notices = "whoever looks up single endpoints".to_owned();
            (Impact::NewConnections, format!("DNS, endpoints: {}", parts.join("; ")), notices)
        }
        Change::Bookkeeping(said) if said.is_empty() => {
            (Impact::Nobody, "endpoints change their slots".to_owned(), "nobody: only slots move".to_owned())
        }
        Change::Bookkeeping(said) => (Impact::Nobody, said.join("; "), "nobody".to_owned()),
        other => (Impact::NewConnections, format!("{other:?}"), String::new()),
    }
}
