//! Objects of an API server that does not tell all.

use super::{BASE, Cause, Verdict, assert_told, question, scene};
use crate::{
    explain::{ApiLists, Explanation, Mark, Scene, Stage, deciding_node, explain},
    objects::Object,
};

const FORBIDDEN: &str = "Pods may not be listed (forbidden)";

/// The cluster as an API server tells it that does not tell of Pods.
fn without_pods(text: &str, node: &str) -> Scene {
    let mut scene = scene(text, node);
    scene.objects.retain(|located| !matches!(located.object, Object::Pod(_)));
    let unlisted = [("Pod".to_owned(), FORBIDDEN.to_owned())].into();
    scene.of_api(ApiLists { unlisted })
}

fn ask(text: &str, from: Option<&str>, target: &str) -> Explanation {
    explain(&question(from, target), &without_pods(text, "node-1"), None).unwrap()
}

#[test]
fn endpoints_name_pods_that_cannot_be_listed() {
    let told = ask(BASE, None, "shop/web:80");
    assert_told("works", &told, Verdict::Works, None, &["Pod shop/web-1", "Pod shop/web-2"]);
    assert!(told.steps.iter().all(|step| step.mark != Mark::Unknown), "{told:#?}");
    // A client that is an endpoint of something is known, and so is its node.
    let told = ask(BASE, Some("shop/web-1"), "shop/web:80");
    assert!(told.steps[0].text.starts_with("Pod shop/web-1 (10.244.1.11, on node-1)"), "{told:#?}");
    let far = question(Some("shop/web-2"), "shop/web:80");
    assert_eq!(deciding_node(&far, &without_pods(BASE, "node-1")).as_deref(), Some("node-2"));
    let by_address = ask(BASE, Some("10.244.2.11"), "shop/web:80");
    assert!(by_address.steps[0].text.starts_with("Pod shop/web-2"), "{by_address:#?}");
    let unknown = ask(BASE, Some("shop/nobody"), "shop/web:80");
    assert_told("nobody", &unknown, Verdict::Works, None, &[]);
    assert!(unknown.steps[0].text.contains(FORBIDDEN), "{unknown:#?}");
    let dialled = ask(BASE, None, "10.244.1.11:8080");
    assert_told("an endpoint itself", &dialled, Verdict::Works, None, &["Pod shop/web-1 itself"]);
}

#[test]
fn what_pods_would_tell_is_said_to_be_unknown() {
    let nothing = BASE.replace("selector: {app: web}", "selector: {app: wbe}");
    assert_ne!(nothing, BASE);
    // The slices that a cluster's controller makes for a selector that matches nothing.
    let mut scene = without_pods(&nothing, "node-1");
    let told = explain(&question(None, "shop/web:80"), &scene, None).unwrap();
    let unmade = scene.world.slices_of(&crate::model::ServiceId::new("shop", "web")).next().is_none();
    if unmade {
        assert_told("no slice", &told, Verdict::Fails, Some(Cause::NoEndpointsObject), &["kube-controller-manager"]);
    }
    let id = crate::model::ServiceId::new("shop", "web");
    let slice = crate::model::SliceId { namespace: "shop".into(), name: "web-x".into() };
    scene.world.put_slice(crate::model::Slice { id: slice, service: id, ports: [].into(), endpoints: [].into() });
    let told = explain(&question(None, "shop/web:80"), &scene, None).unwrap();
    let words = ["app=wbe", "kubectl -n shop get pods -l app=wbe"];
    assert_told("nothing", &told, Verdict::Fails, Some(Cause::SelectorMatchesNothing), &words);
    let unknown = told.steps.iter().find(|step| step.mark == Mark::Unknown).unwrap();
    assert!(unknown.stage == Stage::Endpoint && unknown.text.starts_with(FORBIDDEN), "{unknown:?}");
}

#[test]
fn other_kinds_are_missed_at_once() {
    let words = "Nodes may not be listed (forbidden)";
    let scene = scene(BASE, "node-1").of_api(ApiLists { unlisted: [("Node".to_owned(), words.to_owned())].into() });
    let told = explain(&question(None, "shop/web:80"), &scene, None).unwrap();
    assert_told("works", &told, Verdict::Works, None, &[]);
    assert!(told.steps.iter().any(|step| step.mark == Mark::Unknown && step.text.starts_with(words)), "{told:#?}");
}
