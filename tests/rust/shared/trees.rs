//! Trees that parsers make and trees that none makes, and changes to them.

use arbitrary::{Result, Unstructured};
use domcast_diff::{Attribute, Doctype, Name, Namespace, NodeId, Tree, VNode};

/// Element names: those with rules of their own in parsers, browsers and the diff.
const ELEMENTS: [(Namespace, &str); 34] = [
    (Namespace::Html, "li"),
    (Namespace::Html, "div"),
    (Namespace::Html, "p"),
    (Namespace::Html, "span"),
    (Namespace::Html, "ul"),
    (Namespace::Html, "table"),
    (Namespace::Html, "tbody"),
    (Namespace::Html, "tr"),
    (Namespace::Html, "td"),
    (Namespace::Html, "caption"),
    (Namespace::Html, "form"),
    (Namespace::Html, "input"),
    (Namespace::Html, "textarea"),
    (Namespace::Html, "select"),
    (Namespace::Html, "option"),
    (Namespace::Html, "button"),
    (Namespace::Html, "pre"),
    (Namespace::Html, "br"),
    (Namespace::Html, "template"),
    (Namespace::Html, "iframe"),
    (Namespace::Html, "video"),
    (Namespace::Html, "script"),
    (Namespace::Html, "style"),
    (Namespace::Html, "ruby"),
    (Namespace::Html, "x-thing"),
    (Namespace::Html, "details"),
    (Namespace::Svg, "svg"),
    (Namespace::Svg, "path"),
    (Namespace::Svg, "foreignObject"),
    (Namespace::Svg, "title"),
    (Namespace::Svg, "template"),
    (Namespace::MathMl, "math"),
    (Namespace::MathMl, "mi"),
    (Namespace::MathMl, "annotation-xml"),
];

const ATTRIBUTES: [(Namespace, &str); 22] = [
    (Namespace::None, "class"),
    (Namespace::None, "id"),
    (Namespace::None, "dc-key"),
    (Namespace::None, "data-key"),
    (Namespace::None, "dc-stay"),
    (Namespace::None, "value"),
    (Namespace::None, "checked"),
    (Namespace::None, "href"),
    (Namespace::None, "style"),
    (Namespace::None, "title"),
    (Namespace::None, "=x"),
    (Namespace::None, "@click"),
    (Namespace::None, "xlink:href"),
    (Namespace::None, "a b"),
    (Namespace::None, "onclick"),
    (Namespace::None, "name"),
    (Namespace::None, "viewBox"),
    (Namespace::XLink, "href"),
    (Namespace::XLink, "title"),
    (Namespace::Xml, "lang"),
    (Namespace::Xmlns, "xmlns"),
    (Namespace::Xmlns, "xlink"),
];

const TEXTS: [&str; 20] = [
    "",
    "a",
    "b",
    "tea",
    " ",
    "\n",
    "\n\n  x",
    "0",
    "<p>&amp;",
    "😀",
    "😀😁",
    "↑↓",
    "\u{a0}",
    "\u{0}\r\n",
    "--> ]]> </script>",
    "/",
    "=x",
    "a rather long text that two versions share",
    "a rather long text that two versions shared",
    "a rather long 😁 text that two versions share",
];

/// Makes a tree of up to about `n_nodes` nodes.
///
/// # Errors
///
/// Never in practice: bytes that run out are zeros.
pub fn tree(u: &mut Unstructured<'_>, n_nodes: usize) -> Result<Tree> {
    let mut tree = Tree::new();
    let n_nodes = u.int_in_range(0..=n_nodes)?;
    let mut at = NodeId::ROOT;
    while tree.n_nodes() <= n_nodes {
        // Up, so that trees are wide as well as deep.
        while at != NodeId::ROOT && chance(u, 2, 5)? {
            at = tree.parent(at).unwrap_or(NodeId::ROOT);
        }
        // Repeated rows are what pages are made of, and what keys, alignment and shapes work on.
        if chance(u, 1, 8)? {
            let n_copies = u.int_in_range(1..=4)?;
            copies(u, &mut tree, at, n_copies)?;
            continue;
        }
        let id = create(u, &mut tree, at == NodeId::ROOT)?;
        tree.insert(at, None, id);
        if tree.element(id).is_some() {
            at = id;
        }
        if u.is_empty() {
            break;
        }
    }
    Ok(tree)
}

/// Appends copies of the last child of `parent`, with other keys or texts.
fn copies(u: &mut Unstructured<'_>, tree: &mut Tree, parent: NodeId, n_copies: usize) -> Result<()> {
    for _ in 0..n_copies {
        let Some(last) = tree.last_child(parent) else { return Ok(()) };
        let copy = copy_below(tree, parent, None, last);
        let key = text(u)?;
        let before = tree.clone();
        let first = before.element(copy).and_then(|element| element.attributes.iter().next());
        if let Some(Attribute { name, .. }) = first {
            tree.set_attribute(copy, name, &key);
        }
    }
    Ok(())
}

