//! The lab itself: what it builds, what its probes can tell apart, how it changes, what it leaves behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic: that is how they fail")]

mod building;
mod changing;
mod probing;
mod support;
