//! A document that lives: its template is compiled, its tree kept, and an update finds what changed.

use crate::plain::{NAME, parser, templates};
use crate::total;
use domcast_benches::{Change, Table};
use domcast_document::{Template, TemplateDocument};
use domcast_template::{Changes, List, Path, State};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn template() -> Template {
    let template = Template::new(&templates(), NAME).expect("the template is right");
    assert_eq!(template.irregular(), None);
    template
}

fn state(table: &Table) -> State {
    State::new(table).expect("a table is a state")
}

/// A document at `old`, after it was led to `new` and back as it will be, and checked.
fn document(old: &Table, new: &Table) -> TemplateDocument {
    let mut document = TemplateDocument::new(&template(), state(old)).expect("the template renders");
    for (table, other) in [(new, old), (old, new)] {
        let update = document.update(state(table), &Changes::Unknown).expect("the template renders");
        assert_eq!(update.patches.is_empty(), table == other, "nothing is sent for equal content, and only for that");
        assert_eq!(update.trace.whole, None);
        let expected = parser().fragment(&table.to_html(), "div").expect("the table is within the limits");
        assert!(*document.tree() == expected, "the patches lead elsewhere");
    }
    document
}

/// The time that `n` new documents take, from a table as Rust has it to their HTML and tree, ready for updates.
pub(crate) fn first(table: &Table) -> impl FnMut(u64) -> Duration + use<> {
    let (template, table) = (template(), table.clone());
    move |n| {
        total(n, || {
            let document = TemplateDocument::new(&template, state(&table)).expect("the template renders");
            (document.html(), document)
        })
    }
}

/// The time that `n` updates from `old` to `new` take if the program says what it changed, the change of the state included.
/// Rows that it moves are those that the state has.
pub(crate) fn named(change: Change, old: &Table, new: &Table) -> Box<dyn FnMut(u64) -> Duration> {
    let mut document = document(old, new);
    let old_state = state(old);
    let there = edits(change, &old_state, old, new);
    document.update(old_state.clone(), &Changes::Unknown).expect("the template renders");
    let sets = there.iter().map(|edit| match edit {
        Edit::Set(path, value) => Some((path.clone(), value.clone())),
        Edit::Remove(_) | Edit::Insert(..) | Edit::Extend(_) => None,
    });
    match sets.collect() {
        Some(there) => Box::new(set(document, there)),
        None => Box::new(edited(document, there, old_state)),
    }
}

/// The time where parts are set; they are set back as signals are.
fn set(mut document: TemplateDocument, there: Vec<(Path, State)>) -> impl FnMut(u64) -> Duration {
    // The document alone holds its state.
    let own = State::new(document.state()).expect("a state is data");
    document.update(own, &Changes::Unknown).expect("the template renders");
    let present = |path: &Path| document.state().at(path).expect("the part is there").clone();
    let back: Vec<(Path, State)> = there.iter().rev().map(|(path, _)| (path.clone(), present(path))).collect();
    move |n| {
        let mut total = Duration::ZERO;
        for _ in 0..n {
            let start = Instant::now();
            let update = black_box(document.set(there.iter().cloned()).expect("the template renders"));
            total += start.elapsed();
            drop(update);
            document.set(back.iter().cloned()).expect("the template renders");
        }
        total
    }
}

/// The time where items come or go, which takes a new state.
fn edited(mut document: TemplateDocument, there: Vec<Edit>, old_state: State) -> impl FnMut(u64) -> Duration {
    move |n| {
        let mut total = Duration::ZERO;
        for _ in 0..n {
            let mut next = document.state().clone();
            let start = Instant::now();
            let changes = there.iter().fold(Changes::none(), |changes, edit| changes.and(edit.run(&mut next)));
            let update = black_box(document.update(next, &changes).expect("the template renders"));
            total += start.elapsed();
            drop(update);
            document.update(old_state.clone(), &Changes::Unknown).expect("the template renders");
        }
        total
    }
}

/// The time that `n` updates from `old` to `new` take if the new state is handed over whole and shares the rows that stay.
pub(crate) fn shared(old: &Table, new: &Table) -> impl FnMut(u64) -> Duration + use<> {
    let mut document = document(old, new);
    let old_state = state(old);
    let new_state = sharing(&old_state, old, new);
    document.update(old_state.clone(), &Changes::Unknown).expect("the template renders");
    move |n| {
        let mut total = Duration::ZERO;
        for _ in 0..n {
            let next = new_state.clone();
            let start = Instant::now();
            let update = black_box(document.update(next, &Changes::Unknown).expect("the template renders"));
            total += start.elapsed();
            drop(update);
            document.update(old_state.clone(), &Changes::Unknown).expect("the template renders");
        }
        total
    }
}

