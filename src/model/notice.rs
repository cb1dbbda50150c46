use std::{fmt, path::PathBuf, sync::Arc};

use crate::objects::ObjectRef;

/// Where an object was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// File, or `-` for standard input
    pub file: Arc<PathBuf>,
    /// Line of the object's first line, from 1
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// How much a [`Notice`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The object, or the named part of it, is not used
    Refused,
    /// The object is used; the user should still know
    Warning,
}

/// Something wrong with one object. The rest of the input is used as if that object were not there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    /// How much it matters
    pub severity: Severity,
    /// Where the object was read, if it came from a file
    pub origin: Option<Origin>,
    /// The object, if it could be read that far
    pub object: Option<ObjectRef>,
    /// Path of the field, such as `spec.ports[0].nodePort`; may be empty
    pub field: String,
    /// What is wrong and what would be right, without a full stop
    pub reason: String,
}

impl fmt::Display for Notice {
    /// `file:line: Service shop/web: spec.ports[0].nodePort: 80 is outside 30000-32767`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.reason)
    }
}
