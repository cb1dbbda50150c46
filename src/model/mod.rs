//! The cluster as the data plane needs it: own small types, made once from [`crate::objects`], always valid.
//!
//! [`ingest`] is the only door in. What it cannot use becomes a [`Notice`]; it never fails as a whole and never panics.

mod address;
pub mod ingest;
mod located;
mod notice;
mod ranges;
mod similar;
mod types;
mod world;

pub use address::{is_loopback, parse_address, parse_range};
pub use located::Located;
pub use notice::{Notice, Origin, Severity};
pub use ranges::{IpRange, merge_ranges};
pub use similar::{nearest, resembles};
pub use types::{
    EndpointFacts, Family, Frontend, Node, NodePortAddresses, PodDetector, PortId, Protocol, Service, ServiceId,
    ServicePort, ServiceType, Settings, Slice, SliceId, SlicePort, Target, TrafficPolicy,
};
pub use world::World;

pub use crate::objects::ObjectRef;
