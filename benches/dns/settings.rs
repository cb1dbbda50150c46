//! The servers' own configuration files: one worker each, on 127.0.0.1 port 53 of their namespace.

use std::path::Path;

use crate::zonefile::ZONES;

/// What CoreDNS and Portolan read: kubeadm's default, so that cluster names are not cached by CoreDNS (reverse names
/// are), without `loop` and `reload` and with an upstream that is never needed. `extra` is one more line for the
/// `kubernetes` block.
pub fn corefile(extra: &str) -> String {
    format!(
        ".:53 {{
    bind 127.0.0.1
    errors
    health {{
        lameduck 5s
    }}
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        {extra}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    prometheus :9153
    forward . 127.0.0.1:5399 {{
        max_concurrent 1000
    }}
    cache 30 {{
        disable success cluster.local
        disable denial cluster.local
    }}
    loadbalance
}}
"
    )
}

/// NSD's: it would limit the rate of answers to an address, and adds what nobody asked for unless told not to.
pub fn nsd(folder: &Path) -> String {
    let folder = folder.display();
    let zones = ZONES.map(|zone| format!("zone:\n  name: \"{zone}\"\n  zonefile: \"{zone}\"\n")).concat();
    format!(
        "server:
  server-count: 1
  ip-address: 127.0.0.1@53
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
  minimal-responses: yes
  username: \"\"
  chroot: \"\"
  zonesdir: \"{folder}\"
  database: \"\"
  pidfile: \"{folder}/nsd.pid\"
  xfrdfile: \"{folder}/nsd-xfrd.state\"
  zonelistfile: \"{folder}/nsd-zone.list\"
  xfrdir: \"{folder}\"
remote-control:
  control-enable: no
{zones}"
    )
}

/// Knot's.
pub fn knot(folder: &Path) -> String {
    let folder = folder.display();
    let zones = ZONES.map(|zone| format!("  - domain: {zone}\n    file: {folder}/{zone}\n")).concat();
    format!(
        "server:
  rundir: {folder}
  listen: 127.0.0.1@53
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
log:
  - target: stderr
    any: warning
database:
  storage: {folder}/knot
template:
  - id: default
    storage: {folder}
    zonefile-load: whole
    zonefile-sync: -1
    journal-content: none
zone:
{zones}"
    )
}
