//! Decodes a document in one pass, straight into the objects, without a tree of values in between.
//!
//! What is wrong with a document that cannot be decoded so is found out by [`super::blame`], which may take its time.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Map, Value};
use serde_saphyr::{Options, Spanned, budget, options};

use super::kinds::{Class, Kind, classify};
use crate::objects::Object;

/// A decoded document, or item of a list.
#[derive(Debug)]
pub(super) enum Decoded {
    /// An object that Portolan reads.
    Object(Box<Object>),
    /// A list, with the line and column of each item; the kind of the items that do not say it themselves.
    List(Vec<Spanned<Decoded>>, Option<Kind>),
    /// An item of a list that leaves its kind to the list.
    Untyped(Map<String, Value>),
    /// Empty, or of a kind that Portolan does not read.
    Nothing,
}

/// How many events aliases may add to a document. Manifests share a block of labels or two; a bomb wants billions.
const MAX_REPLAYED_EVENTS: usize = 250_000;

/// How documents are parsed. `loose` takes numbers and booleans where text is wanted.
pub(super) fn parser_options(text: &str, loose: bool) -> Options {
    // The text is in memory, so its own size bounds what it can ask for; only aliases can ask for more.
    let limits = budget! {
        max_events: usize::MAX,
        max_nodes: usize::MAX,
        max_anchors: usize::MAX,
        max_aliases: usize::MAX,
        max_merge_keys: usize::MAX,
        max_total_scalar_bytes: text.len().saturating_add(64 << 20),
        enforce_alias_anchor_ratio: false,
    };
    options! {
        budget: limits,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED_EVENTS },
        emit_comments: false,
        with_snippet: false,
        no_schema: !loose,
    }
}

/// Decodes the text of one document.
pub(super) fn decode(text: &str) -> Result<Spanned<Decoded>, serde_saphyr::Error> {
    match serde_saphyr::from_str_with_options(text, parser_options(text, false)) {
        Err(error) if is_text_for_kubernetes(text, &error) => {
            serde_saphyr::from_str_with_options(text, parser_options(text, true))
        }
        result => result,
    }
}

/// Whether the parser asks for quotes where the API server does not: around `y` and `n`, around what would be a number
/// but is too large for one (123e4567, the beginning of a commit's hash), and around the keys of maps.
pub(super) fn is_text_for_kubernetes(text: &str, error: &serde_saphyr::Error) -> bool {
    let serde_saphyr::Error::QuotingRequired { value, location } = error else {
        return false;
    };
    if matches!(value.as_str(), "y" | "Y" | "n" | "N") || value.parse().is_ok_and(f64::is_infinite) {
        return true;
    }
    let line = text.lines().nth((location.line() as usize).saturating_sub(1)).unwrap_or_default();
    let rest: String = line.chars().skip((location.column() as usize).saturating_sub(1)).collect();
    rest.strip_prefix(value.as_str()).is_some_and(|rest| rest.trim_start().starts_with(':'))
}

impl<'de> Deserialize<'de> for Decoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DecodedVisitor)
    }
}

struct DecodedVisitor;

impl<'de> Visitor<'de> for DecodedVisitor {
    type Value = Decoded;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object")
    }

    fn visit_unit<E>(self) -> Result<Decoded, E> {
        Ok(Decoded::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Decoded, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<String>()? {
            fields.read(key, &mut map)?;
            match fields.class {
                Some(Class::Read(kind)) => {
                    let rest = Rest { early: fields.early.into_iter(), value: None, late: map };
                    let object = kind.decode(MapAccessDeserializer::new(rest))?;
                    return Ok(Decoded::Object(Box::new(object)));
                }
                Some(Class::WrongVersion(_)) => return Err(de::Error::custom("unknown apiVersion")),
                _ => {}
            }
        }
        Ok(match fields.class {
            Some(Class::List) => Decoded::List(fields.items.unwrap_or_default(), None),
            Some(Class::ListOf(kind)) => Decoded::List(fields.items.unwrap_or_default(), Some(kind)),
            Some(_) => Decoded::Nothing,
            None => Decoded::Untyped(fields.into_map()),
        })
    }
}

/// What is known of an object while its fields come in.
#[derive(Default)]
struct Fields {
    api_version: Option<String>,
    kind: Option<String>,
    class: Option<Class>,
    items: Option<Vec<Spanned<Decoded>>>,
    /// Fields that came before the kind was known: few and small, as `apiVersion` and `kind` come first by custom, and
    /// nearly first in the order of the alphabet, in which kubectl writes them.
    early: Map<String, Value>,
}

impl Fields {
    /// Takes the next field; `key` has been read from `map`.
    fn read<'de, A: MapAccess<'de>>(&mut self, key: String, map: &mut A) -> Result<(), A::Error> {
        match (key.as_str(), self.class) {
            ("apiVersion", _) => self.api_version = map.next_value()?,
            ("kind", _) => self.kind = map.next_value()?,
            ("items", Some(Class::List | Class::ListOf(_))) => self.items = map.next_value()?,
            // In the order of the alphabet, a list's items come before its kind.
            ("items", None) if self.api_version.as_deref() == Some("v1") => self.items = map.next_value()?,
            (_, None) => {
                self.early.insert(key, map.next_value()?);
            }
            (_, Some(_)) => {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if let (Some(api_version), Some(kind)) = (&self.api_version, &self.kind) {
            self.class = Some(classify(api_version, kind));
        }
        Ok(())
    }

    /// All fields of an object whose kind did not come up.
    fn into_map(mut self) -> Map<String, Value> {
        for (key, value) in [("apiVersion", self.api_version), ("kind", self.kind)] {
            if let Some(value) = value {
                self.early.insert(key.to_owned(), value.into());
            }
        }
        self.early
    }
}

/// The fields of an object: those that were read early, then those that are still to come.
struct Rest<A> {
    early: serde_json::map::IntoIter,
    value: Option<Value>,
    late: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Rest<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.early.next() {
            Some((key, value)) => {
                self.value = Some(value);
                seed.deserialize(key.into_deserializer()).map(Some)
            }
            None => self.late.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        match self.value.take() {
            Some(value) => seed.deserialize(value).map_err(de::Error::custom),
            None => self.late.next_value_seed(seed),
        }
    }
}
