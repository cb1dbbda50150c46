use std::net::IpAddr;

use super::{FullName, Kind, ServiceRecords, Snapshot, SrvOwner};

impl Snapshot {
    /// Everything that can be found, as sorted lines of text: for comparisons and for people. Each name is looked up
    /// as a query would; two snapshots with the same lines answer the same. Pods' names of modes that do not keep
    /// Pods, and order, are not in it but for that of PTR records.
    pub fn listing(&self) -> Vec<String> {
        let mut lines = Vec::new();
        lines.push(format!("NS {} {:?}", dotted(&self.name_server().wire()), self.dns_addresses()));
        self.tables.namespaces.for_each(|name| lines.push(format!("{name} namespace")));
        self.tables.pods.for_each(|pod| lines.push(format!("{} pod {}", pod.namespace, pod.address)));
        let mut addresses = Vec::new();
        self.tables.services.for_each(|service| {
            service_lines(service, &mut lines);
            addresses.extend(service.addresses());
        });
        addresses.sort_unstable();
        addresses.dedup();
        let stale = self.tables.addresses.len() - addresses.len().min(self.tables.addresses.len());
        lines.extend((stale > 0).then(|| format!("{stale} addresses that belong to nobody")));
        for address in addresses {
            let names: Vec<String> = self.names_of(address).iter().map(|name| dotted(&name.wire())).collect();
            lines.push(format!("{address} PTR {}", names.join(" ")));
        }
        lines.sort_unstable();
        lines
    }
}

fn service_lines(service: &ServiceRecords, lines: &mut Vec<String>) {
    let name = dotted(service.owner());
    match service.kind() {
        Kind::Alias(target) => lines.push(format!("{name} CNAME {target}")),
        kind => lines.push(format!("{name} {kind:?} {}", addresses(service.v4(), service.v6()))),
    }
    lines.extend(srv_line(service, &name, SrvOwner::Service));
    for port in service.shown_ports() {
        let Some(text) = port.name.as_deref() else { continue };
        let protocol = port.protocol.nft();
        let id = service.port_named(format!("_{text}").as_bytes(), format!("_{protocol}").as_bytes(), false);
        lines.extend(id.and_then(|id| srv_line(service, &format!("_{text}._{protocol}.{name}"), SrvOwner::Port(id))));
    }
    for endpoint in service.endpoint_names() {
        let alias = if service.is_alias(endpoint) { " alias" } else { "" };
        let data = addresses(service.endpoint_v4(endpoint), service.endpoint_v6(endpoint));
        let label = service.label(endpoint);
        let name = dotted(&FullName { label: Some(label), owner: service.owner() }.wire());
        match service.endpoint(label) == Some(endpoint) {
            true => lines.push(format!("{name}{alias} {data}")),
            false => lines.push(format!("{name} cannot be found")),
        }
        lines.extend(srv_line(service, &name, SrvOwner::Endpoint(endpoint)));
    }
}

fn srv_line(service: &ServiceRecords, name: &str, owner: SrvOwner<'_>) -> Option<String> {
    let records = service.srv(owner);
    let weight = records.weight;
    let target = |srv: super::Srv| {
        let label = srv.target.map(|endpoint| String::from_utf8_lossy(service.label(endpoint)).into_owned());
        format!("{}:{}", label.as_deref().unwrap_or("@"), srv.port)
    };
    let records: Vec<String> = records.map(target).collect();
    (!records.is_empty()).then(|| format!("{name} SRV {weight} {}", records.join(" ")))
}

fn addresses(v4: &[impl Into<IpAddr> + Copy], v6: &[impl Into<IpAddr> + Copy]) -> String {
    let all = v4.iter().map(|&address| address.into()).chain(v6.iter().map(|&address| address.into()));
    all.map(|address: IpAddr| address.to_string()).collect::<Vec<_>>().join(" ")
}

/// A name in wire form as text.
fn dotted(mut wire: &[u8]) -> String {
    let mut text = String::new();
    while let Some((label, rest)) = wire.split_first().and_then(|(n, rest)| rest.split_at_checked(usize::from(*n))) {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(&String::from_utf8_lossy(label));
        wire = rest;
    }
    text
}
