//! `portolan trace` on a node of a lab: real packets, traced by the kernel, and what is said of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic: that is how they fail")]

#[allow(dead_code, reason = "the packet tests need more of it")]
#[path = "../packets/asking.rs"]
mod asking;
mod endings;
mod packets;
#[allow(dead_code, reason = "the packet tests need more of it")]
#[path = "../packets/services.rs"]
mod services;
#[allow(dead_code, reason = "the packet tests need more of it")]
#[path = "../packets/support.rs"]
mod support;
mod tracing;
