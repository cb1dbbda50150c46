use std::collections::BTreeMap;

use super::pool::Value;

/// Who holds what.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    holders: BTreeMap<Value, String>,
}

impl Ledger {
    /// Gives the value to a Service (`namespace/name`), or says which Service holds it.
    pub fn claim(&mut self, value: Value, service: &str) -> Result<(), &str> {
        let holder = self.holders.entry(value).or_insert_with(|| service.to_owned());
        if holder == service { Ok(()) } else { Err(holder) }
    }

    /// Takes values back.
    pub fn release<'a>(&mut self, values: impl IntoIterator<Item = &'a Value>) {
        for value in values {
            self.holders.remove(value);
        }
    }

    /// Whether anybody holds the value.
    pub fn is_taken(&self, value: Value) -> bool {
        self.holders.contains_key(&value)
    }
}
