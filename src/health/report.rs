//! The bodies of `/healthz`, `/livez` and `/readyz`. kube-proxy's keys come first; what is below them is Portolan's.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

/// What `/healthz` and `/livez` answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthReport {
    /// The current time if healthy, else when the kernel was last known to hold everything
    pub last_updated: Timestamp,
    /// The current time
    pub current_time: Timestamp,
    /// Whether load balancers should send here; only in `/healthz`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_eligible: Option<bool>,
    /// No update is outstanding for too long. It says nothing of the node
    pub healthy: bool,
    /// The same by family, with the real time of the last update. Both are programmed together.
    pub status: BTreeMap<String, FamilyReport>,
    /// Why the node is not eligible; only in `/healthz`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_reason: Option<String>,
    /// When everything in the kernel was last read, compared and found right, or put right
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_verified: Option<Timestamp>,
}

impl HealthReport {
    /// Whether the answer is yes, 200; otherwise it is 503.
    pub fn is_ok(&self) -> bool {
        self.healthy && self.node_eligible.unwrap_or(true)
    }
}

/// One family's part of a [`HealthReport`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FamilyReport {
    /// When the kernel was last known to hold everything
    pub last_updated: Timestamp,
    /// No update is outstanding for too long
    pub healthy: bool,
}

/// What `/readyz` answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadyReport {
    /// The first complete lists are in the kernel
    pub ready: bool,
    /// The current time
    pub current_time: Timestamp,
    /// What is missing, each with the last error
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<String>,
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::super::{NodeState, State};

    #[test]
    fn the_answers_have_the_keys_that_others_read() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let wall = "2026-11-21T09:02:00Z".parse().unwrap();
        let mut state = State::new(start, Duration::from_secs(60), NodeState::Unknown);
        state.update(start, at(10));
        state.verify(at(90));

        let healthy = json!({
            "lastUpdated": "2026-11-21T09:02:00Z",
            "currentTime": "2026-11-21T09:02:00Z",
            "healthy": true,
            "status": {
                "IPv4": {"lastUpdated": "2026-11-21T09:00:10Z", "healthy": true},
                "IPv6": {"lastUpdated": "2026-11-21T09:00:10Z", "healthy": true},
            },
            "lastVerified": "2026-11-21T09:01:30Z",
        });
        let livez = state.livez(at(120), wall);
        assert!(livez.is_ok());
        assert_eq!(serde_json::to_value(livez).unwrap(), healthy);

        let healthz = state.healthz(at(120), wall);
        assert!(!healthz.is_ok(), "no Node was seen");
        let body = serde_json::to_value(healthz).unwrap();
        assert_eq!((&body["nodeEligible"], &body["healthy"]), (&json!(false), &json!(true)));
        assert!(body["nodeReason"].as_str().unwrap().contains("has not been seen"));

        state.queue(at(20));
        let late = state.livez(at(120), wall);
        assert!(!late.is_ok());
        let body = serde_json::to_value(late).unwrap();
        assert_eq!(body["lastUpdated"], "2026-11-21T09:00:10Z");
        assert_eq!(body["status"]["IPv6"]["healthy"], false);
    }
}
