use std::{
    collections::BTreeSet,
    io::{self, Read},
    net::IpAddr,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    foreign::Ruleset,
    model::Family,
    observed::Seen,
    tables::{DNS_TABLE, TABLE, standby},
};

/// How long nft may take for everything. It takes milliseconds, but for sets of very many elements.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait between two looks at whether nft has ended.
const PAUSE: Duration = Duration::from_millis(2);
/// What the names of the tables begin with that `portolan trace` makes.
const TRACE: &str = "portolan-trace";

/// Whether a table is one of Portolan's, by its name.
fn is_ours(table: &str) -> bool {
    [TABLE, DNS_TABLE].iter().any(|ours| table == *ours || table == standby(ours)) || table.starts_with(TRACE)
}

/// Reads the tables of others, each by itself: our own may be large, and one that cannot be read costs only itself.
pub(super) fn read(own_addresses: BTreeSet<IpAddr>, unread: &mut Vec<String>) -> Ruleset {
    let until = Instant::now() + PATIENCE;
    let mut ruleset = Ruleset::new(own_addresses);
    let listed = nft(&["-j", "list", "tables"], until);
    if let Ok(json) = &listed {
        unread.extend(at_interfaces(json));
    }
    let names = match listed.and_then(|json| names(&json)) {
        Ok(names) => names,
        Err(reason) => {
            unread.push(format!("listing the tables of others: {reason}"));
            return ruleset;
        }
    };
    for (family, name) in names {
        // The names come from the kernel; each is a word of its own, and no shell is involved.
        let list = |form| nft(&[form, "list", "table", &family, &name], until);
        let json = list("-j");
        // The words of rules; without them they are known by their handles.
        let text = list("-a").unwrap_or_default();
        if let Err(reason) = json.and_then(|json| ruleset.add(&json, &text)) {
            unread.push(format!("reading table {family} {name}: {reason}"));
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
    let list = |form| nft(&[form, "list", "table", family.nft(), TABLE], until);
    let mut ruleset = Ruleset::new(own_addresses);
    ruleset.add(&list("-j")?, &list("-a")?)?;
    Ok(ruleset)
}

/// Tables whose chains are asked at an interface, before everything that is looked at here.
fn at_interfaces(json: &str) -> Vec<String> {
    let json: Value = serde_json::from_str(json).unwrap_or_default();
    let objects = json.get("nftables").and_then(Value::as_array).into_iter().flatten();
    let tables = objects.filter_map(|object| object.get("table"));
    let tables = tables.filter(|table| table.get("family").and_then(Value::as_str) == Some("netdev"));
    let name = |table: &Value| table.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    tables
        .map(|table| format!("table netdev {} was not looked at: it sees packets at an interface", name(table)))
        .collect()
}

/// Family and name of each table that concerns us and is not ours.
fn names(json: &str) -> Result<Vec<(String, String)>, String> {
    let json: Value = serde_json::from_str(json).map_err(|error| format!("reading nft's JSON: {error}"))?;
    let objects = json.get("nftables").and_then(Value::as_array).ok_or("reading nft's JSON: it has no `nftables`")?;
    let tables = objects.iter().filter_map(|object| object.get("table"));
    let word = |table: &Value, key: &str| Some(table.get(key)?.as_str()?.to_owned());
    let all = tables.filter_map(|table| Some((word(table, "family")?, word(table, "name")?)));
    Ok(all.filter(|(family, name)| ["ip", "ip6", "inet"].contains(&family.as_str()) && !is_ours(name)).collect())
}

/// What nft prints. It is ended when its time is up.
fn nft(arguments: &[&str], until: Instant) -> Result<String, String> {
    let mut command = Command::new("nft");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            "the program `nft` is not in PATH; install it (package `nftables` on Debian, Fedora and Alpine)".to_owned()
        }
        _ => format!("running `nft`: {error}"),
    })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        // Each in a thread of its own: nft may write more than a pipe holds.
        let output = scope.spawn(move || text(stdout));
        let errors = scope.spawn(move || text(stderr));
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break Ok(status),
                Ok(None) if Instant::now() < until => thread::sleep(PAUSE),
                other => {
                    // Both may fail only because it has ended.
                    let _ = child.kill();
                    let _ = child.wait();
                    let too_long = || format!("`nft` took longer than {} seconds and was ended", PATIENCE.as_secs());
                    break Err(other.err().map_or_else(too_long, |error| format!("running `nft`: {error}")));
                }
            }
        }?;
        let output = output.join().unwrap_or_default();
        let errors = errors.join().unwrap_or_default();
        if status.success() {
            return Ok(output);
        }
        match errors.trim() {
            words if words.contains("Operation not permitted") => {
                Err("not permitted; Portolan needs CAP_NET_ADMIN in this network namespace (run it as root)".to_owned())
            }
            "" => Err(format!("`nft` ended with {status}")),
            words => Err(format!("nft says: {}", words.lines().next().unwrap_or_default())),
        }
    })
}

fn text(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    // What was read before an error is kept; nft's status says whether it is all.
    if let Some(mut pipe) = pipe {
        let _ = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
