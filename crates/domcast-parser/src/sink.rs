//! html5ever's tree builder writes straight into a [`Tree`], from the tokens of [`tokens`](crate::tokens).
//!
//! Handles carry the element's name, because the tree builder asks for it all the time and the tree is being written.
//! Text is collected beside the tree and put into it at the end: it arrives in pieces, and a node's text
//! is immutable.

use crate::fast::MAX_STACK;
use crate::tokens::{Progress, tokenize};
use crate::{ParseError, Parser};
use domcast_diff::{Attribute, Attributes, Doctype, Element, Name, Namespace, NodeId, Tree, VNode};
use html5ever::interface::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::State;
use html5ever::tree_builder::{TreeBuilder, TreeBuilderOpts};
use html5ever::{LocalName, QualName, ns};
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

pub(crate) fn document(parser: &Parser, html: &str) -> Result<Tree, ParseError> {
    let tree_builder = TreeBuilder::new(Sink::new(html), options(parser));
    feed(parser, tree_builder, State::Data, html)
}

pub(crate) fn fragment(parser: &Parser, html: &str, context: Name<'_>) -> Result<Tree, ParseError> {
    let sink = Sink::new(html);
    let name = QualName::new(None, to_namespace(context.namespace), LocalName::from(context.local));
    let context = html5ever::interface::create_element(&sink, name, Vec::new());
    let tree_builder = TreeBuilder::new_for_fragment(sink, context, None, options(parser));
    let state = tree_builder.tokenizer_state_for_context_elem(parser.scripting);
    let mut tree = feed(parser, tree_builder, state, html)?;
    // The standard parses a fragment into an `html` element below a new document; its children are the fragment.
    let html = tree.children(NodeId::ROOT).find(|&child| tree.element(child).is_some());
    if let Some(html) = html {
        while let Some(child) = tree.first_child(html) {
            tree.detach(child);
            tree.insert(NodeId::ROOT, Some(html), child);
        }
        tree.remove(html);
    }
    tree.number();
    Ok(tree)
}

fn options(parser: &Parser) -> TreeBuilderOpts {
    TreeBuilderOpts { scripting_enabled: parser.scripting, ..TreeBuilderOpts::default() }
}

fn feed(
    parser: &Parser,
    tree_builder: TreeBuilder<Handle, Sink>,
    state: State,
    html: &str,
) -> Result<Tree, ParseError> {
    let limits = parser.limits;
    let check = |progress| {
        let state = tree_builder.sink.state.borrow();
        if progress == Progress::TooManyAttributes {
            return Err(ParseError::TooManyAttributes { limit: limits.n_attributes });
        }
        if state.tree.n_nodes() > limits.n_nodes {
            return Err(ParseError::TooManyNodes { limit: limits.n_nodes });
        }
        if state.n_levels > limits.n_levels {
            return Err(ParseError::TooDeep { limit: limits.n_levels });
        }
        Ok(())
    };
    tokenize(html, state, &tree_builder, limits.n_attributes, check)?;
    Ok(tree_builder.sink.finish())
}

struct Sink {
    state: RefCell<Nodes>,
}

#[derive(Default)]
struct Nodes {
    tree: Tree,
    /// The text of text nodes, by id, until the end.
    texts: Vec<Option<StrTendril>>,
    /// How deep each node was on the stack of open elements, by id.
    levels: Vec<usize>,
    /// The deepest of them.
    n_levels: usize,
}

/// A node, with its name if it is an element.
#[derive(Clone)]
struct Handle {
    id: NodeId,
    name: Option<Rc<ElementName>>,
}

struct ElementName {
    name: QualName,
    /// `annotation-xml` whose encoding says that HTML is inside.
    is_html_integration_point: bool,
}

impl Nodes {
    fn level(&self, id: NodeId) -> usize {
        self.levels.get(id.0 as usize).copied().unwrap_or(0)
    }

    /// Puts a node or text before `before`, or at the end of `parent`; text joins text that it touches.
    fn insert(&mut self, mut parent: NodeId, before: Option<NodeId>, child: NodeOrText<Handle>) {
        let id = match child {
            NodeOrText::AppendNode(node) => {
                self.tree.detach(node.id);
                let level = self.level(parent);
                self.levels.resize(self.levels.len().max(node.id.0 as usize + 1), 0);
                self.levels[node.id.0 as usize] = level + 1;
                self.n_levels = self.n_levels.max(level + 1);
                // Below the deepest level it becomes a sibling, as in Chromium.
                if before.is_none() && level > MAX_STACK {
                    parent = self.tree.parent(parent).unwrap_or(parent);
                }
                node.id
            }
            NodeOrText::AppendText(text) => {
                let previous = match before {
                    Some(before) => self.tree.prev_sibling(before),
                    None => self.tree.last_child(parent),
                };
                if let Some(Some(previous)) = previous.and_then(|id| self.texts.get_mut(id.0 as usize)) {
                    previous.push_tendril(&text);
                    return;
                }
                let id = self.tree.create(VNode::Text(""));
                self.texts.resize(id.0 as usize, None);
                self.texts.push(Some(text));
                id
            }
        };
        self.tree.insert(parent, before, id);
    }
}

