//! Words into server blocks, directives and their options. Snippets and imports are resolved here.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Imported,
    lexer::{Environment, Token, tokens},
    report::Report,
};
use crate::config::Place;

/// Imports in one file; more are a circle.
const MOST_IMPORTS: usize = 1000;
/// Words that imports may make together: a snippet of imports of snippets doubles with every step.
const MOST_WORDS: usize = 200_000;

/// A server block as it stands in the file.
#[derive(Debug)]
pub struct Block {
    /// `ZONE[:PORT]`
    pub keys: Vec<Token>,
    /// What stands between the braces
    pub directives: Vec<Directive>,
}

/// A directive as it stands in the file.
#[derive(Debug)]
pub struct Directive {
    /// Its name and what follows on the line
    pub line: Line,
    /// The lines between its braces
    pub options: Vec<Line>,
}

/// A name and what follows on its line.
#[derive(Debug)]
pub struct Line {
    /// The first word
    pub name: Token,
    /// The others
    pub args: Vec<Token>,
}

/// Reads the files that an import names: a path, whose last part may hold a `*`. A pattern that nothing matches is no
/// error; a file that is not there is one.
pub type Reader<'a> = &'a dyn Fn(&Path) -> Result<Vec<Imported>, String>;

/// All server blocks of a text.
pub fn blocks(
    text: &str,
    file: &str,
    environment: Environment<'_>,
    read: Reader<'_>,
    report: &mut Report,
) -> Vec<Block> {
    let mut rest = tokens(text, &Arc::from(file), environment, report);
    rest.reverse();
    let parser = Parser { rest, snippets: BTreeMap::new(), imports: 0, words: 0, environment, read, report };
    parser.blocks()
}

struct Parser<'a, 'r> {
    /// What is to come, the next word last
    rest: Vec<Token>,
    snippets: BTreeMap<String, Vec<Token>>,
    imports: usize,
    words: usize,
    environment: Environment<'a>,
    read: Reader<'a>,
    report: &'r mut Report,
}

impl Parser<'_, '_> {
    fn blocks(mut self) -> Vec<Block> {
        let mut blocks = Vec::new();
        while let Some(token) = self.rest.pop() {
            if token.closes() {
                self.report.refuse(&token.place, "}", "closes no block; is one brace too many?");
            } else if token.opens() {
                self.report.refuse(&token.place, "{", "stands before the zones of its block, such as `.:53 {`");
                self.skip(&token);
            } else if token.text == "import" {
                self.import(&token);
            } else {
                let keys = self.keys(token);
                match snippet_name(&keys) {
                    Some(name) => self.snippet(&keys[0], name),
                    None => blocks.push(self.block(keys)),
                }
            }
        }
        blocks
    }

    /// The words before the brace. A comma at the end goes on on the next line.
    fn keys(&mut self, first: Token) -> Vec<Token> {
        let mut keys = Vec::new();
        let mut next = Some(first);
        while let Some(mut key) = next.take() {
            let more = key.text.ends_with(',');
            key.text.truncate(key.text.trim_end_matches(',').len());
            let place = key.place.clone();
            if !key.text.is_empty() {
                keys.push(key);
            }
            let goes_on = |token: &Token| !token.opens() && !token.closes() && (more || !token.first);
            next = if self.rest.last().is_some_and(goes_on) { self.rest.pop() } else { None };
            if more && next.is_none() {
                self.report.refuse(&place, ",", "another zone is to follow the comma; remove it, or name the zone");
            }
        }
        keys
    }

    fn block(&mut self, keys: Vec<Token>) -> Block {
        // A file of one block may go without braces.
        let opening = if self.rest.last().is_some_and(Token::opens) { self.rest.pop() } else { None };
        let mut directives = Vec::new();
        loop {
            let Some(token) = self.rest.pop() else {
                if let Some(opening) = &opening {
                    self.not_closed(opening);
                }
                break;
            };
            if token.closes() {
                if opening.is_none() {
                    self.report.refuse(&token.place, "}", "closes no block; is one brace too many?");
                }
                break;
            } else if token.opens() {
                self.report.refuse(&token.place, "{", "stands where a directive is to begin");
                self.skip(&token);
            } else if token.text == "import" {
                self.import(&token);
            } else {
                let line = self.line(token);
                let options = self.options();
                directives.push(Directive { line, options });
            }
        }
        Block { keys, directives }
    }

