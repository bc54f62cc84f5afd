//! SEMANTICS.md names the tests of its sentences: each of them is there.

#[test]
fn every_test_that_the_page_names_is_there() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(folder.join("SEMANTICS.md")).unwrap();
    let quoted: String = page.lines().filter(|line| line.starts_with('>')).collect();
    let named: Vec<(&str, &str)> =
        quoted.split('`').skip(1).step_by(2).map(|name| name.split_once("::").unwrap()).collect();
    assert!(named.len() > 50, "{} tests are named", named.len());
    for (module, name) in named {
        let of_servers = format!("../domcast-redis/tests/all/{module}.rs");
        let files = [format!("tests/all/{module}.rs"), format!("src/{module}/tests.rs"), of_servers];
        let source = files.iter().find_map(|file| std::fs::read_to_string(folder.join(file)).ok()).unwrap();
        assert!(source.contains(&format!("fn {name}(")), "there is no test `{module}::{name}`");
    }
}
