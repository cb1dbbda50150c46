//! Directives of CoreDNS that there are none of here: what to do instead, or why nothing need be done.

use super::{blocks::Line, report::Report};
use crate::model::nearest;

/// Directives that work.
pub const KNOWN: [&str; 23] = [
    "acl",
    "any",
    "bind",
    "bufsize",
    "cache",
    "chaos",
    "errors",
    "file",
    "forward",
    "health",
    "hosts",
    "import",
    "kubernetes",
    "loadbalance",
    "log",
    "loop",
    "minimal",
    "nsid",
    "prometheus",
    "ready",
    "reload",
    "rewrite",
    "template",
];

/// Directives that change nothing that a client sees.
const WITHOUT_MEANING: [(&str, &str); 6] = [
    ("cancel", "every query has a time limit as it is"),
    ("debug", "a panic ends the process in any case"),
    ("metadata", "there is nobody to read it"),
    ("multisocket", "there is a socket for each worker"),
    ("pprof", "there is no Go runtime to look into"),
    ("timeouts", "TCP connections have CoreDNS's limits"),
];

/// Directives that a file cannot have, and what to do about it.
const REFUSED: [(&str, &str); 28] = [
    ("auto", "name each zone with a `file` line"),
    ("autopath", "remove the line: names are found by the search path as before, at the price of more queries"),
    ("azure", "forward the zone to Azure's name servers"),
    ("clouddns", "forward the zone to Cloud DNS"),
    ("dns64", "forward AAAA queries to a resolver that does DNS64"),
    ("dnssec", "zones are not signed here; forward to a server that signs"),
    ("dnstap", "remove the block; `log` writes queries"),
    ("erratic", "remove the block"),
    ("etcd", "forward the zone to a server that reads etcd"),
    ("federation", "remove the line; Kubernetes has no federation any more"),
    ("geoip", "remove the line"),
    ("grpc", "forward the zone with `forward`, over UDP or TCP"),
    ("grpc_server", "remove the block"),
    ("header", "remove the block; flags are set as the standards say"),
    ("k8s_external", "forward the zone to a server that knows external names"),
    ("local", "answer the names with `hosts`"),
    ("proxy", "write `forward`, which took its place"),
    ("quic", "remove the block"),
    ("root", "remove the line and write absolute paths"),
    ("route53", "forward the zone to Route 53's resolver"),
    ("secondary", "forward the zone to its primary, or give a copy with `file`"),
    ("sign", "zones are not signed here; sign the file before it is read"),
    ("tls", "queries are taken over UDP and TCP; put a TLS proxy before them"),
    ("trace", "remove the line"),
    ("transfer", "remove the block; zones are not handed out"),
    ("tsig", "remove the block; transfers are what it is for"),
    ("view", "make blocks of their own, with other ports or addresses"),
    ("whoami", "remove the line"),
];

/// Says of a directive that is not there what becomes of it.
pub fn refuse(line: &Line, report: &mut Report) {
    let name = line.name.text.as_str();
    let find = |list: &'static [(&str, &str)]| list.iter().find(|(known, _)| *known == name).map(|(_, what)| *what);
    if let Some(why) = find(&WITHOUT_MEANING) {
        report.warn(&line.name.place, name, format!("has no meaning: {why}"));
        return;
    }
    let reason = match find(&REFUSED) {
        Some(instead) => format!("is not supported: {instead}"),
        None if name.ends_with('{') && name.len() > 1 => "a space is missing before the {".to_owned(),
        None => match nearest(name, KNOWN.iter().map(ToString::to_string)) {
            Some(near) => format!("there is no such directive; is {near} meant?"),
            None => format!("there is no such directive; there are {}", KNOWN.join(", ")),
        },
    };
    report.refuse(&line.name.place, name, reason);
}
