//! How metrics call server blocks.

use std::net::SocketAddr;

use crate::config::dns::{DnsConfig, ServerBlock};

/// `dns://:53`, and the zone of each block, with that of queries that lie in none.
pub fn labels(config: &DnsConfig, addresses: &[SocketAddr]) -> (String, Vec<String>) {
    let address = |address: &SocketAddr| match address.ip().is_unspecified() {
        true => format!("dns://:{}", address.port()),
        false => format!("dns://{address}"),
    };
    let server = addresses.iter().map(address).collect::<Vec<_>>().join(" ");
    (server, config.servers.iter().map(zone).chain(["dropped".to_owned()]).collect())
}

/// The first zone of a block stands for all of them.
pub fn zone(server: &ServerBlock) -> String {
    server.zones.first().map_or_else(|| ".".to_owned(), |zone| zone.fmt_with_dot().to_string())
}

pub fn server(server: &ServerBlock) -> String {
    format!("dns://:{}", server.port)
}

/// What is in a block: server, zone, name.
pub fn plugins(block: &ServerBlock) -> Vec<(String, String, &'static str)> {
    let there = [
        ("acl", !block.acl.is_empty()),
        ("any", block.any),
        ("cache", block.cache.is_some()),
        ("chaos", block.chaos.is_some()),
        ("errors", block.errors),
        ("file", !block.files.is_empty()),
        ("forward", !block.forwards.is_empty()),
        ("health", block.health.is_some()),
        ("hosts", block.hosts.is_some()),
        ("kubernetes", block.kubernetes.is_some()),
        ("loadbalance", block.shuffle),
        ("log", block.log.is_some()),
        ("loop", block.detect_loops),
        ("minimal", block.minimal),
        ("nsid", block.nsid.is_some()),
        ("prometheus", block.prometheus.is_some()),
        ("ready", block.ready.is_some()),
        ("reload", block.reload.is_some()),
        ("rewrite", !block.rewrites.is_empty()),
        ("template", !block.templates.is_empty()),
    ];
    let there = there.into_iter().filter(|(_, there)| *there);
    there.map(|(name, _)| (server(block), zone(block), name)).collect()
}
