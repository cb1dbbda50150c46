//! The forms that names must have.

/// A value for a message: quoted, and cut if it is too long to read.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("\"{}...\" ({} characters)", text[..end].escape_debug(), text.chars().count()),
        None => format!("{text:?}"),
    }
}

/// A DNS label (RFC 1123): names of namespaces, Services and ports, hostnames.
///
/// Older API servers want a Service's name to begin with a letter (RFC 1035); newer ones do not
/// (RelaxedServiceNameValidation), and nor does DNS.
pub(super) fn label(text: &str) -> Result<(), String> {
    if is_label(text) {
        return Ok(());
    }
    Err(format!(
        "{} is not a name: lower-case letters, digits and '-', a letter or digit at both ends, at most 63 characters",
        shown(text)
    ))
}

/// A DNS name (RFC 1123): the names of most kinds of objects.
pub(super) fn subdomain(text: &str) -> Result<(), String> {
    let is_part = |part: &str| !part.is_empty() && is_label_of_any_length(part);
    if text.len() <= 253 && text.split('.').all(is_part) {
        return Ok(());
    }
    Err(format!(
        "{} is not a name: lower-case letters, digits, '-' and '.', a letter or digit at both ends of each part, at most \
         253 characters",
        shown(text)
    ))
}

/// The name of a container port (RFC 6335), as it stands in Pods and in `targetPort`.
pub(super) fn port(text: &str) -> Result<(), String> {
    let has_letter = text.bytes().any(|b| b.is_ascii_lowercase());
    if text.len() <= 15 && is_label(text) && has_letter && !text.contains("--") {
        return Ok(());
    }
    let hint = if text.parse::<u16>().is_ok() { "; a port number is written without quotes" } else { "" };
    Err(format!(
        "{} is not a port name: lower-case letters, digits and single '-', a letter or digit at both ends, at least one \
         letter, at most 15 characters{hint}",
        shown(text)
    ))
}

/// A key of labels and annotations, or a value of that form: `name` or `example.com/name`.
pub(super) fn qualified(text: &str) -> Result<(), String> {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    if prefix.is_none_or(|prefix| subdomain(prefix).is_ok()) && is_label_text(name) {
        return Ok(());
    }
    Err(format!(
        "{} is not of the form name or example.com/name: letters, digits, '-', '_' and '.', a letter or digit at both ends, \
         at most 63 characters",
        shown(text)
    ))
}

/// A value of a label; may be empty.
pub(super) fn label_value(text: &str) -> Result<(), String> {
    if text.is_empty() || is_label_text(text) {
        return Ok(());
    }
    Err(format!(
        "{} cannot be a label's value: letters, digits, '-', '_' and '.', a letter or digit at both ends, at most 63 \
         characters",
        shown(text)
    ))
}

fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_label_of_any_length(text)
}

fn is_label_of_any_length(text: &str) -> bool {
    has_ends(text, |b| b.is_ascii_lowercase() || b.is_ascii_digit(), b"-")
}

fn is_label_text(text: &str) -> bool {
    text.len() <= 63 && has_ends(text, |b| b.is_ascii_alphanumeric(), b"-_.")
}

/// Whether every character is an inner one or may stand at the ends, and those at the ends may.
fn has_ends(text: &str, may_end: fn(u8) -> bool, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| may_end(*b))
        && bytes.last().is_some_and(|b| may_end(*b))
        && bytes.iter().all(|b| may_end(*b) || inner.contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(length: usize) -> String {
        "a".repeat(length)
    }

    #[test]
    fn each_form_takes_what_kubernetes_takes() {
        type Check = fn(&str) -> Result<(), String>;
        let cases: [(Check, &[&str], &[&str]); 5] = [
            (label, &["a", "http", "2nd", "a--b", "7", &long(63)], &["", "Http", "a_b", "-a", "a-", "a.b", &long(64)]),
            (
                subdomain,
                &["a", "a.b", "7.a-b", &format!("{}.b", long(100))],
                &["", "A", "a..b", ".a", "a.", "a_b", &long(254)],
            ),
            (port, &["http", "h2", "1a", "a-b", &long(15)], &["", "80", "Http", "a--b", "-a", "a_b", &long(16)]),
            (
                qualified,
                &["app", "App_1.x", "example.com/app", &long(63)],
                &["", "/a", "a/", "a/b/c", "E.com/a", "-a", &long(64)],
            ),
            (label_value, &["", "v1.0", "A_b", &long(63)], &["-", "a b", "a/b", &long(64)]),
        ];
        for (check, good, bad) in cases {
            good.iter().for_each(|text| assert_eq!(check(text), Ok(())));
            bad.iter().for_each(|text| assert!(check(text).is_err(), "{text}"));
        }
    }

    #[test]
    fn long_values_are_cut_in_messages() {
        assert_eq!(shown("a\"b"), "\"a\\\"b\"");
        assert_eq!(shown(&long(300)), format!("\"{}...\" (300 characters)", long(60)));
    }
}
