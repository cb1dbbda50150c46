//! From an address and a port to whatever answers there.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    Cause, Outcome, PortRef, Question, Scene, Stage,
    client::Client,
    report::{Fault, Report},
    service::to_frontend,
    stray::Stray,
};
use crate::{
    controlplane::default_service_cidr,
    model::{Family, Frontend, Protocol, Target, is_loopback},
};

const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

/// Walks on from an address.
///
/// # Errors
/// The port is missing, and it does not follow from the address.
pub(super) fn walk(
    address: IpAddr,
    question: &Question,
    client: &Client,
    scene: &Scene,
    report: &mut Report,
) -> Result<(), String> {
    let port = port_of(address, question, scene)?;
    let wanted = question.dialled.protocol;
    let of = |protocol| Frontend { address, protocol, port };
    let mut candidates = PROTOCOLS.into_iter().filter(|p| wanted.is_none_or(|wanted| wanted == *p)).map(of);
    let owned = candidates.find_map(|frontend| {
        Some((frontend, scene.claims().kind(&frontend)?, scene.claims().owner(&frontend)?.clone()))
    });
    // Every machine has a loopback address of its own.
    if !client.speaks(Family::of(address)) && !is_loopback(address) {
        let because = format!("the client ({}) has no {} address", client.label, Family::of(address));
        let fault = Fault::new(Stage::Client, Cause::OtherFamily, because, "dial an address of the client's family");
        report.breaks(fault, Outcome::NoAddress);
        return Ok(());
    }
    match owned {
        Some((frontend, kind, id)) => to_frontend(&frontend, kind, &id, client, scene, report),
        None => {
            let stray = Stray { frontend: of(wanted.unwrap_or(Protocol::Tcp)), client, scene };
            stray.walk(report);
        }
    }
    Ok(())
}

/// The port as it is given, or the only one that is served at the address.
fn port_of(address: IpAddr, question: &Question, scene: &Scene) -> Result<u16, String> {
    match &question.dialled.port {
        Some(PortRef::Number(port)) => return Ok(*port),
        Some(PortRef::Name(name)) => {
            return Err(format!("{address}: the port {name} has a name; only a Service's port can be named so"));
        }
        None => {}
    }
    let mut ports: Vec<u16> =
        scene.claims().owned().filter(|(f, _)| f.address == address).map(|(f, _)| f.port).collect();
    ports.sort_unstable();
    ports.dedup();
    match ports[..] {
        [only] => Ok(only),
        [] => Err(format!("{address}: say which port, as {}", Target { address, port: 80 })),
        _ => {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            Err(format!("{address} serves the ports {}: say which", ports.join(", ")))
        }
    }
}

/// The range of cluster IPs that an address is of, and whether the node knows that: where nobody says which range that is,
/// cluster IPs come from the default one.
pub(super) fn service_network(address: IpAddr, scene: &Scene) -> Option<(IpNet, bool)> {
    let known = &scene.world.service_networks;
    if let Some(network) = known.iter().find(|network| network.contains(&address)) {
        return Some((*network, true));
    }
    // An API server has its own, and tells of it if it may.
    let unsaid = known.is_empty() && scene.api.is_none();
    default_service_cidr().filter(|network| unsaid && network.contains(&address)).map(|network| (network, false))
}
