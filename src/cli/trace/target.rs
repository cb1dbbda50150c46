//! From words to the packets that are meant.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context, bail};

use super::known::Known;
use crate::{
    explain::{Dialled, Host, PortRef, Source},
    kernel,
    model::{Family, Frontend, Protocol, ServiceId},
    traced::{Flow, Owner, Sender},
};

/// The flows that are meant, and whose frontends they go to.
pub struct Target {
    pub flows: Vec<Flow>,
    pub owners: BTreeMap<Frontend, Owner>,
}

/// Flows from anybody, and whose frontends they go to.
type Found = (Vec<Flow>, BTreeMap<Frontend, Owner>);

/// Finds what is dialled, in the kernel's tables and in manifests.
///
/// # Errors
/// There is no such Service, node or Pod, or nothing says its address; the kernel's tables cannot be read.
pub fn find(dialled: &Dialled, from: Option<&Source>, known: &Known) -> anyhow::Result<Target> {
    let senders = senders(from, known)?;
    let (bare, owners) = match &dialled.host {
        Host::Service(id) => of_service(dialled, id, known)?,
        Host::Address(address) => of_addresses(dialled, &[*address])?,
        Host::Name(name) => of_addresses(dialled, &known.node(name)?)?,
    };
    let flows = with_senders(&bare, &senders);
    if flows.is_empty() {
        bail!("--from: the sender has no address of the family that is dialled");
    }
    Ok(Target { flows, owners })
}

/// The Service's frontends that this node's tables hold; without any, those that manifests give it.
fn of_service(dialled: &Dialled, id: &ServiceId, known: &Known) -> anyhow::Result<Found> {
    let (number, port_name) = match &dialled.port {
        None => (None, None),
        Some(PortRef::Number(number)) => (Some(*number), None),
        Some(PortRef::Name(name)) => (None, Some(name.as_str())),
    };
    let fits = |frontend: &Frontend, name: &str| {
        number.is_none_or(|number| number == frontend.port)
            && port_name.is_none_or(|wanted| wanted == name)
            && dialled.protocol.is_none_or(|protocol| protocol == frontend.protocol)
    };
    let service = id.to_string();
    let owners = kernel::trace::frontends(|frontend, owner| {
        let (of, port) = owner.split_once(':').unwrap_or((owner, ""));
        of == service && fits(frontend, port)
    })?;
    let mut frontends: Vec<Frontend> = owners.keys().copied().collect();
    if frontends.is_empty() {
        let own = known.frontends(id).into_iter().filter(|(frontend, port)| fits(frontend, port));
        frontends.extend(own.map(|(frontend, _)| frontend));
    }
    if frontends.is_empty() {
        let (places, more) = match known.has_manifests() {
            true => ("this node's tables and the manifests", "give its address"),
            false => ("this node's tables", "give its address, or manifests with -f"),
        };
        bail!("{places} have no frontend of {dialled}; {more}");
    }
    let flow = |Frontend { address, protocol, port }| bare(address, Some(protocol), Some(port));
    Ok((frontends.into_iter().map(flow).collect(), owners))
}

fn of_addresses(dialled: &Dialled, addresses: &[IpAddr]) -> anyhow::Result<Found> {
    let port = match &dialled.port {
        None => None,
        Some(PortRef::Number(number)) => Some(*number),
        Some(PortRef::Name(name)) => bail!("TARGET: {name:?}: only a Service has ports with names; give the number"),
    };
    let owners = kernel::trace::frontends(|frontend, _| addresses.contains(&frontend.address))?;
    Ok((addresses.iter().map(|address| bare(*address, dialled.protocol, port)).collect(), owners))
}

fn bare(destination: IpAddr, protocol: Option<Protocol>, port: Option<u16>) -> Flow {
    Flow { from: Sender::Anybody, destination, protocol, port }
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
