use super::Tally;
use crate::model::Frontend;

/// One line of the table: what somebody got from a frontend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Who asked, in the reader's words: `client`, `node-1`, `pod shop/web-1`
    pub from: String,
    /// Whom
    pub frontend: Frontend,
    /// What came of it
    pub tally: Tally,
}

/// The answers as text, a line for each row, ending in a line feed:
///
/// ```text
/// FROM     FRONTEND            ANSWERED BY             SOURCE SEEN
/// client   10.96.0.10:80/TCP   web-1 (4), web-2 (6)    192.168.49.11
/// ```
pub fn table(rows: &[Row]) -> String {
    let mut lines = vec![["FROM", "FRONTEND", "ANSWERED BY", "SOURCE SEEN"].map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        let answers = row.tally.outcomes.iter().map(|(name, count)| format!("{name} ({count})"));
        let sources = row.tally.sources.iter().map(ToString::to_string);
        [row.from.clone(), row.frontend.to_string(), list(answers), list(sources)]
    }));
    let mut widths = [0; 4];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let pad = |line: &[String; 4]| {
        let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("   ").trim_end())
    };
    lines.iter().map(pad).collect()
}

/// The items with commas between them; `-` for none.
fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "-".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::{super::Outcome, *};
    use crate::model::Protocol;

    #[test]
    fn the_table_lines_up_and_counts_each_answer() {
        let answer = |pod: &str| Outcome::Answered {
            pod: pod.into(),
            source: "192.168.49.11:40321".parse().unwrap(),
            destination: "10.244.1.2:8080".parse().unwrap(),
        };
        let row = |from: &str, address: &str, outcomes: &[Outcome]| {
            let mut tally = Tally::default();
            outcomes.iter().for_each(|outcome| tally.add(outcome));
            let frontend = Frontend { address: address.parse().unwrap(), protocol: Protocol::Tcp, port: 80 };
            Row { from: from.into(), frontend, tally }
        };
        let rows = [
            row("client", "10.96.0.10", &[answer("web-2"), answer("web-1"), answer("web-2"), Outcome::Silence]),
            row("node-1", "fd00::1", &[Outcome::Refused]),
        ];
        let expected = "\
FROM     FRONTEND            ANSWERED BY                         SOURCE SEEN
client   10.96.0.10:80/TCP   silence (1), web-1 (1), web-2 (2)   192.168.49.11
node-1   [fd00::1]:80/TCP    refused (1)                         -
";
        assert_eq!(table(&rows), expected);
    }
}
