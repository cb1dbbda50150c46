//! The cluster's names: what the zone holds, made from Kubernetes objects one change at a time.
//!
//! A [`Builder`] takes objects and gives out [`Snapshot`]s, which never change: an SRV record and its glue, a name and
//! its reverse are always of one moment. Snapshots share what did not change between them, so publishing costs what
//! changed.

mod builder;
mod records;
mod snapshot;

pub use builder::Builder;
pub use records::{EndpointId, Kind, Port, PortId, ServiceRecords, Srv, SrvOwner, SrvSet, Target};
pub use snapshot::{Found, FullName, Names, Snapshot};

/// How much a snapshot knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The first lists are not complete: nothing may be answered from it
    #[default]
    Unsynced,
    /// What an earlier process left on disk, while the lists are on their way
    Stale,
    /// Everything was read once
    Synced,
}