/// The time that `n` updates from `old` to `new` take if the new state is any `Serialize`, handed over whole.
pub(crate) fn serialized(old: &Table, new: &Table) -> impl FnMut(u64) -> Duration + use<> {
    let mut document = document(old, new);
    let (old, new) = (old.clone(), new.clone());
    move |n| {
        let mut total = Duration::ZERO;
        for _ in 0..n {
            let start = Instant::now();
            let next = document.state().renewed(&new).expect("a table is a state");
            let update = black_box(document.update(next, &Changes::Unknown).expect("the template renders"));
            total += start.elapsed();
            drop(update);
            let next = document.state().renewed(&old).expect("a table is a state");
            document.update(next, &Changes::Unknown).expect("the template renders");
        }
        total
    }
}

/// A change of a state, told by its path.
enum Edit {
    Set(Path, State),
    Remove(Path),
    Insert(usize, State),
    Extend(Vec<State>),
}

impl Edit {
    fn run(&self, state: &mut State) -> Changes {
        let changes = match self {
            Edit::Set(path, value) => state.set(path.clone(), value.clone()),
            Edit::Remove(path) => state.remove(path.clone()),
            Edit::Insert(idx, row) => state.insert("rows", *idx, row.clone()),
            Edit::Extend(rows) => state.extend("rows", rows.iter().cloned()),
        };
        changes.expect("the table has this place")
    }
}

/// What a program does that knows what it changes.
fn edits(change: Change, old_state: &State, old: &Table, new: &Table) -> Vec<Edit> {
    let new_state = sharing(old_state, old, new);
    let rows = |state: &State| match state.get("rows") {
        Some(State::List(rows)) => Arc::clone(rows),
        _ => unreachable!("a table has rows"),
    };
    let (old_rows, new_rows): (Arc<List>, Arc<List>) = (rows(old_state), rows(&new_state));
    let row = |rows: &List, idx: usize| rows.get(idx).expect("the row is there").clone();
    let at = |idx: usize| Path::from("rows").then(idx);
    match change {
        Change::Nothing => Vec::new(),
        Change::EveryTenth | Change::One => {
            let changed = (0..old.rows.len()).filter(|&idx| old.rows[idx] != new.rows[idx]);
            changed.map(|idx| Edit::Set(at(idx).then("label"), State::from(new.rows[idx].label.as_str()))).collect()
        }
        Change::Select => vec![Edit::Set("selected".into(), State::from(new.selected.expect("a row is selected")))],
        Change::Swap => {
            let last = old.rows.len() - 2;
            vec![Edit::Set(at(1), row(&old_rows, last)), Edit::Set(at(last), row(&old_rows, 1))]
        }
        Change::Remove => vec![Edit::Remove(at(old.rows.len() / 2))],
        Change::Prepend => vec![Edit::Insert(0, row(&new_rows, 0))],
        Change::Append => vec![Edit::Extend(new_rows.iter().skip(old.rows.len()).cloned().collect())],
        Change::Create | Change::Replace | Change::Clear | Change::Shuffle => {
            let selected = new_state.get("selected").expect("a table says what is selected").clone();
            vec![Edit::Set("rows".into(), State::List(new_rows)), Edit::Set("selected".into(), selected)]
        }
    }
}

/// The state of `new`, in which rows that are in `old` too are the same parts.
fn sharing(old_state: &State, old: &Table, new: &Table) -> State {
    let mut new_state = state(new);
    let rows = new.rows.iter().enumerate().map(|(idx, row)| {
        // Rows are known by their number, which is their place in the old table.
        let old_idx = (row.id as usize).wrapping_sub(1);
        let is_there = old.rows.get(old_idx) == Some(row);
        let (state, idx) = if is_there { (old_state, old_idx) } else { (&new_state, idx) };
        state.get("rows").and_then(|rows| rows.get(idx)).expect("the row is there").clone()
    });
    let rows: State = rows.collect();
    new_state.set("rows", rows).expect("a table has rows");
    new_state
}
