//! Our own file: the options by their names in camel case.
//!
//! ```yaml
//! apiVersion: config.portolan.net/v1alpha1   # these two lines may be left out
//! kind: PortolanConfiguration
//! clusterCidr: [10.244.0.0/16, fd00:10:244::/56]
//! minSyncPeriod: 1s
//! ```
//!
//! Names are compared without regard to capitals, so `clusterCIDR` works as well. `null`, an empty list and, for a
//! list, an empty text leave an option to the other layers. A field that does not exist is an error.

use std::ffi::OsString;

use super::{
    Config, ConfigError, Entry, Place, Warning, file_key, kube_proxy,
    yaml::{self, Node, Value},
};
use crate::model::nearest;

/// `apiVersion` of our own file.
pub const API_VERSION: &str = "config.portolan.net/v1alpha1";
/// `kind` of our own file.
pub const KIND: &str = "PortolanConfiguration";

/// Reads a file's text: our own form, or a `KubeProxyConfiguration`. `file` is its name, for errors and warnings.
///
/// # Errors
/// With line and column: text that is no YAML, a field that does not exist, a value of the wrong type, an object that is
/// no configuration.
pub fn read_file(text: &str, file: &str) -> Result<(Vec<Entry>, Vec<Warning>), ConfigError> {
    let document = yaml::parse(text, file)?;
    let fields = match document.value {
        Value::Null => return Ok((Vec::new(), Vec::new())),
        Value::Map(fields) => fields,
        other => {
            let reason = format!("is {}; a configuration has fields (name: value)", other.kind());
            return Err(ConfigError::Field { place: document.place, field: "the file".to_owned(), reason });
        }
    };
    let header = |name: &str| fields.iter().find(|(_, key, _)| key == name).map(|(_, _, node)| node);
    let text = |node: Option<&Node>| node.and_then(|node| node.value.scalar()).unwrap_or_default().to_owned();
    let (api_version, kind) = (text(header("apiVersion")), text(header("kind")));
    match (api_version.as_str(), kind.as_str()) {
        (kube_proxy::API_VERSION, kube_proxy::KIND) => kube_proxy::translate(fields),
        (API_VERSION | "", KIND | "") => Ok((own(fields)?, Vec::new())),
        _ => {
            let place = header("kind").or(header("apiVersion")).map_or(document.place, |node| node.place.clone());
            Err(ConfigError::Field { place, field: "kind".to_owned(), reason: not_ours(&api_version, &kind) })
        }
    }
}

fn not_ours(api_version: &str, kind: &str) -> String {
    let hint = match kind {
        "ConfigMap" => "; give the text of one of its keys, such as config.conf",
        _ => "",
    };
    format!(
        "{kind} of {api_version} is no configuration: {KIND} of {API_VERSION} is (both lines may be left out), or {} of \
         {}{hint}",
        kube_proxy::KIND,
        kube_proxy::API_VERSION
    )
}

fn own(fields: Vec<(Place, String, Node)>) -> Result<Vec<Entry>, ConfigError> {
    let command = Config::command();
    let flags: Vec<&str> = command.get_arguments().filter_map(|option| option.get_long()).collect();
    let mut entries: Vec<Entry> = Vec::new();
    for (place, key, node) in fields {
        if key == "apiVersion" || key == "kind" {
            continue;
        }
        let Some(flag) = flags.iter().find(|flag| file_key(flag).eq_ignore_ascii_case(&key)) else {
            return Err(ConfigError::Field { place, reason: unknown(&key, &flags), field: key });
        };
        if entries.iter().any(|entry| entry.flag == **flag) {
            let reason = "stands here a second time".to_owned();
            return Err(ConfigError::Field { place, field: key, reason });
        }
        let values = values(&node, &key)?;
        let is_list = command
            .get_arguments()
            .any(|option| option.get_long() == Some(flag) && matches!(option.get_action(), clap::ArgAction::Append));
        if !(values.is_empty() || is_list && values.iter().all(|value| value.is_empty())) {
            entries.push(Entry { flag: (*flag).to_owned(), values, origin: Some((node.place, key)) });
        }
    }
    Ok(entries)
}

/// The texts of a scalar or of a list of scalars.
fn values(node: &Node, field: &str) -> Result<Vec<OsString>, ConfigError> {
    let wrong = |place: &Place, field: String, value: &Value| ConfigError::Field {
        place: place.clone(),
        field,
        reason: format!("is {}; one value or a list of values is wanted", value.kind()),
    };
    match &node.value {
        Value::Null => Ok(Vec::new()),
        Value::List(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| match item.value.scalar() {
                Some(text) => Ok(text.into()),
                None => Err(wrong(&item.place, format!("{field}[{index}]"), &item.value)),
            })
            .collect(),
        value => match value.scalar() {
            Some(text) => Ok(vec![text.into()]),
            None => Err(wrong(&node.place, field.to_owned(), value)),
        },
    }
}

/// What to say of a field that does not exist.
fn unknown(key: &str, flags: &[&str]) -> String {
    let keys = flags.iter().map(|flag| file_key(flag));
    if let Some(near) = nearest(key, keys) {
        return format!("there is no such field; is {near} meant?");
    }
    match kube_proxy::has_field(key) {
        true => format!(
            "there is no such field; kube-proxy has it: a file of its fields needs the lines apiVersion: {} and kind: {}",
            kube_proxy::API_VERSION,
            kube_proxy::KIND
        ),
        false => "there is no such field; docs/configuration.md lists all".to_owned(),
    }
}

/// The configuration as a file of our own form, which [`read_file`] reads back to the same.
///
/// # Errors
/// A path that is no Unicode text, which YAML cannot hold.
pub fn to_yaml(config: &Config) -> Result<String, ConfigError> {
    let failed = |reason: String| ConfigError::Option { option: "--write-config-to".to_owned(), reason };
    let fields = serde_saphyr::to_string(config).map_err(|error| failed(error.to_string()))?;
    Ok(format!("apiVersion: {API_VERSION}\nkind: {KIND}\n{fields}"))
}
