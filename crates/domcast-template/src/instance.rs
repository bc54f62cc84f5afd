//! A rendered template, kept so that a change of state becomes a list of edits.
//!
//! An [`Instance`] is a tree of *fragments*: each is one rendering of one body of the program, with a slot for each of the
//! body's parts. Fragments live in an arena under ids that do not change; a fragment that is dropped leaves its id to a
//! later one, but not before the update after the one that told of it ([`Edits::freed`]).
//!
//! [`Instance::html`] is byte for byte what the engine renders from the same template and state.

mod update; // a new state to edits
mod swap; // the same where parts are swapped in place
mod items; // the items of a loop: which stay, which come and go
mod targets; // what the items of a loop bind
mod index; // where among them a key is

pub use swap::SwapError;
pub use update::{Edit, Edits};

use crate::engine::Spent;
use crate::error::TemplateError;
use crate::fuel::Fuel;
use crate::output::prints_within;
use crate::program::PartKind;
use crate::program::expr::{Failed, LoopAt, Scope};
use crate::program::{Body, BodyId, Compiled, For, Hole, Program, Target};
use crate::state::{List, Path, State, Step};
use index::Index;
use minijinja::{HtmlEscape, Value};
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use targets::Targets;
use update::Spare;

/// Index of a fragment in the arena of its [`Instance`]. The first is the rendering of the whole template.
pub type FragmentId = u32;

/// A rendered template.
#[derive(Debug)]
pub struct Instance {
    program: Program,
    fragments: Vec<Fragment>,
    /// Ids without a fragment.
    free: Vec<FragmentId>,
    /// Ids that become free with the next update.
    freed: Vec<FragmentId>,
    /// Ids of the fragments that the update under way added.
    added: Vec<FragmentId>,
    /// The values of the paths that are read, in the order of the program's paths.
    seen: Vec<Seen>,
    /// What it prints takes at most so many bytes.
    most_bytes: usize,
    spare: Spare,
    /// The same of what was filled since that was counted.
    filled_bytes: usize,
    /// What may still be done before the engine is asked.
    fuel_left: usize,
}

/// What was at a path: a value, or how many steps of the way to it.
type Seen = Result<State, usize>;

/// One rendering of one body.
#[derive(Debug, Default)]
pub struct Fragment {
    /// The body that it renders.
    pub body: BodyId,
    /// What each part of the body holds, in the same order.
    pub slots: Box<[Slot]>,
}

/// What a part of a body holds in a fragment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Slot {
    /// A printed value.
    Hole(HoleValue),
    /// The branch that was taken: its number among the bodies of the `if`, and its fragment.
    Branch(Option<(u32, FragmentId)>),
    /// The items of a loop.
    Items(Box<Items>),
    /// Values that names are bound to.
    Bound(Box<[State]>),
    /// HTML as the engine wrote it.
    Html(Box<str>),
}

/// A value that a hole prints.
#[derive(Clone, Debug)]
pub struct HoleValue {
    /// Null, a boolean, a number or text.
    state: State,
    is_markup: bool,
    is_plain: bool,
}

/// The items of a loop.
#[derive(Clone, Debug)]
pub struct Items {
    /// The rendering of the loop's body for each.
    fragments: Vec<FragmentId>,
    /// What each binds, as many as there are fragments.
    targets: Targets,
    /// Where each key is, if that was asked for. It is that of the targets.
    index: Option<Box<Index>>,
    otherwise: Option<FragmentId>,
    /// The length that the loop tells its body, if it is known beforehand.
    len: Option<usize>,
}

/// What the names of a target are bound to.
#[derive(Clone, Debug)]
pub(crate) enum Bound {
    One(State),
    Many(Box<[State]>),
}

impl Bound {
    pub(crate) fn as_slice(&self) -> &[State] {
        match self {
            Bound::One(state) => std::slice::from_ref(state),
            Bound::Many(states) => states,
        }
    }
}

