//! The table as a tree of mt-dom.

use domcast_benches::{Row, Table};
use mt_dom::{Attribute, attr, element, leaf};

pub(crate) type Node = mt_dom::Node<&'static str, &'static str, String, &'static str, String>;
pub(crate) type Patch<'a> = mt_dom::Patch<'a, &'static str, &'static str, String, &'static str, String>;

pub(crate) fn tree(table: &Table) -> Node {
    let rows: Vec<Node> = table.rows.iter().map(|row| tr(row, table.is_selected(row))).collect();
    node("table", [class("table table-hover table-striped test-data")], [node("tbody", [], rows)])
}

/// Patches by the attribute `id`, which is the key of the others too.
pub(crate) fn diff<'a>(old: &'a Node, new: &'a Node) -> Vec<Patch<'a>> {
    mt_dom::diff_with_key(old, new, &"id")
}

fn tr(row: &Row, is_selected: bool) -> Node {
    let icon = node("span", [class("glyphicon glyphicon-remove"), attr("aria-hidden", "true".into())], []);
    node(
        "tr",
        [attr("id", row.key()), class(if is_selected { "danger" } else { "" })],
        [
            node("td", [class("col-md-1")], [leaf(row.id.to_string())]),
            node("td", [class("col-md-4")], [node("a", [class("lbl")], [leaf(row.label.clone())])]),
            node("td", [class("col-md-1")], [node("a", [class("remove")], [icon])]),
            node("td", [class("col-md-6")], []),
        ],
    )
}

fn class(value: &str) -> Attribute<&'static str, &'static str, String> {
    attr("class", value.into())
}

fn node(
    tag: &'static str,
    attributes: impl IntoIterator<Item = Attribute<&'static str, &'static str, String>>,
    children: impl IntoIterator<Item = Node>,
) -> Node {
    element(tag, attributes, children)
}
