//! `rewrite`: a question asked in other words, and the names of its answer put back (2.6). The client's question itself
//! comes back as it was sent, that is done where the reply is made.

use domain::base::Rtype;
use regex::{Captures, Regex};

use super::text_of;
use crate::config::dns::{AnswerPattern, Name, NameMatch, Rewrite, corefile};

/// What is asked instead, and what is done to the answer.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The name to ask for, in lower case
    pub name: Name,
    /// The type to ask for
    pub rtype: Rtype,
    /// Bounds in seconds for the times to live of the answer: least, most
    pub ttl: Option<(u32, u32)>,
    /// How names of the answer are put back, the last change first
    changes: Vec<Change>,
}

/// One change of the name.
#[derive(Clone, Debug)]
enum Change {
    /// This name takes the place of that one
    Whole { from: Name, to: Name },
    /// and so do the same last characters
    Suffix { from: String, to: String },
    /// What a pattern says
    Pattern(AnswerPattern),
}

/// A rule made a name that is none: the query cannot be answered (SERVFAIL, as CoreDNS does).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoName;

/// Applies the rules to a question, in their order, up to the first that matches and does not say `continue`. Nothing if
/// none matches.
///
/// # Errors
/// A rule matched, and what it makes is no name.
pub fn apply(rules: &[Rewrite], name: &Name, rtype: Rtype) -> Result<Option<Rewritten>, NoName> {
    let mut made: Option<Rewritten> = None;
    for rule in rules {
        let (now, now_rtype) = made.as_ref().map_or((name, rtype), |made| (&made.name, made.rtype));
        let start = |made: Option<Rewritten>| {
            made.unwrap_or_else(|| Rewritten { name: name.clone(), rtype, ttl: None, changes: Vec::new() })
        };
        let go_on = match rule {
            Rewrite::Name { matches, replacement, restore_answer, answers, go_on } => {
                let Some(text) = replaced(matches, replacement, now) else { continue };
                let new = corefile::name(&text).map_err(|_| NoName)?;
                let mut next = start(made.take());
                next.changes.extend(answers.iter().rev().cloned().map(Change::Pattern));
                if let (true, NameMatch::Suffix(suffix)) = (*restore_answer, matches) {
                    next.changes.push(Change::Suffix { from: replacement.clone(), to: suffix.clone() });
                }
                if *restore_answer {
                    let old = std::mem::replace(&mut next.name, new.clone());
                    next.changes.push(Change::Whole { from: new, to: old });
                } else {
                    next.name = new;
                }
                made = Some(next);
                go_on
            }
            Rewrite::Type { from, to, go_on } if *from == now_rtype => {
                let mut next = start(made.take());
                next.rtype = *to;
                made = Some(next);
                go_on
            }
            Rewrite::Ttl { matches, least, most, go_on } if is_match(matches, now) => {
                let mut next = start(made.take());
                next.ttl = Some((*least, *most));
                made = Some(next);
                go_on
            }
            Rewrite::Type { .. } | Rewrite::Ttl { .. } => continue,
        };
        if !go_on {
            break;
        }
    }
    Ok(made)
}

impl Rewritten {
    /// What takes the place of a name of the answer: of an owner, or with `value` of a name inside of record data. Nothing
    /// if it stays.
    pub fn restored(&self, name: &Name, value: bool) -> Option<Name> {
        let mut restored = None;
        for change in self.changes.iter().rev() {
            let now = restored.as_ref().unwrap_or(name);
            if let Some(next) = change.undone(now, value) {
                restored = Some(next);
            }
        }
        restored
    }

    /// A time to live of the answer, within the bounds.
    pub fn bounded(&self, ttl: u32) -> u32 {
        self.ttl.map_or(ttl, |(least, most)| ttl.max(least).min(most))
    }
}

impl Change {
    fn undone(&self, name: &Name, value: bool) -> Option<Name> {
        let made = match self {
            Self::Whole { from, to } => return (name == from).then(|| to.clone()),
            Self::Suffix { from, to } => {
                let text = text_of(name.as_slice());
                format!("{}{to}", text.to_ascii_lowercase().strip_suffix(from.as_str())?)
            }
            Self::Pattern(pattern) if pattern.values == value => {
                let text = text_of(name.as_slice()).to_ascii_lowercase();
                with_groups(&pattern.replacement, &captures(&pattern.regex, &text)?)
            }
            Self::Pattern(_) => return None,
        };
        // A name that cannot be is worse than the one that was found.
        corefile::name(&made).ok()
    }
}

/// The name in other words; nothing if the rule is not for it.
fn replaced(matches: &NameMatch, replacement: &str, name: &Name) -> Option<String> {
    if let NameMatch::Exact(exact) = matches {
        return (exact == name).then(|| replacement.to_owned());
    }
    let text = text_of(name.as_slice());
    match matches {
        NameMatch::Exact(_) => None,
        NameMatch::Prefix(prefix) => Some(format!("{replacement}{}", text.strip_prefix(prefix.as_str())?)),
        NameMatch::Suffix(suffix) => Some(format!("{}{replacement}", text.strip_suffix(suffix.as_str())?)),
        NameMatch::Substring(part) => text.contains(part.as_str()).then(|| text.replace(part.as_str(), replacement)),
        NameMatch::Regex(regex) => Some(with_groups(replacement, &captures(regex, &text)?)),
    }
}

