//! Words for events as the kernel tells them, without a kernel: what real packets seldom show.

use std::collections::BTreeMap;

use super::*;
use crate::tables::DeadEnd;

/// An event of packet 0 without headers.
pub(super) fn event(table: &str, chain: &str, by: By, verdict: Verdict) -> Event {
    Event {
        id: 0,
        family: "ip",
        table: table.to_owned(),
        chain: chain.to_owned(),
        by,
        verdict,
        headers: None,
        incoming: None,
        outgoing: None,
        tracking: None,
    }
}

const OWN: &str = "portolan-trace-1";

fn headers(source: &str, destination: &str) -> Headers {
    let target = |text: &str| {
        let address: std::net::SocketAddr = text.parse().unwrap();
        Target { address: address.ip(), port: address.port() }
    };
    Headers { protocol: Protocol::Tcp, source: target(source), destination: target(destination) }
}

/// What is told of a packet from 10.244.1.20 to 10.96.0.10:80 that these things happened to.
fn told(events: Vec<Event>, names: &Names) -> Told {
    told_after(events, names, |_| {})
}

/// The same; `then` happens before it is looked whether the packet is gone.
fn told_after(events: Vec<Event>, names: &Names, then: impl FnOnce(&mut Gatherer)) -> Told {
    let mut gatherer = Gatherer::new(OWN, 1);
    let first = headers("10.244.1.20:4000", "10.96.0.10:80");
    let begin = Event { headers: Some(first), ..event(OWN, "sample", By::Rule(1), Verdict::Continue) };
    let begin = Event { incoming: Some("veth1".into()), ..begin };
    let over: Vec<Passage> = std::iter::once(begin).chain(events).flat_map(|event| gatherer.take(event)).collect();
    let passage = over.into_iter().next().unwrap_or_else(|| {
        then(&mut gatherer);
        gatherer.tick();
        gatherer.tick().remove(0)
    });
    tell(&passage, names)
}

fn text(told: &Told) -> Vec<&str> {
    told.steps.iter().map(|step| step.text.as_str()).collect()
}

fn to_endpoint() -> Option<Headers> {
    Some(headers("10.244.1.20:4000", "10.244.1.10:8080"))
}

fn leaves(tracking: Option<Tracking>, headers: Option<Headers>) -> Vec<Event> {
    let program = event("portolan", "filter-forward", By::End, Verdict::Continue);
    let program = Event { headers, tracking, ..program };
    let forward = Event { headers, tracking, ..event(OWN, "forward", By::Policy, Verdict::Accept) };
    let postrouting = event(OWN, "postrouting", By::End, Verdict::Continue);
    let postrouting = Event { headers, outgoing: Some("veth2".into()), ..postrouting };
    vec![program, forward, postrouting]
}

#[test]
fn a_packet_without_our_nat_chains_belongs_to_a_connection_or_is_not_tracked() {
    let same = Some(headers("10.244.1.20:4000", "10.96.0.10:80"));
    let names = Names::default();
    let steps = |tracking, headers| -> Vec<String> {
        let told = told(leaves(tracking, headers), &names);
        text(&told).into_iter().map(str::to_owned).collect()
    };
    let known = "belongs to a tracked connection; goes to 10.244.1.10:8080";
    assert_eq!(steps(Some(Tracking::Known), to_endpoint()), [known, "leaves by veth2"]);
    let untranslated = |what: &str| format!("belongs to {what}; goes to 10.96.0.10:80, untranslated");
    for (tracking, what) in [
        (Some(Tracking::Known), "a tracked connection"),
        (None, "a tracked connection, or is invalid"),
        (Some(Tracking::Invalid), "no connection (ct state invalid)"),
    ] {
        assert_eq!(steps(tracking, same), [untranslated(what).as_str(), "leaves by veth2"]);
    }
    assert_eq!(steps(Some(Tracking::Untracked), same), ["leaves by veth2"]);
    let bare = told(leaves(None, same).split_off(1), &names);
    assert!(text(&bare)[0].starts_with("no table of Portolan saw it"), "{bare:?}");
}

#[test]
fn a_translation_by_others_is_theirs() {
    let rule = (("ip".to_owned(), "cni".to_owned(), 7), "ip daddr 10.96.0.10 dnat to 10.244.1.10:8080".to_owned());
    let names = Names { rules: BTreeMap::from([rule]), ..Names::default() };
    let mut events = vec![event("cni", "prerouting", By::Rule(7), Verdict::Accept)];
    events.extend(leaves(Some(Tracking::New), to_endpoint()));
    let told = told(events, &names);
    let theirs = "sent to 10.244.1.10:8080 by ip cni prerouting: ip daddr 10.96.0.10 dnat to 10.244.1.10:8080";
    assert_eq!(text(&told), [theirs, "leaves by veth2"]);
}

