//! Changes of a state: at a path, by JSON Merge Patch (RFC 7386) and by JSON Patch (RFC 6902).
//!
//! Each tells what it changed as a list of paths, so that a template need not look for it. The crate `json-patch`
//! works on `serde_json::Value`, which has no identity to keep; the tests are the examples of both documents.

use super::{List, Map, State};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// One step into a state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A key of a map.
    Key(Arc<str>),
    /// A position of a list.
    Index(usize),
}

/// A way into a state. Clones share it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path(Arc<[Step]>);

/// What differs between two states, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Anything may differ.
    Unknown,
    /// Nothing differs but what is at or below these paths.
    At(Vec<Path>),
}

/// One operation of a JSON Patch (RFC 6902).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Operation {
    /// Sets a key, or puts an item into a list.
    Add {
        /// A JSON pointer; `-` is the end of a list.
        path: String,
        /// What to put there.
        value: State,
    },
    /// Removes what is there.
    Remove {
        /// A JSON pointer.
        path: String,
    },
    /// Replaces what is there.
    Replace {
        /// A JSON pointer.
        path: String,
        /// What to put there.
        value: State,
    },
    /// Removes one part and adds it elsewhere.
    Move {
        /// A JSON pointer.
        from: String,
        /// A JSON pointer, not below `from`.
        path: String,
    },
    /// Adds a part of the state elsewhere too.
    Copy {
        /// A JSON pointer.
        from: String,
        /// A JSON pointer.
        path: String,
    },
    /// Fails unless the part there equals the value.
    Test {
        /// A JSON pointer.
        path: String,
        /// What it is compared with.
        value: State,
    },
}

/// A change that does not fit the state, or data that cannot be a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateError {
    message: String,
    operation_idx: Option<usize>,
}

/// How many levels a state may have that a JSON Patch made, as many as JSON that serde_json reads.
const MAX_LEVELS: usize = 127;

/// How many values the operations of one JSON Patch may put in their places. Only copies need more than a patch of that size says.
const MAX_PLACED: usize = 1_000_000;

impl StateError {
    pub(super) fn new(message: impl Into<String>) -> StateError {
        StateError { message: message.into(), operation_idx: None }
    }

    /// Which operation of a [JSON Patch](State::patch) did not fit.
    pub fn operation_idx(&self) -> Option<usize> {
        self.operation_idx
    }

    fn no_such(path: impl fmt::Display) -> StateError {
        StateError::new(format!("the state has nothing at `{path}`"))
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StateError {}

impl serde::ser::Error for StateError {
    fn custom<T: fmt::Display>(message: T) -> StateError {
        StateError::new(message.to_string())
    }
}

impl Path {
    /// The steps from the root.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The path one step further.
    pub fn then(self, step: impl Into<Step>) -> Path {
        self.0.iter().cloned().chain([step.into()]).collect()
    }

    /// Whether one of the two is, or leads to, the other.
    pub fn meets(&self, other: &Path) -> bool {
        meet(&self.0, &other.0)
    }
}

/// Whether one of two ways is, or leads to, the other.
pub(crate) fn meet(a: &[Step], b: &[Step]) -> bool {
    let n_common = a.len().min(b.len());
    a[..n_common] == b[..n_common]
}

impl FromIterator<Step> for Path {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Path {
        Path(steps.into_iter().collect())
    }
}

impl From<&[Step]> for Path {
    fn from(steps: &[Step]) -> Path {
        Path(steps.into())
    }
}

/// As a template writes it: keys between dots; a part that is a number is a position.
impl From<&str> for Path {
    fn from(path: &str) -> Path {
        let step = |part: &str| part.parse().map_or_else(|_| Step::from(part), Step::Index);
        path.split('.').filter(|part| !part.is_empty()).map(step).collect()
    }
}

impl From<&str> for Step {
    fn from(key: &str) -> Step {
        Step::Key(key.into())
    }
}

impl From<usize> for Step {
    fn from(idx: usize) -> Step {
        Step::Index(idx)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, step) in self.0.iter().enumerate() {
            let dot = if idx == 0 { "" } else { "." };
            match step {
                Step::Key(key) => write!(f, "{dot}{key}")?,
                Step::Index(at) => write!(f, "{dot}{at}")?,
            }
        }
        Ok(())
    }
}

impl Changes {
    /// Nothing differs.
    pub fn none() -> Changes {
        Changes::At(Vec::new())
    }

