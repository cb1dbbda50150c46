//! A cluster on one machine, out of network namespaces: for learning (`portolan lab`) and for the packet tests.
//!
//! ```text
//!        client (two addresses)          outside (external hosts)
//!             \                             /
//!              +-----------  LAN  ---------+      a bridge, and a router that knows nobody else
//!             /                             \
//!         node-1                           node-2          forward packets; hold the rules under test
//!        /      \                         /      \
//!    pod web-1  pod web-2            pod web-3   ...       answer with their name and what they see
//! ```
//!
//! Everything here is plain values and namespaces. Programming a node is the caller's work, done by [`Lab::on_node`].

use std::{collections::BTreeMap, net::IpAddr};

mod client;
mod cluster;
mod error;
mod guard;
mod netns;
mod report;
pub mod responder;
pub mod sctp;
mod session;
mod spec;
mod state;
mod topology;
mod traffic;

pub use client::{Outcome, PATIENCE, Probe, Tally};
pub use cluster::{Cluster, Defaults};
pub use error::LabError;
pub use guard::Guard;
pub use netns::{Namespace, in_namespace, obstacle};
pub use report::{Row, table};
pub use session::Session;
pub use spec::{Attachment, CLIENTS, DEFAULT_PREFIX, LabHost, LabNode, LabPod, LabSpec, Ports, ROUTER, Responders};
pub use traffic::{Traffic, TrafficPlan, TrafficReport};

use responder::{Plan, Responder, Server};
use state::State;

/// A lab that is up. Dropping it ends the responders of this process and leaves the rest; [`Lab::down`] leaves nothing.
#[derive(Debug)]
pub struct Lab {
    spec: LabSpec,
    /// By the pod's `namespace/name`, or an external host's address
    responders: BTreeMap<String, Responder>,
}

impl Lab {
    /// Builds the lab and starts its responders; everything answers when it returns.
    ///
    /// Needs root and the command `ip`. If it fails, it takes down what it had built.
    pub fn up(spec: LabSpec) -> Result<Self, LabError> {
        spec.validate()?;
        let state = State::of(&spec.prefix);
        if state.exists() || !netns::belonging_to(&spec.prefix)?.is_empty() {
            return Err(LabError::Exists { prefix: spec.prefix });
        }
        let mut lab = Self { spec, responders: BTreeMap::new() };
        match lab.build(&state) {
            Ok(()) => Ok(lab),
            Err(error) => {
                let prefix = lab.spec.prefix.clone();
                drop(lab);
                if let Err(second) = down(&prefix) {
                    tracing::warn!(%prefix, error = %second, "what was built of the lab could not be taken down");
                }
                Err(error)
            }
        }
    }

    fn build(&mut self, state: &State) -> Result<(), LabError> {
        state.create()?;
        state.save(&self.spec)?;
        topology::build(&self.spec)?;
        self.start(Plan::of(&self.spec))
    }

    /// A lab that another process has built. Its responders, if they are processes, are still there.
    pub fn open(prefix: &str) -> Result<Self, LabError> {
        spec::check_prefix(prefix)?;
        let absent = || LabError::Absent { what: "state on disk".to_owned(), prefix: prefix.to_owned() };
        let spec = State::of(prefix).load()?.ok_or_else(absent)?;
        Ok(Self { spec, responders: BTreeMap::new() })
    }

    /// Ends the responders and removes everything.
    pub fn down(self) -> Result<(), LabError> {
        let prefix = self.spec.prefix.clone();
        // Open sockets would keep their namespaces alive without a name.
        drop(self.responders);
        down(&prefix)
    }

    /// Takes the lab down when the returned value is dropped.
    pub fn guarded(self) -> Guard {
        Guard::new(self)
    }

    /// What the lab consists of now.
    pub fn spec(&self) -> &LabSpec {
        &self.spec
    }

    /// The namespace of a node.
    pub fn node(&self, name: &str) -> Result<Namespace, LabError> {
        self.find_node(name).map(|node| self.spec.node_namespace(&node.name))
    }

    /// The namespace that a pod lives in; its node's, if it is on the host network.
    pub fn pod(&self, namespace: &str, name: &str) -> Result<Namespace, LabError> {
        let found = self.spec.pods.iter().find(|pod| pod.namespace == namespace && pod.name == name);
        let pod = found.ok_or_else(|| self.absent(format!("Pod {namespace}/{name}")))?;
        Ok(self.spec.pod_namespace(pod))
    }

