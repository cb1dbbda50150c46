use std::fmt::Write as _;

use crate::model::{Family, PodDetector, Settings};

/// The program as it stands in `rules/`, embedded at build time.
const IPV4: &str = include_str!("../../rules/ipv4.nft");
const IPV6: &str = include_str!("../../rules/ipv6.nft");

/// The mark in `rules/`, for masquerade bit 14.
const RULES_MARK: &str = "0x00004000";

/// The fixed program for one family, adapted to the operator's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The family
    pub family: Family,
    /// The program as nft text; declares the table, its empty maps and its chains
    pub text: String,
    /// Changes when the text does; stands in the table's comment
    pub fingerprint: String,
    /// What the settings chose; for the program's JSON form, which must say the same
    pub(super) choice: Choice,
    /// The name of the table that the text declares
    pub(super) table: &'static str,
}

/// What the settings chose for one family, where `rules/` leaves a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// How a pod is recognised; `None` without a detector for the family
    pub pod: Option<PodMatch>,
    /// Hide every client of a cluster IP, pods too
    masquerade_all: bool,
    /// The mark that asks for masquerading
    pub mark: u32,
}

/// What a pod's packet is recognised by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PodMatch {
    /// Its source address, in the set `pods`
    Source,
    /// The interface it came in by: a name, or the beginning of one and `*`
    Interface(String),
}

/// A rule that depends on settings, as its line in `rules/` ends. Both begin with a match of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marked {
    /// `# detector`: what pods get
    Detector,
    /// `# hide`: clients of a cluster IP that are no pods are hidden
    Hide,
}

/// What becomes of the source match of a marked rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceMatch<'a> {
    /// The rule is left out
    NoRule,
    /// The match is left out
    Anything,
    /// It compares the source address with the set `pods`
    AsItStands,
    /// It compares the interface instead
    Interface(&'a str),
}

impl Program {
    /// The text of `rules/` with the lines that depend on settings filled in: those that end in `# detector` (how a pod
    /// is recognised), `# hide` (whether other sources of a cluster IP are hidden), and the mark.
    pub fn new(family: Family, settings: &Settings) -> Self {
        let source = match family {
            Family::V4 => IPV4,
            Family::V6 => IPV6,
        };
        let choice = Choice::new(family, settings);
        let mut text = String::with_capacity(source.len());
        for line in source.lines().filter(|line| !line.starts_with('#')) {
            let Some(line) = adapt(line, family, &choice) else { continue };
            text.push_str(&line.replace(RULES_MARK, &format!("{:#010x}", choice.mark)));
            text.push('\n');
        }
        Self::of_text(family, super::TABLE, text.trim_start(), choice)
    }

    /// A program with this text, its fingerprint in the comment of the table.
    pub(super) fn of_text(family: Family, table: &'static str, text: &str, choice: Choice) -> Self {
        let fingerprint = format!("{:016x}", fnv1a(text.as_bytes()));
        let open = opening(family, table);
        let mut with_comment = open.clone();
        let _ = writeln!(with_comment, "\tcomment \"{}{fingerprint}\"", super::PROGRAM_COMMENT);
        Self { family, text: text.replacen(&open, &with_comment, 1), fingerprint, choice, table }
    }

    /// The text for a table of another name.
    pub fn for_table(&self, table: &str) -> String {
        self.text.replacen(&opening(self.family, self.table), &opening(self.family, table), 1)
    }

    /// The names of the data plane program's own chains, the same in both families.
    pub fn chains() -> impl Iterator<Item = &'static str> {
        chain_names(IPV4)
    }

    /// The names of the chains of this program.
    pub fn own_chains(&self) -> impl Iterator<Item = &str> {
        chain_names(&self.text)
    }
}

/// The chains that a text declares.
fn chain_names(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("\tchain ")?.strip_suffix(" {"))
}

/// The line that opens a table.
fn opening(family: Family, table: &str) -> String {
    format!("table {} {table} {{\n", family.nft())
}

