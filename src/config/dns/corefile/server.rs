//! A server block: its zones and ports, and a directive at a time.

use std::{net::IpAddr, time::Duration};

use super::{
    blocks::{Block, Directive, Line},
    cache, forward, kubernetes,
    lexer::{Environment, Token},
    local, refused,
    report::{Checked, Report},
    rewrite, zones,
};
use crate::config::dns::{
    BUFSIZE, HEALTH_ADDRESS, HealthOptions, Log, Name, PROMETHEUS_ADDRESS, READY_ADDRESS, ServerBlock,
};

/// How often a file is looked at if `reload` does not say (CoreDNS's value).
const RELOAD: Duration = Duration::from_secs(30);
/// and how often at most.
const FASTEST_RELOAD: Duration = Duration::from_secs(2);

/// Directives that a block has once at most.
const ONCE: [&str; 17] = [
    "any",
    "bufsize",
    "cache",
    "chaos",
    "errors",
    "health",
    "hosts",
    "kubernetes",
    "loadbalance",
    "log",
    "loop",
    "minimal",
    "nsid",
    "prometheus",
    "ready",
    "reload",
    "transfer",
];

/// Makes of a block one for each port that its keys name.
pub fn servers(block: &Block, environment: Environment<'_>, report: &mut Report) -> Vec<ServerBlock> {
    let ports = ports(&block.keys, report);
    let zones: Vec<Name> = ports.iter().flat_map(|(_, zones)| zones.iter().cloned()).collect();
    let mut server = ServerBlock::new(zones, 0);
    server.place = block.keys.first().map(|key| key.place.clone());
    for (index, directive) in block.directives.iter().enumerate() {
        let name = &directive.line.name;
        let earlier = block.directives[..index].iter().find(|other| other.line.name.text == name.text);
        match earlier.filter(|_| ONCE.contains(&name.text.as_str())) {
            Some(earlier) => {
                let reason = format!("stands at {} already; a block has it once", earlier.line.name.place);
                report.refuse(&name.place, &name.text, reason);
            }
            None => add(directive, &mut server, environment, report),
        }
    }
    ports.into_iter().map(|(port, zones)| ServerBlock { port, zones, ..server.clone() }).collect()
}

/// The zones of each port, in the order of the file.
fn ports(keys: &[Token], report: &mut Report) -> Vec<(u16, Vec<Name>)> {
    let mut ports: Vec<(u16, Vec<Name>)> = Vec::new();
    for key in keys {
        match zones::server(&key.text) {
            Err(reason) => report.refuse(&key.place, &key.text, reason),
            Ok((zones, port)) => match ports.iter_mut().find(|(known, _)| *known == port) {
                Some((_, known)) => known.extend(zones),
                None => ports.push((port, zones)),
            },
        }
    }
    ports
}

fn add(directive: &Directive, server: &mut ServerBlock, environment: Environment<'_>, report: &mut Report) {
    match directive.line.name.text.as_str() {
        "acl" => server.acl.extend(local::acl(directive, report)),
        "cache" => server.cache = Some(cache::cache(directive, &server.zones, report)),
        "errors" => errors(directive, server, report),
        "file" => server.files.extend(local::file(directive, report)),
        "forward" => server.forwards.extend(forward::forward(directive, report)),
        "health" => server.health = health(directive, report),
        "hosts" => server.hosts = Some(local::hosts(directive, report)),
        "kubernetes" => server.kubernetes = Some(kubernetes::kubernetes(directive, &server.zones, report)),
        "log" => server.log = log(directive, report),
        "ready" => ready(directive, server, report),
        "rewrite" => server.rewrites.extend(rewrite::rewrite(directive, report)),
        "template" => server.templates.extend(local::template(directive, report)),
        _ => simple(directive, server, environment, report),
    }
}

/// Directives of one line.
fn simple(directive: &Directive, server: &mut ServerBlock, environment: Environment<'_>, report: &mut Report) {
    let line = &directive.line;
    let name = line.name.text.as_str();
    let read = match name {
        "any" => line.nothing().map(|()| server.any = true),
        "bind" => bind(line).map(|addresses| server.bind.extend(addresses)),
        "bufsize" => bufsize(line).map(|octets| server.bufsize = octets),
        "chaos" => {
            server.chaos = Some(local::chaos(line));
            Ok(())
        }
        "loadbalance" => loadbalance(line).map(|()| server.shuffle = true),
        "loop" => line.nothing().map(|()| server.detect_loops = true),
        "minimal" => line.nothing().map(|()| server.minimal = true),
        "nsid" => {
            server.nsid = Some(nsid(line, environment));
            Ok(())
        }
        "prometheus" => listener(line, IpAddr::from(std::net::Ipv6Addr::UNSPECIFIED), PROMETHEUS_ADDRESS)
            .map(|address| server.prometheus = Some(address)),
        "reload" => reload(line).map(|every| server.reload = every),
        _ => return refused::refuse(line, report),
    };
    report.take(name, read);
    for option in &directive.options {
        let reason = match (name, option.name.text.as_str()) {
            ("bind", "except") => "except is not supported: name the addresses to listen on".to_owned(),
            (_, other) => format!("{other:?} is no option of {name}, which has none"),
        };
        report.refuse(&option.name.place, name, reason);
    }
}

/// The address that one word gives, or the usual one.
fn listener(line: &Line, all: IpAddr, usual: std::net::SocketAddr) -> Checked<std::net::SocketAddr> {
    let args = line.between(0..=1, "an address such as :8080")?;
    args.first().map_or(Ok(usual), |token| token.listener(all))
}

