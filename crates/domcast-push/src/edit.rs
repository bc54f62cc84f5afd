//! Edits of a state: by key, by JSON Merge Patch (RFC 7386) and by JSON Patch (RFC 6902).
//!
//! The top-level keys of a state are declared, so none appears or goes: what is inside them is free, as far as the view's
//! types allow. An edit costs what it changes, and tells which paths that are.

use crate::error::PushError;
use crate::push::Change;
use domcast_template::{Changes, Map, Operation, Path, State, StateError};
use serde_json::Value;
use std::sync::Arc;

/// How many levels a state may have: as many as JSON that is read.
pub(crate) const MAX_LEVELS: usize = 127;

/// Returns a state after an edit, and what differs. What is no edit of a state changes nothing.
pub(crate) fn edited(view: &str, state: &State, change: &Change) -> Result<(State, Changes), PushError> {
    match change {
        Change::State(new) => {
            let old = keys(state);
            has_keys(view, old, new.keys().map(String::as_str))?;
            let renewed = |(key, value): (&'_ String, &'_ Value)| {
                // What is equal in the old value is shared with it.
                let old = old.get(key).expect("the key is declared");
                Ok((key.clone(), old.renewed(value).map_err(|error| bad_state(view, &error))?))
            };
            Ok(with_values(state, new.iter().map(renewed).collect::<Result<Vec<_>, _>>()?))
        }
        Change::Merge(patch) => merged(view, state, patch),
        Change::Patch(patch) => patched(view, state, patch),
        Change::Handler { .. } | Change::Html(_) => Ok((state.clone(), Changes::none())),
    }
}

/// Replaces the values of keys.
pub(crate) fn with_values(state: &State, values: impl IntoIterator<Item = (String, State)>) -> (State, Changes) {
    let (mut map, mut paths) = (keys(state).clone(), Vec::new());
    for (key, value) in values {
        paths.push(Path::default().then(key.as_str()));
        map.insert(key, value);
    }
    (State::from(map), Changes::At(paths))
}

fn merged(view: &str, state: &State, patch: &serde_json::Map<String, Value>) -> Result<(State, Changes), PushError> {
    has_keys(view, keys(state), patch.keys().map(String::as_str))?;
    if let Some((key, _)) = patch.iter().find(|(_, value)| value.is_null()) {
        return Err(PushError::KeyRemoved { view: view.into(), key: key.clone() });
    }
    let patch = State::new(patch).map_err(|error| bad_state(view, &error))?;
    let mut state = state.clone();
    let changes = state.merge(&patch);
    Ok((state, changes))
}

fn patched(view: &str, state: &State, operations: &[Operation]) -> Result<(State, Changes), PushError> {
    let mut patched = state.clone();
    let changes = patched.patch(operations).map_err(|error| {
        let operation_idx = error.operation_idx().unwrap_or_default();
        // What the failed operation found.
        let mut found = state.clone();
        _ = found.patch(&operations[..operation_idx]);
        let (pointer, reason) = blame(&found, &operations[operation_idx], &error);
        PushError::BadPatch { view: view.into(), operation_idx, pointer, reason }
    })?;
    let State::Map(map) = &patched else {
        let reason = format!("the state would be {}, expected an object", kind(&patched));
        return Err(PushError::BadPatch { view: view.into(), operation_idx: 0, pointer: String::new(), reason });
    };
    has_keys(view, keys(state), map.iter().map(|(key, _)| &**key))?;
    if let Some((key, _)) = keys(state).iter().find(|(key, _)| map.get(key).is_none()) {
        return Err(PushError::KeyRemoved { view: view.into(), key: key.to_string() });
    }
    Ok((patched, changes))
}

/// Returns the map that the state of a view is.
pub(crate) fn keys(state: &State) -> &Map {
    match state {
        State::Map(map) => map,
        _ => unreachable!("the state of a view is a map"),
    }
}

