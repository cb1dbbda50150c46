//! Netlink messages as bytes: a writer that appends to one buffer, and a reader that copies nothing.
//!
//! The typed messages of `netlink-packet-netfilter` need about ten heap blocks for each set element; a full table has
//! a hundred thousand elements. So messages are written in place here, with the crates' own numbers and headers.

use std::net::IpAddr;

use netlink_packet_core::{Emitable, NLA_F_NESTED, NLM_F_ACK, NLM_F_REQUEST, NlasIterator};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterProtoFamily, NetfilterSubsystem, nftables::NfTablesMessageType,
};

use crate::model::Family;

/// Bytes of the netlink header in front of every message.
pub(crate) const NETLINK_HEADER: usize = 16;
/// Bytes in front of a message's attributes: the netlink header and the netfilter header.
pub(crate) const HEADERS: usize = NETLINK_HEADER + 4;

/// What a message asks for: the `nlmsg_type` of nfnetlink, subsystem and number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind(pub u16);

impl Kind {
    /// A number of one of netfilter's subsystems.
    pub fn new(subsystem: NetfilterSubsystem, number: u8) -> Self {
        Self(u16::from_be_bytes([subsystem.into(), number]))
    }
}

impl From<NfTablesMessageType> for Kind {
    fn from(message: NfTablesMessageType) -> Self {
        Self::new(NetfilterSubsystem::NfTables, message.into())
    }
}

/// The family number in a netfilter header.
pub(crate) fn protocol_family(family: Family) -> NetfilterProtoFamily {
    match family {
        Family::V4 => NetfilterProtoFamily::IPv4,
        Family::V6 => NetfilterProtoFamily::IPv6,
    }
}

/// The family of a table as nft writes it, from its number in a netfilter header.
pub(crate) fn family_name(number: u8) -> &'static str {
    match number {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "?",
    }
}

/// Appends netlink messages to a buffer. Messages are numbered from the sequence number it starts with.
pub(crate) struct Writer {
    bytes: Vec<u8>,
    first_sequence: u32,
    next_sequence: u32,
}

impl Writer {
    /// An empty buffer whose first message gets `sequence`.
    pub fn new(sequence: u32) -> Self {
        Self { bytes: Vec::new(), first_sequence: sequence, next_sequence: sequence }
    }

    /// Everything written so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The sequence number of the first message.
    pub fn first_sequence(&self) -> u32 {
        self.first_sequence
    }

    /// The sequence number that the next message will get.
    pub fn next_sequence(&self) -> u32 {
        self.next_sequence
    }

    /// The number of bytes written so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a message; `body` writes its attributes. `resource` is the netfilter header's resource id, which only
    /// a batch uses.
    pub fn message(
        &mut self,
        kind: Kind,
        flags: u16,
        family: NetfilterProtoFamily,
        resource: u16,
        body: impl FnOnce(&mut Self),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]); // length, filled in below
        self.bytes.extend_from_slice(&kind.0.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&self.next_sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]); // port: the kernel knows the sender
        self.next_sequence = self.next_sequence.wrapping_add(1);
        let mut header = [0; 4];
        NetfilterHeader::new(family, 0, resource).emit(&mut header);
        self.bytes.extend_from_slice(&header);
        body(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Makes the message that starts at `start` ask for an acknowledgement.
    pub fn ask_acknowledgement(&mut self, start: usize) {
        if let Some([low, high]) = self.bytes.get_mut(start + 6..start + 8) {
            let flags = u16::from_ne_bytes([*low, *high]) | NLM_F_ACK;
            [*low, *high] = flags.to_ne_bytes();
        }
    }

    /// Appends an attribute whose value `body` appends, padded to four bytes. A value of 64 KiB or more does not fit
    /// the length field; it is written so that the kernel refuses it.
    pub fn attribute_with(&mut self, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
        self.framed(kind, |writer| body(&mut writer.bytes));
    }

    /// Appends an attribute.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.attribute_with(kind, |bytes| bytes.extend_from_slice(value));
    }

    /// Appends a number in network order.
    pub fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Appends a text with the NUL that nftables wants behind it.
    pub fn text(&mut self, kind: u16, value: &str) {
        self.attribute_with(kind, |bytes| {
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        });
    }

    /// Appends an attribute made of attributes.
    pub fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        self.framed(kind | NLA_F_NESTED, body);
    }

    fn framed(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]); // length, filled in below
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        body(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        pad(&mut self.bytes, start);
    }
}

/// Appends zeros until the length since `start` is a multiple of four.
pub(crate) fn pad(bytes: &mut Vec<u8>, start: usize) {
    let excess = (bytes.len() - start) % 4;
    if excess > 0 {
        bytes.extend_from_slice(&[0; 4][excess..]);
    }
}

/// Appends an address in network order.
pub(crate) fn push_address(bytes: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(a) => bytes.extend_from_slice(&a.octets()),
        IpAddr::V6(a) => bytes.extend_from_slice(&a.octets()),
    }
}

/// The attributes in a run of bytes. What cannot be read as an attribute ends the run.
#[derive(Clone, Copy, Default)]
pub(crate) struct Attributes<'a>(pub &'a [u8]);

impl<'a> Attributes<'a> {
    /// All attributes in order: kind and value.
    pub fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        NlasIterator::new(self.0).map_while(|attribute| {
            let attribute = attribute.ok()?;
            let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
            Some((kind, attribute.into_inner().get(4..length)?))
        })
    }

    /// The value of the first attribute of a kind.
    pub fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.iter().find(|(k, _)| *k == kind).map(|(_, value)| value)
    }

    /// The attributes within the first attribute of a kind; none if it is absent.
    pub fn nested(self, kind: u16) -> Attributes<'a> {
        Attributes(self.get(kind).unwrap_or_default())
    }

    /// A text, without its NUL.
    pub fn text(self, kind: u16) -> Option<&'a str> {
        let value = self.get(kind)?;
        std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok()
    }

    /// A number of four bytes in network order.
    pub fn number(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// A number of eight bytes in network order.
    pub fn long(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }
}

/// An address in network order.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::new(7);
        writer.message(NfTablesMessageType::GetGen.into(), 0, NetfilterProtoFamily::IPv6, 10, |w| {
            w.text(1, "shop/web");
            w.nested(2, |w| w.number(3, 0x0102_0304));
            w.attribute(4, &[9]);
        });
        let bytes = writer.bytes();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(bytes[..4], u32::try_from(bytes.len()).unwrap().to_ne_bytes());
        assert_eq!(bytes[16..20], [10, 0, 0, 10]);
        let attributes = Attributes(&bytes[HEADERS..]);
        assert_eq!(attributes.text(1), Some("shop/web"));
        assert_eq!(attributes.nested(2).number(3), Some(0x0102_0304));
        assert_eq!(attributes.get(4), Some(&[9][..]));
        assert_eq!(attributes.get(5), None);
    }

    #[test]
    fn broken_attributes_end_the_run() {
        let bytes = [8, 0, 1, 0, 1, 2, 3, 4, 200, 0, 2, 0];
        assert_eq!(Attributes(&bytes).iter().count(), 1);
        assert_eq!(Attributes(&[3, 0, 1, 0]).iter().count(), 0);
    }
}
