//! The table in Dioxus, in the three forms that its users write.
//!
//! - *inline*: keyed rows in one component, all rendered and compared with each update (`peers/dioxus.rs`);
//! - *memoised*: a component per row, which renders only if its properties changed, so an update compares the properties of all rows;
//! - *signals*: a component per row that reads a signal of its own: only the rows whose signals are set run at all, as in Dioxus'
//!   entry to js-framework-benchmark. It takes a program that knows which row changed.

use crate::inline::{Page, table_of, tr};
use dioxus_core::{
    DynamicNode, Element, NoOpMutations, Properties, ScopeId, Template, TemplateNode, VComponent, VNode, VirtualDom,
    use_hook,
};
use dioxus_signals::{ReadableExt, Signal, WritableExt};
use domcast_benches::{Row, Table};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The time that `n` updates from `old` to `new` take with keyed rows inline.
pub(crate) fn inline(old: &Table, new: &Table) -> impl FnMut(u64) -> Duration {
    let mut page = Page::new(old, new);
    assert_eq!(page.n_edits() == 0, old == new, "an edit for each change, and only for that");
    move |n| page.time(n)
}

thread_local! {
    /// What the memoised table renders.
    static STATE: RefCell<Rc<Shared>> = RefCell::default();
    /// The signals of the table that is mounted last.
    static SIGNALS: RefCell<Vec<RowSignals>> = const { RefCell::new(Vec::new()) };
}

/// A table whose rows can be handed on without copying them.
#[derive(Default)]
struct Shared {
    rows: Vec<Rc<Row>>,
    selected: Option<u32>,
}

impl Shared {
    fn new(table: &Table) -> Shared {
        Shared { rows: table.rows.iter().cloned().map(Rc::new).collect(), selected: table.selected }
    }
}

#[derive(Clone, PartialEq)]
struct RowProps {
    row: Rc<Row>,
    is_selected: bool,
}

impl Properties for RowProps {
    type Builder = ();

    fn builder() {}

    fn memoize(&mut self, other: &RowProps) -> bool {
        let is_same = self == other;
        if !is_same {
            self.clone_from(other);
        }
        is_same
    }
}

fn memoised_row(props: RowProps) -> Element {
    Ok(tr(&props.row, props.is_selected))
}

fn memoised_table() -> Element {
    let state = STATE.with_borrow(Rc::clone);
    let component = |row: &Rc<Row>| {
        let props = RowProps { row: Rc::clone(row), is_selected: state.selected == Some(row.id) };
        keyed(row.id, VComponent::new(memoised_row, props, "Row"))
    };
    Ok(table_of(state.rows.iter().map(component).collect()))
}

/// The time that `n` updates from `old` to `new` take with a memoised component per row. Rows that stay are shared.
pub(crate) fn memoised(old: &Table, new: &Table) -> impl FnMut(u64) -> Duration {
    let old = Rc::new(Shared::new(old));
    let mut new = Shared::new(new);
    for row in &mut new.rows {
        // Most rows stay where they are; the others are found by their number, which is their place.
        let same = old.rows.get((row.id as usize).wrapping_sub(1)).filter(|old| *old == row);
        if let Some(same) = same {
            *row = Rc::clone(same);
        }
    }
    let new = Rc::new(new);
    STATE.set(Rc::clone(&old));
    let mut dom = VirtualDom::new(memoised_table);
    dom.rebuild(&mut NoOpMutations);
    move |n| {
        let mut total = Duration::ZERO;
        for _ in 0..n {
            for (state, counts) in [(&new, true), (&old, false)] {
                STATE.set(Rc::clone(state));
                dom.mark_dirty(ScopeId::APP);
                let start = Instant::now();
                dom.render_immediate(&mut NoOpMutations);
                if counts {
                    total += start.elapsed();
                }
            }
        }
        total
    }
}

#[derive(Clone, Copy, PartialEq)]
struct RowSignals {
    id: u32,
    label: Signal<String>,
    is_selected: Signal<bool>,
}

impl Properties for RowSignals {
    type Builder = ();

    fn builder() {}

    fn memoize(&mut self, other: &RowSignals) -> bool {
        self == other
    }
}

fn signal_row(props: RowSignals) -> Element {
    let row = Row { id: props.id, label: props.label.read().clone() };
    Ok(tr(&row, *props.is_selected.read()))
}

fn signal_table() -> Element {
    let rows = use_hook(|| {
        let state = STATE.with_borrow(Rc::clone);
        let signals = |row: &Rc<Row>| RowSignals {
            id: row.id,
            label: Signal::new(row.label.clone()),
            is_selected: Signal::new(state.selected == Some(row.id)),
        };
        let rows: Vec<RowSignals> = state.rows.iter().map(signals).collect();
        SIGNALS.set(rows.clone());
        rows
    });
    Ok(table_of(rows.iter().map(|row| keyed(row.id, VComponent::new(signal_row, *row, "Row"))).collect()))
}

/// The labels and the selections that change, by the row's place.
type Settings = (Vec<(usize, String)>, Vec<(usize, bool)>);

/// The time that `n` updates from `old` to `new` take with signals; the rows must be the same but for labels and selection.
pub(crate) fn signals(old: &Table, new: &Table) -> impl FnMut(u64) -> Duration {
    assert!(old.rows.iter().map(|row| row.id).eq(new.rows.iter().map(|row| row.id)), "signals add and move no rows");
    STATE.set(Rc::new(Shared::new(old)));
    let mut dom = VirtualDom::new(signal_table);
    dom.rebuild(&mut NoOpMutations);
    let signals = SIGNALS.take();
    let labels = |from: &Table, to: &Table| {
        let rows = from.rows.iter().zip(&to.rows).enumerate();
        rows.filter(|(_, (from, to))| from != to).map(|(idx, (_, to))| (idx, to.label.clone())).collect::<Vec<_>>()
    };
    let selection = |from: &Table, to: &Table| {
        let rows = from.rows.iter().zip(&to.rows).enumerate();
        let is_changed = |(_, (old, new)): &(usize, (&Row, &Row))| from.is_selected(old) != to.is_selected(new);
        rows.filter(is_changed).map(|(idx, (_, new))| (idx, to.is_selected(new))).collect::<Vec<_>>()
    };
    let there: Settings = (labels(old, new), selection(old, new));
    let back: Settings = (labels(new, old), selection(new, old));
    let mut set = move |(labels, selection): &Settings| {
        let start = Instant::now();
        dom.in_runtime(|| {
            for (idx, label) in labels {
                signals[*idx].label.clone().set(label.clone());
            }
            for (idx, is_selected) in selection {
                signals[*idx].is_selected.clone().set(*is_selected);
            }
        });
        dom.process_events();
        dom.render_immediate(&mut NoOpMutations);
        start.elapsed()
    };
    move |n| {
        let mut total = Duration::ZERO;
        for _ in 0..n {
            total += set(&there);
            set(&back);
        }
        total
    }
}

/// A component with a key needs a template around it, which `rsx!` makes too.
fn keyed(id: u32, component: VComponent) -> VNode {
    VNode::new(Some(id.to_string()), COMPONENT, Box::new([DynamicNode::Component(component)]), Box::new([]))
}

static COMPONENT_ROOTS: [TemplateNode; 1] = [TemplateNode::Dynamic { id: 0 }];
static COMPONENT_NODES: [&[u8]; 1] = [&[0]];
static COMPONENT: Template = Template { roots: &COMPONENT_ROOTS, node_paths: &COMPONENT_NODES, attr_paths: &[] };
