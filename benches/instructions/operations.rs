//! What is counted: on the table of the other benches, 1,000 rows.

use domcast_benches::{Change, Table};
use domcast_diff::{Tree, diff};
use domcast_document::{Template, TemplateDocument};
use domcast_parser::{Parser, Source, parse_fragment};
use domcast_template::{Changes, Path, State, Templates};
use std::hint::black_box;

/// The operations, in the order of the table.
pub(crate) const NAMES: [&str; 20] = [
    "parse",
    "diff, one label, tree just parsed",
    "diff, nothing, tree just parsed",
    "diff, one label, both known",
    "diff, create, tree just parsed",
    "document, one label, change named",
    "document, one label, in a copy of the state",
    "document, one label, rows shared",
    "document, first HTML",
    "document, append 1,000, rows shared",
    "document, clear",
    "document, swap, plain Serialize",
    "document, shuffle, rows shared",
    "document, shuffle, plain Serialize",
    "state, one label, plain Serialize",
    "state, swap, plain Serialize",
    "state, shuffle, plain Serialize",
    "posted, one label",
    "posted, every 10th label",
    "posted, shuffle",
];

/// Prepares an operation and runs it `n_runs` times.
pub(crate) fn run(name: &str, n_runs: u64) {
    match name {
        "parse" => {
            let html = table(Change::One).1.to_html();
            (0..n_runs).for_each(|_| drop(black_box(parse(&html))));
        }
        "diff, one label, tree just parsed" => diff_first(Change::One, n_runs),
        "diff, nothing, tree just parsed" => diff_first(Change::Nothing, n_runs),
        "diff, create, tree just parsed" => diff_first(Change::Create, n_runs),
        "diff, one label, both known" => {
            let (old, new) = table(Change::One);
            let (old, new) = (parse(&old.to_html()), parse(&new.to_html()));
            (0..n_runs).for_each(|_| drop(black_box(diff(&old, &new))));
        }
        "document, one label, change named" => {
            let (old, _) = table(Change::One);
            let mut document = document(&old);
            let path = Path::from("rows").then(old.rows.len() / 2).then("label");
            for run in 0..n_runs {
                let label = State::from(if run % 2 == 0 { "pretty yellow pony !!!" } else { "pretty yellow pony" });
                drop(black_box(document.set([(path.clone(), label)]).expect("it renders")));
            }
        }
        "document, one label, in a copy of the state" => {
            let (old, _) = table(Change::One);
            let mut document = document(&old);
            let path = Path::from("rows").then(old.rows.len() / 2).then("label");
            for run in 0..n_runs {
                let mut state = document.state().clone();
                let label = if run % 2 == 0 { "pretty yellow pony !!!" } else { "pretty yellow pony" };
                let changes = state.set(path.clone(), label).expect("the row is there");
                drop(black_box(document.update(state, &changes).expect("it renders")));
            }
        }
        "document, one label, rows shared" => {
            let (old, new) = table(Change::One);
            let mut document = document(&old);
            let old = document.state().clone();
            let new = old.renewed(&new).expect("a table is a state");
            for run in 0..n_runs {
                let state = if run % 2 == 0 { &new } else { &old };
                drop(black_box(document.update(state.clone(), &Changes::Unknown).expect("it renders")));
            }
        }
        "document, first HTML" => {
            let (old, _) = table(Change::One);
            let template = template();
            for _ in 0..n_runs {
                let state = State::new(&old).expect("a table is a state");
                let document = TemplateDocument::new(&template, state).expect("it renders");
                drop(black_box((document.html(), document)));
            }
        }
        "document, append 1,000, rows shared" => change_first(Change::Append, n_runs),
        "document, clear" => change_first(Change::Clear, n_runs),
        "document, swap, plain Serialize" => serialized_first(Change::Swap, n_runs),
        // A state finds the rows that moved, but for the first few.
        "document, shuffle, rows shared" => change_first(Change::Shuffle, n_runs),
        "document, shuffle, plain Serialize" => serialized_first(Change::Shuffle, n_runs),
        "state, one label, plain Serialize" => renew(Change::One, n_runs),
        "state, swap, plain Serialize" => renew(Change::Swap, n_runs),
        "state, shuffle, plain Serialize" => renew(Change::Shuffle, n_runs),
        "posted, one label" => post(Change::One, n_runs),
        "posted, every 10th label" => post(Change::EveryTenth, n_runs),
        "posted, shuffle" => post(Change::Shuffle, n_runs),
        other => panic!("no operation `{other}`"),
    }
}

fn template() -> Template {
    let templates = Templates::from_sources([("table.html", Table::TEMPLATE)]);
    Template::new(&templates, "table.html").expect("the template is right")
}

fn document(table: &Table) -> TemplateDocument {
    TemplateDocument::new(&template(), State::new(table).expect("a table is a state")).expect("it renders")
}

/// The first update of documents, of which there are as many however many are updated.
fn change_first(change: Change, n_runs: u64) {
    let (old, new) = table(change);
    let mut documents: Vec<TemplateDocument> = (0..crate::MANY).map(|_| document(&old)).collect();
    let states: Vec<State> = documents.iter().map(|old| old.state().renewed(&new).expect("it is a state")).collect();
    let runs = documents.iter_mut().zip(&states).take(n_runs as usize);
    runs.for_each(|(document, state)| {
        drop(black_box(document.update(state.clone(), &Changes::Unknown).expect("it renders")));
    });
}

/// The same from a table as Rust has it.
fn serialized_first(change: Change, n_runs: u64) {
    let (old, new) = table(change);
    let mut documents: Vec<TemplateDocument> = (0..crate::MANY).map(|_| document(&old)).collect();
    documents.iter_mut().take(n_runs as usize).for_each(|document| {
        let state = document.state().renewed(&new).expect("it is a state");
        drop(black_box(document.update(state, &Changes::Unknown).expect("it renders")));
    });
}

/// A table as Rust has it to a state beside the old one.
fn renew(change: Change, n_runs: u64) {
    let (old, new) = table(change);
    let old = State::new(&old).expect("a table is a state");
    (0..n_runs).for_each(|_| drop(black_box(old.renewed(&new).expect("it is a state"))));
}

/// Updates there and back: each run is one.
fn post(change: Change, n_runs: u64) {
    let (old, new) = table(change);
    let mut source = Source::new(Parser::default(), old.to_html(), Some("div")).expect("it is within the limits");
    let (mut there, mut back): (Vec<String>, Vec<String>) =
        (0..crate::MANY).map(|_| (new.to_html(), old.to_html())).unzip();
    for run in 0..n_runs {
        let next = if run % 2 == 0 { there.pop() } else { back.pop() };
        let update = source.update(next.expect("there are as many as runs")).expect("it is within the limits");
        assert!(black_box(update).is_local(), "only what changed is parsed");
    }
}

fn diff_first(change: Change, n_runs: u64) {
    let (old, new) = table(change);
    let old = parse(&old.to_html());
    drop(diff(&old, &old.clone()));
    // All are parsed before the first is compared, however many are compared: what that takes is no part of the difference.
    let html = new.to_html();
    let trees: Vec<Tree> = (0..crate::MANY).map(|_| parse(&html)).collect();
    trees.iter().take(n_runs as usize).for_each(|new| drop(black_box(diff(&old, new))));
}

fn table(change: Change) -> (Table, Table) {
    change.tables(1_000)
}

fn parse(html: &str) -> Tree {
    parse_fragment(html, "div").expect("the table is within the limits")
}
