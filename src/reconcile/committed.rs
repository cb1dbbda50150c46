//! Changes of objects for those who may hear of them only after the kernel took them: names.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use super::ClusterInputs;
use crate::source::kube::{Change, Kind};

/// Changes that the kernel's tables hold.
#[derive(Debug)]
pub struct Committed {
    /// The last of each object. Before the first time that all is complete they come as they are read, and mean nothing yet
    pub changes: Vec<Change>,
    /// All there is has been told, and the kernel holds it
    pub complete: bool,
}

/// Holds changes back until the kernel took them.
#[derive(Debug)]
pub struct CommittedChanges {
    /// The receiver takes all that comes, and at once
    sender: mpsc::UnboundedSender<Committed>,
    kinds: Vec<Kind>,
    /// By kind, namespace and name: while the kernel takes nothing, no more than there are objects
    held: BTreeMap<(&'static str, String, String), Change>,
    complete: bool,
}

impl CommittedChanges {
    /// Changes of these kinds, and who hears of them.
    pub fn new(kinds: Vec<Kind>) -> (Self, mpsc::UnboundedReceiver<Committed>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender, kinds, held: BTreeMap::new(), complete: false }, receiver)
    }

    /// A change that was brought into the desired state.
    pub(super) fn applied(&mut self, change: Change) {
        let (kind, namespace, name) = match &change {
            Change::Put(object) => (object.kind(), object.namespace(), object.metadata().name.as_str()),
            Change::Gone { kind, namespace, name } => (kind.name(), namespace.as_str(), name.as_str()),
            _ => return,
        };
        if self.kinds.iter().any(|wanted| wanted.name() == kind) {
            self.held.insert((kind, namespace.to_owned(), name.to_owned()), change);
        }
    }

    /// All changes that came together were applied. Returns whether a pass is needed for these alone.
    pub(super) fn settle(&mut self, inputs: &ClusterInputs) -> bool {
        if self.complete {
            return !self.held.is_empty();
        }
        // Nothing can be answered yet: there is no reason to keep all objects here.
        self.send(false);
        self.has_all(inputs)
    }

    /// The kernel holds what was applied.
    pub(super) fn committed(&mut self, inputs: &ClusterInputs) {
        if self.complete || self.has_all(inputs) {
            self.complete = true;
            self.send(true);
        }
    }

    fn has_all(&self, inputs: &ClusterInputs) -> bool {
        self.kinds.iter().all(|kind| inputs.has_listed(*kind))
    }

    fn send(&mut self, complete: bool) {
        let changes: Vec<Change> = std::mem::take(&mut self.held).into_values().collect();
        if complete || !changes.is_empty() {
            // Who does not listen any more is about to end.
            let _ = self.sender.send(Committed { changes, complete });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_change_of_an_object_is_kept() {
        let (mut changes, mut receiver) = CommittedChanges::new(vec![Kind::Service]);
        let gone = |kind, name: &str| Change::Gone { kind, namespace: "shop".to_owned(), name: name.to_owned() };
        for change in [gone(Kind::Service, "a"), gone(Kind::Service, "b"), gone(Kind::Service, "a")] {
            changes.applied(change);
        }
        changes.applied(gone(Kind::Node, "a"));
        changes.settle(&ClusterInputs::new("", Vec::new()));
        let sent = receiver.try_recv().unwrap();
        assert!(!sent.complete);
        assert_eq!(sent.changes, [gone(Kind::Service, "a"), gone(Kind::Service, "b")]);
    }
}
