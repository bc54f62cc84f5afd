//! html5ever with its own tree, markup5ever_rcdom.

use html5ever::tendril::TendrilSink;
use html5ever::{LocalName, ParseOpts, QualName, ns, parse_document, parse_fragment};
use markup5ever_rcdom::{Handle, RcDom};

pub(crate) fn fragment(html: &str) -> RcDom {
    let context = QualName::new(None, ns!(html), LocalName::from("div"));
    parse_fragment(RcDom::default(), ParseOpts::default(), context, Vec::new(), true).one(html)
}

pub(crate) fn document(html: &str) -> RcDom {
    parse_document(RcDom::default(), ParseOpts::default()).one(html)
}

/// The number of nodes below the document.
pub(crate) fn n_nodes(dom: &RcDom) -> usize {
    let mut waiting: Vec<Handle> = dom.document.children.borrow().clone();
    let mut n_nodes = 0;
    while let Some(node) = waiting.pop() {
        n_nodes += 1;
        waiting.extend(node.children.borrow().iter().cloned());
    }
    n_nodes
}
