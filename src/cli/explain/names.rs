//! What DNS answers the client, by the code of `portolan resolve`.

use std::net::IpAddr;

use domain::base::iana::Rtype;

use crate::{
    cli::{
        dns::{files, settings::Settings},
        resolve::{
            self,
            asker::{Asker, Who},
            live::Live,
            offline::{self, Offline},
            walk::{Answer, Outcome, Tried, Walk},
        },
    },
    config::{Config, dns::corefile},
    explain::{Host, NameAnswer, Question, Resolution, Source},
    model::Located,
    objects::Object,
};

/// The answer for the name that is dialled, or for that of the Service; none for an address, and for what is no name.
///
/// `live`: servers that would have to be asked for it are asked whether they answer at all.
///
/// # Errors
/// The configuration of names cannot be read.
pub fn resolve(
    question: &Question,
    config: &Config,
    objects: &[Located],
    live: bool,
) -> anyhow::Result<Option<Resolution>> {
    let names = Settings::new(config).peek()?;
    let domain = offline::domain(&names);
    let text = match &question.dialled.host {
        Host::Address(_) => return Ok(None),
        Host::Name(name) => name.clone(),
        Host::Service(id) => format!("{}.{}.svc.{domain}.", id.name, id.namespace),
    };
    // Only a pod's resolver has the cluster's search list.
    let (who, text) = match &question.source {
        Some(Source::Pod { namespace, name }) => (Some(Who::Pod(namespace.clone(), name.clone())), text),
        None => (None, text),
        Some(Source::Host | Source::Address(_)) => (None, format!("{}.", text.trim_end_matches('.'))),
    };
    let named = files::of_completed(objects);
    let offline = Offline::new(&names, &named);
    // Whether there is such a pod is asked elsewhere.
    let asker = Asker::new(who.as_ref(), None, domain)?;
    let Ok(asked) = resolve::Question::new(&text, None, &asker) else { return Ok(None) };
    let walk = Walk::new(&asked, asker.address(), Some(&offline), None)?;
    let mut resolution = walk.tried.get(walk.result).map(|result| resolution(&walk, result));
    if let (true, Some(resolution)) = (live, &mut resolution) {
        look(resolution, question, config, objects);
    }
    Ok(resolution)
}

/// Asks whether there is anybody who answers: the DNS Service, if a pod uses a name, and the servers beyond it.
fn look(resolution: &mut Resolution, question: &Question, config: &Config, objects: &[Located]) {
    let of_pod = matches!((&question.source, &question.dialled.host), (Some(Source::Pod { .. }), Host::Name(_)));
    if let (true, Some(why)) = (of_pod, dead_service(&resolution.name, config, objects)) {
        resolution.answer = NameAnswer::Dead(why);
    }
    if let NameAnswer::Forwarded(servers, dead) = &mut resolution.answer {
        *dead = all_dead(servers, &resolution.name);
    }
}

/// Why the DNS Service does not answer, if it is there and does not.
fn dead_service(name: &str, config: &Config, objects: &[Located]) -> Option<String> {
    let (namespace, service) = &config.dns.dns_service;
    let address = objects.iter().find_map(|located| match &located.object {
        Object::Service(o) if o.metadata.namespace() == namespace && o.metadata.name == *service => {
            o.spec.cluster_ip.clone().filter(|address| address.parse::<IpAddr>().is_ok())
        }
        _ => None,
    })?;
    let why = all_dead(std::slice::from_ref(&address), name)?;
    Some(format!("the DNS Service {namespace}/{service} ({address}), which pods ask for names, does not answer: {why}"))
}

/// Why none of these servers answers. Whatever it is that one of them says, it answers.
fn all_dead(servers: &[String], name: &str) -> Option<String> {
    let name = corefile::name(name).ok()?;
    let mut dead = None;
    for server in servers {
        // What is no address is the path of a resolv.conf.
        let asked = Live::new(server.parse().ok()).and_then(|live| live.ask(&name, Rtype::A));
        match asked {
            Ok(_) => return None,
            Err(error) => dead = Some(format!("{error:#}")),
        }
    }
    dead
}

fn resolution(walk: &Walk, result: &Tried) -> Resolution {
    let before = walk.tried.iter().take(walk.result);
    let tried = before.map(|one| {
        let words: Vec<String> =
            one.asked().iter().map(|answer| format!("{} {}", answer.qtype, answer.word())).collect();
        format!("{} {}", one.name, words.join(", "))
    });
    let mut steps: Vec<String> = Vec::new();
    for step in result.asked().iter().flat_map(|answer| &answer.steps) {
        if !steps.contains(step) {
            steps.push(step.clone());
        }
    }
    let name = result.name.trim_end_matches('.').to_owned();
    Resolution { name, answer: answer(result.asked()), tried: tried.collect(), steps }
}

fn answer(answers: &[Answer]) -> NameAnswer {
    let of_type = |wanted: &'static [&'static str]| {
        let records = answers.iter().flat_map(|answer| &answer.records);
        records.filter(move |record| record.section == "answer" && wanted.contains(&record.rtype.as_str()))
    };
    let addresses: Vec<_> = of_type(&["A", "AAAA"]).filter_map(|record| record.data.parse().ok()).collect();
    if !addresses.is_empty() {
        return NameAnswer::Addresses(addresses);
    }
    if let Some(alias) = of_type(&["CNAME"]).last() {
        return NameAnswer::Alias(alias.data.trim_end_matches('.').to_owned());
    }
    match answers.iter().find(|answer| answer.outcome == Outcome::Forwarded) {
        Some(forwarded) => NameAnswer::Forwarded(forwarded.forwarded_to.clone(), None),
        None => NameAnswer::Nothing,
    }
}
