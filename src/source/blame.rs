//! Finds out what is wrong with a document that could not be decoded, and saves what is right in it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Localizer, Location, Spanned, UserMessageFormatter};

use super::{
    decode::{is_text_for_kubernetes, parser_options},
    documents::Document,
    kinds::{Class, Kind, classify},
};
use crate::objects::Object;

/// What a part of a document turned out to be.
#[derive(Debug, PartialEq)]
pub(super) enum Finding {
    /// An object that is all right, and its line.
    Object(usize, Box<Object>),
    /// Something wrong.
    Fault(Fault),
}

/// What is wrong, and where.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    /// Line in the file, from 1
    pub line: usize,
    /// What the object calls itself, as far as that could be found
    pub name: Name,
    /// Path of the field; may be empty
    pub field: String,
    /// What is wrong
    pub reason: String,
    /// Whether it may have been an object: false for YAML that has nothing of a manifest
    pub is_manifest: bool,
}

/// Kind, namespace and name; empty where not known.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Name {
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

/// Examines a document that [`super::decode::decode`] has refused.
pub(super) fn examine(document: &Document<'_>) -> Vec<Finding> {
    let whole: Spanned<Header> = match parse(document.text) {
        Ok(whole) => whole,
        Err(error) => return vec![Finding::Fault(syntax_fault(document, &error))],
    };
    let line = document.lines_before + whole.referenced.line() as usize;
    let header = whole.value;
    match header.class() {
        Some(Class::Read(kind)) => vec![decode_tracked(kind, document, line, &header)],
        Some(Class::List) => examine_list(document, None),
        Some(Class::ListOf(kind)) => examine_list(document, Some(kind)),
        Some(Class::Other) => Vec::new(),
        Some(Class::WrongVersion(_)) | None => vec![Finding::Fault(header.fault(line))],
    }
}

/// Decodes the one object of a document; a fault has the field's path.
fn decode_tracked(kind: Kind, document: &Document<'_>, line: usize, header: &Header) -> Finding {
    let attempt = |loose| {
        let mut track = serde_path_to_error::Track::new();
        let options = parser_options(document.text, loose);
        serde_saphyr::with_deserializer_from_str_with_options(document.text, options, |deserializer| {
            kind.decode(serde_path_to_error::Deserializer::new(deserializer, &mut track))
        })
        .map_err(|error| Box::new((path(track), error)))
    };
    let result = match attempt(false) {
        Err(refusal) if is_text_for_kubernetes(document.text, &refusal.1) => attempt(true),
        result => result,
    };
    match result.map_err(|refusal| *refusal) {
        Ok(object) => Finding::Object(line, Box::new(object)),
        Err((field, error)) => Finding::Fault(Fault {
            line: document.lines_before + error.location().map_or(1, |l| l.line() as usize),
            name: header.name(),
            field,
            reason: words(&error),
            is_manifest: true,
        }),
    }
}

/// Takes a list apart, so that a bad item costs no other item.
fn examine_list(document: &Document<'_>, of: Option<Kind>) -> Vec<Finding> {
    #[derive(Deserialize)]
    struct List {
        #[serde(default)]
        items: Option<Vec<Spanned<Value>>>,
    }
    match parse::<List>(document.text) {
        Err(error) => vec![Finding::Fault(syntax_fault(document, &error))],
        Ok(list) => list
            .items
            .unwrap_or_default()
            .into_iter()
            .flat_map(|item| examine_value(document.lines_before + item.referenced.line() as usize, item.value, of))
            .collect(),
    }
}

/// Examines one item of a list; `of` is the kind of items that do not say it themselves.
pub(super) fn examine_value(line: usize, mut value: Value, of: Option<Kind>) -> Vec<Finding> {
    let header = Header::of_value(&value);
    let mut items_of = |of| {
        let items = value.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        items.into_iter().flat_map(|item| examine_value(line, item, of)).collect()
    };
    let kind = match (header.class(), of) {
        (Some(Class::Read(kind)), _) => kind,
        (None, Some(kind)) if header.kind.is_null() => kind,
        (Some(Class::List), _) => return items_of(None),
        (Some(Class::ListOf(kind)), _) => return items_of(Some(kind)),
        (Some(Class::Other), _) => return Vec::new(),
        (Some(Class::WrongVersion(_)) | None, _) => return vec![Finding::Fault(header.fault(line))],
    };
    let mut track = serde_path_to_error::Track::new();
    vec![match kind.decode(serde_path_to_error::Deserializer::new(value, &mut track)) {
        Ok(object) => Finding::Object(line, Box::new(object)),
        Err(error) => Finding::Fault(Fault {
            line,
            name: header.name(),
            field: path(track),
            reason: error.to_string(),
            is_manifest: true,
        }),
    }]
}

