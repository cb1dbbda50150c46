//! `cache [TTL] [ZONES...] { ... }`

use std::time::Duration;

use super::{
    blocks::{Directive, Line},
    report::{Checked, Report},
    words::zones_of,
};
use crate::config::dns::{CacheOptions, LEAST_KEPT, Name, Prefetch, ServeStale};

/// Octets that an entry of CoreDNS's capacities stands for: its two defaults of 9984 entries make our default size.
const ENTRY_OCTETS: usize = (32 << 20) / (2 * COREDNS_ENTRIES);
const COREDNS_ENTRIES: usize = 9984;
/// However little is asked for, some answers fit.
const LEAST_OCTETS: usize = 256 << 10;
/// Failures are kept no longer (RFC 9520).
const LONGEST_FAILURE: Duration = Duration::from_secs(300);

/// Reads it; `zones` are those of its block.
pub fn cache(directive: &Directive, zones: &[Name], report: &mut Report) -> CacheOptions {
    let mut options = CacheOptions::default();
    let mut names = &directive.line.args[..];
    if let Some((first, rest)) = names.split_first().filter(|(first, _)| first.text.parse::<i64>().is_ok()) {
        if let Some(longest) = report.take("cache", first.number(1..=u32::MAX)) {
            options.success_ttl = bounds(longest, LEAST_KEPT);
            options.denial_ttl = bounds(longest, LEAST_KEPT);
        }
        names = rest;
    }
    options.zones = report.take("cache", zones_of(names)).unwrap_or_default();
    let zones = if options.zones.is_empty() { zones.to_vec() } else { options.zones.clone() };
    let mut entries = (COREDNS_ENTRIES, COREDNS_ENTRIES);
    for line in &directive.options {
        let read = option(line, &zones, &mut options, &mut entries, report);
        report.take(&format!("cache {}", line.name.text), read);
    }
    if entries != (COREDNS_ENTRIES, COREDNS_ENTRIES) {
        options.octets = entries.0.saturating_add(entries.1).saturating_mul(ENTRY_OCTETS).max(LEAST_OCTETS);
    }
    options
}

/// The longest time counts more than the least.
fn bounds(longest: u32, least: u32) -> (u32, u32) {
    (least.min(longest), longest)
}

fn option(
    line: &Line,
    zones: &[Name],
    options: &mut CacheOptions,
    entries: &mut (usize, usize),
    report: &mut Report,
) -> Checked<()> {
    let field = format!("cache {}", line.name.text);
    match line.name.text.as_str() {
        "success" => (entries.0, options.success_ttl) = capacity(line, options.success_ttl)?,
        "denial" => (entries.1, options.denial_ttl) = capacity(line, options.denial_ttl)?,
        "prefetch" => options.prefetch = prefetch(line)?,
        "serve_stale" => options.stale = serve_stale(line)?,
        "serve_stale_policy" => {
            line.one("a policy")?;
            let text = "has no meaning: a denial by an authority always ends a stale answer, a failure never does";
            report.warn(&line.name.place, &field, text);
        }
        "servfail" => {
            let token = line.one("a duration")?;
            let kept = token.duration()?;
            if kept > LONGEST_FAILURE {
                return Err(token.wrong("failures are kept for five minutes (5m) at most"));
            }
            options.servfail_ttl = u32::try_from(kept.as_secs()).unwrap_or(u32::MAX);
        }
        "disable" => {
            let [kind, names @ ..] = line.some("success or denial, and zones if not all are meant")? else {
                return Err(line.name.wrong("wants success or denial"));
            };
            let names = if names.is_empty() { zones.to_vec() } else { zones_of(names)? };
            match kind.text.as_str() {
                "success" => options.disable_success.extend(names),
                "denial" => options.disable_denial.extend(names),
                other => return Err(kind.wrong(format!("{other:?} is neither success nor denial"))),
            }
        }
        "keepttl" => {
            line.nothing()?;
            let text =
                "has no meaning: an answer from the cache tells how long it is still good, which caches behind need";
            report.warn(&line.name.place, &field, text);
        }
        other => return Err(line.name.wrong(format!("{other:?} is no option of cache"))),
    }
    Ok(())
}

/// `CAPACITY [TTL] [MINTTL]`
fn capacity(line: &Line, now: (u32, u32)) -> Checked<(usize, (u32, u32))> {
    let args = line.between(1..=3, "a number of entries, then the longest and the least time in seconds if wanted")?;
    let entries = args[0].number(0..=usize::MAX)?;
    let longest = args.get(1).map_or(Ok(now.1), |token| token.number(1..=u32::MAX))?;
    let least = args.get(2).map_or(Ok(LEAST_KEPT), |token| token.number(0..=u32::MAX))?;
    Ok((entries, bounds(longest, least)))
}

/// `AMOUNT [DURATION] [PERCENT%]`
fn prefetch(line: &Line) -> Checked<Option<Prefetch>> {
    let args = line.between(1..=3, "a number of hits, then a duration and a percentage if wanted")?;
    let mut prefetch = Prefetch { hits: args[0].number(0..=u32::MAX)?, ..Prefetch::default() };
    if let Some(token) = args.get(1) {
        prefetch.pause = token.duration()?;
    }
    if let Some(token) = args.get(2) {
        let percent = token.text.strip_suffix('%').and_then(|number| number.parse().ok());
        let percent = percent.filter(|percent| (10..=90).contains(percent));
        prefetch.percent =
            percent.ok_or_else(|| token.wrong(format!("{:?} is no percentage from 10% to 90%", token.text)))?;
    }
    Ok(Some(prefetch).filter(|prefetch| prefetch.hits > 0))
}

/// `[DURATION] [immediate [TTL [RECHECK]] | verify [WAIT [TTL [RECHECK]]]]`
fn serve_stale(line: &Line) -> Checked<Option<ServeStale>> {
    let mut stale = ServeStale::default();
    let mut args = line.between(0..=5, "a duration, then immediate or verify if wanted")?;
    if let Some((window, rest)) =
        args.split_first().filter(|(first, _)| first.text != "immediate" && first.text != "verify")
    {
        stale.window = window.duration()?;
        args = rest;
    }
    if let Some((mode, mut rest)) = args.split_first() {
        match mode.text.as_str() {
            "immediate" => stale.wait = Duration::ZERO,
            "verify" => {
                if let Some((wait, after)) = rest.split_first() {
                    stale.wait = wait.duration()?;
                    rest = after;
                }
            }
            other => return Err(mode.wrong(format!("{other:?} is neither immediate nor verify"))),
        }
        if let Some(token) = rest.first() {
            stale.ttl = u32::try_from(token.duration_or_seconds()?.as_secs()).unwrap_or(u32::MAX);
        }
        if let Some(token) = rest.get(1) {
            stale.recheck = token.duration()?;
        }
        if let Some(extra) = rest.get(2) {
            return Err(extra.wrong(format!("{:?} is one word too many", extra.text)));
        }
    }
    Ok(Some(stale).filter(|stale| !stale.window.is_zero()))
}
