//! A template compiled into regions that know what they read.
//!
//! A [`Program`] is a list of bodies. A [`Body`] is a run of [`Part`]s: text that never changes, holes, branches, loops,
//! names that are bound, and *opaque* parts, which the engine renders as a whole. Inheritance, blocks, `super()` and
//! includes are resolved when the template is compiled, where the names in them are constants; what they bring is in the
//! body that they stand in. Branches and loops name the bodies that they render, so the program is a tree of bodies.
//!
//! Each part knows its [`Reads`]: which paths of the state, which variables around it, and whether it calls anything that
//! may give something else the next time. Nothing is reused unless all that it reads is as it was.
//!
//! Whatever is not understood becomes opaque: one part where the rest of the template does not depend on it, the whole
//! template where it might. [`Program::explain`] says which and why.

mod compile; // a syntax tree to bodies
mod compared; // variables around a loop that are only compared with its items
mod explain; // a program as text
pub(crate) mod expr; // expressions that need no engine

use crate::engine::Code;
use crate::error::TemplateError;
use crate::state::Path;
use crate::templates::Templates;
pub(crate) use compared::Compared;
pub use compile::Name;
use expr::Expr;
use minijinja::{AutoEscape, Environment};
use std::fmt;
use std::sync::Arc;

/// A template compiled into regions. Clones share it.
#[derive(Clone)]
pub struct Program {
    pub(crate) cell: Arc<Cell>,
}

self_cell::self_cell!(
    /// The sources, and what borrows from them.
    pub(crate) struct Cell {
        owner: Sources,
        #[covariant]
        dependent: Compiled,
    }
);

pub(crate) struct Sources {
    pub(crate) environment: Arc<Environment<'static>>,
    pub(crate) templates: Templates,
    pub(crate) name: String,
    /// Names and texts of all templates that are compiled into one.
    pub(crate) texts: Vec<(String, String)>,
}

pub(crate) struct Compiled<'a> {
    pub(crate) bodies: Vec<Body>,
    pub(crate) codes: Vec<EngineCode<'a>>,
    /// The paths that are read; a bit of [`Bits`] each.
    pub(crate) paths: Vec<Path>,
    /// How many expressions are paths.
    pub(crate) n_fields: u32,
    /// Most of what the engine does for a rendering, loops apart.
    pub(crate) fuel: usize,
}

/// Code that the engine runs, and the variables that it gets besides the state.
pub(crate) struct EngineCode<'a> {
    pub(crate) code: Code<'a>,
    pub(crate) escape: AutoEscape,
    pub(crate) captures: Vec<(Box<str>, Captured)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Captured {
    Local(usize),
    Loop(usize),
}

/// Index of a [`Body`] in [`Program::bodies`]. The first is the template.
pub type BodyId = u32;

/// A run of parts with text around them, rendered one after the other.
#[derive(Debug)]
pub struct Body {
    /// What it consists of besides text, in order.
    pub parts: Vec<Part>,
    /// The text in front of each part, and behind the last one.
    pub texts: Vec<Text>,
    /// The part that holds the key of the first element, if it has one that is a hole: `dc-key`, else `data-key`, else `id`.
    pub key: Option<u32>,
    pub(crate) reads: Reads,
    /// How many variables there are when it begins.
    pub(crate) n_locals: usize,
    /// How many bytes the text takes.
    pub(crate) text_bytes: usize,
    /// The parts in which a loop may run over a list of the state.
    pub(crate) loops: Vec<u32>,
}

impl Body {
    /// A body; `inner` are those that were made before, among them all that its parts render.
    pub(crate) fn new(
        Parts { parts, texts }: Parts,
        key: Option<u32>,
        reads: Reads,
        n_locals: usize,
        inner: &[Body],
    ) -> Body {
        let text_bytes = texts.iter().map(|text| text.text.len()).sum();
        let has_loop = |part: &Part| match &part.kind {
            PartKind::For(of) => of.binds_items() && matches!(of.iter, Expr::Path(..)),
            PartKind::If(of) => of.bodies.iter().any(|body| !inner[*body as usize].loops.is_empty()),
            _ => false,
        };
        let loops = (0..).zip(&parts).filter(|(_, part)| has_loop(part)).map(|(idx, _)| idx).collect();
        Body { parts, texts, key, reads, n_locals, text_bytes, loops }
    }
}

