//! The fixed program of both sides, chain by chain.

use std::collections::{BTreeMap, BTreeSet};

use super::{Effect, Impact};
use crate::{
    model::Family,
    tables::{ListedChains, Program, TableState, nft_json, read_nft_json},
};

/// What is known of the program of one side. Two sides are compared by the best that both have.
#[derive(Clone, Debug, Default)]
pub struct ProgramText {
    /// The lines of each chain, as in `rules/`
    text: Option<ListedChains>,
    /// What it is made of, for one of this version
    programs: Vec<Program>,
    /// The rules of each chain, as in a listing, for one that was listed
    listed: Option<ListedChains>,
    /// Of the text; `damaged` for one that somebody edited
    fingerprints: Option<BTreeMap<Family, String>>,
}

impl ProgramText {
    /// Of programs of this version.
    pub fn of(programs: &[Program]) -> Self {
        let text = programs.iter().flat_map(|program| chains(program.family, &program.text)).collect();
        let fingerprints = programs.iter().map(|program| (program.family, program.fingerprint.clone())).collect();
        Self { text: Some(text), programs: programs.to_vec(), fingerprints: Some(fingerprints), ..Self::default() }
    }

    /// Of a listing.
    pub fn listed(chains: ListedChains) -> Self {
        Self { listed: Some(chains), ..Self::default() }
    }

    /// The rules of each chain, as a listing has them.
    fn rules(&self) -> Option<ListedChains> {
        let of_programs = || {
            let json = nft_json(&self.programs, &TableState::default()).ok()?;
            Some(read_nft_json(&json).ok()?.chains).filter(|_| !self.programs.is_empty())
        };
        self.listed.clone().or_else(of_programs)
    }

    /// Of a kernel, in which somebody may have edited it.
    pub fn found(fingerprints: BTreeMap<Family, String>, damaged: bool) -> Self {
        let seen = |(family, found)| (family, if damaged { "damaged".to_owned() } else { found });
        Self { fingerprints: Some(fingerprints.into_iter().map(seen).collect()), ..Self::default() }
    }
}

/// The chains that a text declares, with their lines.
fn chains(family: Family, text: &str) -> ListedChains {
    let mut chains = ListedChains::new();
    let mut inside: Option<String> = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("\tchain ") {
            let name = name.trim_end_matches(" {").to_owned();
            chains.entry((family, name.clone())).or_default();
            inside = Some(name);
        } else if line == "\t}" {
            inside = None;
        } else if let Some(name) = &inside {
            chains.entry((family, name.clone())).or_default().push(line.trim().to_owned());
        }
    }
    chains
}

/// Chains that differ, each with its lines: `-` only before, `+` only after, a blank for both.
pub fn differing_chains(old: &ListedChains, new: &ListedChains) -> BTreeMap<(Family, String), Vec<String>> {
    let all: BTreeSet<&(Family, String)> = old.keys().chain(new.keys()).collect();
    let nothing = Vec::new();
    let of = |side: &'_ ListedChains, key| side.get(key).cloned().unwrap_or_else(|| nothing.clone());
    let differ = all.into_iter().filter(|key| old.get(*key) != new.get(*key));
    differ.map(|key| (key.clone(), diff(&of(old, key), &of(new, key)))).collect()
}

