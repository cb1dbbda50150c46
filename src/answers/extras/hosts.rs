//! `hosts`: names from the lines of a hosts file (2.6).

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use domain::base::Rtype;

use crate::config::dns::{Name, corefile};

/// What a table says about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The name is not here: the next source if it falls through, else NXDOMAIN
    Missing,
    /// The name is here, but has nothing of this type
    NoData,
    /// Its IPv4 addresses
    V4(&'a [Ipv4Addr]),
    /// Its IPv6 addresses
    V6(&'a [Ipv6Addr]),
    /// The names of an address, in the order of the file
    Names(&'a [Name]),
}

#[derive(Clone, Debug, Default)]
struct Addresses {
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
}

/// The lines of a hosts file, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// By the wire form of the name
    forward: BTreeMap<Box<[u8]>, Addresses>,
    /// By the wire form of the reverse name
    reverse: BTreeMap<Box<[u8]>, Vec<Name>>,
}

impl Table {
    /// Reads `ADDRESS NAME...` lines. Comments begin with `#`. What is no address or no name is left out, it costs nothing
    /// else; the numbers of these lines come back as well. With `no_reverse` addresses have no names.
    pub fn parse(text: &str, no_reverse: bool) -> (Self, Vec<usize>) {
        let mut table = Self::default();
        let mut wrong = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(address) = words.next() else { continue };
            // An interface may follow, which names do not have.
            let address: Result<IpAddr, _> = address.split('%').next().unwrap_or_default().parse();
            let names: Vec<Option<Name>> = words.map(|word| corefile::name(word).ok()).collect();
            if address.is_err() || names.is_empty() || names.contains(&None) {
                wrong.push(index + 1);
            }
            if let Ok(address) = address {
                names.into_iter().flatten().for_each(|name| table.add(address, name, no_reverse));
            }
        }
        (table, wrong)
    }

    fn add(&mut self, address: IpAddr, name: Name, no_reverse: bool) {
        let addresses = self.forward.entry(name.as_slice().into()).or_default();
        match address {
            IpAddr::V4(ip) if !addresses.v4.contains(&ip) => addresses.v4.push(ip),
            IpAddr::V6(ip) if !addresses.v6.contains(&ip) => addresses.v6.push(ip),
            _ => {}
        }
        if let Some(reverse) = corefile::reverse_of(address).filter(|_| !no_reverse) {
            let names = self.reverse.entry(reverse.as_slice().into()).or_default();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }

    /// What is known of a name, an address's reverse name among them.
    pub fn lookup(&self, name: &[u8], qtype: Rtype) -> Found<'_> {
        if let Some(addresses) = self.forward.get(name) {
            return match qtype {
                Rtype::A if !addresses.v4.is_empty() => Found::V4(&addresses.v4),
                Rtype::AAAA if !addresses.v6.is_empty() => Found::V6(&addresses.v6),
                _ => Found::NoData,
            };
        }
        match self.reverse.get(name) {
            Some(names) if qtype == Rtype::PTR => Found::Names(names),
            Some(_) => Found::NoData,
            None => Found::Missing,
        }
    }

    /// How many names and how many addresses there are.
    pub fn size(&self) -> (usize, usize) {
        (self.forward.len(), self.reverse.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
127.0.0.1\tlocalhost localhost.localdomain
# 192.0.2.9 gone
192.0.2.10 Registry.Example registry # both
192.0.2.11 registry.example
192.0.2.11 registry.example
fd00::10%eth0 registry.example
nonsense here
192.0.2.12
192.0.2.13 good bad..name
";

    fn wire(text: &str) -> Box<[u8]> {
        corefile::name(text).unwrap().as_slice().into()
    }

    #[test]
    fn names_have_the_addresses_of_all_lines() {
        let (table, wrong) = Table::parse(FILE, false);
        assert_eq!(wrong, [7, 8, 9]);
        assert_eq!(table.size(), (5, 5));
        let registry = wire("registry.example");
        let v4 = ["192.0.2.10", "192.0.2.11"].map(|ip| ip.parse().unwrap());
        assert_eq!(table.lookup(&registry, Rtype::A), Found::V4(&v4));
        assert_eq!(table.lookup(&registry, Rtype::AAAA), Found::V6(&["fd00::10".parse().unwrap()]));
        assert_eq!(table.lookup(&registry, Rtype::TXT), Found::NoData);
        assert_eq!(table.lookup(&wire("registry"), Rtype::AAAA), Found::NoData);
        assert_eq!(table.lookup(&wire("good"), Rtype::A), Found::V4(&["192.0.2.13".parse().unwrap()]));
        assert_eq!(table.lookup(&wire("x.registry.example"), Rtype::A), Found::Missing);
    }

    #[test]
    fn addresses_have_the_names_of_their_lines() {
        let (table, _) = Table::parse(FILE, false);
        let names = ["registry.example", "registry"].map(|name| corefile::name(name).unwrap());
        assert_eq!(table.lookup(&wire("10.2.0.192.in-addr.arpa"), Rtype::PTR), Found::Names(&names));
        assert_eq!(table.lookup(&wire("10.2.0.192.in-addr.arpa"), Rtype::A), Found::NoData);
        assert_eq!(table.lookup(&wire("9.2.0.192.in-addr.arpa"), Rtype::PTR), Found::Missing);
        let (without, _) = Table::parse(FILE, true);
        assert_eq!(without.lookup(&wire("10.2.0.192.in-addr.arpa"), Rtype::PTR), Found::Missing);
        assert_eq!(without.size(), (5, 0));
    }
}
