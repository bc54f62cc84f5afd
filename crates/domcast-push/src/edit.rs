//! Edits of a state as JSON: by key, by JSON Merge Patch (RFC 7386) and by JSON Patch (RFC 6902).
//!
//! An edit gives the keys that differ afterwards. The top-level keys of a state are declared, so none appears or goes:
//! what is inside them is free, as far as the view's types allow.

use crate::error::PushError;
use crate::push::Change;
use json_patch::jsonptr::Pointer;
use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::{Map, Value};

/// Returns the keys of `state` that an edit changes, with their new values. What is no edit of a state changes none.
pub(crate) fn changed_keys(
    view: &str,
    state: &Map<String, Value>,
    change: &Change,
) -> Result<Map<String, Value>, PushError> {
    match change {
        Change::State(changes) => has_keys(view, state, changes.keys()).map(|()| changes.clone()),
        Change::Merge(patch) => merged(view, state, patch),
        Change::Patch(patch) => patched(view, state, patch),
        Change::Handler { .. } | Change::Html(_) => Ok(Map::new()),
    }
}

fn has_keys<'a>(
    view: &str,
    state: &Map<String, Value>,
    mut keys: impl Iterator<Item = &'a String>,
) -> Result<(), PushError> {
    let undeclared = keys.find(|key| !state.contains_key(*key));
    undeclared.map_or(Ok(()), |key| {
        let declared = state.keys().cloned().collect();
        Err(PushError::UndeclaredKey { view: view.into(), key: key.clone(), declared })
    })
}

fn merged(view: &str, state: &Map<String, Value>, patch: &Map<String, Value>) -> Result<Map<String, Value>, PushError> {
    has_keys(view, state, patch.keys())?;
    if let Some((key, _)) = patch.iter().find(|(_, value)| value.is_null()) {
        return Err(PushError::KeyRemoved { view: view.into(), key: key.clone() });
    }
    let merged = |(key, change): (&String, &Value)| {
        let mut value = state[key].clone();
        merge(&mut value, change);
        (key.clone(), value)
    };
    Ok(patch.iter().map(merged).collect())
}

/// RFC 7386, section 2. `json_patch::merge` does not keep the order of the members.
fn merge(target: &mut Value, patch: &Value) {
    // Recursion: the parser of pushes refuses JSON nested deeper than 127.
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else { return };
    for (name, value) in patch {
        match value {
            Value::Null => _ = members.shift_remove(name),
            value => merge(members.entry(name.clone()).or_insert(Value::Null), value),
        }
    }
}

fn patched(
    view: &str,
    state: &Map<String, Value>,
    operations: &[PatchOperation],
) -> Result<Map<String, Value>, PushError> {
    let mut patched = Value::Object(state.clone());
    // Operation by operation, so that an error can tell of what the failed one found. The copy is dropped then.
    for (operation_idx, operation) in operations.iter().enumerate() {
        let undo = matches!(operation, PatchOperation::Move(_)).then(|| patched.clone());
        if let Err(error) = json_patch::patch_unsafe(&mut patched, std::slice::from_ref(operation)) {
            let found = undo.as_ref().unwrap_or(&patched);
            let (pointer, reason) = blame(found, operation, &error.kind);
            return Err(PushError::BadPatch { view: view.into(), operation_idx, pointer, reason });
        }
    }
    let Value::Object(patched) = patched else {
        let reason = format!("the state would be {}, expected an object", kind(&patched));
        return Err(PushError::BadPatch { view: view.into(), operation_idx: 0, pointer: String::new(), reason });
    };
    has_keys(view, state, patched.keys())?;
    if let Some(key) = state.keys().find(|key| !patched.contains_key(*key)) {
        return Err(PushError::KeyRemoved { view: view.into(), key: key.clone() });
    }
    Ok(patched.into_iter().filter(|(key, value)| state[key] != *value).collect())
}

/// Says where a failed operation went wrong, and what is there.
fn blame(found: &Value, operation: &PatchOperation, error: &PatchErrorKind) -> (String, String) {
    let path = operation.path();
    match (error, operation) {
        (PatchErrorKind::TestFailed, PatchOperation::Test(_)) => match path.resolve(found) {
            Ok(value) => (path.to_string(), format!("the test found another value, {}", kind(value))),
            Err(_) => (path.to_string(), missing(found, path)),
        },
        (PatchErrorKind::InvalidFromPointer, PatchOperation::Move(operation)) => {
            (operation.from.to_string(), missing(found, &operation.from))
        }
        (PatchErrorKind::InvalidFromPointer, PatchOperation::Copy(operation)) => {
            (operation.from.to_string(), missing(found, &operation.from))
        }
        (PatchErrorKind::CannotMoveInsideItself, _) => (path.to_string(), "a value cannot move into itself".into()),
        _ => (path.to_string(), missing(found, path)),
    }
}

/// Says how far a pointer leads, and what it could have named there.
fn missing(found: &Value, pointer: &Pointer) -> String {
    let mut at = found;
    let mut parent = String::new();
    for token in pointer.tokens() {
        let name = token.decoded();
        let next = match at {
            Value::Object(members) => members.get(name.as_ref()),
            Value::Array(items) => name.parse::<usize>().ok().and_then(|idx| items.get(idx)),
            _ => None,
        };
        let Some(next) = next else { break };
        at = next;
        parent = format!("{parent}/{}", token.encoded());
    }
    let shown = if parent.is_empty() { "the state".to_owned() } else { format!("`{parent}`") };
    match at {
        Value::Array(items) => format!("{shown} is a list of {}", items.len()),
        Value::Object(members) => {
            const MAX_NAMES: usize = 12;
            let names: Vec<&str> = members.keys().map(String::as_str).take(MAX_NAMES).collect();
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
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
