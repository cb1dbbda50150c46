//! New connections of each service port, from the kernel's counters.
//!
//! The kernel counts by frontend, from the moment the frontend was added: a counter starts again when the element is
//! made anew. What is exported only ever grows: it is the sum of the steps between two readings.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
};

use super::Labels;
use crate::{
    kernel::Count,
    model::{Frontend, PortId, ServiceId},
};

/// In place of namespace and name for all Services without a counter of their own. No Service can be called so.
const OTHERS: &str = "_other";

/// Connections of one series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    /// By the map `frontends`
    new: u64,
    /// By the map `dead-ends`
    unserved: u64,
}

/// What was counted since this process began.
#[derive(Debug)]
pub(super) struct Traffic {
    limit: usize,
    /// The last reading, by frontend and whether it is a dead end; `None` before the first one
    last: Option<BTreeMap<(Frontend, bool), u64>>,
    /// Services with series of their own. One that has them keeps them while it exists.
    admitted: BTreeSet<ServiceId>,
    /// `None` is the key of all other Services together
    totals: BTreeMap<Option<PortId>, Totals>,
}

impl Traffic {
    /// See [`super::Metrics::new`].
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, last: None, admitted: BTreeSet::new(), totals: BTreeMap::new() }
    }

    /// Services that may have series of their own.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// See [`super::Metrics::traffic`].
    pub(super) fn observe(
        &mut self,
        counts: &[Count],
        port_of: impl Fn(&Frontend) -> Option<PortId>,
        exists: impl Fn(&ServiceId) -> bool,
    ) {
        if self.limit == 0 {
            return;
        }
        self.admitted.retain(&exists);
        self.totals.retain(|port, _| port.as_ref().is_none_or(|port| exists(&port.service)));
        let before = self.last.take();
        let mut now = BTreeMap::new();
        let mut sorted: Vec<&Count> = counts.iter().collect();
        // Who is admitted must not depend on the order in which the kernel lists a map.
        sorted.sort_unstable();
        for count in sorted {
            let key = (count.frontend, count.dead_end);
            now.insert(key, count.packets);
            let step = match &before {
                // Counted before this process began: somebody else has exported it.
                None => 0,
                Some(before) => match before.get(&key) {
                    Some(last) if *last <= count.packets => count.packets - last,
                    // New, or made anew since.
                    _ => count.packets,
                },
            };
            if let Some(port) = port_of(&count.frontend) {
                let totals = self.series(port);
                let total = if count.dead_end { &mut totals.unserved } else { &mut totals.new };
                *total = total.saturating_add(step);
            }
        }
        self.last = Some(now);
    }

    fn series(&mut self, port: PortId) -> &mut Totals {
        let admitted = self.admitted.contains(&port.service) || self.admitted.len() < self.limit;
        if admitted {
            self.admitted.insert(port.service.clone());
        }
        self.totals.entry(admitted.then_some(port)).or_default()
    }
}

/// Writes them. The labels are not called `namespace` and `service`: a scrape gives the target's own by these names.
#[derive(Debug)]
pub(super) struct Collected(pub(super) Arc<Mutex<Traffic>>);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let traffic = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        type Picked = fn(&Totals) -> u64;
        let families: [(&str, &str, Picked); 2] = [
            (
                "portolan_service_new_connections",
                "New connections to frontends of a service port since this process began, those that a source range \
                 turned away among them; the Services beyond --service-metrics-limit together as _other.",
                |totals| totals.new,
            ),
            (
                "portolan_service_unserved_connections",
                "New connections to frontends of a service port that were refused or dropped because no endpoint may \
                 have them.",
                |totals| totals.unserved,
            ),
        ];
        for (name, help, value) in families {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (port, totals) in &traffic.totals {
                ConstCounter::new(value(totals)).encode(family.encode_family(&labels(port.as_ref()))?)?;
            }
        }
        Ok(())
    }
}

