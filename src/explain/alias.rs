//! ExternalName Services: an alias (CNAME) of another name, and nothing else.

use super::{
    Cause, Outcome, Question, Scene, Stage,
    client::Client,
    name,
    report::{Fault, Report},
    service,
    walk::absolute,
};
use crate::model::{Service, ServiceType};

/// The cluster's domain where nobody asked DNS.
const DOMAIN: &str = "cluster.local";

/// Walks on from an ExternalName Service: to a Service of this cluster if the alias is of one, else to the world.
///
/// # Errors
/// The port is missing, and the Service that is meant has several.
pub(super) fn walk(
    service: &Service,
    question: &Question,
    client: &Client,
    scene: &Scene,
    report: &mut Report,
) -> Result<(), String> {
    let domain = question.resolution.as_ref().map_or(DOMAIN, |resolution| &resolution.domain);
    let first = &service.id;
    let mut passed = vec![first.clone()];
    let mut alias = alias_of(service, scene);
    report.note(Stage::Service, "an alias has no address and no port: nothing of it is in the data plane");
    loop {
        let whole = absolute(&alias).to_ascii_lowercase();
        let of_cluster = whole.ends_with(&format!(".svc.{domain}")).then(|| name::of_labels(&whole)).flatten();
        let Some((_, id)) = of_cluster else { break };
        report.note(Stage::Service, format!("{alias} is a name of this cluster, that of Service {id}"));
        if passed.contains(&id) {
            let because = format!("Service {first} is an alias that leads back to Service {id}");
            let fault = Fault::new(Stage::Service, Cause::ExternalName, because, "correct spec.externalName");
            report.breaks(fault, Outcome::NoAddress);
            return Ok(());
        }
        match scene.world.services.get(&id) {
            Some(next) if next.kind == ServiceType::ExternalName => alias = alias_of(next, scene),
            Some(_) => return service::walk(&id, question, client, scene, report),
            None => {
                let mut aside = Report::new(String::new());
                service::missing(&id, scene, &mut aside);
                if let Some(mut fault) = aside.into_first() {
                    fault.because = format!("Service {first} is an alias (CNAME) of {alias}, and {}", fault.because);
                    report.breaks(fault, Outcome::NoAddress);
                }
                return Ok(());
            }
        }
        passed.push(id);
    }
    to_the_world(service, &alias, question, report);
    Ok(())
}

fn alias_of(service: &Service, scene: &Scene) -> String {
    scene.service(&service.id).and_then(|raw| raw.spec.external_name.clone()).unwrap_or_default()
}

/// What is known of an alias of a name that is not the cluster's.
fn to_the_world(service: &Service, alias: &str, question: &Question, report: &mut Report) {
    let id = &service.id;
    if alias.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        let because = format!(
            "Service {id} is of type ExternalName, and its externalName {alias:?} is an address: DNS takes it for a name, which does not exist"
        );
        let remedy = "write a Service without a selector, and an EndpointSlice with the address";
        report.breaks(Fault::new(Stage::Service, Cause::ExternalName, because, remedy), Outcome::NoAddress);
        return;
    }
    let name = match &question.resolution {
        Some(resolution) => resolution.name.clone(),
        None => "its name".to_owned(),
    };
    report.prediction.outcome = Outcome::Passed;
    let because = format!(
        "Service {id} is of type ExternalName: {name} is an alias (CNAME) of {alias}; connections go wherever that leads, and nothing in the data plane has a part in it"
    );
    report.remark(Fault::new(Stage::Service, Cause::ExternalName, because, ""));
}
