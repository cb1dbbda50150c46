/// One document of a file: a piece of text that is parsed on its own, so that a mistake in it costs no other document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// The text, `---` line included
    pub text: &'a str,
    /// Lines of the file before the text
    pub lines_before: usize,
}

/// Splits a file into its documents. Documents without content are left out.
///
/// YAML: a line that begins with `---` starts a document and one that begins with `...` ends it, whatever stands around
/// it (YAML 1.2, section 9.1.2: both are forbidden inside a document, even in a quoted string), so that lines can be
/// split before anything is parsed. JSON: values one after the other, as `kubectl get -o json` and `jq` write them.
pub(super) fn split(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with('{')
        && let Some(documents) = split_json(text)
    {
        return documents;
    }
    split_yaml(text)
}

fn split_yaml(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let mut start = Place::default();
    let mut end = Place::default();
    let mut has_content = false;
    for line in text.split_inclusive('\n') {
        let starts = is_marker(line, "---");
        if starts && has_content {
            documents.push(start.document(text, end));
            (start, has_content) = (end, false);
        }
        end.advance(line);
        if is_marker(line, "...") {
            if has_content {
                documents.push(start.document(text, end));
            }
            (start, has_content) = (end, false);
        } else if starts {
            // Directives and comments before the marker belong to this document; an empty document before it does not.
            if !text[start.offset..].starts_with('%') {
                start = Place { offset: end.offset - line.len(), lines: end.lines - 1 };
            }
            has_content = is_content(&line[3..]);
        } else {
            has_content |= is_content(line) && !line.starts_with('%');
        }
    }
    if has_content {
        documents.push(start.document(text, end));
    }
    documents
}

/// A place in a text: bytes and lines before it.
#[derive(Clone, Copy, Default)]
struct Place {
    offset: usize,
    lines: usize,
}

impl Place {
    fn advance(&mut self, line: &str) {
        self.offset += line.len();
        self.lines += 1;
    }

    fn document(self, text: &str, end: Place) -> Document<'_> {
        Document { text: &text[self.offset..end.offset], lines_before: self.lines }
    }
}

/// Whether the line is the marker, alone or followed by white space.
fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Whether a line holds more than white space and a comment.
fn is_content(line: &str) -> bool {
    !matches!(line.trim_start().bytes().next(), None | Some(b'#'))
}

/// The JSON values of a text, or `None` if it is not JSON (YAML may begin with `{` as well).
fn split_json(text: &str) -> Option<Vec<Document<'_>>> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    let (mut documents, mut start) = (Vec::new(), Place::default());
    while let Some(value) = values.next() {
        value.ok()?;
        let end = values.byte_offset();
        let lead = text[start.offset..end].len() - text[start.offset..end].trim_start().len();
        start.lines += newlines(&text[start.offset..start.offset + lead]);
        start.offset += lead;
        let end = Place { offset: end, lines: start.lines + newlines(&text[start.offset..end]) };
        documents.push(start.document(text, end));
        start = end;
    }
    Some(documents)
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|b| *b == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(usize, &str)> {
        split(text).iter().map(|d| (d.lines_before, d.text)).collect()
    }

    #[test]
    fn yaml_is_split_at_its_markers() {
        assert_eq!(lines(""), []);
        assert_eq!(lines("---\n# nothing\n---\n\n...\n"), []);
        assert_eq!(lines("a: 1\n"), [(0, "a: 1\n")]);
        assert_eq!(lines("# one\n---\na: 1\n---\nb: 2"), [(1, "---\na: 1\n"), (3, "---\nb: 2")]);
        assert_eq!(lines("a: 1\n---\n---\n# c\nb: 2\n"), [(0, "a: 1\n"), (2, "---\n# c\nb: 2\n")]);
        assert_eq!(lines("a: 1\n...\n# c\nb: 2\n"), [(0, "a: 1\n...\n"), (2, "# c\nb: 2\n")]);
        assert_eq!(lines("--- {a: 1}\n--- # two\nb: 2\n"), [(0, "--- {a: 1}\n"), (1, "--- # two\nb: 2\n")]);
        assert_eq!(lines("a: 1\r\n---\r\nb: 2\r\n"), [(0, "a: 1\r\n"), (1, "---\r\nb: 2\r\n")]);
        assert_eq!(lines("%YAML 1.2\n---\na: 1\n"), [(0, "%YAML 1.2\n---\na: 1\n")]);
        assert_eq!(lines("\u{feff}a: 1\n"), [(0, "a: 1\n")]);
    }

    #[test]
    fn dashes_that_are_not_markers_do_not_split() {
        let text = "a: |\n  ---\nb: ----\n----: c\n";
        assert_eq!(lines(text), [(0, text)]);
    }

    #[test]
    fn json_values_are_split_where_they_end() {
        assert_eq!(lines("{\n \"a\": \"---\"\n}\n{\"b\": 2}"), [(0, "{\n \"a\": \"---\"\n}"), (3, "{\"b\": 2}")]);
        assert_eq!(lines("{\"a\": 1}{\"b\": 2}\n"), [(0, "{\"a\": 1}"), (0, "{\"b\": 2}")]);
        assert_eq!(lines("{a: 1}\n---\n{b: 2}\n"), [(0, "{a: 1}\n"), (1, "---\n{b: 2}\n")]);
    }
}
