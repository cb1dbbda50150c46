/// Whether one word is probably the other one misspelt: at most a third of its letters are inserted, deleted,
/// replaced or swapped with the next. Capitals do not count.
pub fn resembles(word: &str, other: &str) -> bool {
    slips(word, other) <= most_slips(word)
}

/// The name that a misspelt one is probably meant for.
pub fn nearest(word: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let distances = names.map(|name| (slips(word, &name), name));
    distances.filter(|(slips, _)| *slips <= most_slips(word)).min().map(|(_, name)| name)
}

fn most_slips(word: &str) -> usize {
    word.chars().count() / 3
}

fn slips(word: &str, other: &str) -> usize {
    strsim::osa_distance(&word.to_lowercase(), &other.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        for (word, other) in [("web", "wbe"), ("web", "Web"), ("http", "htp"), ("frontend", "front-end")] {
            assert!(resembles(word, other), "{word} {other}");
        }
        for (word, other) in [("web", "api"), ("http", "grpc"), ("v1", "stable")] {
            assert!(!resembles(word, other), "{word} {other}");
        }
        let names = ["api", "web", "web-2"].map(str::to_owned);
        assert_eq!(nearest("wbe", names.into_iter()).as_deref(), Some("web"));
    }
}
