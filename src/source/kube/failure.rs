//! What goes wrong with requests, and what is said about it.

use std::time::Duration;

use super::{ApiServer, Kind, decode::Status, wire::WireError};

/// What was asked, as RBAC calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    List,
    Watch,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Verb::List => "list",
            Verb::Watch => "watch",
        }
    }
}

/// Why a list or a watch came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or it broke before the answer
    Unreachable(String),
    /// The connection broke within the answer
    Broken(String),
    /// No answer, or none that goes on
    Silent(Duration),
    /// The server's own words
    Refused(Status),
    /// The answer makes no sense
    Nonsense(String),
    /// What is asked for is too old to be had: list anew
    Expired,
    /// The watch ended before it was good for anything
    Brief,
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Failure::Nonsense(error.to_string())
    }
}

impl Failure {
    /// Sorts what the server said.
    pub fn refused(status: Status) -> Self {
        // 410 with reason Expired or Gone; a version from the future, after a restored backup, is as useless as one
        // from too long ago.
        let expired = status.code == 410 || status.reason == "Expired" || status.reason == "Gone";
        if expired || status.message.contains("Too large resource version") {
            Failure::Expired
        } else {
            Failure::Refused(status)
        }
    }

    /// Whether a watch from the same version can be had later; else a new list is needed.
    pub fn can_resume(&self) -> bool {
        match self {
            Failure::Unreachable(_) | Failure::Broken(_) | Failure::Silent(_) | Failure::Brief => true,
            // What was asked for was right: who may ask it, and when, is another matter.
            // A server on its way down or up, or a load balancer without one, says 5xx: no reason for every node to list all.
            Failure::Refused(status) => matches!(status.code, 401 | 403 | 429 | 500 | 502 | 503 | 504),
            Failure::Nonsense(_) | Failure::Expired => false,
        }
    }

    /// What was attempted, why it failed, and who can mend it.
    pub fn advice(&self, verb: Verb, kind: Kind, server: &ApiServer) -> String {
        let (resource, address, credentials) = (kind.resource(), &server.address, &server.credentials);
        let attempt = format!("cannot {} {resource} at the API server {address}", verb.name());
        match self {
            Failure::Unreachable(reason) if reason.contains("certificate") => format!(
                "{attempt}: {reason}; --apiserver must name a host that the server's certificate names, and the CA \
                 must be the cluster's"
            ),
            Failure::Unreachable(reason) => format!(
                "{attempt}: {reason}; check that it is up and reachable from this node (--apiserver must not be the \
                 ClusterIP, which Portolan itself makes reachable)"
            ),
            Failure::Broken(reason) => format!("{attempt}: the answer broke off: {reason}"),
            Failure::Silent(waited) => format!(
                "{attempt}: it took the connection and then said nothing for {} s; check the server, and what stands \
                 between it and this node",
                waited.as_secs_f32()
            ),
            Failure::Refused(status) => match status.code {
                401 => format!(
                    "{attempt} with {credentials}: it answers 401 ({}); a token may have expired or its ServiceAccount been \
                     deleted, a kubeconfig be that of another cluster",
                    status.message
                ),
                403 => format!(
                    "{attempt}: {} is not allowed to; grant the verb {:?} on resource {resource:?} in API group {:?} \
                     in its ClusterRole (the server says: {})",
                    subject(&status.message),
                    verb.name(),
                    kind.group(),
                    status.message
                ),
                404 => format!(
                    "{attempt}: it does not have {} in v1 (404); is it a Kubernetes API server, of at least 1.21?",
                    path_of(kind)
                ),
                code => format!("{attempt}: it answers {code}: {}", status.message),
            },
            Failure::Nonsense(reason) => format!(
                "{attempt}: its answer cannot be read: {reason}; is it a Kubernetes API server, without a proxy that \
                 changes what it says?"
            ),
            Failure::Expired => format!("{attempt}: again and again it has forgotten the version to go on from (410)"),
            Failure::Brief => format!(
                "{attempt}: the watch ends as soon as it has begun; check what stands between the server and this node"
            ),
        }
    }
}

fn path_of(kind: Kind) -> String {
    if kind.group().is_empty() { kind.resource().into() } else { format!("{}.{}", kind.resource(), kind.group()) }
}

/// Whom the server refuses, out of its message: `services is forbidden: User "system:serviceaccount:a:b" cannot ...`.
fn subject(message: &str) -> String {
    let Some(user) = message.split_once("User \"").and_then(|(_, rest)| rest.split_once('"')).map(|(user, _)| user)
    else {
        return "this user".into();
    };
    match user.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':')) {
        Some((namespace, name)) => format!("ServiceAccount {namespace}/{name}"),
        None => format!("user {user:?}"),
    }
}