    /// What is at or below one path may differ.
    pub fn at(path: impl Into<Path>) -> Changes {
        Changes::At(vec![path.into()])
    }

    /// What either of the two says may differ.
    pub fn and(self, other: Changes) -> Changes {
        match (self, other) {
            (Changes::At(paths), other) if paths.is_empty() => other,
            // A program that puts many items into a list says each time that it changed.
            (Changes::At(paths), Changes::At(others)) if others.len() == 1 && paths.last() == others.last() => {
                Changes::At(paths)
            }
            (Changes::At(mut paths), Changes::At(others)) => {
                paths.extend(others);
                Changes::At(paths)
            }
            _ => Changes::Unknown,
        }
    }
}

/// Changes in place. What another state holds too is copied first, one node of each level; a state that is held by
/// nobody else is changed without a copy. To keep the state as it was, clone it first.
impl State {
    /// The part at a path.
    pub fn at(&self, path: &Path) -> Option<&State> {
        self.at_steps(&path.0)
    }

    pub(crate) fn at_steps(&self, steps: &[Step]) -> Option<&State> {
        steps.iter().try_fold(self, |state, step| match (state, step) {
            (State::Map(map), Step::Key(key)) => map.get(key),
            (State::List(list), Step::Index(idx)) => list.get(*idx),
            _ => None,
        })
    }

    /// Sets the part at a path; the last step may be a new key of a map.
    ///
    /// `O(depth)`, and `O(log n)` for each list on the way.
    ///
    /// # Errors
    ///
    /// [`StateError`]: the way is not there. The state is as it was.
    pub fn set(&mut self, path: impl Into<Path>, value: impl Into<State>) -> Result<Changes, StateError> {
        let path = path.into();
        match path.0.split_last() {
            None => *self = value.into(),
            Some((last, way)) => match (self.at_mut(way).ok_or_else(|| StateError::no_such(&path))?, last) {
                (State::Map(map), Step::Key(key)) => {
                    _ = Arc::make_mut(map).insert(Arc::clone(key), value.into());
                }
                (State::List(list), Step::Index(idx)) if *idx < list.len() => {
                    *Arc::make_mut(list).get_mut(*idx).expect("it is inside") = value.into();
                }
                _ => return Err(StateError::no_such(&path)),
            },
        }
        Ok(Changes::At(vec![path]))
    }

    /// Swaps the part at a path with another value.
    ///
    /// # Errors
    ///
    /// [`StateError`]: there is no such part. Both are as they were.
    pub fn swap(&mut self, path: &Path, value: &mut State) -> Result<(), StateError> {
        let part = self.at_mut(&path.0).ok_or_else(|| StateError::no_such(path))?;
        std::mem::swap(part, value);
        Ok(())
    }

    /// Puts an item into the list at `path`, before the one at `idx` or at the end.
    ///
    /// # Errors
    ///
    /// [`StateError`]: there is no list, or it is shorter. The state is as it was.
    pub fn insert(&mut self, path: impl Into<Path>, idx: usize, item: impl Into<State>) -> Result<Changes, StateError> {
        let path = path.into();
        match self.at_mut(&path.0) {
            Some(State::List(list)) if idx <= list.len() => Arc::make_mut(list).insert(idx, item.into()),
            _ => return Err(StateError::no_such(path.then(idx))),
        }
        Ok(Changes::At(vec![path]))
    }

    /// Puts items at the end of the list at `path`: less than to [`insert`](Self::insert) them one by one, where they are many.
    ///
    /// # Errors
    ///
    /// [`StateError`]: there is no list. The state is as it was.
    pub fn extend<I>(&mut self, path: impl Into<Path>, items: I) -> Result<Changes, StateError>
    where
        I: IntoIterator<Item: Into<State>>,
    {
        let path = path.into();
        match self.at_mut(&path.0) {
            Some(State::List(list)) => Arc::make_mut(list).extend(items.into_iter().map(Into::into)),
            _ => return Err(StateError::no_such(path)),
        }
        Ok(Changes::At(vec![path]))
    }

    /// Removes the part at a path.
    ///
    /// # Errors
    ///
    /// [`StateError`]: there is none. The state is as it was.
    pub fn remove(&mut self, path: impl Into<Path>) -> Result<Changes, StateError> {
        let path = path.into();
        self.take(&path).ok_or_else(|| StateError::no_such(&path))?;
        // What follows in a list moves up, so the list as a whole changes.
        let is_item = matches!(path.0.last(), Some(Step::Index(_)));
        let n_steps = path.0.len() - usize::from(is_item);
        Ok(Changes::At(vec![Path::from(&path.0[..n_steps])]))
    }

