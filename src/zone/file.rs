//! A snapshot as a file: what a process leaves behind so that the next one can answer before its lists are complete.
//!
//! One line that says what the rest is, and JSON. Names and data are in it, not the options: these are the reader's
//! own, and only those that decide which names there are must be the same.

use std::{net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    Kind, Port, ServiceRecords, Snapshot, State,
    assemble::assemble,
    facts::{EndpointFacts, ServiceFacts, Shape, SliceFacts},
    owner,
    records::Entry,
    tables::Tables,
};
use crate::{config::dns::KubernetesOptions, model::Protocol};

/// How the first line begins; the number is that of the format.
const HEADER: &str = "portolan-names 1";

/// Why a file cannot be used. None of these is a reason not to start: without the file, names are answered as soon as
/// the lists are complete.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    /// Another format, or no such file at all
    #[error("it does not begin with `{HEADER}`: it is of another version, or something else")]
    Format,
    /// Cut off, or damaged
    #[error("it is damaged: its contents do not match the checksum in its first line")]
    Damaged,
    /// Whole, but wrong; made by something else
    #[error("its contents make no sense: {0}")]
    Contents(String),
    /// Made with options under which other names exist
    #[error("it was written with other options of the kubernetes block; the next one will be written with these")]
    Options,
}

/// A snapshot that was read from a file.
#[derive(Clone, Debug)]
pub struct Saved {
    /// What it held: [`State::Stale`]
    pub snapshot: Arc<Snapshot>,
    /// When it was written, in seconds since 1970
    pub written_at: u64,
}

#[derive(Serialize, Deserialize)]
struct Body {
    written_at: u64,
    serial: u32,
    options: String,
    dns_addresses: Vec<IpAddr>,
    namespaces: Vec<String>,
    services: Vec<SavedService>,
    /// Namespace, address, how many
    pods: Vec<(String, IpAddr, u32)>,
}

#[derive(Serialize, Deserialize)]
struct SavedService {
    namespace: String,
    name: String,
    shape: SavedShape,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ports: Vec<SavedPort>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    slices: Vec<SavedSlice>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedShape {
    ClusterIp(Vec<IpAddr>),
    Headless,
    Alias(String),
}

/// Name or nothing, IP protocol number, number.
type SavedPort = (Option<Box<str>>, u8, u16);

/// Name, ports, endpoints: address, host name, Pod's name.
type SavedSlice = (Box<str>, Vec<SavedPort>, Vec<(IpAddr, Option<Box<str>>, Option<Box<str>>)>);

/// The file's contents. `written_at` is in seconds since 1970. The same snapshot gives the same bytes.
pub fn encode(snapshot: &Snapshot, written_at: u64) -> Vec<u8> {
    let tables = &snapshot.tables;
    let mut body = Body {
        written_at,
        serial: snapshot.serial,
        options: fingerprint(&snapshot.options),
        dns_addresses: snapshot.dns_addresses.to_vec(),
        namespaces: Vec::with_capacity(tables.namespaces.len()),
        services: Vec::with_capacity(tables.services.len()),
        pods: Vec::with_capacity(tables.pods.len()),
    };
    tables.namespaces.for_each(|name| body.namespaces.push(name.as_ref().into()));
    tables.services.for_each(|service| body.services.push(saved(service)));
    tables.pods.for_each(|pod| body.pods.push((pod.namespace.as_ref().into(), pod.address, pod.pods)));
    body.namespaces.sort_unstable();
    body.services.sort_unstable_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    body.pods.sort_unstable();
    // Plain data with text as keys: there is nothing in it that JSON cannot hold.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut file = format!("{HEADER} {:016x}\n", checksum(&body)).into_bytes();
    file.extend(body);
    file
}

/// Reads what [`encode`] wrote. `options` are those of the process that reads.
pub fn decode(file: &[u8], options: Arc<KubernetesOptions>) -> Result<Saved, FileError> {
    let rest =
        file.strip_prefix(HEADER.as_bytes()).and_then(|rest| rest.strip_prefix(b" ")).ok_or(FileError::Format)?;
    let (sum, body) = rest.split_at_checked(16).ok_or(FileError::Damaged)?;
    let body = body.strip_prefix(b"\n").ok_or(FileError::Damaged)?;
    if sum != format!("{:016x}", checksum(body)).as_bytes() {
        return Err(FileError::Damaged);
    }
    let body: Body = serde_json::from_slice(body).map_err(|error| FileError::Contents(error.to_string()))?;
    if body.options != fingerprint(&options) {
        return Err(FileError::Options);
    }
    let mut tables = Tables::default();
    for name in body.namespaces {
        tables.set_namespace(&name.into(), true);
    }
    let mut touched = Vec::new();
    for service in body.services {
        let object = format!("Service {}/{}", service.namespace, service.name);
        let (owner, records) = restored(service, &options).map_err(|why| FileError::Contents(object + why))?;
        tables.set_service(&owner, Some(records), &mut touched);
    }
    tables.settle_addresses(touched);
    for (namespace, address, pods) in body.pods {
        tables.set_pods(&namespace.into(), address, pods);
    }
    let dns_addresses = body.dns_addresses.into();
    let snapshot = Snapshot { options, state: State::Stale, serial: body.serial, dns_addresses, tables };
    Ok(Saved { snapshot: Arc::new(snapshot), written_at: body.written_at })
}

/// The options that decide which names there are.
fn fingerprint(options: &KubernetesOptions) -> String {
    let exposed = (&options.namespaces, &options.namespace_labels, &options.labels);
    let endpoints = (options.endpoint_pod_names, options.endpoint_aliases, options.no_endpoints, options.compat);
    format!("{:?}", (&options.pods, exposed, endpoints, options.ignore_empty_service, &options.dns_service))
}

/// 64-bit FNV-1a: every step can be undone, so damage in one place never goes unseen.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn saved_ports(ports: &[Port]) -> Vec<SavedPort> {
    ports.iter().map(|port| (port.name.clone(), port.protocol.number(), port.number)).collect()
}

