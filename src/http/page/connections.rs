use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{
    kernel::{KernelError, conntrack::ConntrackTable},
    model::{Family, Frontend, Protocol, Target},
};

/// The table is not read more often.
const LEAST_INTERVAL: Duration = Duration::from_secs(3);
/// A big table takes long to read: this many times as long it is left alone.
const REST: u32 = 20;

/// How many connections each endpoint has, by the frontend that was dialled.
#[derive(Debug, Default)]
pub(super) struct Connections {
    pub counts: BTreeMap<(Frontend, Target), u64>,
    /// Why they could not be read the last time
    pub error: Option<String>,
    of: BTreeSet<Frontend>,
    read: Option<(Instant, Duration)>,
}

impl Connections {
    /// Whether it is time to read them, for these frontends.
    pub fn are_due(&self, frontends: &BTreeSet<Frontend>) -> bool {
        let Some((when, took)) = self.read else { return true };
        let rest = took * REST;
        let pause = if frontends.is_subset(&self.of) { rest.max(LEAST_INTERVAL) } else { rest };
        when.elapsed() >= pause
    }

    /// Whether those to this frontend were counted.
    pub fn are_known(&self, frontend: Frontend) -> bool {
        self.error.is_none() && self.of.contains(&frontend)
    }

    /// Reads them. To be called where it may take its time, in the network namespace that it is about.
    pub fn read(of: BTreeSet<Frontend>) -> Self {
        let begun = Instant::now();
        let (counts, error) = match count(&of) {
            Ok(counts) => (counts, None),
            Err(error) => (BTreeMap::new(), Some(error.to_string())),
        };
        Self { counts, error, of, read: Some((Instant::now(), begun.elapsed())) }
    }

    #[cfg(test)]
    pub fn of(of: impl IntoIterator<Item = Frontend>, counts: BTreeMap<(Frontend, Target), u64>) -> Self {
        Self { counts, of: of.into_iter().collect(), ..Self::default() }
    }
}

fn count(of: &BTreeSet<Frontend>) -> Result<BTreeMap<(Frontend, Target), u64>, KernelError> {
    let mut counts = BTreeMap::new();
    let kinds: BTreeSet<(Family, Protocol)> = of.iter().map(|f| (f.family(), f.protocol)).collect();
    if kinds.is_empty() {
        return Ok(counts);
    }
    let mut table = ConntrackTable::open()?;
    for (family, protocol) in kinds {
        table.for_each(family, protocol, |flow| {
            let frontend = Frontend { address: flow.destination.address, protocol, port: flow.destination.port };
            // What comes from the frontend itself was never translated: no endpoint has it.
            if flow.reply_source != flow.destination && of.contains(&frontend) {
                *counts.entry((frontend, flow.reply_source)).or_default() += 1;
            }
        })?;
    }
    Ok(counts)
}
