//! What DNS answers the client, by the code of `portolan resolve`.

use std::{collections::BTreeMap, net::IpAddr};

use domain::base::iana::Rtype;

use crate::{
    cli::{
        dns::{
            files::{self, Key},
            settings::Settings,
        },
        resolve::{
            self,
            asker::{Asker, Who},
            live::Live,
            offline::{self, Offline},
            walk::{Answer, Outcome, Tried, Walk},
        },
    },
    config::{
        Config,
        dns::{Name, corefile},
    },
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
    // A node's name is known here, and nobody is asked for it.
    let is_it = |node: &str| matches!(&question.dialled.host, Host::Name(name) if name == node);
    let of_node = objects.iter().any(|o| matches!(&o.object, Object::Node(node) if is_it(&node.metadata.name)));
    let objects = files::of_completed(objects);
    let offline = Offline::new(&names, &objects);
    // Whether there is such a pod is asked elsewhere.
    let pod = !matches!(question.source, Some(Source::Host | Source::Address(_)));
    let asker = Asker::new(who.as_ref(), None, domain.clone())?;
    let Ok(asked) = resolve::Question::new(&text, None, &asker) else { return Ok(None) };
    let walk = Walk::new(&asked, asker.address(), Some(&offline), None)?;
    let Some(result) = walk.tried.get(walk.result) else { return Ok(None) };
    let mut resolution = resolution(&walk, result, &domain);
    if live && !of_node && matches!(question.dialled.host, Host::Name(_)) {
        let central = pod.then(|| dns_service(&objects, &config.dns.dns_service)).flatten();
        let silent = central.and_then(|server| all_dead(&[server], &resolution.name));
        match (&mut resolution.answer, silent) {
            (answer, Some(why)) => *answer = NameAnswer::Dead(format!("the cluster's DNS does not answer: {why}")),
            (NameAnswer::Forwarded(servers, dead), None) => *dead = all_dead(servers, &resolution.name),
            _ => {}
        }
    }
    Ok(Some(resolution))
}

/// The address that pods ask, if the Service is there.
fn dns_service(objects: &BTreeMap<Key, Object>, (namespace, name): &(String, String)) -> Option<String> {
    match objects.get(&("Service", namespace.clone(), name.clone()))? {
        Object::Service(service) => service.spec.cluster_ip.clone().filter(|ip| ip.parse::<IpAddr>().is_ok()),
        _ => None,
    }
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

fn resolution(walk: &Walk, result: &Tried, domain: &Name) -> Resolution {
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
    Resolution { name, domain: domain.to_string(), answer: answer(result.asked()), tried: tried.collect(), steps }
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
    if let Some(alias) = of_type(&["CNAME"]).next_back() {
        return NameAnswer::Alias(alias.data.trim_end_matches('.').to_owned());
    }
    match answers.iter().find(|answer| answer.outcome == Outcome::Forwarded) {
        Some(forwarded) => NameAnswer::Forwarded(forwarded.forwarded_to.clone(), None),
        None => NameAnswer::Nothing,
    }
}
