use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::JsonError;
use crate::{
    model::Family,
    tables::{
        Program,
        program::{Choice, Marked, SourceMatch},
    },
};

/// What nft makes of the text in `rules/`, where the lines that depend on settings carry their mark as a comment.
const IPV4: &str = include_str!("../../../rules/ipv4.json");
const IPV6: &str = include_str!("../../../rules/ipv6.json");

/// The mark in `rules/`, for masquerade bit 14.
const RULES_MARK: u32 = 0x4000;

/// The fixed program, in parts.
#[derive(Default)]
pub(super) struct Parts {
    /// `set` or `map`, and the declaration
    pub sets: Vec<(&'static str, Value)>,
    /// `{"chain": ...}`
    pub chains: Vec<Value>,
    /// `{"rule": ...}`
    pub rules: Vec<Value>,
}

/// The program as its settings want it: what `Program::new` does to the text, done to its JSON form.
pub(super) fn parts(program: &Program) -> Result<Parts, JsonError> {
    #[derive(Deserialize)]
    struct Ruleset {
        nftables: Vec<Map<String, Value>>,
    }
    let family = program.family;
    let source = match family {
        Family::V4 => IPV4,
        Family::V6 => IPV6,
    };
    let ruleset: Ruleset = serde_json::from_str(source).map_err(|source| JsonError::Program { family, source })?;
    let mut parts = Parts::default();
    for (kind, body) in ruleset.nftables.into_iter().flatten() {
        match (kind.as_str(), body) {
            ("set", declaration) => parts.sets.push(("set", declaration)),
            ("map", declaration) => parts.sets.push(("map", declaration)),
            ("chain", chain) => parts.chains.push(json!({ "chain": chain })),
            ("rule", Value::Object(rule)) => {
                let rule = adapt(rule, &program.choice);
                parts.rules.extend(rule.map(|rule| json!({ "rule": rule })));
            }
            _ => {} // the table, which is ours to declare
        }
    }
    Ok(parts)
}

/// One rule with this choice; `None` leaves it out.
fn adapt(mut rule: Map<String, Value>, choice: &Choice) -> Option<Map<String, Value>> {
    let comment = rule.remove("comment");
    let statements = rule.get_mut("expr")?.as_array_mut()?;
    let marked = match comment.as_ref().and_then(Value::as_str) {
        Some("detector") => Some((Marked::Detector, "==")),
        Some("hide") => Some((Marked::Hide, "!=")),
        _ => None,
    };
    if let Some((marked, operator)) = marked {
        match choice.source_match(marked) {
            SourceMatch::NoRule => return None,
            SourceMatch::Anything => drop(statements.remove(0)),
            SourceMatch::AsItStands => {}
            SourceMatch::Interface(name) => {
                let interface = json!({ "op": operator, "left": { "meta": { "key": "iifname" } }, "right": name });
                *statements.first_mut()? = json!({ "match": interface });
            }
        }
    }
    statements.iter_mut().for_each(|statement| set_mark(statement, choice.mark));
    Some(rule)
}

/// Puts the mark wherever the one of `rules/` stands.
fn set_mark(value: &mut Value, mark: u32) {
    match value {
        Value::Number(number) if number.as_u64() == Some(RULES_MARK.into()) => *value = mark.into(),
        Value::Array(values) => values.iter_mut().for_each(|value| set_mark(value, mark)),
        Value::Object(fields) => fields.values_mut().for_each(|value| set_mark(value, mark)),
        _ => {}
    }
}
