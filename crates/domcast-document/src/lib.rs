//! A change in, patches out: documents that keep their tree, and update it at the cost of what changed.
//!
//! ```
//! use domcast_document::{Template, TemplateDocument};
//! use domcast_template::{Changes, State, Templates};
//!
//! let templates = Templates::from_sources([(
//!     "tea.html",
//!     "<ul>{% for tea in teas %}<li dc-key=\"{{ tea.id }}\">{{ tea.name }}</li>{% endfor %}</ul>",
//! )]);
//! let template = Template::new(&templates, "tea.html").expect("the template is right");
//! let state = |names: &[&str]| -> State {
//!     let teas = names.iter().enumerate().map(|(id, name)| {
//!         State::from_iter_of([("id", State::from(id)), ("name", State::from(*name))])
//!     });
//!     State::from_iter_of([("teas", teas.collect())])
//! };
//! # trait Of { fn from_iter_of<const N: usize>(entries: [(&'static str, State); N]) -> State; }
//! # impl Of for State { fn from_iter_of<const N: usize>(entries: [(&'static str, State); N]) -> State {
//! #     entries.into_iter().collect::<domcast_template::Map>().into() } }
//! let mut document = TemplateDocument::new(&template, state(&["Assam", "Darjeeling"])).expect("it renders");
//! assert_eq!(document.html(), "<ul><li dc-key=\"0\">Assam</li><li dc-key=\"1\">Darjeeling</li></ul>");
//!
//! let update = document.update(state(&["Assam", "Sencha"]), &Changes::Unknown).expect("it renders");
//! assert_eq!(update.patches.to_json(), r#"[["t",5,"Sencha"]]"#);
//! ```
//!
//! # Whose it is
//!
//! A document is a value: it opens nothing, awaits nothing and numbers no versions. `domcast-push` puts it behind a hub; any other server can hold
//! one itself, send [`Update::patches`] to its pages and give newcomers [`TemplateDocument::tree`].
//!
//! # The law
//!
//! After any update the tree equals what a parser makes of the template's full rendering over the new state, node for node, the patches lead
//! every copy of the old tree there, and equal trees give no patch. How that was reached, [`Update::trace`] tells.

mod template; // a template's document: a new state to patches
mod posted; // a document whose HTML comes from elsewhere
mod scan; // a program as one text with markers …
mod skeleton; // … parsed once: where its parts land among the nodes
mod walk; // the walk over what an instance shows …
mod printed; // … in texts, values, tags and markup
mod stamp; // an instance to nodes
mod list; // children that stay, beside those that are stamped
mod find; // the nodes of an instance in a tree
mod kept; // which node is whose
mod irregular; // why a template has no skeleton

pub use irregular::Irregular;
pub use posted::HtmlDocument;
pub use template::{Evaluated, Template, TemplateDocument};

use domcast_diff::Patches;
use domcast_parser::ParseError;
use domcast_template::{StateError, SwapError, TemplateError};
use std::fmt;

/// What an update gives.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// What leads every copy of the tree to the present one; empty if they are equal.
    ///
    /// Those that bring most of a template's tree share it: the next update copies it if they are still held.
    pub patches: Patches,
    /// How it was found.
    pub trace: Trace,
}

/// Which layers did the work of an update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Parts of the template that print something else.
    pub n_edits: usize,
    /// Texts that were set alone.
    pub n_runs: usize,
    /// Start tags that were set alone.
    pub n_tags: usize,
    /// Elements whose lists of children were made anew.
    pub n_contents: usize,
    /// Nodes that markup makes which was printed and parsed, and compared with what was there.
    pub n_islands: usize,
    /// Why all was rendered, parsed and compared, if it was.
    pub whole: Option<&'static str>,
}

const TOOK_OVER: &str = "it took over the tree of another document";

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trace { n_edits, n_runs, n_tags, n_contents, n_islands, whole } = self;
        match whole {
            Some(why) => write!(f, "{n_edits} parts changed; all was rendered, parsed and compared, because {why}"),
            None => write!(
                f,
                "{n_edits} parts changed: {n_runs} texts, {n_tags} start tags, {n_contents} lists of children, {n_islands} nodes of markup"
            ),
        }
    }
}

/// Why a document could not be made or updated.
#[derive(Debug)]
#[non_exhaustive]
pub enum DocumentError {
    /// The template is wrong or failed.
    Template(TemplateError),
    /// The HTML exceeds the limits of the parser.
    Parse(ParseError),
    /// The state has no part of which it was told that it is there.
    State(StateError),
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DocumentError::Template(_) => f.write_str("the template was not rendered"),
            DocumentError::Parse(_) => f.write_str("the HTML was not parsed"),
            DocumentError::State(_) => f.write_str("the state was not changed"),
        }
    }
}

impl std::error::Error for DocumentError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DocumentError::Template(error) => Some(error),
            DocumentError::Parse(error) => Some(error),
            DocumentError::State(error) => Some(error),
        }
    }
}

impl From<TemplateError> for DocumentError {
    fn from(error: TemplateError) -> DocumentError {
        DocumentError::Template(error)
    }
}

impl From<SwapError> for DocumentError {
    fn from(error: SwapError) -> DocumentError {
        match error {
            SwapError::State(error) => DocumentError::State(error),
            SwapError::Template(error) => DocumentError::Template(error),
        }
    }
}

impl From<ParseError> for DocumentError {
    fn from(error: ParseError) -> DocumentError {
        DocumentError::Parse(error)
    }
}
