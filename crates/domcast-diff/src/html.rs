//! Tree to HTML text, by the standard's serialisation of fragments.
//!
//! <https://html.spec.whatwg.org/multipage/parsing.html#serialising-html-fragments>
//!
//! But for the carriage return, which the standard writes as it stands, so that it is lost.
//!
//! Not every tree has a text that parses back to it (a `<p>` in a `<p>`, a comment that holds `-->`). That is
//! why patches carry structure and a page is checked against its checksum.

use crate::name::{Name, Namespace};
use crate::node::VNode;
use crate::tree::{NodeId, Tree};

impl Tree {
    /// Writes the whole tree as HTML text. Linear in the output.
    pub fn to_html(&self) -> String {
        self.children_to_html(NodeId::ROOT)
    }

    /// Writes what is inside a node as HTML text. Linear in the output.
    pub fn children_to_html(&self, parent: NodeId) -> String {
        let mut out = String::new();
        let mut at = self.first_child(parent);
        while let Some(id) = at {
            self.open(id, &mut out);
            if let Some(child) = self.first_child(id) {
                at = Some(child);
                continue;
            }
            // Nothing inside: close this node and every parent whose last child it is.
            let mut id = id;
            loop {
                self.close(id, &mut out);
                at = self.next_sibling(id);
                if at.is_some() {
                    break;
                }
                match self.parent(id) {
                    Some(above) if above != parent => id = above,
                    _ => break,
                }
            }
        }
        out
    }

    fn open(&self, id: NodeId, out: &mut String) {
        match self.get(id) {
            None | Some(VNode::Root) => {}
            Some(VNode::Doctype(doctype)) => {
                out.push_str("<!DOCTYPE ");
                out.push_str(doctype.name);
                if !doctype.public_id.is_empty() {
                    out.extend([" PUBLIC \"", doctype.public_id, "\""]);
                }
                if !doctype.system_id.is_empty() {
                    out.push_str(if doctype.public_id.is_empty() { " SYSTEM" } else { "" });
                    out.extend([" \"", doctype.system_id, "\""]);
                }
                out.push('>');
            }
            Some(VNode::Element(element)) => {
                out.push('<');
                out.push_str(element.name.local);
                for attribute in element.attributes.iter() {
                    out.push(' ');
                    push_attribute_name(attribute.name, out);
                    out.push_str("=\"");
                    escape_attribute(attribute.value, out);
                    out.push('"');
                }
                out.push('>');
                if drops_first_newline(element.name) && self.starts_with_newline(id) {
                    out.push('\n');
                }
            }
            Some(VNode::Text(text)) => {
                let parent = self.parent(id).and_then(|parent| self.element(parent));
                match parent {
                    Some(parent) if holds_raw_text(parent.name) => out.push_str(text),
                    _ => escape_text(text, out),
                }
            }
            Some(VNode::Comment(text)) => out.extend(["<!--", text, "-->"]),
        }
    }

    fn close(&self, id: NodeId, out: &mut String) {
        if let Some(element) = self.element(id) {
            let is_void = element.name.namespace == Namespace::Html && VOID.contains(&element.name.local);
            if !is_void {
                out.extend(["</", element.name.local, ">"]);
            }
        }
    }

    fn starts_with_newline(&self, id: NodeId) -> bool {
        let first = self.first_child(id).and_then(|child| self.get(child));
        matches!(first, Some(VNode::Text(text)) if text.starts_with('\n'))
    }
}

/// Appends `text` with `&`, `<`, `>`, the no-break space and the carriage return escaped, as it must stand between tags.
pub fn escape_text(text: &str, out: &mut String) {
    escape(text, false, out);
}

/// Appends `value` escaped as it must stand between double quotes.
pub fn escape_attribute(value: &str, out: &mut String) {
    escape(value, true, out);
}

fn escape(text: &str, quote: bool, out: &mut String) {
    let mut written = 0;
    for (at, char) in text.char_indices() {
        let reference = match char {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '\u{a0}' => "&nbsp;",
            // As it stands a parser would read it as a newline, or not at all before one.
            '\r' => "&#13;",
            '"' if quote => "&quot;",
            _ => continue,
        };
        out.push_str(&text[written..at]);
        out.push_str(reference);
        written = at + char.len_utf8();
    }
    out.push_str(&text[written..]);
}

fn push_attribute_name(name: Name<'_>, out: &mut String) {
    let is_bare_xmlns = name.namespace == Namespace::Xmlns && name.local == "xmlns";
    if matches!(name.namespace, Namespace::XLink | Namespace::Xml | Namespace::Xmlns) && !is_bare_xmlns {
        out.push_str(name.namespace.prefix());
        out.push(':');
    }
    out.push_str(name.local);
}

// A parser drops one newline right after these start tags: text that begins with one needs a second.
// https://html.spec.whatwg.org/multipage/syntax.html#element-restrictions
fn drops_first_newline(name: Name<'_>) -> bool {
    name.is_html("pre") || name.is_html("textarea") || name.is_html("listing")
}

fn holds_raw_text(name: Name<'_>) -> bool {
    const RAW: [&str; 8] = ["style", "script", "xmp", "iframe", "noembed", "noframes", "plaintext", "noscript"];
    name.namespace == Namespace::Html && RAW.contains(&name.local)
}

const VOID: [&str; 18] = [
    "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img", "input", "keygen", "link",
    "meta", "param", "source", "track", "wbr",
];
