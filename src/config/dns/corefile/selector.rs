//! Label selectors, in the words of Kubernetes: `a=b,c in (x, y),!d,e!=f`.

use super::{blocks::Line, report::Checked};
use crate::config::dns::{Requirement, Selector};

/// Reads what follows on a line.
pub fn selector(line: &Line) -> Checked<Selector> {
    let words: Vec<&str> = line.some("a label selector")?.iter().map(|token| token.text.as_str()).collect();
    let text = words.join(" ");
    parse(&text).map_err(|reason| line.args[0].wrong(reason))
}

fn parse(text: &str) -> Result<Selector, String> {
    let requirements: Result<_, String> = parts(text).into_iter().map(|part| requirement(part.trim())).collect();
    Ok(Selector { requirements: requirements? })
}

/// Splits at commas, but not inside brackets.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut inside) = (0, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => inside = true,
            b')' => inside = false,
            b',' if !inside => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(part: &str) -> Result<Requirement, String> {
    if let Some(key) = part.strip_prefix('!') {
        return Ok(Requirement::Missing(label(key, part)?));
    }
    for (sign, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some((key, value)) = part.split_once(sign) {
            let (key, values) = (label(key, part)?, vec![value_of(value, part)?]);
            return Ok(if equal { Requirement::In(key, values) } else { Requirement::NotIn(key, values) });
        }
    }
    let Some((head, values)) = part.split_once('(') else { return Ok(Requirement::Exists(label(part, part)?)) };
    let values = values.strip_suffix(')').ok_or_else(|| wrong(part))?;
    let values: Vec<String> = values.split(',').map(|value| value_of(value, part)).collect::<Result<_, _>>()?;
    match head.split_whitespace().collect::<Vec<_>>()[..] {
        [key, "in"] => Ok(Requirement::In(label(key, part)?, values)),
        [key, "notin"] => Ok(Requirement::NotIn(label(key, part)?, values)),
        _ => Err(wrong(part)),
    }
}

fn label(key: &str, part: &str) -> Result<String, String> {
    let key = key.trim();
    let good = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
    if good { Ok(key.to_owned()) } else { Err(wrong(part)) }
}

fn value_of(value: &str, part: &str) -> Result<String, String> {
    let value = value.trim();
    let good = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if good { Ok(value.to_owned()) } else { Err(wrong(part)) }
}

fn wrong(part: &str) -> String {
    format!("{part:?} is no requirement such as app=web, tier!=db, env in (a, b), !legacy or canary")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read_as_kubernetes_reads_them() {
        let list = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
        let read = parse("a=b,c == d, e!=f,g in (x, y),h notin (z),!i,example.com/j,k=").unwrap();
        let expected = [
            Requirement::In("a".into(), list(&["b"])),
            Requirement::In("c".into(), list(&["d"])),
            Requirement::NotIn("e".into(), list(&["f"])),
            Requirement::In("g".into(), list(&["x", "y"])),
            Requirement::NotIn("h".into(), list(&["z"])),
            Requirement::Missing("i".into()),
            Requirement::Exists("example.com/j".into()),
            Requirement::In("k".into(), list(&[""])),
        ];
        assert_eq!(read.requirements, expected);
        for bad in ["", "a=b,", "a in x", "a within (x)", "a in (x", "!", "a b", "=x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
