//! What probes, load balancers and Prometheus are told, by real servers on real sockets, each test in a network namespace
//! of its own; what a Service's owner is told, by a stand-in for the API server.
//!
//! The namespaces need root. Without it the tests print SKIPPED; with PORTOLAN_REQUIRE_KERNEL=1 they fail instead.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/metrics_page.rs"]
mod page;

mod events;
mod metrics_page;
mod node_ports;
mod probes;
mod reports;
mod servers;
mod support;
