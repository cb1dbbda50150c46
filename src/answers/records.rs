//! Writing what the cluster's zone decided (1.3, 1.10).

use std::net::IpAddr;

use domain::base::iana::{OptRcode, Rtype};

use super::{
    cluster::{Cluster, Decision, Records, Zone},
    link::behind,
    message::{Owner, Section, Writer},
    name::LowerName,
    order::mixed,
};
use crate::zone::{FullName, ServiceRecords, Snapshot, Srv, SrvOwner};

/// Answers to DNS schema version queries, and how long they may be kept (1.3).
const VERSION: &[u8] = b"\x051.1.0";
const VERSION_TTL: u32 = 28800;
/// The data of the record for ANY: CPU "RFC8482", no OS.
pub const HINFO: &[u8] = b"\x07RFC8482\0";

/// What records are written with.
pub struct Context<'a> {
    /// The block's zones
    pub cluster: &'a Cluster,
    /// The zone that the name lies in
    pub zone: &'a Zone,
    /// The names
    pub snapshot: &'a Snapshot,
    /// Bits to mix with; none to mix nothing
    pub random: Option<u64>,
    /// No additional records
    pub minimal: bool,
}

impl Context<'_> {
    /// Writes a decision's records, whose owner is `owner`. Returns the code of the reply.
    pub fn write(&self, writer: &mut Writer<'_>, owner: Owner<'_>, qtype: Rtype, decision: &Decision<'_>) -> OptRcode {
        match decision {
            Decision::Records(records) => self.write_records(writer, owner, qtype, records),
            Decision::NoData => self.deny(writer),
            Decision::Missing | Decision::FallsThrough => {
                self.deny(writer);
                return OptRcode::NXDOMAIN;
            }
            Decision::NotReady => return OptRcode::SERVFAIL,
            // The end of a chain that leads nowhere: the links are the answer.
            Decision::Alias(..) => {}
        }
        OptRcode::NOERROR
    }

    fn write_records(&self, writer: &mut Writer<'_>, owner: Owner<'_>, qtype: Rtype, records: &Records<'_>) {
        let ttl = self.cluster.ttl(self.snapshot);
        match records {
            Records::V4(addresses) => writer.ipv4(owner, ttl, mixed(addresses, self.random)),
            Records::V6(addresses) => writer.ipv6(owner, ttl, mixed(addresses, self.random)),
            Records::Pod(address) => one(writer, owner, ttl, *address),
            Records::ServerAddresses => {
                let v4 = qtype == Rtype::A;
                for address in self.snapshot.dns_addresses().iter().filter(|address| address.is_ipv4() == v4) {
                    one(writer, owner, ttl, *address);
                }
            }
            Records::Soa => self.soa(writer),
            Records::NameServer => self.name_server(writer, owner, ttl),
            Records::Version => {
                writer.record(owner, Rtype::TXT, VERSION_TTL, |writer| writer.put(VERSION));
            }
            Records::Hinfo => {
                writer.record(owner, Rtype::HINFO, ttl, |writer| writer.put(HINFO));
            }
            Records::Srv(service, at) => self.srv(writer, owner, ttl, service, *at),
            Records::Ptr(names) => {
                for name in names.iter() {
                    // There may be thousands, and what does not fit need not be looked up.
                    if !writer.record(owner, Rtype::PTR, ttl, |writer| self.full_name(writer, &name)) {
                        return;
                    }
                }
            }
        }
    }

    /// The SOA of a negative answer.
    fn deny(&self, writer: &mut Writer<'_>) {
        writer.section(Section::Authority);
        self.soa(writer);
    }

    fn soa(&self, writer: &mut Writer<'_>) {
        let primary = writer.owner(self.cluster.primary());
        let owner = writer.owner(&self.zone.name);
        writer.record(owner, Rtype::SOA, self.cluster.soa_ttl(self.snapshot), |writer| {
            writer.put(b"\x02ns\x03dns")?;
            writer.name(primary)?;
            writer.put(b"\x0ahostmaster")?;
            writer.name(primary)?;
            // Refresh, retry, expire as in 1.3.
            for number in [self.snapshot.serial(), 7200, 1800, 86400, self.cluster.ttl(self.snapshot)] {
                writer.put(&number.to_be_bytes())?;
            }
            Some(())
        });
    }

    fn name_server(&self, writer: &mut Writer<'_>, owner: Owner<'_>, ttl: u32) {
        let name = self.snapshot.name_server();
        let mut place = 0;
        writer.record(owner, Rtype::NS, ttl, |writer| {
            place = writer.at();
            self.full_name(writer, &name)
        });
        if self.minimal {
            return;
        }
        writer.section(Section::Additional);
        let Some(glue) = LowerName::joined(&name.wire(), self.cluster.primary()) else { return };
        let owner = behind(writer, place, &glue);
        for address in self.snapshot.dns_addresses() {
            one(writer, owner, ttl, *address);
        }
    }

    /// A name of the first forward zone, whole: where it stands in SRV and PTR records it is not compressed.
    fn full_name(&self, writer: &mut Writer<'_>, name: &FullName<'_>) -> Option<()> {
        if let Some(label) = name.label {
            put_label(writer, label)?;
        }
        writer.put(name.owner)?;
        writer.put(self.cluster.primary())
    }

    fn srv(&self, writer: &mut Writer<'_>, owner: Owner<'_>, ttl: u32, service: &ServiceRecords, at: SrvOwner<'_>) {
        let owner_octets = match owner {
            Owner::At(_) => 2,
            Owner::Name(name) => name.len(),
        };
        // Where the first record's target begins: behind owner, type, class, time to live, length, three numbers.
        let mut place = writer.at() + owner_octets + 16;
        let set = service.srv(at);
        let weight = set.weight;
        let mut written = 0;
        for srv in set {
            let whole = writer.record(owner, Rtype::SRV, ttl, |writer| {
                writer.put(&[0, 0])?;
                writer.put(&weight.to_be_bytes())?;
                writer.put(&srv.port.to_be_bytes())?;
                self.target(writer, service, srv)
            });
            if !whole {
                return;
            }
            written += 1;
        }
        if self.minimal || written == 0 {
            return;
        }
        writer.section(Section::Additional);
        let mut last = None;
        for srv in service.srv(at) {
            let octets = self.target_octets(service, srv);
            if last != Some(srv.target) {
                last = Some(srv.target);
                self.glue(writer, ttl, service, srv, place..place + octets);
            }
            place += octets + owner_octets + 16;
        }
    }

    fn target(&self, writer: &mut Writer<'_>, service: &ServiceRecords, srv: Srv) -> Option<()> {
        if let Some(endpoint) = srv.target {
            put_label(writer, service.label(endpoint))?;
        }
        writer.put(service.owner())?;
        writer.put(&self.zone.name)
    }

    fn target_octets(&self, service: &ServiceRecords, srv: Srv) -> usize {
        srv.target.map_or(0, |endpoint| service.label(endpoint).len() + 1)
            + service.owner().len()
            + self.zone.name.len()
    }

    /// Addresses of a target, which stands at `place` in the message already.
    fn glue(
        &self,
        writer: &mut Writer<'_>,
        ttl: u32,
        service: &ServiceRecords,
        srv: Srv,
        place: std::ops::Range<usize>,
    ) {
        // Pointers have 14 bits.
        let name =
            if place.start < 0x4000 { None } else { writer.written().get(place.clone()).and_then(LowerName::new) };
        let owner = name.as_ref().map_or(Owner::At(place.start as u16), |name| Owner::Name(name));
        let (v4, v6) = match srv.target {
            Some(endpoint) => (service.endpoint_v4(endpoint), service.endpoint_v6(endpoint)),
            None => (service.v4(), service.v6()),
        };
        writer.ipv4(owner, ttl, mixed(v4, self.random));
        writer.ipv6(owner, ttl, mixed(v6, self.random));
    }
}

fn put_label(writer: &mut Writer<'_>, label: &[u8]) -> Option<()> {
    writer.put(&[u8::try_from(label.len()).ok()?])?;
    writer.put(label)
}

/// One A or AAAA record.
pub fn one(writer: &mut Writer<'_>, owner: Owner<'_>, ttl: u32, address: IpAddr) {
    match address {
        IpAddr::V4(address) => writer.ipv4(owner, ttl, std::iter::once(address)),
        IpAddr::V6(address) => writer.ipv6(owner, ttl, std::iter::once(address)),
    }
}
