//! Reads a `KubeProxyConfiguration`, so that the file of an existing kube-proxy works as it is.
//!
//! Types are as strict as kube-proxy's. Unknown fields are not: kube-proxy logs them and goes on (it decodes v1alpha1
//! leniently if the strict way fails), and a file that it takes must work here, too. Each becomes a warning.

mod fields;

use std::{collections::BTreeMap, net::IpAddr};

pub use fields::{FieldDoc, field_docs};

use super::{
    ConfigError, Entry, Place, Warning, parse_duration,
    yaml::{Node, Value},
};
use crate::model::{nearest, parse_address};
use fields::{Becomes, FIELDS, Field, Kind};

/// `apiVersion` of kube-proxy's file.
pub(super) const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";
/// `kind` of kube-proxy's file.
pub(super) const KIND: &str = "KubeProxyConfiguration";

/// How the kube-proxy of the file would program the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Iptables,
    Ipvs,
    Nftables,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Iptables => "iptables",
            Mode::Ipvs => "ipvs",
            Mode::Nftables => "nftables",
        }
    }
}

/// Whether kube-proxy's file has a field of this name at the top.
pub(super) fn has_field(name: &str) -> bool {
    FIELDS.iter().any(|field| field.path.split('.').next() == Some(name))
}

/// Translates the fields of a file.
pub(super) fn translate(fields: Vec<(Place, String, Node)>) -> Result<(Vec<Entry>, Vec<Warning>), ConfigError> {
    let mut translation = Translation { values: BTreeMap::new(), entries: Vec::new(), warnings: Vec::new() };
    translation.flatten("", fields)?;
    translation.run()?;
    Ok((translation.entries, translation.warnings))
}

/// A translation in the making.
struct Translation {
    /// The values of the file by the paths of their fields
    values: BTreeMap<&'static str, Node>,
    entries: Vec<Entry>,
    warnings: Vec<Warning>,
}

