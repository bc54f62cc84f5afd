//! Why a push, an event or a registration was refused. Whatever is refused changed nothing.

use domcast_parser::ParseError;
use domcast_template::TemplateError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// A push, an event, a tick or a registration that was refused; the view is as it was before.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PushError {
    /// No view has this name.
    UnknownView {
        /// The name.
        view: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// A state push names a key that the view does not declare.
    UndeclaredKey {
        /// The view.
        view: String,
        /// The key.
        key: String,
        /// The keys that the view declares.
        declared: Vec<String>,
    },
    /// A merge or a patch would remove a state key: only what is inside one can be removed.
    KeyRemoved {
        /// The view.
        view: String,
        /// The key.
        key: String,
    },
    /// An operation of a JSON Patch does not fit the state, or a `test` failed. None of the operations was applied.
    BadPatch {
        /// The view.
        view: String,
        /// Which operation, from 0.
        operation_idx: usize,
        /// The JSON Pointer (RFC 6901) that leads nowhere, or to another value.
        pointer: String,
        /// What is there.
        reason: String,
    },
    /// A value is not of the type that its key takes.
    TypeMismatch {
        /// The view.
        view: String,
        /// The key.
        key: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// The view declares no such handler, or none that this sender may call.
    UnknownHandler {
        /// The view.
        view: String,
        /// The handler's name.
        handler: String,
        /// The handlers that the sender may call.
        declared: Vec<String>,
    },
    /// The payload is not what the handler takes.
    BadPayload {
        /// The view.
        view: String,
        /// The handler's name.
        handler: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// The handler (or `handle_tick`) returned an error or panicked.
    HandlerFailed {
        /// The view.
        view: String,
        /// The handler's name.
        handler: String,
        /// What it said.
        reason: String,
    },
    /// The view could not be rendered from the new state.
    Template {
        /// The view.
        view: String,
        /// What is wrong, and where in which template.
        error: Box<TemplateError>,
    },
    /// Something that the template called panicked.
    RenderPanicked {
        /// The view.
        view: String,
        /// The panic's message.
        reason: String,
    },
    /// The HTML is beyond the limits.
    Html {
        /// The view.
        view: String,
        /// The limit.
        error: ParseError,
    },
    /// The view does not take this kind of push: state for posted HTML, or HTML for a template.
    WrongSource {
        /// The view.
        view: String,
        /// Where the view's HTML comes from.
        source: &'static str,
        /// What was pushed.
        pushed: &'static str,
    },
    /// A view whose documents have keys is asked for without one, or one without keys with a key.
    WrongKey {
        /// The view.
        view: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// A view has as many documents as it may, and somebody uses each.
    TooManyDocuments {
        /// The view.
        view: String,
        /// How many it may have.
        limit: usize,
    },
    /// A push is for some of the viewers of a view that shows all of them the same.
    NotPrivate {
        /// The view.
        view: String,
    },
    /// A push for several documents was refused by some; the others applied it.
    Partly {
        /// The view.
        view: String,
        /// How many refused it.
        n_refused: usize,
        /// How many there are.
        n_documents: usize,
        /// Why the first refused it.
        error: Box<PushError>,
    },
    /// The push was lost because the engine itself panicked: a bug.
    Lost {
        /// The view.
        view: String,
    },
    /// The push waits for the server that owns the view, which cannot be reached now. It will be applied; when, is not known. A message, and a push to
    /// private documents, waits for all other servers: here it was applied.
    Queued {
        /// The view, or the topic.
        view: String,
    },
    /// The server that owns the view cannot be reached, and too many pushes wait for it already. This one was not applied.
    Unavailable {
        /// The view, or the topic.
        view: String,
    },
    /// The server that owns the view refused the push.
    Elsewhere {
        /// What kind of error it was there.
        class: ErrorClass,
        /// What it says.
        message: String,
        /// What it says to a browser outside development.
        for_browser: String,
    },
    /// The application that a view's state or events come from or go to does not answer, or not as it should.
    Application {
        /// The view.
        view: String,
        /// What it did instead.
        reason: String,
    },
    /// The application that an event went to says what is wrong with its payload.
    Invalid {
        /// The view.
        view: String,
        /// The handler's name.
        handler: String,
        /// What is wrong, as the application says it: by field, as a rule. It is for whoever sent the event.
        errors: Value,
    },
    /// The view was taken away from the page while its event waited for others.
    Revoked {
        /// The view.
        view: String,
    },
    /// A view of this name is registered already.
    NameTaken {
        /// The name.
        view: String,
    },
    /// This cannot name a view.
    BadName {
        /// The name.
        view: String,
    },
    /// The state of a Rust view is not a struct with named fields, cannot be written as JSON, or is too deep.
    BadState {
        /// The view.
        view: String,
        /// What it is.
        reason: String,
    },
    /// A declared state edit cannot be read.
    BadEdit {
        /// The view.
        view: String,
        /// The handler, or `handle_tick`.
        handler: String,
        /// What is wrong.
        error: Box<TemplateError>,
    },
}

/// What a sender can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ErrorClass {
    /// Name a view that exists.
    Unknown,
    /// Send less.
    Large,
    /// Send something that fits the view.
    Unfit,
    /// Have the view mended.
    Broken,
    /// Nothing: it was taken, and will be applied.
    Queued,
    /// Try again later.
    Unavailable,
}

impl PushError {
    /// What a sender can do about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            PushError::UnknownView { .. } => ErrorClass::Unknown,
            PushError::Html { .. } => ErrorClass::Large,
            PushError::Template { .. } | PushError::RenderPanicked { .. } | PushError::Lost { .. } => {
                ErrorClass::Broken
            }
            PushError::Queued { .. } => ErrorClass::Queued,
            PushError::Unavailable { .. } | PushError::TooManyDocuments { .. } | PushError::Application { .. } => {
                ErrorClass::Unavailable
            }
            PushError::Elsewhere { class, .. } => *class,
            _ => ErrorClass::Unfit,
        }
    }

    /// The text for the browser whose event was refused.
    ///
    /// Outside development it names nothing and repeats nothing that a handler or template said: that may be secret.
    pub fn for_browser(&self, development: bool) -> String {
        if development {
            return self.to_string();
        }
        let text = match self {
            PushError::UnknownHandler { .. } => "there is no such handler",
            PushError::BadPayload { .. } | PushError::Invalid { .. } => "the payload does not fit the handler",
            PushError::Application { .. } => "the application does not answer",
            PushError::Revoked { .. } => "the view may not be used any more",
            PushError::Elsewhere { for_browser, .. } => for_browser,
            _ => "the event could not be handled",
        };
        text.into()
    }
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PushError::UnknownView { view, known } => {
                write!(f, "there is no view `{}` ({})", Shown(view), List("views", known))
            }
            PushError::UndeclaredKey { view, key, declared } => {
                write!(f, "view `{view}` has no state key `{}` ({})", Shown(key), List("declared", declared))
            }
            PushError::KeyRemoved { view, key } => {
                write!(f, "state key `{key}` of view `{view}` cannot be removed, only what is inside it")
            }
            PushError::BadPatch { view, operation_idx, pointer, reason } => {
                let pointer = Shown(pointer);
                write!(f, "operation {operation_idx} of the patch does not fit view `{view}` at `{pointer}`: {reason}")
            }
            PushError::TypeMismatch { view, key, reason } => {
                write!(f, "state key `{key}` of view `{view}` does not take this value: {reason}")
            }
            PushError::UnknownHandler { view, handler, declared } => {
                write!(f, "view `{view}` has no handler `{}` ({})", Shown(handler), List("declared", declared))
            }
            PushError::BadPayload { view, handler, reason } => {
                write!(f, "handler `{handler}` of view `{view}` does not take this payload: {reason}")
            }
            PushError::HandlerFailed { view, handler, reason } => {
                write!(f, "handler `{handler}` of view `{view}` failed: {reason}")
            }
            PushError::Template { view, error } => write!(f, "view `{view}` cannot be rendered: {error}"),
            PushError::RenderPanicked { view, reason } => {
                write!(f, "view `{view}` cannot be rendered: a panic: {reason}")
            }
            PushError::Html { view, error } => write!(f, "view `{view}` cannot be shown: {error}"),
            PushError::WrongSource { view, source, pushed } => {
                write!(f, "view `{view}` is {source} and takes no {pushed}")
            }
            PushError::WrongKey { view, reason } => write!(f, "view `{view}` {reason}"),
            PushError::TooManyDocuments { view, limit } => {
                write!(f, "view `{view}` has {limit} documents in use, as many as it may")
            }
            PushError::NotPrivate { view } => {
                write!(f, "view `{view}` shows everybody the same: a push to some of its viewers needs a private view")
            }
            PushError::Partly { view, n_refused, n_documents, error } => {
                write!(
                    f,
                    "{n_refused} of {n_documents} documents of view `{view}` refused the push, the first because: {error}"
                )
            }
            PushError::Lost { view } => write!(f, "the push to view `{view}` was lost in a panic of the engine"),
            PushError::Queued { view } => {
                write!(f, "the push to `{view}` waits: the server that owns the view, or others, cannot be reached now")
            }
            PushError::Unavailable { view } => {
                write!(f, "other servers cannot be reached for a push to `{view}`, and too many pushes wait for them")
            }
            PushError::Elsewhere { message, .. } => f.write_str(message),
            PushError::Application { view, reason } => {
                write!(f, "the application behind view `{view}` does not answer as it should: {reason}")
            }
            PushError::Invalid { view, handler, errors } => {
                write!(f, "handler `{handler}` of view `{view}` does not take this payload: {errors}")
            }
            PushError::Revoked { view } => write!(f, "view `{view}` was taken away from who calls it"),
            PushError::NameTaken { view } => write!(f, "there is a view `{view}` already"),
            PushError::BadName { view } => {
                write!(f, "`{}` cannot name a view (1 to 128 letters, digits, `-`, `_`, `.` and `:` can)", Shown(view))
            }
            PushError::BadState { view, reason } => {
                write!(f, "the state of view `{view}` cannot be used: {reason}")
            }
            PushError::BadEdit { view, handler, error } => {
                write!(f, "handler `{handler}` of view `{view}` cannot be declared: {error}")
            }
        }
    }
}

impl std::error::Error for PushError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The texts above hold the text of the cause, so the chain goes on behind it.
        match self {
            PushError::Template { error, .. } | PushError::BadEdit { error, .. } => error.source(),
            PushError::Partly { error, .. } => error.source(),
            _ => None,
        }
    }
}

/// A name that somebody sent: shortened and without control characters, so that it cannot flood or forge a log line.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_CHARS: usize = 64;
        let mut chars = self.0.chars();
        for char in chars.by_ref().take(MAX_CHARS) {
            write!(f, "{}", if char.is_control() || char == '`' { '\u{fffd}' } else { char })?;
        }
        if chars.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

struct List<'a>(&'a str, &'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_NAMES: usize = 12;
        let List(title, names) = self;
        write!(f, "{title}: ")?;
        if names.is_empty() {
            return f.write_str("none");
        }
        for (idx, name) in names.iter().take(MAX_NAMES).enumerate() {
            write!(f, "{}`{name}`", if idx == 0 { "" } else { ", " })?;
        }
        match names.len().saturating_sub(MAX_NAMES) {
            0 => Ok(()),
            n_more => write!(f, " and {n_more} more"),
        }
    }
}
