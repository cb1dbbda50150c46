//! What a kube-proxy that has ended left in the kernel, and its removal.
//!
//! kube-proxy's own nftables tables go as a whole. Of the tables of iptables, which others use as well, exactly its
//! chains go, and the rules of the built-in chains that jump to them. A chain of kube-proxy's that somebody else's rule
//! jumps to stays, because that rule is not ours to take.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
};

use nix::errno::Errno;

use super::{
    legacy,
    names::{BUILT_IN, SHARED_TABLES, TABLE, is_entry, is_kube_proxys},
};
use crate::{
    kernel::{
        KernelError,
        netlink::{
            batch::{Batch, FailedBatch},
            dump::{Reader, Rule},
            socket::NetfilterSocket,
            uapi::{NFTA_DATA_VERDICT, NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_IMMEDIATE_DATA, NFTA_VERDICT_CHAIN},
            wire::Attributes,
        },
    },
    model::Family,
};

/// How often a removal is tried when somebody changes the tables at the same time.
const ATTEMPTS: usize = 5;

/// What was found, or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Families that have an nftables table `kube-proxy`
    pub tables: Vec<Family>,
    /// Chains in the tables of iptables, by family and table; of iptables-nft and iptables-legacy
    pub chains: BTreeMap<(Family, String), BTreeSet<String>>,
    /// What has to stay, or may be there but cannot be seen, and what an operator can do about it
    pub remarks: Vec<String>,
}

impl Leftovers {
    /// Whether there is nothing that [`remove_leftovers`] could remove.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.chains.is_empty()
    }

    /// What of it is of one family.
    pub fn of(&self, family: Family) -> Leftovers {
        let tables = self.tables.iter().filter(|own| **own == family).copied().collect();
        let chains = self.chains.iter().filter(|((own, _), _)| *own == family);
        let chains = chains.map(|(key, chains)| (key.clone(), chains.clone())).collect();
        Leftovers { tables, chains, remarks: Vec::new() }
    }

    pub(super) fn add_chains(&mut self, family: Family, table: &str, chains: BTreeSet<String>) {
        if !chains.is_empty() {
            self.chains.entry((family, table.to_owned())).or_default().extend(chains);
        }
    }
}

impl fmt::Display for Leftovers {
    /// `table ip kube-proxy, 5 chains in ip nat (KUBE-SERVICES, ...)`, or `nothing`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables = self.tables.iter().map(|family| format!("table {} {TABLE}", family.nft()));
        let chains = self.chains.iter().map(|((family, table), chains)| {
            let plural = if chains.len() == 1 { "" } else { "s" };
            format!("{} chain{plural} of kube-proxy in {} {table}", chains.len(), family.nft())
        });
        let all: Vec<String> = tables.chain(chains).collect();
        f.write_str(&if all.is_empty() { "nothing".to_owned() } else { all.join(", ") })
    }
}

/// A rule, as far as it matters here.
pub(super) struct Reference<'a> {
    /// The chain that it stands in
    pub from: &'a str,
    /// The chain that it jumps or goes to
    pub to: Option<&'a str>,
}

/// What is to be done in one table.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan<'a> {
    /// Indexes of the rules that lead from built-in chains to kube-proxy's
    pub jumps: Vec<usize>,
    /// Chains to remove
    pub chains: BTreeSet<&'a str>,
    /// Chains that have to stay, and a chain of somebody else's that leads to each, directly or not
    pub kept: BTreeMap<&'a str, &'a str>,
}

/// Decides which chains and rules of a table go.
pub(super) fn plan<'a>(chains: impl IntoIterator<Item = &'a str>, rules: &[Reference<'a>]) -> Plan<'a> {
    let ours: BTreeSet<&str> = chains.into_iter().filter(|chain| is_kube_proxys(chain)).collect();
    let mut plan = Plan::default();
    let mut inner: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (index, rule) in rules.iter().enumerate() {
        let Some(to) = rule.to.filter(|to| ours.contains(to)) else { continue };
        if ours.contains(rule.from) {
            inner.entry(rule.from).or_default().push(to);
        } else if BUILT_IN.contains(&rule.from) && is_entry(to) {
            plan.jumps.push(index);
        } else {
            plan.kept.insert(to, rule.from);
        }
    }
    let mut open: Vec<(&str, &str)> = plan.kept.iter().map(|(chain, user)| (*chain, *user)).collect();
    while let Some((chain, user)) = open.pop() {
        for to in inner.remove(chain).into_iter().flatten() {
            plan.kept.entry(to).or_insert(user);
            open.push((to, user));
        }
    }
    plan.chains = ours.into_iter().filter(|chain| !plan.kept.contains_key(chain)).collect();
    plan
}

impl Plan<'_> {
    /// What is to be said of the chains that stay.
    pub fn remarks(&self, family: Family, table: &str) -> impl Iterator<Item = String> {
        self.kept.iter().map(move |(chain, user)| {
            let place = format!("{} {table}", family.nft());
            format!("chain {chain} in {place} stays: chain {user}, which is not kube-proxy's, leads to it")
        })
    }
}

