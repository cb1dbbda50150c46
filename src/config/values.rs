//! The types of options that only options have, how they are read and how they are written.

use std::{fmt, net::SocketAddr};

use clap::ValueEnum;
use ipnet::IpNet;
use serde::{Serialize, Serializer};

use crate::model::parse_range;

/// How a pod is recognised (kube-proxy's `detectLocalMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
pub enum DetectLocalMode {
    /// By its address, inside --cluster-cidr
    #[value(name = "ClusterCIDR")]
    #[serde(rename = "ClusterCIDR")]
    ClusterCidr,
    /// By its address, inside the podCIDRs of this node's Node object
    #[value(name = "NodeCIDR")]
    #[serde(rename = "NodeCIDR")]
    NodeCidr,
    /// By the interface its packets arrive on
    #[value(name = "BridgeInterface")]
    BridgeInterface,
    /// By the beginning of that interface's name
    #[value(name = "InterfaceNamePrefix")]
    InterfaceNamePrefix,
}

/// One entry of `--nodeport-addresses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodePortAddress {
    /// The node's own address
    Primary,
    /// Every interface address
    All,
    /// Interface addresses in a range
    Range(IpNet),
}

impl fmt::Display for NodePortAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodePortAddress::Primary => f.write_str("primary"),
            NodePortAddress::All => f.write_str("all"),
            NodePortAddress::Range(range) => write!(f, "{range}"),
        }
    }
}

impl Serialize for NodePortAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a server listens: an address with its port, or nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindAddress(pub Option<SocketAddr>);

impl Serialize for BindAddress {
    /// The address, or an empty text for nowhere: what `bind_address` reads.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(address) => serializer.collect_str(&address),
            None => serializer.serialize_str(""),
        }
    }
}

pub(super) fn bind_address(text: &str) -> Result<BindAddress, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(BindAddress(None));
    }
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("{text:?} is no address with a port such as 0.0.0.0:10256 or [::]:10256; empty is off"))?;
    if address.port() == 0 {
        return Err(format!("{text:?} names no port; an empty text switches the server off"));
    }
    Ok(BindAddress(Some(address)))
}

/// A place where only this host can ask: what is served there asks nobody who he is.
pub(super) fn loopback_address(text: &str) -> Result<BindAddress, String> {
    let address = bind_address(text)?;
    if address.0.is_some_and(|address| !address.ip().to_canonical().is_loopback()) {
        return Err(format!(
            "{text:?} can be reached by others; the page is for this node alone: choose a loopback address such as \
             127.0.0.1:10245, and forward a port to see it from elsewhere"
        ));
    }
    Ok(address)
}

pub(super) fn cidr(text: &str) -> Result<IpNet, String> {
    parse_range(text).ok_or_else(|| format!("{text:?} is no range such as 10.0.0.0/8 or fd00::/64"))
}

pub(super) fn node_port_address(text: &str) -> Result<NodePortAddress, String> {
    match text {
        "primary" => Ok(NodePortAddress::Primary),
        "all" => Ok(NodePortAddress::All),
        "localhost" => Err("node ports on loopback addresses are not supported".to_owned()),
        range => cidr(range).map(NodePortAddress::Range),
    }
}

/// The kernel's rule for interface names (15 characters, no white space, no '/'), and no quotes: the name goes into
/// the nft program.
pub(super) fn interface_name(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:@".contains(&b);
    if (1..=15).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is no interface name: 1 to 15 letters, digits, '-', '_', '.', ':' or '@'"))
    }
}

/// A node's name as the API has it: in lower case, no white space around it.
pub(super) fn node_name(text: &str) -> Result<String, String> {
    let name = text.trim().to_lowercase();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
    if !name.is_empty() && name.len() <= 253 && name.bytes().all(plain) {
        Ok(name)
    } else {
        Err(format!("{text:?} is no node name: up to 253 letters, digits, '-' and '.'"))
    }
}

pub(super) fn api_server(text: &str) -> Result<String, String> {
    let text = text.trim();
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match host.map(|host| host.trim_end_matches('/')) {
        Some(host) if !host.is_empty() && !host.contains(char::is_whitespace) => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is no URL such as https://192.168.1.10:6443")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_for_this_host_alone() {
        for text in ["127.0.0.1:10245", "127.8.8.8:1", "[::1]:10245", "[::ffff:127.0.0.1]:10245"] {
            assert_eq!(loopback_address(text), Ok(BindAddress(Some(text.parse().unwrap()))), "{text}");
        }
        assert_eq!(loopback_address(""), Ok(BindAddress(None)));
        for text in ["0.0.0.0:10245", "[::]:10245", "192.0.2.1:10245", "[::ffff:192.0.2.1]:80"] {
            let refused = loopback_address(text).unwrap_err();
            assert!(refused.contains("choose a loopback address"), "{text}: {refused}");
        }
        assert!(loopback_address("localhost:10245").is_err() && loopback_address("127.0.0.1:0").is_err());
    }
}
