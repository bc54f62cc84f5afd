//! Expressions that need no engine: paths, constants, comparisons and logic. The rest is code that the engine runs.
//!
//! They give what the engine gives. Where it would fail, they fail without saying why: the whole template is rendered
//! by the engine then, and its error is the one that is reported.

use super::{Captured, Compiled, EngineCode, Program};
use crate::engine::Spent;
use crate::error::is_out_of_fuel;
use crate::fuel::Fuel;
use crate::state::{Keys, Map, State, Step};
use minijinja::value::{Enumerator, Object, Value};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;
use std::sync::Arc;

/// An expression.
#[derive(Debug)]
pub(crate) enum Expr {
    Const(State),
    /// A path, and its number among the [fields](Scope::fields).
    Path(ReadFrom, Box<[Step]>, u32),
    Loop(usize, LoopField),
    Not(Box<Expr>),
    And(Box<(Expr, Expr)>),
    Or(Box<(Expr, Expr)>),
    Compare(Comparison, Box<(Expr, Expr)>),
    Choose(Box<(Expr, Expr, Expr)>),
    /// Run by the engine.
    Code(usize),
}

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadFrom {
    State,
    Local(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoopField {
    Index,
    Index0,
    Length,
    RevIndex,
    RevIndex0,
    First,
    Last,
    Depth,
    Depth0,
}

impl LoopField {
    pub(crate) fn named(name: &str) -> Option<LoopField> {
        Some(match name {
            "index" => LoopField::Index,
            "index0" => LoopField::Index0,
            "length" => LoopField::Length,
            "revindex" => LoopField::RevIndex,
            "revindex0" => LoopField::RevIndex0,
            "first" => LoopField::First,
            "last" => LoopField::Last,
            "depth" => LoopField::Depth,
            "depth0" => LoopField::Depth0,
            _ => return None,
        })
    }

    pub(crate) fn reads_length(self) -> bool {
        matches!(self, LoopField::Length | LoopField::RevIndex | LoopField::RevIndex0 | LoopField::Last)
    }

    pub(crate) fn reads_position(self) -> bool {
        !matches!(self, LoopField::Length | LoopField::Depth | LoopField::Depth0)
    }
}

/// Where a loop is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoopAt {
    pub(crate) index0: usize,
    /// How many items there are, if the engine knew beforehand.
    pub(crate) len: Option<usize>,
}

impl LoopAt {
    fn get(self, field: LoopField) -> State {
        let len = |value: fn(usize, usize) -> usize| {
            self.len.map_or(State::UNDEFINED, |len| State::from(value(len, self.index0)))
        };
        match field {
            LoopField::Index => State::from(self.index0 + 1),
            LoopField::Index0 => State::from(self.index0),
            LoopField::Length => len(|len, _| len),
            LoopField::RevIndex => len(|len, at| len.saturating_sub(at)),
            LoopField::RevIndex0 => len(|len, at| len.saturating_sub(at).saturating_sub(1)),
            LoopField::First => State::Bool(self.index0 == 0),
            LoopField::Last => State::Bool(self.len.is_some_and(|len| len == 0 || self.index0 == len - 1)),
            LoopField::Depth => State::Int(1),
            LoopField::Depth0 => State::Int(0),
        }
    }
}

/// An evaluation that the engine would refuse.
#[derive(Debug)]
pub(crate) struct Failed;

/// Where a key was.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    keys: &'a Keys,
    idx: usize,
}

/// What expressions are evaluated in.
pub(crate) struct Scope<'a> {
    pub(crate) compiled: &'a Compiled<'a>,
    pub(crate) program: &'a Program,
    pub(crate) fuel: Fuel,
    pub(crate) environment: &'a Environment<'static>,
    pub(crate) undefined: UndefinedBehavior,
    pub(crate) state: &'a State,
    pub(crate) locals: Vec<Cow<'a, State>>,
    pub(crate) loops: Vec<LoopAt>,
    /// For each path, the keys of the map that it began in last, and where among them its first step was. Rows have the same keys, mostly.
    /// Empty as long as there are not [many](Scope::expect_many).
    pub(crate) fields: Vec<Cell<Option<Field<'a>>>>,
}

