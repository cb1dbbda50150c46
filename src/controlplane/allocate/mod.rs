//! Cluster IPs, node ports, health check ports and load-balancer addresses for the Services that leave them open.
//!
//! What counts, in this order: what a Service has held before ([`Allocations`]), what a manifest asks for, and then a
//! free value that a hash of the Service's name leads to. Among equals the older Service goes first, then the first by
//! namespace and name. So nodes with the same manifests agree, and a Service that comes or goes moves no other.

mod claims;
mod ledger;
mod memory;
mod networks;
mod pending;
mod pool;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, net::IpAddr};

use jiff::Timestamp;

use self::{
    claims::{Claim, Claims, Place},
    ledger::Ledger,
    networks::Networks,
    pool::Value,
};
use super::{Options, hash};
use crate::{
    model::{Located, Notice, Severity},
    objects::{Object, Service},
};

pub use memory::{Allocations, Held};
pub use networks::default_service_cidr;
pub use pending::pending_reason;

/// `namespace/name` of an object.
pub(super) fn key(object: &Object) -> String {
    format!("{}/{}", object.namespace(), object.metadata().name)
}

/// An address that has been checked before.
fn address(text: &str) -> Option<IpAddr> {
    super::validate::address(text).ok()
}

/// Completes all Services. Those that cannot have what they ask for, or for which nothing is left, are taken out of
/// `objects` and returned. `existing` names all Services there are, also those refused before: what they held stays theirs.
pub(super) fn allocate(
    objects: &mut Vec<Located>,
    existing: &BTreeSet<String>,
    options: &Options,
    allocations: &mut Allocations,
    notices: &mut Vec<Notice>,
) -> Vec<Located> {
    if !options.incomplete {
        allocations.services.retain(|service, _| existing.contains(service));
    }
    let mut allocation = Allocation {
        networks: Networks::new(options, objects),
        ledger: Ledger::default(),
        objects,
        notices,
        refused: BTreeSet::new(),
    };
    let mut all = allocation.claims(allocations);
    allocation.keep_remembered(&mut all, allocations);
    allocation.grant_explicit(&mut all);
    allocation.give_out(&mut all);
    for claims in all.into_iter().filter(|claims| !allocation.refused.contains(&claims.object)) {
        if let Object::Service(service) = &mut allocation.objects[claims.object].object {
            let held = claims::apply(&claims, service);
            allocations.services.insert(claims.service, held);
        }
    }
    let refused = allocation.refused;
    let mut index = 0..;
    objects.extract_if(.., |_| index.next().is_some_and(|i| refused.contains(&i))).collect()
}

/// The work on one set of objects.
struct Allocation<'a> {
    networks: Networks,
    ledger: Ledger,
    objects: &'a mut Vec<Located>,
    notices: &'a mut Vec<Notice>,
    /// Indices of Services that have been refused
    refused: BTreeSet<usize>,
}