fn is_match(matches: &NameMatch, name: &Name) -> bool {
    replaced(matches, "", name).is_some()
}

/// A pattern is written for names with or without the dot at their end.
fn captures<'t>(regex: &Regex, text: &'t str) -> Option<Captures<'t>> {
    regex.captures(text).or_else(|| regex.captures(text.strip_suffix('.').filter(|text| !text.is_empty())?))
}

/// Puts groups in place of `{1}`, `{2}`; `{0}` is the whole.
fn with_groups(replacement: &str, captures: &Captures<'_>) -> String {
    let mut made = String::new();
    let mut rest = replacement;
    while let Some((before, after)) = rest.split_once('{') {
        made.push_str(before);
        let group = after.split_once('}').and_then(|(number, rest)| Some((number.parse::<usize>().ok()?, rest)));
        match group {
            Some((number, after)) => {
                made.push_str(captures.get(number).map_or("", |group| group.as_str()));
                rest = after;
            }
            None => {
                made.push('{');
                rest = after;
            }
        }
    }
    made + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules of a Corefile's lines.
    fn rules(lines: &str) -> Vec<Rewrite> {
        let text = format!(". {{\n{lines}\n}}");
        let parsed = corefile::parse(&text, "f", &|_| None, &|_| Err(String::new()));
        parsed.unwrap().0.servers.remove(0).rewrites
    }

    fn shown(name: &Name) -> String {
        name.fmt_with_dot().to_string()
    }

    /// What `asked` becomes, and what `answered` becomes on the way back.
    fn through(lines: &str, asked: &str, answered: &str) -> (String, String) {
        let name = corefile::name(asked).unwrap();
        match apply(&rules(lines), &name, Rtype::A).unwrap() {
            None => ("-".to_owned(), answered.to_owned()),
            Some(made) => {
                let owner = corefile::name(answered).unwrap();
                (shown(&made.name), shown(&made.restored(&owner, false).unwrap_or(owner)))
            }
        }
    }

    fn pair(one: &str, other: &str) -> (String, String) {
        (one.to_owned(), other.to_owned())
    }

    #[test]
    fn names_are_rewritten_and_put_back() {
        let exact = "rewrite name a.example b.example";
        assert_eq!(through(exact, "a.example", "b.example"), pair("b.example.", "a.example."));
        assert_eq!(through(exact, "x.a.example", "q"), pair("-", "q"));
        let suffix = "rewrite name suffix .old.local .cluster.local answer auto";
        assert_eq!(
            through(suffix, "web.shop.svc.old.local", "web.shop.svc.cluster.local"),
            pair("web.shop.svc.cluster.local.", "web.shop.svc.old.local.")
        );
        // The target of an alias inside the zone is put back as well, names elsewhere stay.
        assert_eq!(through(suffix, "a.old.local", "b.cluster.local").1, "b.old.local.");
        assert_eq!(through(suffix, "a.old.local", "b.example").1, "b.example.");
        let prefix = "rewrite name prefix old- new-";
        assert_eq!(through(prefix, "old-a.example", "new-a.example"), pair("new-a.example.", "old-a.example."));
        let part = "rewrite name substring .us. .eu.";
        assert_eq!(through(part, "a.us.example", "a.eu.example"), pair("a.eu.example.", "a.us.example."));
        let regex = r"rewrite name regex (.*)-(us-west-1)\.example\.org {1}.service.{2}.consul";
        assert_eq!(
            through(regex, "ftp-us-west-1.example.org", "ftp.service.us-west-1.consul"),
            pair("ftp.service.us-west-1.consul.", "ftp-us-west-1.example.org.")
        );
        let both = r"rewrite name regex (.*)\.old {1}.new answer name (.*)\.new {1}.old";
        assert_eq!(through(both, "a.old", "z.new"), pair("a.new.", "z.old."));
    }

    #[test]
    fn rules_follow_each_other_only_where_they_say_so() {
        let lines =
            "rewrite continue name a.example b.example\nrewrite name b.example c.example\nrewrite name c.example d";
        assert_eq!(through(lines, "a.example", "c.example"), pair("c.example.", "a.example."));
        let mixed = rules("rewrite type ANY HINFO\nrewrite ttl suffix example 30-60\nrewrite name a.example b.example");
        let name = corefile::name("a.example").unwrap();
        let any = apply(&mixed, &name, Rtype::ANY).unwrap().unwrap();
        assert_eq!((any.rtype, any.ttl, shown(&any.name).as_str()), (Rtype::HINFO, None, "a.example."));
        let bounded = apply(&mixed, &name, Rtype::A).unwrap().unwrap();
        assert_eq!([5, 45, 90].map(|ttl| bounded.bounded(ttl)), [30, 45, 60]);
        assert!(apply(&mixed, &corefile::name("org").unwrap(), Rtype::A).unwrap().is_none());
    }

    #[test]
    fn what_makes_no_name_is_told() {
        let rules = rules("rewrite name regex (.*) {1}{1}.example");
        let long = corefile::name(&format!("{}.example", "a".repeat(60))).unwrap();
        assert_eq!(apply(&rules, &long, Rtype::A).unwrap_err(), NoName);
    }
}
