//! Decides, one Service at a time, what a node does for it: model -> plan -> rows for the tables.
//!
//! Total and pure: every valid Service gives a plan, the same input gives the same output, and no Service's plan costs
//! another anything. The rules are those of kube-proxy's nftables mode; where a comment says "section", it is a
//! section of the project's description of Service behaviour, docs/service-behaviour.md.

mod claims;
mod frontends;
mod path;
mod plan;
mod report;
mod rows;
mod select;
mod udp;

pub use claims::{Claims, FrontendKind};
pub use frontends::{OwnFrontend, frontends};
pub use path::{Hidden, Path, Sender, is_hidden, path};
pub use plan::{FrontendPlan, LostFrontend, PortPlan, ServicePlan, plan};
pub use report::{HealthCheck, ServiceReport, WithoutLocal, health_check_addresses, port_of, report};
pub use rows::{affinity_group, node_rows, rows};
pub use select::{Judged, Selection, Use, Wanted, select};
pub use udp::{ServingTargets, udp_frontends};
