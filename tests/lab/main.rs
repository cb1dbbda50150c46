//! The lab itself: what it builds, what its probes can tell apart, how it changes, what it leaves behind.

mod building;
mod changing;
mod probing;
mod support;
