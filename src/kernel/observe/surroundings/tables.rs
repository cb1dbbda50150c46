use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{
    foreign::Ruleset,
    kernel::{
        KernelError,
        netlink::{dump::Reader, socket::NetfilterSocket, wire::family_name},
        nft,
    },
    model::Family,
    observed::Seen,
    tables::{DNS_TABLE, TABLE, standby},
    traced::TABLE_PREFIX,
};

/// How long nft may take for everything. It takes milliseconds, but for sets of very many elements.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a table is one of Portolan's, by its name.
fn is_ours(table: &str) -> bool {
    [TABLE, DNS_TABLE].iter().any(|ours| table == *ours || table == standby(ours)) || table.starts_with(TABLE_PREFIX)
}

/// Reads the tables of others, each by itself: our own may be large, and one that cannot be read costs only itself.
pub(super) fn read(own_addresses: BTreeSet<IpAddr>, unread: &mut Vec<String>) -> Ruleset {
    let until = Instant::now() + PATIENCE;
    let mut ruleset = Ruleset::new(own_addresses);
    let names = match names() {
        Ok(names) => names,
        Err(error) => {
            unread.push(format!("reading the tables of others: {error}"));
            return ruleset;
        }
    };
    for (family, name) in names {
        if family == "netdev" {
            let name = name.escape_debug();
            unread.push(format!("table netdev {name} was not looked at: it sees packets at an interface"));
            continue;
        }
        let attempt = format!("reading table {family} {}", name.escape_debug());
        // Names can be anything; one that nft would not take for a name is not given to it (see `kernel::nft`).
        let list = |form| nft::list(&[form], &["list", "table", family, &name], until, &attempt);
        // The words of rules; without them they are known by their handles.
        let text = || list("-a").unwrap_or_default();
        let read = list("-j").map_err(|error| error.to_string());
        if let Err(reason) =
            read.and_then(|json| ruleset.add(&json, &text()).map_err(|why| format!("{attempt}: {why}")))
        {
            // nft quotes the words at fault on further lines.
            unread.push(reason.lines().next().unwrap_or_default().to_owned());
        }
    }
    ruleset
}

/// Reads our own table of a family as if it were somebody else's. Of a large cluster that takes seconds.
///
/// # Errors
/// Those of nft, in words.
pub fn own_table(family: Family, own_addresses: BTreeSet<IpAddr>) -> Seen<Ruleset> {
    let until = Instant::now() + PATIENCE;
    let family = family.nft();
    let attempt = format!("reading table {family} {TABLE}");
    let list = |form| nft::list(&[form], &["list", "table", family, TABLE], until, &attempt);
    let list = |form| list(form).map_err(|error| error.to_string());
    let mut ruleset = Ruleset::new(own_addresses);
    ruleset.add(&list("-j")?, &list("-a")?)?;
    Ok(ruleset)
}

/// Family and name of each table that concerns us and is not ours. From the kernel itself: nft cannot list any if one has a
/// name that is not UTF-8.
fn names() -> Result<Vec<(&'static str, String)>, KernelError> {
    let mut socket = NetfilterSocket::open()?;
    let all = Reader { socket: &mut socket, table: TABLE }.every_table()?;
    let all = all.into_iter().map(|(family, name)| (family_name(family), String::from_utf8_lossy(&name).into_owned()));
    Ok(all.filter(|(family, name)| ["ip", "ip6", "inet", "netdev"].contains(family) && !is_ours(name)).collect())
}
