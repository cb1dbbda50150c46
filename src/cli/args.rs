//! Flags that several commands share.

pub use crate::config::{InputOptions as InputArgs, NodeOptions as NodeArgs};

/// The node's name: as given, or the host name in lower case.
pub fn node_name(node: &NodeArgs) -> String {
    let host_name = || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    node.node.clone().or_else(host_name).unwrap_or_default().trim().to_lowercase()
}
