//! `plan` over random clusters: it names every Service whose rows change and no other, says "interrupted" where a client
//! that was served is not, and a ruleset says the same as what it was printed from.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::Step;
use portolan::{
    desired::Desired,
    model::{Family, Frontend, Node, PodDetector, ServiceId, Settings, World},
    plan::{Alike, Effect, Face, Impact, NewSide, NodeDifference, OldSide, ProgramText, compare_node},
    tables::{Contents, Element, List, Owner, Policy, Program, TableState, nft_json, read_nft_json},
};
use proptest::{collection::vec, prelude::*, sample::select};

/// The world after a history.
fn world(steps: Vec<Step>) -> World {
    let mut desired = Desired::default();
    desired.replace(World::default(), common::settings());
    let mut node = None;
    for step in steps {
        match step {
            Step::PutService(service) => _ = desired.put_service(service),
            Step::RemoveService(id) => desired.remove_service(&id),
            Step::PutSlice(slice) => _ = desired.put_slice(slice),
            Step::MoveNode(moved) => node = Some(moved),
        }
    }
    let mut world = desired.world().clone();
    world.node = node.unwrap_or_default();
    world.node.name = "here".into();
    world
}

/// The world on the node of another.
fn on(other: &World, mut world: World) -> World {
    world.node = other.node.clone();
    world
}

fn contents(world: &World) -> Contents {
    let mut desired = Desired::default();
    desired.replace(world.clone(), common::settings());
    let mut contents = Contents::default();
    let work = desired.work(&contents);
    contents.accept(work.changes);
    contents
}

fn old(world: &World) -> OldSide {
    OldSide::Wanted(Box::new(world.clone()), common::settings())
}

fn new(world: &World) -> NewSide {
    NewSide::Wanted {
        world: Box::new(world.clone()),
        settings: common::settings(),
        refused: BTreeSet::new(),
        incomplete: false,
    }
}

fn printed(contents: &Contents) -> (Box<TableState>, ProgramText) {
    let programs = Family::ALL.map(|family| Program::new(family, &common::settings()));
    let listing = read_nft_json(&nft_json(&programs, &contents.state()).unwrap()).unwrap();
    (Box::new(listing.state), ProgramText::listed(listing.chains))
}

/// Services whose rows are not the same, slots apart: a slot that moves alone is not worth a word here.
fn differing(old: &Contents, new: &Contents) -> BTreeSet<ServiceId> {
    let owners: BTreeSet<&Owner> = old.owners().chain(new.owners()).collect();
    let sorted = |contents: &Contents, owner: &Owner| {
        let rows = contents.rows(owner).cloned().unwrap_or_default();
        let line = |element: &Element| match element {
            Element::Slot { frontend, slot, target } => {
                format!("{frontend} {} {target}", *slot >= List::Local.first_slot())
            }
            other => format!("{other:?}"),
        };
        (rows.elements.iter().map(line).collect::<BTreeSet<_>>(), rows.groups)
    };
    let differ = owners.into_iter().filter(|owner| sorted(old, owner) != sorted(new, owner));
    differ.filter_map(|owner| if let Owner::Service(id) = owner { Some(id.clone()) } else { None }).collect()
}

/// Who is served at each frontend, and by which Service: pods and the host, and everybody else.
fn served(contents: &Contents) -> BTreeMap<(Frontend, &'static str), ServiceId> {
    let mut served = BTreeMap::new();
    for owner in contents.owners() {
        let Owner::Service(id) = owner else { continue };
        let elements = &contents.rows(owner).unwrap().elements;
        let has = |frontend: &Frontend, wanted: List| {
            elements
                .iter()
                .any(|e| matches!(e, Element::Pick { frontend: f, list, .. } if f == frontend && *list == wanted))
        };
        for element in elements {
            let Element::Frontend { frontend, policy, .. } = element else { continue };
            let (inside, outside) = match policy {
                Policy::Internal | Policy::External => (List::All, List::All),
                Policy::InternalLocal => (List::Local, List::Local),
                Policy::ExternalLocal => (List::All, List::Local),
            };
            for (who, list) in [("inside", inside), ("outside", outside)] {
                if has(frontend, list) {
                    served.insert((*frontend, who), id.clone());
                }
            }
        }
    }
    served
}

