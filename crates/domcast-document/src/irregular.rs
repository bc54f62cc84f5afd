//! Why a template is rendered and parsed as a whole.

use domcast_template::{Body, Part, Text};
use std::fmt;

/// Why a template has no skeleton: the first part found whose output may change what is around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Irregular {
    /// The template that it stands in.
    pub template: String,
    /// The line there, from 1, if it is one part's doing.
    pub line: Option<u32>,
    /// What is wrong with it, beginning with "it" or "the".
    pub why: &'static str,
}

impl Irregular {
    pub(crate) fn new(part: &Part, why: &'static str) -> Irregular {
        Irregular { template: part.template.to_string(), line: Some(part.line), why }
    }

    pub(crate) fn of_text(text: &Text, why: &'static str) -> Irregular {
        Irregular { template: text.template.to_string(), line: Some(text.line), why }
    }

    /// At the end of a body of a template.
    pub(crate) fn at_end(body: &Body, name: &str, why: &'static str) -> Irregular {
        match (body.texts.last(), body.parts.last()) {
            (Some(text), _) if !text.text.is_empty() => Irregular::of_text(text, why),
            (_, Some(part)) => Irregular::new(part, why),
            _ => Irregular::of_template(name, why),
        }
    }

    pub(crate) fn of_template(name: &str, why: &'static str) -> Irregular {
        Irregular { template: name.to_owned(), line: None, why }
    }
}

impl fmt::Display for Irregular {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.template)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.why)
    }
}
