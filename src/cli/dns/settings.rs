use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    path::PathBuf,
};

use ipnet::IpNet;
use tracing::warn;

use crate::{
    config::{
        Config,
        dns::{DnsConfig, DnsOptions},
    },
    dns::{corefile, process::Source},
};

/// What is answered: as a Corefile says, which may change, or as the flags say, which do not.
#[derive(Clone)]
pub struct Settings {
    options: DnsOptions,
    cluster_cidr: Vec<IpNet>,
    corefile: Option<PathBuf>,
    /// Of what was read last
    last: Option<u64>,
}

impl Settings {
    pub fn new(config: &Config) -> Self {
        Self {
            options: config.dns.clone(),
            cluster_cidr: config.node.cluster_cidr.clone(),
            corefile: config.dns.corefile.clone(),
            last: None,
        }
    }
}

impl Source for Settings {
    fn read(&mut self) -> Result<Option<DnsConfig>, String> {
        let (read, warnings) = match &self.corefile {
            Some(path) => match corefile::load(path) {
                Ok((config, warnings)) => (Ok(self.options.settle(config)), warnings),
                Err(reason) => (Err(reason), Vec::new()),
            },
            None => (Ok(self.options.config(&self.cluster_cidr)), Vec::new()),
        };
        // What is wrong counts as a content, too: it is told once. The file's hash would miss its imports.
        let mut hasher = DefaultHasher::new();
        format!("{:?}", read.as_ref().map(DnsConfig::without_places)).hash(&mut hasher);
        let hash = hasher.finish();
        if self.last.replace(hash) == Some(hash) {
            return Ok(None);
        }
        warnings.iter().for_each(|warning| warn!("{warning}"));
        read.map(Some)
    }

    fn version(&self) -> String {
        format!("{:016x}", self.last.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;
    use crate::cli::RunArgs;

    #[test]
    fn lines_that_moved_are_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Corefile");
        let text = ".:53 {\n forward . 192.0.2.1\n}\n";
        std::fs::write(&path, text).unwrap();
        let arguments = ["portolan", "--corefile", path.to_str().unwrap()];
        let matches = RunArgs::augment_args(Command::new("portolan")).get_matches_from(arguments);
        let (config, _) = RunArgs::from_arg_matches(&matches).unwrap().config().unwrap();
        let mut settings = Settings::new(&config);
        assert!(settings.read().unwrap().is_some());
        std::fs::write(&path, format!("# Ours\n\n{text}")).unwrap();
        assert!(settings.read().unwrap().is_none());
        std::fs::write(&path, text.replace("2.1", "2.2")).unwrap();
        assert!(settings.read().unwrap().is_some());
    }
}
