//! Answers that are made here: `hosts`, `file`, `template`, `chaos`; and who gets any: `acl`.

use std::net::IpAddr;

use domain::base::iana::Rcode;

use super::{
    blocks::{Directive, Line},
    report::{Checked, Report},
    words::zones_of,
};
use crate::config::dns::{AclAction, AclRule, Chaos, Fallthrough, FileZone, HostsOptions, Name, Template};

/// `hosts [FILE [ZONES...]] { LINES, ttl, no_reverse, reload, fallthrough }`
pub fn hosts(directive: &Directive, report: &mut Report) -> HostsOptions {
    let mut options = HostsOptions::default();
    if let Some((file, zones)) = directive.line.args.split_first() {
        options.file = Some(file.text.clone().into());
        options.zones = report.take("hosts", zones_of(zones)).unwrap_or_default();
    }
    for line in &directive.options {
        let read = hosts_option(line, &mut options);
        report.take(&format!("hosts {}", line.name.text), read);
    }
    options
}

fn hosts_option(line: &Line, options: &mut HostsOptions) -> Checked<()> {
    match line.name.text.as_str() {
        "ttl" => options.ttl = line.one("seconds")?.number(1..=65535)?,
        "no_reverse" => {
            line.nothing()?;
            options.no_reverse = true;
        }
        "reload" => options.reload = line.one("a duration")?.duration()?,
        "fallthrough" => options.fallthrough = line.fallthrough()?,
        address if address.parse::<IpAddr>().is_ok() => {
            let mut text = address.to_owned();
            for name in line.some("the names of the address")? {
                text += " ";
                text += &name.text;
            }
            options.inline.push(text);
        }
        other => {
            let reason =
                format!("{other:?} is neither an option of hosts nor an address; a line of hosts is `IP NAME...`");
            return Err(line.name.wrong(reason));
        }
    }
    Ok(())
}

/// `file DBFILE [ZONES...] { reload, fallthrough }`
pub fn file(directive: &Directive, report: &mut Report) -> Option<FileZone> {
    let line = &directive.line;
    let [path, zones @ ..] = report.take("file", line.some("a zone file, and its zones if wanted"))? else {
        return None;
    };
    let mut zone = FileZone::new(&path.text);
    zone.zones = report.take("file", zones_of(zones)).unwrap_or_default();
    for line in &directive.options {
        let field = format!("file {}", line.name.text);
        match line.name.text.as_str() {
            "reload" => zone.reload = report.take(&field, line.one("a duration").and_then(|token| token.duration()))?,
            "fallthrough" => zone.fallthrough = report.take(&field, line.fallthrough())?,
            "upstream" => {
                report.warn(&line.name.place, &field, "has no meaning: aliases are followed as `forward` says")
            }
            "transfer" => report.refuse(&line.name.place, &field, "zones are not handed out; remove the line"),
            other => report.refuse(&line.name.place, &field, format!("{other:?} is no option of file")),
        }
    }
    Some(zone)
}

/// `template CLASS TYPE [ZONES...] { match, rcode, fallthrough }`
pub fn template(directive: &Directive, report: &mut Report) -> Option<Template> {
    let line = &directive.line;
    let args = report.take("template", line.between(2..=usize::MAX, "a class, a type, and zones if wanted"))?;
    let (class, rtype, zones) = (&args[0], &args[1], &args[2..]);
    if !["IN", "ANY"].iter().any(|known| class.text.eq_ignore_ascii_case(known)) {
        report.refuse(
            &class.place,
            "template",
            format!("{:?} is not supported as a class; IN and ANY are", class.text),
        );
    }
    let rtype = report.take("template", rtype.rtype_or_any())?;
    let zones = report.take("template", zones_of(zones)).unwrap_or_default();
    let mut template =
        Template { zones, rtype, matches: Vec::new(), rcode: Rcode::NOERROR, fallthrough: Fallthrough::Never };
    for line in &directive.options {
        let read = template_option(line, &mut template, report);
        report.take(&format!("template {}", line.name.text), read);
    }
    Some(template)
}

fn template_option(line: &Line, template: &mut Template, report: &mut Report) -> Checked<()> {
    match line.name.text.as_str() {
        "match" => {
            for token in line.some("a regular expression")? {
                template.matches.push(token.regex()?);
            }
        }
        "rcode" => template.rcode = line.one("a response code")?.rcode()?,
        "fallthrough" => template.fallthrough = line.fallthrough()?,
        "upstream" => report.warn(&line.name.place, "template upstream", "has no meaning without records"),
        other @ ("answer" | "additional" | "authority" | "ederror") => {
            let reason =
                format!("{other} is not supported: a template answers with rcode alone; records go into hosts or file");
            return Err(line.name.wrong(reason));
        }
        other => {
            return Err(line
                .name
                .wrong(format!("{other:?} is no option of template; match, rcode and fallthrough are")));
        }
    }
    Ok(())
}

/// `chaos [VERSION] [AUTHORS...]`
pub fn chaos(line: &Line) -> Chaos {
    let mut chaos = Chaos::default();
    if let Some((version, authors)) = line.args.split_first() {
        chaos.version = version.text.clone();
        chaos.authors = authors.iter().map(|token| token.text.clone()).collect();
    }
    chaos
}

/// `acl [ZONES...] { ACTION [type QTYPE...] [net SOURCE...] }`
pub fn acl(directive: &Directive, report: &mut Report) -> Vec<AclRule> {
    let zones = report.take("acl", directive.line.zones()).unwrap_or_default();
    let rules = directive.options.iter().filter_map(|line| {
        let read = rule(line, zones.clone());
        report.take(&format!("acl {}", line.name.text), read)
    });
    rules.collect()
}

fn rule(line: &Line, zones: Vec<Name>) -> Checked<AclRule> {
    let action = match line.name.text.as_str() {
        "allow" => AclAction::Allow,
        "block" => AclAction::Block,
        "filter" => AclAction::Filter,
        "drop" => AclAction::Drop,
        other => return Err(line.name.wrong(format!("{other:?} is no action; allow, block, filter and drop are"))),
    };
    let mut rule = AclRule { zones, action, types: Vec::new(), nets: Vec::new() };
    // A star among others makes the list match everything, which an empty list says.
    let (mut section, mut all_types, mut all_nets) = ("", false, false);
    for token in &line.args {
        match (token.text.as_str(), section) {
            (name @ ("type" | "net"), _) => section = name,
            ("*", "net") => all_nets = true,
            (_, "net") => rule.nets.push(token.net()?),
            (_, "type") => match token.rtype_or_any()? {
                Some(rtype) => rule.types.push(rtype),
                None => all_types = true,
            },
            (other, _) => return Err(token.wrong(format!("{other:?} stands where `type` or `net` is to begin"))),
        }
    }
    if let Some(last) = line.args.last().filter(|last| last.text == "type" || last.text == "net") {
        return Err(last.wrong(format!("{} wants at least one value; * is every one", last.text)));
    }
    if all_types {
        rule.types.clear();
    }
    if all_nets {
        rule.nets.clear();
    }
    Ok(rule)
}
