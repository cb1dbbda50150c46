//! Rules of iptables-nft. Of their matches and targets that come from iptables' own extensions nft's JSON has but the
//! name; its text has them translated, as far as nft was built to.

use serde_json::{Value, json};

use super::{
    expression::{Expression, Kind, Operator, Sets, number},
    statement::{Statement, Translation},
};

/// Whether it is a part that only iptables knows; `match` or `target` and the name.
pub(super) fn extension(json: &Value) -> Option<(&str, &str)> {
    let body = json.get("xt")?;
    Some((body.get("type").and_then(Value::as_str)?, body.get("name").and_then(Value::as_str)?))
}

/// The matches in the words of a rule, up to the first that is not known here.
pub(super) fn matches(words: &str, sets: &Sets<'_>) -> Vec<Statement> {
    let mut words = words.split_whitespace().peekable();
    let mut result = Vec::new();
    while words.peek().is_some() {
        let before: Vec<&str> = words.clone().collect();
        match clause(&mut words).and_then(|json| Statement::read(&json, sets)) {
            Some(statement) => result.push(statement),
            None => {
                result.push(Statement::Perhaps(format!("`{}`", before.join(" "))));
                break;
            }
        }
    }
    result
}

/// One comparison, as nft's JSON would have it.
fn clause<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> Option<Value> {
    let left = match words.next()? {
        key @ ("iifname" | "oifname") => json!({"meta": {"key": key}}),
        "mark" => json!({"meta": {"key": "mark"}}),
        "meta" => json!({"meta": {"key": words.next()?}}),
        "fib" => {
            let flag = words.next()?;
            (words.next()? == "type").then(|| json!({"fib": {"result": "type", "flags": [flag]}}))?
        }
        "ct" => match words.next()? {
            direction @ ("original" | "reply") => json!({"ct": {"key": words.next()?, "dir": direction}}),
            key => json!({"ct": {"key": key}}),
        },
        header @ ("ip" | "ip6" | "tcp" | "udp" | "sctp" | "th") => {
            json!({"payload": {"protocol": header, "field": words.next()?}})
        }
        _ => return None,
    };
    let mut op = "==";
    if let Some(sign) = words.next_if(|word| ["!=", "==", "!", "<", ">", "<=", ">="].contains(word)) {
        op = if sign == "!" { "!=" } else { sign };
    }
    let mut left = left;
    if words.next_if(|word| ["&", "and"].contains(word)).is_some() {
        left = json!({"&": [left, integer(words.next()?)?]});
        op = words.next()?;
    }
    let right = words.next()?;
    if right == "{" {
        let elements: Vec<&str> = words.by_ref().take_while(|word| *word != "}").collect();
        let elements: Vec<Value> = elements.iter().map(|word| constant(word.trim_end_matches(','))).collect();
        return Some(json!({"match": {"op": op, "left": left, "right": {"set": elements}}}));
    }
    // States and statuses are flags: any of those named.
    let flags = left.get("ct").is_some_and(|ct| ct["key"] == "state" || ct["key"] == "status");
    let op = match op {
        "==" if flags => "in",
        "!=" if flags => "!",
        op => op,
    };
    let right = if flags { right.split(',').collect() } else { constant(right) };
    Some(json!({"match": {"op": op, "left": left, "right": right}}))
}

fn integer(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

fn constant(word: &str) -> Value {
    let word = word.trim_matches('"');
    if let Some(number) = integer(word) {
        return number.into();
    }
    if let Some((first, last)) = word.split_once('-')
        && first.starts_with(|c: char| c.is_ascii_hexdigit())
        && last.starts_with(|c: char| c.is_ascii_hexdigit())
        && word.contains(|c: char| c.is_ascii_digit())
    {
        return json!({"range": [constant(first), constant(last)]});
    }
    match word.split_once('/').and_then(|(address, length)| Some((address, length.parse::<u8>().ok()?))) {
        Some((address, length)) => json!({"prefix": {"addr": address, "len": length}}),
        None => word.into(),
    }
}

/// What a target of iptables does; `words` is the whole rule. `None` is one that does nothing to the packet.
pub(super) fn target(name: &str, words: &str) -> Option<Statement> {
    let after = |what: &str| words.rsplit_once(what).map(|(_, rest)| rest);
    let first = |what: &str| after(what)?.split(' ').next();
    Some(match name {
        "REJECT" => Statement::Reject,
        "MASQUERADE" | "SNAT" => Statement::HideSource,
        "DNAT" => Statement::Translate(translation(first("dnat to "), true)),
        "REDIRECT" => Statement::Translate(translation(first("redirect to "), false)),
        "TPROXY" => Statement::TransparentProxy("whether a process listens for it".to_owned()),
        "NFQUEUE" => Statement::HandOver("what the program decides that listens to the queue".to_owned()),
        "CT" | "NOTRACK" if words.contains("notrack") => Statement::NoTrack,
        "MARK" => Statement::SetMark(after("mark set ").map_or(unread(), mark)),
        "CONNMARK" if words.contains("ct mark set ") => Statement::SetConnectionMark(unread()),
        "CONNMARK" => Statement::SetMark(match after("meta mark set ") {
            Some("ct mark") => Expression::Ct("mark".to_owned(), None),
            _ => unread(),
        }),
        "AUDIT" | "CHECKSUM" | "CLASSIFY" | "CT" | "DSCP" | "LOG" | "NFLOG" | "SET" | "TCPMSS" | "TEE" | "TRACE" => {
            return None;
        }
        other => Statement::HandOver(format!("what the target {other} does")),
    })
}

fn unread() -> Expression {
    Expression::Other("a mark that iptables sets".to_owned())
}

/// `0x4`, `mark or 0x4000`, `mark and 0xff xor 0x1`
fn mark(words: &str) -> Expression {
    let constant = |word: &str| integer(word).map(|number| Expression::Number(number.into()));
    let mut words = words.trim_start_matches("meta ").split_whitespace();
    let mut value = match words.next() {
        Some("mark") => Expression::Meta("mark".to_owned()),
        Some(word) => return constant(word).unwrap_or_else(unread),
        None => return unread(),
    };
    while let Some(operator) = words.next() {
        let operator = match operator {
            "and" | "&" => Operator::And,
            "or" | "|" => Operator::Or,
            "xor" | "^" => Operator::Xor,
            _ => return unread(),
        };
        let Some(right) = words.next().and_then(constant) else { return unread() };
        value = Expression::Binary(operator, Box::new((value, right)));
    }
    value
}

/// `10.0.0.1`, `10.0.0.1:80`, `[fd00::1]:80`, `:80`
fn translation(to: Option<&str>, with_address: bool) -> Translation {
    let mut result = Translation { family: None, address: None, port: None, several: false, key: None };
    let Some(to) = to else { return Translation { several: with_address, ..result } };
    let (address, port) = match to.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => (address, rest.strip_prefix(':')),
        None if to.matches(':').count() > 1 => (to, None),
        None => to.split_once(':').map_or((to, None), |(address, port)| (address, Some(port))),
    };
    result.address = number(&address.into(), Kind::Address);
    result.port = port.and_then(|port| number(&port.into(), Kind::Port));
    result.several = with_address && result.address.is_none() || port.is_some() && result.port.is_none();
    result
}
