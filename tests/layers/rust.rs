//! Reads Rust source as tokens, so that comments and strings are no code.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A path such as `crate::model::Family`, or a single identifier, somewhere in a source file.
pub struct Mention {
    /// Its segments; `use a::{b, c::d}` mentions `a::b` and `a::c::d`
    pub path: Vec<String>,
    /// Line, from 1
    pub line: usize,
    /// Inside an item with `#[cfg(test)]`
    pub in_test: bool,
}

/// Everything that a source text mentions.
pub fn mentions(source: &str) -> Vec<Mention> {
    let mut found = Vec::new();
    let tokens: TokenStream = source.parse().unwrap_or_else(|error| panic!("no Rust: {error}"));
    walk(tokens, false, &mut found);
    found
}

fn walk(tokens: TokenStream, in_test: bool, found: &mut Vec<Mention>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut rest = tokens.as_slice();
    while let [token, after @ ..] = rest {
        if !in_test && is_punct(token, '#') && after.first().is_some_and(is_cfg_test) {
            let ends = |t: &TokenTree| is_punct(t, ';') || brace_group(t).is_some();
            let item = after.iter().position(ends).map_or(after.len(), |end| end + 1);
            walk(after[..item].iter().cloned().collect(), true, found);
            rest = &after[item..];
        } else if let TokenTree::Ident(_) = token {
            rest = path(rest, &[], in_test, found);
        } else {
            if let TokenTree::Group(group) = token {
                walk(group.stream(), in_test, found);
            }
            rest = after;
        }
    }
}

/// Reads the path at the beginning of `tokens`, and with a `{...}` at its end every path in there. Returns what
/// follows.
fn path<'a>(
    mut tokens: &'a [TokenTree],
    prefix: &[String],
    in_test: bool,
    found: &mut Vec<Mention>,
) -> &'a [TokenTree] {
    let mut path = prefix.to_vec();
    let line = tokens.first().map_or(0, |token| token.span().start().line);
    while let [TokenTree::Ident(segment), after @ ..] = tokens {
        path.push(segment.to_string());
        tokens = after;
        let [one, two, after @ ..] = after else { break };
        if !is_punct(one, ':') || !is_punct(two, ':') {
            break;
        }
        if let Some(group) = after.first().and_then(brace_group) {
            branches(group, &path, in_test, found);
            return &after[1..];
        }
        tokens = after;
    }
    found.push(Mention { path, line, in_test });
    tokens
}

fn branches(group: &Group, prefix: &[String], in_test: bool, found: &mut Vec<Mention>) {
    let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
    for branch in tokens.split(|token| is_punct(token, ',')).filter(|branch| !branch.is_empty()) {
        path(branch, prefix, in_test, found);
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn is_cfg_test(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.stream().to_string().replace(' ', "") == "cfg(test)")
}

fn brace_group(token: &TokenTree) -> Option<&Group> {
    match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(group),
        _ => None,
    }
}

#[test]
fn mentions_are_found_where_they_are() {
    let source = r##"
        //! crate::comment
        use crate::{model::{Family, types::*}, tables};
        const TEXT: &str = "crate::text";
        fn f() { let m = std::collections::HashMap::<u8, crate::lab::Lab>::new(); }
        #[cfg(test)]
        #[allow(dead_code)]
        mod tests { use std::fs; }
        fn g() { super::super::kernel::dump!(unsafe { tokio }) }
    "##;
    let found: Vec<_> = mentions(source).iter().map(|m| (m.path.join("::"), m.line, m.in_test)).collect();
    for (path, line, in_test) in [
        ("crate::model::Family", 3, false),
        ("crate::model::types", 3, false),
        ("crate::tables", 3, false),
        ("std::collections::HashMap", 5, false),
        ("crate::lab::Lab", 5, false),
        ("std::fs", 8, true),
        ("super::super::kernel::dump", 9, false),
        ("unsafe", 9, false),
        ("tokio", 9, false),
    ] {
        assert!(found.contains(&(path.to_owned(), line, in_test)), "{path} in line {line}: {found:?}");
    }
    assert!(!found.iter().any(|(path, ..)| path.contains("comment") || path.contains("text")), "{found:?}");
}
