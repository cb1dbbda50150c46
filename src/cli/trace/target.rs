//! From words to the packets that are meant.

use std::{collections::BTreeMap, net::IpAddr, str::FromStr};

use anyhow::{Context, bail};

use super::known::Known;
use crate::{
    kernel,
    model::{Family, Frontend, Protocol, ServiceId},
    traced::{Flow, Owner, Sender},
};

/// What is dialled, as it was given: `10.96.0.10:80/TCP`, `[fd00::1]:80`, `shop/web:80`, `node-1:30080`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialled {
    pub what: What,
    pub port: Option<u16>,
    pub protocol: Option<Protocol>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Address(IpAddr),
    Service(ServiceId),
    Node(String),
}

impl FromStr for Dialled {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self { what: What::Address(address), port: None, protocol: None });
        }
        let (rest, protocol) = match text.rsplit_once('/') {
            Some((rest, name)) if rest.contains(':') => match Protocol::parse(&name.to_uppercase()) {
                Some(protocol) => (rest, Some(protocol)),
                None => return Err(format!("{name:?} is no protocol: TCP, UDP or SCTP")),
            },
            _ => (text, None),
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                let port = port.parse().ok().filter(|port| *port != 0);
                (host, Some(port.ok_or_else(|| format!("{rest:?} does not end in a port, 1 to 65535"))?))
            }
            _ => (rest, None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let what = match (bare.parse(), host.split_once('/')) {
            (Ok(address), _) => What::Address(address),
            (Err(_), Some((namespace, name))) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                What::Service(ServiceId::new(namespace, name))
            }
            (Err(_), None) if !host.is_empty() && !host.contains([':', '[', ']']) => What::Node(host.to_owned()),
            _ => return Err(format!("{text:?} is no address, no Service as NAMESPACE/NAME, and no node")),
        };
        Ok(Self { what, port, protocol })
    }
}

/// Who sends, as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Host,
    Address(IpAddr),
    Pod { namespace: String, name: String },
}

impl FromStr for Source {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match (text, text.parse(), text.split_once('/')) {
            ("host", _, _) => Source::Host,
            (_, Ok(address), _) => Source::Address(address),
            (_, Err(_), Some((namespace, name))) => {
                Source::Pod { namespace: namespace.to_owned(), name: name.to_owned() }
            }
            (_, Err(_), None) => Source::Pod { namespace: "default".to_owned(), name: text.to_owned() },
        })
    }
}

/// The flows that are meant, and whose frontends they go to.
pub struct Target {
    pub flows: Vec<Flow>,
    pub owners: BTreeMap<Frontend, Owner>,
}

impl Dialled {
    /// Finds the addresses, in the kernel's tables and in manifests.
    ///
    /// # Errors
    /// There is no such Service, node or Pod, or nothing says its address; the kernel's tables cannot be read.
    pub fn find(&self, from: Option<&Source>, known: &Known) -> anyhow::Result<Target> {
        let service = match &self.what {
            What::Service(id) => Some(id.to_string()),
            _ => None,
        };
        let mut addresses: Vec<IpAddr> = match &self.what {
            What::Address(address) => vec![*address],
            What::Node(name) => known.node(name)?,
            What::Service(_) => Vec::new(),
        };
        let of_service = |owner: &str| Some(owner.split(':').next().unwrap_or_default()) == service.as_deref();
        let owners = kernel::trace::frontends(|frontend, owner| {
            (addresses.contains(&frontend.address) || of_service(owner)) && self.takes(frontend)
        })?;
        let senders = senders(from, known)?;
        let mut flows = Vec::new();
        if let What::Service(id) = &self.what {
            let mut frontends: Vec<Frontend> = owners.keys().copied().collect();
            if frontends.is_empty() {
                frontends.extend(known.frontends(id).into_iter().filter(|frontend| self.takes(frontend)));
            }
            if frontends.is_empty() {
                bail!(self.unknown(id, known));
            }
            flows.extend(frontends.into_iter().map(|Frontend { address, protocol, port }| Flow {
                from: Sender::Anybody,
                destination: address,
                protocol: Some(protocol),
                port: Some(port),
            }));
        }
        addresses.dedup();
        let bare =
            |destination: IpAddr| Flow { from: Sender::Anybody, destination, protocol: self.protocol, port: self.port };
        flows.extend(addresses.into_iter().map(bare));
        let flows = with_senders(&flows, &senders);
        if flows.is_empty() {
            bail!("--from: the sender has no address of the family that is dialled");
        }
        Ok(Target { flows, owners })
    }

