//! Portolan turns Kubernetes Services into a fixed nftables program driven by maps, and keeps it true.
//!
//! The core is pure: [`objects`] are read into the [`model`], `compile` decides, [`tables`] hold what the kernel is
//! to hold. Effects stand at the edge: `source` brings objects, [`kernel`] writes maps, `agent` is the loop between
//! them, `cli` the commands. `controlplane` does the API server's work where there is none, and `lab` is a
//! cluster in network namespaces. ARCHITECTURE.md has the map and the invariants.

// A panic on input would end the data plane's keeper: every exception carries its reason. Tests panic to fail.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod agent;
pub mod answers;
pub mod cli;
pub mod compile;
pub mod config;
pub mod controlplane;
pub mod desired;
pub mod dns;
pub mod events;
pub mod explain;
pub mod foreign;
pub mod health;
pub mod http;
pub mod kernel;
pub mod lab;
pub mod listing;
pub mod metrics;
pub mod model;
pub mod objects;
pub mod observed;
pub mod plan;
pub mod reconcile;
pub mod source;
pub mod status;
pub mod tables;
pub mod traced;
pub mod zone;
