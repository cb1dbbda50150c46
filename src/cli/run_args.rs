//! The flags of `portolan run`: every option of [`Config`], and where a file of them is.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use tracing::warn;

use super::{node_name, read_config};
use crate::config::{self, Config, Entry, Warning};

const EXAMPLES: &str = "\
Examples:
  portolan run --node node-1 --kubeconfig /etc/portolan/kubeconfig    follow the cluster's API server
  portolan run --config /var/lib/kube-proxy/config.conf               with the file of a kube-proxy
  portolan run -f /etc/portolan/manifests --node node-1               follow a folder
  portolan run -f /etc/portolan/manifests --node node-1 --dry-run     say what would change, and go on watching
  portolan run --config portolan.yaml --write-config-to /dev/stdout   say what applies, and end";

/// Keep the kernel true to the cluster's Services, following their changes.
///
/// Follows the API server, or with --manifests files, the interfaces' addresses, and changes that others make to our
/// tables. Ends on SIGTERM or SIGINT and leaves the rules in place: a restart takes them over without a gap. `portolan
/// cleanup` removes them.
///
/// A flag counts more than its environment variable, that more than the file given by --config, and that more than the
/// default.
///
/// Exit code: 0 ended by a signal; 2 it could not start.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
struct Flags {
    /// File with these options, their names in camel case (--cluster-cidr as clusterCidr), or a KubeProxyConfiguration
    #[arg(long, value_name = "PATH", env = "PORTOLAN_CONFIG")]
    config: Option<PathBuf>,

    /// Write the options as they apply to a file that --config reads, and end
    #[arg(long, value_name = "PATH", env = "PORTOLAN_WRITE_CONFIG_TO")]
    write_config_to: Option<PathBuf>,

    #[command(flatten)]
    options: Config,
}

/// The flags as given: what was not is still to be filled in from a file.
#[derive(Clone, Debug)]
pub struct RunArgs {
    config_file: Option<PathBuf>,
    write_config_to: Option<PathBuf>,
    given: Vec<Entry>,
}

impl Args for RunArgs {
    fn augment_args(command: Command) -> Command {
        Flags::augment_args(command).mut_arg("manifests", |manifests| manifests.required(false))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RunArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = Flags::from_arg_matches(matches)?;
        let Flags { config: config_file, write_config_to, options: _ } = flags;
        Ok(Self { config_file, write_config_to, given: config::given(matches) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl RunArgs {
    /// What applies, from flags, environment, file and defaults, and what is to be said about it. The node's name is
    /// filled in with the host's where nobody gives one.
    ///
    /// # Errors
    /// A file that cannot be read; a [`config::ConfigError`].
    pub fn config(&self) -> anyhow::Result<(Config, Vec<Warning>)> {
        let (mut config, warnings) = self.as_given()?;
        config.node.node = Some(node_name(&config.node));
        Ok((config, warnings))
    }

    /// Whether somebody gave the node's name, so that it is not the host's.
    ///
    /// # Errors
    /// Those of [`RunArgs::config`].
    pub fn names_node(&self) -> anyhow::Result<bool> {
        Ok(self.as_given()?.0.node.node.is_some())
    }

    /// These flags, and another one, which counts more than any place where it may stand.
    pub fn with(&self, flag: &str, value: &str) -> Self {
        let mut args = self.clone();
        args.given.retain(|entry| entry.flag != flag);
        args.given.push(Entry::new(flag, value));
        args
    }

    /// What applies to answers about names, whoever gives them in the end; what is to be said about it is said.
    ///
    /// # Errors
    /// Those of [`RunArgs::config`].
    pub fn of_answers(&self) -> anyhow::Result<Config> {
        let (config, warnings) = self.with("dns", "central").config()?;
        warnings.iter().for_each(|warning| warn!("{warning}"));
        Ok(config)
    }

    /// With --write-config-to: writes what applies and says that this was all. The node's name is written only if
    /// somebody gave one, so that the file can serve every node.
    ///
    /// # Errors
    /// Those of [`RunArgs::config`]; a file that cannot be written.
    pub fn write_config(&self) -> anyhow::Result<bool> {
        let Some(path) = &self.write_config_to else { return Ok(false) };
        let text = config::to_yaml(&self.as_given()?.0)?;
        fs::write(path, text).with_context(|| format!("cannot write the configuration to {}", path.display()))?;
        Ok(true)
    }

    fn as_given(&self) -> anyhow::Result<(Config, Vec<Warning>)> {
        let (mut entries, mut warnings) = (Vec::new(), Vec::new());
        if let Some(path) = &self.config_file {
            (entries, warnings) = read_config(path)?;
        }
        let (config, more) = config::resolve(entries, self.given.clone())?;
        warnings.extend(more);
        Ok((config, warnings))
    }
}
