//! Puts the layers on top of each other.

use std::{collections::BTreeMap, error::Error, ffi::OsString};

use clap::{ArgMatches, parser::ValueSource};

use super::{
    Config, ConfigError, Place, Warning,
    dns::{HEALTH_ADDRESS, INSTEAD_OF_A_COREFILE, MOST_UPSTREAMS, PodMode, READY_ADDRESS},
    file_key,
};

/// A value that some layer has for an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The option's flag, without the dashes
    pub flag: String,
    /// Its value; several for a list
    pub values: Vec<OsString>,
    /// Where it stands and the field's path there, if in a file
    pub origin: Option<(Place, String)>,
}

impl Entry {
    /// An entry that stands in no file.
    pub fn new(flag: &str, value: impl Into<OsString>) -> Self {
        Self { flag: flag.to_owned(), values: vec![value.into()], origin: None }
    }

    /// The entry as arguments. One with `=` a value, so that a value may look like anything.
    fn arguments(&self) -> impl Iterator<Item = OsString> {
        self.values.iter().map(|value| {
            let mut argument = OsString::from(format!("--{}=", self.flag));
            argument.push(value);
            argument
        })
    }
}

/// What flags and environment gave, from what clap found when it read both: defaults are left out.
pub fn given(matches: &ArgMatches) -> Vec<Entry> {
    let command = Config::command();
    let options = command.get_arguments().filter(|option| {
        // A command may have some of the options only.
        let id = option.get_id().as_str();
        let source = matches.try_contains_id(id).is_ok().then(|| matches.value_source(id)).flatten();
        matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    });
    let entry = |option: &clap::Arg| {
        let values = matches.get_raw(option.get_id().as_str())?.map(ToOwned::to_owned).collect();
        Some(Entry { flag: option.get_long()?.to_owned(), values, origin: None })
    };
    options.filter_map(entry).collect()
}

/// Makes one configuration of what a file has and what flags and environment give, which count more.
///
/// Without an API server - some layer names manifests - nothing is served, no Event written and no limit of connection
/// tracking changed unless asked for.
///
/// # Errors
/// A value that its option cannot have, or options that do not go together.
pub fn resolve(file: Vec<Entry>, given: Vec<Entry>) -> Result<(Config, Vec<Warning>), ConfigError> {
    for entry in file.iter().chain(&given) {
        Config::parse(entry.arguments()).map_err(|error| refusal(entry, &error))?;
    }
    let defaults = match file.iter().chain(&given).any(|entry| entry.flag == "manifests") {
        true => vec![
            Entry::new("healthz-bind-address", ""),
            Entry::new("metrics-bind-address", ""),
            Entry::new("events", "false"),
            Entry::new("conntrack-max-per-core", "0"),
            Entry::new("conntrack-tcp-timeout-established", "0s"),
            Entry::new("conntrack-tcp-timeout-close-wait", "0s"),
        ],
        false => Vec::new(),
    };
    let defaults = [defaults, served_names(file.iter().chain(&given))].concat();
    let mut effective: BTreeMap<String, Entry> = BTreeMap::new();
    for entry in [defaults, file, given].into_iter().flatten() {
        effective.insert(entry.flag.clone(), entry);
    }
    let config = Config::parse(effective.values().flat_map(Entry::arguments))
        .map_err(|error| ConfigError::Option { option: "options".to_owned(), reason: first_line(&error) })?;
    check(&config, &effective)?;
    let origin = effective.get("cluster-cidr").and_then(|entry| entry.origin.clone());
    let (place, field) = match origin {
        Some((place, field)) => (Some(place), field),
        None => (None, "--cluster-cidr".to_owned()),
    };
    let ignored = config.node.ignored_cluster_cidrs();
    let warning = |text| Warning { place: place.clone(), field: field.clone(), text };
    let warnings = ignored.into_iter().map(warning).collect();
    Ok((config, warnings))
}

/// Where a central server of names answers about itself, unless a Corefile says it.
fn served_names<'a>(entries: impl Iterator<Item = &'a Entry> + Clone) -> Vec<Entry> {
    let says = |flag: &str, value: Option<&str>| {
        let found = entries.clone().filter(|entry| entry.flag == flag);
        // The last one counts.
        found.last().is_some_and(|entry| value.is_none_or(|value| entry.values.iter().any(|v| v == value)))
    };
    if !says("dns", Some("central")) || says("corefile", None) {
        return Vec::new();
    }
    vec![
        Entry::new("dns-health-bind-address", HEALTH_ADDRESS.to_string()),
        Entry::new("dns-ready-bind-address", READY_ADDRESS.to_string()),
        Entry::new("dns-metrics-bind-address", "[::]:9153"),
    ]
}