/// The parts of a body, and the text around them.
#[derive(Debug)]
pub(crate) struct Parts {
    parts: Vec<Part>,
    texts: Vec<Text>,
}

impl Parts {
    pub(crate) fn new() -> Parts {
        Parts { parts: Vec::new(), texts: vec![Text::default()] }
    }

    /// One part without text.
    pub(crate) fn one(part: Part) -> Parts {
        let mut parts = Parts::new();
        parts.push(part);
        parts
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Part> {
        self.parts.iter()
    }

    pub(crate) fn push(&mut self, part: Part) {
        self.parts.push(part);
        self.texts.push(Text::default());
    }

    /// Adds to the text behind the last part.
    pub(crate) fn push_text(&mut self, text: &str, template: &str, line: u32) {
        let last = self.texts.last_mut().expect("there is text behind the last part");
        if last.text.is_empty() {
            *last = Text { text: text.into(), template: template.into(), line };
        } else {
            last.text = format!("{}{text}", last.text).into();
        }
    }

    /// The parts with the text in front of each, in order.
    pub(crate) fn with_texts(&self) -> impl Iterator<Item = (&Text, Option<&Part>)> {
        self.texts.iter().zip(self.parts.iter().map(Some).chain([None]))
    }
}

/// Text that never changes; mostly there is some between two parts.
#[derive(Debug, Default)]
pub struct Text {
    /// What it says.
    pub text: Box<str>,
    /// The template that it stands in.
    pub template: Arc<str>,
    /// The line there, from 1.
    pub line: u32,
}

/// A part of a body.
#[derive(Debug)]
pub struct Part {
    /// What kind of part it is.
    pub kind: PartKind,
    /// The template that it stands in.
    pub template: Arc<str>,
    /// The line there, from 1.
    pub line: u32,
    pub(crate) reads: Reads,
    /// Its source, or why it is opaque.
    pub(crate) note: Box<str>,
}

/// What a part of a body is.
#[derive(Debug)]
#[non_exhaustive]
pub enum PartKind {
    /// An expression whose value is printed.
    Hole(Hole),
    /// At most one of several bodies.
    If(If),
    /// One body for each item of a list.
    For(For),
    /// Binds names for the parts after it; prints nothing.
    Let(Let),
    /// Rendered by the engine; what it prints is HTML as it stands.
    Opaque(Opaque),
}

/// An expression whose value is printed.
#[derive(Debug)]
pub struct Hole {
    pub(crate) expr: Expr,
    /// Whether what is printed is escaped, unless the value is marked as safe.
    pub escapes: bool,
}

/// At most one of several bodies.
#[derive(Debug)]
pub struct If {
    pub(crate) tests: Vec<Expr>,
    /// The body of each test, in order, then that of `else`, which may be empty.
    pub bodies: Vec<BodyId>,
}

/// One body for each item of a list.
#[derive(Debug)]
pub struct For {
    pub(crate) iter: Expr,
    pub(crate) target: Target,
    pub(crate) filter: Option<Expr>,
    /// Whether the body's output depends on where in the list an item is, or on how many there are.
    pub(crate) reads_position: bool,
    pub(crate) reads_length: bool,
    /// Reads of the body and the filter that do not come from the item.
    pub(crate) outer: Reads,
    /// What of that is only compared with the items.
    pub(crate) compared: Vec<Compared>,
    /// Most of what the engine does for one item, loops in it apart.
    pub(crate) fuel: usize,
    /// Rendered for each item.
    pub body: BodyId,
    /// Rendered if there is no item.
    pub otherwise: Option<BodyId>,
}

impl For {
    /// Whether each item of the list is bound as it is, to one name.
    pub(crate) fn binds_items(&self) -> bool {
        self.filter.is_none() && matches!(self.target, Target::Name)
    }
}

/// Binds names for the parts after it.
#[derive(Debug)]
pub struct Let {
    pub(crate) target: Target,
    pub(crate) expr: Expr,
}

/// Rendered by the engine.
#[derive(Debug)]
pub struct Opaque {
    /// `None`: the whole template.
    pub(crate) code: Option<usize>,
}

/// What a value is bound to: a name, or a list of such, to unpack.
#[derive(Debug)]
pub(crate) enum Target {
    Name,
    List(Vec<Target>),
}

impl Target {
    pub(crate) fn n_names(&self) -> usize {
        match self {
            Target::Name => 1,
            Target::List(targets) => targets.iter().map(Target::n_names).sum(),
        }
    }
}

/// What a part reads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reads {
    pub(crate) paths: Bits,
    pub(crate) locals: Bits,
    /// Whether it must run whatever changed.
    pub(crate) is_volatile: bool,
}

