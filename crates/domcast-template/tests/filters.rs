//! Filters beside the engine's own.

use domcast_template::{State, Templates};
use serde_json::json;

#[track_caller]
fn check(expression: &str, expected: Result<serde_json::Value, &str>) {
    let state = State::new(&json!({
        "rows": [{"id": 1, "slug": "tea", "name": "Tea"}, {"id": 2, "slug": "milk", "name": "Milk"}],
        "milk": {"id": 2, "slug": "milk", "name": "Oat milk"},
        "salt": {"id": 3, "slug": "tea", "name": "Salt"},
    }));
    let found = Templates::from_sources([("", "")]).evaluate_state(expression, &state.unwrap());
    match (found, expected) {
        (Ok(found), Ok(expected)) => assert_eq!(serde_json::to_value(found).unwrap(), expected),
        (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
        (found, _) => panic!("{found:?}"),
    }
}

#[test]
fn a_row_takes_the_place_of_the_one_with_its_key() {
    check("rows | upsert(milk) | map(attribute='name')", Ok(json!(["Tea", "Oat milk"])));
    check("rows | upsert(salt) | map(attribute='name')", Ok(json!(["Tea", "Milk", "Salt"])));
    check("rows | upsert(salt, 'slug') | map(attribute='name')", Ok(json!(["Salt", "Milk"])));
    check("[] | upsert(salt)", Ok(json!([{"id": 3, "slug": "tea", "name": "Salt"}])));
}

#[test]
fn what_has_no_place_is_an_error() {
    check("rows | upsert(salt, 'sku')", Err("the row has no `sku` to find its place by"));
    check("rows | upsert(7)", Err("the row has no `id`"));
    check("7 | upsert(salt)", Err("not iterable"));
    check("rows | upsert(salt, 'id', 'id')", Err("too many arguments"));
}

#[test]
fn the_other_rows_stay_the_same_parts() {
    let state = State::new(&json!({"rows": [{"id": 1}, {"id": 2}], "row": {"id": 2, "n": 1}})).unwrap();
    let edited = Templates::from_sources([("", "")]).evaluate_state("rows | upsert(row)", &state).unwrap();
    let first = |list: &State| match list {
        State::List(list) => list.get(0).cloned().expect("it has a row"),
        other => panic!("{other:?}"),
    };
    let State::Map(map) = &state else { panic!("{state:?}") };
    assert!(first(map.get("rows").unwrap()).is_same(&first(&edited)));
}
