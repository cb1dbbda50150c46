//! The counters that elements of `frontends` and `dead-ends` carry.

use std::collections::BTreeMap;

use super::{
    decode::{Names, element},
    dump::Reader,
    uapi::{
        NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS, NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_SET_ELEM_EXPR,
        NFTA_SET_ELEM_EXPRESSIONS,
    },
    wire::Attributes,
};
use crate::{
    kernel::{Count, KernelError},
    model::Family,
    tables::Container,
};

/// Reads one family's counters; none if the table does not exist.
pub(crate) fn read(reader: &mut Reader<'_>, family: Family) -> Result<Vec<Count>, KernelError> {
    let mut counts = Vec::new();
    if !reader.tables()?.contains_key(&family) {
        return Ok(counts);
    }
    let mut names = Names::default();
    for (container, dead_end) in [(Container::Frontends, false), (Container::DeadEnds, true)] {
        reader.elements(family, &container.name(), &mut counts, |attributes| {
            let frontend = *element(container, family, attributes, &mut names)?.frontend()?;
            let (packets, bytes) = counter(attributes)?;
            Some(Count { frontend, dead_end, packets, bytes })
        })?;
    }
    Ok(counts)
}

/// The packets that the counters in the rules of some chains counted, by the chain's name; none if the table does not
/// exist.
pub(crate) fn of_rules(
    reader: &mut Reader<'_>,
    family: Family,
    chains: &[String],
) -> Result<BTreeMap<String, u64>, KernelError> {
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    if !reader.tables()?.contains_key(&family) {
        return Ok(counted);
    }
    for rule in reader.rules(family)?.into_iter().filter(|rule| chains.contains(&rule.chain)) {
        let expressions = Attributes(&rule.expressions).iter().map(|(_, expression)| Attributes(expression));
        let packets: u64 = expressions.filter_map(packets_and_bytes).map(|(packets, _)| packets).sum();
        *counted.entry(rule.chain).or_default() += packets;
    }
    Ok(counted)
}

/// Packets and bytes. The kernel lists a single expression by itself, several in a list.
fn counter(element: Attributes<'_>) -> Option<(u64, u64)> {
    let list = element.nested(NFTA_SET_ELEM_EXPRESSIONS).iter().map(|(_, expression)| Attributes(expression));
    let mut expressions = std::iter::once(element.nested(NFTA_SET_ELEM_EXPR)).chain(list);
    expressions.find_map(packets_and_bytes)
}

/// What an expression counted, if it is a counter.
fn packets_and_bytes(expression: Attributes<'_>) -> Option<(u64, u64)> {
    if expression.text(NFTA_EXPR_NAME) != Some("counter") {
        return None;
    }
    let counted = expression.nested(NFTA_EXPR_DATA);
    Some((counted.long(NFTA_COUNTER_PACKETS)?, counted.long(NFTA_COUNTER_BYTES)?))
}
