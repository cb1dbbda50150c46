//! Where objects come from: manifests in files, and what the standalone control plane remembers between runs.
//!
//! This is an edge of the program: the modules here do input and output and hand plain values on.

pub mod allocations;
mod blame;
mod decode;
mod documents;
mod kinds;
pub mod kube;
pub mod manifests;
mod walk;
pub mod watch;