fn labels(port: Option<&PortId>) -> Labels<4> {
    let [namespace, name, port_name, protocol] = match port {
        Some(port) => [
            port.service.namespace.to_string(),
            port.service.name.to_string(),
            port.name.to_string(),
            port.protocol.to_string(),
        ],
        None => [OTHERS.to_owned(), OTHERS.to_owned(), String::new(), String::new()],
    };
    [("service_namespace", namespace), ("service_name", name), ("port_name", port_name), ("protocol", protocol)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    /// The kernel's counter of the frontend of `service`: 10.0.0.N:80 belongs to Service N.
    fn count(service: u8, packets: u64) -> Count {
        let frontend = Frontend { address: [10, 0, 0, service].into(), protocol: Protocol::Tcp, port: 80 };
        Count { frontend, dead_end: false, packets, bytes: 60 * packets }
    }

    fn dead_end(service: u8, packets: u64) -> Count {
        Count { dead_end: true, ..count(service, packets) }
    }

    fn port_of(frontend: &Frontend) -> Option<PortId> {
        let std::net::IpAddr::V4(address) = frontend.address else { return None };
        let service = ServiceId::new("shop", &address.octets()[3].to_string());
        Some(PortId { service, name: "http".into(), protocol: Protocol::Tcp })
    }

    fn after(limit: usize, readings: &[&[Count]]) -> Traffic {
        let mut traffic = Traffic::new(limit);
        for reading in readings {
            traffic.observe(reading, port_of, |_| true);
        }
        traffic
    }

    /// `[(service or _other, new, unserved)]`
    fn exported(traffic: &Traffic) -> Vec<(String, u64, u64)> {
        let name = |port: &Option<PortId>| port.as_ref().map_or(OTHERS.to_owned(), |p| p.service.name.to_string());
        traffic.totals.iter().map(|(port, totals)| (name(port), totals.new, totals.unserved)).collect()
    }

    fn line(name: &str, new: u64, unserved: u64) -> (String, u64, u64) {
        (name.to_owned(), new, unserved)
    }

    #[test]
    fn what_others_have_exported_is_not_exported_again() {
        let traffic = after(9, &[&[count(1, 500)], &[count(1, 507), dead_end(1, 2)]]);
        assert_eq!(exported(&traffic), [line("1", 7, 2)]);
    }

    #[test]
    fn counters_go_on_when_the_kernel_starts_again() {
        let made_anew = after(9, &[&[count(1, 0)], &[count(1, 10)], &[count(1, 3)]]);
        assert_eq!(exported(&made_anew), [line("1", 13, 0)]);
        let away_for_a_while = after(9, &[&[count(1, 0)], &[count(1, 10)], &[], &[count(1, 12)]]);
        assert_eq!(exported(&away_for_a_while), [line("1", 22, 0)], "another element, of the same frontend");
        let idle = after(9, &[&[count(1, 0)], &[count(1, 10)], &[count(1, 10)]]);
        assert_eq!(exported(&idle), [line("1", 10, 0)]);
    }

    #[test]
    fn services_beyond_the_limit_are_counted_together() {
        let zero: Vec<Count> = [2, 3].map(|n| count(n, 0)).to_vec();
        let mut traffic = after(2, &[&zero, &[count(1, 4), count(2, 5), count(3, 6)]]);
        let expected = [line(OTHERS, 4, 0), line("2", 5, 0), line("3", 6, 0)];
        assert_eq!(exported(&traffic), expected, "those that came first keep their series");

        // Service 2 is deleted: its series goes, and there is room for another.
        traffic.observe(&[count(1, 5), count(3, 6)], port_of, |id| &*id.name != "2");
        assert_eq!(exported(&traffic), [line(OTHERS, 4, 0), line("1", 1, 0), line("3", 6, 0)]);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        assert_eq!(exported(&after(0, &[&[count(1, 0)], &[count(1, 9)]])), []);
    }
}
