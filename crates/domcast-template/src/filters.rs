//! What templates and handlers find beside the engine's own filters.

use minijinja::value::{Rest, Value};
use minijinja::{Environment, Error, ErrorKind};

/// A filter that gives the same for the same arguments.
pub(crate) const UPSERT: &str = "upsert";

pub(crate) fn add(environment: &mut Environment<'static>) {
    environment.add_filter(UPSERT, upsert);
}

/// `rows | upsert(row)`: the rows with `row` in the place of the one that has its `id`, or at the end where none has it.
/// `rows | upsert(row, "slug")` looks at another key. Costs one comparison for each row; the others stay the same parts.
fn upsert(rows: &Value, row: Value, key: Rest<String>) -> Result<Value, Error> {
    let key = match &key[..] {
        [] => "id",
        [key] => key,
        _ => return Err(ErrorKind::TooManyArguments.into()),
    };
    let id = row.get_attr(key)?;
    if id.is_undefined() || id.is_none() {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("the row has no `{key}` to find its place by")));
    }
    let mut rows: Vec<Value> = rows.try_iter()?.collect();
    match rows.iter_mut().find(|other| other.get_attr(key).is_ok_and(|other| other == id)) {
        Some(place) => *place = row,
        None => rows.push(row),
    }
    Ok(rows.into())
}
