//! The table as a component of Dioxus: keyed rows inline, written as `rsx!` would expand them.
//!
//! Dioxus has no diff of two trees that stand beside one another: a component is rendered and compared with what it
//! rendered before. So its figure is that of rendering and comparing, from state to edits, which nobody receives.

use dioxus_core::{
    Attribute, DynamicNode, Element, NoOpMutations, ScopeId, Template, TemplateAttribute, TemplateNode, VNode, VText,
    VirtualDom,
};
use domcast_benches::{Row, Table};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

thread_local! {
    /// What the component renders.
    static STATE: RefCell<Rc<Table>> = RefCell::default();
}

/// A mounted table that goes back and forth between two states.
pub(crate) struct Page {
    dom: VirtualDom,
    old: Rc<Table>,
    new: Rc<Table>,
}

impl Page {
    pub(crate) fn new(old: &Table, new: &Table) -> Page {
        let mut page = Page { dom: VirtualDom::new(table), old: Rc::new(old.clone()), new: Rc::new(new.clone()) };
        page.set(false);
        page.dom.rebuild(&mut NoOpMutations);
        page
    }

    /// The time that `n` updates from the old state to the new take; the ways back do not count.
    pub(crate) fn time(&mut self, n: u64) -> Duration {
        let mut total = Duration::ZERO;
        for _ in 0..n {
            self.set(true);
            let start = Instant::now();
            self.dom.render_immediate(&mut NoOpMutations);
            total += start.elapsed();
            self.set(false);
            self.dom.render_immediate(&mut NoOpMutations);
        }
        total
    }

    /// The number of edits of one update.
    pub(crate) fn n_edits(&mut self) -> usize {
        self.set(true);
        let n_edits = self.dom.render_immediate_to_vec().edits.len();
        self.set(false);
        self.dom.render_immediate(&mut NoOpMutations);
        n_edits
    }

    fn set(&mut self, is_new: bool) {
        let state = if is_new { &self.new } else { &self.old };
        STATE.set(Rc::clone(state));
        self.dom.mark_dirty(ScopeId::APP);
    }
}

fn table() -> Element {
    let state = STATE.with_borrow(Rc::clone);
    Ok(table_of(state.rows.iter().map(|row| tr(row, state.is_selected(row))).collect()))
}

pub(crate) fn table_of(rows: Vec<VNode>) -> VNode {
    let rows = if rows.is_empty() { DynamicNode::default() } else { DynamicNode::Fragment(rows) };
    VNode::new(None, TABLE, Box::new([rows]), Box::new([]))
}

pub(crate) fn tr(row: &Row, is_selected: bool) -> VNode {
    let class = if is_selected { "danger" } else { "" };
    let texts = [DynamicNode::Text(VText::new(row.id)), DynamicNode::Text(VText::new(&row.label))];
    let attributes: [Box<[Attribute]>; 2] = [
        Box::new([Attribute::new("id", row.key(), None, false)]),
        Box::new([Attribute::new("class", class, None, false)]),
    ];
    VNode::new(Some(row.id.to_string()), ROW, Box::new(texts), Box::new(attributes))
}

const fn class(value: &'static str) -> TemplateAttribute {
    TemplateAttribute::Static { name: "class", value, namespace: None }
}

const fn element(
    tag: &'static str,
    attrs: &'static [TemplateAttribute],
    children: &'static [TemplateNode],
) -> TemplateNode {
    TemplateNode::Element { tag, namespace: None, attrs, children }
}

static TABLE_ROOTS: [TemplateNode; 1] = [element(
    "table",
    &[class("table table-hover table-striped test-data")],
    &[element("tbody", &[], &[TemplateNode::Dynamic { id: 0 }])],
)];

static ROW_ROOTS: [TemplateNode; 1] = [element(
    "tr",
    &[TemplateAttribute::Dynamic { id: 0 }, TemplateAttribute::Dynamic { id: 1 }],
    &[
        element("td", &[class("col-md-1")], &[TemplateNode::Dynamic { id: 0 }]),
        element("td", &[class("col-md-4")], &[element("a", &[class("lbl")], &[TemplateNode::Dynamic { id: 1 }])]),
        element(
            "td",
            &[class("col-md-1")],
            &[element(
                "a",
                &[class("remove")],
                &[element(
                    "span",
                    &[
                        class("glyphicon glyphicon-remove"),
                        TemplateAttribute::Static { name: "aria-hidden", value: "true", namespace: None },
                    ],
                    &[],
                )],
            )],
        ),
        element("td", &[class("col-md-6")], &[]),
    ],
)];

// Templates are compared by address, so their parts are statics.
static TABLE_NODES: [&[u8]; 1] = [&[0, 0, 0]];
static ROW_NODES: [&[u8]; 2] = [&[0, 0, 0], &[0, 1, 0, 0]];
static ROW_ATTRIBUTES: [&[u8]; 2] = [&[0], &[0]];
static TABLE: Template = Template { roots: &TABLE_ROOTS, node_paths: &TABLE_NODES, attr_paths: &[] };
static ROW: Template = Template { roots: &ROW_ROOTS, node_paths: &ROW_NODES, attr_paths: &ROW_ATTRIBUTES };