    /// The words up to the end of the line or the next brace.
    fn line(&mut self, name: Token) -> Line {
        let mut args = Vec::new();
        while self.rest.last().is_some_and(|token| !token.first && !token.opens() && !token.closes()) {
            args.extend(self.rest.pop());
        }
        Line { name, args }
    }

    /// The lines between a directive's braces, if it has any.
    fn options(&mut self) -> Vec<Line> {
        if !self.rest.last().is_some_and(Token::opens) {
            return Vec::new();
        }
        let Some(opening) = self.rest.pop() else { return Vec::new() };
        let mut options = Vec::new();
        loop {
            let Some(token) = self.rest.pop() else {
                self.not_closed(&opening);
                return options;
            };
            if token.closes() {
                return options;
            } else if token.opens() {
                self.report.refuse(&token.place, "{", "no option has a block of its own");
                self.skip(&token);
            } else if token.text == "import" && token.first {
                self.import(&token);
            } else {
                options.push(self.line(token));
            }
        }
    }

    fn snippet(&mut self, key: &Token, name: String) {
        let Some(opening) = self.rest.pop_if(|token| token.opens()) else {
            self.report.refuse(&key.place, &key.text, "a snippet has its lines between braces: `(name) {`");
            return;
        };
        let body = self.skip(&opening);
        if self.snippets.insert(name, body).is_some() {
            self.report.refuse(&key.place, &key.text, "there is a snippet of this name already; the names must differ");
        }
    }

    /// Takes what stands up to the brace that closes the one given.
    fn skip(&mut self, opening: &Token) -> Vec<Token> {
        let mut depth = 1_usize;
        let mut body = Vec::new();
        while let Some(token) = self.rest.pop() {
            depth = depth + usize::from(token.opens()) - usize::from(token.closes());
            if depth == 0 {
                return body;
            }
            body.push(token);
        }
        self.not_closed(opening);
        body
    }

    fn not_closed(&mut self, opening: &Token) {
        self.report.refuse(&opening.place, "{", "this block does not end; a } on a line of its own is missing");
    }

    /// Puts what an import names in its place.
    fn import(&mut self, import: &Token) {
        let Line { args, .. } = self.line(import.clone());
        let [target] = &args[..] else {
            self.report.refuse(
                &import.place,
                "import",
                "wants one snippet or one file, such as `import custom/*.override`",
            );
            return;
        };
        self.imports += 1;
        if self.imports > MOST_IMPORTS {
            if self.imports == MOST_IMPORTS + 1 {
                let reason = format!("more than {MOST_IMPORTS} imports: does {} import itself?", target.text);
                self.report.refuse(&import.place, "import", reason);
            }
            return;
        }
        let mut imported = match self.snippets.get(&target.text) {
            Some(body) => body.clone(),
            None => self.files(target),
        };
        self.words += imported.len();
        if self.words > MOST_WORDS {
            let reason = format!("imports make more than {MOST_WORDS} words; do snippets import each other?");
            self.report.refuse(&import.place, "import", reason);
            self.imports = MOST_IMPORTS + 1;
            return;
        }
        if let Some(first) = imported.first_mut() {
            first.first = true;
        }
        self.rest.extend(imported.into_iter().rev());
    }

    fn files(&mut self, target: &Token) -> Vec<Token> {
        let path = beside(&target.place, &target.text);
        let files = match (self.read)(&path) {
            Ok(files) => files,
            Err(why) => {
                let reason = format!(
                    "no snippet ({}) stands above, and the file {} cannot be read: {why}",
                    target.text,
                    path.display()
                );
                self.report.refuse(&target.place, "import", reason);
                return Vec::new();
            }
        };
        if files.is_empty() {
            self.report.warn(&target.place, "import", format!("no file matches {}", path.display()));
        }
        let mut words = Vec::new();
        for file in files {
            words.extend(tokens(&file.text, &Arc::from(file.name), self.environment, self.report));
        }
        words
    }
}

/// A path of an import: relative to the file that it stands in.
fn beside(place: &Place, target: &str) -> PathBuf {
    let folder = Path::new(&*place.file).parent().unwrap_or(Path::new(""));
    folder.join(target)
}

/// `name` of `(name)`.
fn snippet_name(keys: &[Token]) -> Option<String> {
    let [key] = keys else { return None };
    Some(key.text.strip_prefix('(')?.strip_suffix(')')?.to_owned())
}
