//! The data plane over netlink: elements and pick chains, both families in one batch.

pub(super) mod batch;
mod counters;
pub(super) mod decode;
pub(super) mod dump;
mod encode;
pub(super) mod expression;
mod groups;
mod intact;
mod own;
mod ownership;
mod pick;
mod plane;
mod remembered;
pub(super) mod socket;
mod state;
mod strangers;
pub(super) mod uapi;
pub(super) mod wire;

pub use own::OwnCommits;
pub(super) use own::reaches;
pub use plane::NetlinkDataPlane;
