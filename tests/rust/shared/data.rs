//! The corpus: HTML pairs, page histories and html5lib-tests, kept beside the repository or where `DOMCAST_CORPUS` says.

use domcast_diff::Tree;
use domcast_parser::{ParseError, parse_document, parse_fragment};
use serde::Deserialize;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Two successive HTML texts.
#[derive(Debug, Deserialize)]
pub struct Pair {
    /// The project that the pair is from.
    pub source: String,
    /// The file and test.
    pub name: String,
    /// The HTML before.
    pub from: String,
    /// The HTML after.
    pub to: String,
}

/// The successive texts of one page.
#[derive(Debug, Deserialize)]
pub struct History {
    /// The project that the page is from.
    pub source: String,
    /// The file.
    pub path: String,
    /// The texts, oldest first.
    pub versions: Vec<String>,
}

/// Returns the corpus folder; without one says loudly on standard error that `left_out` is not tested.
pub fn corpus(left_out: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let dir = std::env::var_os("DOMCAST_CORPUS").map_or(beside, PathBuf::from);
    if dir.join("pairs.jsonl").is_file() {
        return Some(dir);
    }
    // Past the capture of the test harness, which hides what a passing test prints.
    _ = writeln!(
        std::io::stderr(),
        "\nLEFT OUT: {left_out}: there is no corpus in `{}` (set DOMCAST_CORPUS to its folder)\n",
        dir.display()
    );
    None
}

/// Reads the pairs of a corpus.
///
/// # Panics
///
/// Panics if a file cannot be read or says something else.
pub fn pairs(corpus: &Path) -> Vec<Pair> {
    lines(&corpus.join("pairs.jsonl"))
}

/// Reads the page histories of a corpus.
///
/// # Panics
///
/// Panics if a file cannot be read or says something else.
pub fn histories(corpus: &Path) -> Vec<History> {
    let entries = fs::read_dir(corpus.join("revisions")).expect("the corpus has a folder `revisions`");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    files.sort();
    files.iter().flat_map(|file| lines(file)).collect()
}

fn lines<T: for<'de> Deserialize<'de>>(file: &Path) -> Vec<T> {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let parsed = text.lines().map(|line| serde_json::from_str(line).expect("a line is a JSON object"));
    parsed.collect()
}

/// Parses a text of the corpus: a document if it starts as one, else a fragment in a `div`.
///
/// # Errors
///
/// [`ParseError`] if the text exceeds the limits.
pub fn parse(html: &str) -> Result<Tree, ParseError> {
    let start: String = html.trim_start().chars().take(9).flat_map(char::to_lowercase).collect();
    let is_document = start.starts_with("<!doctype") || start.starts_with("<html");
    if is_document { parse_document(html) } else { parse_fragment(html, "div") }
}