/// Looks for what a kube-proxy left in the calling thread's network namespace. Changes nothing.
///
/// # Errors
/// The kernel's tables cannot be read.
pub fn find_leftovers() -> Result<Leftovers, KernelError> {
    let mut socket = NetfilterSocket::open()?;
    let mut found = Leftovers { tables: own_tables(&mut socket)?, ..Leftovers::default() };
    for table in SHARED_TABLES {
        for family in Family::ALL {
            let (chains, rules) = read(&mut socket, family, table)?;
            let plan = plan_of(&chains, &rules);
            found.remarks.extend(plan.remarks(family, table));
            found.add_chains(family, table, plan.chains.iter().map(|chain| (*chain).to_owned()).collect());
        }
    }
    legacy::visit(&mut found, false)?;
    found.remarks.extend(ipvs());
    Ok(found)
}

/// Removes what a kube-proxy left, each table name in both families as one step for packets, and returns what that was.
/// Everything else in these tables stays as it is.
///
/// # Errors
/// The kernel refuses, or tables are changed by others all the time. What was removed before stays removed.
pub fn remove_leftovers() -> Result<Leftovers, KernelError> {
    let mut socket = NetfilterSocket::open()?;
    let mut removed = Leftovers::default();
    // First the rules that translate: with them the packets are ours.
    for table in SHARED_TABLES {
        undisturbed(&format!("removing kube-proxy's chains from the tables {table}"), || {
            remove_chains(&mut socket, table, &mut removed)
        })?;
    }
    undisturbed(&format!("removing the tables {TABLE}"), || {
        removed.tables = own_tables(&mut socket).map_err(Trouble::Kernel)?;
        let mut batch = Batch::new(&socket, TABLE);
        removed.tables.iter().for_each(|family| batch.delete_table(*family));
        batch.try_send(&mut socket).map_err(Trouble::Batch)
    })?;
    legacy::visit(&mut removed, true)?;
    removed.remarks.extend(ipvs());
    Ok(removed)
}

/// Removes kube-proxy's chains from the tables of one name, in both families at once.
fn remove_chains(socket: &mut NetfilterSocket, table: &str, removed: &mut Leftovers) -> Result<(), Trouble> {
    let mut batch = Batch::new(socket, table);
    let (mut gone, mut remarks) = (Vec::new(), Vec::new());
    for family in Family::ALL {
        let (chains, rules) = read(socket, family, table).map_err(Trouble::Kernel)?;
        let plan = plan_of(&chains, &rules);
        for rule in plan.jumps.iter().filter_map(|index| rules.get(*index)) {
            batch.delete_rule(family, &rule.chain, rule.handle);
        }
        // All of them are emptied before any is deleted, as they lead to each other.
        plan.chains.iter().for_each(|chain| batch.empty_chain(family, chain));
        plan.chains.iter().for_each(|chain| batch.delete_chain(family, chain));
        remarks.extend(plan.remarks(family, table));
        gone.push((family, plan.chains.iter().map(|chain| (*chain).to_owned()).collect()));
    }
    batch.try_send(socket).map_err(Trouble::Batch)?;
    removed.remarks.extend(remarks);
    gone.into_iter().for_each(|(family, chains)| removed.add_chains(family, table, chains));
    Ok(())
}

/// Why a step failed.
enum Trouble {
    Kernel(KernelError),
    Batch(FailedBatch),
}

/// Runs a step anew as long as somebody removes or uses at the same time what it is about.
fn undisturbed(attempt: &str, mut step: impl FnMut() -> Result<(), Trouble>) -> Result<(), KernelError> {
    for _ in 1..ATTEMPTS {
        match step() {
            Err(Trouble::Batch(failed)) if failed.is(Errno::ENOENT) || failed.is(Errno::EBUSY) => {}
            other => return other.map_err(|trouble| trouble.during(attempt)),
        }
    }
    step().map_err(|trouble| trouble.during(attempt))
}