    /// Applies a JSON Merge Patch: maps are merged key by key, `null` removes a key, anything else replaces.
    pub fn merge(&mut self, patch: &State) -> Changes {
        let mut paths = Vec::new();
        self.merge_at(patch, &mut Vec::new(), &mut paths);
        Changes::At(paths)
    }

    fn merge_at(&mut self, patch: &State, path: &mut Vec<Step>, changed: &mut Vec<Path>) {
        let State::Map(patch) = patch else {
            if !self.is_same(patch) {
                *self = patch.clone();
                changed.push(Path::from(&path[..]));
            }
            return;
        };
        if !matches!(self, State::Map(_)) {
            *self = State::from(Map::default());
            changed.push(Path::from(&path[..]));
        }
        let State::Map(map) = self else { unreachable!("it was made one") };
        let mut removed = HashSet::new();
        for (key, value) in patch.iter() {
            let has_key = map.get(key).is_some();
            path.push(Step::Key(Arc::clone(key)));
            match (has_key, value) {
                (true, State::Null) => {
                    removed.insert(&**key);
                    changed.push(Path::from(&path[..]));
                }
                (false, State::Null) => {}
                (true, value) => {
                    Arc::make_mut(map).get_mut(key).expect("it has the key").merge_at(value, path, changed);
                }
                (false, value) => {
                    // Inside of what is new, `null` removes too.
                    let mut new = State::Null;
                    new.merge_at(value, &mut Vec::new(), &mut Vec::new());
                    Arc::make_mut(map).insert(Arc::clone(key), new);
                    changed.push(Path::from(&path[..]));
                }
            }
            path.pop();
        }
        if !removed.is_empty() {
            Arc::make_mut(map).retain(|key| !removed.contains(key));
        }
    }

    /// Applies a JSON Patch.
    ///
    /// # Errors
    ///
    /// [`StateError`], with the number of the operation: it does not fit, its test failed, the state would be deeper than 127 levels,
    /// or the patch copies more than 1,000,000 values. The state is as it was.
    pub fn patch(&mut self, operations: &[Operation]) -> Result<Changes, StateError> {
        let (mut new, mut changes, mut room) = (self.clone(), Changes::none(), MAX_PLACED);
        for (idx, operation) in operations.iter().enumerate() {
            let changed = new.run(operation, &mut room);
            changes = changes.and(changed.map_err(|error| StateError { operation_idx: Some(idx), ..error })?);
        }
        *self = new;
        Ok(changes)
    }

    fn run(&mut self, operation: &Operation, room: &mut usize) -> Result<Changes, StateError> {
        match operation {
            Operation::Add { path, value } => self.add(path, value.clone(), room),
            Operation::Remove { path } => {
                let path = self.resolve(path)?;
                if path.0.is_empty() {
                    return self.set(path, State::Null);
                }
                self.remove(path)
            }
            Operation::Replace { path, value } => {
                let path = self.resolve(path)?;
                self.at(&path).ok_or_else(|| StateError::no_such(&path))?;
                value.check_place(path.0.len(), room)?;
                self.set(path, value.clone())
            }
            Operation::Move { from, path } if path.strip_prefix(&**from).is_some_and(|rest| rest.starts_with('/')) => {
                Err(StateError::new(format!("`{from}` cannot move into itself, to `{path}`")))
            }
            Operation::Move { from, path } => {
                let from = self.resolve(from)?;
                let value = self.at(&from).cloned().ok_or_else(|| StateError::no_such(&from))?;
                Ok(self.remove(from)?.and(self.add(path, value, room)?))
            }
            Operation::Copy { from, path } => {
                let from = self.resolve(from)?;
                let value = self.at(&from).cloned().ok_or_else(|| StateError::no_such(&from))?;
                self.add(path, value, room)
            }
            Operation::Test { path: pointer, value } => {
                let path = self.resolve(pointer)?;
                match self.at(&path) {
                    Some(found) if found.is_equal_json(value) => Ok(Changes::none()),
                    _ => Err(StateError::new(format!("the test of `{pointer}` failed"))),
                }
            }
        }
    }