/// Returns the keys whose values are others than before.
pub(crate) fn changed_keys<'a>(old: &'a State, new: &'a State) -> impl Iterator<Item = (&'a Arc<str>, &'a State)> {
    keys(new).iter().filter(|(key, value)| !keys(old).get(key).is_some_and(|old| old.is_same(value)))
}

fn has_keys<'a>(view: &str, state: &Map, mut keys: impl Iterator<Item = &'a str>) -> Result<(), PushError> {
    let undeclared = keys.find(|key| state.get(key).is_none());
    undeclared.map_or(Ok(()), |key| {
        let declared = state.iter().map(|(key, _)| key.to_string()).collect();
        Err(PushError::UndeclaredKey { view: view.into(), key: key.into(), declared })
    })
}

pub(crate) fn bad_state(view: &str, error: &StateError) -> PushError {
    PushError::BadState { view: view.into(), reason: error.to_string() }
}

/// Says where a failed operation went wrong, and what is there.
fn blame(found: &State, operation: &Operation, error: &StateError) -> (String, String) {
    let (from, path) = match operation {
        Operation::Move { from, path } | Operation::Copy { from, path } => (Some(from), path),
        Operation::Add { path, .. } | Operation::Remove { path } => (None, path),
        Operation::Replace { path, .. } | Operation::Test { path, .. } => (None, path),
        _ => return (String::new(), error.to_string()),
    };
    if let Some((from, reason)) = from.and_then(|from| Some((from, resolve(found, from).err()?))) {
        return (from.clone(), reason);
    }
    let is_new_key = || {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        !matches!(operation, Operation::Remove { .. } | Operation::Replace { .. } | Operation::Test { .. })
            && matches!(resolve(found, parent), Ok(State::Map(_)))
    };
    let reason = match (resolve(found, path), operation) {
        (Err(_), _) if is_new_key() => error.to_string(),
        (Ok(value), Operation::Test { .. }) => format!("the test found another value, {}", kind(value)),
        (Err(reason), _) => reason,
        (Ok(_), _) => error.to_string(),
    };
    (path.clone(), reason)
}

/// Follows a JSON Pointer (RFC 6901); or says how far it leads, and what it could have named there.
fn resolve<'a>(found: &'a State, pointer: &str) -> Result<&'a State, String> {
    if pointer.is_empty() {
        return Ok(found);
    }
    let tokens = pointer.strip_prefix('/').ok_or("a pointer begins with `/`")?;
    let (mut at, mut parent) = (found, String::new());
    for token in tokens.split('/') {
        let next = match at {
            State::Map(members) => members.get(&token.replace("~1", "/").replace("~0", "~")),
            State::List(items) => token.parse().ok().and_then(|idx| items.get(idx)),
            _ => None,
        };
        at = next.ok_or_else(|| missing(at, &parent))?;
        parent = format!("{parent}/{token}");
    }
    Ok(at)
}

/// Says what is at `parent`, which has not what was looked for.
fn missing(at: &State, parent: &str) -> String {
    let shown = if parent.is_empty() { "the state".to_owned() } else { format!("`{parent}`") };
    match at {
        State::List(items) => format!("{shown} is a list of {}", items.len()),
        State::Map(members) => {
            const MAX_NAMES: usize = 12;
            let names: Vec<&str> = members.iter().map(|(name, _)| &**name).take(MAX_NAMES).collect();
            let more = if members.len() > MAX_NAMES { " …" } else { "" };
            match names[..] {
                [] => format!("{shown} is an empty object"),
                _ => format!("{shown} has `{}`{more}", names.join("`, `")),
            }
        }
        value => format!("{shown} is {}", kind(value)),
    }
}

/// Says what kind of JSON value this is.
pub(crate) fn kind(value: &State) -> &'static str {
    match value {
        State::Null => "null",
        State::Bool(_) => "a boolean",
        State::Int(_) | State::Float(_) => "a number",
        State::Text(_) => "a string",
        State::List(_) => "a list",
        State::Map(_) => "an object",
        // An integer that needs more than 63 bits.
        State::Other(value) if value.is_number() => "a number",
        State::Other(_) => "no value of JSON",
    }
}
