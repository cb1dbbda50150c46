use crate::objects::Node;

/// The taint by which a cluster autoscaler says that it will delete the node.
const LEAVING_TAINT: &str = "ToBeDeletedByClusterAutoscaler";

/// Whether load balancers should send new connections to this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// No Node object was seen, or it was deleted: not eligible
    Unknown,
    /// Yes
    Eligible,
    /// No, and why
    Leaving(String),
}

impl NodeState {
    /// What a Node object says of its node (KEP-3836).
    pub fn of(node: &Node) -> Self {
        if node.metadata.deletion_timestamp.is_some() {
            return NodeState::Leaving("the Node is being deleted (metadata.deletionTimestamp)".to_owned());
        }
        if node.spec.taints.iter().any(|taint| taint.key == LEAVING_TAINT) {
            return NodeState::Leaving(format!("the Node has the taint {LEAVING_TAINT}"));
        }
        NodeState::Eligible
    }

    /// Whether it is [`NodeState::Eligible`].
    pub fn is_eligible(&self) -> bool {
        *self == NodeState::Eligible
    }

    /// Why not, in words; `None` if it is.
    pub fn reason(&self) -> Option<&str> {
        match self {
            NodeState::Unknown => Some("the Node object of this node has not been seen, or was deleted"),
            NodeState::Eligible => None,
            NodeState::Leaving(reason) => Some(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(json: &str) -> Node {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_node_that_leaves_is_not_eligible() {
        let cases = [
            (r#"{"metadata":{"name":"n"}}"#, None),
            (r#"{"spec":{"taints":null}}"#, None),
            (r#"{"spec":{"taints":[{"key":"node.kubernetes.io/unschedulable","effect":"NoSchedule"}]}}"#, None),
            (
                r#"{"spec":{"taints":[{"key":"ToBeDeletedByClusterAutoscaler","value":"1","effect":"NoSchedule"}]}}"#,
                Some("the Node has the taint ToBeDeletedByClusterAutoscaler"),
            ),
            (
                r#"{"metadata":{"deletionTimestamp":"2026-11-21T09:00:00Z"}}"#,
                Some("the Node is being deleted (metadata.deletionTimestamp)"),
            ),
        ];
        for (json, reason) in cases {
            let state = NodeState::of(&node(json));
            assert_eq!((state.is_eligible(), state.reason()), (reason.is_none(), reason), "{json}");
        }
        assert!(!NodeState::Unknown.is_eligible());
    }
}
