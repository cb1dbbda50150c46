//! What is said of the rules of others, against what the kernel does with packets that meet them.
//!
//! Each test has a node with a Service on it, programmed as on real nodes, and loads rules as others have them. Packets
//! decide: what `Ruleset::pass` calls certain must have happened.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic: that is how they fail")]

mod random;
#[allow(dead_code, reason = "a part of it is used here")]
#[path = "../packets/services.rs"]
mod services;
#[allow(dead_code, reason = "a part of it is used here")]
#[path = "../packets/support.rs"]
mod support;
mod town;
mod written;
