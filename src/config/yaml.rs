//! YAML as it is written: every value with its place, scalars as text, so that nothing is lost of what the operator
//! wrote before it is known what the field wants.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Localizer, Location, Spanned, UserMessageFormatter};

use super::{ConfigError, Place};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    /// What would be a boolean, as it is written
    Bool(String),
    /// What would be a number, as it is written
    Number(String),
    /// Any other scalar
    Text(String),
    List(Vec<Node>),
    /// Fields in order, the place of each name
    Map(Vec<(Place, String, Node)>),
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Value {
    /// The text of a scalar.
    pub fn scalar(&self) -> Option<&str> {
        match self {
            Value::Bool(text) | Value::Number(text) | Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// What it is, for an error.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "fields (name: value)",
        }
    }
}

/// Reads the one document of a file. An empty one is [`Value::Null`].
pub(super) fn parse(text: &str, file: &str) -> Result<Node, ConfigError> {
    let file: Arc<str> = file.into();
    let options = serde_saphyr::options! { emit_comments: false, with_snippet: false };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(raw.value.placed(text, &file, &raw.referenced)),
        Err(error) => Err(ConfigError::Syntax {
            place: place(&file, &error.location().unwrap_or(Location::UNKNOWN)),
            reason: words(&error),
        }),
    }
}

fn place(file: &Arc<str>, location: &Location) -> Place {
    Place { file: file.clone(), line: location.line().max(1), column: location.column().max(1) }
}

/// What the parser gives.
enum Raw {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl Raw {
    fn placed(self, text: &str, file: &Arc<str>, location: &Location) -> Node {
        let node = |raw: Spanned<Raw>| raw.value.placed(text, file, &raw.referenced);
        // The parser has made a value of the text, and of 0x10 and 1_0, too: what was written can be quoted.
        let written = |otherwise: String| slice(text, location).map_or(otherwise, str::to_owned);
        let value = match self {
            Raw::Null => Value::Null,
            Raw::Bool(value) => Value::Bool(value.to_string()),
            Raw::Number(number) => Value::Number(written(number)),
            Raw::Text(text) => Value::Text(text),
            Raw::List(items) => Value::List(items.into_iter().map(node).collect()),
            Raw::Map(fields) => Value::Map(
                fields.into_iter().map(|(key, raw)| (place(file, &key.referenced), key.value, node(raw))).collect(),
            ),
        };
        Node { place: place(file, location), value }
    }
}

/// The text of a plain scalar.
fn slice<'a>(text: &'a str, location: &Location) -> Option<&'a str> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let length = usize::try_from(location.span().byte_len()?).ok()?;
    let scalar = text.get(start..start.checked_add(length)?)?.trim();
    (!scalar.is_empty() && !scalar.starts_with(['*', '&', '!'])).then_some(scalar)
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Raw::Map(fields))
    }
}

/// The parser's words without their own line and column, which the place has.
fn words(error: &serde_saphyr::Error) -> String {
    struct NoLines;
    impl Localizer for NoLines {
        fn attach_location<'a>(&self, base: Cow<'a, str>, _: Location) -> Cow<'a, str> {
            base
        }
    }
    error.without_snippet().render_with_formatter(&UserMessageFormatter.with_localizer(&NoLines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_as_written_with_their_places() {
        let node = parse("a: 007\nb: {c: [x, 'y', true, ~]}\nd: 0x1f\ne: 1e3\nf: \"5\"\n", "f.yaml").unwrap();
        let Value::Map(fields) = &node.value else { panic!("{node:?}") };
        let number = |text: &str| Value::Number(text.to_owned());
        assert_eq!(fields[0].2.value, number("007"));
        assert_eq!(fields[2].2.value, number("0x1f"));
        assert_eq!(fields[3].2.value, number("1e3"));
        assert_eq!(fields[4].2.value, Value::Text("5".to_owned()));
        assert_eq!(fields[1].0.to_string(), "f.yaml:2:1");
        let Value::Map(inner) = &fields[1].2.value else { panic!() };
        let Value::List(items) = &inner[0].2.value else { panic!() };
        assert_eq!(items[1].place.to_string(), "f.yaml:2:12");
        assert_eq!(items[2].value, Value::Bool("true".to_owned()));
        assert_eq!(items[3].value, Value::Null);
        assert_eq!(parse("# nothing\n", "f").unwrap().value, Value::Null);
    }

    #[test]
    fn what_is_no_yaml_is_refused_with_its_line() {
        let error = parse("a: 1\nb: [1, 2\nc: 3\n", "f.yaml").unwrap_err().to_string();
        assert!(error.starts_with("f.yaml:"), "{error}");
        let error = parse("a: 1\na: 2\n", "f.yaml").unwrap_err().to_string();
        assert!(error.starts_with("f.yaml:2:1: ") && error.contains("duplicate"), "{error}");
    }
}