/// What no option can be blamed for alone.
fn check(config: &Config, entries: &BTreeMap<String, Entry>) -> Result<(), ConfigError> {
    use super::DetectLocalMode::{BridgeInterface, InterfaceNamePrefix};
    let node = &config.node;
    let refuse = |flag: &str, reason: String| match entries.get(flag).and_then(|entry| entry.origin.clone()) {
        Some((place, field)) => Err(ConfigError::Field { place, field, reason }),
        None => Err(ConfigError::Option { option: format!("--{flag}"), reason }),
    };
    let needs = |other: &str| format!("needs --{other} (in a file: {})", file_key(other));
    match node.detect_local_mode {
        Some(BridgeInterface) if node.pod_bridge_interface.is_none() => {
            return refuse("detect-local-mode", needs("pod-bridge-interface"));
        }
        Some(InterfaceNamePrefix) if node.pod_interface_name_prefix.is_none() => {
            return refuse("detect-local-mode", needs("pod-interface-name-prefix"));
        }
        _ => {}
    }
    let instead = INSTEAD_OF_A_COREFILE.iter().find(|flag| entries.contains_key(**flag));
    if let (Some(_), Some(flag)) = (&config.dns.corefile, instead) {
        return refuse(flag, "says what the Corefile is to say: keep one of the two".to_owned());
    }
    if config.dns.dns_pods == PodMode::Cidr && config.dns.dns_pod_cidr.is_empty() && node.cluster_cidr.is_empty() {
        return refuse("dns-pods", needs("dns-pod-cidr"));
    }
    if config.dns.dns_upstreams.len() > MOST_UPSTREAMS {
        return refuse("dns-upstreams", format!("has more than {MOST_UPSTREAMS} servers"));
    }
    if config.sync.sync_period.is_zero() {
        return refuse("sync-period", "must be longer than 0s".to_owned());
    }
    if config.sync.min_sync_period > config.sync.sync_period {
        return refuse("min-sync-period", "is longer than the sync period".to_owned());
    }
    Ok(())
}

/// Why an entry's value was refused, in the words of its parser.
fn refusal(entry: &Entry, error: &clap::Error) -> ConfigError {
    let reason = error.source().map_or_else(|| first_line(error), ToString::to_string);
    match entry.origin.clone() {
        Some((place, field)) => ConfigError::Field { place, field, reason },
        None => ConfigError::Option { option: format!("--{}", entry.flag), reason },
    }
}

/// clap's own words, as far as they are about the value, on one line.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let about = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = about.split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(flag: &str, value: &str) -> Entry {
        Entry::new(flag, value)
    }

    #[test]
    fn flags_count_more_than_the_file_and_the_file_more_than_defaults() {
        let file = vec![entry("masquerade-bit", "20"), entry("min-sync-period", "1s")];
        let (config, _) = resolve(file, vec![entry("masquerade-bit", "21")]).unwrap();
        assert_eq!(config.node.masquerade_bit, 21);
        assert_eq!(config.sync.min_sync_period.as_secs(), 1);
        assert_eq!(config.sync.sync_period.as_secs(), 30);
        assert_eq!(config.node.node, None);
    }

    #[test]
    fn with_manifests_nothing_is_served_unless_asked_for() {
        let (config, _) = resolve(vec![], vec![]).unwrap();
        assert_eq!(config.serving.healthz().unwrap().to_string(), "0.0.0.0:10256");
        assert_eq!(config.serving.metrics().unwrap().to_string(), "127.0.0.1:10249");
        assert!(config.api.events);
        let given = vec![entry("manifests", "a,b.yaml"), entry("metrics-bind-address", "127.0.0.1:1")];
        let (config, _) = resolve(vec![], given).unwrap();
        assert_eq!(config.input.manifests, [std::path::PathBuf::from("a,b.yaml")]);
        assert_eq!(config.serving.healthz(), None);
        assert_eq!(config.serving.metrics().unwrap().to_string(), "127.0.0.1:1");
        assert!(!config.api.events);
    }

    #[test]
    fn a_central_server_of_names_tells_about_itself() {
        let served = |given: &[(&str, &str)]| {
            let given = given.iter().map(|(flag, value)| entry(flag, value)).collect();
            let dns = resolve(vec![], given).unwrap().0.dns;
            [dns.dns_health_bind_address, dns.dns_ready_bind_address, dns.dns_metrics_bind_address]
                .map(|address| address.0.map(|address| address.to_string()).unwrap_or_default())
        };
        assert_eq!(served(&[("dns", "central")]), ["[::]:8080", "[::]:8181", "[::]:9153"]);
        assert_eq!(served(&[("dns", "central"), ("dns-health-bind-address", "")])[0], "");
        assert_eq!(served(&[("dns", "central"), ("corefile", "f")]), [""; 3]);
        assert_eq!(served(&[("dns", "local")]), [""; 3]);
    }

    #[test]
    fn what_does_not_go_together_is_refused_by_name() {
        let refused = |entries: &[(&str, &str)]| {
            let given = entries.iter().map(|(flag, value)| entry(flag, value)).collect();
            resolve(vec![], given).unwrap_err().to_string()
        };
        let bridge = refused(&[("detect-local-mode", "BridgeInterface")]);
        assert_eq!(bridge, "--detect-local-mode: needs --pod-bridge-interface (in a file: podBridgeInterface)");
        let corefile = refused(&[("corefile", "Corefile"), ("dns-service", "a/b"), ("dns-ttl", "30")]);
        assert_eq!(corefile, "--dns-ttl: says what the Corefile is to say: keep one of the two");
        assert_eq!(refused(&[("dns-pods", "cidr")]), "--dns-pods: needs --dns-pod-cidr (in a file: dnsPodCidr)");
        assert!(refused(&[("dns-stub-domains", "corp.example")]).contains("is no DOMAIN=IP[:PORT]"));
        assert!(refused(&[("dns-upstreams", "tls://9.9.9.9")]).contains("tls:// is not supported"));
        assert_eq!(refused(&[("sync-period", "0s")]), "--sync-period: must be longer than 0s");
        assert!(refused(&[("min-sync-period", "31s")]).starts_with("--min-sync-period: "));
        assert_eq!(refused(&[("masquerade-bit", "32")]), "--masquerade-bit: 32 is not in 0..32");
        assert!(refused(&[("detect-local-mode", "Guess")]).contains("ClusterCIDR"));
        assert!(refused(&[("cluster-cidr", "pods")]).contains("is no range"));
    }
}
