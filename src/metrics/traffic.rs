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
