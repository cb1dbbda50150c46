//! Portolan in a cluster with a real API server: what is written there is what packets meet on a node.
//!
//! These tests build etcd and kube-apiserver, each needs both for itself, and some take minutes: `make e2e` runs them, one
//! after another; `cargo test` alone passes them over.

mod api_away;
mod changes;
mod chart;
mod control_plane;
mod nodes;
mod process;
mod refusals;
mod services;
mod support;
mod telling;

#[path = "../cluster/mod.rs"]
mod cluster;
