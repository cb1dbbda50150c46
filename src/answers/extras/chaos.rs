//! `chaos`: what a server says about itself. For class CH alone; a query of class CH never sees another source's records
//! (Δ16).

use domain::base::{Rtype, iana::Class};

use crate::config::dns::Chaos;

/// What a query of class CH is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// One TXT record
    Text(&'a [u8]),
    /// A TXT record each
    Texts(&'a [String]),
}

/// What is told to a query; none if it is not about the server, or asks for what is not said: REFUSED. `nsid` is the
/// server's name where it has one.
pub fn find<'a>(
    chaos: &'a Chaos,
    nsid: Option<&'a [u8]>,
    name: &[u8],
    qtype: Rtype,
    qclass: Class,
) -> Option<Told<'a>> {
    if qclass != Class::CH || !matches!(qtype, Rtype::TXT | Rtype::ANY) {
        return None;
    }
    match name {
        b"\x07version\x04bind\0" | b"\x07version\x06server\0" => Some(Told::Text(chaos.version.as_bytes())),
        b"\x07authors\x04bind\0" if !chaos.authors.is_empty() => Some(Told::Texts(&chaos.authors)),
        b"\x08hostname\x04bind\0" | b"\x02id\x06server\0" => nsid.map(Told::Text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_described_in_class_ch_alone() {
        let chaos = Chaos { version: "v1".into(), authors: vec!["a".into(), "b".into()] };
        let version = b"\x07version\x04bind\0";
        let find = |name: &[u8], qtype, qclass| {
            super::find(&chaos, Some(b"node-1"), name, qtype, qclass).map(|told| format!("{told:?}"))
        };
        let text = |text: &[u8]| Some(format!("{:?}", Told::Text(text)));
        assert_eq!(find(version, Rtype::TXT, Class::CH), text(b"v1"));
        assert_eq!(find(b"\x07version\x06server\0", Rtype::TXT, Class::CH), text(b"v1"));
        assert_eq!(find(b"\x02id\x06server\0", Rtype::TXT, Class::CH), text(b"node-1"));
        let authors = find(b"\x07authors\x04bind\0", Rtype::TXT, Class::CH);
        assert_eq!(authors, Some(format!("{:?}", Told::Texts(&chaos.authors))));
        assert_eq!(find(version, Rtype::TXT, Class::IN), None);
        assert_eq!(find(version, Rtype::A, Class::CH), None);
        assert_eq!(find(b"\x03foo\x04bind\0", Rtype::TXT, Class::CH), None);
        assert_eq!(super::find(&chaos, None, b"\x02id\x06server\0", Rtype::TXT, Class::CH), None);
    }
}
