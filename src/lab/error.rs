use std::io;

/// Why a lab could not be built, used or taken down.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The description of the lab is wrong; whoever wrote the manifests or the options can mend it.
    #[error("{what}: {reason}")]
    Invalid {
        /// What is wrong, such as `Pod shop/web-1`
        what: String,
        /// Why, and what would be right
        reason: String,
    },
    /// The prefix is taken.
    #[error("a lab with the prefix {prefix} exists already; take it down first")]
    Exists {
        /// The prefix
        prefix: String,
    },
    /// The lab has no such thing.
    #[error("the lab {prefix} has no {what}")]
    Absent {
        /// The lab's prefix; empty where no single lab is meant
        prefix: String,
        /// What was asked for
        what: String,
    },
    /// The process may not do this.
    #[error("{attempt}: not permitted; a lab is made of network namespaces and needs root")]
    NotPermitted {
        /// What was attempted
        attempt: String,
    },
    /// A command, a socket or a file failed.
    #[error("{attempt}: {reason}")]
    Failed {
        /// What was attempted, on what
        attempt: String,
        /// The kernel's or the command's own words
        reason: String,
    },
}

impl LabError {
    /// The error for a failed system call.
    pub(super) fn io(attempt: impl Into<String>, error: impl Into<io::Error>) -> Self {
        let (attempt, error) = (attempt.into(), error.into());
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted { attempt },
            _ => Self::Failed { attempt, reason: error.to_string() },
        }
    }
}
