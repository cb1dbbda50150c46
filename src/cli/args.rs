//! Flags that several commands share.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use tracing::warn;

use crate::config::{self, Entry, Warning};
pub use crate::config::{InputOptions as InputArgs, NodeOptions as NodeArgs};

/// The node's name: as given, or the host name in lower case.
pub fn node_name(node: &NodeArgs) -> String {
    let host_name = || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    node.node.clone().or_else(host_name).unwrap_or_default().trim().to_lowercase()
}

/// Where a file with these options is: that of `portolan run`, so that a command judges by the agent's settings. It stands
/// before the options among a command's arguments, because they are taken out of what was given when they are read.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: Option<PathBuf>,
    given: Vec<Entry>,
}

/// The flag of a [`ConfigFile`].
#[derive(Args)]
struct Flag {
    /// File of portolan run whose options count where no flag and no environment variable gives one
    #[arg(long, value_name = "PATH", env = "PORTOLAN_CONFIG")]
    #[allow(dead_code, reason = "read from the matches")]
    config: Option<PathBuf>,
}

impl Args for ConfigFile {
    fn augment_args(command: Command) -> Command {
        Flag::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigFile {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        debug_assert!(matches.contains_id("state_dir"), "ConfigFile stands before the options");
        Ok(Self { path: matches.get_one("config").cloned(), given: config::given(matches) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl ConfigFile {
    /// The options, with what the file says where nothing else was given.
    ///
    /// # Errors
    /// A file that cannot be read; a [`config::ConfigError`].
    pub fn below(&self, input: &InputArgs, node: &NodeArgs) -> anyhow::Result<(InputArgs, NodeArgs)> {
        let Some(path) = &self.path else { return Ok((input.clone(), node.clone())) };
        let (entries, mut warnings) = read_config(path)?;
        let (config, more) = config::resolve(entries, self.given.clone())?;
        warnings.extend(more);
        warnings.iter().for_each(|warning| warn!("{warning}"));
        Ok((config.input, config.node))
    }
}

/// What a file with options says.
///
/// # Errors
/// It cannot be read; a [`config::ConfigError`].
pub fn read_config(path: &Path) -> anyhow::Result<(Vec<Entry>, Vec<Warning>)> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read the configuration from {}", path.display()))?;
    Ok(config::read_file(&text, &path.display().to_string())?)
}