impl<'a> Scope<'a> {
    /// Counts what is done. Items count half.
    #[inline]
    pub(crate) fn charge(&self, n: usize) -> Result<(), Failed> {
        self.fuel.charge(n, self.program, self.state)
    }

    pub(crate) fn eval<'s>(&'s self, expr: &'s Expr) -> Result<Cow<'s, State>, Failed> {
        match expr {
            Expr::Const(state) => Ok(Cow::Borrowed(state)),
            Expr::Path(from, steps, _) => match self.peek(expr) {
                Some(state) => Ok(Cow::Borrowed(state)),
                None => self.read(*from, steps),
            },
            Expr::Loop(level, field) => Ok(Cow::Owned(self.loops[*level].get(*field))),
            Expr::Not(inner) => Ok(Cow::Owned(State::Bool(!self.test(inner)?))),
            Expr::And(pair) => self.logic(pair, false),
            Expr::Or(pair) => self.logic(pair, true),
            Expr::Compare(comparison, pair) => Ok(Cow::Owned(State::Bool(self.compare(*comparison, pair)?))),
            Expr::Choose(of) => self.eval(if self.test(&of.0)? { &of.1 } else { &of.2 }),
            Expr::Code(code) => Ok(Cow::Owned(State::from_value(self.run(*code)?))),
        }
    }

