use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use super::List;
use crate::model::{Family, PortId, Protocol, ServiceId};

/// Clients that one list of a group remembers at most; nft wants a bound for maps that packets write to.
pub(super) const CLIENTS: u32 = 65536;

/// What belongs to one service port with session affinity, in one family: its chains, maps and sets.
///
/// For the list `All`: chain `sticky-X`, set `members-X`, maps `affinity-X-address` and `affinity-X-port`. For the
/// list `Local` the same, each name with `local-` in front. One chain `learn-X`, with a rule for each list in use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AffinityGroup {
    /// Family
    pub family: Family,
    /// X: `namespace/service/protocol` and, for a named port, `/port`; protocol in lower case
    pub name: Arc<str>,
    /// Seconds a client is remembered after its last new connection
    pub timeout: u32,
    /// The cluster list is used
    pub all: bool,
    /// The local list is used
    pub local: bool,
}

impl AffinityGroup {
    /// The service port that it belongs to, from its name; `None` for a name that is not of this form.
    pub fn port(&self) -> Option<PortId> {
        let mut parts = self.name.splitn(4, '/');
        let service = ServiceId::new(parts.next()?, parts.next()?);
        let protocol = Protocol::parse(&parts.next()?.to_ascii_uppercase())?;
        Some(PortId { service, name: parts.next().unwrap_or_default().into(), protocol })
    }

    /// The lists that the group is used for.
    pub fn lists(&self) -> impl Iterator<Item = List> {
        [(List::All, self.all), (List::Local, self.local)].into_iter().filter_map(|(list, used)| used.then_some(list))
    }

    /// All chains of the lists in use.
    pub fn chains(&self) -> Vec<String> {
        self.lists().map(|list| self.sticky(list)).chain([self.learn()]).collect()
    }

    /// All sets and maps of the lists in use.
    pub fn sets(&self) -> Vec<String> {
        self.lists().flat_map(|list| [self.members(list), self.addresses(list), self.ports(list)]).collect()
    }

    /// The chain that sends a known client where it went before.
    pub fn sticky(&self, list: List) -> String {
        format!("{}sticky-{}", list.prefix(), self.name)
    }

    /// The chain that remembers the endpoint a client got.
    pub fn learn(&self) -> String {
        format!("learn-{}", self.name)
    }

    /// The set of the list's endpoints.
    pub fn members(&self, list: List) -> String {
        members(&self.name, list)
    }

    /// The map client -> endpoint address.
    pub fn addresses(&self, list: List) -> String {
        format!("{}affinity-{}-address", list.prefix(), self.name)
    }

    /// The map client -> endpoint port.
    pub fn ports(&self, list: List) -> String {
        format!("{}affinity-{}-port", list.prefix(), self.name)
    }
}

/// Everything that belongs to a group, as nft text for one transaction: the sets and maps, empty, and the chains.
///
/// With `rewrite`, what exists stays: sets and maps keep their elements, chains get these rules instead of theirs.
/// Two maps instead of one with address and port, because nft 1.0.6 aborts on the IPv6 form of that.
pub fn group_text(group: &AffinityGroup, table: &str, rewrite: bool) -> String {
    let mut text = String::new();
    let _ = write_group(&mut text, group, table, rewrite); // a String takes everything
    text
}

fn write_group(text: &mut String, group: &AffinityGroup, table: &str, rewrite: bool) -> fmt::Result {
    let (ip, learn) = (group.family.nft(), group.learn());
    if rewrite {
        writeln!(text, "table {ip} {table} {{")?;
        for chain in group.chains() {
            writeln!(text, "\tchain {chain} {{\n\t}}")?;
        }
        writeln!(text, "}}")?;
        for chain in group.chains() {
            writeln!(text, "flush chain {ip} {table} {chain}")?;
        }
    }
    writeln!(text, "table {ip} {table} {{")?;
    for list in group.lists() {
        write_list(text, group, list)?;
    }
    writeln!(text, "\tchain {learn} {{")?;
    for list in group.lists() {
        write_learn_rule(text, group, list)?;
    }
    writeln!(text, "\t}}\n}}")
}

