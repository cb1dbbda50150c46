use std::{fmt, sync::Arc};

/// Where in a file something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as the operator named it
    pub file: Arc<str>,
    /// Line, from 1
    pub line: u64,
    /// Column, from 1, in characters
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Why there is no configuration. The operator can mend each of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file is no YAML.
    #[error("{place}: {reason}")]
    Syntax {
        /// Where
        place: Place,
        /// The parser's words
        reason: String,
    },
    /// A field of the file is not known or has a value that it cannot have.
    #[error("{place}: {field}: {reason}")]
    Field {
        /// Where
        place: Place,
        /// The field's path
        field: String,
        /// What is wrong
        reason: String,
    },
    /// Options do not go together, or one that the environment or a flag gives is wrong.
    #[error("{option}: {reason}")]
    Option {
        /// The option, as a flag
        option: String,
        /// What is wrong
        reason: String,
    },
}

/// Something that an operator should know about a configuration that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where, if in a file
    pub place: Option<Place>,
    /// The field's path in the file, or the option's flag
    pub field: String,
    /// What is to be known
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}: {}", self.field, self.text)
    }
}
