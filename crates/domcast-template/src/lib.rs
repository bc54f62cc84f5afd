//! Name and state to HTML text, with Jinja templates.
//!
//! ```
//! use domcast_template::Templates;
//!
//! let templates = Templates::from_sources([("greeting.html", "<p>Hello {{ name }}!</p>")]);
//! let state = std::collections::BTreeMap::from([("name", "Ada & Bob")]);
//! assert_eq!(templates.render("greeting.html", &state)?, "<p>Hello Ada &amp; Bob!</p>");
//! # Ok::<(), domcast_template::TemplateError>(())
//! ```
//!
//! A page that stays live keeps what it rendered, and asks what a change of state edits:
//!
//! ```
//! use domcast_template::{Edit, State, Templates};
//! use std::collections::BTreeMap;
//!
//! let templates = Templates::from_sources([("tea.html", "<ul>{% for t in teas %}<li>{{ t }}</li>{% endfor %}</ul>")]);
//! let mut state = State::new(&BTreeMap::from([("teas", vec!["black", "green"])]))?;
//! let mut instance = templates.program("tea.html")?.instance(&state)?;
//!
//! let changes = state.set("teas.1", "white")?;
//! let edits = instance.update(&state, &changes)?;
//! assert!(matches!(edits.iter().next(), Some(Edit::Hole { .. })));
//! assert_eq!(instance.html(), "<ul><li>black</li><li>white</li></ul>");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | | cost |
//! |---|---|
//! | [`Templates::program`] | parses; once per template |
//! | [`Program::instance`] | `O(output)` |
//! | [`Instance::update`], changes named | `O(change)`; `O(log n)` for each list on the way to it |
//! | [`Instance::swap`] | the same, and what nobody else holds is changed in place |
//! | [`Instance::update`], changes unknown | one pointer comparison for each item of each list, none in parts that it shares with the list before; then `O(change)` |
//! | [`State::renewed`] | one comparison for each scalar of the data; what differs is built |
//! | the same of data with [`Rows`] | one pointer comparison for them; to clone them is free, to change a row `O(log n)` |
//! | an opaque part | what the engine takes to render it |
//!
//! The engine is [minijinja]: inheritance, includes, macros and filters are those of Jinja2. What this crate adds is
//! limits, errors that show the place in the template, reloading, expressions over a state, and two filters. `rows | upsert(row)` is the
//! rows with `row` in the place of the one with its `id`, or at the end; `rows | without(42)` those whose `id` is another. Both take
//! another key (`upsert(row, "slug")`), and remember for the next time where the rows are.
//!
//! - **Escaping goes by file name**: templates named `.html`, `.htm`, `.xml` and `.svg` (a further `.j2`, `.jinja` or `.jinja2`
//!   does not count) have what they print escaped, all others have nothing escaped. It knows no contexts: a value
//!   inside `<script>` or in an unquoted attribute is the author's care.
//! - **Undefined names** behave as in Jinja2: one prints nothing and is false, but reading an attribute of one is an
//!   error. Choose another behaviour with [`Templates::configure`].
//! - **A rendering is bounded** ([`Limits`]): its output, and by `fuel` how long it takes and what it makes on the way, whatever a template
//!   and a state add up to. What exceeds a limit is refused ([`TemplateError::exceeds_limit`]), and nothing of it is kept. Templates are trusted
//!   code all the same: what a filter or `~` makes of a list that was put into itself again and again (`{% set l = [l, l] %}`) is
//!   counted only once it is made, of functions of your own what they return ([`minijinja::State::consume_fuel`] counts more), and how deep
//!   a loop may put values into each other (`{% set ns.l = [ns.l] %}`) is not bounded: the engine goes through them by recursion.

mod state; // what templates are rendered from, with identity
mod program; // a template compiled into regions
mod instance; // a rendered template, and what changes in it
mod engine; // the engine's inner parts, behind one door
mod fuel; // how much a rendering may do
mod output; // a text that is written up to a limit
mod filters; // beside the engine's own
mod templates; // names and state to text
mod error; // what went wrong, and where

pub use error::TemplateError;
pub use instance::{Edit, Edits, Fragment, FragmentId, HoleValue, Instance, Items, Slot, SwapError};
pub use minijinja;
pub use program::{Body, BodyId, For, Hole, If, Let, Name, Opaque, Part, PartKind, Program, Text};
pub use state::{Changes, Iter, List, Map, Operation, Path, Rows, State, StateError, Step};
pub use templates::{Limits, Templates};
