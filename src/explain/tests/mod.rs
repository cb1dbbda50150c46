mod addresses;
mod api;
mod clients;
mod endpoints;
mod live;
mod names;
mod objects;
mod parsing;

use super::{Cause, Dialled, Explanation, Question, Scene, Source, Verdict, deciding_node, explain};
use crate::{
    controlplane::{
        Allocations, Options,
        testing::{complete_text, networks},
    },
    model::{Located, PodDetector, Settings, ingest},
    observed::Observed,
};

/// Service shop/web on 10.96.0.1, its pods web-1 on node-1 and web-2 on node-2, and a client on node-1.
const BASE: &str = include_str!("base.yaml");

/// The cluster after some replacements in its text, each of which must find something.
fn manifests(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(BASE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "there is no {from:?}");
        text.replace(from, to)
    })
}

/// The cluster as a node has it.
fn scene(text: &str, node: &str) -> Scene {
    scene_with(text, node, &["10.96.0.0/16"])
}

/// The same with these service networks.
fn scene_with(text: &str, node: &str, service_cidrs: &[&str]) -> Scene {
    let options = Options { nodes: vec![node.to_owned()], ..networks(service_cidrs) };
    let completed = complete_text(text, &options, &mut Allocations::default());
    let objects = |objects: &[Located]| {
        let (mut world, _) =
            ingest::world(node, objects.iter().map(|located| (&located.object, Some(&located.origin))));
        world.service_networks.extend(&options.service_cidrs);
        world
    };
    let world = objects(&completed.objects);
    let detector = PodDetector::SourceRanges(vec!["10.244.0.0/16".parse().unwrap()]);
    let settings = Settings { detector, masquerade_bit: 14, ..Settings::default() };
    Scene::new(world, settings, completed.objects, completed.notices, options).leaving_out(completed.refused)
}

fn question(from: Option<&str>, target: &str) -> Question {
    let source = from.map(|from| Source::parse(from).unwrap());
    Question { source, dialled: Dialled::parse(target).unwrap(), resolution: None }
}

/// Asks on the node that decides.
fn ask(text: &str, from: Option<&str>, target: &str) -> Result<Explanation, String> {
    let question = question(from, target);
    let here = scene(text, "node-1");
    match deciding_node(&question, &here) {
        Some(node) => explain(&question.from_afar(&here), &scene(text, &node), None),
        None => explain(&question, &here, None),
    }
}

/// Asks for shop/web:80 as Pod shop/client, of a node where this was seen.
fn ask_live(text: &str, observed: &Observed) -> Explanation {
    explain(&question(Some("shop/client"), "shop/web:80"), &scene(text, "node-1"), Some(observed)).unwrap()
}

/// The verdict, the cause, and words of the sentence.
#[track_caller]
fn assert_told(about: &str, told: &Explanation, verdict: Verdict, cause: Option<Cause>, words: &[&str]) {
    assert_eq!((told.verdict, told.cause), (verdict, cause), "{about}: {told:#?}");
    let begin = match verdict {
        Verdict::Works => "works: ",
        Verdict::WorksBut => "works, but ",
        Verdict::Fails => "does not work because ",
    };
    assert!(told.sentence.starts_with(begin), "{about}: {}", told.sentence);
    assert!(!told.sentence.contains(['\n', '\r']), "{about}: {:?}", told.sentence);
    for word in words {
        assert!(told.sentence.contains(word), "{about}: no {word:?} in {:?}", told.sentence);
    }
}