impl Reads {
    pub(crate) fn add(&mut self, other: &Reads) {
        self.paths.add(&other.paths);
        self.locals.add(&other.locals);
        self.is_volatile |= other.is_volatile;
    }
}

/// A small set of numbers. Those beyond its size share the last one, which whoever asks must take as changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits(u128);

impl Bits {
    pub(crate) const SHARED: usize = 127;

    pub(crate) fn insert(&mut self, number: usize) {
        self.0 |= 1 << number.min(Bits::SHARED);
    }

    pub(crate) fn contains(&self, number: usize) -> bool {
        self.0 & (1 << number.min(Bits::SHARED)) != 0
    }

    pub(crate) fn add(&mut self, other: &Bits) {
        self.0 |= other.0;
    }

    pub(crate) fn meets(&self, other: &Bits) -> bool {
        self.0 & other.0 != 0
    }

    /// The only number in both sets, if there is just one and it is not shared.
    pub(crate) fn only_common(&self, other: &Bits) -> Option<usize> {
        let common = self.0 & other.0;
        let number = common.trailing_zeros() as usize;
        (common.is_power_of_two() && number != Bits::SHARED).then_some(number)
    }

    /// Drops the numbers from `end` on.
    pub(crate) fn truncate(&mut self, end: usize) {
        if end < 128 {
            self.0 &= (1 << end) - 1;
        }
    }

    /// Drops the numbers from `end` on, but not the one that is shared.
    pub(crate) fn leave(&mut self, end: usize) {
        self.truncate(end.min(Bits::SHARED));
        self.insert(Bits::SHARED);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0 == 0
    }
}

impl Program {
    pub(crate) fn new(
        templates: Templates,
        environment: Arc<Environment<'static>>,
        name: &str,
    ) -> Result<Program, TemplateError> {
        let texts =
            compile::texts(&environment, name).map_err(|error| TemplateError::new(name, error, templates.folder()))?;
        let sources = Sources { environment, templates, name: name.to_owned(), texts };
        let cell = Cell::new(sources, compile::compile);
        Ok(Program { cell: Arc::new(cell) })
    }

    /// The template's name.
    pub fn name(&self) -> &str {
        &self.cell.borrow_owner().name
    }

    /// Whether it is what these templates would compile now: neither were they read anew since, nor was their engine configured.
    pub fn is_current(&self, templates: &Templates) -> bool {
        Arc::ptr_eq(&self.cell.borrow_owner().environment, &templates.environment())
    }

    /// All bodies; the first is the template. A body is named by exactly one part of one body.
    pub fn bodies(&self) -> &[Body] {
        &self.cell.borrow_dependent().bodies
    }

    /// The body with an id.
    pub fn body(&self, id: BodyId) -> &Body {
        &self.bodies()[id as usize]
    }

    /// The names that the template takes from the state, each where it first stands. Those that it asks about (`is defined`, `default`) and those that it
    /// binds somewhere itself are left out, so that a state without one of these names is a mistake most likely.
    pub fn names(&self) -> Vec<Name> {
        compile::names(self.cell.borrow_owner(), self.cell.borrow_dependent())
    }

    /// The regions of the template as text: what each is, what it reads, and why it is opaque if it is.
    pub fn explain(&self) -> String {
        explain::explain(self)
    }

    /// One line of [`explain`](Self::explain): where a part stands, what it is and what it reads.
    pub fn describe(&self, body: BodyId, part: u32) -> String {
        explain::describe(self, self.body(body), part)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("name", &self.name()).finish_non_exhaustive()
    }
}
