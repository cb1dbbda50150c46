//! `forward FROM TO... { ... }`

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    blocks::{Directive, Line},
    lexer::Token,
    report::{Checked, Report},
    words::zones_of,
};
use crate::config::dns::{DNS_PORT, ForwardOptions, MOST_UPSTREAMS, Policy, Upstream};

/// Reads one; several come out if `FROM` is a range that makes several zones.
pub fn forward(directive: &Directive, report: &mut Report) -> Vec<ForwardOptions> {
    let line = &directive.line;
    let checked = line.between(2..=usize::MAX, "a zone and where to ask, such as `forward . /etc/resolv.conf`");
    let Some([from, to @ ..]) = report.take("forward", checked) else { return Vec::new() };
    let from = report.take("forward", from.zones());
    let upstreams = to.iter().filter_map(|token| {
        let read = upstream(&token.text).map_err(|reason| token.wrong(reason));
        report.take("forward", read)
    });
    let upstreams = upstreams.collect();
    if let Some(extra) = to.get(MOST_UPSTREAMS) {
        report.refuse(&extra.place, "forward", format!("has {} upstreams; {MOST_UPSTREAMS} is the most", to.len()));
    }
    let Some(from) = from else { return Vec::new() };
    let mut options = ForwardOptions::new(from[0].clone(), upstreams);
    options.place = Some(line.name.place.clone());
    for line in &directive.options {
        let field = format!("forward {}", line.name.text);
        let read = option(line, &mut options, report);
        report.take(&field, read);
    }
    from.into_iter().map(|from| ForwardOptions { from, ..options.clone() }).collect()
}

/// One upstream: `IP[:PORT]`, or a file in the form of resolv.conf.
///
/// # Errors
/// What is wrong, for its writer.
pub fn upstream(text: &str) -> Result<Upstream, String> {
    let text = match text.split_once("://") {
        None => text,
        Some(("dns", rest)) => rest,
        Some((scheme, _)) => {
            return Err(format!("{scheme}:// is not supported: upstreams are asked over UDP and TCP; give IP[:PORT]"));
        }
    };
    let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = address.parse() {
        return Ok(Upstream::Address(SocketAddr::new(address, DNS_PORT)));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(Upstream::Address(address)),
        _ if text.contains('/') || text.ends_with(".conf") => Ok(Upstream::ResolvConf(PathBuf::from(text))),
        _ => Err(format!("{text:?} is neither IP[:PORT] nor a file such as /etc/resolv.conf")),
    }
}

fn option(line: &Line, options: &mut ForwardOptions, report: &mut Report) -> Checked<()> {
    match line.name.text.as_str() {
        "except" => options.except.extend(zones_of(line.some("zones")?)?),
        "force_tcp" => {
            line.nothing()?;
            options.force_tcp = true;
        }
        "prefer_udp" => {
            line.nothing()?;
            options.prefer_udp = true;
        }
        "expire" => options.expire = line.one("a duration")?.duration()?,
        "max_age" => options.max_age = line.one("a duration")?.duration()?,
        "max_idle_conns" => options.max_idle = line.one("a number")?.number(0..=1_000_000)?,
        "read_timeout" => {
            let token = line.one("a duration")?;
            options.read_timeout = token.duration()?;
            if options.read_timeout == Duration::ZERO {
                return Err(token.wrong("no answer comes in no time; give 2s or so"));
            }
        }
        "max_fails" => options.max_fails = line.one("a number")?.number(0..=u32::MAX)?,
        "max_connect_attempts" => options.max_attempts = line.one("a number")?.number(0..=u32::MAX)?,
        "policy" => options.policy = policy(line.one("random, round_robin or sequential")?)?,
        "health_check" => health_check(line, options)?,
        "max_concurrent" => options.max_concurrent = line.one("a number")?.number(0..=10_000_000)?,
        "next" => {
            for token in line.some("response codes")? {
                options.next.push(token.rcode()?);
            }
        }
        "next_on_nodata" => {
            line.nothing()?;
            options.next_on_nodata = true;
        }
        "failover" => {
            for token in line.some("response codes")? {
                let rcode = token.rcode()?;
                if !options.failover.contains(&rcode) {
                    options.failover.push(rcode);
                }
            }
        }
        "failfast_all_unhealthy_upstreams" => {
            line.nothing()?;
            options.failfast = true;
        }
        "source_address" => options.source = Some(line.one("an IP address")?.address()?),
        "resolver" => {
            report.warn(&line.name.place, "forward resolver", "has no meaning: upstreams are addresses, not names")
        }
        "tls" | "tls_servername" | "doh_method" => {
            let reason = "is not supported: upstreams are asked over UDP and TCP, in the clear; remove the line, or \
                          forward to a resolver of yours that speaks it";
            return Err(line.name.wrong(reason));
        }
        other => return Err(line.name.wrong(format!("{other:?} is no option of forward"))),
    }
    Ok(())
}

fn policy(token: &Token) -> Checked<Policy> {
    match token.text.as_str() {
        "random" => Ok(Policy::Random),
        "round_robin" => Ok(Policy::RoundRobin),
        "sequential" => Ok(Policy::Sequential),
        other => Err(token.wrong(format!("{other:?} is no policy; random, round_robin and sequential are"))),
    }
}

/// `health_check DURATION [no_rec] [domain FQDN]`
fn health_check(line: &Line, options: &mut ForwardOptions) -> Checked<()> {
    let what = "a duration, then no_rec or domain NAME if wanted";
    let [interval, more @ ..] = line.between(1..=4, what)? else { return Err(line.name.wrong(what)) };
    options.health_interval = interval.duration()?;
    if options.health_interval == Duration::ZERO {
        return Err(
            interval.wrong("probes need a pause between them; give 500ms or so, or `max_fails 0` for no probes")
        );
    }
    let mut more = more.iter();
    while let Some(token) = more.next() {
        match (token.text.as_str(), token) {
            ("no_rec", _) => options.health_no_rec = true,
            ("domain", token) => {
                let name = more.next().ok_or_else(|| token.wrong("wants the name that probes ask for"))?;
                options.health_domain = name.name()?;
            }
            (other, token) => return Err(token.wrong(format!("{other:?} is neither no_rec nor domain"))),
        }
    }
    Ok(())
}