impl HoleValue {
    /// What a hole prints.
    fn new(hole: &Hole, scope: &Scope<'_>) -> Result<HoleValue, Failed> {
        if let Some(State::Text(text)) = scope.peek(&hole.expr) {
            let (is_markup, is_plain) = (!hole.escapes, is_plain(text));
            return Ok(HoleValue { state: State::Text(Arc::clone(text)), is_markup, is_plain });
        }
        let value = scope.eval(&hole.expr)?;
        let (state, is_safe) = match &*value {
            State::Null | State::Bool(_) | State::Int(_) | State::Float(_) | State::Text(_) => {
                (value.into_owned(), false)
            }
            state if scope.refuses(state) => return Err(Failed),
            State::Other(other) if other.kind() == minijinja::value::ValueKind::Invalid => return Err(Failed),
            State::Other(other) => (scope.print(other)?, other.is_safe()),
            State::List(_) | State::Map(_) => (scope.print(&value.to_value())?, false),
        };
        let is_plain = match &state {
            State::Text(text) => is_plain(text),
            _ => true,
        };
        Ok(HoleValue { state, is_markup: is_safe || !hole.escapes, is_plain })
    }

    /// The value as text, not escaped. As it stands it is a text node's text or an attribute's value, unless it
    /// [is markup](Self::is_markup).
    pub fn text(&self) -> Cow<'_, str> {
        match &self.state {
            State::Text(text) => Cow::Borrowed(text),
            State::Bool(bool) => Cow::Borrowed(if *bool { "True" } else { "False" }),
            other => Cow::Owned(other.to_value().to_string()),
        }
    }

    /// The same, if it is a text already.
    #[inline]
    pub fn as_str(&self) -> Option<&str> {
        match &self.state {
            State::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Appends the value as [text](Self::text) does.
    #[inline]
    pub fn push_text(&self, text: &mut String) {
        match &self.state {
            State::Text(value) => text.push_str(value),
            State::Int(int) => text.push_str(itoa::Buffer::new().format(*int)),
            _ => text.push_str(&self.text()),
        }
    }

    /// Whether the text is HTML as it stands: marked as safe, or printed where nothing is escaped.
    pub fn is_markup(&self) -> bool {
        self.is_markup
    }

    /// Whether the text is the same in HTML, in a node and in a value: nothing in it is escaped, nothing is markup, and nothing is what a
    /// parser changes.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Writes it as it stands in the HTML.
    #[inline]
    pub fn write_html(&self, html: &mut String) {
        match &self.state {
            State::Text(text) if self.is_plain || self.is_markup => html.push_str(text),
            State::Text(text) => _ = write!(html, "{}", HtmlEscape(text)),
            State::Int(int) => html.push_str(itoa::Buffer::new().format(*int)),
            _ => html.push_str(&self.text()),
        }
    }

    fn most_bytes(&self) -> usize {
        match &self.state {
            State::Text(text) => most_text_bytes(text, self.is_plain || self.is_markup),
            State::Null | State::Bool(_) | State::Int(_) => INT_BYTES,
            _ => most_text_bytes(&self.text(), false),
        }
    }

    fn is_same(&self, other: &HoleValue) -> bool {
        self.is_markup == other.is_markup && self.state.is_same(&other.state)
    }
}

// Most slots are these. Each is pushed by a function of its own that is not inlined, and made once there is room for it, because it is then
// made where it stays. Else it is made elsewhere and moved, and the processor waits until what was written piece by piece can be read as
// a whole: a third of the time that filling took.

#[inline(never)]
fn push_no_branch(slots: &mut Vec<Slot>) {
    slots.extend(std::iter::once_with(|| Slot::Branch(None)));
}

#[inline(never)]
fn push_int(slots: &mut Vec<Slot>, int: i64, is_markup: bool) {
    let make = || Slot::Hole(HoleValue { state: State::Int(int), is_markup, is_plain: true });
    slots.extend(std::iter::once_with(make));
}

#[inline(never)]
fn push_text(slots: &mut Vec<Slot>, text: Arc<str>, is_markup: bool, is_plain: bool) {
    let make = || Slot::Hole(HoleValue { state: State::Text(text), is_markup, is_plain });
    slots.extend(std::iter::once_with(make));
}

/// As many as an integer can take.
const INT_BYTES: usize = 20;

/// `'` is written as `&#x27;`.
const LONGEST: usize = 6;

/// A text takes at most so many bytes in HTML.
fn most_text_bytes(text: &str, is_as_it_stands: bool) -> usize {
    if is_as_it_stands { text.len() } else { LONGEST * text.len() }
}

/// Whether a text has none of the characters that the engine escapes or a parser changes.
fn is_plain(text: &str) -> bool {
    const IS_ODD: [bool; 256] = {
        let mut is_odd = [false; 256];
        let (odd, mut idx) = (b"<>&\"'/\r\0", 0);
        while idx < odd.len() {
            is_odd[odd[idx] as usize] = true;
            idx += 1;
        }
        is_odd
    };
    // Without an early end it needs no branch for each byte.
    !text.bytes().fold(false, |has_odd, byte| has_odd | IS_ODD[usize::from(byte)])
}

impl Items {
    /// The rendering of the loop's body for each item, in order.
    pub fn fragments(&self) -> &[FragmentId] {
        &self.fragments
    }

    /// The rendering of the loop's `else`, if it has one and there is no item.
    pub fn otherwise(&self) -> Option<FragmentId> {
        self.otherwise
    }
}

impl Program {
    /// Renders the template over `state`, and keeps the result.
    ///
    /// # Errors
    ///
    /// [`TemplateError`]: as [`Templates::render`](crate::Templates::render), and the same.
    pub fn instance(&self, state: &State) -> Result<Instance, TemplateError> {
        let mut instance = Instance {
            program: self.clone(),
            fragments: vec![Fragment::default()],
            free: Vec::new(),
            freed: Vec::new(),
            added: Vec::new(),
            seen: Vec::new(),
            most_bytes: 0,
            spare: Spare::default(),
            filled_bytes: 0,
            fuel_left: Spent::limit(&self.cell.borrow_owner().environment),
        };
        instance.create(state).map_err(|Failed| self.error(state))?;
        Ok(instance)
    }

    /// The error that the engine reports where a region failed.
    fn error(&self, state: &State) -> TemplateError {
        let sources = self.cell.borrow_owner();
        match sources.templates.render_with(&sources.environment, &sources.name, state.to_value()) {
            Err(error) => error,
            // A function that fails now and then.
            Ok(_) => TemplateError::of_region(&sources.name),
        }
    }

    /// The most bytes that a rendering may have.
    pub(crate) fn output_bytes(&self) -> usize {
        self.cell.borrow_owner().templates.limits().output_bytes
    }

    pub(crate) fn scope<'a>(&'a self, state: &'a State, fuel_left: usize) -> Scope<'a> {
        let environment = &*self.cell.borrow_owner().environment;
        Scope {
            compiled: self.cell.borrow_dependent(),
            program: self,
            fuel: Fuel::new(fuel_left),
            environment,
            undefined: environment.undefined_behavior(),
            state,
            locals: Vec::new(),
            loops: Vec::new(),
            fields: Vec::new(),
        }
    }

    /// What the engine renders, and what that takes.
    pub(crate) fn render_whole(&self, state: &State) -> Result<(String, Spent), Failed> {
        let sources = self.cell.borrow_owner();
        let html = sources.templates.render_with(&sources.environment, &sources.name, state.to_value());
        html.map_err(|_| Failed)
    }
}

impl Instance {
    /// The program that it is an instance of.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The fragment with an id.
    ///
    /// # Panics
    ///
    /// If there never was one.
    pub fn fragment(&self, id: FragmentId) -> &Fragment {
        &self.fragments[id as usize]
    }

    /// One more than the largest id there is: the length of a column of something per fragment.
    pub fn n_ids(&self) -> usize {
        self.fragments.len()
    }

    /// The whole HTML.
    pub fn html(&self) -> String {
        let mut html = String::new();
        self.write_html(0, &mut html);
        html
    }

    /// Writes the HTML of one fragment.
    pub fn write_html(&self, fragment: FragmentId, html: &mut String) {
        let fragment = self.fragment(fragment);
        let body = self.program.body(fragment.body);
        let (last, texts) = body.texts.split_last().expect("there is text behind the last part");
        for (text, slot) in texts.iter().zip(&fragment.slots) {
            html.push_str(&text.text);
            match slot {
                Slot::Hole(value) => value.write_html(html),
                Slot::Branch(Some((_, fragment))) => self.write_html(*fragment, html),
                Slot::Branch(None) | Slot::Bound(_) => {}
                Slot::Items(items) => {
                    let start = html.len();
                    if let Some((first, others)) = items.fragments.split_first() {
                        self.write_html(*first, html);
                        // Most items are about as long as the first one; a little more room spares a copy of all.
                        let n_bytes = others.len().saturating_mul((html.len() - start) / 8 * 9 + 8);
                        html.reserve(n_bytes.min(self.most_bytes.saturating_sub(html.len())));
                        others.iter().for_each(|fragment| self.write_html(*fragment, html));
                    }
                    items.otherwise.iter().for_each(|fragment| self.write_html(*fragment, html));
                }
                Slot::Html(text) => html.push_str(text),
            }
        }
        html.push_str(&last.text);
    }

    /// Counts what may have been added to the output, besides what was filled, and what the scope did.
    ///
    /// # Errors
    ///
    /// [`Failed`]: the rendering exceeds its [`Limits`](crate::Limits).
    fn grow(&mut self, n_bytes: usize, scope: &Scope<'_>) -> Result<(), Failed> {
        let limit_bytes = self.program.output_bytes();
        let n_bytes = n_bytes + std::mem::take(&mut self.filled_bytes);
        scope.charge(n_bytes / 64 + 1)?;
        self.most_bytes += n_bytes;
        if self.most_bytes > limit_bytes {
            let n_bytes = self.html().len();
            if n_bytes > limit_bytes {
                return Err(Failed);
            }
            self.most_bytes = n_bytes;
        }
        self.fuel_left = scope.fuel.left();
        Ok(())
    }

    fn create(&mut self, state: &State) -> Result<(), Failed> {
        let program = self.program.clone();
        let mut scope = program.scope(state, self.fuel_left);
        scope.charge(scope.compiled.fuel)?;
        self.seen = scope.compiled.paths.iter().map(|path| seen(state, path)).collect();
        let slots = self.fill(0, &mut scope)?;
        self.fragments[0] = Fragment { body: 0, slots };
        self.grow(0, &scope)
    }

    /// Renders a body into a new fragment.
    fn add(&mut self, body: BodyId, scope: &mut Scope<'_>) -> Result<FragmentId, Failed> {
        let slots = self.fill(body, scope)?;
        let id = match self.free.pop() {
            Some(id) => {
                self.fragments[id as usize] = Fragment { body, slots };
                id
            }
            None => {
                self.fragments.push(Fragment { body, slots });
                (self.fragments.len() - 1) as FragmentId
            }
        };
        self.added.push(id);
        Ok(id)
    }

    fn fill(&mut self, body: BodyId, scope: &mut Scope<'_>) -> Result<Box<[Slot]>, Failed> {
        let compiled: &Compiled<'_> = scope.compiled;
        let Body { parts, n_locals, text_bytes, .. } = &compiled.bodies[body as usize];
        self.filled_bytes += text_bytes;
        let mut slots = Vec::with_capacity(parts.len());
        for part in parts {
            match &part.kind {
                PartKind::Hole(hole) => {
                    let is_markup = !hole.escapes;
                    match scope.peek(&hole.expr) {
                        Some(State::Int(int)) => {
                            self.filled_bytes += INT_BYTES;
                            push_int(&mut slots, *int, is_markup);
                        }
                        Some(State::Text(text)) => {
                            let is_plain = is_plain(text);
                            self.filled_bytes += most_text_bytes(text, is_plain || is_markup);
                            push_text(&mut slots, Arc::clone(text), is_markup, is_plain);
                        }
                        _ => {
                            let value = HoleValue::new(hole, scope)?;
                            self.filled_bytes += value.most_bytes();
                            slots.push(Slot::Hole(value));
                        }
                    }
                }
                PartKind::If(of) => match scope.choose(of)? {
                    Some(branch) => {
                        let inner = self.add(of.bodies[branch as usize], scope)?;
                        slots.push(Slot::Branch(Some((branch, inner))));
                    }
                    None => push_no_branch(&mut slots),
                },
                PartKind::For(of) => slots.push(Slot::Items(Box::new(self.fill_items(of, scope)?))),
                PartKind::Let(of) => {
                    let bound = bind(&of.target, scope.eval(&of.expr)?.into_owned())?;
                    let bound: Box<[State]> = bound.as_slice().into();
                    scope.bind(&bound);
                    slots.push(Slot::Bound(bound));
                }
                PartKind::Opaque(of) => {
                    let html = self.opaque(of, scope)?;
                    self.filled_bytes += html.len();
                    slots.push(Slot::Html(html.into()));
                }
            }
        }
        scope.locals.truncate(*n_locals);
        Ok(slots.into())
    }

    fn opaque(&self, of: &crate::program::Opaque, scope: &Scope<'_>) -> Result<String, Failed> {
        match of.code {
            Some(code) => scope.text(code),
            None => self.program.render_whole(scope.state).map(|(text, _)| text),
        }
    }

    fn fill_items(&mut self, of: &For, scope: &mut Scope<'_>) -> Result<Items, Failed> {
        let (targets, len) = scope.targets(of)?;
        let mut fragments = Vec::with_capacity(targets.len());
        self.fragments.reserve(targets.len());
        self.added.reserve(targets.len());
        match scope.list_of(of) {
            // The items are those of the targets.
            Some(list) => {
                scope.expect_many();
                let n_locals = scope.enter(&[State::Null], LoopAt { index0: 0, len });
                for item in list.leaves().into_iter().flatten() {
                    scope.charge(of.fuel)?;
                    scope.go_to(n_locals, item, fragments.len());
                    fragments.push(self.add(of.body, scope)?);
                }
                scope.leave(n_locals);
            }
            None => {
                for index0 in 0..targets.len() {
                    fragments.push(self.add_item(of, (&targets, None), LoopAt { index0, len }, scope)?);
                }
            }
        }
        let otherwise = match of.otherwise {
            Some(body) if fragments.is_empty() => Some(self.add(body, scope)?),
            _ => None,
        };
        Ok(Items { fragments, targets, index: None, otherwise, len })
    }

    /// Adds the rendering of the item at a position of the targets; `item` is that of the state, if it is one of a list there.
    fn add_item<'a>(
        &mut self,
        of: &For,
        (targets, item): (&Targets, Option<&'a State>),
        at: LoopAt,
        scope: &mut Scope<'a>,
    ) -> Result<FragmentId, Failed> {
        scope.charge(of.fuel)?;
        let n_locals = match item {
            Some(item) => scope.enter_item(item, at),
            None => scope.enter(targets.get(at.index0), at),
        };
        let fragment = self.add(of.body, scope);
        scope.leave(n_locals);
        fragment
    }
}

impl<'a> Scope<'a> {
    /// The number of the branch that is taken.
    fn choose(&self, of: &crate::program::If) -> Result<Option<u32>, Failed> {
        for (branch, test) in of.tests.iter().enumerate() {
            if self.test(test)? {
                return Ok(Some(branch as u32));
            }
        }
        Ok((of.bodies.len() > of.tests.len()).then_some(of.tests.len() as u32))
    }

    /// What a value of the engine prints.
    fn print(&self, value: &Value) -> Result<State, Failed> {
        let text = prints_within(value, self.program.output_bytes()).then(|| value.to_string()).ok_or(Failed)?;
        self.charge(text.len() / 4 * LONGEST + 1)?;
        Ok(State::from(text))
    }

    /// Binds the variables of a loop and `loop` itself; returns how many variables there were.
    fn enter(&mut self, target: &[State], at: LoopAt) -> usize {
        let n_locals = self.locals.len();
        self.bind(target);
        self.enter_loop(at);
        n_locals
    }

    /// The same for an item of the state, which is not copied.
    fn enter_item(&mut self, item: &'a State, at: LoopAt) -> usize {
        let n_locals = self.locals.len();
        self.locals.push(Cow::Borrowed(item));
        self.enter_loop(at);
        n_locals
    }

    /// Goes on to another item of the loop that was entered last.
    #[inline]
    fn go_to(&mut self, local: usize, item: &'a State, index0: usize) {
        self.locals[local] = Cow::Borrowed(item);
        if let Some(at) = self.loops.last_mut() {
            at.index0 = index0;
        }
    }

    fn enter_loop(&mut self, at: LoopAt) {
        self.locals.push(Cow::Owned(State::Null));
        self.loops.push(at);
    }

    /// Binds variables.
    fn bind(&mut self, states: &[State]) {
        self.locals.extend(states.iter().cloned().map(Cow::Owned));
    }

    fn leave(&mut self, n_locals: usize) {
        self.loops.pop();
        self.locals.truncate(n_locals);
    }

    /// The list of the state that a loop runs over, if it binds its items as they are.
    fn list_of(&self, of: &For) -> Option<&'a Arc<List>> {
        match self.kept(&of.iter) {
            Some(State::List(list)) if of.binds_items() => Some(list),
            _ => None,
        }
    }

    /// What a loop runs over, and the length that it tells its body.
    fn targets(&mut self, of: &For) -> Result<(Targets, Option<usize>), Failed> {
        let list = self.eval(&of.iter)?;
        if let (true, State::List(list)) = (of.binds_items(), &*list) {
            return Ok((Targets::Shared(list.clone()), Some(list.len())));
        }
        let mut len = None;
        let states: Vec<State> = match &*list {
            State::List(list) => list.iter().cloned().collect(),
            State::Map(map) => map.iter().map(|(key, _)| State::Text(key.clone())).collect(),
            State::Null => Vec::new(),
            state if self.refuses(state) => return Err(Failed),
            other => {
                let values = other.to_value().try_iter().map_err(|_| Failed)?;
                let hint = values.size_hint();
                len = Some((hint.1 == Some(hint.0)).then_some(hint.0));
                let is_valid = |value: &Value| value.kind() != minijinja::value::ValueKind::Invalid;
                let checked = values.map(|value| {
                    self.charge(of.fuel)?;
                    is_valid(&value).then(|| State::from_value(value)).ok_or(Failed)
                });
                checked.collect::<Result<_, _>>()?
            }
        };
        let mut targets = Vec::with_capacity(states.len());
        for state in states {
            targets.push(bind(&of.target, state)?);
        }
        if let Some(filter) = &of.filter {
            let mut kept = Vec::new();
            for target in targets {
                self.charge(of.fuel)?;
                let n_locals = self.locals.len();
                self.bind(target.as_slice());
                let is_kept = self.test(filter);
                self.locals.truncate(n_locals);
                if is_kept? {
                    kept.push(target);
                }
            }
            targets = kept;
            len = None;
        }
        let len = len.unwrap_or(Some(targets.len()));
        Ok((Targets::Bound(targets.into()), len))
    }
}

