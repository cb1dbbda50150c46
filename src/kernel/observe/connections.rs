use std::{collections::BTreeSet, fs};

use crate::{
    kernel::conntrack::{ConntrackTable, Flow},
    model::{Family, Frontend, Protocol, Target},
    observed::{Connection, Connections, Seen},
};

/// Below it, what the kernel says of the table of the thread's network namespace.
const PARAMETERS: &str = "/proc/sys/net/netfilter";

/// Reads the connection tracking entries whose clients dialled one of these frontends, and how full the table is, in the
/// calling thread's network namespace. Connections that are over are left out: their entries only wait for late packets.
///
/// # Errors
/// The kernel cannot be asked (that takes CAP_NET_ADMIN), or does not track connections.
pub fn connections(frontends: &BTreeSet<Frontend>) -> Seen<Connections> {
    let mut entries = Vec::new();
    let kinds: BTreeSet<(Family, Protocol)> = frontends.iter().map(|f| (f.family(), f.protocol)).collect();
    if !kinds.is_empty() {
        let mut table = ConntrackTable::open().map_err(|error| error.to_string())?;
        for (family, protocol) in kinds {
            let each = |flow: &Flow| entries.extend(connection(flow).filter(|c| frontends.contains(&c.frontend)));
            table.for_each(family, protocol, each).map_err(|error| error.to_string())?;
        }
    }
    // The table changes while it is read: an entry may come twice.
    entries.sort_unstable();
    entries.dedup();
    let (count, max) = tracked()?;
    Ok(Connections { entries, count, max })
}

/// How many entries connection tracking has, and how many it may have, in the calling thread's network namespace.
///
/// # Errors
/// The kernel does not track connections.
pub fn tracked() -> Seen<(u64, u64)> {
    Ok((parameter("nf_conntrack_count")?, parameter("nf_conntrack_max")?))
}

fn connection(flow: &Flow) -> Option<Connection> {
    if flow.ended {
        return None;
    }
    let Target { address, port } = flow.destination;
    Some(Connection {
        frontend: Frontend { address, protocol: flow.protocol, port },
        client: flow.source,
        endpoint: flow.reply_source,
        answers_to: flow.reply_destination,
        answered: flow.answered,
    })
}

fn parameter(name: &str) -> Seen<u64> {
    let path = format!("{PARAMETERS}/{name}");
    let text = fs::read_to_string(&path).map_err(|error| format!("reading {path}: {error}"))?;
    text.trim().parse().map_err(|_| format!("reading {path}: {:?} is no number", text.trim()))
}
