//! What a server block can do besides cluster names and forwarding (2.5, 2.6): who may ask, other words for a question,
//! and answers of one's own. Each is a look-up that says what it found; putting it into a message is done elsewhere.
//!
//! Names are wire bytes in lower case, as a query's name is kept.

pub mod acl;
pub mod chaos;
pub mod file;
pub mod hosts;
pub mod rewrite;
pub mod template;

use std::fmt::Write;

use crate::config::dns::{Fallthrough, Name};

/// Whether a name is a zone's own or below it, by labels.
pub fn lies_in(name: &[u8], zone: &Name) -> bool {
    suffixes(name).any(|suffix| suffix == zone.as_slice())
}

/// Whether a name lies in one of these zones; in none if there are none.
pub fn lies_in_any(name: &[u8], zones: &[Name]) -> bool {
    zones.iter().any(|zone| lies_in(name, zone))
}

/// Whether a name that is missing goes on to the next source.
pub fn falls_through(fallthrough: &Fallthrough, name: &[u8]) -> bool {
    match fallthrough {
        Fallthrough::Never => false,
        Fallthrough::Always => true,
        Fallthrough::Zones(zones) => lies_in_any(name, zones),
    }
}

/// The name, and what is left of it without its first label, without its second, to the root. Ends where bytes are no name.
fn suffixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(name);
    std::iter::from_fn(move || {
        let now = rest.filter(|rest| !rest.is_empty())?;
        let length = usize::from(now[0]);
        rest = if length == 0 { None } else { now.get(1 + length..) };
        Some(now)
    })
}

/// The text form that patterns see: dots between labels and at the end, unusual octets as `\DDD` (RFC 1035, 5.1).
fn text_of(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for suffix in suffixes(name).filter(|suffix| suffix[0] != 0) {
        for octet in suffix.get(1..1 + usize::from(suffix[0])).unwrap_or_default() {
            match octet {
                b'.' | b'\\' => text.extend(['\\', char::from(*octet)]),
                b'!'..=b'~' => text.push(char::from(*octet)),
                // Writing into a String cannot fail.
                other => _ = write!(text, "\\{other:03}"),
            }
        }
        text.push('.');
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::dns::corefile::name;

    #[test]
    fn zones_end_between_labels() {
        let lies = |n: &str, zone: &str| lies_in(name(n).unwrap().as_slice(), &name(zone).unwrap());
        assert!(lies("a.cluster.local", "cluster.local") && lies("cluster.local", "cluster.local"));
        assert!(lies("anything", ".") && lies(".", "."));
        assert!(!lies("xcluster.local", "cluster.local") && !lies("local", "cluster.local"));
    }

    #[test]
    fn the_text_form_can_be_read_back() {
        for text in [".", "a.b.", "a\\.b.c.", "\\000\\255x.y."] {
            assert_eq!(text_of(crate::config::dns::Name::vec_from_str(text).unwrap().as_slice()), text);
        }
    }
}
