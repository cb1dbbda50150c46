use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Reads an address. Leading zeros in IPv4 are decimal (`172.30.0.041` is 172.30.0.41): the API server once accepted
/// such objects, and they still exist (spec section 2.3).
pub fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| parse_padded_ipv4(text).map(IpAddr::V4))
}

/// Reads a prefix, with the same leniency as [`parse_address`], white space around it trimmed. Host bits are cleared.
pub fn parse_range(text: &str) -> Option<IpNet> {
    let (address, length) = text.trim().split_once('/')?;
    let length = parse_decimal(length)?;
    Some(IpNet::new(parse_address(address)?, u8::try_from(length).ok()?).ok()?.trunc())
}

fn parse_padded_ipv4(text: &str) -> Option<Ipv4Addr> {
    let octets: Vec<u8> = text.split('.').map(|part| u8::try_from(parse_decimal(part)?).ok()).collect::<Option<_>>()?;
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?))
}

/// A number of digits only (no sign), leading zeros allowed.
fn parse_decimal(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// True for addresses that a host keeps to itself: 127.0.0.0/8 and ::1.
pub fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.is_loopback(),
        IpAddr::V6(a) => a == Ipv6Addr::LOCALHOST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_are_decimal() {
        assert_eq!(parse_address("172.30.0.041").unwrap().to_string(), "172.30.0.41");
        assert_eq!(parse_range(" 10.0.0.0/025 ").unwrap().to_string(), "10.0.0.0/25");
        assert_eq!(parse_range("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        for bad in ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.+4", "::g", "1.2.3.4/33", "1.2.3.4"] {
            assert_eq!(parse_range(bad), None, "{bad}");
        }
        assert_eq!(parse_address("1.2.3.+4"), None);
    }
}