impl Choice {
    /// For a program in which nothing is left to choose but the mark.
    pub fn only_mark(mark: u32) -> Self {
        Self { pod: None, masquerade_all: false, mark }
    }

    fn new(family: Family, settings: &Settings) -> Self {
        let pod = match &settings.detector {
            detector @ PodDetector::SourceRanges(_) => detector.detects(family).then_some(PodMatch::Source),
            PodDetector::BridgeInterface(name) => Some(PodMatch::Interface(name.clone())),
            PodDetector::InterfaceNamePrefix(prefix) => Some(PodMatch::Interface(format!("{prefix}*"))),
        };
        Self { pod, masquerade_all: settings.masquerade_all, mark: settings.mark() }
    }

    /// What becomes of a rule's match on where the packet comes from.
    pub fn source_match(&self, rule: Marked) -> SourceMatch<'_> {
        match (rule, &self.pod) {
            (Marked::Hide, _) if self.masquerade_all => SourceMatch::Anything,
            (_, None) => SourceMatch::NoRule,
            (_, Some(PodMatch::Source)) => SourceMatch::AsItStands,
            (_, Some(PodMatch::Interface(name))) => SourceMatch::Interface(name),
        }
    }
}

/// One line with this choice; `None` leaves it out.
fn adapt(line: &str, family: Family, choice: &Choice) -> Option<String> {
    let (rule, marked, operator) = if let Some(rule) = line.strip_suffix(" # detector") {
        (rule, Marked::Detector, "")
    } else if let Some(rule) = line.strip_suffix(" # hide") {
        (rule, Marked::Hide, "!= ")
    } else {
        return Some(line.to_owned());
    };
    let source = format!("{} saddr {operator}@pods ", family.nft());
    match choice.source_match(marked) {
        SourceMatch::NoRule => None,
        SourceMatch::Anything => Some(rule.replace(&source, "")),
        SourceMatch::AsItStands => Some(rule.to_owned()),
        SourceMatch::Interface(name) => Some(rule.replace(&source, &format!("iifname {operator}\"{name}\" "))),
    }
}

/// FNV-1a, 64 bit: a fingerprint that is the same on every machine and release of the compiler.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_families_run_one_program() {
        let mut translated = IPV4.replace("IPv4", "IPv6").replace("table ip ", "table ip6 ");
        for field in ["saddr", "daddr"] {
            translated = translated.replace(&format!("ip {field}"), &format!("ip6 {field}"));
        }
        assert_eq!(translated, IPV6, "rules/ipv6.nft is rules/ipv4.nft with ip read as ip6");
    }

    #[test]
    fn settings_change_only_their_own_lines() {
        let text = |settings: &Settings| Program::new(Family::V4, settings).text;
        let pods = PodDetector::SourceRanges(vec!["10.0.0.0/8".parse().unwrap()]);
        let plain = text(&Settings { detector: pods.clone(), masquerade_bit: 14, ..Default::default() });
        assert!(plain.contains("ip saddr != @pods jump hide-source\n"));
        let bridge = PodDetector::BridgeInterface("cni0".into());
        let bridge = text(&Settings { detector: bridge, masquerade_bit: 3, ..Default::default() });
        assert!(bridge.contains("iifname != \"cni0\" jump hide-source\n"));
        assert!(bridge.contains("iifname \"cni0\" ip daddr . meta l4proto . th dport vmap @picks\n"));
        assert!(bridge.contains("meta mark | 0x00000008") && !bridge.contains("0x00004000"));
        let none = text(&Settings::default());
        assert!(none.contains("chain internal {\n\t\tip daddr . meta l4proto . th dport vmap @picks\n"));
        let all = text(&Settings { detector: pods, masquerade_all: true, ..Default::default() });
        assert!(all.contains("chain internal {\n\t\tjump hide-source\n"));
        assert!(all.contains("ip saddr @pods ip daddr . meta l4proto . th dport vmap @picks\n"));
    }
}