/// What an object says of itself, whatever the types of these fields.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Header {
    api_version: Value,
    kind: Value,
    metadata: Value,
}

impl Header {
    fn of_value(value: &Value) -> Self {
        let field = |name: &str| value.get(name).cloned().unwrap_or_default();
        Self { api_version: field("apiVersion"), kind: field("kind"), metadata: field("metadata") }
    }

    fn class(&self) -> Option<Class> {
        Some(classify(self.api_version.as_str()?, self.kind.as_str()?))
    }

    fn name(&self) -> Name {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        Name {
            kind: text(Some(&self.kind)),
            namespace: text(self.metadata.get("namespace")),
            name: text(self.metadata.get("name")),
        }
    }

    /// Why the object's kind is not known.
    fn fault(&self, line: usize) -> Fault {
        let (field, reason) = match (&self.api_version, &self.kind) {
            (Value::Null, Value::Null) => ("kind", "a manifest needs apiVersion and kind; this has neither".to_owned()),
            (_, Value::Null) => ("kind", "missing; it says what the object is, such as Service".to_owned()),
            (Value::Null, _) => ("apiVersion", "missing; for a Service it is v1".to_owned()),
            (Value::String(version), Value::String(kind)) => match classify(version, kind) {
                Class::WrongVersion(right) => ("apiVersion", format!("{version} has no {kind}; write {right}")),
                _ => ("kind", format!("{kind} of {version} is not known")),
            },
            (Value::String(_), kind) => ("kind", format!("{kind} is not text")),
            (version, _) => ("apiVersion", format!("{version} is not text")),
        };
        Fault {
            line,
            name: self.name(),
            field: field.to_owned(),
            reason,
            is_manifest: !(self.api_version.is_null() && self.kind.is_null()),
        }
    }
}

/// Parses a document into a type that takes numbers and booleans for text.
fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_saphyr::Error> {
    serde_saphyr::from_str_with_options(text, parser_options(text, true))
}

/// The fault of a document that is no YAML (or JSON) at all.
fn syntax_fault(document: &Document<'_>, error: &serde_saphyr::Error) -> Fault {
    Fault {
        line: document.lines_before + error.location().map_or(1, |l| l.line() as usize),
        name: name_in_text(document.text),
        field: String::new(),
        reason: words(error),
        is_manifest: true,
    }
}

/// Looks for the object's name in text that cannot be parsed: `kind:` at the margin, `name:` in or below `metadata:`.
fn name_in_text(text: &str) -> Name {
    let mut name = Name::default();
    let mut in_metadata = false;
    for line in text.lines().map(|line| line.replace(['"', '\''], "")) {
        if !line.starts_with([' ', '\t', '#']) {
            in_metadata = line.starts_with("metadata:");
            if let Some(kind) = line.strip_prefix("kind:") {
                name.kind = first_word(kind);
            }
        }
        for (key, place) in [("name:", &mut name.name), ("namespace:", &mut name.namespace)] {
            let is_key = |at: usize| !line[..at].ends_with(|before: char| before.is_alphanumeric());
            if in_metadata
                && place.is_empty()
                && let Some(at) = line.find(key).filter(|at| is_key(*at))
            {
                *place = first_word(&line[at + key.len()..]);
            }
        }
    }
    name
}

fn first_word(text: &str) -> String {
    text.split([' ', ',', '}', '#']).find(|word| !word.is_empty()).unwrap_or_default().to_owned()
}

/// The field's path; empty for the object itself.
fn path(track: serde_path_to_error::Track) -> String {
    let path = track.path().to_string();
    if path == "." { String::new() } else { path }
}

/// The parser's words. Lines are left out, as they count from the document's first line and the notice has the file's.
fn words(error: &serde_saphyr::Error) -> String {
    struct NoLines;
    impl Localizer for NoLines {
        fn attach_location<'a>(&self, base: Cow<'a, str>, _: Location) -> Cow<'a, str> {
            base
        }

        fn alias_defined_at(&self, _: Location) -> String {
            String::new()
        }

        fn alias_used_at(&self, _: Location) -> String {
            String::new()
        }
    }
    let text = match error.without_snippet() {
        serde_saphyr::Error::QuotingRequired { value, .. } => {
            format!("{value} is a number or a boolean where text is wanted; write \"{value}\"")
        }
        serde_saphyr::Error::Unexpected { expected: "mapping start", .. } => {
            "fields (name: value) are wanted here".into()
        }
        serde_saphyr::Error::Unexpected { expected: "sequence start", .. } => "a list (- value) is wanted here".into(),
        error => error.render_with_formatter(&UserMessageFormatter.with_localizer(&NoLines)),
    };
    match error.location() {
        Some(location) => format!("{text} (column {})", location.column()),
        None => text,
    }
}
