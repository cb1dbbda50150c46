//! A history of changes and a fresh start end in the same tables.

mod common;

use std::collections::BTreeSet;

use common::{Step, without_slot_order};
use portolan::{
    desired::Desired,
    model::World,
    tables::{Changes, Contents, Element, PickChain, TableState, Transaction},
};
use proptest::prelude::*;

/// Carries out a transaction on a state as a kernel would: strictly, step by step.
fn carry_out(state: &mut TableState, transaction: &Transaction) {
    for group in &transaction.write_groups {
        state.groups.retain(|g| (g.family, &g.name) != (group.family, &group.name));
        state.groups.insert(group.clone());
    }
    for pick in &transaction.add_picks {
        assert!(state.picks.insert(*pick), "{pick:?} exists");
    }
    let mut elements: BTreeSet<Element> = state.elements.drain(..).collect();
    for element in &transaction.delete {
        assert!(elements.remove(element), "deletes what is not there: {element:?}");
    }
    for element in &transaction.add {
        assert!(elements.insert(element.clone()), "adds what is there: {element:?}");
    }
    for element in &transaction.retire {
        assert!(elements.remove(element), "retires what is not there: {element:?}");
    }
    state.elements = elements.into_iter().collect();
    for pick in &transaction.delete_picks {
        assert!(state.picks.remove(pick), "{pick:?} does not exist");
    }
    for group in &transaction.delete_groups {
        assert!(state.groups.remove(group), "{group:?} does not exist");
    }
    assert_references(state);
}

/// Every verdict leads to a chain that exists.
fn assert_references(state: &TableState) {
    for element in &state.elements {
        match element {
            Element::Pick { frontend, list, count, .. } => {
                let pick = PickChain { family: frontend.family(), list: *list, count: *count };
                assert!(state.picks.contains(&pick), "{element:?} leads nowhere");
            }
            Element::Sticky { group, .. } | Element::Learner { group, .. } | Element::Member { group, .. } => {
                let known = |g: &portolan::tables::AffinityGroup| g.name == *group && g.family == element.family();
                assert!(state.groups.iter().any(known), "{element:?} leads nowhere");
            }
            _ => {}
        }
    }
}

fn take(desired: &mut Desired, step: Step) {
    match step {
        Step::PutService(service) => _ = desired.put_service(service),
        Step::RemoveService(id) => desired.remove_service(&id),
        Step::PutSlice(slice) => _ = desired.put_slice(slice),
        Step::MoveNode(node) => {
            let mut world = desired.world().clone();
            world.node = node;
            let settings = desired.settings().clone();
            desired.replace(world, settings);
        }
    }
}

/// What a node that has just started wants.
fn fresh(desired: &Desired) -> TableState {
    let mut start = Desired::default();
    start.replace(desired.world().clone(), desired.settings().clone());
    let mut contents = Contents::default();
    let work = start.work(&contents);
    contents.accept(work.changes);
    contents.state()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_history_ends_where_a_fresh_start_does(steps in common::steps(12)) {
        let mut desired = Desired::default();
        desired.replace(World::default(), common::settings());
        let mut contents = Contents::default();
        let mut kernel = TableState::default();
        for step in steps {
            take(&mut desired, step);
            let work = desired.work(&contents);
            let transaction = contents.change(&work.changes);
            carry_out(&mut kernel, &transaction);
            contents.accept(work.changes);
            prop_assert_eq!(without_slot_order(&kernel), without_slot_order(&contents.state()));
            prop_assert_eq!(without_slot_order(&kernel), without_slot_order(&fresh(&desired)));
            prop_assert!(contents.change(&desired.work(&contents).changes).is_empty(), "a second look finds more to do");
        }
    }

    #[test]
    fn a_restart_takes_over_what_it_finds(before in common::steps(8), after in common::steps(4)) {
        let mut desired = Desired::default();
        desired.replace(World::default(), common::settings());
        before.into_iter().for_each(|step| take(&mut desired, step));
        let mut kernel = fresh(&desired);

        // Nothing changed: nothing to do.
        let mut contents = Contents::from_kernel(kernel.clone());
        let mut restarted = Desired::default();
        restarted.replace(desired.world().clone(), desired.settings().clone());
        prop_assert_eq!(restarted.take_over(&mut contents, false).changes, Changes::new());
        let mut settled = Contents::default();
        let work = restarted.take_over(&mut settled, false);
        settled.accept(work.changes);
        prop_assert_eq!(&contents, &settled);

        // Something did: only that.
        after.into_iter().for_each(|step| take(&mut desired, step));
        let mut contents = Contents::from_kernel(kernel.clone());
        let mut restarted = Desired::default();
        restarted.replace(desired.world().clone(), desired.settings().clone());
        let work = restarted.take_over(&mut contents, false);
        carry_out(&mut kernel, &contents.change(&work.changes));
        prop_assert_eq!(without_slot_order(&kernel), without_slot_order(&fresh(&desired)));
    }
}
