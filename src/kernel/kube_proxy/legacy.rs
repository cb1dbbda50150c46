//! The same for the iptables that is no front end of nftables: its tables can only be read and written by its own
//! programs, `iptables-legacy-save` and `iptables-legacy-restore`.
//!
//! Texts go in and out by pipes; no shell is involved. Names of chains are only written after they were compared with
//! what kube-proxy calls its chains; rules are given back as they were printed.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    process::{Command, Stdio},
    thread,
};

use super::{
    leftovers::{Leftovers, Plan, Reference, plan},
    names::SHARED_TABLES,
};
use crate::{kernel::KernelError, model::Family};

/// Seconds to wait for another iptables that holds the lock.
const WAIT: &str = "10";

/// Adds to `found` what there is, and removes it on demand.
pub(super) fn visit(found: &mut Leftovers, remove: bool) -> Result<(), KernelError> {
    for family in Family::ALL {
        let (list, program) = match family {
            Family::V4 => ("ip_tables_names", "iptables-legacy"),
            Family::V6 => ("ip6_tables_names", "ip6tables-legacy"),
        };
        // The kernel lists the tables that are in use; none, where the old iptables is not even loaded.
        let in_use = fs::read_to_string(format!("/proc/thread-self/net/{list}")).unwrap_or_default();
        for table in SHARED_TABLES.into_iter().filter(|table| in_use.lines().any(|line| line == *table)) {
            let attempt = format!("reading the old iptables' table {} {table}", family.nft());
            let Some(text) = output(&format!("{program}-save"), &["-t", table], "", &attempt)? else {
                found.remarks.push(format!(
                    "the old iptables' table {} {table} is in use, and `{program}-save`, which could read it, is not in \
                     PATH: if `{program} -t {table} -S` on the node shows chains that begin with KUBE-, run `kube-proxy \
                     --cleanup` there",
                    family.nft()
                ));
                continue;
            };
            let (chains, rules) = parse(&text);
            let references: Vec<Reference<'_>> = rules.iter().map(Rule::reference).collect();
            let plan = plan(chains.iter().copied(), &references);
            if remove && !plan.chains.is_empty() {
                let attempt = format!("removing kube-proxy's chains from the old iptables' {} {table}", family.nft());
                let restore = ["--noflush", "--wait", WAIT];
                output(&format!("{program}-restore"), &restore, &removal(table, &plan, &rules), &attempt)?;
            }
            found.remarks.extend(plan.remarks(family, table));
            found.add_chains(family, table, plan.chains.iter().map(|chain| (*chain).to_owned()).collect());
        }
    }
    Ok(())
}

/// A rule as `iptables-save` prints it: `-A CHAIN SPECIFICATION`.
struct Rule<'a> {
    chain: &'a str,
    specification: &'a str,
}

impl<'a> Rule<'a> {
    fn reference(&self) -> Reference<'a> {
        // A chain of one's own takes no options, so it stands last.
        let mut words = self.specification.rsplit(' ');
        let (last, before) = (words.next(), words.next());
        let to = last.filter(|_| matches!(before, Some("-j" | "-g")));
        Reference { from: self.chain, to }
    }
}

/// The chains and the rules in a listing of one table.
fn parse(text: &str) -> (BTreeSet<&str>, Vec<Rule<'_>>) {
    let chains = text.lines().filter_map(|line| line.strip_prefix(':')?.split(' ').next()).collect();
    let rule = |line| {
        let (chain, specification) = str::strip_prefix(line, "-A ")?.split_once(' ')?;
        Some(Rule { chain, specification })
    };
    (chains, text.lines().filter_map(rule).collect())
}

/// What `iptables-restore --noflush` has to read: one transaction. A chain that is declared is emptied.
fn removal(table: &str, plan: &Plan<'_>, rules: &[Rule<'_>]) -> String {
    let mut text = format!("*{table}\n");
    for chain in &plan.chains {
        text += &format!(":{chain} - [0:0]\n");
    }
    for rule in plan.jumps.iter().filter_map(|index| rules.get(*index)) {
        text += &format!("-D {} {}\n", rule.chain, rule.specification);
    }
    for chain in &plan.chains {
        text += &format!("-X {chain}\n");
    }
    text + "COMMIT\n"
}

/// Runs a program with a text on its standard input; what it printed, or nothing if there is no such program.
fn output(program: &str, arguments: &[&str], input: &str, attempt: &str) -> Result<Option<String>, KernelError> {
    let failed = |reason: String| KernelError::Failed { attempt: attempt.to_owned(), reason };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| failed(format!("running `{program}`: {error}")))?,
    };
    let pipe = child.stdin.take();
    let output = thread::scope(|scope| {
        // In a thread of its own: the program may print more than a pipe holds before it has read everything. One that
        // gives up early closes the pipe; its own words say why.
        scope.spawn(move || pipe.map(|mut pipe| pipe.write_all(input.as_bytes())));
        child.wait_with_output()
    });
    let output = output.map_err(|error| failed(format!("running `{program}`: {error}")))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(failed(format!("`{program}` ended with {}: {words}", output.status)));
    }
    Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_becomes_a_removal() {
        let text = "\
# Generated by iptables-save
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-ERIFXISQEP7F7OF4 - [0:0]
:THEIRS - [0:0]
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A PREROUTING -m comment --comment \"no -j KUBE-SERVICES\" -j THEIRS
-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-ERIFXISQEP7F7OF4
-A THEIRS -p tcp -j DNAT --to-destination 10.0.0.1
COMMIT
";
        let (chains, rules) = parse(text);
        assert_eq!(chains.len(), 4);
        let references: Vec<Reference<'_>> = rules.iter().map(Rule::reference).collect();
        let plan = plan(chains, &references);
        let expected = "\
*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-ERIFXISQEP7F7OF4 - [0:0]
-D PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-X KUBE-SERVICES
-X KUBE-SVC-ERIFXISQEP7F7OF4
COMMIT
";
        assert_eq!(removal("nat", &plan, &rules), expected);
    }
}
