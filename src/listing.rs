//! What `nft --handle list` prints, read for the words of rules.

use std::collections::BTreeMap;

/// Tables by family and name.
pub type Tables = BTreeMap<(String, String), Table>;

/// A table of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Nothing in it is in force
    pub dormant: bool,
    /// Its rules by their handles
    pub rules: BTreeMap<u64, Rule>,
}

/// A rule in nft's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// All of it, on one line, without counters: what they counted until the listing says nothing, and changes all the time
    pub text: String,
    /// What it says before its first counter: all matches of a rule that iptables made. `None` without a counter
    pub before_counter: Option<String>,
}

/// Reads a listing of tables or of the whole ruleset. What it does not understand it leaves out.
pub fn read(listing: &str) -> Tables {
    let mut tables = Tables::new();
    let mut key = None;
    let (mut in_chain, mut words) = (false, Vec::new());
    for line in listing.lines() {
        let (text, handle) = match line.rsplit_once(" # handle ") {
            Some((text, handle)) => (text, handle.trim().parse().ok()),
            None => (line, None),
        };
        let inside = text.trim_start_matches('\t');
        match (text.len() - inside.len(), inside) {
            (0, _) => {
                if let Some(name) = inside.strip_prefix("table ").and_then(family_and_name) {
                    tables.entry(name.clone()).or_default();
                    key = Some(name);
                }
                in_chain = false;
            }
            (1, "}") => in_chain = false,
            (1, head) if head.ends_with('{') => {
                in_chain = head.starts_with("chain ");
                words.clear();
            }
            (1, flags) if flags.starts_with("flags ") => {
                let dormant = flags.split([' ', ',']).any(|flag| flag == "dormant");
                if let Some(table) = key.as_ref().and_then(|key| tables.get_mut(key)) {
                    table.dormant |= dormant;
                }
            }
            // What a chain begins with, its comment too.
            (_, head) if words.is_empty() && (head.starts_with("type ") || head.starts_with("comment ")) => {}
            (2.., part) if in_chain => {
                // A long set is written over several lines; the last one has the rule's handle.
                words.extend(split(part).map(str::to_owned));
                if let Some(handle) = handle {
                    let rule = rule(&std::mem::take(&mut words));
                    if let Some(table) = key.as_ref().and_then(|key| tables.get_mut(key)) {
                        table.rules.insert(handle, rule);
                    }
                }
            }
            _ => {}
        }
    }
    tables
}

/// From `inet firewall { # handle 5`.
fn family_and_name(head: &str) -> Option<(String, String)> {
    let mut words = head.split(' ').map(str::to_owned);
    words.next().zip(words.next())
}

fn rule(words: &[String]) -> Rule {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (mut rest, mut kept, mut before_counter) = (words.as_slice(), Vec::new(), None);
    while let [first, after @ ..] = rest {
        rest = match (*first, after) {
            ("counter", ["packets", packets, "bytes", bytes, after @ ..]) if are_numbers(&[packets, bytes]) => {
                before_counter.get_or_insert_with(|| kept.join(" "));
                after
            }
            _ => {
                kept.push(*first);
                after
            }
        };
    }
    Rule { text: kept.join(" "), before_counter }
}

fn are_numbers(words: &[&str]) -> bool {
    words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The words of a rule in order, those in quotes as one, with the quotes.
pub fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut in_quotes = false;
    let between = move |letter: char| {
        in_quotes ^= letter == '"';
        letter.is_whitespace() && !in_quotes
    };
    text.split(between).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
table inet t { # handle 5
	comment \"flags dormant\"
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
		log prefix \"counter packets  1 bytes 2\" drop comment \"a # handle 9\" # handle 21
	}

	chain g { # handle 3
		comment \"a rule of its own\"
		tcp dport 1 counter packets x bytes y # handle 22
	}
}
table ip6 t { # progname portolan # handle 7
	flags owner,dormant
	chain c { # handle 1
		meta l4proto tcp counter packets 0 bytes 0 xt target \"REJECT\" # handle 18
	}
}
";

    #[test]
    fn rules_are_found_by_table_and_handle_on_one_line_and_without_counts() {
        let tables = read(LISTING);
        let table = |family: &str| &tables[&(family.to_owned(), "t".to_owned())];
        let texts = |family| -> Vec<(u64, &str)> {
            table(family).rules.iter().map(|(handle, rule)| (*handle, rule.text.as_str())).collect()
        };
        let expected = [
            (18, "tcp dport 8080 drop"),
            (19, "ip saddr { 10.0.0.1, 10.0.0.2, 10.0.0.3 } accept"),
            (20, ""),
            (21, "log prefix \"counter packets  1 bytes 2\" drop comment \"a # handle 9\""),
            (22, "tcp dport 1 counter packets x bytes y"),
        ];
        assert_eq!(texts("inet"), expected);
        assert_eq!(texts("ip6"), [(18, "meta l4proto tcp xt target \"REJECT\"")]);
        assert_eq!((table("inet").dormant, table("ip6").dormant), (false, true));
        let before = |handle| table("inet").rules[&handle].before_counter.as_deref();
        assert_eq!((before(18), before(19), before(20)), (Some("tcp dport 8080"), None, Some("")));
    }

    #[test]
    fn pieces_of_a_listing_do_not_upset_it() {
        for end in (0..LISTING.len()).filter(|end| LISTING.is_char_boundary(*end)) {
            read(&LISTING[..end]);
            read(&LISTING[end..]);
        }
    }
}