impl Sink {
    fn new(html: &str) -> Sink {
        let state = Nodes { tree: Tree::with_capacity(html.len()), ..Nodes::default() };
        Sink { state: RefCell::new(state) }
    }
}

impl TreeSink for Sink {
    type Handle = Handle;
    type Output = Tree;
    type ElemName<'a> = &'a QualName;

    fn finish(self) -> Tree {
        let Nodes { mut tree, texts, .. } = self.state.into_inner();
        for (id, text) in (0..).zip(texts) {
            if let Some(text) = text {
                tree.set_text(NodeId(id), &text);
            }
        }
        tree.number();
        tree
    }

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> Handle {
        Handle { id: NodeId::ROOT, name: None }
    }

    fn elem_name<'a>(&'a self, target: &'a Handle) -> &'a QualName {
        &target.name.as_ref().expect("html5ever asks for the names of elements only").name
    }

    fn create_element(&self, name: QualName, attributes: Vec<html5ever::Attribute>, flags: ElementFlags) -> Handle {
        let mut state = self.state.borrow_mut();
        let attributes: Vec<Attribute<'_>> = attributes.iter().map(to_attribute).collect();
        let element = Element { name: to_name(&name), attributes: Attributes::from(&attributes[..]) };
        let id = state.tree.create(VNode::Element(element));
        let is_html_integration_point = flags.mathml_annotation_xml_integration_point;
        Handle { id, name: Some(Rc::new(ElementName { name, is_html_integration_point })) }
    }

    fn create_comment(&self, text: StrTendril) -> Handle {
        let id = self.state.borrow_mut().tree.create(VNode::Comment(&text));
        Handle { id, name: None }
    }

    fn create_pi(&self, _: StrTendril, data: StrTendril) -> Handle {
        // HTML has no processing instructions: html5ever calls this for XML only.
        self.create_comment(data)
    }

    fn append(&self, parent: &Handle, child: NodeOrText<Handle>) {
        self.state.borrow_mut().insert(parent.id, None, child);
    }

    fn append_before_sibling(&self, sibling: &Handle, child: NodeOrText<Handle>) {
        let mut state = self.state.borrow_mut();
        if let Some(parent) = state.tree.parent(sibling.id) {
            state.insert(parent, Some(sibling.id), child);
        }
    }

    fn append_based_on_parent_node(&self, element: &Handle, previous: &Handle, child: NodeOrText<Handle>) {
        let has_parent = self.state.borrow().tree.parent(element.id).is_some();
        if has_parent {
            self.append_before_sibling(element, child);
        } else {
            self.append(previous, child);
        }
    }

    fn append_doctype_to_document(&self, name: StrTendril, public_id: StrTendril, system_id: StrTendril) {
        let [name, public_id, system_id] = [&*name, &*public_id, &*system_id];
        let doctype = VNode::Doctype(Doctype { name, public_id, system_id });
        self.state.borrow_mut().tree.append(NodeId::ROOT, doctype);
    }

    /// The children of a `template` are its content, so the element stands for its content too.
    fn get_template_contents(&self, target: &Handle) -> Handle {
        target.clone()
    }

    fn same_node(&self, x: &Handle, y: &Handle) -> bool {
        x.id == y.id
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn add_attrs_if_missing(&self, target: &Handle, attributes: Vec<html5ever::Attribute>) {
        let mut state = self.state.borrow_mut();
        for Attribute { name, value } in attributes.iter().map(to_attribute) {
            let is_missing =
                state.tree.element(target.id).is_some_and(|element| element.attributes.get(name).is_none());
            if is_missing {
                state.tree.set_attribute(target.id, name, value);
            }
        }
    }

    fn remove_from_parent(&self, target: &Handle) {
        self.state.borrow_mut().tree.detach(target.id);
    }

    fn reparent_children(&self, node: &Handle, new_parent: &Handle) {
        let tree = &mut self.state.borrow_mut().tree;
        while let Some(child) = tree.first_child(node.id) {
            tree.detach(child);
            tree.insert(new_parent.id, None, child);
        }
    }

    fn is_mathml_annotation_xml_integration_point(&self, handle: &Handle) -> bool {
        handle.name.as_ref().is_some_and(|name| name.is_html_integration_point)
    }
}

fn to_name(name: &QualName) -> Name<'_> {
    Name::new(from_namespace(&name.ns), &name.local)
}

fn to_attribute(attribute: &html5ever::Attribute) -> Attribute<'_> {
    Attribute { name: to_name(&attribute.name), value: &attribute.value }
}

fn to_namespace(namespace: Namespace) -> html5ever::Namespace {
    match namespace {
        Namespace::Html => ns!(html),
        Namespace::Svg => ns!(svg),
        Namespace::MathMl => ns!(mathml),
        Namespace::XLink => ns!(xlink),
        Namespace::Xml => ns!(xml),
        Namespace::Xmlns => ns!(xmlns),
        Namespace::None => ns!(),
    }
}

fn from_namespace(namespace: &html5ever::Namespace) -> Namespace {
    match *namespace {
        ns!(html) => Namespace::Html,
        ns!(svg) => Namespace::Svg,
        ns!(mathml) => Namespace::MathMl,
        ns!(xlink) => Namespace::XLink,
        ns!(xml) => Namespace::Xml,
        ns!(xmlns) => Namespace::Xmlns,
        _ => Namespace::None,
    }
}
