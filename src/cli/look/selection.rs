//! Which Services are asked for.

use clap::Args;

use crate::model::ServiceId;

/// Flags and words that name Services.
#[derive(Args, Clone, Debug, Default)]
pub struct Selected {
    /// Only these Services, each as NAME or NAMESPACE/NAME; to be given ahead of -f. Without any, all
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Only this namespace
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
}

impl Selected {
    /// Whether a Service is asked for.
    pub fn has(&self, id: &ServiceId) -> bool {
        let named = |text: &String| match text.split_once('/') {
            Some((namespace, name)) => namespace == &*id.namespace && name == &*id.name,
            None => *text == *id.name,
        };
        let in_namespace = self.namespace.as_deref().is_none_or(|namespace| namespace == &*id.namespace);
        in_namespace && (self.services.is_empty() || self.services.iter().any(named))
    }

    /// The words that name none of these Services.
    pub fn unknown<'a>(&'a self, known: &[&ServiceId]) -> Vec<&'a str> {
        let matches = |word: &String| {
            let one = Selected { services: vec![word.clone()], namespace: self.namespace.clone() };
            known.iter().any(|id| one.has(id))
        };
        self.services.iter().filter(|word| !matches(word)).map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_named_with_and_without_their_namespace() {
        let selected = |services: &[&str], namespace: Option<&str>| Selected {
            services: services.iter().map(|s| (*s).to_owned()).collect(),
            namespace: namespace.map(str::to_owned),
        };
        let (web, other) = (ServiceId::new("shop", "web"), ServiceId::new("town", "web"));
        assert!(selected(&[], None).has(&web));
        assert!(selected(&["web"], None).has(&web) && selected(&["web"], None).has(&other));
        assert!(selected(&["shop/web"], None).has(&web) && !selected(&["shop/web"], None).has(&other));
        assert!(!selected(&["web"], Some("shop")).has(&other));
        assert_eq!(
            selected(&["web", "shop/wep", "town/web"], Some("shop")).unknown(&[&web, &other]),
            ["shop/wep", "town/web"]
        );
    }
}