/// `health [ADDRESS] { lameduck DURATION }`
fn health(directive: &Directive, report: &mut Report) -> Option<HealthOptions> {
    let address = report.take("health", listener(&directive.line, HEALTH_ADDRESS.ip(), HEALTH_ADDRESS));
    let mut health = HealthOptions::default();
    for line in &directive.options {
        let read = match line.name.text.as_str() {
            "lameduck" => line.one("a duration").and_then(Token::duration).map(|lameduck| health.lameduck = lameduck),
            other => Err(line.name.wrong(format!("{other:?} is no option of health; lameduck is"))),
        };
        report.take("health", read);
    }
    Some(HealthOptions { address: address?, ..health })
}

/// `ready [ADDRESS] { monitor until-ready|continuously }`
fn ready(directive: &Directive, server: &mut ServerBlock, report: &mut Report) {
    server.ready = report.take("ready", listener(&directive.line, READY_ADDRESS.ip(), READY_ADDRESS));
    for line in &directive.options {
        let mode = (line.name.text.as_str(), line.args.first().map(|token| token.text.as_str()));
        match mode {
            ("monitor", Some("until-ready")) => {}
            ("monitor", Some("continuously")) => {
                let text =
                    "continuously has no meaning: names are answered from what was known last, so ready stays ready";
                report.warn(&line.name.place, "ready monitor", text);
            }
            _ => report.refuse(
                &line.name.place,
                "ready",
                "has one option: `monitor until-ready` or `monitor continuously`",
            ),
        }
    }
}

/// `errors { consolidate DURATION REGEXP [LEVEL], stacktrace }`
fn errors(directive: &Directive, server: &mut ServerBlock, report: &mut Report) {
    server.errors = true;
    report.take("errors", directive.line.nothing());
    for line in &directive.options {
        let read = match line.name.text.as_str() {
            "stacktrace" => line.nothing(),
            "consolidate" => consolidate(line).map(|()| {
                let text = "has no meaning: what happens over and over is logged once in a while as it is";
                report.warn(&line.name.place, "errors consolidate", text);
            }),
            other => Err(line.name.wrong(format!("{other:?} is no option of errors; consolidate and stacktrace are"))),
        };
        report.take("errors", read);
    }
}

fn consolidate(line: &Line) -> Checked<()> {
    let args = line.between(2..=4, "a duration, a regular expression and a level if wanted")?;
    args[0].duration()?;
    args[1].regex()?;
    Ok(())
}

/// `log [NAMES...] [FORMAT] { class CLASSES... }`
fn log(directive: &Directive, report: &mut Report) -> Option<Log> {
    let mut log = Log::default();
    let (formats, names): (Vec<&Token>, Vec<&Token>) =
        directive.line.args.iter().partition(|token| token.text.contains('{'));
    log.format = formats.last().map(|token| token.text.clone());
    for name in names {
        log.zones.extend(report.take("log", name.zones()).unwrap_or_default());
    }
    let mut classes = Vec::new();
    for line in &directive.options {
        match line.name.text.as_str() {
            "class" => classes.extend(report.take("log", line.some("success, denial, error or all"))?),
            other => report.refuse(&line.name.place, "log", format!("{other:?} is no option of log; class is")),
        }
    }
    (log.success, log.denial, log.error) = (classes.is_empty(), classes.is_empty(), classes.is_empty());
    for class in classes {
        match class.text.as_str() {
            "success" => log.success = true,
            "denial" => log.denial = true,
            "error" => log.error = true,
            "all" => (log.success, log.denial, log.error) = (true, true, true),
            other => {
                let reason = format!("{other:?} is no class; success, denial, error and all are");
                report.refuse(&class.place, "log", reason);
            }
        }
    }
    Some(log)
}

fn bind(line: &Line) -> Checked<Vec<IpAddr>> {
    let read = |token: &Token| {
        let address = token.address();
        address.map_err(|_| {
            token.wrong(format!("{:?} is no IP address; give the addresses of an interface, not its name", token.text))
        })
    };
    line.some("addresses to listen on")?.iter().map(read).collect()
}

fn bufsize(line: &Line) -> Checked<u16> {
    let args = line.between(0..=1, "a number of octets")?;
    args.first().map_or(Ok(BUFSIZE), |token| token.number(512..=4096))
}

fn loadbalance(line: &Line) -> Checked<()> {
    match line.args.first() {
        None => Ok(()),
        Some(token) if token.text == "round_robin" => Ok(()),
        Some(token) => {
            let reason =
                format!("{:?} is not supported: addresses are mixed evenly; write `loadbalance` alone", token.text);
            Err(token.wrong(reason))
        }
    }
}

/// `nsid [TEXT]`: the host's name by default, as the environment of a pod has it.
fn nsid(line: &Line, environment: Environment<'_>) -> Vec<u8> {
    let words: Vec<&str> = line.args.iter().map(|token| token.text.as_str()).collect();
    let text = if words.is_empty() { environment("HOSTNAME").unwrap_or_default() } else { words.join(" ") };
    if text.is_empty() { b"localhost".to_vec() } else { text.into_bytes() }
}

/// `reload [INTERVAL [JITTER]] | off`
fn reload(line: &Line) -> Checked<Option<Duration>> {
    let args = line.between(0..=2, "a duration and a longest delay if wanted")?;
    let Some(interval) = args.first() else { return Ok(Some(RELOAD)) };
    if interval.text == "off" {
        return Ok(None);
    }
    let every = interval.duration()?;
    if every < FASTEST_RELOAD {
        return Err(interval.wrong("is too often: 2s is the least"));
    }
    if let Some(jitter) = args.get(1) {
        jitter.duration()?;
    }
    Ok(Some(every))
}
