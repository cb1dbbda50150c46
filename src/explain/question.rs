//! What is asked, as it is written on the command line.

use std::{fmt, net::IpAddr};

use super::Source;
use crate::model::{Protocol, ServiceId, Target, is_loopback};

/// A question: who opens a connection, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who; nobody in particular if none
    pub source: Option<Source>,
    /// To what
    pub dialled: Dialled,
    /// What DNS answers for the name, if a name or a Service is dialled
    pub resolution: Option<Resolution>,
}

/// `TARGET[:PORT[/PROTO]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialled {
    /// The target
    pub host: Host,
    /// The port
    pub port: Option<PortRef>,
    /// The protocol
    pub protocol: Option<Protocol>,
}

/// What is before the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// `namespace/name`
    Service(ServiceId),
    /// An IP address
    Address(IpAddr),
    /// A name as a client uses it, or that of a node
    Name(String),
}

/// A port, by number or by its name in the Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortRef {
    /// 1 to 65535
    Number(u16),
    /// The name of a service port
    Name(String),
}

/// What DNS answers for a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The name that is answered, complete, without the dot at its end
    pub name: String,
    /// The cluster's domain
    pub domain: String,
    /// What it comes to
    pub answer: NameAnswer,
    /// The names that were tried before it, and their answers: `web.default.svc.cluster.local. NXDOMAIN`
    pub tried: Vec<String>,
    /// How the answer was come to, a sentence each
    pub steps: Vec<String>,
}

/// What DNS answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NameAnswer {
    /// Addresses, perhaps by way of an alias
    Addresses(Vec<IpAddr>),
    /// An alias of a name that is not the cluster's
    Alias(String),
    /// These servers would have to be asked; why none of them answers, if that was tried
    Forwarded(Vec<String>, Option<String>),
    /// The server that pods ask does not answer: why
    Dead(String),
    /// There is no such name, or it has no address
    #[default]
    Nothing,
}

impl Source {
    /// Reads `host`, an address, `NAMESPACE/POD`, or `POD` of namespace default.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        check_letters(text, "--from")?;
        match bare(text).parse() {
            // Nobody else sends from there.
            Ok(address) if is_loopback(address) => return Ok(Source::Host),
            Ok(address) => return Ok(Source::Address(address)),
            Err(_) => {}
        }
        let pod = |namespace: &str, name: &str| Source::Pod { namespace: namespace.to_owned(), name: name.to_owned() };
        match text.split_once('/') {
            None if text == "host" => Ok(Source::Host),
            None => Ok(pod("default", text)),
            Some((namespace, name)) if namespace.is_empty() || name.is_empty() || name.contains('/') => {
                Err(format!("--from: {text:?} is none of POD, NAMESPACE/POD, host, IP"))
            }
            Some((namespace, name)) => Ok(pod(namespace, name)),
        }
    }
}

impl Dialled {
    /// Reads `TARGET[:PORT[/PROTO]]`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        check_letters(text, "TARGET")?;
        let (host, port) = split(text)?;
        let (port, protocol) = match port.map(|port| port.split_once('/').unwrap_or((port, ""))) {
            None => (None, None),
            Some((port, protocol)) => (Some(port_ref(port, text)?), protocol_of(protocol, text)?),
        };
        Ok(Self { host: parse_host(host, text)?, port, protocol })
    }
}

impl fmt::Display for Dialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, &self.port) {
            (Host::Address(address), Some(PortRef::Number(port))) => {
                write!(f, "{}", Target { address: *address, port: *port })?;
            }
            // Without brackets a name such as `cafe` would be read as a part of the address.
            (Host::Address(IpAddr::V6(address)), Some(PortRef::Name(port))) => write!(f, "[{address}]:{port}")?,
            (host, port) => {
                match host {
                    Host::Service(id) => write!(f, "{id}")?,
                    Host::Address(address) => write!(f, "{address}")?,
                    Host::Name(name) => f.write_str(name)?,
                }
                match port {
                    None => {}
                    Some(PortRef::Number(port)) => write!(f, ":{port}")?,
                    Some(PortRef::Name(port)) => write!(f, ":{port}")?,
                }
            }
        }
        self.protocol.map_or(Ok(()), |protocol| write!(f, "/{protocol}"))
    }
}

/// An answer is lines of text: what is asked must not make others of them.
fn check_letters(text: &str, what: &str) -> Result<(), String> {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err(format!("{what}: {text:?} has letters that no name and no address has, or none"));
    }
    Ok(())
}

/// Host, and port with protocol.
fn split(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let end = rest.find(']').ok_or_else(|| format!("TARGET: {text:?} has no ] for its ["))?;
        return match &rest[end + 1..] {
            "" => Ok((&rest[..end], None)),
            port => match port.strip_prefix(':') {
                Some(port) => Ok((&rest[..end], Some(port))),
                None => Err(format!("TARGET: {text:?}: after ] comes a : and the port")),
            },
        };
    }
    // An IPv6 address alone has colons, too.
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text, None));
    }
    Ok(text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port))))
}

fn parse_host(host: &str, text: &str) -> Result<Host, String> {
    let wrong = || {
        format!(
            "TARGET: {text:?} is none of NAME:PORT, NAMESPACE/SERVICE:PORT, IP:PORT, NODE:PORT (an IPv6 address with a port \
             in brackets: [fd00::1]:80)"
        )
    };
    if let Ok(address) = host.parse() {
        return Ok(Host::Address(address));
    }
    if host == "localhost" {
        return Ok(Host::Address(std::net::Ipv4Addr::LOCALHOST.into()));
    }
    if !host.is_empty() && host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(format!("TARGET: {text:?}: {host} is no IP address"));
    }
    match host.split_once('/') {
        None if is_name(host.strip_suffix('.').unwrap_or(host)) => Ok(Host::Name(host.to_owned())),
        Some((namespace, name)) if is_label(namespace) && is_label(name) => {
            Ok(Host::Service(ServiceId::new(namespace, name)))
        }
        _ => Err(wrong()),
    }
}

/// Whether a text can be a name of DNS (RFC 1123, section 2.1).
fn is_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether a text can be a label of such a name. Capitals are let through: who misspelt a name so is told what is meant.
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn port_ref(port: &str, text: &str) -> Result<PortRef, String> {
    let is_name = port.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    match port.parse::<u16>() {
        Ok(number) if number > 0 => Ok(PortRef::Number(number)),
        Err(_) if is_name && port.bytes().any(|b| b.is_ascii_lowercase()) => Ok(PortRef::Name(port.to_owned())),
        _ => Err(format!("TARGET: {text:?}: {port:?} is no port number (1 to 65535) and no port name")),
    }
}

fn protocol_of(protocol: &str, text: &str) -> Result<Option<Protocol>, String> {
    match protocol {
        "" => Ok(None),
        other => Protocol::parse(&other.to_ascii_uppercase())
            .map(Some)
            .ok_or_else(|| format!("TARGET: {text:?}: {other:?} is none of TCP, UDP, SCTP")),
    }
}

/// Without the brackets around an IPv6 address.
fn bare(text: &str) -> &str {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text)
}
