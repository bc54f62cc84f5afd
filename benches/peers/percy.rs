//! The table as a tree of virtual-node, which percy-dom compares.

use domcast_benches::{Row, Table};
use virtual_node::VirtualElement;

/// A node that stands for none in a browser.
pub(crate) type Node = virtual_node::VirtualNode<()>;
pub(crate) type Patch<'a> = percy_dom::Patch<'a, ()>;

pub(crate) fn tree(table: &Table) -> Node {
    let rows = table.rows.iter().map(|row| tr(row, table.is_selected(row))).collect();
    let tbody = node("tbody", &[], rows);
    node("table", &[("class", "table table-hover table-striped test-data")], vec![tbody])
}

pub(crate) fn diff<'a>(old: &'a Node, new: &'a Node) -> Vec<Patch<'a>> {
    percy_dom::diff(old, new)
}

/// The number of nodes in the tree.
pub(crate) fn n_nodes(node: &Node) -> usize {
    let children = node.as_elem().map_or(&[][..], |element| &element.children);
    1 + children.iter().map(n_nodes).sum::<usize>()
}

fn tr(row: &Row, is_selected: bool) -> Node {
    let icon = node("span", &[("class", "glyphicon glyphicon-remove"), ("aria-hidden", "true")], vec![]);
    let label = node("a", &[("class", "lbl")], vec![Node::new_text(row.label.clone())]);
    let mut tr = node(
        "tr",
        &[("id", &row.key()), ("class", if is_selected { "danger" } else { "" })],
        vec![
            node("td", &[("class", "col-md-1")], vec![Node::new_text(row.id.to_string())]),
            node("td", &[("class", "col-md-4")], vec![label]),
            node("td", &[("class", "col-md-1")], vec![node("a", &[("class", "remove")], vec![icon])]),
            node("td", &[("class", "col-md-6")], vec![]),
        ],
    );
    if let Some(element) = tr.as_elem_mut() {
        element.special_attributes.set_key(row.key());
    }
    tr
}

fn node(tag: &str, attributes: &[(&str, &str)], children: Vec<Node>) -> Node {
    let mut element = VirtualElement::new(tag);
    element.attrs = attributes.iter().map(|&(name, value)| (name.to_owned(), value.into())).collect();
    element.children = children;
    Node::Element(element)
}
