//! What is to be seen on this node.

use std::{collections::BTreeSet, net::IpAddr};

use super::AGENT;
use crate::{
    compile::node_rows,
    config::Config,
    explain::{Explanation, Question, Scene, Source},
    kernel::{NetlinkDataPlane, observe},
    model::{Family, Frontend},
    observed::{AgentReport, Observed, ProgramState, Programmed, Seen, Silence},
};

/// Looks at everything that the answer depends on. Nothing is changed, and what cannot be seen is missing alone.
pub fn observe(offline: &Explanation, question: &Question, scene: &Scene, config: &Config) -> Observed {
    let prediction = &offline.prediction;
    let frontends: BTreeSet<Frontend> = prediction.frontend.into_iter().collect();
    let owner = prediction.frontend.and_then(|frontend| scene.claims().owner(&frontend)).cloned();
    let mut addresses: BTreeSet<IpAddr> = prediction.endpoints.iter().map(|target| target.address).collect();
    addresses.extend(frontends.iter().map(|frontend| frontend.address));
    // Where the client's packets come in follows from the way back.
    let clients = scene.addresses_of(question.source.as_ref().unwrap_or(&Source::Host)).into_iter().collect();
    let mark = if prediction.hidden { scene.settings.mark() } else { 0 };
    let surroundings = observe::surroundings(&addresses, &clients, mark);
    let mut programmed = programmed(scene, owner.as_ref());
    if let (Ok(programmed), Ok(surroundings)) = (&mut programmed, &surroundings) {
        let damaged = programmed.programs.iter().filter(|(_, state)| matches!(state, ProgramState::Damaged(_)));
        let read = |(family, _): (&Family, _)| {
            Some((*family, observe::own_table(*family, surroundings.own_addresses.clone()).ok()?))
        };
        programmed.edited = damaged.filter_map(read).collect();
    }
    Observed {
        programmed,
        connections: observe::connections(&frontends),
        surroundings,
        agent: agent(config, owner.as_ref()),
    }
}

/// Asks the agent, where these settings have it answer; by default one with manifests answers nowhere.
fn agent(config: &Config, owner: Option<&crate::model::ServiceId>) -> Result<AgentReport, Silence> {
    let address = config.serving.metrics();
    let gone = observe::nobody_follows_changes;
    observe::agent(address.unwrap_or(AGENT), owner).map_err(|why| Silence {
        why,
        mute: address.is_none(),
        gone: gone(),
    })
}

fn programmed(scene: &Scene, owner: Option<&crate::model::ServiceId>) -> Seen<Programmed> {
    let mut kernel = NetlinkDataPlane::open().map_err(|error| error.to_string())?;
    let plan = owner.and_then(|owner| scene.plan(owner));
    observe::programmed(&mut kernel, plan.as_ref(), &node_rows(&scene.world, &scene.settings), &scene.settings)
}
