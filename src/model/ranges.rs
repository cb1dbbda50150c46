use std::{fmt, net::IpAddr};

use ipnet::IpNet;

/// Addresses from `first` to `last`, both included, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpRange {
    /// First address
    pub first: IpAddr,
    /// Last address
    pub last: IpAddr,
}

impl IpRange {
    /// The range as a prefix, if it is exactly one.
    pub fn as_net(&self) -> Option<IpNet> {
        let (first, last) = (number(self.first), number(self.last));
        let width: u8 = if self.first.is_ipv4() { 32 } else { 128 };
        let host_bits = (first ^ last).checked_ilog2().map_or(0, |b| b as u8 + 1);
        let net = IpNet::new(self.first, width - host_bits).ok()?;
        (net.network() == self.first && net.broadcast() == self.last).then_some(net)
    }

    /// Whether the address lies inside.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && self.first <= address && address <= self.last
    }
}

impl From<IpNet> for IpRange {
    fn from(net: IpNet) -> Self {
        Self { first: net.network(), last: net.broadcast() }
    }
}

impl fmt::Display for IpRange {
    /// As nft prints it: an address, a prefix, or `first-last`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_net() {
            Some(_) if self.first == self.last => write!(f, "{}", self.first),
            Some(net) => write!(f, "{net}"),
            None => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// The same addresses as few ranges as possible, sorted, never touching: what an nft interval set can hold.
pub fn merge_ranges(nets: impl IntoIterator<Item = IpNet>) -> Vec<IpRange> {
    let mut sorted: Vec<IpRange> = nets.into_iter().map(IpRange::from).collect();
    sorted.sort();
    let mut merged: Vec<IpRange> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if touches(last, &range) => last.last = last.last.max(range.last),
            _ => merged.push(range),
        }
    }
    merged
}

/// Whether `next`, which does not start before `range`, overlaps it or follows it without a gap.
fn touches(range: &IpRange, next: &IpRange) -> bool {
    range.first.is_ipv4() == next.first.is_ipv4()
        && (next.first <= range.last || number(range.last).checked_add(1) == Some(number(next.first)))
}

/// The address as a number, for arithmetic within one family.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => u128::from(a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(nets: &[&str]) -> Vec<String> {
        let nets: Vec<IpNet> = nets.iter().map(|n| n.parse().unwrap()).collect();
        merge_ranges(nets).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn neighbours_and_nested_prefixes_become_one() {
        assert_eq!(merged(&["10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16"]), ["10.0.0.0/8"]);
        assert_eq!(merged(&["10.0.1.0/24", "10.0.2.0/24"]), ["10.0.1.0-10.0.2.255"]);
        assert_eq!(merged(&["0.0.0.0/0", "::/0", "255.255.255.255/32"]), ["0.0.0.0/0", "::/0"]);
        assert_eq!(merged(&["192.0.2.1/32", "fd00::/64"]), ["192.0.2.1", "fd00::/64"]);
    }
}
