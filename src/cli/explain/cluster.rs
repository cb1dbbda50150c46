//! The cluster as its API server tells it. Its control plane did the work: nothing is allocated or made here.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use tokio::task::JoinSet;

use super::AGENT;
use crate::{
    cli::input,
    config::Config,
    controlplane::Options,
    explain::{ApiLists, Scene},
    kernel::observe,
    model::{Located, Notice, Origin, Severity},
    source::kube::{self, ApiAddress, ApiServer, Kind, Listed, Unlisted},
};

/// Without these nothing can be said of a Service.
const NEEDED: [Kind; 2] = [Kind::Service, Kind::EndpointSlice];
/// What is asked for, all at once.
const ASKED: [Kind; 6] =
    [Kind::Service, Kind::EndpointSlice, Kind::Namespace, Kind::ServiceCidr, Kind::Node, Kind::Pod];

/// Lists everything, within a few seconds. What may not be listed is known to be missing.
///
/// # Errors
/// There is no API server, or it does not tell the Services and their endpoints.
pub fn scene(config: &Config) -> anyhow::Result<Scene> {
    let address = ApiAddress { server: config.api.apiserver.clone(), kubeconfig: config.api.kubeconfig.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (server, lists) = runtime.block_on(async {
        let server =
            kube::connect(&address).await.context("nothing to answer from, as no manifests are given with -f")?;
        anyhow::Ok((server.clone(), list(&server).await))
    })?;
    let file = Arc::new(PathBuf::from(&server.address));
    let (mut objects, mut notices, mut unlisted) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (kind, listed) in lists {
        match listed {
            Ok(Listed { objects: some, undecodable }) => {
                let origin = || Origin { file: file.clone(), line: 1 };
                objects.extend(some.into_iter().map(|object| Located { object, origin: origin() }));
                notices.extend(undecodable.into_iter().map(|(object, reason)| Notice {
                    severity: Severity::Refused,
                    origin: None,
                    object: Some(object),
                    field: String::new(),
                    reason,
                }));
            }
            Err(failed) if NEEDED.contains(&kind) => bail!("{}", without(&failed, config)),
            Err(failed) => drop(unlisted.insert(kind.name().to_owned(), in_words(kind, &failed))),
        }
    }
    let (world, settings, more) =
        input::world(&objects, &config.input, &config.node, |_| input::interface_addresses())?;
    // There are no lines in an API server.
    notices.extend(more.into_iter().map(|notice| Notice { origin: None, ..notice }));
    let nodes = vec![world.node.name.to_string()];
    let options = Options { service_cidrs: config.input.service_cidr.clone(), nodes, ..Options::default() };
    Ok(Scene::new(world, settings, objects, notices, options).of_api(ApiLists { unlisted }))
}

/// `Pods may not be listed (forbidden)`
fn in_words(kind: Kind, unlisted: &Unlisted) -> String {
    match unlisted.forbidden {
        true => format!("{kind}s may not be listed (forbidden)"),
        false => format!("{kind}s could not be listed ({})", unlisted.error),
    }
}

/// That there is nothing to answer from, what the agent knows of it, and what can still be asked.
fn without(unlisted: &Unlisted, config: &Config) -> String {
    let agent = match observe::agent(config.serving.metrics().unwrap_or(AGENT), None) {
        Ok(agent) => match (agent.source_stale, agent.source_error) {
            (Some(since), error) => {
                let error = error.map(|error| format!(" ({error})")).unwrap_or_default();
                format!(
                    "the agent of this node has not heard of its source since {since}{error}, and keeps what it programmed"
                )
            }
            (None, _) => "the agent of this node does hear of its source".to_owned(),
        },
        Err(error) => error,
    };
    format!(
        "nothing to answer from: {}; {agent}; portolan get, top and trace tell what the kernel of this node holds and does \
         meanwhile, and -f takes manifests",
        unlisted.error
    )
}

async fn list(server: &ApiServer) -> BTreeMap<Kind, Result<Listed, Unlisted>> {
    let mut asked = JoinSet::new();
    for kind in ASKED {
        let server = server.clone();
        asked.spawn(async move { (kind, kube::list(&server, kind).await) });
    }
    asked.join_all().await.into_iter().collect()
}