    /// The namespace of the client outside the cluster.
    pub fn client(&self) -> Namespace {
        self.spec.client()
    }

    /// Runs code inside a node, such as the code that programs its rules.
    pub fn on_node<T: Send>(&self, name: &str, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        in_namespace(&self.node(name)?, work)
    }

    /// Sends the client's packets for these addresses to this node: what a load balancer or a router would do for
    /// cluster IPs, external IPs and load-balancer addresses. A later call for an address replaces an earlier one.
    pub fn route(&self, addresses: &[IpAddr], node: &str) -> Result<(), LabError> {
        topology::route_client(&self.spec, addresses, self.find_node(node)?)
    }

    /// Starts one more pod, such as one that returns with another address. It answers when this returns.
    pub fn add_pod(&mut self, pod: LabPod) -> Result<(), LabError> {
        let mut spec = self.spec.clone();
        spec.pods.push(pod.clone());
        spec.validate()?;
        // Noted first, so that `down` finds everything whatever happens.
        State::of(&spec.prefix).save(&spec)?;
        self.spec = spec;
        if !pod.host_network {
            topology::attach(&self.spec, &pod)?;
        }
        self.start(Plan { servers: vec![Server::of_pod(&self.spec, &pod)] })
    }

    /// Ends a pod: its process, its connections, its address.
    ///
    /// A responder process serves many pods; there the pod's cable is cut and its sockets are left, unreachable. A pod of
    /// the host network can therefore be removed only from responders in this process.
    pub fn remove_pod(&mut self, namespace: &str, name: &str) -> Result<LabPod, LabError> {
        let found = self.spec.pods.iter().position(|pod| pod.namespace == namespace && pod.name == name);
        let index = found.ok_or_else(|| self.absent(format!("Pod {namespace}/{name}")))?;
        if self.spec.pods.get(index).is_some_and(|p| p.host_network) && self.spec.responders != Responders::InProcess {
            let reason = "it is on the host network and served by a process that serves others too".to_owned();
            return Err(LabError::Invalid { what: format!("Pod {namespace}/{name}"), reason });
        }
        let pod = self.spec.pods.remove(index);
        self.responders.remove(&pod.id());
        if !pod.host_network {
            topology::detach(&self.spec, &pod)?;
        }
        State::of(&self.spec.prefix).save(&self.spec)?;
        Ok(pod)
    }

    fn start(&mut self, plan: Plan) -> Result<(), LabError> {
        match &self.spec.responders {
            Responders::InProcess => {
                for server in &plan.servers {
                    self.responders.insert(server.id.clone(), Responder::start(server)?);
                }
                Ok(())
            }
            Responders::Process(command) => responder::launch(command, &plan, &State::of(&self.spec.prefix)),
        }
    }

    fn find_node(&self, name: &str) -> Result<&LabNode, LabError> {
        let found = self.spec.nodes.iter().find(|node| node.name == name);
        found.ok_or_else(|| self.absent(format!("Node {name}")))
    }

    fn absent(&self, what: String) -> LabError {
        LabError::Absent { prefix: self.spec.prefix.clone(), what }
    }
}

/// Removes everything that a lab with this prefix left on this machine, finished or not. No lab at all is no error.
pub fn down(prefix: &str) -> Result<(), LabError> {
    spec::check_prefix(prefix)?;
    let state = State::of(prefix);
    state.end_processes()?;
    topology::delete_namespaces(&netns::belonging_to(prefix)?)?;
    state.remove()
}

/// The labs on this machine, by prefix. One whose description cannot be read is left out, with a warning.
pub fn list() -> Result<Vec<LabSpec>, LabError> {
    let mut labs = Vec::new();
    for prefix in State::prefixes()? {
        match State::of(&prefix).load() {
            Ok(lab) => labs.extend(lab),
            Err(error) => tracing::warn!(%prefix, %error, "a lab's description cannot be read; it can be taken down"),
        }
    }
    labs.sort_by(|a, b| a.prefix.cmp(&b.prefix));
    Ok(labs)
}

/// FNV-1a, 32 bit: turns a name into a number that is the same everywhere and always.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
