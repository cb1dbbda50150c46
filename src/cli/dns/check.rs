//! `portolan dns --check`: what a configuration comes to.

use std::process::ExitCode;

use crate::{
    cli::table,
    config::{
        Config, Warning,
        dns::{DnsConfig, ServerBlock},
    },
    dns::{corefile, process},
};

/// Says what is wrong, all of it, or what there is.
///
/// # Errors
/// Standard output cannot be written to.
pub fn run(config: &Config, mut warnings: Vec<Warning>) -> anyhow::Result<ExitCode> {
    let options = &config.dns;
    let read = match &options.corefile {
        Some(path) => corefile::load(path).map(|(config, of_file)| {
            warnings.extend(of_file);
            options.settle(config)
        }),
        None => Ok(options.config(&config.node.cluster_cidr)),
    };
    warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    let names = match read {
        Ok(names) => names,
        Err(errors) => {
            errors.lines().for_each(|error| eprintln!("error: {error}"));
            return Ok(ExitCode::from(2));
        }
    };
    // Complains of hosts and zone files that cannot be used.
    process::Files::read(&names, None);
    table::print(&text(&names))?;
    Ok(ExitCode::SUCCESS)
}

fn text(names: &DnsConfig) -> String {
    let headings = ["BLOCK", "PORT", "BIND", "ZONES", "PLUGINS"];
    let mut lines = vec![headings.map(str::to_owned).to_vec()];
    lines.extend(names.servers.iter().enumerate().map(|(index, server)| line(index + 1, server)));
    table::columns(&lines)
}

fn line(number: usize, server: &ServerBlock) -> Vec<String> {
    let list = |items: Vec<String>, empty: &str| if items.is_empty() { empty.to_owned() } else { items.join(" ") };
    let bind = server.bind.iter().map(ToString::to_string).collect();
    let zones = server.zones.iter().map(|zone| zone.fmt_with_dot().to_string()).collect();
    let plugins = process::plugins(server).into_iter().map(|(_, _, name)| name.to_owned()).collect();
    vec![number.to_string(), server.port.to_string(), list(bind, "all"), list(zones, "-"), list(plugins, "-")]
}
