//! The oracle for the parser: html5ever with its own tree, markup5ever_rcdom, copied node by node.

use domcast_diff::{Attribute, Attributes, Doctype, Element, Name, Namespace, NodeId, Tree, VNode};
use html5ever::interface::TreeSink;
use html5ever::tendril::TendrilSink;
use html5ever::tokenizer::TokenizerOpts;
use html5ever::tree_builder::TreeBuilderOpts;
use html5ever::{LocalName, ParseOpts, QualName, ns, parse_document, parse_fragment};
use markup5ever_rcdom::{Handle, NodeData, RcDom};

/// Parses a document with scripting on.
pub fn document(html: &str) -> Tree {
    document_with(html, true)
}

/// Parses a fragment with scripting on in `context`, which is written as for `domcast_parser::parse_fragment`.
pub fn fragment(html: &str, context: &str) -> Tree {
    fragment_with(html, context, true)
}

/// Parses a document. With `scripting` the content of `noscript` is text.
pub fn document_with(html: &str, scripting: bool) -> Tree {
    // Decoding drops one byte order mark. html5ever would drop another after every script, where its tokenizer pauses.
    let html = html.strip_prefix('\u{feff}').unwrap_or(html);
    let dom = parse_document(RcDom::default(), options(scripting)).one(html);
    copy(&dom.get_document())
}

/// Parses a fragment in `context`. With `scripting` the content of `noscript` is text.
pub fn fragment_with(html: &str, context: &str, scripting: bool) -> Tree {
    let context = match context.split_once(' ') {
        Some(("svg", local)) => QualName::new(None, ns!(svg), LocalName::from(local)),
        Some((_, local)) => QualName::new(None, ns!(mathml), LocalName::from(local)),
        None => QualName::new(None, ns!(html), LocalName::from(context)),
    };
    let dom = parse_fragment(RcDom::default(), options(scripting), context, Vec::new(), true).one(html);
    // The fragment is what is inside the `html` element below the document.
    let document = dom.get_document();
    let children = document.children.borrow();
    let html = children.iter().find(|child| matches!(child.data, NodeData::Element { .. }));
    html.map(copy).unwrap_or_default()
}

fn options(scripting_enabled: bool) -> ParseOpts {
    let tree_builder = TreeBuilderOpts { scripting_enabled, ..TreeBuilderOpts::default() };
    let tokenizer = TokenizerOpts { discard_bom: false, ..TokenizerOpts::default() };
    ParseOpts { tree_builder, tokenizer }
}

/// Copies what is inside a node.
fn copy(top: &Handle) -> Tree {
    let mut tree = Tree::new();
    let mut waiting: Vec<(NodeId, Handle)> = Vec::new();
    push_children(NodeId::ROOT, top, &mut waiting);
    while let Some((parent, handle)) = waiting.pop() {
        let id = match &handle.data {
            NodeData::Document | NodeData::ProcessingInstruction { .. } => continue,
            NodeData::Doctype { name, public_id, system_id } => {
                let [name, public_id, system_id] = [&**name, &**public_id, &**system_id];
                tree.append(parent, VNode::Doctype(Doctype { name, public_id, system_id }))
            }
            NodeData::Text { contents } => tree.append(parent, VNode::Text(&contents.borrow())),
            NodeData::Comment { contents } => tree.append(parent, VNode::Comment(contents)),
            NodeData::Element { name, attrs, .. } => {
                let attributes = attrs.borrow();
                let attributes: Vec<Attribute<'_>> = attributes
                    .iter()
                    .map(|attribute| Attribute { name: self::name(&attribute.name), value: &attribute.value })
                    .collect();
                let attributes = Attributes::from(&attributes[..]);
                tree.append(parent, VNode::Element(Element { name: self::name(name), attributes }))
            }
        };
        push_children(id, &handle, &mut waiting);
    }
    tree
}

/// The children of a `template` are those of its content.
fn push_children(id: NodeId, handle: &Handle, waiting: &mut Vec<(NodeId, Handle)>) {
    waiting.extend(handle.children.borrow().iter().rev().map(|child| (id, child.clone())));
    if let NodeData::Element { template_contents, .. } = &handle.data
        && let Some(content) = &*template_contents.borrow()
    {
        waiting.extend(content.children.borrow().iter().rev().map(|child| (id, child.clone())));
    }
}

fn name(name: &QualName) -> Name<'_> {
    let namespace = match name.ns {
        ns!(html) => Namespace::Html,
        ns!(svg) => Namespace::Svg,
        ns!(mathml) => Namespace::MathMl,
        ns!(xlink) => Namespace::XLink,
        ns!(xml) => Namespace::Xml,
        ns!(xmlns) => Namespace::Xmlns,
        _ => Namespace::None,
    };
    Name::new(namespace, &name.local)
}
