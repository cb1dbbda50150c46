//! Looks at a node, for those who want to know why a Service works or does not. Changes nothing.

mod agent;
mod connections;
mod programmed;
mod surroundings;

pub use agent::{agent, nobody_follows_changes};
pub use connections::{connections, tracked};
pub use programmed::{counters, programmed, programs, remembered, turned_away};
pub use surroundings::{own_table, surroundings};
