//! The clients that affinity groups remember, in two maps for each list: client -> address, client -> port.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use nix::errno::Errno;

use super::{
    batch::Batch,
    decode::Parts,
    dump::Reader,
    uapi::{NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_EXPIRATION, NFTA_SET_ELEM_KEY},
};
use crate::{
    kernel::{KernelError, Remembered},
    model::Target,
    tables::{AffinityGroup, List},
};

/// Reads the clients that a group remembers for a list; none if the group does not exist. A client of whom only the
/// address or only the port is remembered is left out: a packet of it would find nothing either.
pub(crate) fn read(reader: &mut Reader<'_>, group: &AffinityGroup, list: List) -> Result<Vec<Remembered>, KernelError> {
    let mut ports = Vec::new();
    let mut remembered = Vec::new();
    if !exist(reader, group, list)? {
        return Ok(remembered);
    }
    reader.elements(group.family, &group.ports(list), &mut ports, |element| {
        let client = Parts::of(element.nested(NFTA_SET_ELEM_KEY), group.family)?.address()?;
        Some((client, Parts::of(element.nested(NFTA_SET_ELEM_DATA), group.family)?.port()?))
    })?;
    let ports: BTreeMap<IpAddr, u16> = ports.into_iter().collect();
    reader.elements(group.family, &group.addresses(list), &mut remembered, |element| {
        let client = Parts::of(element.nested(NFTA_SET_ELEM_KEY), group.family)?.address()?;
        let address = Parts::of(element.nested(NFTA_SET_ELEM_DATA), group.family)?.address()?;
        let milliseconds = element.long(NFTA_SET_ELEM_EXPIRATION).unwrap_or_default();
        let target = Target { address, port: *ports.get(&client)? };
        Some(Remembered { client, target, expires: milliseconds / 1000 })
    })?;
    Ok(remembered)
}

/// Deletes the clients from both of a list's maps. Deleting what is not there fails the whole batch, and a kernel
/// before 6.3 knows no other way; so it is read first what is there.
pub(crate) fn forget(
    reader: &mut Reader<'_>,
    group: &AffinityGroup,
    list: List,
    clients: &[IpAddr],
) -> Result<(), KernelError> {
    let clients: BTreeSet<IpAddr> = clients.iter().copied().collect();
    if clients.is_empty() || !exist(reader, group, list)? {
        return Ok(());
    }
    let attempt = "forgetting affinity clients";
    for last_attempt in [false, false, true] {
        let mut batch = Batch::new(reader.socket, reader.table);
        for map in [group.addresses(list), group.ports(list)] {
            let mut known = Vec::new();
            reader.elements(group.family, &map, &mut known, |element| {
                let client = Parts::of(element.nested(NFTA_SET_ELEM_KEY), group.family)?.address()?;
                clients.contains(&client).then_some(client)
            })?;
            batch.delete_clients(group.family, &map, &known);
        }
        match batch.try_send(reader.socket) {
            // One of them was forgotten by itself just now.
            Err(failed) if failed.is(Errno::ENOENT) && !last_attempt => {}
            outcome => return outcome.map_err(|failed| failed.during(attempt)),
        }
    }
    Ok(())
}

/// Whether the maps of a group's list are there.
fn exist(reader: &mut Reader<'_>, group: &AffinityGroup, list: List) -> Result<bool, KernelError> {
    if !reader.tables()?.contains_key(&group.family) {
        return Ok(false);
    }
    let sets = reader.sets(group.family)?;
    Ok([group.addresses(list), group.ports(list)].iter().all(|map| sets.contains(map)))
}
