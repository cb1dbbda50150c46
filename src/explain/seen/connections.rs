//! Connections that are tracked: their packets never meet our tables.

use super::{Sight, unseen};
use crate::{
    explain::{
        Cause, Outcome, Stage,
        near::list,
        report::{Fault, Report},
    },
    model::Protocol,
    observed::{Connection, Connections},
};

/// Less than this part of the table free is nearly full.
const NEARLY: u64 = 100;

pub(super) fn judge(sight: &Sight<'_>, report: &mut Report) {
    match &sight.observed.connections {
        Ok(connections) => {
            fullness(connections, report);
            stale(sight, connections, report);
        }
        Err(why) => unseen(report, Stage::Connection, "connection tracking", why),
    }
}

fn fullness(connections: &Connections, report: &mut Report) {
    let Connections { count, max, .. } = connections;
    let remedy =
        "raise net.netfilter.nf_conntrack_max (portolan run --conntrack-max-per-core), or find out who opens so many";
    // It makes room only by giving up connections that nobody answered yet.
    if *max > 0 && count >= max {
        let because = format!(
            "connection tracking is full, {count} entries of nf_conntrack_max {max}: the first packet of every new connection is dropped"
        );
        report.breaks(Fault::new(Stage::Connection, Cause::ConnectionTableFull, because, remedy), Outcome::Dropped);
    } else if *max > 0 && *count >= max - max / NEARLY {
        let because = format!(
            "connection tracking is nearly full, {count} entries of nf_conntrack_max {max}: once it is, the first packet of every new connection is dropped"
        );
        report.remark(Fault::new(Stage::Connection, Cause::ConnectionTableFull, because, remedy));
    } else {
        report.good(Stage::Connection, format!("connection tracking holds {count} of {max} entries"));
    }
}

/// Flows that stay where nobody serves. A TCP connection ends by itself, a UDP flow lasts as long as somebody sends.
fn stale(sight: &Sight<'_>, connections: &Connections, report: &mut Report) {
    let client = sight.client_address();
    let of_client =
        |c: &&Connection| c.frontend == sight.frontend && client.is_none_or(|client| c.client.address == client);
    let all: Vec<&Connection> = connections.entries.iter().filter(of_client).collect();
    let stale: Vec<String> = all
        .iter()
        .filter(|c| !report.prediction.endpoints.contains(&c.endpoint))
        .map(|c| format!("{} -> {}", c.client, c.endpoint))
        .collect();
    if !all.is_empty() {
        report
            .note(Stage::Connection, format!("{} tracked connections of this client to {}", all.len(), sight.frontend));
    }
    if stale.is_empty() || report.is_broken() {
        return;
    }
    if sight.frontend.protocol != Protocol::Udp {
        report.note(Stage::Connection, format!("some stay with endpoints that get no new ones: {}", list(&stale)));
        return;
    }
    let because =
        format!("connection tracking keeps flows to {} where nobody serves: {}", sight.frontend, list(&stale));
    let remedy = format!(
        "delete the entries: conntrack -D -p udp -d {} --dport {}",
        sight.frontend.address, sight.frontend.port
    );
    report.remark(Fault::new(Stage::Connection, Cause::StaleConnection, because, remedy));
}
