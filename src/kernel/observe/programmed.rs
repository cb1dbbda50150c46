use std::collections::BTreeMap;

use crate::{
    compile::{ServicePlan, rows},
    kernel::{DataPlane, KernelError, NetlinkDataPlane},
    model::{Family, Frontend, PortId, Settings},
    observed::{Counters, ListName, ProgramState, Programmed, RememberedClient, Seen},
    tables::{AffinityGroup, Contents, Owner, Policy, Program, Rows, TABLE, TableState, differences, guard_prefix},
};

/// Compares our tables with what this version would write: the program for these settings, the Service's rows for this
/// plan, and `node` for the rows that belong to the node. In the calling thread's network namespace, which must be the one
/// that `kernel` was opened in. Writes nothing.
///
/// # Errors
/// The tables cannot be read: that takes CAP_NET_ADMIN.
pub fn programmed(
    kernel: &mut NetlinkDataPlane,
    plan: Option<&ServicePlan<'_>>,
    node: &Rows,
    settings: &Settings,
) -> Seen<Programmed> {
    compare(kernel, plan, node, settings).map_err(|error| error.to_string())
}

fn compare(
    kernel: &mut NetlinkDataPlane,
    plan: Option<&ServicePlan<'_>>,
    node: &Rows,
    settings: &Settings,
) -> Result<Programmed, KernelError> {
    let state = kernel.dump()?;
    let programs = programs(kernel, &Family::ALL.map(|family| Program::new(family, settings)), &state)?;
    let contents = Contents::from_kernel(state);
    let mut differing = differences(&contents.held(&Owner::Node, node), node);
    let mut remembered = Vec::new();
    if let Some(plan) = plan {
        let owner = Owner::Service(plan.service.id.clone());
        let wanted = rows(plan, contents.rows(&owner));
        let held = contents.held(&owner, &wanted);
        differing.extend(differences(&held, &wanted));
        remembered = self::remembered(kernel, &held.groups)?.into_iter().map(|(_, client)| client).collect();
    }
    let counters = counters(kernel)?;
    Ok(Programmed { programs, differences: differing, counters, edited: BTreeMap::new(), remembered })
}

/// Compares the programs in our tables, as `state` was just read from them, with these. A family whose chains cannot be
/// compared without writing (that takes CAP_SYS_ADMIN) is absent, unless its table is missing, another, or has something in
/// it that is none of ours.
///
/// # Errors
/// Those of reading the tables, and of running `nft`.
pub fn programs(
    kernel: &mut NetlinkDataPlane,
    programs: &[Program],
    state: &TableState,
) -> Result<BTreeMap<Family, ProgramState>, KernelError> {
    let mut found = BTreeMap::new();
    let mut current = Vec::new();
    for program in programs {
        match state.programs.get(&program.family) {
            None => drop(found.insert(program.family, ProgramState::Missing)),
            // Somebody made it dormant, or wrote a table of this name himself.
            Some(fingerprint) if fingerprint.is_empty() => {
                let strange = || ProgramState::Damaged(vec![format!("{} table {TABLE}", program.family.nft())]);
                let dormant = kernel.dormant()?.contains(&program.family);
                found.insert(program.family, if dormant { ProgramState::Dormant } else { strange() });
            }
            Some(fingerprint) if *fingerprint != program.fingerprint => {
                found.insert(program.family, ProgramState::Other);
            }
            Some(_) => current.push(program.clone()),
        }
    }
    let damaged = if current.is_empty() { Some(Vec::new()) } else { kernel.damaged_chains_unseen(&current)? };
    for program in current {
        let prefix = format!("{} ", program.family.nft());
        let things = damaged.iter().flatten().chain(&state.strangers);
        let things: Vec<String> = things.filter(|thing| thing.starts_with(&prefix)).cloned().collect();
        match (things.is_empty(), &damaged) {
            (false, _) => drop(found.insert(program.family, ProgramState::Damaged(things))),
            (true, Some(_)) => drop(found.insert(program.family, ProgramState::Intact)),
            (true, None) => {}
        }
    }
    Ok(found)
}

/// What the counters of both families say, by frontend.
///
/// # Errors
/// Those of reading the tables.
pub fn counters(kernel: &mut NetlinkDataPlane) -> Result<BTreeMap<Frontend, Counters>, KernelError> {
    let mut counters: BTreeMap<Frontend, Counters> = BTreeMap::new();
    for family in Family::ALL {
        for count in kernel.counters(family)? {
            let of_frontend = counters.entry(count.frontend).or_default();
            let counter = if count.dead_end { &mut of_frontend.dead_end } else { &mut of_frontend.served };
            *counter = count.packets;
        }
    }
    Ok(counters)
}

/// Packets of clients that source ranges turned away, since the program was installed. All frontends of one family and
/// policy with source ranges share a counter.
///
/// # Errors
/// Those of reading the tables.
pub fn turned_away(kernel: &mut NetlinkDataPlane) -> Result<BTreeMap<(Family, Policy), u64>, KernelError> {
    let policies = [Policy::External, Policy::ExternalLocal];
    let chains = policies.map(|policy| format!("{}{}", guard_prefix(true), policy.chain()));
    let mut away = BTreeMap::new();
    for family in Family::ALL {
        let counted = kernel.counted_by_chains(family, &chains)?;
        let of_policy = policies.iter().zip(&chains);
        away.extend(of_policy.filter_map(|(policy, chain)| Some(((family, *policy), *counted.get(chain)?))));
    }
    Ok(away)
}

/// The clients that these groups remember, each with the service port that it used. Groups whose names are not of our
/// making are left out.
///
/// # Errors
/// Those of reading the tables.
pub fn remembered(
    kernel: &mut NetlinkDataPlane,
    groups: &[AffinityGroup],
) -> Result<Vec<(PortId, RememberedClient)>, KernelError> {
    let mut all = Vec::new();
    for group in groups {
        let Some(port) = group.port() else { continue };
        for list in group.lists() {
            let clients = kernel.remembered(group, list)?.into_iter().map(|known| RememberedClient {
                list: ListName::from(list),
                protocol: port.protocol,
                port_name: port.name.to_string(),
                client: known.client,
                target: known.target,
                expires: known.expires,
            });
            all.extend(clients.map(|client| (port.clone(), client)));
        }
    }
    all.sort_unstable();
    Ok(all)
}
