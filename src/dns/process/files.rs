//! What `hosts` and `file` answer from: files that are read again now and then.

use std::{fs, path::Path, sync::Arc, time::Duration};

use tracing::{info, warn};

use crate::{
    answers::extras::{file, hosts},
    config::dns::{DnsConfig, FileZone, HostsOptions, ServerBlock},
};

/// The contents of all files of a configuration.
#[derive(Debug, Default)]
pub struct Files {
    blocks: Vec<OfBlock>,
}

#[derive(Debug, Default)]
struct OfBlock {
    hosts: Option<Arc<Read<hosts::Table>>>,
    /// By `file`
    zones: Vec<Arc<Read<Vec<file::Zone>>>>,
}

/// A text, and what it says.
#[derive(Debug)]
struct Read<T> {
    text: Option<String>,
    value: T,
}

impl Files {
    /// How often the files are to be looked at.
    pub fn interval(config: &DnsConfig) -> Option<Duration> {
        let hosts = config.servers.iter().filter_map(|server| server.hosts.as_ref());
        let hosts = hosts.filter(|hosts| hosts.file.is_some()).map(|hosts| hosts.reload);
        let zones = config.servers.iter().flat_map(|server| &server.files).map(|file| file.reload);
        hosts.chain(zones).filter(|interval| !interval.is_zero()).min()
    }

    /// Reads everything. What cannot be read, or makes no sense, stays as it is in `before`.
    pub fn read(config: &DnsConfig, before: Option<&Files>) -> Self {
        let before = |block: usize| before.and_then(|before| before.blocks.get(block));
        let blocks = config.servers.iter().enumerate();
        Self { blocks: blocks.map(|(block, server)| OfBlock::read(server, before(block))).collect() }
    }

    /// What a block's `hosts` has read.
    pub fn hosts(&self, block: usize) -> Option<&hosts::Table> {
        Some(&self.blocks.get(block)?.hosts.as_ref()?.value)
    }

    /// The zones that a block's nth `file` has read.
    pub fn zones(&self, block: usize, nth: usize) -> &[file::Zone] {
        self.blocks.get(block).and_then(|block| block.zones.get(nth)).map_or(&[], |read| &read.value)
    }
}

impl OfBlock {
    fn read(server: &ServerBlock, before: Option<&OfBlock>) -> Self {
        let hosts = server.hosts.as_ref().map(|options| read_hosts(options, before.and_then(|b| b.hosts.as_ref())));
        let zones = server.files.iter().enumerate();
        let zones = zones.map(|(nth, file)| read_zones(server, file, before.and_then(|b| b.zones.get(nth)))).collect();
        Self { hosts, zones }
    }
}

fn read_hosts(options: &HostsOptions, before: Option<&Arc<Read<hosts::Table>>>) -> Arc<Read<hosts::Table>> {
    let of_file = options.file.as_deref().map(text);
    let text = match (of_file, before) {
        (Some(Err(_)), Some(before)) => return before.clone(),
        (Some(Ok(text)), Some(before)) if before.text.as_ref() == Some(&text) => return before.clone(),
        (Some(Ok(text)), _) => Some(text),
        _ => None,
    };
    let inline = options.inline.join("\n");
    let lines = format!("{inline}\n{}", text.as_deref().unwrap_or_default());
    let (value, useless) = hosts::Table::parse(&lines, options.no_reverse);
    if !useless.is_empty() {
        warn!("{} lines of `hosts` say nothing that can be used", useless.len());
    }
    Arc::new(Read { text, value })
}

fn read_zones(
    server: &ServerBlock,
    options: &FileZone,
    before: Option<&Arc<Read<Vec<file::Zone>>>>,
) -> Arc<Read<Vec<file::Zone>>> {
    let kept = || before.cloned().unwrap_or_else(|| Arc::new(Read { text: None, value: Vec::new() }));
    let Ok(text) = text(&options.file) else { return kept() };
    if let Some(before) = before.filter(|before| before.text.as_ref() == Some(&text)) {
        return before.clone();
    }
    let origins = if options.zones.is_empty() { &server.zones } else { &options.zones };
    let mut value = Vec::new();
    for origin in origins {
        match file::Zone::parse(&text, origin) {
            Ok(zone) => value.push(zone),
            Err(reason) => {
                warn!("cannot use the zone file {}: {reason}; what was read before stays", options.file.display());
                let old = kept();
                // Told once: the same text is not read again.
                return Arc::new(Read { text: Some(text), value: old.value.clone() });
            }
        }
    }
    info!("read the zone file {}", options.file.display());
    Arc::new(Read { text: Some(text), value })
}

fn text(path: &Path) -> Result<String, ()> {
    fs::read_to_string(path)
        .map_err(|error| warn!("cannot read {}: {error}; what was read before stays", path.display()))
}
