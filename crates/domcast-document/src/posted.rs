//! A document whose HTML comes from elsewhere.

use crate::{DocumentError, Trace, Update};
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

    /// Goes on to other HTML.
    ///
    /// # Errors
    ///
    /// [`DocumentError`]: the HTML exceeds the limits of the parser. The document is as it was.
    pub fn update(&mut self, html: String) -> Result<Update, DocumentError> {
        let n_edits = usize::from(html != self.0.html());
        let update = self.0.update(html)?;
        let whole = (!update.is_local).then_some("it is irregular, or changed beyond the content of its body");
        Ok(Update { patches: update.patches, trace: Trace { n_edits, whole, ..Trace::default() } })
    }
}
