//! Changes of a state, and what they tell.

use domcast_template::{Changes, Operation, Path, State};
use serde_json::{Value, json};

/// The examples of RFC 7386, appendix A.
#[test]
fn a_merge_patch_does_what_its_rfc_says() {
    for (target, patch, result) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!(null), json!(null)),
        (json!({"a": "foo"}), json!("bar"), json!("bar")),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        let mut merged = state(&target);
        merged.merge(&state(&patch));
        assert_eq!(json_of(&merged), result, "{target} with {patch}");
    }
}

/// The examples of RFC 6902, appendix A.
#[test]
fn a_json_patch_does_what_its_rfc_says() {
    for (target, patch, result) in [
        (
            json!({"foo": "bar"}),
            json!([{"op": "add", "path": "/baz", "value": "qux"}]),
            Some(json!({"foo": "bar", "baz": "qux"})),
        ),
        (
            json!({"foo": ["bar", "baz"]}),
            json!([{"op": "add", "path": "/foo/1", "value": "q"}]),
            Some(json!({"foo": ["bar", "q", "baz"]})),
        ),
        (json!({"baz": 1, "foo": 2}), json!([{"op": "remove", "path": "/baz"}]), Some(json!({"foo": 2}))),
        (json!({"foo": [1, 2, 3]}), json!([{"op": "remove", "path": "/foo/1"}]), Some(json!({"foo": [1, 3]}))),
        (
            json!({"baz": 1, "foo": 2}),
            json!([{"op": "replace", "path": "/baz", "value": 3}]),
            Some(json!({"baz": 3, "foo": 2})),
        ),
        (
            json!({"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}),
            json!([{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]),
            Some(json!({"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}})),
        ),
        (
            json!({"foo": [1, 2, 3, 4]}),
            json!([{"op": "move", "from": "/foo/1", "path": "/foo/3"}]),
            Some(json!({"foo": [1, 3, 4, 2]})),
        ),
        (
            json!({"baz": "qux", "foo": ["a", 2, "c"]}),
            json!([{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}]),
            Some(json!({"baz": "qux", "foo": ["a", 2, "c"]})),
        ),
        (json!({"baz": "qux"}), json!([{"op": "test", "path": "/baz", "value": "bar"}]), None),
        (
            json!({"foo": "bar"}),
            json!([{"op": "add", "path": "/child", "value": {"grand": {}}}]),
            Some(json!({"foo": "bar", "child": {"grand": {}}})),
        ),
        (
            json!({"foo": "bar"}),
            json!([{"op": "add", "path": "/baz", "value": 1, "xyz": 1}]),
            Some(json!({"foo": "bar", "baz": 1})),
        ),
        (json!({"foo": "bar"}), json!([{"op": "add", "path": "/baz/bat", "value": 1}]), None),
        (
            json!({"/": 9, "~1": 10}),
            json!([{"op": "test", "path": "/~01", "value": 10}]),
            Some(json!({"/": 9, "~1": 10})),
        ),
        (
            json!({"foo": ["bar"]}),
            json!([{"op": "add", "path": "/foo/-", "value": ["abc"]}]),
            Some(json!({"foo": ["bar", ["abc"]]})),
        ),
        (json!({"a": [1]}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), Some(json!({"a": [1], "b": [1]}))),
        (json!({"a": {"b": 1}}), json!([{"op": "move", "from": "/a", "path": "/a/b"}]), None),
        (json!({"a": [1]}), json!([{"op": "add", "path": "/a/01", "value": 1}]), None),
        (json!({"a": 1}), json!([{"op": "add", "path": "", "value": [2]}]), Some(json!([2]))),
        // Nothing of a patch is done when a part of it fails.
        (json!({"a": 1}), json!([{"op": "remove", "path": "/a"}, {"op": "remove", "path": "/a"}]), None),
    ] {
        let operations: Vec<Operation> = serde_json::from_value(patch.clone()).unwrap();
        let mut patched = state(&target);
        let is_done = patched.patch(&operations).is_ok();
        assert_eq!(is_done, result.is_some(), "{target} with {patch}");
        assert_eq!(json_of(&patched), result.unwrap_or(target), "with {patch}");
    }
}

#[test]
fn a_change_tells_its_path_and_keeps_the_rest() {
    let mut changed = state(&json!({"rows": [{"id": 1}, {"id": 2}], "n": 1}));
    let old = changed.clone();
    assert_eq!(changed.set("rows.1.id", 3).unwrap(), Changes::at("rows.1.id"));
    assert_eq!(changed.merge(&state(&json!({"n": 1, "m": {"a": null, "b": 1}}))), Changes::at("m"));
    assert_eq!(changed.insert("rows", 0, 5).unwrap(), Changes::at("rows"));
    assert_eq!(changed.remove("rows.0").unwrap(), Changes::at("rows"));
    assert_eq!(changed.remove("n").unwrap(), Changes::at("n"));
    assert_eq!(json_of(&changed), json!({"rows": [{"id": 1}, {"id": 3}], "m": {"b": 1}}));
    assert_eq!(json_of(&old), json!({"rows": [{"id": 1}, {"id": 2}], "n": 1}));
    let first = |state: &State| state.at(&Path::from("rows.0")).unwrap().clone();
    assert!(first(&changed).is_same(&first(&old)));
    let error = changed.set("rows.7.id", 1).unwrap_err();
    assert_eq!(error.to_string(), "the state has nothing at `rows.7.id`");
}

#[test]
fn a_map_of_many_keys_finds_each() {
    let mut map = State::new(&json!({})).unwrap();
    for idx in 0..100 {
        map.set(Path::default().then(&*format!("k{idx}")), idx).unwrap();
    }
    map.remove("k50").unwrap();
    let expected: serde_json::Map<String, Value> =
        (0..100).filter(|idx| *idx != 50).map(|idx| (format!("k{idx}"), json!(idx))).collect();
    assert_eq!(json_of(&map), Value::Object(expected));
}

fn state(json: &Value) -> State {
    State::new(json).unwrap()
}

fn json_of(state: &State) -> Value {
    serde_json::to_value(state).unwrap()
}
