//! Our own corpus, `tests/corpus/*.txt`: old, new, and exactly these patches. The client's tests read the same files.
//!
//! ```text
//! # name of the case, a sentence
//! --- old
//! <ul>…</ul>
//! --- new
//! <ul>…</ul>
//! --- patches
//! ["r",3]
//! ```
//!
//! `old` and `new` are fragments in a `div`, without the line end before the next `---`; blank lines after the patches are
//! ignored. `DOMCAST_BLESS=1` writes what `diff` returns into the files, for people to read before they commit it.

use domcast_diff::diff;
use domcast_parser::parse_fragment;
use domcast_tests::laws;
use serde::Deserialize;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_case_has_exactly_its_patches() {
    let mut failures = Vec::new();
    let mut names = HashSet::new();
    for file in files() {
        let text = fs::read_to_string(&file).expect("a file of the corpus can be read");
        let cases = read(&text).unwrap_or_else(|reason| panic!("{}: {reason}", file.display()));
        let mut blessed = String::new();
        for case in &cases {
            assert!(names.insert(case.name.to_owned()), "two cases are named `{}`", case.name);
            let [old, new] = [case.old, case.new].map(|html| parse_fragment(html, "div").expect("a case is small"));
            if let Err(reason) = laws::update(&old, &new) {
                failures.push(format!("{}: {reason}", case.name));
            }
            let found = one_a_line(&diff(&old, &new).to_json());
            if found != case.patches {
                failures.push(format!(
                    "{}: found\n{}\ninstead of\n{}",
                    case.name,
                    found.join("\n"),
                    case.patches.join("\n")
                ));
            }
            let patches: String = found.iter().map(|patch| format!("{patch}\n")).collect();
            blessed +=
                &format!("# {}\n--- old\n{}\n--- new\n{}\n--- patches\n{patches}\n", case.name, case.old, case.new);
        }
        if std::env::var_os("DOMCAST_BLESS").is_some() {
            fs::write(&file, blessed).expect("a file of the corpus can be written");
        }
    }
    assert!(names.len() >= 60, "{} cases were found", names.len());
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn browsers_and_servers_count_nodes_alike() {
    #[derive(Deserialize)]
    struct Known {
        html: String,
        checksum: u32,
    }
    // The client's tests hold a browser to the same numbers.
    let text = fs::read_to_string(folder().join("checksums.json")).expect("checksums.json can be read");
    let known: Vec<Known> = serde_json::from_str(&text).expect("checksums.json is a list");
    assert!(!known.is_empty());
    for Known { html, checksum } in known {
        let tree = parse_fragment(&html, "div").expect("the HTML is small");
        assert_eq!(tree.checksum(), checksum, "{html}");
    }
}

struct Case<'a> {
    name: &'a str,
    old: &'a str,
    new: &'a str,
    patches: Vec<&'a str>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("there is a folder `tests/corpus`");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files
}

fn read(text: &str) -> Result<Vec<Case<'_>>, String> {
    let mut cases = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.strip_prefix("# ") {
        let (case, next) = start.split_at(start.find("\n# ").map_or(start.len(), |end| end + 1));
        let (name, after) = case.split_once("\n--- old\n").ok_or(format!("no `--- old` in {case:.60?}"))?;
        // The line end before a marker belongs to the marker, so an empty text is an empty line.
        let (old, after) = after.split_once("\n--- new\n").ok_or(format!("no `--- new` in `{name}`"))?;
        let (new, patches) = after.split_once("\n--- patches\n").ok_or(format!("no `--- patches` in `{name}`"))?;
        cases.push(Case { name, old, new, patches: patches.lines().filter(|line| !line.is_empty()).collect() });
        rest = next;
    }
    if rest.is_empty() { Ok(cases) } else { Err(format!("no case begins with {rest:.60?}")) }
}

/// Cuts a JSON patch list into its patches, as they are written.
fn one_a_line(json: &str) -> Vec<String> {
    let patches: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(json).expect("a patch list is an array");
    patches.iter().map(|patch| patch.get().to_owned()).collect()
}
