//! The data plane over netlink: elements and pick chains, both families in one batch.

pub(super) mod batch;
mod counters;
mod decode;
pub(super) mod dump;
mod encode;
mod groups;
mod intact;
mod pick;
mod plane;
mod remembered;
pub(super) mod socket;
mod state;
pub(super) mod uapi;
pub(super) mod wire;

pub use plane::NetlinkDataPlane;
