//! Templates as regions: from a change of state to edits, `cargo bench -p domcast-benches --bench templates`.
//!
//! The table of js-framework-benchmark as a template (its HTML is checked to be that of the other benches), with 1,000,
//! 10,000 and 100,000 rows. Beside each: the engine rendering everything, as without regions.
//!
//! `-- --instructions` prints how many instructions one named change takes, counted by callgrind, which must be
//! installed. Unlike time they are the same on every run.

use criterion::{BatchSize, BenchmarkId, Criterion};
use domcast_benches::{Change, Row, Table};
use domcast_template::minijinja::value::{Serde, Value};
use domcast_template::{Changes, Instance, Path, Program, State, Templates};
use serde::Serialize;
use std::hint::black_box;
use std::process::Command;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TEMPLATE: &str = r#"<table class="table table-hover table-striped test-data"><tbody>{% for r in rows %}<tr id="r-{{ r.id }}"{% if r.id == selected %} class="danger"{% endif %}><td class="col-md-1">{{ r.id }}</td><td class="col-md-4"><a>{{ r.label }}</a></td><td class="col-md-1"><a><span class="glyphicon glyphicon-remove" aria-hidden="true"></span></a></td><td class="col-md-6"></td></tr>{% endfor %}</tbody></table>"#;

/// The state as a program has it.
#[derive(Serialize)]
struct Data<'a> {
    rows: Vec<Label<'a>>,
    selected: Option<u32>,
}

#[derive(Serialize)]
struct Label<'a> {
    id: u32,
    label: &'a str,
}

