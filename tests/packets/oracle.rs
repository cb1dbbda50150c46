//! What packets must experience: the truth table of the description of Service behaviour (section 12), in a few lines
//! that share nothing with the program under test.

use std::collections::BTreeSet;

use crate::services::{Kind, State};

/// Who asks, as the node sees it that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Pod,
    /// A process of the deciding node itself
    Host,
    Outside,
}

/// An endpoint: its pod, the pod's node, its state.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    pub pod: &'static str,
    pub node: u8,
    pub state: State,
}

/// A cell of the table.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'a> {
    pub kind: Kind,
    pub internal_local: bool,
    pub external_local: bool,
    pub client: Client,
    /// Pods can be recognised
    pub detector: bool,
    pub masquerade_all: bool,
    /// The deciding node
    pub node: u8,
    pub endpoints: &'a [Endpoint],
}

/// What the client must get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Refuse,
    Drop,
    Serve {
        /// Any of these pods, and each of them some time
        pods: BTreeSet<&'static str>,
        /// The pod sees the deciding node's address in place of the client's
        hidden: bool,
    },
}

impl Cell<'_> {
    pub fn verdict(&self) -> Verdict {
        let usable = |e: &Endpoint| e.state.ready || (e.state.serving && e.state.terminating);
        let has_any = self.endpoints.iter().any(usable);
        let cluster = choose(self.endpoints.iter());
        let local = choose(self.endpoints.iter().filter(|e| e.node == self.node));
        let pod = self.detector && self.client == Client::Pod;
        let (pods, hidden) = match (self.kind, self.external_local) {
            (Kind::ClusterIp, _) => {
                (if self.internal_local { local } else { cluster }, self.masquerade_all || (self.detector && !pod))
            }
            (_, false) => (cluster, true),
            (_, true) if pod => (cluster, false),
            (_, true) if self.client == Client::Host => (cluster, true),
            (_, true) => (local, false),
        };
        match (pods.is_empty(), has_any) {
            (false, _) => Verdict::Serve { pods, hidden },
            (true, true) => Verdict::Drop,
            (true, false) => Verdict::Refuse,
        }
    }
}

/// Ready endpoints; if there are none, those that still serve while they terminate (section 3.2).
fn choose<'a>(endpoints: impl Iterator<Item = &'a Endpoint> + Clone) -> BTreeSet<&'static str> {
    let ready: BTreeSet<_> = endpoints.clone().filter(|e| e.state.ready).map(|e| e.pod).collect();
    if !ready.is_empty() {
        return ready;
    }
    endpoints.filter(|e| e.state.serving && e.state.terminating).map(|e| e.pod).collect()
}
