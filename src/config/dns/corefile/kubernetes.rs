//! `kubernetes [ZONES...] { ... }`, CoreDNS's options and some of our own: `pods cidr CIDR...`, `endpoint_names
//! canonical|all`, `ptr all|hostname_preferred`, `dns_service NAMESPACE/NAME`, `compat coredns`.

use super::{
    blocks::{Directive, Line},
    lexer::Token,
    report::{Checked, Report},
    selector,
};
use crate::config::dns::{KubernetesOptions, Name, PodNames, PtrNames, is_reverse};

/// Options that have no meaning here, and why.
const WITHOUT_MEANING: [(&str, &str); 6] = [
    ("upstream", "names outside of the cluster are asked as `forward` says"),
    ("resyncperiod", "changes are followed as they come"),
    ("startup_timeout", "names are refused with SERVFAIL until all is known, and everything else works meanwhile"),
    ("apiserver_qps", "a handful of watches is all that the API server is asked for"),
    ("apiserver_burst", "a handful of watches is all that the API server is asked for"),
    ("apiserver_max_inflight", "a handful of watches is all that the API server is asked for"),
];

/// Reads it; `zones` are those of its block.
pub fn kubernetes(directive: &Directive, zones: &[Name], report: &mut Report) -> KubernetesOptions {
    let line = &directive.line;
    let own = report.take("kubernetes", line.zones()).unwrap_or_default();
    let mut options = KubernetesOptions::new(if own.is_empty() { zones.to_vec() } else { own });
    if options.zones.iter().all(is_reverse) {
        let reason = "has reverse zones alone; name the cluster's domain as well, such as cluster.local";
        report.refuse(&line.name.place, "kubernetes", reason);
    }
    let mut aliases = None;
    for line in &directive.options {
        let read = option(line, &mut options, &mut aliases, report);
        report.take(&format!("kubernetes {}", line.name.text), read);
    }
    // CoreDNS knows an endpoint by one name.
    options.endpoint_aliases = aliases.unwrap_or(!options.compat);
    if options.namespace_labels.is_some() && !options.namespaces.is_empty() {
        let reason = "namespaces and namespace_labels exclude each other; keep one";
        report.refuse(&line.name.place, "kubernetes", reason);
    }
    options
}

fn option(
    line: &Line,
    options: &mut KubernetesOptions,
    aliases: &mut Option<bool>,
    report: &mut Report,
) -> Checked<()> {
    let name = line.name.text.as_str();
    if let Some((_, why)) = WITHOUT_MEANING.iter().find(|(known, _)| *known == name) {
        report.warn(&line.name.place, &format!("kubernetes {name}"), format!("has no meaning: {why}"));
        return Ok(());
    }
    match name {
        "pods" => options.pods = pods(line)?,
        "ttl" => options.ttl = line.one("seconds")?.number(0..=3600)?,
        "fallthrough" => options.fallthrough = line.fallthrough()?,
        "endpoint_pod_names" => {
            line.nothing()?;
            options.endpoint_pod_names = true;
        }
        "endpoint_names" => *aliases = Some(one_of(line.one("all or canonical")?, ["all", "canonical"])? == 0),
        "namespaces" => {
            let names = line.some("names of namespaces")?;
            options.namespaces.extend(names.iter().map(|token| token.text.clone()));
        }
        "namespace_labels" => options.namespace_labels = Some(selector::selector(line)?),
        "labels" => options.labels = Some(selector::selector(line)?),
        "noendpoints" => {
            line.nothing()?;
            options.no_endpoints = true;
        }
        "ignore" => {
            one_of(line.one("empty_service")?, ["empty_service"])?;
            options.ignore_empty_service = true;
        }
        "ptr" => {
            let choice = one_of(line.one("all or hostname_preferred")?, ["all", "hostname_preferred"])?;
            options.ptr = if choice == 0 { PtrNames::All } else { PtrNames::HostnamePreferred };
        }
        "compat" => {
            one_of(line.one("coredns")?, ["coredns"])?;
            options.compat = true;
        }
        "dns_service" => {
            let token = line.one("NAMESPACE/NAME")?;
            let parts =
                token.text.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
            let (namespace, name) =
                parts.ok_or_else(|| token.wrong(format!("{:?} is no NAMESPACE/NAME", token.text)))?;
            options.dns_service = (namespace.to_owned(), name.to_owned());
        }
        _ => return api(line, options, report),
    }
    Ok(())
}

/// How the API server is reached.
fn api(line: &Line, options: &mut KubernetesOptions, report: &mut Report) -> Checked<()> {
    match line.name.text.as_str() {
        "endpoint" => {
            let urls = line.some("the URL of the API server")?;
            options.api.endpoint = Some(urls[0].text.clone());
            if let Some(second) = urls.get(1) {
                report.warn(&second.place, "kubernetes endpoint", "only the first URL is used");
            }
        }
        "kubeconfig" => {
            let args = line.between(1..=2, "a file")?;
            if let Some(context) = args.get(1) {
                let file = &args[0].text;
                return Err(context.wrong(format!(
                    "a context cannot be chosen; remove {:?} and make it the current one of {file}: \
                     kubectl config use-context",
                    context.text
                )));
            }
            options.api.kubeconfig = Some(args[0].text.clone().into());
        }
        "tls" => {
            return Err(line.name.wrong(
                "is not supported; put the certificate, the key and the CA into a file that `kubeconfig` names, which \
                 holds the API server's URL as well",
            ));
        }
        "multicluster" | "zonal" => {
            return Err(line.name.wrong(format!(
                "{} is not supported; remove the line: names of this cluster do not depend on it",
                line.name.text
            )));
        }
        other => return Err(line.name.wrong(format!("{other:?} is no option of kubernetes"))),
    }
    Ok(())
}

fn pods(line: &Line) -> Checked<PodNames> {
    let what = "disabled, insecure, verified, or cidr and ranges";
    let [mode, ranges @ ..] = line.some(what)? else { return Err(line.name.wrong(what)) };
    let mode_is = |expected: &str| mode.text == expected;
    if mode_is("cidr") {
        if ranges.is_empty() {
            return Err(mode.wrong("wants ranges of pod addresses, such as `pods cidr 10.244.0.0/16`"));
        }
        let ranges: Checked<Vec<_>> = ranges.iter().map(Token::net).collect();
        return Ok(PodNames::Ranges(ranges?));
    }
    match one_of(line.one(what)?, ["disabled", "insecure", "verified"])? {
        0 => Ok(PodNames::Disabled),
        1 => Ok(PodNames::Insecure),
        _ => Ok(PodNames::Verified),
    }
}

/// Which of these words it is.
fn one_of<const N: usize>(token: &Token, words: [&str; N]) -> Checked<usize> {
    let found = words.iter().position(|word| *word == token.text);
    found.ok_or_else(|| token.wrong(format!("is {:?}; {} is wanted", token.text, words.join(" or "))))
}
