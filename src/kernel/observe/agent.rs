use std::net::SocketAddr;

use crate::{
    model::ServiceId,
    observed::{AgentReport, Seen},
};

/// Asks the agent that listens on this address, its metrics address, about a Service. Waits for a second at most.
pub fn agent(_address: SocketAddr, _service: Option<&ServiceId>) -> Seen<AgentReport> {
    Err("nobody was asked".to_owned())
}
