//! Portolan in a cluster with a real API server: what is written there is what packets meet on a node.
//!
//! These tests build etcd and kube-apiserver, each needs both for itself, and some take minutes: `make e2e` runs them, one
//! after another; `cargo test` alone passes them over.

mod api_away;
mod changes;
mod chart;
mod control_plane;
mod dns;
mod explained;
mod names;
mod names_away;
mod names_on_nodes;
mod nodes;
mod process;
mod refusals;
mod services;
mod support;
mod telling;

#[path = "../cluster/mod.rs"]
mod cluster;
#[path = "../names/upstream.rs"]
#[allow(dead_code, reason = "shared with tests/names, which uses more of it")]
mod upstream;
