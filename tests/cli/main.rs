//! The built program as its users meet it, in network namespaces: commands, exit codes, what is printed, what the kernel
//! holds afterwards.

#[path = "../common/sandbox.rs"]
mod sandbox;

mod allocations;
mod applying;
mod arguments;
mod comparing;
mod configuring;
mod explaining;
mod following;
mod looking;
mod manifests;
mod planning;
mod resolving;
mod showing;
mod takeover;
