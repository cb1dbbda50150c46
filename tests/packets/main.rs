//! Packets through the real data plane: who answers, whom the pod sees, who is refused and who is dropped.
//!
//! Each file has a lab of network namespaces of its own, programmed by agents as on real nodes. What is expected is
//! written down in [`oracle`] and in the tests, from the description of Service behaviour and not from the program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic: that is how they fail")]

mod affinity;
mod asking;
mod connections;
mod contested;
mod damage;
mod detectors;
mod hairpin;
mod node_ports;
mod oracle;
mod planning;
mod restart;
mod services;
mod source_ranges;
mod strays;
mod support;
mod topology;
mod traffic;
mod truth;
mod udp_flows;
mod updates;
