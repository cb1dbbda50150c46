//! The cluster's names: what the zone holds, made from Kubernetes objects one change at a time.
//!
//! A [`Builder`] takes objects and gives out [`Snapshot`]s, which never change: an SRV record and its glue, a name and
//! its reverse are always of one moment. Snapshots share what did not change between them, so publishing costs what
//! changed.
//!
//! `facts` takes from an object what names are made of, `assemble` makes a Service's [`ServiceRecords`] of that,
//! `tables` holds these and finds them, `reverse` by their addresses.

mod assemble;
mod builder;
mod facts;
pub mod file;
mod listing;
mod names;
mod records;
mod reverse;
mod select;
mod snapshot;
mod srv;
mod table;
mod tables;

pub use builder::Builder;
pub use records::{EndpointId, Kind, Port, PortId, ServiceRecords, Target};
pub use reverse::{Names, Several};
pub use snapshot::{Found, FullName, Snapshot};
pub use srv::{Srv, SrvOwner, SrvSet};

use names::{label, owner};

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
