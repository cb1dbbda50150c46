//! The data as zone files: what a server of plain zones must hold to give the answers that the others make of Services.

use std::{
    fmt::{Display, Write},
    fs,
    net::{IpAddr, Ipv6Addr},
    path::Path,
};

use crate::data::{Data, Kind, PORTS, TTL, ZONE, cluster_ips, owner, target};

/// The zones; each is in a file of its name.
pub const ZONES: [&str; 3] = [ZONE, "in-addr.arpa", "ip6.arpa"];

/// Writes a file for each of [`ZONES`].
pub fn write(data: &Data, folder: &Path) {
    let mut zones = Zones(ZONES.map(head));
    for number in 0..data.services {
        match Kind::of(number) {
            Kind::ClusterIp => zones.cluster_ip(data, number),
            Kind::Headless => zones.headless(data, number),
            Kind::External => zones.add(&owner(number), "CNAME", owner(target(number))),
        }
    }
    for (name, text) in ZONES.iter().zip(zones.0) {
        fs::write(folder.join(name), text).unwrap();
    }
}

/// SOA and NS as the others make them.
fn head(zone: &str) -> String {
    format!(
        "$ORIGIN {zone}.\n$TTL {TTL}\n@ SOA ns.dns hostmaster 1 7200 1800 86400 {TTL}\n@ NS ns.dns\nns.dns A 172.30.0.10\n"
    )
}

/// The text of each zone.
struct Zones([String; 3]);

impl Zones {
    fn add(&mut self, owner: &str, kind: &str, value: impl Display) {
        let _ = writeln!(self.0[0], "{owner} {kind} {value}");
    }

    fn address(&mut self, owner: &str, address: IpAddr) {
        self.add(owner, if address.is_ipv4() { "A" } else { "AAAA" }, address);
        match address {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                let _ = writeln!(self.0[1], "{d}.{c}.{b}.{a} PTR {owner}.{ZONE}.");
            }
            IpAddr::V6(v6) => {
                let _ = writeln!(self.0[2], "{} PTR {owner}.{ZONE}.", nibbles(v6));
            }
        }
    }

    /// The weight is a hundredth for each of the addresses and ports that a name stands for.
    fn service_records(&mut self, owner: &str, entries: usize, port: u16, target: &str) {
        self.add(owner, "SRV", format_args!("0 {} {port} {target}", (100 / entries).max(1)));
    }

    fn cluster_ip(&mut self, data: &Data, number: usize) {
        let (owner, addresses) = (owner(number), cluster_ips(number));
        for (name, port) in PORTS {
            self.service_records(&format!("_{name}._tcp.{owner}"), addresses.len(), port, &owner);
            self.service_records(&owner, addresses.len() * PORTS.len(), port, &owner);
        }
        for address in addresses {
            self.address(&owner, address);
        }
        self.endpoints(data, number);
    }

    fn headless(&mut self, data: &Data, number: usize) {
        let owner = owner(number);
        for index in 0..data.endpoints {
            let endpoint = format!("{}.{owner}", data.endpoint_label(number, index));
            self.add(&owner, "A", data.address(number, index));
            for (name, port) in PORTS {
                self.service_records(&format!("_{name}._tcp.{owner}"), data.endpoints, port, &endpoint);
                self.service_records(&owner, data.endpoints * PORTS.len(), port, &endpoint);
            }
        }
        self.endpoints(data, number);
    }

    fn endpoints(&mut self, data: &Data, number: usize) {
        for index in 0..data.endpoints {
            let endpoint = format!("{}.{}", data.endpoint_label(number, index), owner(number));
            self.address(&endpoint, data.address(number, index).into());
            for (_, port) in PORTS {
                self.service_records(&endpoint, PORTS.len(), port, &endpoint);
            }
        }
    }
}

/// An address as its name below ip6.arpa.
pub fn nibbles(address: Ipv6Addr) -> String {
    let digits: Vec<String> =
        address.octets().iter().rev().map(|octet| format!("{:x}.{:x}", octet & 15, octet >> 4)).collect();
    digits.join(".")
}