impl<'a> Data<'a> {
    fn of(table: &'a Table) -> Data<'a> {
        let label = |row: &'a Row| Label { id: row.id, label: &row.label };
        Data { rows: table.rows.iter().map(label).collect(), selected: table.selected }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().position(|arg| arg == "--count") {
        Some(at) => return count(&args[at + 1..]),
        None if args.iter().any(|arg| arg == "--instructions") => return instructions(),
        // `cargo test --benches` only wants to know that it starts.
        None if !args.iter().any(|arg| arg == "--bench") => return,
        None => {}
    }
    let mut criterion = Criterion::default().configure_from_args().sample_size(20);
    let (templates, program) = program();
    for n_rows in [1_000, 10_000] {
        first(&mut criterion, &templates, &program, n_rows);
        changes(&mut criterion, &program, n_rows);
    }
    for n_rows in [1_000, 10_000, 100_000] {
        named(&mut criterion, &program, n_rows);
    }
    criterion.final_summary();
}

fn program() -> (Templates, Program) {
    let templates = Templates::from_sources([("table.html", TEMPLATE)]);
    let program = templates.program("table.html").expect("the template is right");
    (templates, program)
}

fn state_of(table: &Table) -> State {
    State::new(&Data::of(table)).expect("a table is a state")
}

/// The first rendering: by the engine from ready values and from data; as an instance; as HTML from an instance.
fn first(criterion: &mut Criterion, templates: &Templates, program: &Program, n_rows: usize) {
    let (_, table) = Change::Create.tables(n_rows);
    let (data, state) = (Data::of(&table), state_of(&table));
    let value = Value::from(Serde(&data));
    let instance = program.instance(&state).expect("the table renders");
    assert_eq!(instance.html(), templates.render("table.html", &data).expect("the table renders"));
    let mut group = criterion.benchmark_group(format!("first, {n_rows} rows"));
    group.bench_function("engine, ready values", |bench| {
        bench.iter(|| templates.render_value("table.html", value.clone()));
    });
    group.bench_function("engine, from data", |bench| bench.iter(|| templates.render("table.html", &data)));
    group.bench_function("state from data", |bench| bench.iter_with_large_drop(|| State::new(&data)));
    group.bench_function("instance", |bench| bench.iter_with_large_drop(|| program.instance(&state)));
    group.bench_function("html of an instance", |bench| bench.iter_with_large_drop(|| instance.html()));
    group.finish();
}

/// The changes of js-framework-benchmark, the new state handed over whole with the rows that stay shared; the next group
/// hands over plain data, which is compared first.
fn changes(criterion: &mut Criterion, program: &Program, n_rows: usize) {
    for change in Change::ALL {
        let (old, new) = change.tables(n_rows);
        let (old_state, data) = (state_of(&old), Data::of(&new));
        let new_state = shared(&old, &old_state, &new);
        let fresh = || program.instance(&old_state).expect("the table renders");
        let mut checked = fresh();
        checked.update(&new_state, &Changes::Unknown).expect("the table renders");
        assert_eq!(checked.html(), program.instance(&new_state).expect("the table renders").html());
        let size = if n_rows > 1_000 { BatchSize::PerIteration } else { BatchSize::LargeInput };
        let mut group = criterion.benchmark_group(format!("{}, {n_rows} rows", change.name()));
        group.bench_function("rows shared", |bench| {
            bench.iter_batched_ref(fresh, |instance| instance.update(&new_state, &Changes::Unknown), size);
        });
        group.bench_function("plain data", |bench| {
            bench.iter_batched_ref(
                fresh,
                |instance| {
                    let state = old_state.renewed(&data).expect("a table is a state");
                    instance.update(&state, &Changes::Unknown)
                },
                size,
            );
        });
        if change == Change::Select {
            let selected = Changes::at("selected");
            group.bench_function("named", |bench| {
                bench.iter_batched_ref(fresh, |instance| instance.update(&new_state, &selected), size);
            });
        }
        group.finish();
    }
}

/// The state of a table whose rows come from an older one where they are equal.
fn shared(old: &Table, old_state: &State, new: &Table) -> State {
    let old_rows: std::collections::HashMap<u32, (usize, &Row)> =
        old.rows.iter().enumerate().map(|(idx, row)| (row.id, (idx, row))).collect();
    let fresh = state_of(new);
    let rows = new.rows.iter().enumerate().map(|(idx, row)| match old_rows.get(&row.id) {
        Some((old_idx, old_row)) if *old_row == row => old_state.at(&Path::from("rows").then(*old_idx)),
        _ => fresh.at(&Path::from("rows").then(idx)),
    });
    let rows: State = rows.map(|row| row.expect("the row is there").clone()).collect();
    let mut state = fresh.clone();
    state.set("rows", rows).expect("the state is a map");
    state
}

/// One label changes, and is named.
fn named(criterion: &mut Criterion, program: &Program, n_rows: usize) {
    let mut group = criterion.benchmark_group("one label, named");
    group.bench_function(BenchmarkId::from_parameter(n_rows), |bench| {
        let mut labels = Labels::new(program, n_rows);
        bench.iter(|| labels.change());
    });
    group.bench_function(BenchmarkId::new("with a snapshot kept", n_rows), |bench| {
        let mut labels = Labels::new(program, n_rows);
        bench.iter(|| {
            let snapshot = labels.state.clone();
            labels.change();
            snapshot
        });
    });
    group.finish();
}

/// A table whose labels change in turn.
struct Labels {
    state: State,
    instance: Instance,
    paths: Vec<Path>,
    labels: [State; 2],
    n_changes: usize,
}

impl Labels {
    fn new(program: &Program, n_rows: usize) -> Labels {
        let state = state_of(&Change::Create.tables(n_rows).1);
        let instance = program.instance(&state).expect("the table renders");
        let path = |row: usize| Path::from("rows").then(row).then("label");
        let paths = (0..64).map(|idx| path(idx * 7_919 % n_rows)).collect();
        let labels = [State::from("one label"), State::from("another label")];
        Labels { state, instance, paths, labels, n_changes: 0 }
    }

    fn change(&mut self) {
        let path = self.paths[self.n_changes % self.paths.len()].clone();
        let label = self.labels[self.n_changes / self.paths.len() % 2].clone();
        self.n_changes += 1;
        let changes = self.state.set(path, label).expect("the row is there");
        let edits = self.instance.update(&self.state, &changes).expect("the table renders");
        black_box(edits);
    }
}

/// Changes so many labels of a table: `--count <rows> <changes>`.
fn count(args: &[String]) {
    let number = |at: usize| args.get(at).and_then(|arg| arg.parse::<usize>().ok()).expect("two numbers");
    let mut labels = Labels::new(&program().1, number(0));
    (0..number(1)).for_each(|_| labels.change());
}

/// Prints the instructions of one named change: the difference of two runs.
fn instructions() {
    let this = std::env::current_exe().expect("the bench is a file");
    println!("instructions of one named change (callgrind)");
    for n_rows in [1_000, 10_000, 100_000] {
        let run = |n_changes: usize| {
            let output = Command::new("valgrind")
                .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
                .arg(&this)
                .args(["--count", &n_rows.to_string(), &n_changes.to_string()])
                .output()
                .expect("valgrind is installed");
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            let line = log.lines().find(|line| line.contains("Collected")).unwrap_or_else(|| panic!("{log}"));
            line.rsplit(' ').next().and_then(|number| number.parse::<u64>().ok()).expect("a number")
        };
        println!("{n_rows:>8} rows {:>8}", (run(1_100) - run(100)) / 1_000);
    }
}
