//! The forms that addresses must have.

use std::net::IpAddr;

use ipnet::IpNet;

use super::names::shown;
use crate::model::{is_loopback, parse_address, parse_range};

/// An address, leading zeros allowed (spec section 2.3). IPv4 in IPv6 form is IPv4, as Go has it.
pub(in crate::controlplane) fn address(text: &str) -> Result<IpAddr, String> {
    parse_address(text).map(|a| a.to_canonical()).ok_or_else(|| format!("{} is not an IP address", shown(text)))
}

/// A prefix, such as 10.0.0.0/8.
pub(super) fn range(text: &str) -> Result<IpNet, String> {
    parse_range(text).ok_or_else(|| format!("{} is not a range of the form 10.0.0.0/8", shown(text)))
}

/// An address that traffic can be sent to from anywhere: for endpoints and external IPs.
pub(super) fn reachable(text: &str) -> Result<IpAddr, String> {
    let address = address(text)?;
    let (unspecified, link_local, link_local_multicast) = match address {
        IpAddr::V4(a) => (a.is_unspecified(), a.is_link_local(), a.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(a) => {
            (a.is_unspecified(), a.is_unicast_link_local(), a.is_multicast() && a.segments()[0] & 0x0f == 2)
        }
    };
    let reason = if unspecified {
        "is the unspecified address (0.0.0.0 or ::)"
    } else if is_loopback(address) {
        "is a loopback address (127.0.0.0/8, ::1): every node has its own"
    } else if link_local {
        "is a link-local address (169.254.0.0/16, fe80::/10): it has no meaning beyond one link"
    } else if link_local_multicast {
        "is a link-local multicast address (224.0.0.0/24, ff02::/16): it has no meaning beyond one link"
    } else {
        return Ok(address);
    };
    Err(format!("{text} {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_no_endpoints() {
        for good in ["10.0.0.1", "172.30.0.041", "fd00::1", "2001:db8::1", "239.1.1.1", "224.0.1.1", "255.255.255.255"]
        {
            assert!(reachable(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("0.0.0.0", "unspecified"),
            ("::", "unspecified"),
            ("127.0.0.1", "loopback"),
            ("127.255.0.1", "loopback"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("169.254.169.254", "link-local"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("224.0.0.251", "link-local multicast"),
            ("ff02::fb", "link-local multicast"),
            ("ff12::1", "link-local multicast"),
            ("10.0.0", "not an IP address"),
        ] {
            assert!(reachable(bad).unwrap_err().contains(why), "{bad}");
        }
        assert_eq!(address("172.30.0.041").unwrap().to_string(), "172.30.0.41");
        assert_eq!(address("::ffff:10.0.0.1").unwrap().to_string(), "10.0.0.1");
    }
}
