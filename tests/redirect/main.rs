//! The redirect of cluster DNS to the node, with real packets: a pod, its node with the whole data plane, and a central
//! DNS on another machine, each a network namespace; and processes on the node that answer, die, hang and are replaced.
//!
//! Needs root. Without it the tests print SKIPPED; with PORTOLAN_REQUIRE_KERNEL=1 they fail instead.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic: that is how they fail")]

mod agent;
mod client;
mod damage;
mod death;
mod net;
mod restart;
mod switching;
