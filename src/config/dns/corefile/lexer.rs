//! Text into words. As in CoreDNS's own reader: white space separates, quotes hold together, only a quote can be escaped
//! in them, and `{$NAME}` and `{%NAME%}` stand for variables of the environment, also inside quotes.

use std::{iter::Peekable, str::Chars, sync::Arc};

use super::report::{Problem, Report};
use crate::config::Place;

/// A variable of the environment, if it is set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A word and where it stands.
#[derive(Clone, Debug)]
pub struct Token {
    /// Without quotes, variables replaced
    pub text: String,
    /// Of its first character
    pub place: Place,
    /// The first of its line
    pub first: bool,
    /// `{` or `}` by itself, without quotes
    brace: bool,
}

impl Token {
    /// An opening brace.
    pub fn opens(&self) -> bool {
        self.brace && self.text == "{"
    }

    /// A closing brace.
    pub fn closes(&self) -> bool {
        self.brace && self.text == "}"
    }

    /// Something is wrong with this word.
    pub fn wrong(&self, reason: impl Into<String>) -> Problem {
        Problem { place: self.place.clone(), reason: reason.into() }
    }
}

/// Where the reader is.
struct Cursor<'a> {
    rest: Peekable<Chars<'a>>,
    line: u64,
    column: u64,
}

impl Cursor<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        (self.line, self.column) = if c == '\n' { (self.line + 1, 1) } else { (self.line, self.column + 1) };
        Some(c)
    }
}

/// All words of a text. A quote that does not end is reported.
pub fn tokens(text: &str, file: &Arc<str>, environment: Environment<'_>, report: &mut Report) -> Vec<Token> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut cursor = Cursor { rest: text.chars().peekable(), line: 1, column: 1 };
    let mut tokens = Vec::new();
    let mut first = true;
    while let Some(c) = cursor.rest.peek().copied() {
        let place = Place { file: file.clone(), line: cursor.line, column: cursor.column };
        match c {
            '\n' => {
                first = true;
                cursor.next();
            }
            c if c.is_whitespace() => {
                cursor.next();
            }
            '#' => while cursor.rest.peek().is_some_and(|c| *c != '\n') && cursor.next().is_some() {},
            _ => {
                let (raw, quoted) = match c {
                    '"' => (quoted(&mut cursor, &place, report), true),
                    _ => (plain(&mut cursor), false),
                };
                let brace = !quoted && (raw == "{" || raw == "}");
                let text = with_variables(&raw, &place, environment, report);
                tokens.push(Token { text, place, first: std::mem::take(&mut first), brace });
            }
        }
    }
    tokens
}

fn plain(cursor: &mut Cursor<'_>) -> String {
    let mut word = String::new();
    while let Some(c) = cursor.rest.peek().copied().filter(|c| !c.is_whitespace()) {
        word.push(c);
        cursor.next();
    }
    word
}

fn quoted(cursor: &mut Cursor<'_>, place: &Place, report: &mut Report) -> String {
    let mut word = String::new();
    cursor.next();
    loop {
        match cursor.next() {
            Some('"') => return word,
            Some('\\') if cursor.rest.peek() == Some(&'"') => word.extend(cursor.next()),
            Some(c) => word.push(c),
            None => {
                report.refuse(
                    place,
                    "\"",
                    "this quote does not end; close it, or write \\\" for a quote inside of quotes",
                );
                return word;
            }
        }
    }
}

/// Puts variables in place of `{$NAME}` and `{%NAME%}`. What a variable holds is not looked at again.
fn with_variables(word: &str, place: &Place, environment: Environment<'_>, report: &mut Report) -> String {
    let mut made = String::new();
    let mut rest = word;
    while let Some(start) = rest.find("{$").into_iter().chain(rest.find("{%")).min() {
        let (before, reference) = rest.split_at(start);
        let end = if reference.starts_with("{$") { "}" } else { "%}" };
        let Some(length) = reference[2..].find(end).filter(|length| *length > 0) else { break };
        let name = &reference[2..2 + length];
        made.push_str(before);
        match environment(name) {
            Some(value) => made.push_str(&value),
            None => {
                report.warn(place, name, "this variable of the environment is not set; nothing is put in its place")
            }
        }
        rest = &reference[2 + length + end.len()..];
    }
    made + rest
}
