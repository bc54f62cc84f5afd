//! Who may depend on whom: the table in ARCHITECTURE.md, held against the manifests and `cargo tree`.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the table says of a crate that may use any library.
const ANY_LIBRARY: &str = "any library";

#[test]
fn crates_depend_on_what_the_table_allows() {
    let table = table();
    let crates = manifests();
    let in_table: BTreeSet<&String> = table.keys().collect();
    let in_workspace: BTreeSet<&String> = crates.keys().collect();
    assert_eq!(in_table, in_workspace, "the table of ARCHITECTURE.md and `crates/` name different crates");
    for (name, dependencies) in &crates {
        let allowed = &table[name];
        for dependency in dependencies {
            let is_ours = crates.contains_key(dependency);
            let is_allowed = allowed.contains(dependency) || (!is_ours && allowed.contains(ANY_LIBRARY));
            assert!(
                is_allowed,
                "`{name}` depends on `{dependency}`, which the table of ARCHITECTURE.md does not allow"
            );
        }
    }
}

#[test]
fn the_diff_crate_alone_brings_nothing_along() {
    assert_eq!(tree("domcast-diff", &[]), ["domcast-diff"]);
    let with_serde = tree("domcast-diff", &["--features", "serde"]);
    assert!(with_serde.len() <= 1 + 5, "domcast-diff with serde brings {with_serde:?}");
}

#[test]
fn the_engine_has_no_runtime() {
    for name in ["domcast-diff", "domcast-parser", "domcast-template", "domcast-document"] {
        let all = tree(name, &[]);
        let adapters: Vec<_> =
            all.iter().filter(|name| ["tokio", "axum", "tracing", "redis"].contains(&&***name)).collect();
        assert!(adapters.is_empty(), "`{name}` brings {adapters:?}");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Reads the table: crate, and the names in its last column.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("there is an ARCHITECTURE.md");
    let rows = text.lines().filter(|line| line.starts_with("| `domcast-"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let (name, allowed) = (quoted(cells[0]), cells.last().expect("a row has cells"));
        let mut allowed_names: BTreeSet<String> = quoted(allowed).into_iter().collect();
        if allowed.contains(ANY_LIBRARY) {
            allowed_names.insert(ANY_LIBRARY.into());
        }
        (name[0].clone(), allowed_names)
    })
    .collect()
}

/// Returns what stands between backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(String::from).collect()
}

/// Reads the direct dependencies of each crate, optional ones too, those of tests and builds not.
fn manifests() -> BTreeMap<String, Vec<String>> {
    let json = cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&json).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    let in_crates = packages.iter().filter(|package| {
        let manifest = package["manifest_path"].as_str().expect("a package has a manifest");
        Path::new(manifest).ancestors().nth(2).is_some_and(|folder| folder.ends_with("crates"))
    });
    in_crates
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("a package has dependencies");
            let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
            let names = normal.map(|dependency| dependency["name"].as_str().expect("a name").to_owned()).collect();
            (package["name"].as_str().expect("a package has a name").to_owned(), names)
        })
        .collect()
}

/// Returns the names of all crates in the tree of `package`, itself first.
fn tree(package: &str, more: &[&str]) -> Vec<String> {
    let args = ["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", package];
    let lines = cargo(&[&args[..], more].concat());
    let mut seen = BTreeSet::new();
    let names = lines.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty());
    names.filter(|name| seen.insert(name.to_string())).map(String::from).collect()
}

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(args).current_dir(root()).output().expect("cargo starts");
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}