    fn takes(&self, frontend: &Frontend) -> bool {
        self.port.is_none_or(|port| port == frontend.port) && self.protocol.is_none_or(|p| p == frontend.protocol)
    }

    fn unknown(&self, id: &ServiceId, known: &Known) -> String {
        let port = match (self.port, self.protocol) {
            (Some(port), Some(protocol)) => format!(" with port {port}/{protocol}"),
            (Some(port), None) => format!(" with port {port}"),
            _ => String::new(),
        };
        let places = if known.has_manifests() { "this node's tables and the manifests" } else { "this node's tables" };
        let more = if known.has_manifests() { "give its address" } else { "give its address, or manifests with -f" };
        format!("{places} have no frontend of a Service {id}{port}; {more}")
    }
}

fn senders(from: Option<&Source>, known: &Known) -> anyhow::Result<Vec<Sender>> {
    Ok(match from {
        None => vec![Sender::Anybody],
        Some(Source::Host) => vec![Sender::Host],
        Some(Source::Address(address)) => vec![Sender::Address(*address)],
        Some(Source::Pod { namespace, name }) => {
            let addresses = known.pod(namespace, name).context("--from")?;
            addresses.into_iter().map(Sender::Address).collect()
        }
    })
}

/// Each flow from each sender of its family.
fn with_senders(flows: &[Flow], senders: &[Sender]) -> Vec<Flow> {
    let fits = |flow: &Flow, sender: &Sender| match sender {
        Sender::Address(address) => Family::of(*address) == flow.family(),
        Sender::Anybody | Sender::Host => true,
    };
    let of = |flow: &Flow| {
        let flow = flow.clone();
        senders.iter().filter(|s| fits(&flow, s)).map(|from| Flow { from: *from, ..flow.clone() }).collect::<Vec<_>>()
    };
    flows.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        let address = |text: &str| What::Address(text.parse().unwrap());
        let service = What::Service(ServiceId::new("shop", "web"));
        let cases = [
            ("10.96.0.10", address("10.96.0.10"), None, None),
            ("10.96.0.10:80", address("10.96.0.10"), Some(80), None),
            ("10.96.0.10:80/udp", address("10.96.0.10"), Some(80), Some(Protocol::Udp)),
            ("fd00::1", address("fd00::1"), None, None),
            ("[fd00::1]:80/TCP", address("fd00::1"), Some(80), Some(Protocol::Tcp)),
            ("[fd00::1]", address("fd00::1"), None, None),
            ("shop/web", service.clone(), None, None),
            ("shop/web:80", service.clone(), Some(80), None),
            ("shop/web:80/SCTP", service, Some(80), Some(Protocol::Sctp)),
            ("node-1:30080", What::Node("node-1".into()), Some(30080), None),
        ];
        for (text, what, port, protocol) in cases {
            assert_eq!(text.parse(), Ok(Dialled { what, port, protocol }), "{text}");
        }
        for wrong in
            ["", ":80", "shop/", "/web", "a/b/c", "10.96.0.10:0", "10.96.0.10:http", "shop/web:80/x", "[fd00::1"]
        {
            assert!(wrong.parse::<Dialled>().is_err(), "{wrong}");
        }
    }
}
