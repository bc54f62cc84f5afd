//! What templates and handlers find beside the engine's own filters.

use crate::engine::Spent;
use crate::state::{List, State};
use minijinja::value::{Rest, Value};
use minijinja::{Environment, Error, ErrorKind};
use std::sync::Arc;

/// The names. Each filter gives the same for the same arguments.
pub(crate) const NAMES: [&str; 2] = ["upsert", "without"];

pub(crate) fn add(environment: &mut Environment<'static>) {
    let [upsert_name, without_name] = NAMES;
    environment.add_filter(upsert_name, upsert);
    environment.add_filter(without_name, without);
}

/// `rows | upsert(row)`: the rows with `row` in the place of the first that has its `id`, or at the end where none has it.
/// `rows | upsert(row, "slug")` looks at another key. The first time it looks at all rows; on what it made, only at that row.
fn upsert(engine: &minijinja::State<'_, '_>, rows: &Value, row: Value, key: Rest<String>) -> Result<Value, Error> {
    let key = key_of(&key)?;
    let id = row.get_attr(key)?;
    if id.is_undefined() || id.is_none() {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("the row has no `{key}` to find its place by")));
    }
    let n_left = &mut Spent::of(engine).left;
    Ok(value(list(rows, n_left)?.upsert(key, &state(id, n_left)?, state(row, n_left)?)))
}

/// `rows | without(42)`: the rows but for those whose `id` is 42. `rows | without("tea", "slug")` looks at another key. Costs what
/// `upsert` costs.
fn without(engine: &minijinja::State<'_, '_>, rows: &Value, id: Value, key: Rest<String>) -> Result<Value, Error> {
    let key = key_of(&key)?;
    if id.is_undefined() || id.is_none() {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("there is no `{key}` to find the row by")));
    }
    let n_left = &mut Spent::of(engine).left;
    Ok(value(list(rows, n_left)?.without(key, &state(id, n_left)?)))
}

fn key_of(key: &[String]) -> Result<&str, Error> {
    match key {
        [] => Ok("id"),
        [key] => Ok(key),
        _ => Err(ErrorKind::TooManyArguments.into()),
    }
}

fn list(rows: &Value, n_left: &mut usize) -> Result<Arc<List>, Error> {
    match rows.downcast_object() {
        Some(list) => Ok(list),
        None => Ok(Arc::new(rows.try_iter()?.map(|row| state(row, n_left)).collect::<Result<List, Error>>()?)),
    }
}

/// The state of a value with no more parts than the engine may go over.
fn state(value: Value, n_left: &mut usize) -> Result<State, Error> {
    State::of_value(value, n_left).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

fn value(list: List) -> Value {
    State::from(list).to_value()
}
