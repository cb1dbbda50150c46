//! Reads a CoreDNS Corefile (4.3): the directives of Kubernetes clusters, with CoreDNS's defaults. What there is none of
//! here is refused by name and line, with what to do instead; what changes nothing is warned of.
//!
//! The file system and the environment are functions that the caller gives.

mod blocks;
mod cache;
mod forward;
mod kubernetes;
mod lexer;
mod local;
mod refused;
mod report;
mod rewrite;
mod selector;
mod server;
mod words;
mod zones;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use blocks::Reader;
pub use forward::upstream;
pub use lexer::Environment;
pub use report::CorefileErrors;
use report::Report;
pub use zones::{name, reverse_of};

use super::{DnsConfig, ServerBlock};
use crate::config::{Place, Warning};

/// A file that an import names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Its path, for errors and for imports in it
    pub name: String,
    /// What it holds
    pub text: String,
}

/// Reads a Corefile. `file` is its name, for errors and for the paths of imports.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file; what is wrong with imported files follows.
pub fn parse(
    text: &str,
    file: &str,
    environment: Environment<'_>,
    read: Reader<'_>,
) -> Result<(DnsConfig, Vec<Warning>), CorefileErrors> {
    let mut report = Report::default();
    let blocks = blocks::blocks(text, file, environment, read, &mut report);
    let mut servers = Vec::new();
    for block in &blocks {
        servers.extend(server::servers(block, environment, &mut report));
    }
    if blocks.is_empty() && report.errors.is_empty() {
        let place = Place { file: Arc::from(file), line: 1, column: 1 };
        report.refuse(&place, "the file", "has no server block; `.:53 { forward . /etc/resolv.conf }` is a small one");
    }
    one_for_each_zone(&servers, &mut report);
    match report.errors.is_empty() {
        true => Ok((DnsConfig { servers }, report.warnings)),
        false => Err(CorefileErrors(report.in_order(file))),
    }
}

/// No two blocks may have the same zone on the same socket.
fn one_for_each_zone(servers: &[ServerBlock], report: &mut Report) {
    for (index, server) in servers.iter().enumerate() {
        // The first one alone: of a thousand equal blocks, which a snippet makes that imports itself, each would be
        // told about all others.
        let mut earlier = servers[..index].iter().filter(|earlier| share_a_socket(earlier, server));
        let shared = earlier.find_map(|earlier| {
            let zone = server.zones.iter().find(|zone| earlier.zones.contains(zone))?;
            Some((zone.fmt_with_dot().to_string(), server.place.as_ref()?, earlier.place.as_ref()?))
        });
        let Some((zone, place, other)) = shared else { continue };
        let reason = format!("the block at {other} serves {zone} on port {} already; make one of the two", server.port);
        report.refuse(place, &zone, reason);
    }
}

fn share_a_socket(one: &ServerBlock, other: &ServerBlock) -> bool {
    let everywhere = one.bind.is_empty() && other.bind.is_empty();
    one.port == other.port && (everywhere || one.bind.iter().any(|address| other.bind.contains(address)))
}
