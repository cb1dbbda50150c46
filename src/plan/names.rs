//! Names of both sides, from the listings of their snapshots.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::Change;
use crate::{model::ServiceId, zone::Snapshot};

/// The names of a Service, each with the addresses or the alias that it answers with. Names of endpoints stand below it.
pub type ServiceNames = BTreeMap<String, BTreeSet<String>>;

/// The names of every Service. Ports' names and names of addresses follow from these, and are left out.
pub fn names_by_service(snapshot: &Snapshot) -> BTreeMap<ServiceId, ServiceNames> {
    let mut names: BTreeMap<ServiceId, ServiceNames> = BTreeMap::new();
    for line in snapshot.listing() {
        let mut words = line.split_whitespace();
        let Some((name, id)) = words.next().and_then(|name| Some((name, service(name)?))) else { continue };
        let answers: BTreeSet<String> = match words.next() {
            Some("SRV") => continue,
            Some("CNAME") => words.map(|target| format!("alias {target}")).collect(),
            first => {
                first.into_iter().chain(words).filter(|w| w.parse::<IpAddr>().is_ok()).map(str::to_owned).collect()
            }
        };
        names.entry(id).or_default().insert(name.to_owned(), answers);
    }
    names
}

/// The Service of `web.shop.svc` or `pod-a.web.shop.svc`.
fn service(name: &str) -> Option<ServiceId> {
    let mut labels = name.strip_suffix(".svc")?.rsplit('.');
    let (namespace, service) = (labels.next()?, labels.next()?);
    Some(ServiceId::new(namespace, service))
}

/// What changes in the names of each Service.
pub fn changes(
    old: &BTreeMap<ServiceId, ServiceNames>,
    new: &BTreeMap<ServiceId, ServiceNames>,
) -> BTreeMap<ServiceId, Vec<Change>> {
    let all: BTreeSet<&ServiceId> = old.keys().chain(new.keys()).collect();
    let nothing = ServiceNames::new();
    let mut found = BTreeMap::new();
    for id in all {
        let changes = of_service(old.get(id).unwrap_or(&nothing), new.get(id).unwrap_or(&nothing));
        if !changes.is_empty() {
            found.insert(id.clone(), changes);
        }
    }
    found
}

fn of_service(old: &ServiceNames, new: &ServiceNames) -> Vec<Change> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let (mut changes, mut gained, mut lost, mut moved) =
        (Vec::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for name in names {
        // `web.shop.svc` is the Service's own.
        let own = name.split('.').count() == 3;
        match (old.get(name), new.get(name)) {
            (None, Some(answers)) if own => changes.push(Change::NameAppears(name.clone(), answers.clone())),
            (Some(answers), None) if own => changes.push(Change::NameVanishes(name.clone(), !answers.is_empty())),
            (Some(old), Some(new)) if old != new && own => changes.push(Change::NameAnswers {
                name: name.clone(),
                gained: new.difference(old).cloned().collect(),
                lost: old.difference(new).cloned().collect(),
                empty: new.is_empty(),
            }),
            (None, _) => drop(gained.insert(name.clone())),
            (_, None) => drop(lost.insert(name.clone())),
            (Some(old), Some(new)) if old != new => drop(moved.insert(name.clone())),
            _ => {}
        }
    }
    // With a Service come and go the names of its endpoints.
    let whole = changes.iter().any(|change| matches!(change, Change::NameAppears(..) | Change::NameVanishes(..)));
    if !(whole || gained.is_empty() && lost.is_empty() && moved.is_empty()) {
        changes.push(Change::EndpointNames { gained, lost, moved });
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(lines: &[(&str, &[&str])]) -> ServiceNames {
        let answers = |answers: &[&str]| answers.iter().map(|answer| (*answer).to_owned()).collect();
        lines.iter().map(|(name, list)| ((*name).to_owned(), answers(list))).collect()
    }

    #[test]
    fn the_service_of_a_name_stands_before_svc() {
        assert_eq!(service("web.shop.svc"), Some(ServiceId::new("shop", "web")));
        assert_eq!(service("pod-a.web.shop.svc"), Some(ServiceId::new("shop", "web")));
        assert_eq!(service("shop"), None);
        assert_eq!(service("ns.dns"), None);
    }

    #[test]
    fn a_name_without_an_answer_is_told_apart_from_one_that_is_gone() {
        let old = names(&[("web.shop.svc", &["10.1.0.1"]), ("a.web.shop.svc", &["10.1.0.1"])]);
        let new = names(&[("web.shop.svc", &[])]);
        let [Change::NameAnswers { empty: true, lost, .. }, Change::EndpointNames { lost: names, .. }] =
            &of_service(&old, &new)[..]
        else {
            panic!("{:?}", of_service(&old, &new))
        };
        assert!(lost.contains("10.1.0.1") && names.contains("a.web.shop.svc"));
        assert_eq!(of_service(&new, &ServiceNames::new()), [Change::NameVanishes("web.shop.svc".into(), false)]);
        assert_eq!(of_service(&old, &old), []);
    }
}