    /// The part of the state that a path leads to, if it is there and the way to it is maps and lists of the state.
    #[inline]
    pub(crate) fn kept(&self, expr: &Expr) -> Option<&'a State> {
        let Expr::Path(from, steps, field) = expr else { return None };
        let from = match from {
            ReadFrom::State => self.state,
            ReadFrom::Local(local) => match self.locals[*local] {
                Cow::Borrowed(state) => state,
                Cow::Owned(_) => return None,
            },
        };
        match (from, &**steps) {
            (State::Map(map), [Step::Key(key), rest @ ..]) => walk(self.field(map, key, *field)?, rest),
            (from, steps) => walk(from, steps),
        }
    }

    /// What a key of a map of the state has.
    #[inline]
    fn field(&self, map: &'a Map, key: &str, field: u32) -> Option<&'a State> {
        let Some(field) = self.fields.get(field as usize) else { return map.get(key) };
        match field.get() {
            // What the state borrows stays where it is, so that one address is one list of keys.
            Some(Field { keys, idx }) if std::ptr::eq(keys, map.keys()) => Some(map.at(idx)),
            _ => {
                let idx = map.keys().position(key)?;
                field.set(Some(Field { keys: map.keys(), idx }));
                Some(map.at(idx))
            }
        }
    }

    /// Expects that many items are rendered.
    pub(crate) fn expect_many(&mut self) {
        self.fields.resize(self.compiled.n_fields as usize, Cell::new(None));
    }

    /// What an expression gives that need not be made: a constant, or what a path through maps and lists leads to.
    #[inline]
    pub(crate) fn peek<'s>(&'s self, expr: &'s Expr) -> Option<&'s State> {
        match expr {
            Expr::Const(state) => Some(state),
            Expr::Path(ReadFrom::Local(local), steps, _) => match &self.locals[*local] {
                Cow::Borrowed(_) => self.kept(expr),
                Cow::Owned(state) => walk(state, steps),
            },
            expr => self.kept(expr),
        }
    }

    /// Whether an `if` takes the value.
    pub(crate) fn test(&self, expr: &Expr) -> Result<bool, Failed> {
        if let Expr::Compare(comparison, pair) = expr {
            return self.compare(*comparison, pair);
        }
        self.is_true(&*self.eval(expr)?)
    }

    fn is_true(&self, state: &State) -> Result<bool, Failed> {
        match state {
            state if self.undefined == UndefinedBehavior::Strict && self.refuses(state) => Err(Failed),
            state => Ok(state.is_true()),
        }
    }

    /// Whether the engine refuses to use an undefined value.
    pub(crate) fn refuses(&self, state: &State) -> bool {
        let is_strict = matches!(self.undefined, UndefinedBehavior::Strict | UndefinedBehavior::SemiStrict);
        // An `if` without `else` gives one that may be used. Only the engine can tell, by printing it.
        let is_refused = |value: &Value| self.environment.empty_state().format(value.clone()).is_err();
        matches!(state, State::Other(value) if is_strict && value.is_undefined() && is_refused(value))
    }

    fn logic<'s>(&'s self, pair: &'s (Expr, Expr), ends_with: bool) -> Result<Cow<'s, State>, Failed> {
        let left = self.eval(&pair.0)?;
        if self.is_true(&left)? == ends_with { Ok(left) } else { self.eval(&pair.1) }
    }

    /// Reads a path as the engine's lookups do, one attribute or item after the other.
    fn read<'s>(&'s self, from: ReadFrom, steps: &[Step]) -> Result<Cow<'s, State>, Failed> {
        let (mut state, steps) = match from {
            ReadFrom::Local(local) => (&*self.locals[local], steps),
            ReadFrom::State => match (self.state, steps) {
                (State::Map(map), [Step::Key(key), rest @ ..]) => match map.get(key) {
                    Some(state) => (state, rest),
                    None => return self.read_undefined(rest),
                },
                _ => return self.read_undefined(&steps[1..]),
            },
        };
        for (idx, step) in steps.iter().enumerate() {
            state = match (state, step) {
                (State::Map(map), Step::Key(key)) => match map.get(key) {
                    Some(state) => state,
                    None => return self.read_undefined(&steps[idx + 1..]),
                },
                (State::List(list), Step::Index(at)) => match list.get(*at) {
                    Some(state) => state,
                    None => return self.read_undefined(&steps[idx + 1..]),
                },
                (State::Other(_), _) | (State::Text(_), Step::Index(_)) => {
                    return self.read_value(state.to_value(), &steps[idx..]);
                }
                _ => return self.read_undefined(&steps[idx + 1..]),
            };
        }
        Ok(Cow::Borrowed(state))
    }

    fn read_undefined(&self, rest: &[Step]) -> Result<Cow<'_, State>, Failed> {
        match rest {
            [] => Ok(Cow::Owned(State::UNDEFINED)),
            _ if self.undefined == UndefinedBehavior::Chainable => Ok(Cow::Owned(State::UNDEFINED)),
            _ => Err(Failed),
        }
    }

    #[cold]
    fn read_value(&self, mut value: Value, steps: &[Step]) -> Result<Cow<'_, State>, Failed> {
        for (idx, step) in steps.iter().enumerate() {
            if value.is_undefined() {
                return self.read_undefined(&steps[idx..]);
            }
            // One that is no list goes over its items.
            self.charge(value.len().unwrap_or(0) / 2 + 1)?;
            value = match step {
                Step::Key(key) => value.get_attr(key),
                Step::Index(at) => value.get_item_by_index(*at),
            }
            .map_err(|_| Failed)?;
        }
        Ok(Cow::Owned(State::from_value(value)))
    }

    fn compare(&self, comparison: Comparison, pair: &(Expr, Expr)) -> Result<bool, Failed> {
        let order = |left: &State, right: &State| match (left, right) {
            (State::Int(left), State::Int(right)) => Some(left.cmp(right)),
            (State::Text(left), State::Text(right)) => Some(left.cmp(right)),
            _ => None,
        };
        let ordering = match self.peek(&pair.0).zip(self.peek(&pair.1)).and_then(|(left, right)| order(left, right)) {
            Some(ordering) => ordering,
            None => {
                let (left, right) = (self.eval(&pair.0)?, self.eval(&pair.1)?);
                if self.refuses(&left) || self.refuses(&right) {
                    return Err(Failed);
                }
                match order(&left, &right) {
                    Some(ordering) => ordering,
                    None => {
                        let (left, right) = (left.to_value(), right.to_value());
                        self.charge(left.len().min(right.len()).unwrap_or(0) / 2 + 1)?;
                        return Ok(compare_values(comparison, &left, &right));
                    }
                }
            }
        };
        Ok(match comparison {
            Comparison::Equal => ordering == Ordering::Equal,
            Comparison::Unequal => ordering != Ordering::Equal,
            Comparison::Less => ordering == Ordering::Less,
            Comparison::LessOrEqual => ordering != Ordering::Greater,
            Comparison::Greater => ordering == Ordering::Greater,
            Comparison::GreaterOrEqual => ordering != Ordering::Less,
        })
    }

    fn run(&self, code: usize) -> Result<Value, Failed> {
        let EngineCode { code: engine_code, escape, .. } = &self.compiled.codes[code];
        self.fuelled(|environment| engine_code.value(environment, self.captured(code), escape.clone()))
    }

    /// What an opaque part prints.
    pub(crate) fn text(&self, code: usize) -> Result<String, Failed> {
        let EngineCode { code: engine_code, escape, .. } = &self.compiled.codes[code];
        let limit_bytes = self.program.output_bytes();
        self.fuelled(|environment| engine_code.text(environment, self.captured(code), escape.clone(), limit_bytes))
    }

    /// Runs code, and counts what it does.
    fn fuelled<T>(&self, run: impl Fn(&Environment<'_>) -> Result<(T, Spent), Error>) -> Result<T, Failed> {
        let (result, Spent { fuel, .. }) = match run(self.environment) {
            // It has declarations before it that the engine passes once.
            Err(error) if is_out_of_fuel(&error) => {
                self.fuel.ask(self.program, self.state)?;
                let mut environment = self.environment.clone();
                environment.set_fuel(None);
                run(&environment)
            }
            result => result,
        }
        .map_err(|_| Failed)?;
        self.charge(fuel + 1)?;
        Ok(result)
    }

    /// The state, and over it the variables that code may look up.
    fn captured(&self, code: usize) -> Value {
        let captures = &self.compiled.codes[code].captures;
        if captures.is_empty() {
            return self.state.to_value();
        }
        let value = |captured: &Captured| match captured {
            Captured::Local(local) => self.locals[*local].to_value(),
            Captured::Loop(level) => Value::from_object(LoopObject(self.loops[*level])),
        };
        let over = captures.iter().map(|(name, captured)| (name.clone(), value(captured))).collect();
        Value::from_object(Overlay { state: self.state.clone(), over })
    }
}

