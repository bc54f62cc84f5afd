//! HTML text to tree, as browsers do.
//!
//! ```
//! use domcast_parser::parse_fragment;
//!
//! let tree = parse_fragment("<table><tr><td>tea", "div")?;
//! assert_eq!(tree.to_html(), "<table><tbody><tr><td>tea</td></tr></tbody></table>");
//! # Ok::<(), domcast_parser::ParseError>(())
//! ```
//!
//! Regular markup (what templates and most pages are made of) goes straight into a [`Tree`] of
//! `domcast-diff`; all other text goes through html5ever's tree builder, which follows the HTML standard. Both give the
//! same trees, numbered in document order, and properties and a fuzz target hold them to it. Bad HTML is no error: the standard
//! says what tree it makes. Input beyond the [`Limits`] is. A byte order mark is a character like any other, as in `innerHTML`:
//! dropping it belongs to decoding bytes.

mod fast; // regular markup, in one pass
mod source; // a text with its tree, and the way to the next text
mod reparse; // what changed of it, and nothing else
mod names; // elements with rules of their own
mod references; // `&amp;` and its kin
mod tokens; // everything else: text to tokens …
mod sink; // … which html5ever's tree builder turns into a tree
mod outline; // the notation of html5lib-tests

use domcast_diff::{Name, Namespace, Tree};
use std::fmt;

pub use outline::outline;
pub use source::{Source, Update};

/// Parses the HTML of a whole page, with scripting on as in a browser.
///
/// # Errors
///
/// [`ParseError`] if the text exceeds the default [`Limits`].
pub fn parse_document(html: &str) -> Result<Tree, ParseError> {
    Parser::default().document(html)
}

/// Parses HTML as the content of an element `context`, as setting `innerHTML` does: `div`, `tbody`, `svg path`, `math mi`.
///
/// # Errors
///
/// [`ParseError`] if the text exceeds the default [`Limits`] or `context` is not a name.
pub fn parse_fragment(html: &str, context: &str) -> Result<Tree, ParseError> {
    Parser::default().fragment(html, context)
}

/// How to parse; the functions of this crate use the default.
#[derive(Clone, Debug)]
pub struct Parser {
    /// What is too much.
    pub limits: Limits,
    /// Whether scripts run where the HTML is shown: then the content of `noscript` is text.
    pub scripting: bool,
    /// Whether regular markup may take the fast path. Without it html5ever's tree builder makes every tree: the oracle.
    pub fast_path: bool,
}

impl Default for Parser {
    fn default() -> Parser {
        Parser { limits: Limits::default(), scripting: true, fast_path: true }
    }
}

/// The largest input that is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of HTML text.
    pub n_bytes: usize,
    /// Nodes in the tree.
    pub n_nodes: usize,
    /// Attributes of one tag.
    pub n_attributes: usize,
    /// Levels that irregular markup opens. A tree is never deeper than 512 elements: like a browser the parser makes siblings of what
    /// nests deeper. But html5ever looks through all open elements for every tag, which for 100,000 takes half a minute and more; they
    /// cannot be left out, for a browser too keeps them all until their end tags, and flattens only the tree.
    ///
    /// Regular markup has no such limit: elements that close in the order in which they were opened, or not at all, as `div`, `span`, `b`, lists, tables,
    /// SVG and custom elements; pages with or without tags of `html`, `head` and `body`, and fragments in any element but parts
    /// of tables and lists of options, forms, and those below.
    ///
    /// Irregular is a text in which tags cross; where `a`, `button`, `form`, `select` or a heading stands within one of its kind; with `template`, `math`,
    /// `object`, `marquee`, `applet`, `nobr`, `datalist`, parts of `ruby`, frames, or HTML within SVG; with text or tags in a table that belong
    /// outside of it; with a NUL or a carriage return.
    pub n_levels: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { n_bytes: 16 << 20, n_nodes: 2_000_000, n_attributes: 4096, n_levels: 4096 }
    }
}

/// Input that is not parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// The text is longer than [`Limits::n_bytes`].
    TooLong {
        /// The length of the text.
        n_bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The tree would hold more nodes than [`Limits::n_nodes`].
    TooManyNodes {
        /// The limit.
        limit: usize,
    },
    /// A tag has more attributes than [`Limits::n_attributes`].
    TooManyAttributes {
        /// The limit.
        limit: usize,
    },
    /// Irregular markup nests deeper than [`Limits::n_levels`].
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// The context is neither a name nor one after `svg ` or `math `.
    BadContext(String),
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::TooLong { n_bytes, limit } => write!(f, "HTML of {n_bytes} bytes exceeds the limit of {limit}"),
            ParseError::TooManyNodes { limit } => write!(f, "HTML makes more nodes than the limit of {limit}"),
            ParseError::TooManyAttributes { limit } => write!(f, "a tag has more attributes than the limit of {limit}"),
            ParseError::TooDeep { limit } => write!(f, "irregular markup nests deeper than the limit of {limit}"),
            ParseError::BadContext(context) => {
                write!(f, "context `{context}` is not an element (`div`, `tbody`, `svg path`, `math mi` …)")
            }
        }
    }
}

impl std::error::Error for ParseError {}

impl Parser {
    /// Parses the HTML of a whole page.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the text exceeds the limits.
    pub fn document(&self, html: &str) -> Result<Tree, ParseError> {
        self.check_length(html)?;
        let html = without_byte_order_mark(html);
        if self.fast_path
            && let Some(parsed) = fast::document(self, html)?
        {
            return Ok(parsed.tree);
        }
        sink::document(self, html)
    }

    /// Parses HTML as the content of an element `context`.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the text exceeds the limits or `context` is not a name.
    pub fn fragment(&self, html: &str, context: &str) -> Result<Tree, ParseError> {
        self.check_length(html)?;
        let context = context_name(context)?;
        if self.fast_path
            && let Some(parsed) = fast::fragment(self, html, context)?
        {
            return Ok(parsed.tree);
        }
        sink::fragment(self, html, context)
    }

    /// Whether the fast path takes this text, for measuring how often it does.
    ///
    /// # Errors
    ///
    /// As [`fragment`](Self::fragment).
    pub fn is_regular(&self, html: &str, context: Option<&str>) -> Result<bool, ParseError> {
        match context {
            Some(context) => Ok(fast::fragment(self, html, context_name(context)?)?.is_some()),
            None => Ok(fast::document(self, html)?.is_some()),
        }
    }

    fn check_length(&self, html: &str) -> Result<(), ParseError> {
        let limit = self.limits.n_bytes;
        if html.len() > limit {
            return Err(ParseError::TooLong { n_bytes: html.len(), limit });
        }
        Ok(())
    }
}

/// Decoding the bytes of a page drops one byte order mark; text set as `innerHTML` keeps it.
fn without_byte_order_mark(html: &str) -> &str {
    html.strip_prefix('\u{feff}').unwrap_or(html)
}

fn context_name(context: &str) -> Result<Name<'_>, ParseError> {
    let (namespace, local) = match context.split_once(' ') {
        Some(("svg", local)) => (Namespace::Svg, local),
        Some(("math", local)) => (Namespace::MathMl, local),
        Some(_) => (Namespace::None, ""),
        None => (Namespace::Html, context),
    };
    let is_name = !local.is_empty() && local.chars().all(|char| char.is_ascii_alphanumeric() || "-_:.".contains(char));
    if is_name { Ok(Name::new(namespace, local)) } else { Err(ParseError::BadContext(context.into())) }
}
