//! The `#document` notation of html5lib-tests, for people and for comparing with other parsers.
//!
//! <https://github.com/html5lib/html5lib-tests/blob/master/tree-construction/README.md>

use domcast_diff::{Attributes, Name, Namespace, NodeId, Tree, VNode};
use std::fmt::Write;

/// Writes one line a node and attribute: `| `, two spaces for every level, then the node. Attributes are sorted by name.
pub fn outline(tree: &Tree) -> String {
    let mut out = String::new();
    // Every `template` above a node adds a level, for the line `content`.
    let mut n_templates: Vec<usize> = vec![0];
    for (id, depth) in tree.descendants(NodeId::ROOT).skip(1) {
        n_templates.truncate(depth);
        let above = n_templates[depth - 1];
        let indent = " ".repeat(2 * (depth - 1 + above));
        let parent = tree.parent(id).and_then(|parent| tree.element(parent));
        let is_in_content = parent.is_some_and(|parent| parent.name.is_html("template"));
        let mut levels = above;
        if is_in_content {
            levels += 1;
            if tree.prev_sibling(id).is_none() {
                _ = writeln!(out, "| {indent}content");
            }
        }
        let indent = " ".repeat(2 * (depth - 1 + levels));
        n_templates.push(levels);
        _ = match tree.get(id) {
            Some(VNode::Doctype(doctype)) if doctype.public_id.is_empty() && doctype.system_id.is_empty() => {
                writeln!(out, "| {indent}<!DOCTYPE {}>", doctype.name)
            }
            Some(VNode::Doctype(doctype)) => {
                writeln!(
                    out,
                    "| {indent}<!DOCTYPE {} \"{}\" \"{}\">",
                    doctype.name, doctype.public_id, doctype.system_id
                )
            }
            Some(VNode::Text(text)) => writeln!(out, "| {indent}\"{text}\""),
            Some(VNode::Comment(text)) => writeln!(out, "| {indent}<!-- {text} -->"),
            Some(VNode::Element(element)) => {
                _ = writeln!(out, "| {indent}<{}>", qualified(element.name));
                write_attributes(element.attributes, &indent, &mut out);
                // A template without content still has the line.
                if element.name.is_html("template") && tree.first_child(id).is_none() {
                    _ = writeln!(out, "| {indent}  content");
                }
                Ok(())
            }
            Some(VNode::Root) | None => Ok(()),
        };
    }
    out
}

fn write_attributes(attributes: Attributes<'_>, indent: &str, out: &mut String) {
    let mut lines: Vec<(String, &str)> = attributes.iter().map(|a| (qualified(a.name), a.value)).collect();
    // The suite sorts by UTF-16 code units.
    lines.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    for (name, value) in lines {
        _ = writeln!(out, "| {indent}  {name}=\"{value}\"");
    }
}

fn qualified(name: Name<'_>) -> String {
    match name.namespace {
        Namespace::None | Namespace::Html => name.local.to_string(),
        namespace => format!("{} {}", namespace.prefix(), name.local),
    }
}
