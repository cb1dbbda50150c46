//! Who owns a frontend that several Services ask for.
//!
//! kube-proxy lets whichever it programs last win. Here the winner is always the same: what the frontend is to the
//! Service decides first (nobody can take a cluster IP away by naming it in `externalIPs`, CVE-2020-8554), then age,
//! then the name.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::OwnFrontend;
use crate::model::{Frontend, Service, ServiceId};

/// What a frontend is to a Service, the strongest claim first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrontendKind {
    /// Cluster IP
    ClusterIp,
    /// Load-balancer address
    LoadBalancer,
    /// External IP
    ExternalIp,
    /// Node port on one of the node's addresses
    NodePort,
}

impl FrontendKind {
    /// In words, without an article.
    pub fn name(self) -> &'static str {
        match self {
            FrontendKind::ClusterIp => "cluster IP",
            FrontendKind::LoadBalancer => "load balancer",
            FrontendKind::ExternalIp => "external IP",
            FrontendKind::NodePort => "node port",
        }
    }

    /// Whether the external traffic policy applies.
    pub fn is_external(self) -> bool {
        self != FrontendKind::ClusterIp
    }
}

/// A Service's wish for a frontend; the smallest wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    kind: FrontendKind,
    /// A Service without a creation time (a manifest) counts as the newest.
    created: (bool, Option<Timestamp>),
    service: ServiceId,
}

/// All claims on frontends of this node.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// In order: the first one owns the frontend. Nearly always there is one.
    by_frontend: BTreeMap<Frontend, Vec<Claim>>,
    by_service: BTreeMap<ServiceId, Vec<Frontend>>,
}

impl Claims {
    /// Replaces a Service's claims. Returns the other Services whose ownership of some frontend changed by it.
    pub fn set(&mut self, service: &Service, frontends: &[OwnFrontend]) -> BTreeSet<ServiceId> {
        let claim =
            |kind| Claim { kind, created: (service.created.is_none(), service.created), service: service.id.clone() };
        let mut wanted: BTreeMap<Frontend, Claim> = BTreeMap::new();
        for own in frontends {
            wanted.entry(own.frontend).and_modify(|c| c.kind = c.kind.min(own.kind)).or_insert_with(|| claim(own.kind));
        }
        self.replace(&service.id, wanted)
    }

    /// Withdraws all claims of a Service that is gone. Returns the Services that own something by it.
    pub fn withdraw(&mut self, service: &ServiceId) -> BTreeSet<ServiceId> {
        self.replace(service, BTreeMap::new())
    }

    /// The Service that owns the frontend.
    pub fn owner(&self, frontend: &Frontend) -> Option<&ServiceId> {
        self.by_frontend.get(frontend).and_then(|claims| claims.first()).map(|claim| &claim.service)
    }

    /// What the frontend is to its owner.
    pub fn kind(&self, frontend: &Frontend) -> Option<FrontendKind> {
        self.by_frontend.get(frontend).and_then(|claims| claims.first()).map(|claim| claim.kind)
    }

    /// Every frontend with its owner.
    pub fn owned(&self) -> impl Iterator<Item = (&Frontend, &ServiceId)> {
        self.by_frontend.iter().filter_map(|(frontend, claims)| Some((frontend, &claims.first()?.service)))
    }

    /// The frontends that a Service asked for.
    pub fn of(&self, service: &ServiceId) -> &[Frontend] {
        self.by_service.get(service).map_or(&[], Vec::as_slice)
    }

    fn replace(&mut self, service: &ServiceId, wanted: BTreeMap<Frontend, Claim>) -> BTreeSet<ServiceId> {
        let old = self.by_service.remove(service).unwrap_or_default();
        let touched: BTreeSet<Frontend> = old.iter().chain(wanted.keys()).copied().collect();
        if !wanted.is_empty() {
            self.by_service.insert(service.clone(), wanted.keys().copied().collect());
        }
        let mut affected = BTreeSet::new();
        for frontend in touched {
            let before = self.owner(&frontend).cloned();
            let claims = self.by_frontend.entry(frontend).or_default();
            claims.retain(|claim| claim.service != *service);
            claims.extend(wanted.get(&frontend).cloned());
            claims.sort_unstable();
            if claims.is_empty() {
                self.by_frontend.remove(&frontend);
            }
            let after = self.owner(&frontend).cloned();
            if before != after {
                affected.extend(before.into_iter().chain(after).filter(|id| id != service));
            }
        }
        affected
    }
}