fn impact(effects: &[Effect]) -> Impact {
    effects.iter().map(|effect| effect.impact).max().unwrap_or_default()
}

fn named(difference: &NodeDifference) -> BTreeSet<ServiceId> {
    difference.services.keys().cloned().collect()
}

/// Each with each that comes after it.
fn pairs<T>(all: &[T]) -> impl Iterator<Item = [&T; 2]> {
    all.iter().enumerate().flat_map(|(at, one)| all[at + 1..].iter().map(move |other| [one, other]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn nothing_changes_into_itself(steps in common::steps(12)) {
        let world = world(steps);
        let same = compare_node(old(&world), new(&world));
        prop_assert!(same.services.is_empty() && same.node.is_empty(), "{:?}", same);
        // Whichever side is a ruleset that was printed.
        let held = contents(&world);
        for number in 0..3 {
            let ((state, program), (other, same_program)) = (printed(&held), printed(&held));
            let same = match number {
                0 => compare_node(OldSide::Held(state, program), new(&world)),
                1 => compare_node(old(&world), NewSide::Held(state, program)),
                _ => compare_node(OldSide::Held(state, program), NewSide::Held(other, same_program)),
            };
            prop_assert!(same.services.is_empty() && same.node.is_empty(), "{} {:?}", number, same);
        }
    }

    #[test]
    fn every_service_that_changes_is_named_and_no_other(before in common::steps(10), after in common::steps(6)) {
        let first = world(before.clone());
        let second = world([before, after].concat());
        let second = on(&first, second);
        let difference = compare_node(old(&first), new(&second));
        prop_assert_eq!(named(&difference), differing(&contents(&first), &contents(&second)));
        prop_assert!(difference.services.values().all(|(_, effects)| effects.iter().all(|e| !e.notices.is_empty())));
        prop_assert!(difference.node.is_empty());
    }

    #[test]
    fn whoever_loses_a_service_is_told_to_be_interrupted(before in common::steps(10), after in common::steps(6)) {
        let first = world(before.clone());
        let second = on(&first, world([before, after].concat()));
        let difference = compare_node(old(&first), new(&second));
        let (held, wanted) = (contents(&first), contents(&second));
        let (was, is) = (served(&held), served(&wanted));
        let losers: BTreeSet<&ServiceId> = was.iter().filter(|(key, id)| is.get(*key) != Some(*id)).map(|(_, id)| id).collect();
        for (id, (_, effects)) in &difference.services {
            let claimed = impact(effects) == Impact::Interrupted;
            if losers.contains(id) {
                prop_assert!(claimed, "{} loses clients: {:?}", id, effects);
            } else if claimed {
                let object = |world: &World| world.services.get(id).map(|s| (s.cluster_ips.clone(), s.source_ranges.clone(), s.ports.clone()));
                prop_assert_ne!(object(&first), object(&second), "nobody of {} loses anything: {:?}", id, effects);
            }
        }
        prop_assert!(losers.iter().all(|id| difference.services.contains_key(*id)));
    }

    #[test]
    fn nodes_with_one_face_see_the_same_change(
        before in common::steps(10),
        after in common::steps(3),
        hints in select(vec![None, Some("here"), Some("third")]),
        zones in vec(select(vec![None, Some("zone-a")]), 4),
    ) {
        let hint = |step: Step| match step {
            Step::PutSlice(mut slice) => {
                slice.endpoints.iter_mut().for_each(|e| e.node_hints = hints.into_iter().map(Into::into).collect());
                Step::PutSlice(slice)
            }
            other => other,
        };
        let before: Vec<Step> = before.into_iter().map(hint).collect();
        let (first, second) = (world(before.clone()), world([before, after].concat()));
        let (alike, settings) = (Alike::new(&first, &second), common::settings());
        let mut seen: Vec<(Node, Face, NodeDifference)> = Vec::new();
        for (number, name) in ["here", "there", "third", "fourth"].into_iter().enumerate() {
            let addresses = vec![format!("192.168.49.1{number}").parse().unwrap(), format!("fd00:49::{number}").parse().unwrap()];
            let node = Node { name: name.into(), addresses, zone: zones[number].map(Into::into), ..Node::default() };
            let face = alike.face((&node, &settings), (&node, &settings)).expect("nobody has its addresses");
            let of = |world: &World| {
                let mut world = world.clone();
                world.node = node.clone();
                world
            };
            seen.push((node.clone(), face, compare_node(old(&of(&first)), new(&of(&second)))));
        }
        for [(one, face, difference), (other, other_face, other_difference)] in pairs(&seen) {
            if face == other_face && !difference.tells_of(one) && !other_difference.tells_of(other) {
                prop_assert_eq!(&difference.services, &other_difference.services, "{} {}", one.name, other.name);
                prop_assert_eq!(&difference.node, &other_difference.node);
            }
        }
        let (third, fourth) = (&seen[2], &seen[3]);
        let same = third.0.zone == fourth.0.zone && hints != Some("third");
        prop_assert!(!same || third.1 == fourth.1, "no endpoint runs on either");
    }

    #[test]
    fn a_ruleset_says_what_it_was_printed_from(before in common::steps(10)) {
        let contents = contents(&world(before));
        let programs = Family::ALL.map(|family| Program::new(family, &common::settings()));
        let mut read = read_nft_json(&nft_json(&programs, &contents.state()).unwrap()).unwrap().state;
        let mut wanted = contents.state();
        prop_assert_eq!(read.programs.keys().copied().collect::<Vec<_>>(), Family::ALL);
        read.programs.clear();
        read.elements.sort();
        wanted.elements.sort();
        prop_assert_eq!(read, wanted);
    }
}

#[test]
fn listings_that_cannot_be_used_say_why() {
    let programs = Family::ALL.map(|family| Program::new(family, &Settings::default()));
    let good = nft_json(&programs, &TableState::default()).unwrap();
    assert!(read_nft_json(&good).is_ok());
    let strange = good.replacen("\"name\": \"cluster-ips\"", "\"name\": \"cluster-ips\", \"elem\": [17]", 1);
    for (text, reason) in [
        ("{", "not JSON"),
        ("{\"items\": []}", "there is no list \"nftables\""),
        ("{\"nftables\": [{\"table\": {\"family\": \"ip\", \"name\": \"filter\"}}]}", "it holds no table portolan"),
        (&strange, "ip set cluster-ips: 17 is not what Portolan writes there"),
    ] {
        let error = read_nft_json(text).unwrap_err().to_string();
        assert!(error.starts_with(reason), "{error}");
    }
    // What a later version has besides is named, and costs nothing else.
    let later = good.replacen("\"name\": \"cluster-ips\"", "\"name\": \"cluster-zones\"", 1);
    let strangers = read_nft_json(&later).unwrap().state.strangers;
    assert_eq!(strangers, BTreeSet::from(["ip set cluster-zones".to_owned()]));
}

#[test]
fn a_change_of_settings_is_told_by_its_chains() {
    let world = Box::new(World::default());
    let bridge = Settings { detector: PodDetector::BridgeInterface("cni0".into()), ..common::settings() };
    let other = NewSide::Wanted { world: world.clone(), settings: bridge, refused: BTreeSet::new(), incomplete: false };
    let difference = compare_node(OldSide::Wanted(world, common::settings()), other);
    let said: Vec<&str> = difference.node.iter().map(|effect| effect.change.as_str()).collect();
    assert!(said[0].starts_with("the program is replaced"), "{said:?}");
    assert!(
        said.iter().any(|change| change.contains("-ip saddr != @pods jump hide-source\n+iifname != \"cni0\"")),
        "{said:?}"
    );
    assert!(said.contains(&"pod range 10.0.0.0/8 goes"), "{said:?}");
}
