//! From Kubernetes objects to names: what exists, with which data, and that a history leaves no traces.

mod endpoints;
mod exposure;
mod file;
mod history;
mod make;
mod reverse;
mod services;
