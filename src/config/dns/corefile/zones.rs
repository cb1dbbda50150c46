//! The zones that a server block or a directive is for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::config::dns::{DNS_PORT, Name};

/// `ZONE[:PORT]` of a server block, such as `.:53`, `dns://example.org:1053` or `10.0.0.0/24`.
///
/// # Errors
/// What is wrong, for its writer.
pub fn server(text: &str) -> Result<(Vec<Name>, u16), String> {
    let text = match text.split_once("://") {
        None => text,
        Some(("dns", rest)) => rest,
        Some((scheme, _)) => {
            return Err(format!(
                "{scheme}:// is not supported: queries are taken over UDP and TCP; write dns:// or leave it out"
            ));
        }
    };
    if let Some((address, rest)) = text.split_once('/') {
        let (length, port) = rest.split_once(':').map_or((rest, None), |(length, port)| (length, Some(port)));
        let range: IpNet = format!("{address}/{length}")
            .parse()
            .map_err(|_| format!("{text:?} is no address range such as 10.0.0.0/24"))?;
        return Ok((reverse(range.trunc()), port.map_or(Ok(DNS_PORT), self::port)?));
    }
    let (zone, port) = match text.rsplit_once(':') {
        Some((zone, port)) if !zone.contains(':') => (zone, self::port(port)?),
        Some(_) => return Err(format!("{text:?} is no zone; an address range such as fd00::/64 is one")),
        None => (text, DNS_PORT),
    };
    Ok((vec![name(if zone.is_empty() { "." } else { zone })?], port))
}

/// The same where a port has no meaning.
///
/// # Errors
/// What is wrong, for its writer.
pub fn zones(text: &str) -> Result<Vec<Name>, String> {
    server(text).map(|(zones, _)| zones)
}

/// A domain name, with or without the dot at its end; in lower case.
///
/// # Errors
/// What is wrong, for its writer.
pub fn name(text: &str) -> Result<Name, String> {
    let plain = text.bytes().all(|b| b.is_ascii_graphic());
    let name = if plain { Name::vec_from_str(text).ok() } else { None };
    let mut name = name.ok_or_else(|| format!("{text:?} is no domain name"))?;
    name.make_canonical();
    Ok(name)
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| format!("{text:?} is no port from 1 to 65535"))
}

/// The reverse zones of a range: several where it does not end between two labels.
fn reverse(range: IpNet) -> Vec<Name> {
    let names: Vec<String> = match range {
        IpNet::V4(range) => {
            let length = range.prefix_len().next_multiple_of(8);
            subnets4(range, length).map(|network| reverse4(network, length / 8)).collect()
        }
        IpNet::V6(range) => {
            let length = range.prefix_len().next_multiple_of(4);
            subnets6(range, length).map(|network| reverse6(network, length / 4)).collect()
        }
    };
    names.iter().filter_map(|text| name(text).ok()).collect()
}

fn subnets4(range: Ipv4Net, length: u8) -> impl Iterator<Item = Ipv4Addr> {
    range.subnets(length).into_iter().flatten().map(|subnet| subnet.network())
}

fn subnets6(range: Ipv6Net, length: u8) -> impl Iterator<Item = Ipv6Addr> {
    range.subnets(length).into_iter().flatten().map(|subnet| subnet.network())
}

fn reverse4(network: Ipv4Addr, labels: u8) -> String {
    let octets = network.octets();
    let labels = octets[..usize::from(labels)].iter().rev().map(|octet| format!("{octet}."));
    labels.collect::<String>() + "in-addr.arpa."
}

fn reverse6(network: Ipv6Addr, labels: u8) -> String {
    let digits = format!("{:032x}", network.to_bits());
    let labels = digits[..usize::from(labels)].chars().rev().map(|digit| format!("{digit}."));
    labels.collect::<String>() + "ip6.arpa."
}

/// The name under which an address is looked up.
pub fn reverse_of(address: IpAddr) -> Option<Name> {
    reverse(IpNet::from(address)).pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let (zones, port) = server(text).unwrap();
        zones.iter().map(|zone| format!("{}:{port}", zone.fmt_with_dot())).collect()
    }

    #[test]
    fn zones_are_names_ports_and_ranges() {
        assert_eq!(shown("."), [".:53"]);
        assert_eq!(shown(":5353"), [".:5353"]);
        assert_eq!(shown("dns://.:1053"), [".:1053"]);
        assert_eq!(shown("Example.ORG"), ["example.org.:53"]);
        assert_eq!(shown("10.0.0.0/24:54"), ["0.0.10.in-addr.arpa.:54"]);
        assert_eq!(shown("10.0.0.0/8"), ["10.in-addr.arpa.:53"]);
        assert_eq!(shown("10.96.4.9/23"), ["4.96.10.in-addr.arpa.:53", "5.96.10.in-addr.arpa.:53"]);
        assert_eq!(shown("172.16.0.0/12").len(), 16);
        assert_eq!(shown("0.0.0.0/0"), ["in-addr.arpa.:53"]);
        assert_eq!(shown("2001:db8::/32"), ["8.b.d.0.1.0.0.2.ip6.arpa.:53"]);
        assert_eq!(shown("2001:db8::/31").len(), 2);
        assert_eq!(shown("fd00::1/128:99")[0].len(), 32 * 2 + "ip6.arpa.:99".len());
        for bad in ["tls://.", "https://.", "a:0", "a:b", "::1", "10.0.0.0/33", "a/b", "a..b", "ü.de", "a b"] {
            assert!(server(bad).is_err(), "{bad}");
        }
    }
}
