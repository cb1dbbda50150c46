//! What the loop drives: the data plane itself, or a dry run of it.

use std::collections::BTreeSet;

use crate::{
    agent::{Agent, Synced},
    desired::Desired,
    kernel::{Count, DataPlane, KernelError, monitor::RulesetMonitor},
    model::{Family, Node, ServiceId, Settings, World},
    tables::Contents,
};

/// Brings something in line with the inputs.
pub trait Keeper {
    /// The inputs; changes take effect at the next [`Keeper::sync`].
    fn desired(&mut self) -> &mut Desired;
    /// Replaces what is known of the node and what the operator chose.
    fn set_node(&mut self, node: Node, settings: Settings);
    /// Replaces all inputs; see [`Agent::set`] and [`Agent::keep`].
    fn set(&mut self, world: World, settings: Settings, refused: BTreeSet<ServiceId>, incomplete: bool);
    /// Says whether some inputs could not be read; see [`Agent::set_incomplete`].
    fn set_incomplete(&mut self, incomplete: bool);
    /// Has what was refused tried again at the next [`Keeper::sync`].
    fn retry(&mut self);
    /// Has everything read and compared again at the next [`Keeper::sync`].
    fn doubt(&mut self);
    /// Does what is to be done.
    fn sync(&mut self) -> Result<Synced, KernelError>;
    /// What the kernel was last seen or made to hold.
    fn contents(&self) -> &Contents;
    /// New connections counted by the kernel, of both families.
    fn counters(&mut self) -> Result<Vec<Count>, KernelError>;
    /// Word of what others change; see [`DataPlane::watch`].
    fn watch(&mut self) -> Result<Option<RulesetMonitor>, KernelError>;
    /// The generation of the kernel's ruleset.
    fn generation(&mut self) -> Result<u32, KernelError>;
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

    fn set_incomplete(&mut self, incomplete: bool) {
        Agent::set_incomplete(self, incomplete);
    }

    fn retry(&mut self) {
        Agent::retry(self);
    }

    fn doubt(&mut self) {
        Agent::doubt(self);
    }

    fn sync(&mut self) -> Result<Synced, KernelError> {
        Agent::sync(self)
    }

    fn contents(&self) -> &Contents {
        Agent::contents(self)
    }

    fn counters(&mut self) -> Result<Vec<Count>, KernelError> {
        let [v4, v6] = Family::ALL;
        Ok([self.kernel().counters(v4)?, self.kernel().counters(v6)?].concat())
    }

    fn watch(&mut self) -> Result<Option<RulesetMonitor>, KernelError> {
        self.kernel().watch()
    }

    fn generation(&mut self) -> Result<u32, KernelError> {
        self.kernel().generation()
    }
}
