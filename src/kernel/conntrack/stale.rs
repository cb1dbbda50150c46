//! Which conntrack entries must go. Only UDP: it has no handshake that would make a client notice (services.md,
//! section 5; kubernetes/kubernetes#139629 and #141371).

use std::collections::BTreeMap;

use super::Flow;
use crate::{
    compile::ServingTargets,
    model::{Frontend, Protocol, Target},
};

/// Whether an entry keeps a client from being served as it should.
///
/// * An entry to a frontend whose answers come from none of its serving endpoints. That includes answers from the
///   frontend itself: the entry was made while there was no rule, and would never be translated.
/// * An entry *from* a frontend, translated neither way. When an untranslated entry is deleted while an answer is on
///   its way, that answer makes an entry the other way round, and the client's packets are then taken for replies.
///
/// * An entry that was never answered, of a client that the source ranges no longer allow: to the filters of other
///   proxies each of its packets is a new connection.
///
/// Other entries to serving endpoints are never stale, and nothing but UDP is.
pub fn is_stale(frontends: &BTreeMap<Frontend, ServingTargets>, flow: &Flow) -> bool {
    let serving =
        |end: Target| frontends.get(&Frontend { address: end.address, protocol: Protocol::Udp, port: end.port });
    if flow.protocol != Protocol::Udp {
        return false;
    }
    let answers_itself = flow.reply_source == flow.destination;
    if let Some(serving) = serving(flow.destination) {
        let served = serving.targets.contains(&flow.reply_source);
        let nodes_own = answers_itself && serving.may_be_the_node();
        let unwelcome = !flow.answered && !serving.allows(flow.source.address);
        return (!served && !nodes_own) || unwelcome;
    }
    let untranslated = answers_itself && flow.reply_destination == flow.source;
    serving(flow.source)
        .is_some_and(|serving| untranslated && !serving.targets.contains(&flow.source) && !serving.may_be_the_node())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::IpRange;

    const CLIENT: &str = "10.9.0.1:5000";
    const NODE: &str = "192.0.2.1:40000";
    const VIP: &str = "10.96.0.10:53";
    const NODE_PORT: &str = "192.0.2.1:30053";
    const SERVING: &str = "10.1.0.1:5353";
    const GONE: &str = "10.1.0.2:5353";

    fn target(text: &str) -> Target {
        let address: std::net::SocketAddr = text.parse().unwrap();
        Target { address: address.ip(), port: address.port() }
    }

    /// Whether a flow is stale when the VIP and the node port have these endpoints.
    fn stale(serving: &[&str], source: &str, destination: &str, reply_source: &str, reply_destination: &str) -> bool {
        let frontend = |text, protocol| {
            let Target { address, port } = target(text);
            Frontend { address, protocol, port }
        };
        let targets: BTreeSet<Target> = serving.iter().map(|text| target(text)).collect();
        let frontends = BTreeMap::from([
            (frontend(VIP, Protocol::Udp), ServingTargets { targets: targets.clone(), ..ServingTargets::default() }),
            (
                frontend(NODE_PORT, Protocol::Udp),
                ServingTargets { targets, node_port: true, ..ServingTargets::default() },
            ),
        ]);
        let flow = Flow {
            protocol: Protocol::Udp,
            source: target(source),
            destination: target(destination),
            reply_source: target(reply_source),
            reply_destination: target(reply_destination),
            answered: true,
            ended: false,
            id: None,
            zone: None,
        };
        assert!(!is_stale(&frontends, &Flow { protocol: Protocol::Tcp, ..flow.clone() }), "never TCP");
        assert!(!is_stale(&frontends, &Flow { protocol: Protocol::Sctp, ..flow.clone() }), "never SCTP");
        is_stale(&frontends, &flow)
    }

    #[test]
    fn flows_to_serving_endpoints_stay_however_their_source_is_hidden() {
        for frontend in [VIP, NODE_PORT] {
            assert!(!stale(&[SERVING], CLIENT, frontend, SERVING, CLIENT));
            assert!(!stale(&[SERVING], CLIENT, frontend, SERVING, NODE));
        }
    }

    #[test]
    fn flows_to_endpoints_that_are_gone_go() {
        for frontend in [VIP, NODE_PORT] {
            assert!(stale(&[SERVING], CLIENT, frontend, GONE, CLIENT));
            assert!(stale(&[], CLIENT, frontend, GONE, NODE), "the last endpoint left, or the Service");
        }
    }

    #[test]
    fn untranslated_flows_go_unless_they_may_be_the_nodes_own() {
        assert!(stale(&[SERVING], CLIENT, VIP, VIP, CLIENT));
        assert!(stale(&[], CLIENT, VIP, VIP, CLIENT));
        assert!(stale(&[SERVING], CLIENT, NODE_PORT, NODE_PORT, CLIENT));
        assert!(!stale(&[], CLIENT, NODE_PORT, NODE_PORT, CLIENT));
    }

    #[test]
    fn untranslated_flows_from_a_frontend_go() {
        assert!(stale(&[SERVING], VIP, CLIENT, CLIENT, VIP));
        assert!(stale(&[SERVING], NODE_PORT, CLIENT, CLIENT, NODE_PORT));
        assert!(!stale(&[], NODE_PORT, CLIENT, CLIENT, NODE_PORT), "the node's own");
        assert!(!stale(&[SERVING], VIP, CLIENT, CLIENT, NODE), "hidden source: no answer of an untranslated flow");
        assert!(!stale(&[SERVING], VIP, CLIENT, GONE, VIP), "translated by somebody else's rules");
    }

    #[test]
    fn an_endpoint_at_the_frontends_own_address_may_open_flows() {
        assert!(!stale(&[VIP], VIP, CLIENT, CLIENT, VIP));
        assert!(!stale(&[VIP], CLIENT, VIP, VIP, CLIENT));
    }

    #[test]
    fn a_client_that_may_no_longer_come_loses_the_flow_that_was_never_answered() {
        let all = |last| Some(vec![IpRange { first: [10, 9, 0, 0].into(), last }]);
        let flow = |answered| Flow {
            protocol: Protocol::Udp,
            source: target(CLIENT),
            destination: target(VIP),
            reply_source: target(SERVING),
            reply_destination: target(CLIENT),
            answered,
            ended: false,
            id: None,
            zone: None,
        };
        let stale = |answered, allowed| {
            let Target { address, port } = target(VIP);
            let targets = BTreeSet::from([target(SERVING)]);
            let serving = ServingTargets { targets, allowed, ..ServingTargets::default() };
            is_stale(&BTreeMap::from([(Frontend { address, protocol: Protocol::Udp, port }, serving)]), &flow(answered))
        };
        assert!(stale(false, all([10, 9, 0, 0].into())));
        assert!(!stale(false, all([10, 9, 0, 1].into())), "may come");
        assert!(!stale(false, None), "everybody may come");
        assert!(!stale(true, all([10, 9, 0, 0].into())), "established");
    }

    #[test]
    fn other_flows_are_not_ours() {
        assert!(!stale(&[SERVING], CLIENT, SERVING, SERVING, CLIENT));
        assert!(!stale(&[SERVING], CLIENT, "10.96.0.10:54", GONE, CLIENT));
        assert!(!stale(&[SERVING], CLIENT, "192.0.2.9:30053", GONE, CLIENT), "another address's node port");
    }
}
