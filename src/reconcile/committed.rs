//! Changes of objects for those who may hear of them only after the kernel took them: names.

use tokio::sync::mpsc;

use super::ClusterInputs;
use crate::source::kube::{Change, Kind};

/// Changes that the kernel's tables hold.
#[derive(Debug)]
pub struct Committed {
    /// In order. Before the first time that all is complete they come as they are read, and mean nothing yet
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
    held: Vec<Change>,
    complete: bool,
}

impl CommittedChanges {
    /// Changes of these kinds, and who hears of them.
    pub fn new(kinds: Vec<Kind>) -> (Self, mpsc::UnboundedReceiver<Committed>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender, kinds, held: Vec::new(), complete: false }, receiver)
    }

    /// A change that was brought into the desired state.
    pub(super) fn applied(&mut self, change: Change) {
        let kind = match &change {
            Change::Put(object) => object.kind(),
            Change::Gone { kind, .. } => kind.name(),
            _ => return,
        };
        if self.kinds.iter().any(|wanted| wanted.name() == kind) {
            self.held.push(change);
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
        let changes = std::mem::take(&mut self.held);
        if complete || !changes.is_empty() {
            // Who does not listen any more is about to end.
            let _ = self.sender.send(Committed { changes, complete });
        }
    }
}