/// What the engine says.
fn compare_values(comparison: Comparison, left: &Value, right: &Value) -> bool {
    match comparison {
        Comparison::Equal => left == right,
        Comparison::Unequal => left != right,
        Comparison::Less => left < right,
        Comparison::LessOrEqual => left <= right,
        Comparison::Greater => left > right,
        Comparison::GreaterOrEqual => left >= right,
    }
}

/// What a way through maps and lists leads to.
#[inline]
fn walk<'a>(from: &'a State, steps: &[Step]) -> Option<&'a State> {
    steps.iter().try_fold(from, |state, step| match (state, step) {
        (State::Map(map), Step::Key(key)) => map.get(key),
        (State::List(list), Step::Index(at)) => list.get(*at),
        _ => None,
    })
}

/// The state with variables over it.
#[derive(Debug)]
struct Overlay {
    state: State,
    over: Vec<(Box<str>, Value)>,
}

impl Object for Overlay {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        if let Some((_, value)) = self.over.iter().find(|(name, _)| **name == *key) {
            return Some(value.clone());
        }
        match &self.state {
            State::Map(map) => map.get(key).map(State::to_value),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let keys = match &self.state {
            State::Map(map) => map.iter().map(|(key, _)| Value::from(key)).collect(),
            _ => Vec::new(),
        };
        Enumerator::Values(keys.into_iter().chain(self.over.iter().map(|(name, _)| Value::from(&**name))).collect())
    }
}

/// `loop` for code that the engine runs.
#[derive(Debug)]
struct LoopObject(LoopAt);

impl Object for LoopObject {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        LoopField::named(key).map(|field| self.0.get(field).to_value())
    }

    fn call_method(
        self: &Arc<Self>,
        _state: &mut minijinja::State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        match (method, args.len()) {
            ("cycle", n_args @ 1..) => Ok(args[self.0.index0 % n_args].clone()),
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}
