//! What the loop would do, printed.

use std::{collections::BTreeSet, io::Write};

use tracing::warn;

use crate::{
    agent::Synced,
    desired::Desired,
    kernel::{Count, DataPlane, KernelError, NetlinkDataPlane, monitor::RulesetMonitor},
    model::{Family, Node, ServiceId, Settings, World},
    reconcile::Keeper,
    tables::{Contents, Program, TABLE, TableState, differences, nft_text},
};

/// Keeps on paper what the kernel would hold.
pub struct DryRun {
    desired: Desired,
    /// What the kernel would hold; nothing before the first pass
    contents: Option<Contents>,
    nothing: Contents,
    /// Some input could not be read
    incomplete: bool,
}

impl DryRun {
    /// A dry run that has not looked at anything.
    pub fn new() -> Self {
        Self { desired: Desired::default(), contents: None, nothing: Contents::default(), incomplete: false }
    }

    /// What the kernel holds now; nothing, if it cannot be read.
    fn read_kernel() -> TableState {
        NetlinkDataPlane::open().and_then(|mut kernel| kernel.dump()).unwrap_or_else(|failure| {
            warn!("{failure}; comparing with empty tables");
            TableState::default()
        })
    }

    /// What would become of the tables themselves.
    fn tables(&self, held: &TableState) -> String {
        let mut text = String::new();
        for program in Family::ALL.map(|family| Program::new(family, self.desired.settings())) {
            let table = format!("table {} {TABLE}", program.family.nft());
            match held.programs.get(&program.family) {
                None => text.push_str(&format!("would make {table}\n")),
                Some(held) if *held == program.fingerprint => {}
                Some(_) => text.push_str(&format!("would write {table} anew: it holds another program\n")),
            }
        }
        for stranger in &held.strangers {
            text.push_str(&format!("would remove {stranger}: it is none of ours\n"));
        }
        text
    }

    /// The complete ruleset, as `portolan render` prints it.
    fn ruleset(&mut self) -> String {
        let mut contents = Contents::default();
        let work = self.desired.take_over(&mut contents, false);
        contents.accept(work.changes);
        let programs = Family::ALL.map(|family| Program::new(family, self.desired.settings()));
        nft_text(&programs, &contents.state())
    }
}

impl Keeper for DryRun {
    fn desired(&mut self) -> &mut Desired {
        &mut self.desired
    }

    fn set_node(&mut self, node: Node, settings: Settings) {
        self.desired.set_node(node, settings);
    }

    fn set(&mut self, world: World, settings: Settings, refused: BTreeSet<ServiceId>, incomplete: bool) {
        self.desired.keep(refused);
        self.desired.replace(world, settings);
        self.incomplete = incomplete;
    }

    fn set_incomplete(&mut self, incomplete: bool) {
        self.incomplete = incomplete;
    }

    fn retry(&mut self) {}

    fn doubt(&mut self) {}

    fn watch(&mut self) -> Result<Option<RulesetMonitor>, KernelError> {
        Ok(None)
    }

    fn generation(&mut self) -> Result<u32, KernelError> {
        Ok(0)
    }

    fn sync(&mut self) -> Result<Synced, KernelError> {
        let mut text = String::new();
        if self.contents.is_none() {
            let held = Self::read_kernel();
            text = self.ruleset() + &self.tables(&held);
            self.contents = Some(Contents::from_kernel(held));
        }
        let contents = self.contents.get_or_insert_default();
        let work = self.desired.take_over(contents, self.incomplete);
        let nothing = Default::default();
        for (owner, wanted) in &work.changes {
            for difference in differences(contents.rows(owner).unwrap_or(&nothing), wanted) {
                let verb = if difference.missing { "add" } else { "remove" };
                text.push_str(&format!("would {verb} {owner}: {}\n", difference.subject()));
            }
        }
        let operations = contents.change(&work.changes).operations();
        text.push_str(&format!("would send {operations} element operations\n"));
        contents.accept(work.changes);
        let mut out = std::io::stdout().lock();
        // Nobody who reads any more is no reason to end: the loop ends when it is told to.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        Ok(Synced { notices: work.notices, ..Synced::default() })
    }

    fn contents(&self) -> &Contents {
        self.contents.as_ref().unwrap_or(&self.nothing)
    }

    /// Nothing goes through tables on paper.
    fn counters(&mut self) -> Result<Vec<Count>, KernelError> {
        Ok(Vec::new())
    }
}