impl Translation {
    /// Takes over the fields of a map that stands at `above` (with a dot behind it, or empty).
    fn flatten(&mut self, above: &str, fields: Vec<(Place, String, Node)>) -> Result<(), ConfigError> {
        for (place, name, node) in fields {
            let path = format!("{above}{name}");
            let inside = format!("{path}.");
            if let Some(field) = FIELDS.iter().find(|field| field.path == path) {
                check_kind(field, &node)?;
                self.values.insert(field.path, node);
            } else if FIELDS.iter().any(|field| field.path.starts_with(&inside)) {
                match node.value {
                    Value::Map(fields) => self.flatten(&inside, fields)?,
                    Value::Null => {}
                    other => return Err(wrong_kind(node.place, &path, "fields (name: value)", &other)),
                }
            } else if !(above.is_empty() && ["apiVersion", "kind"].contains(&name.as_str())) {
                let near = nearest(&path, FIELDS.iter().map(|field| field.path.to_owned()));
                let hint = near.map(|near| format!("; is {near} meant?")).unwrap_or_default();
                self.warn(&path, &place, format!("kube-proxy has no such field, so it does nothing{hint}"));
            }
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), ConfigError> {
        let mode = self.mode()?;
        for field in FIELDS {
            let Some(node) = self.values.get(field.path).cloned() else { continue };
            let is_zero = is_zero(&node.value);
            match field.becomes {
                Becomes::Flag(flag) if node.value != Value::Null => self.set(flag, field, &node)?,
                Becomes::FlagUnlessZero(flag) if !is_zero => self.set(flag, field, &node)?,
                Becomes::FlagIn(modes, flag) if modes.contains(&mode) && node.value != Value::Null => {
                    self.set(flag, field, &node)?;
                }
                Becomes::FlagUnlessZeroIn(modes, flag) if modes.contains(&mode) && !is_zero => {
                    self.set(flag, field, &node)?;
                }
                Becomes::FlagIn(modes, _) | Becomes::FlagUnlessZeroIn(modes, _) if !modes.contains(&mode) => {
                    self.of_another_mode(field, &node, mode);
                }
                Becomes::Server(flag, port) if !is_zero => self.server(flag, port, field, &node),
                Becomes::Nothing(default) if !is_zero && !is_default(field.kind, &node.value, default) => {
                    self.warn(field.path, &node.place, "has no meaning for Portolan, so it does nothing");
                }
                _ => {}
            }
        }
        self.feature_gates();
        self.bind_address()?;
        self.node_port_addresses(mode);
        Ok(())
    }

    /// The mode, and a word that ours is another.
    fn mode(&mut self) -> Result<Mode, ConfigError> {
        let Some(node) = self.values.get("mode").cloned() else {
            return Ok(Mode::Iptables);
        };
        let (mode, said) = match node.value.scalar().unwrap_or_default() {
            "" => (Mode::Iptables, "empty, which means iptables"),
            "iptables" => (Mode::Iptables, "iptables"),
            "ipvs" => (Mode::Ipvs, "ipvs"),
            "nftables" => return Ok(Mode::Nftables),
            other => {
                let reason = format!("{other:?} is no mode: iptables, ipvs, nftables or empty");
                return Err(ConfigError::Field { place: node.place, field: "mode".to_owned(), reason });
            }
        };
        let text = format!("is {said}; Portolan programs nftables and nothing else");
        self.warn("mode", &node.place, text);
        Ok(mode)
    }

    /// A field of a section that does not count; worth a word if somebody chose its value.
    fn of_another_mode(&mut self, field: &Field, node: &Node, mode: Mode) {
        let default = match field.kind {
            Kind::Integer => "14",
            Kind::Duration if field.path.ends_with("minSyncPeriod") => "1s",
            Kind::Duration => "30s",
            _ => "false",
        };
        if !is_zero(&node.value) && !is_default(field.kind, &node.value, default) {
            let text = format!("does nothing, because the file's mode is {}, as for kube-proxy", mode.name());
            self.warn(field.path, &node.place, text);
        }
    }

    /// Gives a flag the value of a field. Two places for one thing must agree.
    fn set(&mut self, flag: &str, field: &Field, node: &Node) -> Result<(), ConfigError> {
        let texts: Vec<String> = match &node.value {
            Value::List(items) => items.iter().filter_map(|item| item.value.scalar()).map(str::to_owned).collect(),
            value => value.scalar().into_iter().map(str::to_owned).collect(),
        };
        let entry = Entry {
            flag: flag.to_owned(),
            values: texts.iter().flat_map(|text| split(flag, text)).map(Into::into).collect(),
            origin: Some((node.place.clone(), field.path.to_owned())),
        };
        match self.entries.iter().find(|other| other.flag == flag) {
            Some(other) if other.values != entry.values => {
                let other = other.origin.as_ref().map_or("another field", |(_, field)| field);
                let reason = format!("says something else than {other}, which means the same");
                Err(ConfigError::Field { place: node.place.clone(), field: field.path.to_owned(), reason })
            }
            Some(_) => Ok(()),
            None => {
                self.entries.push(entry);
                Ok(())
            }
        }
    }

    fn server(&mut self, flag: &str, port: u16, field: &Field, node: &Node) {
        let text = node.value.scalar().unwrap_or_default();
        let value = match parse_address(text.trim_matches(['[', ']'])) {
            Some(IpAddr::V4(address)) => format!("{address}:{port}"),
            Some(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            None => text.to_owned(),
        };
        let origin = Some((node.place.clone(), field.path.to_owned()));
        self.entries.push(Entry { origin, ..Entry::new(flag, value) });
    }

    fn feature_gates(&mut self) {
        let Some(Node { value: Value::Map(gates), .. }) = self.values.remove("featureGates") else { return };
        for (place, gate, _) in gates {
            let text = "Portolan has no feature gates, so it does nothing";
            self.warn(&format!("featureGates.{gate}"), &place, text);
        }
    }

    /// A concrete address is the node's address of its family, and one of IPv6 moves the servers there.
    fn bind_address(&mut self) -> Result<(), ConfigError> {
        let Some(node) = self.values.get("bindAddress").cloned().filter(|node| !is_zero(&node.value)) else {
            return Ok(());
        };
        let text = node.value.scalar().unwrap_or_default();
        let origin = Some((node.place.clone(), "bindAddress".to_owned()));
        let Some(address) = parse_address(text) else {
            let reason = format!("{text:?} is no IP address");
            return Err(ConfigError::Field { place: node.place, field: "bindAddress".to_owned(), reason });
        };
        if !address.is_unspecified() {
            self.entries.push(Entry { origin: origin.clone(), ..Entry::new("node-ip", address.to_string()) });
        }
        if address.is_ipv6() {
            for (flag, value) in [("healthz-bind-address", "[::]:10256"), ("metrics-bind-address", "[::1]:10249")] {
                if self.entries.iter().all(|entry| entry.flag != flag) {
                    self.entries.push(Entry { origin: origin.clone(), ..Entry::new(flag, value) });
                }
            }
        }
        Ok(())
    }

    /// Without a list, iptables and ipvs answer on all addresses, nftables on the primary one. What the operator has is
    /// what the operator keeps, and it is named.
    fn node_port_addresses(&mut self, mode: Mode) {
        let field = "nodePortAddresses";
        let node = self.values.get(field).cloned();
        let is_given = node.as_ref().is_some_and(|node| !is_zero(&node.value));
        if let Some(node) = node.as_ref().filter(|_| is_given)
            && let Value::List(items) = &node.value
        {
            self.entries.push(Entry {
                flag: "nodeport-addresses".to_owned(),
                values: items.iter().filter_map(|item| item.value.scalar()).map(Into::into).collect(),
                origin: Some((node.place.clone(), field.to_owned())),
            });
        } else if mode != Mode::Nftables {
            let origin = node.map(|node| (node.place, field.to_owned()));
            let text = format!(
                "is empty, which in mode {} means all addresses of the node: node ports answer on all of them here, too, \
                 except loopback addresses; [primary] is what kube-proxy's mode nftables does",
                mode.name()
            );
            let place = origin.as_ref().map(|(place, _)| place.clone());
            self.warnings.push(Warning { place, field: field.to_owned(), text });
            self.entries.push(Entry { origin, ..Entry::new("nodeport-addresses", "all") });
        }
    }

    fn warn(&mut self, field: &str, place: &Place, text: impl Into<String>) {
        self.warnings.push(Warning { place: Some(place.clone()), field: field.to_owned(), text: text.into() });
    }
}

/// The parts of a value that kube-proxy splits.
fn split(flag: &str, text: &str) -> Vec<String> {
    match flag {
        "cluster-cidr" => text.split(',').map(|part| part.trim().to_owned()).collect(),
        _ => vec![text.to_owned()],
    }
}

/// Nothing, or what Go takes for nothing, in all depths.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(text) => text == "false",
        Value::Number(text) => text.parse::<f64>().is_ok_and(|number| number == 0.0),
        // "0" is how Go writes a quantity.
        Value::Text(text) => text.trim().is_empty() || text == "0" || parse_duration(text).is_ok_and(|d| d.is_zero()),
        Value::List(items) => items.is_empty(),
        Value::Map(fields) => fields.iter().all(|(_, _, node)| is_zero(&node.value)),
    }
}

