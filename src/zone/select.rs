use std::collections::BTreeMap;

use crate::config::dns::{Requirement, Selector};

/// Whether labels fulfil a selector; no selector selects everything.
pub(super) fn selects(selector: Option<&Selector>, labels: &BTreeMap<String, String>) -> bool {
    selector.is_none_or(|selector| selector.requirements.iter().all(|requirement| holds(requirement, labels)))
}

fn holds(requirement: &Requirement, labels: &BTreeMap<String, String>) -> bool {
    match requirement {
        Requirement::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
        Requirement::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
        Requirement::Exists(key) => labels.contains_key(key),
        Requirement::Missing(key) => !labels.contains_key(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_hold_as_kubernetes_has_it() {
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        let values = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        for (requirement, expected) in [
            (Requirement::In("app".into(), values(&["api", "web"])), true),
            (Requirement::In("app".into(), values(&["api"])), false),
            (Requirement::In("tier".into(), values(&["web"])), false),
            (Requirement::NotIn("app".into(), values(&["web"])), false),
            (Requirement::NotIn("app".into(), values(&["api"])), true),
            (Requirement::NotIn("tier".into(), values(&["web"])), true),
            (Requirement::Exists("app".into()), true),
            (Requirement::Exists("tier".into()), false),
            (Requirement::Missing("app".into()), false),
            (Requirement::Missing("tier".into()), true),
        ] {
            let selector = Selector { requirements: vec![Requirement::Exists("app".into()), requirement.clone()] };
            assert_eq!(selects(Some(&selector), &labels), expected, "{requirement:?}");
        }
        assert!(selects(None, &BTreeMap::new()) && selects(Some(&Selector::default()), &labels));
    }
}
