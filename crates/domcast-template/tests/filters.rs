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
fn rows_go_by_their_key() {
    check("rows | without(1) | map(attribute='name')", Ok(json!(["Milk"])));
    check("rows | without(1.0) | map(attribute='name')", Ok(json!(["Milk"])));
    check("rows | without('milk', 'slug') | map(attribute='name')", Ok(json!(["Tea"])));
    check("rows | without('1') | map(attribute='name')", Ok(json!(["Tea", "Milk"])));
    check("(rows + [milk]) | without(2) | map(attribute='name')", Ok(json!(["Tea"])));
    check("[7, none, milk] | without(2)", Ok(json!([7, null])));
    check("rows | without(1, 'id', 'id')", Err("too many arguments"));
}

#[test]
fn what_has_no_place_is_an_error() {
    check("rows | upsert(salt, 'sku')", Err("the row has no `sku` to find its place by"));
    check("rows | without(salt.sku)", Err("there is no `id` to find the row by"));
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

/// Whatever is remembered of the rows, they are what a search of them all makes of them.
#[test]
fn a_long_life_of_rows_is_that_of_a_vector() {
    let templates = Templates::from_sources([("", "")]);
    let mut random = 7_u64;
    let mut below = |n: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % n
    };
    // Where all ids are whole numbers or texts and differ, they are found by their hashes; else one by one.
    let ids = |kind: u64, id: u64| match kind {
        0 => json!(id),
        1 => json!(format!("row {id}")),
        2 if id.is_multiple_of(9) => json!(id as f64),
        2 => json!(id),
        _ => json!(id % 40),
    };
    for kind in 0..4 {
        let mut rows: Vec<serde_json::Value> = (0..100).map(|id| json!({"id": ids(kind, id), "n": 0})).collect();
        let mut state = State::new(&json!({ "rows": rows })).unwrap();
        for step in 1..2000 {
            let id = ids(kind, below(130));
            let first = rows.iter().position(|row| row["id"] == id);
            let (expression, other) = match (below(8), first) {
                (0, _) => {
                    rows.insert(0, json!({"id": id, "n": step}));
                    ("[other] + rows", json!({"id": id, "n": step}))
                }
                (1..4, _) => {
                    rows.retain(|row| row["id"] != id);
                    ("rows | without(other)", id)
                }
                (_, Some(idx)) => {
                    rows[idx] = json!({"id": id, "n": step});
                    ("rows | upsert(other)", rows[idx].clone())
                }
                (_, None) => {
                    rows.push(json!({"id": id, "n": step}));
                    ("rows | upsert(other)", json!({"id": id, "n": step}))
                }
            };
            let State::Map(map) = &state else { panic!("{state:?}") };
            let scope: State = [("rows", map.get("rows").unwrap().clone()), ("other", State::new(&other).unwrap())]
                .into_iter()
                .collect::<domcast_template::Map>()
                .into();
            let edited = templates.evaluate_state(expression, &scope).unwrap();
            assert_eq!(serde_json::to_value(&edited).unwrap(), json!(rows), "step {step} of ids {kind}: {expression}");
            state = [("rows", edited)].into_iter().collect::<domcast_template::Map>().into();
        }
    }
}