impl Trouble {
    fn during(self, attempt: &str) -> KernelError {
        match self {
            Trouble::Kernel(error) => error,
            Trouble::Batch(failed) => failed.during(attempt),
        }
    }
}

/// Families with a table `kube-proxy`.
fn own_tables(socket: &mut NetfilterSocket) -> Result<Vec<Family>, KernelError> {
    Ok(Reader { socket, table: TABLE }.tables()?.into_keys().collect())
}

/// The names of a table's chains, and its rules. Both empty if it does not exist.
fn read(socket: &mut NetfilterSocket, family: Family, table: &str) -> Result<(Vec<String>, Vec<Rule>), KernelError> {
    let mut reader = Reader { socket, table };
    let chains = reader.chains(family, |name, _| name.to_owned())?;
    let is_concerned = chains.iter().any(|chain| is_kube_proxys(chain));
    let rules = if is_concerned { reader.rules(family)? } else { Vec::new() };
    Ok((chains, rules))
}

fn plan_of<'a>(chains: &'a [String], rules: &'a [Rule]) -> Plan<'a> {
    let reference = |rule: &'a Rule| Reference { from: &rule.chain, to: target(rule) };
    plan(chains.iter().map(String::as_str), &rules.iter().map(reference).collect::<Vec<_>>())
}

/// The chain that a rule of iptables-nft leads to: the one in its verdict.
fn target(rule: &Rule) -> Option<&str> {
    let mut expressions = Attributes(&rule.expressions).iter().map(|(_, expression)| Attributes(expression));
    expressions.find_map(|expression| match expression.text(NFTA_EXPR_NAME) {
        Some("immediate") => {
            let verdict = expression.nested(NFTA_EXPR_DATA).nested(NFTA_IMMEDIATE_DATA).nested(NFTA_DATA_VERDICT);
            verdict.text(NFTA_VERDICT_CHAIN)
        }
        _ => None,
    })
}

/// What is to be said of kube-proxy's IPVS mode, whose translations nftables cannot see.
fn ipvs() -> Option<String> {
    let devices = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    devices.lines().any(|line| line.trim_start().starts_with("kube-ipvs0:")).then(|| {
        "the interface kube-ipvs0 of kube-proxy's mode ipvs is there, and with it virtual servers, which translate packets: \
         `ipvsadm --clear` and `ip link delete kube-ipvs0` on the node remove them, a restart of the node does, too"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_of_the_built_in_chains_go_and_rules_of_others_stay_with_what_they_need() {
        let chains = [
            "PREROUTING",
            "CNI",
            "KUBE-SERVICES",
            "KUBE-MARK-MASQ",
            "KUBE-SVC-ERIFXISQEP7F7OF4",
            "KUBE-SEP-ABCDEFGHIJKLMNOP",
            "KUBE-KUBELET-CANARY",
        ];
        let rules = [
            ("PREROUTING", Some("KUBE-SERVICES")),
            ("PREROUTING", Some("CNI")),
            ("PREROUTING", None),
            ("KUBE-SERVICES", Some("KUBE-SVC-ERIFXISQEP7F7OF4")),
            ("KUBE-SVC-ERIFXISQEP7F7OF4", Some("KUBE-SEP-ABCDEFGHIJKLMNOP")),
            ("KUBE-SEP-ABCDEFGHIJKLMNOP", Some("KUBE-MARK-MASQ")),
        ];
        let reference = |(from, to): &(&'static str, Option<&'static str>)| Reference { from, to: *to };
        let rules: Vec<Reference> = rules.iter().map(reference).collect();
        let all = plan(chains, &rules);
        assert_eq!(all.jumps, [0]);
        assert_eq!(Vec::from_iter(&all.chains).len(), 4);
        assert!(all.kept.is_empty());

        let mut rules = rules;
        rules.push(Reference { from: "CNI", to: Some("KUBE-SEP-ABCDEFGHIJKLMNOP") });
        let some = plan(chains, &rules);
        assert_eq!(some.jumps, [0]);
        assert_eq!(Vec::from_iter(some.chains.clone()), ["KUBE-SERVICES", "KUBE-SVC-ERIFXISQEP7F7OF4"]);
        assert_eq!(
            Vec::from_iter(some.kept.clone()),
            [("KUBE-MARK-MASQ", "CNI"), ("KUBE-SEP-ABCDEFGHIJKLMNOP", "CNI")]
        );
        assert_eq!(some.remarks(Family::V4, "nat").count(), 2);
    }
}
