//! The one error of this crate: a message for people, and the place in the template.

use minijinja::ErrorKind;
use std::fmt::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// How many lines an excerpt shows before and after the line of the error.
const LINES_AROUND: usize = 2;

/// A template or expression that could not be rendered.
#[derive(Clone, Debug)]
pub struct TemplateError {
    message: String,
    template: Option<String>,
    line: Option<usize>,
    excerpt: Option<String>,
    is_missing: bool,
    exceeds_limit: bool,
    source: Option<Arc<minijinja::Error>>,
}

impl TemplateError {
    pub(crate) fn new(asked_for: &str, error: minijinja::Error, folder: Option<&Path>) -> TemplateError {
        let innermost = innermost(&error);
        let is_missing = innermost.kind() == ErrorKind::TemplateNotFound;
        let mut message = describe(innermost);
        if let (true, Some(folder)) = (is_missing, folder) {
            _ = write!(message, " (looked in `{}`)", folder.display());
        }
        // An error of an include knows the place in the included template; one of a missing template
        // knows no place, but what included it does.
        let placed = if innermost.line().is_some() { innermost } else { &error };
        let template = placed.name().unwrap_or(asked_for).to_owned();
        let excerpt = placed.template_source().zip(placed.line()).map(|(source, line)| excerpt(source, line));
        let (line, exceeds_limit) = (placed.line(), is_out_of_fuel(&error));
        let (template, source) = (Some(template), Some(Arc::new(error)));
        TemplateError { message, template, line, excerpt, is_missing, exceeds_limit, source }
    }

    pub(crate) fn expression(expression: &str, error: minijinja::Error) -> TemplateError {
        let message = format!("{} in the expression `{expression}`", describe(innermost(&error)));
        let (exceeds_limit, source) = (is_out_of_fuel(&error), Some(Arc::new(error)));
        TemplateError { message, template: None, line: None, excerpt: None, is_missing: false, exceeds_limit, source }
    }

    pub(crate) fn of_region(template: &str) -> TemplateError {
        let message = "a part of the template failed, and did not when it ran again".to_owned();
        TemplateError::of_template(template, message, false)
    }

    pub(crate) fn output_too_long(template: &str, limit_bytes: usize) -> TemplateError {
        TemplateError::of_template(template, format!("the output exceeds the limit of {limit_bytes} bytes"), true)
    }

    fn of_template(template: &str, message: String, exceeds_limit: bool) -> TemplateError {
        let template = Some(template.to_owned());
        TemplateError { message, template, line: None, excerpt: None, is_missing: false, exceeds_limit, source: None }
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The template that the error is in; `None` for an expression.
    pub fn template(&self) -> Option<&str> {
        self.template.as_deref()
    }

    /// The line of the template, from 1.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The line of the error and those around it, each with its number, the line itself marked with `>`.
    pub fn excerpt(&self) -> Option<&str> {
        self.excerpt.as_deref()
    }

    /// Whether the error is that a template does not exist.
    pub fn is_missing(&self) -> bool {
        self.is_missing
    }

    /// Whether the rendering was more than [`Limits::output_bytes`](crate::Limits::output_bytes) or [`Limits::fuel`](crate::Limits::fuel) allow.
    pub fn exceeds_limit(&self) -> bool {
        self.exceeds_limit
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match (&self.template, self.line) {
            (Some(template), Some(line)) => write!(f, ", in template `{template}` at line {line}"),
            // A message of a missing template names it already.
            (Some(template), None) if !self.is_missing => write!(f, ", in template `{template}`"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for TemplateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The engine's error says the same again; what lies behind it (a file that cannot be read) does not.
        std::error::Error::source(self.source.as_deref()?)
    }
}

/// The engine wraps the error of an include or a block in others; the first one says what is wrong.
fn innermost(error: &minijinja::Error) -> &minijinja::Error {
    let mut innermost = error;
    while let Some(inner) = std::error::Error::source(innermost).and_then(|inner| inner.downcast_ref()) {
        innermost = inner;
    }
    innermost
}

/// Whether the engine did more than it may.
pub(crate) fn is_out_of_fuel(error: &minijinja::Error) -> bool {
    innermost(error).kind() == ErrorKind::OutOfFuel
}

fn describe(error: &minijinja::Error) -> String {
    match (error.kind(), error.detail()) {
        // The engine quotes the name in one way or the other; a list of names is left as it is.
        (ErrorKind::TemplateNotFound, Some(detail)) => match detail.split(['"', '\'']).collect::<Vec<_>>()[..] {
            [_, name, _] => format!("template `{name}` not found"),
            _ => detail.to_owned(),
        },
        (ErrorKind::OutOfFuel, _) => "the rendering takes more than its fuel".to_owned(),
        // Our own errors are whole sentences.
        (ErrorKind::InvalidOperation, Some(detail)) if detail.starts_with("template `") => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}

fn excerpt(source: &str, line: usize) -> String {
    let first = line.saturating_sub(LINES_AROUND).max(1);
    let lines = source.lines().enumerate().skip(first - 1).take(line + LINES_AROUND + 1 - first);
    let mut excerpt = String::new();
    for (idx, text) in lines {
        let mark = if idx + 1 == line { '>' } else { '|' };
        _ = writeln!(excerpt, "{:>4} {mark} {text}", idx + 1);
    }
    excerpt
}
