//! Why a name is answered as it is: the way that a query takes, told by the code that goes it.

mod near;

use std::{fmt, net::IpAddr};

use domain::{
    base::{
        Message, ParsedRecord, ToName,
        iana::Rtype,
        zonefile_fmt::{DisplayKind, ZonefileFmt},
    },
    rdata::AllRecordData,
};

pub use near::KnownService;

use super::{
    Client, Transport,
    block::{End, Step, Trace},
    cluster::{Cluster, Decision, Zone, reverse_address},
    message::Envelope,
    name::{labels, relative_to, text},
    query::Query,
    restore::other_query,
    site::{Site, Sources, write},
};
use crate::{
    config::dns::Name,
    zone::{EndpointId, Found, FullName, Kind, ServiceRecords, Snapshot, State},
};

/// Addresses that one line names at most.
const ADDRESSES: usize = 8;

/// The way to an answer, and the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// What was decided, in order, a sentence each
    pub steps: Vec<String>,
    /// What may have been meant instead
    pub hints: Vec<String>,
    /// Who would have to be asked for the rest, as the configuration has them: any one of these. None if there is no rest
    pub upstreams: Option<Vec<String>>,
    /// The code, as DNS tools spell it; none if others would have to be asked, or nobody is answered
    pub rcode: Option<String>,
    /// The records, a line each, with a line before each section: as `dig` prints them
    pub records: Vec<String>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(f, "{}. {step}", index + 1)?;
        }
        for hint in &self.hints {
            writeln!(f, "Note: {hint}")?;
        }
        match &self.rcode {
            Some(rcode) => writeln!(f, "\n;; {rcode}")?,
            None if self.upstreams.is_none() => writeln!(f, "\n;; no answer at all")?,
            None => writeln!(f, "\n;; the rest is for the upstream to say")?,
        }
        self.records.iter().try_for_each(|record| writeln!(f, "{record}"))
    }
}

impl Site {
    /// What a client would be answered over TCP, and why. `services` are all that there are, with or without names:
    /// hints are made from them.
    pub fn explain(
        &self,
        name: &Name,
        qtype: Rtype,
        client: IpAddr,
        sources: &impl Sources,
        services: &[KnownService],
    ) -> Explanation {
        let bytes = question(name, qtype);
        let mut notes = Notes { qtype, steps: Vec::new(), hints: Vec::new(), upstreams: Vec::new(), services };
        let Ok(query) = Query::parse(&bytes) else { return Explanation::default() };
        let client = Client { address: client, transport: Transport::Tcp };
        let mut plan = self.plan(&query, client, sources, &mut notes);
        let other;
        let mut query = query;
        if let (End::Rewritten(rewritten), Some(block)) = (&plan.end, plan.block) {
            other = other_query(&query, rewritten);
            // It was made from a name, so it can be read.
            query = Query::parse(&other).unwrap_or(query);
            let end = block.look_up(&query.name, query.qtype, sources, &mut notes);
            plan = self.follow(Some(block), end, &query, sources, &mut notes);
        }
        let envelope = Envelope::new(&query, Transport::Tcp, u16::MAX, true, None);
        let mut out = vec![0; usize::from(u16::MAX)];
        let reply = write(&query, &envelope, &plan, 0, &mut out);
        out.truncate(reply.map_or(0, |reply| reply.length));
        let forwarded = matches!(plan.end, End::Forward);
        let rcode = reply.filter(|_| !forwarded).map(|reply| reply.rcode.to_string());
        let upstreams = forwarded.then_some(notes.upstreams);
        Explanation { steps: notes.steps, hints: notes.hints, upstreams, rcode, records: records(&out) }
    }
}