    fn add(&mut self, pointer: &str, value: State, room: &mut usize) -> Result<Changes, StateError> {
        let path = self.resolve(pointer)?;
        value.check_place(path.0.len(), room)?;
        let Some((Step::Index(idx), way)) = path.0.split_last() else { return self.set(path, value) };
        self.insert(Path::from(way), *idx, value)
    }

    /// Whether there is room for a part below so many levels: copies of copies grow without bound, in depth and in number.
    fn check_place(&self, n_levels: usize, room: &mut usize) -> Result<(), StateError> {
        // A list or map is a level of its own, though it may be empty.
        if n_levels + usize::from(matches!(self, State::List(_) | State::Map(_))) > MAX_LEVELS {
            return Err(StateError::new(format!("the state would be deeper than {MAX_LEVELS} levels")));
        }
        *room = room
            .checked_sub(1)
            .ok_or_else(|| StateError::new(format!("the patch puts more than {MAX_PLACED} values in their places")))?;
        match self {
            State::List(list) => list.iter().try_for_each(|item| item.check_place(n_levels + 1, room)),
            State::Map(map) => map.iter().try_for_each(|(_, value)| value.check_place(n_levels + 1, room)),
            _ => Ok(()),
        }
    }

    /// A JSON pointer (RFC 6901) as a path; only the state knows which numbers are positions.
    fn resolve(&self, pointer: &str) -> Result<Path, StateError> {
        let mut steps = Vec::new();
        let mut part = Some(self);
        if pointer.is_empty() {
            return Ok(Path::default());
        }
        let Some(tokens) = pointer.strip_prefix('/') else {
            return Err(StateError::new(format!("the pointer `{pointer}` does not begin with `/`")));
        };
        for token in tokens.split('/') {
            let has_bad_escape = token.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1']));
            if has_bad_escape {
                return Err(StateError::new(format!(
                    "the pointer `{pointer}` has a `~` that is neither `~0` nor `~1`"
                )));
            }
            let step = match part {
                Some(State::List(list)) if token == "-" => Step::Index(list.len()),
                Some(State::List(_)) => {
                    let is_number =
                        token.bytes().all(|byte| byte.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
                    let idx = token.parse().ok().filter(|_| is_number);
                    Step::Index(idx.ok_or_else(|| StateError::no_such(pointer))?)
                }
                Some(State::Map(_)) => Step::Key(token.replace("~1", "/").replace("~0", "~").into()),
                _ => return Err(StateError::no_such(pointer)),
            };
            part = match (part, &step) {
                (Some(State::List(list)), Step::Index(idx)) => list.get(*idx),
                (Some(State::Map(map)), Step::Key(key)) => map.get(key),
                _ => None,
            };
            steps.push(step);
        }
        Ok(Path(steps.into()))
    }

    /// Whether the two are equal as JSON: numbers by their value, objects in any order, and nothing equals what is of another kind.
    fn is_equal_json(&self, other: &State) -> bool {
        match (self, other) {
            (State::List(a), State::List(b)) => {
                Arc::ptr_eq(a, b) || (a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.is_equal_json(b)))
            }
            (State::Map(a), State::Map(b)) => {
                let is_in_b = |(key, a): (&Arc<str>, &State)| b.get(key).is_some_and(|b| a.is_equal_json(b));
                Arc::ptr_eq(a, b) || (a.len() == b.len() && a.iter().all(is_in_b))
            }
            (a, b) => a.to_value().kind() == b.to_value().kind() && a == b,
        }
    }

    fn at_mut(&mut self, way: &[Step]) -> Option<&mut State> {
        let mut state = self;
        for step in way {
            state = match (state, step) {
                (State::Map(map), Step::Key(key)) => {
                    let idx = map.keys.position(key)?;
                    &mut Arc::make_mut(map).values[idx]
                }
                (State::List(list), Step::Index(idx)) if *idx < list.len() => Arc::make_mut(list).get_mut(*idx)?,
                _ => return None,
            };
        }
        Some(state)
    }

    fn take(&mut self, path: &Path) -> Option<State> {
        let (last, way) = path.0.split_last()?;
        match (self.at_mut(way)?, last) {
            (State::Map(map), Step::Key(key)) => {
                map.get(key)?;
                Arc::make_mut(map).remove(key)
            }
            (State::List(list), Step::Index(idx)) if *idx < list.len() => Some(List::remove(Arc::make_mut(list), *idx)),
            _ => None,
        }
    }
}
