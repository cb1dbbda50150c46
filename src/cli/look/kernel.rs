//! Reading this node's kernel, again and again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::Side;
use crate::{
    kernel::{DataPlane, KernelError, NetlinkDataPlane, observe},
    model::{Family, Frontend, PortId},
    observed::{Connections, Counters, RememberedClient, Seen},
    tables::{AffinityGroup, Element, Policy},
};

/// What to read, besides tables and counters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs {
    /// Connection tracking
    pub connections: bool,
    /// The clients that session affinity remembers
    pub remembered: bool,
}

/// The kernel of the thread's network namespace.
pub struct Kernel {
    plane: NetlinkDataPlane,
    /// The tables as they were at this generation of the ruleset
    tables: Option<(u32, Tables)>,
}

/// What the tables hold, without what moves by itself.
#[derive(Default)]
struct Tables {
    exist: bool,
    frontends: BTreeMap<Frontend, Side>,
    cluster_ips: BTreeSet<IpAddr>,
    groups: Vec<AffinityGroup>,
}

/// What was seen of it at one moment.
pub struct KernelSight {
    /// Our tables exist
    pub exist: bool,
    /// The frontends
    pub frontends: BTreeMap<Frontend, Side>,
    /// Every cluster IP
    pub cluster_ips: BTreeSet<IpAddr>,
    /// New connections counted
    pub counters: BTreeMap<Frontend, Counters>,
    /// Packets that source ranges turned away, by what frontends with source ranges share
    pub turned_away: BTreeMap<(Family, Policy), u64>,
    /// Tracked connections to the frontends; `None` if they were not asked for
    pub connections: Option<Seen<Connections>>,
    /// Clients that session affinity remembers
    pub remembered: Vec<(PortId, RememberedClient)>,
}

impl Kernel {
    /// Opens a socket.
    ///
    /// # Errors
    /// [`KernelError::Failed`] if the kernel has no netfilter netlink.
    pub fn open() -> Result<Self, KernelError> {
        Ok(Self { plane: NetlinkDataPlane::open()?, tables: None })
    }

    /// Reads. The tables are only read again if somebody changed the ruleset. `wanted` are frontends that may not be in
    /// the tables, whose connections are of interest all the same.
    ///
    /// # Errors
    /// The tables cannot be read: that takes CAP_NET_ADMIN.
    pub fn look(&mut self, needs: Needs, wanted: &BTreeSet<Frontend>) -> Result<KernelSight, KernelError> {
        let generation = self.plane.generation()?;
        let tables = match self.tables.take() {
            Some((then, tables)) if then == generation => tables,
            _ => Tables::read(&mut self.plane)?,
        };
        let all: BTreeSet<Frontend> = tables.frontends.keys().chain(wanted).copied().collect();
        let remembered = match needs.remembered {
            true => observe::remembered(&mut self.plane, &tables.groups)?,
            false => Vec::new(),
        };
        let sight = KernelSight {
            exist: tables.exist,
            frontends: tables.frontends.clone(),
            cluster_ips: tables.cluster_ips.clone(),
            counters: observe::counters(&mut self.plane)?,
            turned_away: observe::turned_away(&mut self.plane)?,
            connections: needs.connections.then(|| observe::connections(&all)),
            remembered,
        };
        self.tables = Some((generation, tables));
        Ok(sight)
    }
}

impl Tables {
    fn read(plane: &mut NetlinkDataPlane) -> Result<Self, KernelError> {
        let state = plane.dump()?;
        let cluster_ip = |element: &Element| match element {
            Element::ClusterIp(address) => Some(*address),
            _ => None,
        };
        Ok(Self {
            exist: !state.programs.is_empty(),
            frontends: Side::of(&state.elements),
            cluster_ips: state.elements.iter().filter_map(cluster_ip).collect(),
            groups: state.groups.into_iter().collect(),
        })
    }
}
