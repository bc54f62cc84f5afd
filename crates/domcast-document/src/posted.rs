//! A document whose HTML comes from elsewhere.

use crate::{DocumentError, Trace, Update};
use domcast_diff::{Patch, Tree, apply, diff};
use domcast_parser::parse_fragment;

/// HTML that somebody else rendered, and its present tree.
#[derive(Debug)]
pub struct HtmlDocument {
    html: String,
    tree: Tree,
}

impl HtmlDocument {
    /// Parses the first HTML.
    ///
    /// # Errors
    ///
    /// [`DocumentError`]: the HTML exceeds the limits of the parser.
    pub fn new(html: String) -> Result<HtmlDocument, DocumentError> {
        let tree = parse_fragment(&html, "div")?;
        Ok(HtmlDocument { html, tree })
    }

    /// The present tree, with the ids that every client knows.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The present HTML, as it was posted.
    pub fn html(&self) -> &str {
        &self.html
    }

    /// Goes on to other HTML.
    ///
    /// # Errors
    ///
    /// [`DocumentError`]: the HTML exceeds the limits of the parser. The document is as it was.
    pub fn update(&mut self, html: String) -> Result<Update, DocumentError> {
        let mut trace = Trace { n_edits: usize::from(html != self.html), ..Trace::default() };
        if trace.n_edits == 0 {
            return Ok(Update { trace, ..Update::default() });
        }
        let new_tree = parse_fragment(&html, "div")?;
        let mut patches = diff(&self.tree, &new_tree);
        apply(&mut self.tree, &patches).expect("the patches of a diff fit the tree that it was made for");
        if !patches.is_empty() && self.tree.is_sparse() {
            self.tree.compact();
            patches.0.push(Patch::Compact { n_nodes: self.tree.n_nodes() as u32 });
        }
        self.html = html;
        trace.whole = Some("it is posted as a whole");
        Ok(Update { patches, trace })
    }
}
