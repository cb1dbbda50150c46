//! Output a person can read: columns, and standard output that may be closed early.

use std::io::{ErrorKind, IsTerminal, Write};

/// Lines of cells as aligned columns, three spaces apart, the first line as heading.
pub fn columns(lines: &[Vec<String>]) -> String {
    let count = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| lines.iter().filter_map(|l| l.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("   ").trim_end());
        text.push('\n');
    }
    text
}

/// Prints to standard output. That a reader such as `head` closed it is no error.
pub fn print(text: &str) -> std::io::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Clears a terminal and puts its cursor in the corner (ECMA-48: ED, CUP).
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// Prints something that was printed before and has changed: in its place on a terminal, elsewhere below, after an empty
/// line if it is a `table`. Returns false if nobody reads any more.
pub fn print_again(text: &str, first: bool, table: bool) -> std::io::Result<bool> {
    let mut output = std::io::stdout();
    let before = match (output.is_terminal() && table, first || !table) {
        (true, _) => CLEAR,
        (false, true) => "",
        (false, false) => "\n",
    };
    let written = output.write_all(before.as_bytes()).and_then(|()| output.write_all(text.as_bytes()));
    match written.and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true),
    }
}