impl Allocation<'_> {
    /// What each Service claims, in the order in which they are served.
    fn claims(&mut self, allocations: &Allocations) -> Vec<Claims> {
        let is_service = |i: &usize| matches!(self.objects[*i].object, Object::Service(_));
        let mut order: Vec<usize> = (0..self.objects.len()).filter(is_service).collect();
        order.sort_by_cached_key(|i| seniority(&self.objects[*i]));
        order.into_iter().filter_map(|i| self.claims_of(i, allocations)).collect()
    }

    fn claims_of(&mut self, object: usize, allocations: &Allocations) -> Option<Claims> {
        let located = &self.objects[object];
        let Object::Service(service) = &located.object else { return None };
        let key = key(&located.object);
        let held = allocations.services.get(&key).cloned().unwrap_or_default();
        match claims::of_service(object, key, service, &held, &self.networks) {
            Ok((claims, warnings)) => {
                let warnings = warnings.into_iter().map(|(f, reason)| located.notice(Severity::Warning, f, reason));
                self.notices.extend(warnings);
                Some(claims)
            }
            Err((field, reason)) => {
                self.refuse(object, &field, reason);
                None
            }
        }
    }

    /// First: what Services have held stays theirs, if they still want it.
    fn keep_remembered(&mut self, all: &mut [Claims], allocations: &Allocations) {
        let served: BTreeSet<&str> = all.iter().map(|claims| claims.service.as_str()).collect();
        let others = allocations.services.iter().filter(|(service, _)| !served.contains(service.as_str()));
        for (service, value) in others.flat_map(|(service, held)| held.values().map(move |value| (service, value))) {
            // Another Service cannot hold it: nothing has been claimed but by these.
            let _ = self.ledger.claim(value, service);
        }
        for claims in all {
            for claim in &mut claims.claims {
                let Some(value) = claim.remembered else { continue };
                let wanted = match claim.explicit {
                    Some(explicit) => explicit == value,
                    None => claim.pool(&self.networks).contains(value),
                };
                if wanted && self.ledger.claim(value, &claims.service).is_ok() {
                    claim.granted = Some(value);
                }
            }
        }
    }

    /// Second: what manifests ask for, all that a Service asks for or nothing.
    fn grant_explicit(&mut self, all: &mut [Claims]) {
        for claims in all {
            let mut granted = Vec::new();
            let mut fault = None;
            for claim in claims.claims.iter_mut().filter(|claim| claim.granted.is_none()) {
                let Some(value) = claim.explicit else { continue };
                let is_new = !self.ledger.is_taken(value);
                let result = check_explicit(claim, value, &self.networks).and_then(|()| {
                    self.ledger
                        .claim(value, &claims.service)
                        .map_err(|holder| format!("{value} is already allocated to {holder}; choose another"))
                });
                match result {
                    Ok(()) => {
                        claim.granted = Some(value);
                        granted.extend(is_new.then_some(value));
                    }
                    // A load balancer that cannot have its address is pending; the Service works all the same.
                    Err(reason) if claim.place.is_load_balancer() => {
                        let notice =
                            self.objects[claims.object].notice(Severity::Warning, claim.field.as_str(), reason);
                        self.notices.push(notice);
                    }
                    Err(reason) => fault = fault.or(Some((claim.field.clone(), reason))),
                }
            }
            if let Some((field, reason)) = fault {
                self.ledger.release(&granted);
                self.refuse(claims.object, &field, reason);
            }
        }
    }

    /// Third: something free for those that leave the choice.
    fn give_out(&mut self, all: &mut [Claims]) {
        for claims in all {
            if self.refused.contains(&claims.object) {
                continue;
            }
            for claim in claims.claims.iter_mut().filter(|claim| claim.granted.is_none() && claim.explicit.is_none()) {
                let hash = hash::fnv1a(&[&claims.service, &claim.seed]);
                let found = claim.pool(&self.networks).find(hash, |value| self.ledger.is_taken(value));
                if let Some(value) = found {
                    // It was free a moment ago.
                    let _ = self.ledger.claim(value, &claims.service);
                    claim.granted = Some(value);
                }
            }
            let missing = |claim: &&Claim| claim.granted.is_none() && !claim.place.is_load_balancer();
            if let Some(claim) = claims.claims.iter().find(missing) {
                let (field, what) = (claim.field.clone(), claim.place.name());
                let is_new = |claim: &&Claim| claim.granted != claim.remembered;
                let granted: Vec<Value> = claims.claims.iter().filter(is_new).filter_map(|c| c.granted).collect();
                self.ledger.release(&granted);
                self.refuse(claims.object, &field, format!("no {what} is free; all of the range are allocated"));
            }
        }
    }

    fn refuse(&mut self, object: usize, field: &str, reason: String) {
        self.notices.push(self.objects[object].notice(Severity::Refused, field, reason));
        self.refused.insert(object);
    }
}

/// Whether a value that a manifest asks for can be had at all.
fn check_explicit(claim: &Claim, value: Value, networks: &Networks) -> Result<(), String> {
    match claim.place {
        Place::ClusterIp(_) => networks.check_cluster_ip(value),
        Place::NodePort(_) | Place::HealthCheck if !networks.ports.contains(value) => {
            Err(format!("{value} is outside {}, the range of node ports", networks.ports))
        }
        Place::LoadBalancer(_) if !claim.pool(networks).contains(value) => {
            Err(format!("{value} is outside the load balancer pool; it stays pending"))
        }
        _ => Ok(()),
    }
}

/// Sorts the older first, those that have never been in a cluster last, and then by namespace and name.
fn seniority(located: &Located) -> (bool, Option<Timestamp>, String, String) {
    let metadata = located.object.metadata();
    let created = metadata.creation_timestamp;
    (created.is_none(), created, located.object.namespace().to_owned(), metadata.name.clone())
}

/// Whether the Service is of the type.
fn is_type(service: &Service, kind: &str) -> bool {
    service.spec.type_.as_deref().filter(|type_| !type_.is_empty()).unwrap_or("ClusterIP") == kind
}