/// The shortest difference of two lists of lines. Chains are short: a table of their product is no cost.
fn diff(old: &[String], new: &[String]) -> Vec<String> {
    // common[i][j]: the most lines that old[i..] and new[j..] have in common, in order
    let mut common = vec![vec![0usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] =
                if old[i] == new[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(format!(" {}", old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(format!("-{}", old[i]));
            i += 1;
        } else {
            lines.push(format!("+{}", new[j]));
            j += 1;
        }
    }
    lines
}

/// What another program means. `remembering` Services have session affinity on the old side.
pub(super) fn effects(old: &ProgramText, new: &ProgramText, remembering: usize) -> Vec<Effect> {
    let by_chain =
        |old: &Option<ListedChains>, new: &Option<ListedChains>| Some(differing_chains(old.as_ref()?, new.as_ref()?));
    let listed = || {
        let mut chains = by_chain(&old.rules(), &new.rules())?;
        // Rules in JSON are long: those that stay are left out.
        chains.values_mut().for_each(|lines| lines.retain(|line| !line.starts_with(' ')));
        Some(chains)
    };
    let chains = by_chain(&old.text, &new.text).or_else(listed);
    let replaced = match (&chains, &old.fingerprints, &new.fingerprints) {
        (Some(chains), ..) => !chains.is_empty(),
        (None, Some(old), Some(new)) => old != new,
        // A listing against a kernel: nothing to compare by.
        _ => false,
    };
    if !replaced {
        return Vec::new();
    }
    let is_absent = |side: &ProgramText| side.fingerprints.as_ref().is_some_and(BTreeMap::is_empty);
    if is_absent(old) {
        return vec![effect(Impact::Nobody, "the program is written".to_owned(), "nobody: there was none".to_owned())];
    }
    if is_absent(new) {
        let notices = "everybody whom it serves; see the Services".to_owned();
        return vec![effect(Impact::NewConnections, "there is no program any more".to_owned(), notices)];
    }
    let mut effects = vec![replacement(remembering)];
    for ((family, chain), lines) in chains.into_iter().flatten() {
        let change = format!("{} chain {chain}:\n{}", family.nft(), lines.join("\n"));
        effects.push(effect(meaning(&chain).0, change, meaning(&chain).1.to_owned()));
    }
    effects
}

/// The program is fixed while Services come and go; another one is put in its place as a whole.
fn replacement(remembering: usize) -> Effect {
    let change = "the program is replaced, behind a second table that serves meanwhile".to_owned();
    match remembering {
        0 => effect(
            Impact::Nobody,
            change,
            "no packet meets a gap, established connections stay; the counters begin anew".to_owned(),
        ),
        n => effect(
            Impact::NewConnections,
            change,
            format!(
                "no packet meets a gap, established connections stay; the counters begin anew, and clients remembered by \
                 session affinity ({n} {}) may get another endpoint",
                if n == 1 { "Service" } else { "Services" }
            ),
        ),
    }
}

/// Whom a chain is about (rules/README.md).
fn meaning(chain: &str) -> (Impact, &'static str) {
    match chain {
        "internal" | "internal-local" => {
            (Impact::NewConnections, "which clients of cluster IPs are hidden behind the node")
        }
        "external" => (Impact::NewConnections, "how clients of external addresses and node ports are served"),
        "external-local" => (Impact::NewConnections, "who counts as a Pod at external addresses with policy Local"),
        "guarded-external" | "guarded-external-local" => (Impact::NewConnections, "how source ranges are asked"),
        "hide-source" | "hide-marked" => {
            (Impact::Nobody, "how packets are marked for masquerading, which other rules of the node may read")
        }
        "check-destination" | "filter-input" | "filter-forward" | "filter-output" | "refuse" => {
            (Impact::NewConnections, "what those get whom no endpoint serves")
        }
        "learn" | "input" => (Impact::NewConnections, "how session affinity remembers"),
        "postrouting" => (Impact::NewConnections, "which new connections are masqueraded on their way out"),
        _ => (Impact::NewConnections, "which new connections are taken for those of a Service"),
    }
}

fn effect(impact: Impact, change: String, notices: String) -> Effect {
    Effect { impact, frontends: Vec::new(), change, notices, nodes: BTreeSet::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PodDetector, Settings};

    #[test]
    fn a_setting_changes_its_own_chains_only() {
        let of = |settings: &Settings| ProgramText::of(&Family::ALL.map(|family| Program::new(family, settings)));
        let detector = PodDetector::SourceRanges(vec!["10.0.0.0/8".parse().unwrap()]);
        let plain = of(&Settings { detector: detector.clone(), masquerade_bit: 14, ..Settings::default() });
        let all = of(&Settings { detector, masquerade_bit: 14, masquerade_all: true, ..Settings::default() });
        assert_eq!(effects(&plain, &plain, 3), []);
        let found = effects(&plain, &all, 0);
        assert_eq!(found[0].impact, Impact::Nobody);
        let wanted = "ip chain internal:\n-ip saddr != @pods jump hide-source\n+jump hide-source\n ip daddr . meta l4proto . \
                      th dport vmap @picks";
        assert!(found[1].change.starts_with(wanted), "{}", found[1].change);
        assert!(effects(&plain, &all, 2)[0].notices.contains("2 Services"));
        // The same by listings.
        let listed = ProgramText::listed(all.rules().unwrap());
        assert_eq!(effects(&listed, &all, 0), []);
        assert_eq!(effects(&plain, &listed, 0).len(), found.len());
    }

    #[test]
    fn a_kernel_is_compared_by_its_fingerprints() {
        let program = ProgramText::of(&Family::ALL.map(|family| Program::new(family, &Settings::default())));
        let same = program.fingerprints.clone().unwrap();
        assert_eq!(effects(&ProgramText::found(same.clone(), false), &program, 0), []);
        assert_eq!(effects(&ProgramText::found(same, true), &program, 0).len(), 1);
        let nothing = effects(&ProgramText::found(BTreeMap::new(), false), &program, 0);
        assert_eq!(nothing[0].change, "the program is written");
    }
}