/// Makes a node without a place.
fn create(u: &mut Unstructured<'_>, tree: &mut Tree, is_top: bool) -> Result<NodeId> {
    Ok(match u.int_in_range(0..=19)? {
        0..=10 => {
            let id = tree.create(VNode::Element(domcast_diff::Element::new(element_name(u)?)));
            for _ in 0..u.int_in_range(0..=3)? {
                tree.set_attribute(id, attribute_name(u)?, &text(u)?);
            }
            id
        }
        11..=17 => tree.create(VNode::Text(&text(u)?)),
        18 if is_top => {
            let (public_id, system_id) = (&text(u)?, &text(u)?);
            tree.create(VNode::Doctype(Doctype { name: "html", public_id, system_id }))
        }
        _ => tree.create(VNode::Comment(&text(u)?)),
    })
}

/// Whether something happens that happens `n` times in `of`, and never once the bytes have run out.
pub(crate) fn chance(u: &mut Unstructured<'_>, n: u32, of: u32) -> Result<bool> {
    Ok(u.int_in_range(0..=of - 1)? >= of - n)
}

/// Picks the name of an element.
///
/// # Errors
///
/// Never in practice.
pub fn element_name(u: &mut Unstructured<'_>) -> Result<Name<'static>> {
    let &(namespace, local) = u.choose(&ELEMENTS)?;
    Ok(Name::new(namespace, local))
}

/// Picks the name of an attribute.
///
/// # Errors
///
/// Never in practice.
pub fn attribute_name(u: &mut Unstructured<'_>) -> Result<Name<'static>> {
    let &(namespace, local) = u.choose(&ATTRIBUTES)?;
    Ok(Name::new(namespace, local))
}

/// Makes the text of a node or an attribute's value.
///
/// # Errors
///
/// Never in practice.
pub fn text(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(match u.int_in_range(0..=7)? {
        0..=5 => String::from(*u.choose(&TEXTS)?),
        6 => u.int_in_range(0..=30)?.to_string(),
        _ => u.arbitrary::<&str>()?.into(),
    })
}

/// Changes a tree in up to `n_changes` places, as a new rendering of a page does, and numbers it anew.
///
/// # Errors
///
/// Never in practice.
pub fn changed(u: &mut Unstructured<'_>, old: &Tree, n_changes: usize) -> Result<Tree> {
    let mut tree = old.clone();
    for _ in 0..u.int_in_range(0..=n_changes)? {
        change(u, &mut tree)?;
    }
    tree.number();
    Ok(tree)
}

fn change(u: &mut Unstructured<'_>, tree: &mut Tree) -> Result<()> {
    let ids: Vec<NodeId> = tree.descendants(NodeId::ROOT).map(|(id, _)| id).collect();
    let id = *u.choose(&ids)?;
    let parent = tree.parent(id);
    match (u.int_in_range(0..=13)?, parent) {
        (0..=2, _) => {
            let before = child(u, tree, id)?;
            if matches!(tree.get(id), Some(VNode::Root | VNode::Element(_))) {
                let new = create(u, tree, id == NodeId::ROOT)?;
                tree.insert(id, before, new);
            }
        }
        (3, Some(_)) => tree.remove(id),
        (4 | 5, Some(parent)) => {
            // Among its siblings.
            tree.detach(id);
            let before = child(u, tree, parent)?;
            tree.insert(parent, before, id);
        }
        (6, _) => {
            // All children in a new order, a rotation or a reversal.
            let mut children: Vec<NodeId> = tree.children(id).collect();
            match u.int_in_range(0..=2)? {
                0 => children.reverse(),
                1 if !children.is_empty() => children.rotate_left(1),
                _ => {
                    for idx in (1..children.len()).rev() {
                        children.swap(idx, u.int_in_range(0..=idx)?);
                    }
                }
            }
            for child in children {
                tree.detach(child);
                tree.insert(id, None, child);
            }
        }
        (7, Some(parent)) => _ = copy_below(tree, parent, Some(id), id),
        (8, _) => {
            let children: Vec<NodeId> = tree.children(id).collect();
            children.into_iter().for_each(|child| tree.remove(child));
        }
        (9, Some(_)) => {
            // Anywhere but below itself.
            let to = *u.choose(&ids)?;
            let is_inside = tree.descendants(id).any(|(inner, _)| inner == to);
            if !is_inside && matches!(tree.get(to), Some(VNode::Root | VNode::Element(_))) {
                let before = child(u, tree, to)?.filter(|&before| before != id);
                tree.detach(id);
                tree.insert(to, before, id);
            }
        }
        _ => {
            let (name, value, is_removal) = (attribute_name(u)?, text(u)?, chance(u, 1, 3)?);
            match tree.get(id) {
                Some(VNode::Text(_) | VNode::Comment(_)) => tree.set_text(id, &value),
                Some(VNode::Element(_)) if is_removal => _ = tree.remove_attribute(id, name),
                Some(VNode::Element(_)) => tree.set_attribute(id, name, &value),
                _ => {}
            }
        }
    }
    Ok(())
}

fn child(u: &mut Unstructured<'_>, tree: &Tree, parent: NodeId) -> Result<Option<NodeId>> {
    let mut children: Vec<Option<NodeId>> = tree.children(parent).map(Some).collect();
    children.push(None);
    Ok(*u.choose(&children)?)
}

/// Copies the subtree `from` among the children of `parent`.
fn copy_below(tree: &mut Tree, parent: NodeId, before: Option<NodeId>, from: NodeId) -> NodeId {
    let source = tree.clone();
    tree.insert_copy(parent, before, &source, from)
}
