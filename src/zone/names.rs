//! Names as they are written.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// A label that is used as it stands: 1 to 63 lower case letters, digits, dashes and underscores, which is all that
/// the API server lets through for what becomes a label. Everything else could not be asked for, or would be taken for
/// two labels.
pub(super) fn label(text: &str) -> Option<&str> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    Some(text).filter(|text| (1..=63).contains(&text.len()) && text.bytes().all(good))
}

/// A Service's own name in wire form, relative to the zone.
pub(super) fn owner(namespace: &str, name: &str) -> Option<Arc<[u8]>> {
    let mut wire = Vec::with_capacity(name.len() + namespace.len() + 6);
    for part in [label(name)?, label(namespace)?, "svc"] {
        // A label has 63 octets at most.
        wire.push(part.len() as u8);
        wire.extend(part.as_bytes());
    }
    Some(wire.into())
}

/// The address that a pod's label spells (1.6): exactly three dashes, none beside another, are an IPv4 address,
/// everything else is an IPv6 one.
pub(super) fn pod_address(label: &[u8]) -> Option<IpAddr> {
    let mut text = [0; 63];
    let text = text.get_mut(..label.len())?;
    let dashes = label.iter().filter(|b| **b == b'-').count();
    let v4 = dashes == 3 && !label.windows(2).any(|two| two == b"--");
    for (to, from) in text.iter_mut().zip(label) {
        *to = match from {
            b'-' if v4 => b'.',
            b'-' => b':',
            digit if digit.is_ascii_hexdigit() => *digit,
            _ => return None,
        };
    }
    let text = std::str::from_utf8(text).ok()?;
    if v4 { text.parse().ok().map(|a: Ipv4Addr| a.into()) } else { text.parse().ok().map(|a: Ipv6Addr| a.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pod_labels_are_read_as_section_1_6_has_it() {
        for (label, expected) in [
            ("1-2-3-4", Some("1.2.3.4")),
            ("10-244-1-10", Some("10.244.1.10")),
            ("--1", Some("::1")),
            ("fd00-244-1--30", Some("fd00:244:1::30")),
            ("fd00-244-6--", Some("fd00:244:6::")),
            ("1--2-3", Some("1::2:3")),
            ("01-2-3-4", None),
            ("256-2-3-4", None),
            ("1-2-3", None),
            ("1-2-3-4-5", None),
            ("1.2.3.4", None),
            ("fd00:244:1::30", None),
            ("a-b-c-d", None),
            ("web", None),
            ("", None),
        ] {
            assert_eq!(pod_address(label.as_bytes()), expected.map(|text| text.parse().unwrap()), "{label}");
        }
        assert_eq!(pod_address(&[b'1'; 200]), None);
    }

    #[test]
    fn what_is_no_label_is_not_used() {
        assert_eq!(label("db-0"), Some("db-0"));
        assert_eq!(label(&"a".repeat(63)).map(str::len), Some(63));
        for bad in ["", "a.b", "Web", "ä", &"a".repeat(64)] {
            assert_eq!(label(bad), None, "{bad}");
        }
        assert_eq!(owner("shop", "web").as_deref(), Some(&b"\x03web\x04shop\x03svc"[..]));
        assert_eq!(owner("shop", "web.x"), None);
    }
}
