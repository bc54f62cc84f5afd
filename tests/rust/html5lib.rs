//! The tree-construction suite of html5lib-tests: the parser scores exactly what html5ever scores.
//!
//! A case that names no scripting mode passes if it passes in both.

use domcast_parser::{Parser, outline};
use domcast_tests::data::corpus;
use std::fs;
use std::path::Path;

/// What html5ever does not know yet: `select` with other content than options, and `selectedcontent`.
const KNOWN_FAILURES: [&str; 5] = [
    "tests_innerHTML_1.dat: <input><option>",
    "webkit02.dat: <select><button><selectedcontent></button><option>X",
    "webkit02.dat: <select><button><selectedcontent></button><option>X<option selected>Y",
    "webkit02.dat: <select><button><selectedcontent></button><option>X<option>Y",
    "webkit02.dat: <select><button><selectedcontent></button><option>x<i>i<b>ib</i>b",
];

#[test]
fn the_parser_passes_html5lib_tests_as_html5ever_does() {
    let Some(corpus) = corpus("html5lib-tests") else { return };
    let cases = cases(&corpus.join("html5lib-tests"));
    assert_eq!(cases.len(), 1_792);
    let mut failures: Vec<&str> = cases.iter().filter(|case| !passes(case)).map(|case| &*case.name).collect();
    failures.sort_unstable();
    assert_eq!(failures, KNOWN_FAILURES);
}

struct Case {
    name: String,
    data: String,
    context: Option<String>,
    scripting: Option<bool>,
    tree: String,
}

fn passes(case: &Case) -> bool {
    let modes = case.scripting.map_or(vec![false, true], |scripting| vec![scripting]);
    modes.into_iter().all(|scripting| {
        let parser = Parser { scripting, ..Parser::default() };
        let tree = match &case.context {
            Some(context) => parser.fragment(&case.data, context),
            None => parser.document(&case.data),
        };
        tree.is_ok_and(|tree| outline(&tree) == case.tree)
    })
}

fn cases(folder: &Path) -> Vec<Case> {
    let entries = fs::read_dir(folder).expect("the corpus has a folder `html5lib-tests`");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "dat"));
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = String::from_utf8(fs::read(&file).expect("a file of the suite can be read"));
        let text = text.expect("the suite is UTF-8");
        let file_name = file.file_name().unwrap_or_default().to_string_lossy();
        cases.extend(read(&file_name, &text));
    }
    cases
}

/// Reads the format that FORMAT.md of the suite describes.
fn read(file: &str, text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut section = "";
    for line in text.split_inclusive('\n') {
        let bare = line.strip_suffix('\n').unwrap_or(line);
        match bare {
            "#data" => {
                let (name, data, tree) = (String::new(), String::new(), String::new());
                cases.push(Case { name, data, context: None, scripting: None, tree });
                section = "data";
                continue;
            }
            "#errors" | "#new-errors" => section = "errors",
            "#document-fragment" => section = "context",
            "#document" => section = "tree",
            "#script-on" | "#script-off" if section != "data" && section != "tree" => {
                if let Some(case) = cases.last_mut() {
                    case.scripting = Some(bare == "#script-on");
                }
            }
            _ => {
                let Some(case) = cases.last_mut() else { continue };
                match section {
                    "data" => case.data.push_str(line),
                    "context" => case.context = Some(bare.into()),
                    "tree" => case.tree.push_str(line),
                    _ => {}
                }
            }
        }
    }
    for case in &mut cases {
        // The last line end belongs to the format.
        case.data.pop();
        case.tree = format!("{}\n", case.tree.trim_end_matches('\n'));
        if case.tree == "\n" {
            case.tree.clear();
        }
        case.name = format!("{file}: {}", case.data);
    }
    cases
}
