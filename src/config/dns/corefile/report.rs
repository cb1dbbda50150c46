//! What is found wrong, all of it, so that a file is mended in one go.

use std::fmt;

use crate::config::{ConfigError, Place, Warning};

/// Everything that is wrong with a Corefile; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorefileErrors(pub Vec<ConfigError>);

impl fmt::Display for CorefileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CorefileErrors {}

/// Something wrong, while it is not yet known to which directive it belongs.
#[derive(Debug)]
pub struct Problem {
    /// Where
    pub place: Place,
    /// What is wrong and what would be right
    pub reason: String,
}

/// What was read, or what is wrong with it.
pub type Checked<T> = Result<T, Problem>;

/// Collects errors and warnings.
#[derive(Default)]
pub struct Report {
    /// Reasons not to use the file
    pub errors: Vec<ConfigError>,
    /// What is to be known about a file that can be used
    pub warnings: Vec<Warning>,
}

impl Report {
    /// Notes an error. `field` is the directive, and its option if it is about one.
    pub fn refuse(&mut self, place: &Place, field: &str, reason: impl Into<String>) {
        self.errors.push(ConfigError::Field { place: place.clone(), field: field.to_owned(), reason: reason.into() });
    }

    /// The errors from the first line to the last, each once, those of imported files behind.
    pub fn in_order(mut self, file: &str) -> Vec<ConfigError> {
        self.errors.sort_by_key(|error| match error {
            ConfigError::Syntax { place, .. } | ConfigError::Field { place, .. } => {
                (&*place.file != file, place.file.clone(), place.line, place.column)
            }
            ConfigError::Option { .. } => (true, "".into(), 0, 0),
        });
        // What is wrong in a snippet is wrong wherever it is imported.
        self.errors.dedup();
        self.errors
    }

    /// Notes a warning.
    pub fn warn(&mut self, place: &Place, field: &str, text: impl Into<String>) {
        self.warnings.push(Warning { place: Some(place.clone()), field: field.to_owned(), text: text.into() });
    }

    /// Takes what was read; notes what was wrong.
    pub fn take<T>(&mut self, field: &str, checked: Checked<T>) -> Option<T> {
        checked.map_err(|problem| self.refuse(&problem.place, field, problem.reason)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    /// A thousand equal blocks once had half a million errors.
    #[test]
    fn what_is_wrong_in_a_snippet_is_told_once() {
        let text = "(a) {\nb {\nnonsense\n}\nimport a\n}\nimport a\n";
        let errors = parse(text, "Corefile", &|_| None, &|_| Err("nothing".to_owned())).unwrap_err().0;
        let beginnings =
            ["2:1: b.: the block at Corefile:2:1 serves", "3:1: nonsense: there is", "5:1: import: more than"];
        assert_eq!(errors.len(), beginnings.len(), "{errors:#?}");
        for (error, beginning) in errors.iter().zip(beginnings) {
            assert!(error.to_string().starts_with(&format!("Corefile:{beginning}")), "{error}");
        }
    }
}
