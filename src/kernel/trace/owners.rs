use std::collections::BTreeMap;

use crate::{
    kernel::{
        KernelError,
        netlink::{
            decode::{Names, element},
            dump::Reader,
            socket::NetfilterSocket,
        },
    },
    model::{Family, Frontend},
    tables::{Container, Element, TABLE},
    traced::Owner,
};

/// Whose frontends our tables hold, those that `wanted` names: served ones and dead ends. No table, no frontends.
///
/// # Errors
/// [`KernelError::NotPermitted`] without CAP_NET_ADMIN; [`KernelError::Failed`] if the tables cannot be read.
pub fn frontends(mut wanted: impl FnMut(&Frontend, &str) -> bool) -> Result<BTreeMap<Frontend, Owner>, KernelError> {
    let mut socket = NetfilterSocket::open()?;
    let mut reader = Reader { socket: &mut socket, table: TABLE };
    let (mut found, mut names) = (BTreeMap::new(), Names::default());
    let mut elements = Vec::new();
    let tables: Vec<Family> = reader.tables()?.into_keys().collect();
    for family in tables {
        for container in [Container::Frontends, Container::DeadEnds] {
            reader.elements(family, &container.name(), &mut elements, |attributes| {
                element(container, family, attributes, &mut names).filter(|element| match element {
                    Element::Frontend { frontend, owner, .. } | Element::DeadEnd { frontend, owner, .. } => {
                        wanted(frontend, owner)
                    }
                    _ => false,
                })
            })?;
        }
    }
    for element in elements {
        match element {
            Element::Frontend { frontend, owner, .. } => {
                found.entry(frontend).or_insert(Owner { name: owner.to_string(), dead_end: None });
            }
            // One of policy Local is both: served for some clients.
            Element::DeadEnd { frontend, owner, verdict } => {
                found.insert(frontend, Owner { name: owner.to_string(), dead_end: Some(verdict) });
            }
            _ => {}
        }
    }
    Ok(found)
}
