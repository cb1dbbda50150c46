//! What an operator can choose, and the one value that comes out of it.
//!
//! [`Config`] is put together from layers, each of which may leave anything open: defaults, a file, the environment and
//! flags. Every layer says the same thing in the same words, texts for options, so that clap's parsers are the only
//! ones and a value is refused for the same reason wherever it stands. A file is either our own ([`read_file`] says what
//! it looks like) or a `KubeProxyConfiguration`.

pub mod dns;
mod duration;
mod error;
mod file;
mod kube_proxy;
mod layers;
mod node;
mod options;
mod values;
mod yaml;

pub use duration::{format_duration, parse_duration};
pub use error::{ConfigError, Place, Warning};
pub use file::{API_VERSION, KIND, read_file, to_yaml};
pub use kube_proxy::{FieldDoc, field_docs};
pub use layers::{Entry, given, resolve};
pub use node::NodeOptions;
pub use options::{
    ApiOptions, Config, ConntrackOptions, InputOptions, ProcessOptions, ServingOptions, SyncOptions, file_key,
};
pub use values::{BindAddress, DetectLocalMode, NodePortAddress};

#[cfg(test)]
mod tests;