/// Whether the value says what kube-proxy assumes without it.
fn is_default(kind: Kind, value: &Value, default: &str) -> bool {
    let Some(text) = value.scalar() else { return false };
    // Some durations may also be a number of nanoseconds.
    let duration = |text: &str| match text.parse() {
        Ok(nanoseconds) => Ok(std::time::Duration::from_nanos(nanoseconds)),
        Err(_) => parse_duration(text),
    };
    match kind {
        Kind::Duration | Kind::Any => duration(text).is_ok_and(|d| duration(default) == Ok(d)),
        _ => text == default,
    }
}

/// Refuses a value of a type that kube-proxy would refuse.
fn check_kind(field: &Field, node: &Node) -> Result<(), ConfigError> {
    let is_integer = |text: &str| text.parse::<i32>().is_ok();
    let (fits, wanted) = match (field.kind, &node.value) {
        (_, Value::Null) | (Kind::Any, _) => (true, ""),
        (Kind::Text, value) => (matches!(value, Value::Text(_)), "a text (in quotes)"),
        (Kind::Bool, value) => (matches!(value, Value::Bool(_)), "true or false"),
        (Kind::Integer, Value::Number(text)) => (is_integer(text), "a whole number"),
        (Kind::Integer, _) => (false, "a whole number"),
        (Kind::Number, value) => (matches!(value, Value::Number(_)), "a number"),
        (Kind::Duration, Value::Text(text)) => match parse_duration(text) {
            Ok(_) => (true, ""),
            Err(reason) => {
                let field = field.path.to_owned();
                return Err(ConfigError::Field { place: node.place.clone(), field, reason });
            }
        },
        (Kind::Duration, _) => (false, "a duration such as \"30s\" (in quotes)"),
        (Kind::Texts, Value::List(items)) => {
            (items.iter().all(|item| matches!(item.value, Value::Text(_))), "a list of texts")
        }
        (Kind::Texts, _) => (false, "a list of texts"),
    };
    if fits { Ok(()) } else { Err(wrong_kind(node.place.clone(), field.path, wanted, &node.value)) }
}

fn wrong_kind(place: Place, field: &str, wanted: &str, value: &Value) -> ConfigError {
    let is = match value.scalar() {
        Some(text) => format!("{text:?}, {}", value.kind()),
        None => value.kind().to_owned(),
    };
    ConfigError::Field { place, field: field.to_owned(), reason: format!("is {is}; {wanted} is wanted") }
}