/// The set, the maps and the chain of one list.
fn write_list(text: &mut String, group: &AffinityGroup, list: List) -> fmt::Result {
    let ip = group.family.nft();
    let (members, sticky) = (group.members(list), group.sticky(list));
    let (addresses, ports) = (group.addresses(list), group.ports(list));
    writeln!(text, "\tset {members} {{\n\t\ttypeof {ip} daddr . th dport\n\t}}")?;
    for (map, value) in [(&addresses, format!("{ip} daddr")), (&ports, "th dport".into())] {
        writeln!(text, "\tmap {map} {{\n\t\ttypeof {ip} saddr : {value}")?;
        writeln!(text, "\t\tsize {CLIENTS}\n\t\tflags dynamic,timeout\n\t}}")?;
    }
    writeln!(text, "\tchain {sticky} {{")?;
    write!(text, "\t\tmeta l4proto {{ tcp, udp, sctp }} ")?;
    writeln!(text, "dnat {ip} to {ip} saddr map @{addresses} : {ip} saddr map @{ports}")?;
    // Twice, as every look-up of a first packet (see `rules/`).
    for _ in 0..2 {
        writeln!(text, "\t\t{ip} daddr . meta l4proto . th dport vmap @{}first-picks", list.prefix())?;
    }
    writeln!(text, "\t}}")
}

/// The rule that remembers a pick from one list. Only its own endpoints: a client must never be sent by a Local policy
/// to an endpoint of another node because it got that one through the cluster address.
fn write_learn_rule(text: &mut String, group: &AffinityGroup, list: List) -> fmt::Result {
    let (ip, timeout) = (group.family.nft(), group.timeout);
    let (members, addresses, ports) = (group.members(list), group.addresses(list), group.ports(list));
    write!(text, "\t\t{ip} daddr . th dport @{members}")?;
    write!(text, " update @{addresses} {{ ct original {ip} saddr timeout {timeout}s : {ip} daddr }}")?;
    writeln!(text, " update @{ports} {{ ct original {ip} saddr timeout {timeout}s : th dport }}")
}

/// The name of the set of endpoints that clients of a group may be remembered for.
pub(super) fn members(group: &str, list: List) -> String {
    format!("{}members-{group}", list.prefix())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_service_port() {
        let port = |name: &str| {
            AffinityGroup { family: Family::V4, name: name.into(), timeout: 1, all: true, local: true }.port()
        };
        let web = |name: &str, protocol| PortId { service: ServiceId::new("shop", "web"), name: name.into(), protocol };
        assert_eq!(port("shop/web/tcp"), Some(web("", Protocol::Tcp)));
        assert_eq!(port("shop/web/udp/dns"), Some(web("dns", Protocol::Udp)));
        for strange in ["shop", "shop/web", "shop/web/icmp"] {
            assert_eq!(port(strange), None, "{strange}");
        }
    }

    #[test]
    fn the_text_holds_every_list_in_use() {
        let group =
            AffinityGroup { family: Family::V6, name: "shop/web/tcp".into(), timeout: 90, all: false, local: true };
        let body = "table ip6 portolan {
\tset local-members-shop/web/tcp {
\t\ttypeof ip6 daddr . th dport
\t}
\tmap local-affinity-shop/web/tcp-address {
\t\ttypeof ip6 saddr : ip6 daddr
\t\tsize 65536
\t\tflags dynamic,timeout
\t}
\tmap local-affinity-shop/web/tcp-port {
\t\ttypeof ip6 saddr : th dport
\t\tsize 65536
\t\tflags dynamic,timeout
\t}
\tchain local-sticky-shop/web/tcp {
\t\tmeta l4proto { tcp, udp, sctp } dnat ip6 to ip6 saddr map @local-affinity-shop/web/tcp-address : ip6 saddr map \
                    @local-affinity-shop/web/tcp-port
\t\tip6 daddr . meta l4proto . th dport vmap @local-first-picks
\t\tip6 daddr . meta l4proto . th dport vmap @local-first-picks
\t}
\tchain learn-shop/web/tcp {
\t\tip6 daddr . th dport @local-members-shop/web/tcp update @local-affinity-shop/web/tcp-address { ct original ip6 \
                    saddr timeout 90s : ip6 daddr } update @local-affinity-shop/web/tcp-port { ct original ip6 saddr \
                    timeout 90s : th dport }
\t}
}
";
        assert_eq!(group_text(&group, "portolan", false), body);
        let chains = "table ip6 x {
\tchain local-sticky-shop/web/tcp {
\t}
\tchain learn-shop/web/tcp {
\t}
}
flush chain ip6 x local-sticky-shop/web/tcp
flush chain ip6 x learn-shop/web/tcp
";
        let rewritten = format!("{chains}{}", body.replace("portolan", "x"));
        assert_eq!(group_text(&group, "x", true), rewritten);
    }
}