/// Unpacks a value into the names of a target.
fn bind(target: &Target, state: State) -> Result<Bound, Failed> {
    match target {
        Target::Name => Ok(Bound::One(state)),
        Target::List(_) => {
            let mut bound = Vec::with_capacity(target.n_names());
            unpack(target, state, &mut bound)?;
            Ok(Bound::Many(bound.into()))
        }
    }
}

fn unpack(target: &Target, state: State, bound: &mut Vec<State>) -> Result<(), Failed> {
    match target {
        Target::Name => bound.push(state),
        Target::List(targets) => {
            let value = state.to_value();
            let values = value.as_object().and_then(|object| object.try_iter()).ok_or(Failed)?;
            let values: Vec<_> = values.collect();
            if values.len() != targets.len() {
                return Err(Failed);
            }
            for (target, value) in targets.iter().zip(values) {
                if value.kind() == minijinja::value::ValueKind::Invalid {
                    return Err(Failed);
                }
                unpack(target, State::from_value(value), bound)?;
            }
        }
    }
    Ok(())
}

/// What is at a path of a state. What the engine alone can look into stands for all in it.
fn seen(state: &State, path: &Path) -> Seen {
    let mut state = state;
    for (n_steps, step) in path.steps().iter().enumerate() {
        state = match (state, step) {
            (State::Map(map), Step::Key(key)) => map.get(key).ok_or(n_steps)?,
            (State::List(list), Step::Index(idx)) => list.get(*idx).ok_or(n_steps)?,
            (State::Other(_) | State::Text(_), _) => break,
            _ => return Err(n_steps),
        };
    }
    Ok(state.clone())
}
