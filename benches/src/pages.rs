//! Real pages, from the corpus beside the repository.

use domcast_parser::Parser;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A page that somebody wrote by hand or by a program.
#[derive(Clone, Debug)]
pub struct Page {
    /// Where it is from.
    pub name: &'static str,
    /// Its text.
    pub html: String,
    /// Whether the parser's fast path takes it.
    pub is_regular: bool,
}

/// The pages, by project, path and revision (the last one if none): machine-made, hand-made with a list, a specification of 159 kB.
/// The others are irregular, as 17 of the 1,170 revisions in the corpus are: for three commits the specification had a list in a `p`,
/// which the fast path meets after 40 % of it; the other one leaves an element open that its writer thought to have closed.
const PAGES: [(&str, &str, &str, Option<usize>); 5] = [
    ("result table", "krausest+js-framework-benchmark.jsonl", "webdriver-ts/table.html", None),
    ("TodoMVC", "tastejs+todomvc.jsonl", "index.html", None),
    ("W3C manifest", "w3c+manifest.jsonl", "index.html", None),
    ("W3C manifest, a slip", "w3c+manifest.jsonl", "index.html", Some(20)),
    ("TodoMVC in AngularJS", "tastejs+todomvc.jsonl", "examples/angularjs/index.html", Some(6)),
];

/// Reads the pages; without a corpus says loudly that they are left out.
///
/// # Panics
///
/// Panics if the corpus lacks a page.
pub fn pages() -> Vec<Page> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let dir = std::env::var_os("DOMCAST_CORPUS").map_or(beside, PathBuf::from);
    if !dir.join("revisions").is_dir() {
        eprintln!(
            "\nLEFT OUT: real pages: there is no corpus in `{}` (set DOMCAST_CORPUS to its folder)\n",
            dir.display()
        );
        return Vec::new();
    }
    let page = |(name, file, path, revision)| page(name, &dir.join("revisions").join(file), path, revision);
    PAGES.into_iter().map(page).collect()
}

fn page(name: &'static str, file: &Path, path: &str, revision: Option<usize>) -> Page {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let histories = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is a JSON object"));
    let history = histories.into_iter().find(|history| history["path"] == path);
    let history = history.unwrap_or_else(|| panic!("{}: no history of `{path}`", file.display()));
    let versions = history["versions"].as_array();
    let html = versions.and_then(|versions| revision.map_or(versions.last(), |idx| versions.get(idx))?.as_str());
    let html = html.expect("a history has versions").to_owned();
    let is_regular = Parser::default().is_regular(&html, None).expect("the pages are within the limits");
    Page { name, html, is_regular }
}
