//! Memory that a document holds beside its state, in bytes per byte of its HTML: `cargo bench -p domcast-benches --bench memory`.
//!
//! A process makes many states with data of their own, and then a document of each. What its resident memory grows by from there on is
//! what the documents hold: tree, instance, which node is whose, and what the allocator wastes. It is read from /proc, in a
//! process of its own for each line. A line above the goal fails.

use domcast_benches::{Row, Table};
use domcast_document::{HtmlDocument, Template, TemplateDocument};
use domcast_template::{Changes, Path, State, Templates};
use std::process::{Command, ExitCode};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// At most so many bytes are held per byte of HTML.
const GOAL: f64 = 6.0;
/// All documents of a process together have about so many bytes of HTML.
const HTML_BYTES: usize = 20_000_000;

/// What each line measures: the rows of each document, and what happened to it.
const CASES: [(usize, Life); 8] = [
    (10, Life::New),
    (100, Life::New),
    (1_000, Life::New),
    (10_000, Life::New),
    (1_000, Life::Labelled),
    (1_000, Life::Grown),
    (1_000, Life::Shrunk),
    (1_000, Life::Posted),
];

#[derive(Clone, Copy)]
enum Life {
    /// It was just made.
    New,
    /// Each label was changed, in an update of its own.
    Labelled,
    /// It was made with one row, and got the others in one update, before another one.
    Grown,
    /// It had twice as many rows, and was updated once more after those went.
    Shrunk,
    /// It is not a template's: its HTML was posted.
    Posted,
}

impl Life {
    fn name(self) -> &'static str {
        match self {
            Life::New => "new",
            Life::Labelled => "each label changed",
            Life::Grown => "grown from one row",
            Life::Shrunk => "shrunk from twice as many rows",
            Life::Posted => "posted HTML",
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [case] = &arguments[..] {
        let (n_rows, life) = CASES[case.parse::<usize>().expect("the number of a case")];
        let (held, html_bytes) = measure(n_rows, life);
        println!("{held} {html_bytes}");
        return ExitCode::SUCCESS;
    }
    if resident().is_none() {
        eprintln!("\nLEFT OUT: memory: there is no /proc/self/statm\n");
        return ExitCode::SUCCESS;
    }
    println!("\n{:>8}  {:32}{:>12}{:>12}{:>8}", "rows", "document", "HTML", "held", "x");
    let mut is_missed = false;
    for (case, (n_rows, life)) in CASES.into_iter().enumerate() {
        let program = std::env::current_exe().expect("a running program has a path");
        let output = Command::new(program).arg(case.to_string()).output().expect("the program runs again");
        let output = String::from_utf8_lossy(&output.stdout);
        let figures =
            output.trim().split_once(' ').and_then(|(held, html)| Some((held.parse().ok()?, html.parse().ok()?)));
        let (held, html): (usize, usize) = figures.unwrap_or_else(|| panic!("{}: {output}", life.name()));
        let ratio = held as f64 / html as f64;
        is_missed |= ratio > GOAL;
        println!("{n_rows:>8}  {:32}{html:>12}{held:>12}{ratio:>8.2}", life.name());
    }
    println!("goal: at most {GOAL} x the HTML");
    if is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The bytes that a document holds, and those of its HTML.
fn measure(n_rows: usize, life: Life) -> (usize, usize) {
    let n_documents = HTML_BYTES / table(0, n_rows).to_html().len();
    let templates = Templates::from_sources([("table.html", Table::TEMPLATE)]);
    let template = Template::new(&templates, "table.html").expect("the template is right");
    let tables = |n_rows| (0..n_documents).map(move |number| table(number, n_rows));
    let states = |n_rows| tables(n_rows).map(|table| State::new(&table).expect("a table is a state"));
    let (states, before): (Vec<State>, Vec<State>) = match life {
        Life::Posted => (Vec::new(), Vec::new()),
        Life::New | Life::Labelled => (states(n_rows).collect(), Vec::new()),
        Life::Grown => (states(n_rows).collect(), states(1).collect()),
        Life::Shrunk => (states(n_rows).collect(), states(2 * n_rows).collect()),
    };
    let document = |state: &State| TemplateDocument::new(&template, state.clone()).expect("the template renders");
    let bytes_before = resident().expect("there is a /proc");
    let mut posted = Vec::new();
    let mut documents: Vec<TemplateDocument> = Vec::with_capacity(n_documents);
    match life {
        Life::Posted => posted.extend(tables(n_rows).map(|table| {
            // As a server reads a body whose length it was told.
            let html = String::from(table.to_html().as_str());
            HtmlDocument::new(html).expect("the table is within the limits")
        })),
        Life::New => documents.extend(states.iter().map(document)),
        Life::Labelled => documents.extend(states.iter().map(|state| {
            let mut document = document(state);
            (0..n_rows).for_each(|idx| label(&mut document, idx));
            document
        })),
        Life::Grown | Life::Shrunk => documents.extend(before.iter().zip(&states).map(|(before, state)| {
            let mut document = document(before);
            drop(document.update(state.clone(), &Changes::Unknown).expect("the template renders"));
            // What went is dropped with the next update.
            label(&mut document, 0);
            document
        })),
    }
    let held = resident().expect("there is a /proc").saturating_sub(bytes_before);
    let html = documents
        .iter()
        .map(|document| document.html().len())
        .chain(posted.iter().map(|document| document.html().len()));
    let html_bytes: usize = html.sum();
    (held / n_documents, html_bytes / n_documents)
}

/// Gives a row the label that it has: what it replaces is another, so that the state takes no more than before.
fn label(document: &mut TemplateDocument, idx: usize) {
    let path = Path::from("rows").then(idx).then("label");
    let mut state = document.state().clone();
    let label = state.get("rows").and_then(|rows| rows.get(idx)?.get("label")).expect("the row has a label").clone();
    for label in [State::from("another label"), label] {
        let changes = state.set(path.clone(), label).expect("the row is there");
        drop(document.update(state.clone(), &changes).expect("the template renders"));
    }
}

/// A table whose data no other number gives.
fn table(number: usize, n_rows: usize) -> Table {
    const WORDS: [&str; 7] = ["table", "chair", "house", "bbq", "desk", "car", "pony"];
    let row = |idx: usize| {
        let id = (number << 14) + idx;
        Row { id: id as u32, label: format!("{} {id} {}", WORDS[id % 7], WORDS[id / 7 % 7]) }
    };
    Table { rows: (0..n_rows).map(row).collect(), selected: Some((number << 14) as u32) }
}

/// The bytes of memory that this process has in use.
fn resident() -> Option<usize> {
    const PAGE_BYTES: usize = 4096;
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split_whitespace().nth(1)?.parse::<usize>().ok()? * PAGE_BYTES)
}
