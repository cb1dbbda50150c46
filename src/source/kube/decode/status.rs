use super::super::wire::{WireError, each};

/// meta/v1 Status: how the API server says what went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The HTTP status code that goes with it.
    pub code: u16,
    /// For machines: `Expired`, `Forbidden`, ...
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Reads a Status.
pub fn status(message: &[u8]) -> Result<Status, WireError> {
    let mut status = Status::default();
    each(message, |field| {
        match field.number {
            3 => status.message = field.text()?,
            4 => status.reason = field.text()?,
            6 => status.code = u16::try_from(field.int()?).unwrap_or_default(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(status)
}