/// A query's bytes: RD, no EDNS, the id zero.
pub fn question(name: &Name, qtype: Rtype) -> Vec<u8> {
    let mut bytes = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    bytes.extend(name.as_octets());
    bytes.extend(qtype.to_int().to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

/// The records of a message as zone files have them, their five fields separated by tabs, with a line before each
/// section. What cannot be read is left out.
pub fn records(message: &[u8]) -> Vec<String> {
    let Ok(message) = Message::from_octets(message) else { return Vec::new() };
    let mut lines = Vec::new();
    let sections =
        [("ANSWER", message.answer()), ("AUTHORITY", message.authority()), ("ADDITIONAL", message.additional())];
    for (title, section) in sections {
        let section: Vec<String> = section.into_iter().flatten().flatten().filter_map(line).collect();
        if !section.is_empty() {
            lines.push(format!(";; {title} SECTION:"));
            lines.extend(section);
        }
    }
    lines
}

fn line(record: ParsedRecord<'_, &[u8]>) -> Option<String> {
    let record = record.into_any_record::<AllRecordData<_, _>>().ok()?;
    let owner = record.owner().fmt_with_dot();
    let (ttl, class, rtype) = (record.ttl().as_secs(), record.class(), record.rtype());
    // Their own form leaves the dot behind some names out.
    let data = record.data().display_zonefile(DisplayKind::Simple);
    Some(format!("{owner}\t{ttl}\t{class}\t{rtype}\t{data}"))
}

/// Turns steps into sentences.
struct Notes<'n> {
    qtype: Rtype,
    steps: Vec<String>,
    hints: Vec<String>,
    upstreams: Vec<String>,
    services: &'n [KnownService],
}

impl Trace for Notes<'_> {
    fn step(&mut self, step: Step<'_>) {
        let sentence = match step {
            Step::Block { id, zone } => {
                format!("Server block {} has the longest zone that the name lies in: {} (2.1).", id + 1, text(zone))
            }
            Step::NoBlock => "No server block has a zone that the name lies in: REFUSED (1.11).".to_owned(),
            Step::Cluster { cluster, zone, snapshot, name, decision } => {
                let found = self.cluster(cluster, zone, snapshot, name, decision);
                self.steps.extend(found);
                decided(decision, zone, self.qtype)
            }
            Step::Acl(action) => format!("A rule of `acl` is for this client and question: {action:?} (2.5)."),
            Step::Rewritten { name, qtype } => {
                format!("A rule of `rewrite` asks for {} {qtype} instead, and puts the answer back (2.6).", text(name))
            }
            Step::Local(source) => {
                format!("`{source}` has the last word on this name; it comes before `kubernetes` (2.1).")
            }
            Step::Alias { owner, target } => {
                format!("{} is an alias: the answer goes on at {} (1.8).", text(owner), text(target))
            }
            Step::ChainEnds { target } => {
                format!("The chain ends before {}: it has been there, or has 10 links (1.8).", text(target))
            }
            Step::Forward { from, to } => {
                self.upstreams = to.iter().map(ToString::to_string).collect();
                format!(
                    "The block's `forward {}` takes the name: {} is asked, unless the cache has the answer (2.2).",
                    text(from),
                    self.upstreams.join(" or ")
                )
            }
            Step::NoForward => "The block has no `forward` for the name: REFUSED (1.11).".to_owned(),
        };
        self.steps.push(sentence);
    }
}

impl Notes<'_> {
    /// What stands at a name.
    fn cluster(
        &mut self,
        cluster: &Cluster,
        zone: &Zone,
        snapshot: Option<&Snapshot>,
        name: &[u8],
        decision: &Decision<'_>,
    ) -> Option<String> {
        let snapshot = snapshot?;
        if snapshot.state() == State::Stale {
            self.steps
                .push("The names are those of an earlier process: they are answered for 5 seconds (2.7).".to_owned());
        }
        if zone.reverse {
            let address = reverse_address(name)?;
            let names = snapshot.names_of(address);
            let name = |name: FullName<'_>| format!("{}{}", dotted(&name.wire()), text(cluster.primary()));
            return Some(match names.is_empty() {
                true => format!("No Service and no ready endpoint has the address {address} (1.7)."),
                false => {
                    format!("{address} belongs to {} (1.7).", names.iter().map(name).collect::<Vec<_>>().join(", "))
                }
            });
        }
        let relative = relative_to(name, &zone.name)?;
        let found = snapshot.find(relative);
        if matches!(found, Found::Missing) || matches!(decision, Decision::NoData) {
            self.hints.extend(near::hints(snapshot, relative, &text(&zone.name), self.services));
        }
        stands(snapshot, found, relative)
    }
}

/// Labels in wire form without a root label, each with a dot behind it.
fn dotted(relative: &[u8]) -> String {
    labels(relative).map(|label| format!("{}.", label.escape_ascii())).collect()
}

