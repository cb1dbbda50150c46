//! `rewrite [continue|stop] name|type|ttl ...`, on one line or between braces.

use std::slice::Iter;

use super::{
    blocks::Directive,
    lexer::Token,
    report::{Checked, Problem, Report},
};
use crate::config::dns::{AnswerPattern, NameMatch, Rewrite};

/// Reads it.
pub fn rewrite(directive: &Directive, report: &mut Report) -> Option<Rewrite> {
    let mut words: Vec<Token> = directive.line.args.clone();
    for line in &directive.options {
        words.push(line.name.clone());
        words.extend(line.args.iter().cloned());
    }
    let mut words = Words { rest: words.iter(), last: &directive.line.name };
    report.take("rewrite", rule(&mut words))
}

/// The words of a rule, one after the other.
struct Words<'a> {
    rest: Iter<'a, Token>,
    last: &'a Token,
}

impl<'a> Words<'a> {
    fn next(&mut self, what: &str) -> Checked<&'a Token> {
        let token = self.rest.next().ok_or_else(|| self.last.wrong(format!("wants {what} after this")))?;
        self.last = token;
        Ok(token)
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.rest.as_slice().first().filter(|token| token.text == word);
        if let Some(token) = found {
            self.last = token;
            self.rest.next();
        }
        found.is_some()
    }

    fn end<T>(&mut self, value: T) -> Checked<T> {
        match self.rest.next() {
            None => Ok(value),
            Some(extra) => Err(extra.wrong(format!("{:?} is one word too many", extra.text))),
        }
    }
}

fn rule(words: &mut Words<'_>) -> Checked<Rewrite> {
    let go_on = words.take("continue");
    if !go_on {
        words.take("stop");
    }
    let field = words.next("name, type or ttl")?;
    match field.text.as_str() {
        "name" => name(words, go_on),
        "type" => {
            let from = words.next("a query type")?.rtype()?;
            let to = words.next("another query type")?.rtype()?;
            words.end(Rewrite::Type { from, to, go_on })
        }
        "ttl" => {
            let matches = matches(words)?;
            let (least, most) = seconds(words.next("seconds, or LEAST-MOST")?)?;
            words.end(Rewrite::Ttl { matches, least, most, go_on })
        }
        other @ ("class" | "edns0" | "cname" | "rcode" | "answer") => {
            Err(field.wrong(format!("{other} is not supported; name, type and ttl can be rewritten")))
        }
        other => Err(field.wrong(format!("{other:?} is no field that can be rewritten; name, type and ttl are"))),
    }
}

fn name(words: &mut Words<'_>, go_on: bool) -> Checked<Rewrite> {
    let matches = matches(words)?;
    let to = words.next("what takes the place of the name")?;
    let mut replacement = to.text.to_lowercase();
    if let NameMatch::Exact(_) = matches {
        to.name()?;
    }
    if matches!(matches, NameMatch::Exact(_) | NameMatch::Suffix(_)) {
        replacement = with_dot(&replacement);
    }
    // A group that is not there would leave a hole in every name.
    if let NameMatch::Regex(regex) = &matches {
        groups_exist(&replacement, regex, to)?;
    }
    let mut answers = Vec::new();
    let mut restore_answer = true;
    while words.take("answer") {
        let kind = words.next("auto, name or value")?;
        match kind.text.as_str() {
            "auto" => {}
            kind @ ("name" | "value") => {
                restore_answer = false;
                let from = words.next("a regular expression")?;
                let to = words.next("what takes its place")?;
                let regex = from.regex()?;
                groups_exist(&to.text, &regex, to)?;
                answers.push(AnswerPattern { regex, replacement: to.text.to_lowercase(), values: kind == "value" });
            }
            other => return Err(kind.wrong(format!("{other:?} is not auto, name or value"))),
        }
    }
    words.end(Rewrite::Name { matches, replacement, restore_answer, answers, go_on })
}

/// `[exact|prefix|suffix|substring|regex] STRING`
fn matches(words: &mut Words<'_>) -> Checked<NameMatch> {
    let kind = ["exact", "prefix", "suffix", "substring", "regex"].into_iter().find(|kind| words.take(kind));
    let pattern = words.next("what a name is compared with")?;
    let text = pattern.text.to_lowercase();
    let matches = match kind {
        Some("prefix") => NameMatch::Prefix(text),
        Some("suffix") => NameMatch::Suffix(with_dot(&text)),
        Some("substring") => NameMatch::Substring(text),
        Some("regex") => NameMatch::Regex(pattern.regex()?),
        _ => NameMatch::Exact(pattern.name()?),
    };
    if pattern.text.is_empty() {
        return Err(pattern.wrong("an empty text is in every name; give one that is not"));
    }
    Ok(matches)
}

fn with_dot(text: &str) -> String {
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

/// `30`, `30-300`, `30-` or `-300`.
fn seconds(token: &Token) -> Checked<(u32, u32)> {
    let wrong = || token.wrong(format!("{:?} is neither seconds nor a range such as 30-300", token.text));
    let number = |text: &str, open: u32| if text.is_empty() { Ok(open) } else { text.parse().map_err(|_| wrong()) };
    let (least, most) = match token.text.split_once('-') {
        None => (token.text.parse().map_err(|_| wrong())?, token.text.parse().map_err(|_| wrong())?),
        Some(("", "")) => return Err(wrong()),
        Some((least, most)) => (number(least, 0)?, number(most, i32::MAX as u32)?),
    };
    if least > most { Err(wrong()) } else { Ok((least, most)) }
}

fn groups_exist(replacement: &str, regex: &regex::Regex, token: &Token) -> Result<(), Problem> {
    let missing = (regex.captures_len()..100).find(|group| replacement.contains(&format!("{{{group}}}")));
    match missing {
        None => Ok(()),
        Some(group) => Err(token.wrong(format!("{{{group}}} names a group that the pattern does not have"))),
    }
}
