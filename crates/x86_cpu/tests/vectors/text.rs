//! Reading the text of vectors: lines into cases. See fixtures/instructions/README.md.

use std::fmt;
use std::path::Path;

/// Where a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fixtures/instructions/{}:{}", self.file, self.line)
    }
}

/// A line of a case: its keyword and what follows.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) place: Place,
    pub(crate) keyword: String,
    pub(crate) rest: String,
}

impl Line {
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.rest.split_whitespace()
    }

    pub(crate) fn error(&self, message: impl fmt::Display) -> String {
        format!("{}: {message}", self.place)
    }
}

/// One case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) lines: Vec<Line>,
}

impl Case {
    /// The lines with one of the keywords, in order.
    pub(crate) fn lines<'a>(&'a self, keywords: &'a [&str]) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(|line| keywords.contains(&line.keyword.as_str()))
    }
}

const KEYWORDS: [&str; 14] = [
    "sdm",
    "mode",
    "given",
    "gdt",
    "ldt",
    "idt",
    "page",
    "pde",
    "pdpte",
    "pml4e",
    "code",
    "expect",
    "steps",
    "undefined",
];

/// The cases in `text`.
///
/// # Errors
/// Every line that is none, one message each.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Case>, Vec<String>> {
    let mut cases: Vec<Case> = Vec::new();
    let mut errors = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let place = Place { file: file.to_owned(), line: number };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (keyword, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim().to_owned();
        if keyword == "case" {
            if cases.iter().any(|case| case.name == rest) {
                errors.push(format!("{place}: a second case of the name {rest:?}"));
            }
            cases.push(Case { name: rest, place, lines: Vec::new() });
            continue;
        }
        let known = KEYWORDS.contains(&keyword.split(['@', ':']).next().unwrap_or_default());
        match cases.last_mut() {
            Some(case) if known => case.lines.push(Line { place, keyword: keyword.to_owned(), rest }),
            Some(_) => errors.push(format!("{place}: no line begins with {keyword:?}")),
            None => errors.push(format!("{place}: this stands before the first case")),
        }
    }
    for case in &cases {
        for needed in ["sdm", "mode", "expect"] {
            if case.lines(&[needed]).next().is_none() {
                errors.push(format!("{}: {:?} has no line {needed}", case.place, case.name));
            }
        }
    }
    if errors.is_empty() { Ok(cases) } else { Err(errors) }
}

/// Every file of vectors under `folder`: name and text, in order of name.
pub(crate) fn files(folder: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<(String, String)> = entries
        .map(|entry| entry.expect("an entry of the folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, text)
        })
        .collect();
    files.sort();
    files
}
