//! The rules of our own program, in the words of Services: what each chain is for stands in rules/README.md.

use super::{Outcome, Teller, Translator, frontend};
use crate::{
    tables::{DeadEnd, List},
    traced::{By, Event, Verdict},
};

impl Teller<'_> {
    /// A rule of our program, or the end of one of its base chains.
    pub(super) fn program(&mut self, event: &Event) {
        let (_, chain) = List::of_name(&event.chain);
        match (chain, &event.verdict) {
            ("prerouting" | "output", Verdict::Goto(policy)) => self.frontend(event, policy),
            ("prerouting" | "output", Verdict::Accept) if event.by == By::Policy => self.no_frontend(event),
            ("guarded-external" | "guarded-external-local", verdict) => self.source_ranges(event, verdict),
            (_, Verdict::Goto(next)) if next.contains("pick-") || next.contains("sticky-") => self.choice(event, next),
            ("hide-source", _) if matches!(event.by, By::Rule(_)) => {
                self.say(event, "source to be hidden: marked for masquerading".into())
            }
            (pick, Verdict::Accept) if pick.starts_with("pick-") => self.translator = Some(Translator::Pick),
            (sticky, Verdict::Accept) if sticky.starts_with("sticky-") => {
                self.say(event, "session affinity: the client is remembered".to_owned());
                self.translator = Some(Translator::Affinity);
            }
            ("filter-input" | "check-destination", verdict) => self.dead_end(event, verdict),
            ("refuse", Verdict::Drop) => {
                let reason = self.refusal.take().unwrap_or_else(|| "by our program".to_owned());
                self.ended(event, Outcome::Refused { reason });
            }
            ("hide-marked", Verdict::Accept) => self.masqueraded = Some("marked, then masqueraded"),
            ("postrouting", Verdict::Accept) if matches!(event.by, By::Rule(_)) => {
                self.masqueraded = Some("the endpoint reaches itself through its own Service (hairpin), masqueraded");
            }
            (learn, _) if learn.starts_with("learn-") && matches!(event.by, By::Rule(_)) => {
                let text = "session affinity: this endpoint is remembered for the client";
                if self.steps.last().is_none_or(|step| step.text != text) {
                    self.say(event, text.to_owned());
                }
            }
            (_, Verdict::Drop) => self.ended(event, Outcome::Dropped { reason: format!("by {}", self.named(event)) }),
            _ => {}
        }
    }

    /// ` of Service shop/web:http`
    fn of_service(&self) -> String {
        let owner = self.names.owners.get(&frontend(self.now));
        owner.map_or(String::new(), |owner| format!(" of Service {}", owner.name))
    }

    fn frontend(&mut self, event: &Event, chain: &str) {
        self.taken = true;
        let unguarded = chain.strip_prefix("guarded-");
        let policy = match unguarded.unwrap_or(chain) {
            "internal" => "internal, Cluster",
            "internal-local" => "internal, Local",
            "external" => "external, Cluster",
            "external-local" => "external, Local",
            other => other,
        };
        let ranges = if unguarded.is_some() { ", with source ranges" } else { "" };
        self.say(event, format!("frontend {}{}, policy {policy}{ranges}", frontend(self.now), self.of_service()));
    }

    /// The end of the chain that looks for frontends: nothing was translated.
    fn no_frontend(&mut self, event: &Event) {
        let at = frontend(self.now);
        let text = match self.names.owners.get(&at).and_then(|owner| owner.dead_end) {
            _ if self.taken => "no endpoint for this client: not translated".to_owned(),
            Some(_) => format!("frontend {at}{} has no endpoint to go to: not translated", self.of_service()),
            None => format!("{at} is no frontend of a Service here: not translated"),
        };
        self.taken = true;
        self.say(event, text);
    }

    fn source_ranges(&mut self, event: &Event, verdict: &Verdict) {
        let source = self.now.source.address;
        match verdict {
            Verdict::Goto(_) => self.say(event, format!("source {source} is in loadBalancerSourceRanges")),
            Verdict::Drop => {
                let reason =
                    format!("source not allowed: {source} is outside loadBalancerSourceRanges{}", self.of_service());
                self.ended(event, Outcome::Dropped { reason });
            }
            _ => {}
        }
    }

    fn choice(&mut self, event: &Event, next: &str) {
        let (list, name) = List::of_name(next);
        let local = if list == List::Local { " of this node" } else { "" };
        let text = match name.strip_prefix("pick-") {
            Some("1") => format!("one endpoint{local} to go to ({next})"),
            Some(count) => format!("picks among {count} endpoints{local} ({next})"),
            None => format!("session affinity: asks whether the client is remembered ({next})"),
        };
        self.say(event, text);
    }

    /// Frontends that cannot be served, and stray packets to cluster addresses.
    fn dead_end(&mut self, event: &Event, verdict: &Verdict) {
        let at = frontend(self.now);
        let owner = self.names.owners.get(&at);
        let known = owner.and_then(|owner| owner.dead_end);
        let rule = match event.by {
            By::Rule(handle) => self.names.rule(event, handle).unwrap_or_default(),
            _ => "",
        };
        let of = self.of_service();
        let reason = match (known, verdict) {
            (Some(DeadEnd::Drop), Verdict::Drop) => format!("no endpoint on this node, policy Local, at {at}{of}"),
            (_, Verdict::Drop) if rule.contains("@service-networks") => {
                format!("{} is an address of the service network that no Service has", at.address)
            }
            (_, Verdict::Drop) => format!("no endpoint on this node, policy Local, at {at}"),
            (Some(_), Verdict::Goto(_)) => format!("no endpoint for {at}{of}"),
            (None, Verdict::Goto(_)) if rule.contains("@cluster-ips") => {
                format!("{} is a cluster IP, and its Service has no port {}/{}", at.address, at.port, at.protocol)
            }
            (None, Verdict::Goto(_)) => format!("no endpoint for {at}"),
            _ => return,
        };
        match verdict {
            Verdict::Drop => self.ended(event, Outcome::Dropped { reason }),
            _ => self.refusal = Some(reason),
        }
    }
}
