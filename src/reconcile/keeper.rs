//! What the loop drives: the data plane itself, or a dry run of it.

use std::collections::BTreeSet;

use crate::{
    agent::{Agent, Synced},
    desired::Desired,
    kernel::{DataPlane, KernelError},
    model::{Node, ServiceId, Settings, World},
};

/// Brings something in line with the inputs.
pub trait Keeper {
    /// The inputs; changes take effect at the next [`Keeper::sync`].
    fn desired(&mut self) -> &mut Desired;
    /// Replaces what is known of the node and what the operator chose.
    fn set_node(&mut self, node: Node, settings: Settings);
    /// Replaces all inputs; see [`Agent::set`] and [`Agent::keep`].
    fn set(&mut self, world: World, settings: Settings, refused: BTreeSet<ServiceId>, incomplete: bool);
    /// Has everything read and compared again at the next [`Keeper::sync`].
    fn doubt(&mut self);
    /// Does what is to be done.
    fn sync(&mut self) -> Result<Synced, KernelError>;
}

impl<K: DataPlane> Keeper for Agent<K> {
    fn desired(&mut self) -> &mut Desired {
        Agent::desired(self)
    }

    fn set_node(&mut self, node: Node, settings: Settings) {
        Agent::set_node(self, node, settings);
    }

    fn set(&mut self, world: World, settings: Settings, refused: BTreeSet<ServiceId>, incomplete: bool) {
        self.keep(refused);
        Agent::set(self, world, settings, incomplete);
    }

    fn doubt(&mut self) {
        Agent::doubt(self);
    }

    fn sync(&mut self) -> Result<Synced, KernelError> {
        Agent::sync(self)
    }
}