fn saved(service: &ServiceRecords) -> SavedService {
    let own = || service.v4.iter().copied().map(IpAddr::V4).chain(service.v6.iter().copied().map(IpAddr::V6));
    let shape = match &service.kind {
        Kind::ClusterIp => SavedShape::ClusterIp(own().collect()),
        Kind::Headless => SavedShape::Headless,
        Kind::Alias(target) => SavedShape::Alias(target.to_string()),
    };
    let group = |group: u32| service.endpoints.groups.get(group as usize).map_or(&[][..], |ports| ports);
    let slices = service.sources.slices.iter().map(|s| (s.name.clone(), saved_ports(group(s.group)), Vec::new()));
    let mut slices: Vec<SavedSlice> = slices.collect();
    let text = |label| Some(String::from_utf8_lossy(service.endpoints.text(label)).as_ref().into());
    for Entry { address, label, slice, pod, explicit } in &service.sources.entries {
        if let Some(slice) = slices.get_mut(*slice as usize) {
            slice.2.push((*address, explicit.then(|| text(*label)).flatten(), pod.and_then(text)));
        }
    }
    SavedService {
        namespace: service.namespace().into(),
        name: service.name().into(),
        shape,
        ports: saved_ports(&service.ports),
        slices,
    }
}

type Restored = (Arc<[u8]>, ServiceRecords);

fn restored(saved: SavedService, options: &KubernetesOptions) -> Result<Restored, &'static str> {
    let owner = owner(&saved.namespace, &saved.name).ok_or(": its name cannot be one in the zone")?;
    let shape = match saved.shape {
        SavedShape::ClusterIp(addresses) => Shape::ClusterIp(addresses.into()),
        SavedShape::Headless => Shape::Headless,
        SavedShape::Alias(target) => Shape::Alias(target.parse().map_err(|_| ": its target is no name")?),
    };
    let service = ServiceFacts { shape, ports: restored_ports(saved.ports)? };
    let mut slices = Vec::with_capacity(saved.slices.len());
    for (name, ports, endpoints) in saved.slices {
        let endpoints = endpoints.into_iter().map(|(address, hostname, pod)| {
            let good = [&hostname, &pod].into_iter().flatten().all(|name| super::label(name).is_some());
            good.then_some(EndpointFacts { address, hostname, pod }).ok_or(": an endpoint's name cannot be one")
        });
        slices.push(SliceFacts {
            name,
            ports: restored_ports(ports)?,
            endpoints: endpoints.collect::<Result<_, _>>()?,
        });
    }
    let records = assemble(&owner, &service, &slices, options).ok_or(": it does not exist under these options")?;
    Ok((owner, records))
}

fn restored_ports(ports: Vec<SavedPort>) -> Result<Box<[Port]>, &'static str> {
    let port = |(name, protocol, number): SavedPort| {
        let protocol = Protocol::from_number(protocol)?;
        Some(Port { name, protocol, number })
    };
    ports.into_iter().map(port).collect::<Option<_>>().ok_or(": a port of an unknown protocol")
}
