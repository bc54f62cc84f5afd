//! The plain pipeline: render all with minijinja, parse all, compare all. With html5ever it is what others do today.

use crate::total;
use domcast_benches::Table;
use domcast_diff::{Tree, apply, diff};
use domcast_parser::Parser;
use domcast_template::minijinja::Environment;
use domcast_template::minijinja::value::{Serde, Value};
use domcast_template::{Limits, Templates};
use std::time::Duration;

pub(crate) const NAME: &str = "table.html";

/// Of pages of 100,000 rows, which are beyond the limits that servers begin with.
const OUTPUT_BYTES: usize = 64 << 20;

pub(crate) fn templates() -> Templates {
    let limits = Limits { output_bytes: OUTPUT_BYTES, ..Limits::default() };
    Templates::from_sources_with([(NAME, Table::TEMPLATE)], limits)
}

pub(crate) fn parser() -> Parser {
    Parser { limits: domcast_parser::Limits { n_bytes: OUTPUT_BYTES, ..Default::default() }, ..Parser::default() }
}

/// The time that minijinja alone takes to render `table` `n` times. It counts no fuel.
pub(crate) fn render(table: &Table) -> impl FnMut(u64) -> Duration {
    let mut environment = Environment::new();
    environment.add_template(NAME, Table::TEMPLATE).expect("the template is right");
    let table = table.clone();
    let render = move || {
        let template = environment.get_template(NAME).expect("it was added");
        template.render(Value::from(Serde(&table))).expect("the template renders")
    };
    move |n| total(n, &render)
}

/// The time that `n` updates from `old` to `new` take, with the parser's fast path or with html5ever.
pub(crate) fn update(old: &Table, new: &Table, fast_path: bool) -> impl FnMut(u64) -> Duration {
    let templates = templates();
    let parser = Parser { fast_path, ..parser() };
    let tree = move |table: &Table| -> Tree {
        let html = templates.render(NAME, table).expect("the template renders");
        parser.fragment(&html, "div").expect("the table is within the limits")
    };
    let (old_tree, new_tree) = (tree(old), tree(new));
    let patches = diff(&old_tree, &new_tree);
    assert_eq!(patches.is_empty(), old == new, "nothing is sent for equal content, and only for that");
    let mut patched = old_tree.clone();
    apply(&mut patched, &patches).expect("the patches fit the tree they were made for");
    assert!(patched == new_tree, "the patches lead elsewhere");
    let new = new.clone();
    move |n| {
        total(n, || {
            let new_tree = tree(&new);
            (diff(&old_tree, &new_tree), new_tree)
        })
    }
}
