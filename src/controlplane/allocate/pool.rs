use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use crate::model::IpRange;

/// Something that only one Service can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    ClusterIp(IpAddr),
    /// A node port or a health check's node port: one number space for all protocols, as the API server has it
    Port(u16),
    LoadBalancerIp(IpAddr),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::ClusterIp(ip) | Value::LoadBalancerIp(ip) => ip.fmt(f),
            Value::Port(port) => port.fmt(f),
        }
    }
}

impl Value {
    /// The value of the same sort with this number.
    fn with_number(self, number: u128) -> Self {
        let address = |like: IpAddr| match like {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(number as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(number)),
        };
        match self {
            Value::ClusterIp(like) => Value::ClusterIp(address(like)),
            Value::LoadBalancerIp(like) => Value::LoadBalancerIp(address(like)),
            Value::Port(_) => Value::Port(number as u16),
        }
    }

    fn number(self) -> u128 {
        match self {
            Value::ClusterIp(ip) | Value::LoadBalancerIp(ip) => match ip {
                IpAddr::V4(ip) => u128::from(u32::from(ip)),
                IpAddr::V6(ip) => u128::from(ip),
            },
            Value::Port(port) => u128::from(port),
        }
    }
}

/// Values of one sort, and of one family, from which some are given out.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    ranges: Vec<Range>,
}

/// Values from `first` to `last`. Those below `dynamic` are given out only when all others are taken, so that they stay
/// free for people who choose a value themselves (KEP-3070, KEP-3668).
#[derive(Clone, Copy, Debug)]
struct Range {
    like: Value,
    first: u128,
    dynamic: u128,
    last: u128,
}

impl Pool {
    /// Cluster IPs. The network's own address, IPv4 broadcast, and the first address, which is the API server's, are
    /// never given out.
    pub fn cluster_ips(nets: impl Iterator<Item = IpNet>) -> Self {
        let range = |net: IpNet| {
            let like = Value::ClusterIp(net.network());
            let network = like.number();
            let last = Value::ClusterIp(net.broadcast()).number() - u128::from(net.addr().is_ipv4());
            let size = last.saturating_sub(network);
            let first = network + 2;
            Range { like, first, dynamic: first + static_band(size, 16, 256), last }
        };
        Self { ranges: nets.filter(|net| net.prefix_len() < net.max_prefix_len() - 1).map(range).collect() }
    }

    /// Node ports.
    pub fn node_ports(first: u16, last: u16) -> Self {
        let [first, last] = [u128::from(first), u128::from(last)];
        let dynamic = first + static_band((last + 1).saturating_sub(first), 32, 128);
        Self { ranges: vec![Range { like: Value::Port(0), first, dynamic, last }] }
    }

    /// Load-balancer addresses: all of them.
    pub fn load_balancer_ips(ranges: impl Iterator<Item = IpRange>) -> Self {
        let range = |range: IpRange| {
            let like = Value::LoadBalancerIp(range.first);
            let [first, last] = [range.first, range.last].map(|ip| Value::LoadBalancerIp(ip).number());
            Range { like, first, dynamic: first, last }
        };
        Self { ranges: ranges.map(range).collect() }
    }

    /// Whether there is anything in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.iter().all(|range| range.first > range.last)
    }

    /// Whether the value may be given out.
    pub fn contains(&self, value: Value) -> bool {
        self.ranges.iter().any(|range| (range.first..=range.last).contains(&value.number()))
    }

    /// The free value that the hash leads to, or the next free one upward.
    pub fn find(&self, hash: u64, is_taken: impl Fn(Value) -> bool) -> Option<Value> {
        self.ranges.iter().find_map(|range| range.find(hash, &is_taken))
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.ranges.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{}-{}", range.like.with_number(range.first), range.like.with_number(range.last))?;
        }
        Ok(())
    }
}

impl Range {
    fn find(&self, hash: u64, is_taken: impl Fn(Value) -> bool) -> Option<Value> {
        let size = (self.last + 1).checked_sub(self.dynamic).filter(|size| *size > 0)?;
        let start = self.dynamic + u128::from(hash) % size;
        // No loop is longer than the number of values taken, so that even the largest IPv6 range is quick.
        (start..=self.last)
            .chain(self.dynamic..start)
            .chain(self.first..self.dynamic)
            .map(|number| self.like.with_number(number))
            .find(|value| !is_taken(*value))
    }
}

/// How many values at the beginning of a range are kept for people: a fraction of it, at least 16, at most `most`; none
/// if the range is small. Kubernetes' own formula.
fn static_band(size: u128, fraction: u128, most: u128) -> u128 {
    let band = (size / fraction).clamp(16, most);
    if size <= band { 0 } else { band }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pool: &Pool, hash: u64) -> Vec<String> {
        let mut taken = Vec::new();
        while let Some(value) = pool.find(hash, |value| taken.contains(&value)) {
            taken.push(value);
        }
        taken.iter().map(ToString::to_string).collect()
    }

    fn cluster_ips(net: &str) -> Pool {
        Pool::cluster_ips([net.parse().unwrap()].into_iter())
    }

    #[test]
    fn reserved_addresses_are_never_given_out() {
        assert_eq!(all(&cluster_ips("10.0.0.0/29"), 2), ["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2", "10.0.0.3"]);
        assert_eq!(all(&cluster_ips("10.0.0.0/30"), 9), ["10.0.0.2"]);
        assert_eq!(all(&cluster_ips("fd00::/126"), 0), ["fd00::2", "fd00::3"]);
        for too_small in ["10.0.0.0/31", "10.0.0.0/32", "fd00::/127", "fd00::/128"] {
            assert_eq!(all(&cluster_ips(too_small), 0), [""; 0]);
        }
    }

    #[test]
    fn chosen_values_are_given_out_last() {
        let given = all(&cluster_ips("10.0.0.0/24"), 250);
        assert_eq!(given.len(), 253);
        assert_eq!(given.last().unwrap(), "10.0.0.17");
        let ports = Pool::node_ports(30000, 32767);
        let number = |hash| ports.find(hash, |_| false).unwrap().number();
        assert_eq!((0..5000).map(number).min(), Some(30086));
        assert_eq!((0..5000).map(number).max(), Some(32767));
    }

    #[test]
    fn large_ranges_are_quick() {
        let pool = cluster_ips("fd00::/8");
        let first = pool.find(u64::MAX, |_| false).unwrap();
        let second = pool.find(u64::MAX, |value| value == first).unwrap();
        assert_eq!(second.number(), first.number() + 1);
        assert!(pool.contains(first) && !pool.contains(Value::ClusterIp("fe00::1".parse().unwrap())));
    }
}