#[test]
fn without_texts_of_rules_handles_must_do() {
    let dropped = told(vec![event("firewall", "forward", By::Rule(7), Verdict::Drop)], &Names::default());
    assert_eq!(dropped.outcome.to_string(), "dropped by ip firewall forward: the rule with handle 7");
    let owner = Owner { name: "shop/web:http".into(), dead_end: Some(DeadEnd::Refuse) };
    let frontend = crate::model::Frontend { address: [10, 96, 0, 10].into(), protocol: Protocol::Tcp, port: 80 };
    let names = Names { owners: BTreeMap::from([(frontend, owner)]), ..Names::default() };
    let refused = told(
        vec![
            event("portolan", "check-destination", By::Rule(8), Verdict::Goto("refuse".into())),
            event("portolan", "refuse", By::Rule(9), Verdict::Drop),
        ],
        &names,
    );
    assert_eq!(refused.outcome.to_string(), "refused: no endpoint for 10.96.0.10:80/TCP of Service shop/web:http");
    assert_eq!(refused.service.as_deref(), Some("shop/web"));
}

#[test]
fn the_sentence_counts_what_became_of_packets() {
    let question =
        Question { what: "new connections to x from anybody".into(), waited: "10s".into(), first_only: true };
    let (text, delivered) = sentence(&question, &[]);
    assert!(text.starts_with("No packet seen in 10s: new connections to x from anybody did not come") && !delivered);
    let went = told(leaves(Some(Tracking::Known), to_endpoint()), &Names::default());
    let lost = told(vec![], &Names::default());
    assert_eq!(
        sentence(&question, &[went.clone(), went.clone()]),
        ("2 packets: went to 10.244.1.10:8080.".into(), true)
    );
    let (text, delivered) = sentence(&question, &[went.clone(), lost, went]);
    assert!(text.starts_with("3 packets: 2 went to 10.244.1.10:8080; 1 lost: after the hook prerouting") && !delivered);
}

#[test]
fn whether_a_rule_refuses_or_translates_its_own_words_say() {
    for (rule, word) in [
        ("drop", "dropped"),
        ("log prefix \"will reject \" drop comment \"no reject\"", "dropped"),
        ("tcp dport 1 reject with tcp reset", "refused"),
        ("meta l4proto tcp xt target \"REJECT\"", "refused"),
    ] {
        let id = ("ip".to_owned(), "reject-log".to_owned(), 7);
        let names = Names { rules: BTreeMap::from([(id, rule.to_owned())]), ..Names::default() };
        let told = told(vec![event("reject-log", "reject", By::Rule(7), Verdict::Drop)], &names);
        assert_eq!(told.outcome.to_string(), format!("{word} by ip reject-log reject: {rule}"));
    }
    for (rule, step) in [
        ("accept", "belongs to a tracked connection; goes to 10.244.1.10:8080".to_owned()),
        ("xt target \"DNAT\"", "sent to 10.244.1.10:8080 by ip dnat redirect: xt target \"DNAT\"".to_owned()),
    ] {
        let id = ("ip".to_owned(), "dnat".to_owned(), 7);
        let names = Names { rules: BTreeMap::from([(id, rule.to_owned())]), ..Names::default() };
        let mut events = vec![event("dnat", "redirect", By::Rule(7), Verdict::Accept)];
        events.extend(leaves(Some(Tracking::New), to_endpoint()));
        assert_eq!(text(&told(events, &names))[0], step);
    }
}

#[test]
fn a_packet_that_meets_very_many_rules_is_told_with_its_end() {
    let many = vec![event("firewall", "forward", By::Rule(7), Verdict::Continue); 1500];
    let dropped = [many.clone(), vec![event("firewall", "forward", By::Rule(8), Verdict::Drop)]].concat();
    let told_of = |events| told(events, &Names::default());
    let cut = "meets more than 500 rules: not all are told from here on";
    let end = "dropped by ip firewall forward: the rule with handle 8";
    assert_eq!(text(&told_of(dropped)), [cut, end]);
    let delivered = told_of([many, leaves(Some(Tracking::Known), to_endpoint())].concat());
    let to = "belongs to a tracked connection; goes to 10.244.1.10:8080";
    assert_eq!(text(&delivered), [cut, to, "leaves by veth2"]);
    assert!(matches!(delivered.outcome, Outcome::Delivered { .. }));
}

#[test]
fn of_lost_events_nothing_is_concluded() {
    let names = Names::default();
    let gone = told_after(vec![], &names, Gatherer::lost);
    let unknown = "not known: events were lost: the kernel had more to tell than could be read";
    assert_eq!(gone.outcome.to_string(), unknown);
    let question = Question { what: "x".into(), waited: "10s".into(), first_only: true };
    assert_eq!(sentence(&question, std::slice::from_ref(&gone)), (format!("1 packet: {unknown}."), false));
    // It was seen to leave; why it goes there may be in what was lost.
    let mut gatherer = Gatherer::new(OWN, 1);
    let first = Some(headers("10.244.1.20:4000", "10.96.0.10:80"));
    gatherer.take(Event { headers: first, ..event(OWN, "sample", By::Rule(1), Verdict::Continue) });
    gatherer.lost();
    let over = leaves(None, to_endpoint()).into_iter().flat_map(|event| gatherer.take(event)).last().unwrap();
    let told = tell(&over, &names);
    assert_eq!(text(&told), ["now goes to 10.244.1.10:8080", "leaves by veth2"]);
    assert!(matches!(told.outcome, Outcome::Delivered { .. }));
}
