use std::collections::BTreeMap;

use ipnet::IpNet;

use super::{Node, Service, ServiceId, Slice, SliceId};

/// All inputs of the data plane at one moment. Ordered, so that the same input always gives the same output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// This node
    pub node: Node,
    /// Services, headless and ExternalName ones included
    pub services: BTreeMap<ServiceId, Service>,
    /// EndpointSlices
    slices: BTreeMap<SliceId, Slice>,
    /// The slices of each Service
    slices_of: BTreeMap<ServiceId, Vec<SliceId>>,
    /// The ranges that cluster IPs are taken from, where known
    pub service_networks: Vec<IpNet>,
}
