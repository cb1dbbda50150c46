//! nft text without blocks of tables.

use std::fmt::Write as _;

/// The same as commands that add what a table's blocks declare, in order, sets and chains before rules.
///
/// For nft, a block `table ip x { ... }` also means "make this table, without flags", and the kernel refuses to take the
/// flag `persist` from a table. So what goes into such a table is said this way. Takes what [`super::Program`] and
/// [`super::group_text`] print: a line for each thing, a tab for each level. The table's comment is left out, as it can
/// only be given when the table is made.
pub fn flat_text(text: &str) -> String {
    let mut flat = String::new();
    let mut rules = String::new();
    let (mut table, mut chain, mut set) = ("", "", false);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("table ").and_then(|rest| rest.strip_suffix(" {")) {
            table = name;
        } else if line == "}" {
            flat.push_str(&std::mem::take(&mut rules));
        } else if line == "\t}" {
            // Of a chain, the block was closed at once.
            flat.push_str(if set { "}\n" } else { "" });
            (chain, set) = ("", false);
        } else if let Some(name) = line.strip_prefix("\tchain ").and_then(|rest| rest.strip_suffix(" {")) {
            chain = name;
            // What hooks a chain has to be said when it is made.
            let hook = lines.next_if(|line| line.starts_with("\t\ttype ")).map(str::trim);
            let hook = hook.map_or(String::new(), |hook| format!(" {{ {hook}; }}"));
            writing(writeln!(flat, "add chain {table} {chain}{hook}"));
        } else if let Some(rule) = line.strip_prefix("\t\t").filter(|_| !chain.is_empty()) {
            writing(writeln!(rules, "add rule {table} {chain} {rule}"));
        } else if set {
            writing(writeln!(flat, "{line}"));
        } else if let Some((kind @ ("map" | "set"), rest)) =
            line.strip_prefix('\t').and_then(|rest| rest.split_once(' '))
            && let Some(name) = rest.strip_suffix(" {")
        {
            set = true;
            writing(writeln!(flat, "add {kind} {table} {name} {{"));
        } else if !line.is_empty() && !line.starts_with('\t') {
            writing(writeln!(flat, "{line}"));
        }
    }
    flat
}

/// A String takes everything.
fn writing(_: std::fmt::Result) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_become_commands() {
        let text = "flush chain ip x a
table ip x {
\tcomment \"portolan program 1\"

\t# clients
\tmap m {
\t\ttypeof ip saddr : verdict
\t\tsize 10
\t}
\tchain base {
\t\ttype nat hook output priority -100
\t\tjump a
\t}
\tchain a {
\t\tdrop # all
\t}
}
";
        let wanted = "flush chain ip x a
add map ip x m {
\t\ttypeof ip saddr : verdict
\t\tsize 10
}
add chain ip x base { type nat hook output priority -100; }
add chain ip x a
add rule ip x base jump a
add rule ip x a drop # all
";
        assert_eq!(flat_text(text), wanted);
    }
}
