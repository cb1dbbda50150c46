//! Rules in nft's own words, found by their handles in `nft -a list table`.

use std::collections::BTreeMap;

/// How long a rule may be in what is told of it; sets on the spot can have thousands of elements.
const LONGEST: usize = 300;

/// The rules of a listing, by handle, as nft writes them, each on one line, without counts.
pub(super) fn by_handle(listing: &str) -> BTreeMap<u64, String> {
    let mut rules = BTreeMap::new();
    let mut rule = String::new();
    for line in listing.lines().map(str::trim) {
        let (text, handle) = match line.rsplit_once("# handle ") {
            Some((text, handle)) => (text.trim_end(), handle.parse().ok()),
            None => (line, None),
        };
        // The heads of tables, chains and sets have handles, too; and what a base chain begins with has none.
        if text.ends_with('{') && handle.is_some() || text.starts_with("type ") || text == "}" || text.is_empty() {
            rule.clear();
            continue;
        }
        // A long set is written over several lines.
        if !rule.is_empty() {
            rule.push(' ');
        }
        rule.push_str(text);
        if let Some(handle) = handle {
            rules.insert(handle, without_counts(&std::mem::take(&mut rule)));
        }
    }
    rules
}

/// The rule without `packets 7 bytes 420`, which changes all the time.
fn without_counts(rule: &str) -> String {
    let mut result = String::new();
    let mut rest = rule;
    while let Some((before, after)) = rest.split_once("counter packets ") {
        result.push_str(before);
        let mut words = after.splitn(4, ' ').skip(1);
        rest = match (words.next(), words.next()) {
            (Some("bytes"), Some(_)) => words.next().unwrap_or_default(),
            _ => after,
        };
    }
    result.push_str(rest);
    result.trim().replace("  ", " ")
}

/// The words in a length for people.
pub(super) fn cut(words: &str) -> String {
    match words.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", words.get(..end).unwrap_or_default()),
        None => words.to_owned(),
    }
}

/// What the rule says before its first counter: all matches of a rule that iptables made.
pub(super) fn matches(listing: &str) -> BTreeMap<u64, String> {
    let lines = listing.lines().filter_map(|line| {
        let (text, handle) = line.trim().rsplit_once("# handle ")?;
        let (matches, _) = text.split_once("counter packets ")?;
        Some((handle.parse().ok()?, matches.trim().to_owned()))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_found_by_handle_on_one_line_and_without_counts() {
        let listing = "\
table inet t { # handle 5
	set nets { # handle 8
		type ipv4_addr
		elements = { 1.2.3.4,
			     10.0.0.0/8 }
	}

	chain f { # handle 2
		comment \"nothing\"
		type filter hook forward priority filter + 10; policy drop;
		tcp dport 8080 counter packets 7 bytes 420 drop # handle 18
		ip saddr { 10.0.0.1, 10.0.0.2,
			   10.0.0.3 } accept # handle 19
		counter packets 0 bytes 0 # handle 20
		log prefix \"counter packets x\" drop # handle 21
	}
}
";
        let rules = by_handle(listing);
        let expected = [
            (18, "tcp dport 8080 drop"),
            (19, "ip saddr { 10.0.0.1, 10.0.0.2, 10.0.0.3 } accept"),
            (20, ""),
            (21, "log prefix \"x\" drop"),
        ];
        assert_eq!(rules, expected.map(|(handle, text)| (handle, text.to_owned())).into());
        assert_eq!(matches(listing).get(&18).unwrap(), "tcp dport 8080");
    }
}
