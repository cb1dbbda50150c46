/// Why the kernel's state could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The process may not do this; the operator must give it CAP_NET_ADMIN.
    #[error("{attempt}: not permitted; Portolan needs CAP_NET_ADMIN in this network namespace (run it as root)")]
    NotPermitted {
        /// What was attempted
        attempt: String,
    },
    /// The kernel understood and said no: some element or rule is at fault. The caller can look for the culprit.
    #[error("{attempt}: refused: {reason}")]
    Refused {
        /// What was attempted
        attempt: String,
        /// The kernel's or nft's own words
        reason: String,
    },
    /// The table belongs to another process, which alone may change it; the operator must end that process first.
    #[error(
        "{attempt}: table {table} belongs to another process (netlink port {port}, as a rule its PID), as a running \
         `portolan run --own-table` makes it; end that process first, its rules stay in place"
    )]
    Owned {
        /// What was attempted
        attempt: String,
        /// Family and name
        table: String,
        /// The netlink port of the owner's socket
        port: u32,
    },
    /// The socket failed, an answer could not be read, `nft` could not be started: worth another try.
    #[error("{attempt}: {reason}")]
    Failed {
        /// What was attempted
        attempt: String,
        /// What went wrong
        reason: String,
    },
}

impl KernelError {
    /// The same as a failure, where a refusal is not the fault of what was asked for.
    pub fn not_refused(self) -> Self {
        match self {
            KernelError::Refused { attempt, reason } => KernelError::Failed { attempt, reason },
            other => other,
        }
    }
}
