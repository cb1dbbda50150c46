//! What the API server and its controllers would do, for manifests that have neither: check objects, fill in what they
//! leave open, make Pods from workloads and EndpointSlices from Pods and Endpoints.
//!
//! Pure: no input or output, no clock, no hash order. Nodes that are given the same objects come to the same result
//! without talking to each other; what must not change while a Service exists is kept in [`Allocations`], which the
//! caller stores.

mod allocate;
mod hash;
mod slices;
#[cfg(test)]
pub(crate) mod testing;
mod validate;
mod workloads;

use std::ops::RangeInclusive;

use ipnet::IpNet;

pub use allocate::{Allocations, Held, default_service_cidr, pending_reason};
pub use slices::{PodVerdict, declared, has_ended, is_ready, is_selected, verdict};
pub use workloads::expand_workloads;

use crate::{
    model::{IpRange, Located, Notice},
    objects::Object,
};

/// What the operator of a cluster decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Where cluster IPs come from; the family of the first is that of a Service that does not choose. With none here
    /// and no ServiceCIDR among the objects, IPv4 cluster IPs come from 10.96.0.0/12, kubeadm's choice, and cluster
    /// IPs that manifests give are not checked.
    pub service_cidrs: Vec<IpNet>,
    /// Where node ports come from
    pub node_port_range: RangeInclusive<u16>,
    /// Where load-balancer addresses come from; empty means that there is no provider of them
    pub load_balancer_pool: Vec<IpRange>,
    /// Names of the nodes, for DaemonSets; used only if there are no Node objects
    pub nodes: Vec<String>,
    /// Something could not be read, so that a Service that is missing may still exist: its allocations are kept
    pub incomplete: bool,
}

impl Default for Options {
    /// The API server's defaults: node ports 30000-32767, and nothing else.
    fn default() -> Self {
        Self {
            service_cidrs: Vec::new(),
            node_port_range: 30000..=32767,
            load_balancer_pool: Vec::new(),
            nodes: Vec::new(),
            incomplete: false,
        }
    }
}

/// What came of the objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completed {
    /// The objects that are valid, completed, and those that were made from them
    pub objects: Vec<Located>,
    /// Objects that are left out because something is wrong with them
    pub refused: Vec<Located>,
    /// What was refused, and what a user should know
    pub notices: Vec<Notice>,
}

/// Does the control plane's work on all objects of a cluster.
///
/// An object that the API server would refuse is left out, with a notice for each thing that is wrong with it.
/// `allocations` is what the call before this one left there; it is brought up to date.
pub fn complete(input: Vec<Located>, options: &Options, allocations: &mut Allocations) -> Completed {
    let mut notices = Vec::new();
    let given = input.iter().filter(|located| matches!(located.object, Object::Service(_)));
    let existing = given.map(|located| allocate::key(&located.object)).collect();
    let mut objects = expand_workloads(input, &options.nodes);
    objects.iter_mut().for_each(|located| validate::normalise(&mut located.object));
    let (mut objects, mut refused): (Vec<_>, Vec<_>) =
        objects.into_iter().partition(|located| validate::accept(located, &mut notices));
    refused.extend(allocate::allocate(&mut objects, &existing, options, allocations, &mut notices));
    let made = slices::make(&objects, &mut notices);
    objects.extend(made);
    Completed { objects, refused, notices }
}