fn stands(snapshot: &Snapshot, found: Found<'_>, relative: &[u8]) -> Option<String> {
    let service = |service: &ServiceRecords| format!("Service {}/{}", service.namespace(), service.name());
    Some(match found {
        Found::Missing => return None,
        Found::Empty => "The name exists because others stand below it, and owns no record (1.2).".to_owned(),
        Found::Apex => "The name is the zone itself (1.3).".to_owned(),
        Found::Version => "The name tells the version of the schema (1.3).".to_owned(),
        Found::NameServer => {
            let (namespace, name) = &snapshot.options().dns_service;
            format!("The name is the zone's server: the cluster IPs of Service {namespace}/{name} (1.3).")
        }
        Found::Service(records) => match records.kind() {
            Kind::Alias(target) => {
                format!("{} is of type ExternalName and leads to {target}. (1.8).", service(records))
            }
            Kind::ClusterIp => {
                let addresses = addresses(records.v4(), records.v6(), |_| String::new());
                format!(
                    "{} has cluster IPs, which its name answers with, whatever endpoints it has: {addresses} (1.3).",
                    service(records)
                )
            }
            Kind::Headless => {
                let addresses = addresses(records.v4(), records.v6(), |address| slices(records, address));
                format!(
                    "{} is headless: its name has the addresses of its ready endpoints: {addresses} (1.3, 1.4).",
                    service(records)
                )
            }
        },
        Found::Endpoint(records, id) => endpoint(records, id, &service(records)),
        Found::Port(records, port) => {
            let whose = if *records.kind() == Kind::Headless { "its ready endpoints" } else { "the Service" };
            format!(
                "The name is port {} ({:?}) of {}, with the numbers of {whose} (1.3).",
                port.name,
                port.protocol,
                service(records)
            )
        }
        Found::Pod(address) => {
            let namespace = labels(relative).nth(1).map(|label| label.escape_ascii().to_string()).unwrap_or_default();
            format!("The name spells the address {address} in Namespace {namespace}, as the pod mode allows (1.6).")
        }
    })
}

fn endpoint(records: &ServiceRecords, id: EndpointId, service: &str) -> String {
    let addresses = addresses(records.endpoint_v4(id), records.endpoint_v6(id), |address| slices(records, address));
    let role = if records.is_alias(id) { "one of the other names" } else { "the name" };
    format!("The name is {role} of a ready endpoint of {service}: {addresses} (1.5).")
}

/// The EndpointSlices that an address stands in.
fn slices(records: &ServiceRecords, address: IpAddr) -> String {
    let mut names: Vec<&str> = records.slices_of(address).collect();
    names.dedup();
    if names.is_empty() { String::new() } else { format!(" (EndpointSlice {})", names.join(", ")) }
}

fn addresses(v4: &[std::net::Ipv4Addr], v6: &[std::net::Ipv6Addr], more: impl Fn(IpAddr) -> String) -> String {
    let all = v4.iter().copied().map(IpAddr::V4).chain(v6.iter().copied().map(IpAddr::V6));
    let mut text: Vec<String> = all.take(ADDRESSES).map(|address| format!("{address}{}", more(address))).collect();
    let left = (v4.len() + v6.len()).saturating_sub(ADDRESSES);
    if left > 0 {
        text.push(format!("and {left} more"));
    }
    text.join(", ")
}

fn decided(decision: &Decision<'_>, zone: &Zone, qtype: Rtype) -> String {
    let zone = text(&zone.name);
    match decision {
        Decision::NotReady => {
            format!(
                "The lists of objects are not complete, so nothing in {zone} is answered: SERVFAIL with extended error 14 (2.7)."
            )
        }
        Decision::Missing => format!("There is no such name in {zone}, and no fallthrough for it: NXDOMAIN (1.10)."),
        Decision::FallsThrough => {
            format!("There is no such name in {zone}, and `fallthrough` covers it: the next source is asked (1.10).")
        }
        Decision::NoData => {
            format!(
                "The name exists in {zone} and has no {qtype} record: NOERROR without an answer. This does not fall through (1.10)."
            )
        }
        Decision::Alias(service, _) => {
            let (namespace, name) = (service.namespace(), service.name());
            format!("The alias of Service {namespace}/{name} answers for every type, so for {qtype} as well (delta 5).")
        }
        Decision::Records(_) => format!("It has what is asked for: NOERROR with {qtype} (1.3)."),
    }
}
