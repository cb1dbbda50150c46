//! Domain names in wire form: labels with their lengths before them, up to the root label.

use std::{fmt, ops::Deref};

/// Octets of the longest name (RFC 1035, 3.1).
pub const MAX_NAME: usize = 255;

/// A name in wire form, lower case, in place: finding an answer allocates nothing.
#[derive(Clone, Copy)]
pub struct LowerName {
    octets: [u8; MAX_NAME],
    length: u8,
}

impl LowerName {
    /// From a name in wire form as [`name_end`] accepts it. Nothing if it is too long.
    pub fn new(wire: &[u8]) -> Option<Self> {
        let mut octets = [0; MAX_NAME];
        let place = octets.get_mut(..wire.len())?;
        place.copy_from_slice(wire);
        // Lengths are below 64 and capitals begin at 65: lengths stay as they are.
        place.make_ascii_lowercase();
        Some(Self { octets, length: wire.len() as u8 })
    }

    /// A name relative to a zone, both in wire form, the first without the root label. Nothing if it gets too long.
    pub fn joined(relative: &[u8], zone: &[u8]) -> Option<Self> {
        let length = relative.len() + zone.len();
        let mut octets = [0; MAX_NAME];
        let place = octets.get_mut(..length)?;
        let (left, right) = place.split_at_mut(relative.len());
        left.copy_from_slice(relative);
        right.copy_from_slice(zone);
        place.make_ascii_lowercase();
        Some(Self { octets, length: length as u8 })
    }
}

impl Deref for LowerName {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }
}

impl fmt::Debug for LowerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(self))
    }
}

/// Where the name at `start` ends, behind its root label. Nothing if it is cut, longer than 255 octets, or has a pointer
/// or a label of a reserved type.
pub fn name_end(message: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let length = usize::from(*message.get(at)?);
        if length > 63 {
            return None;
        }
        at += length + 1;
        if at - start > MAX_NAME {
            return None;
        }
        if length == 0 {
            return Some(at);
        }
    }
}

/// What is left of `zone` in `name`, without a root label; nothing if the name is not at or below the zone. Both in wire
/// form and lower case. Zones end on label boundaries: `xcluster.local` is not below `cluster.local` (2.1).
pub fn relative_to<'a>(name: &'a [u8], zone: &[u8]) -> Option<&'a [u8]> {
    let cut = name.len().checked_sub(zone.len())?;
    if &name[cut..] != zone {
        return None;
    }
    let mut at = 0;
    while at < cut {
        at += usize::from(name[at]) + 1;
    }
    (at == cut).then(|| &name[..cut])
}

/// The labels of a name in wire form, left to right, without the root label.
pub fn labels(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let (&length, after) = rest.split_first()?;
        let (label, after) = after.split_at_checked(usize::from(length))?;
        rest = after;
        (length > 0).then_some(label)
    })
}

/// A name in wire form as text with the dot at its end, special characters escaped as in zone files (RFC 4343, 2.1).
pub fn text(name: &[u8]) -> String {
    let mut out = String::new();
    for label in labels(name) {
        for &octet in label {
            match octet {
                b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                    out.push('\\');
                    out.push(char::from(octet));
                }
                0x21..=0x7e => out.push(char::from(octet)),
                _ => out.push_str(&format!("\\{octet:03}")),
            }
        }
        out.push('.');
    }
    if out.is_empty() {
        out.push('.');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_end_on_label_boundaries() {
        let zone = b"\x07cluster\x05local\0";
        assert_eq!(relative_to(b"\x03svc\x07cluster\x05local\0", zone), Some(&b"\x03svc"[..]));
        assert_eq!(relative_to(zone, zone), Some(&b""[..]));
        assert_eq!(relative_to(b"\x08xcluster\x05local\0", zone), None);
        // A label that holds what looks like the length of the next.
        assert_eq!(relative_to(b"\x0fa\x07cluster\x05local\0", zone), None);
        assert_eq!(relative_to(b"\x05local\0", zone), None);
        assert_eq!(relative_to(b"\x05local\0", b"\0"), Some(&b"\x05local"[..]));
    }

    #[test]
    fn names_end_where_they_end() {
        assert_eq!(name_end(b"\x01a\0rest", 0), Some(3));
        assert_eq!(name_end(b"\x01a", 0), None);
        assert_eq!(name_end(b"\xc0\x0c", 0), None);
        assert_eq!(name_end(b"\x40", 0), None);
        let mut long = b"\x3f".to_vec();
        long.extend([b'x'; 63]);
        let mut name = long.repeat(3);
        name.extend(b"\x3d");
        name.extend([b'y'; 61]);
        name.push(0);
        assert_eq!((name.len(), name_end(&name, 0)), (255, Some(255)));
        name[192] = 0x3e;
        name.insert(193, b'y');
        assert_eq!(name_end(&name, 0), None);
    }

    #[test]
    fn names_as_text() {
        assert_eq!(text(b"\0"), ".");
        assert_eq!(text(b"\x03a.b\x01\x07\0"), "a\\.b.\\007.");
    }
}
