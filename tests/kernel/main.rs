//! The data plane against the real kernel, each test in a network namespace of its own.
//!
//! Needs root. Without it the tests print SKIPPED; with PORTOLAN_REQUIRE_KERNEL=1 they fail instead.

mod addresses;
mod conntrack;
mod double;
mod elements;
mod errors;
mod groups;
mod intact;
mod json;
mod kube_proxy;
mod monitor;
mod namespace;
mod observe;
mod owned;
mod redirect;
mod strange_names;
mod tables;
