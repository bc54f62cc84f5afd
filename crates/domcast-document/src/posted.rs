//! A document whose HTML comes from elsewhere.

use crate::{DocumentError, TOOK_OVER, Trace, Update};
use domcast_diff::Tree;
use domcast_parser::{Parser, Source};

/// HTML that somebody else rendered, and its present tree. Only what changed of it is parsed, where it is regular.
#[derive(Debug)]
pub struct HtmlDocument(Source);

impl HtmlDocument {
    /// Parses the first HTML.
    ///
    /// # Errors
    ///
    /// [`DocumentError`]: the HTML exceeds the limits of the parser.
    pub fn new(html: String) -> Result<HtmlDocument, DocumentError> {
        Ok(HtmlDocument(Source::new(Parser::default(), html, Some("div"))?))
    }

    /// The present tree, with the ids that every client knows.
    pub fn tree(&self) -> &Tree {
        self.0.tree()
    }

    /// The present HTML, as it was posted.
    pub fn html(&self) -> &str {
        self.0.html()
    }

    /// Swaps the tree with another place for it. It must be back for the next update.
    pub fn swap_tree(&mut self, tree: &mut Tree) {
        self.0.swap_tree(tree);
    }

    /// Takes over the tree of another document: it becomes equal to the present one, and its nodes keep their ids.
    pub fn take_over(&mut self, tree: Tree) -> Update {
        let patches = self.0.take_over(tree);
        Update { patches, trace: Trace { whole: Some(TOOK_OVER), ..Trace::default() } }
    }

    /// Goes on to other HTML.
    ///
    /// # Errors
    ///
    /// [`DocumentError`]: the HTML exceeds the limits of the parser. The document is as it was.
    pub fn update(&mut self, html: String) -> Result<Update, DocumentError> {
        let n_edits = usize::from(html != self.0.html());
        let update = self.0.update(html)?;
        Ok(Update { patches: update.patches, trace: Trace { n_edits, whole: update.whole, ..Trace::default() } })
    }
}
