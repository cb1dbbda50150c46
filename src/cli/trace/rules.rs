use std::time::{Duration, Instant};

use tracing::warn;

use crate::{
    kernel::trace::{generation, rules},
    traced::Names,
};

/// Between two readings at least so many times as long as one takes: while rules are read, no packet is heard of.
const PAUSES: u32 = 10;

/// The reading of rules' texts.
#[derive(Default)]
pub struct Texts {
    /// The generation of the ruleset that was read, or could not be
    generation: Option<u32>,
    /// When they may be read again
    again: Option<Instant>,
    warned: bool,
}

impl Texts {
    /// Reads the texts of all rules, unless they are the same as the last time, or that was a moment ago. What cannot be
    /// read is said once, and costs the texts alone.
    pub fn read(&mut self, names: &mut Names) {
        let begun = Instant::now();
        let generation = generation().ok();
        if self.again.is_some_and(|again| begun < again || generation == self.generation) {
            return;
        }
        match rules() {
            Ok(rules) => names.rules = rules,
            Err(error) if !self.warned => {
                warn!("{error}; rules are named by their handles");
                self.warned = true;
            }
            Err(_) => {}
        }
        self.generation = generation;
        self.again = Some(Instant::now() + PAUSES * begun.elapsed().max(Duration::from_millis(1)));
    }
}
