//! Changes of a state, and what they tell.

use domcast_template::{Changes, Operation, Path, Rows, State};
use serde::Serialize;
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

/// Cases of https://github.com/json-patch/json-patch-tests, each a line: the document, the patch, and the result if there is one.
const SUITE: &str = r#"
    {} [] {}
    {"foo": 1} [] {"foo": 1}
    {"foo": 1, "bar": 2} [] {"bar": 2, "foo": 1}
    [{"foo": 1, "bar": 2}] [] [{"bar": 2, "foo": 1}]
    {"foo": {"foo": 1, "bar": 2}} [] {"foo": {"bar": 2, "foo": 1}}
    {"foo": null} [{"op": "add", "path": "/foo", "value": 1}] {"foo": 1}
    [] [{"op": "add", "path": "/0", "value": "foo"}] ["foo"]
    ["foo"] [] ["foo"]
    {} [{"op": "add", "path": "/foo", "value": "1"}] {"foo": "1"}
    {} [{"op": "add", "path": "/foo", "value": 1}] {"foo": 1}
    {} [{"op": "add", "path": "", "value": []}] []
    [] [{"op": "add", "path": "", "value": {}}] {}
    [] [{"op": "add", "path": "/-", "value": "hi"}] ["hi"]
    {} [{"op": "add", "path": "/", "value": 1}] {"": 1}
    {"foo": {}} [{"op": "add", "path": "/foo/", "value": 1}] {"foo": {"": 1}}
    {"foo": 1} [{"op": "add", "path": "/bar", "value": [1, 2]}] {"foo": 1, "bar": [1, 2]}
    {"foo": 1, "baz": [{"qux": "hello"}]} [{"op": "add", "path": "/baz/0/foo", "value": "world"}] {"foo": 1, "baz": [{"qux": "hello", "foo": "world"}]}
    {"bar": [1, 2]} [{"op": "add", "path": "/bar/8", "value": "5"}] -
    {"bar": [1, 2]} [{"op": "add", "path": "/bar/-1", "value": "5"}] -
    {"foo": 1} [{"op": "add", "path": "/bar", "value": true}] {"foo": 1, "bar": true}
    {"foo": 1} [{"op": "add", "path": "/bar", "value": false}] {"foo": 1, "bar": false}
    {"foo": 1} [{"op": "add", "path": "/bar", "value": null}] {"foo": 1, "bar": null}
    {"foo": 1} [{"op": "add", "path": "/0", "value": "bar"}] {"foo": 1, "0": "bar"}
    ["foo"] [{"op": "add", "path": "/1", "value": "bar"}] ["foo", "bar"]
    ["foo", "sil"] [{"op": "add", "path": "/1", "value": "bar"}] ["foo", "bar", "sil"]
    ["foo", "sil"] [{"op": "add", "path": "/0", "value": "bar"}] ["bar", "foo", "sil"]
    ["foo", "sil"] [{"op": "add", "path": "/2", "value": "bar"}] ["foo", "sil", "bar"]
    ["foo", "sil"] [{"op": "add", "path": "/3", "value": "bar"}] -
    {"1e0": "foo"} [{"op": "test", "path": "/1e0", "value": "foo"}] {"1e0": "foo"}
    ["foo", "sil"] [{"op": "add", "path": "/bar", "value": 42}] -
    ["foo", "sil"] [{"op": "add", "path": "/1", "value": ["bar", "baz"]}] ["foo", ["bar", "baz"], "sil"]
    {"foo": 1, "bar": [1, 2, 3, 4]} [{"op": "remove", "path": "/bar"}] {"foo": 1}
    {"foo": 1, "baz": [{"qux": "hello"}]} [{"op": "remove", "path": "/baz/0/qux"}] {"foo": 1, "baz": [{}]}
    {"foo": 1, "baz": [{"qux": "hello"}]} [{"op": "replace", "path": "/foo", "value": [1, 2]}] {"foo": [1, 2], "baz": [{"qux": "hello"}]}
    {"foo": [1, 2]} [{"op": "replace", "path": "/foo/0/baz", "value": 1}] -
    ["foo"] [{"op": "replace", "path": "/0", "value": "bar"}] ["bar"]
    [""] [{"op": "replace", "path": "/0", "value": 0}] [0]
    [""] [{"op": "replace", "path": "/0", "value": null}] [null]
    ["foo", "sil"] [{"op": "replace", "path": "/1", "value": ["bar", "baz"]}] ["foo", ["bar", "baz"]]
    {"foo": "bar"} [{"op": "replace", "path": "", "value": {"baz": "qux"}}] {"baz": "qux"}
    {"foo": null} [{"op": "replace", "path": "/foo", "value": "truthy"}] {"foo": "truthy"}
    {"foo": null} [{"op": "move", "from": "/foo", "path": "/bar"}] {"bar": null}
    {"foo": null} [{"op": "copy", "from": "/foo", "path": "/bar"}] {"foo": null, "bar": null}
    {"foo": null} [{"op": "remove", "path": "/foo"}] {}
    {"foo": "bar"} [{"op": "replace", "path": "/foo", "value": null}] {"foo": null}
    {"foo": null} [{"op": "test", "path": "/foo", "value": null}] {"foo": null}
    {"foo": {"foo": 1, "bar": 2}} [{"op": "test", "path": "/foo", "value": {"bar": 2, "foo": 1}}] {"foo": {"foo": 1, "bar": 2}}
    {"foo": [{"foo": 1, "bar": 2}]} [{"op": "test", "path": "/foo", "value": [{"bar": 2, "foo": 1}]}] {"foo": [{"foo": 1, "bar": 2}]}
    {"foo": {"bar": [1, 2, 5, 4]}} [{"op": "test", "path": "/foo", "value": {"bar": [1, 2, 5, 4]}}] {"foo": {"bar": [1, 2, 5, 4]}}
    {"foo": {"bar": [1, 2, 5, 4]}} [{"op": "test", "path": "/foo", "value": [1, 2]}] -
    {"foo": 1} [{"op": "test", "path": "", "value": {"foo": 1}}] {"foo": 1}
    {"": 1} [{"op": "test", "path": "/", "value": 1}] {"": 1}
    {"a/b": 1, "c%d": 2, "e^f": 3, "k\"l": 4, " ": 5, "m~n": 6} [{"op": "test", "path": "/a~1b", "value": 1}, {"op": "test", "path": "/c%d", "value": 2}, {"op": "test", "path": "/e^f", "value": 3}, {"op": "test", "path": "/k\"l", "value": 4}, {"op": "test", "path": "/ ", "value": 5}, {"op": "test", "path": "/m~0n", "value": 6}] {"a/b": 1, "c%d": 2, "e^f": 3, "k\"l": 4, " ": 5, "m~n": 6}
    {"foo": 1, "baz": [{"qux": "hello"}]} [{"op": "move", "from": "/foo", "path": "/foo"}] {"foo": 1, "baz": [{"qux": "hello"}]}
    {"foo": 1, "baz": [{"qux": "hello"}]} [{"op": "move", "from": "/foo", "path": "/bar"}] {"bar": 1, "baz": [{"qux": "hello"}]}
    {"baz": [{"qux": "hello"}], "bar": 1} [{"op": "move", "from": "/baz/0/qux", "path": "/baz/1"}] {"baz": [{}, "hello"], "bar": 1}
    {"baz": [{"qux": "hello"}], "bar": 1} [{"op": "copy", "from": "/baz/0", "path": "/boo"}] {"baz": [{"qux": "hello"}], "bar": 1, "boo": {"qux": "hello"}}
    {"foo": "bar"} [{"op": "add", "path": "", "value": {"baz": "qux"}}] {"baz": "qux"}
    [1, 2] [{"op": "add", "path": "/-", "value": {"foo": ["bar", "baz"]}}] [1, 2, {"foo": ["bar", "baz"]}]
    [1, 2, [3, [4, 5]]] [{"op": "add", "path": "/2/1/-", "value": {"foo": ["bar", "baz"]}}] [1, 2, [3, [4, 5, {"foo": ["bar", "baz"]}]]]
    {"foo": 1, "baz": [1, 2, 3, 4]} [{"op": "remove", "path": "/baz/1e0"}] -
    [1, 2, 3, 4] [{"op": "remove", "path": "/0"}] [2, 3, 4]
    [1, 2, 3, 4] [{"op": "remove", "path": "/1"}, {"op": "remove", "path": "/2"}] [1, 3]
    [1, 2, 3, 4] [{"op": "remove", "path": "/1e0"}] -
    [""] [{"op": "replace", "path": "/1e0", "value": false}] -
    {"baz": [1, 2, 3], "bar": 1} [{"op": "copy", "from": "/baz/1e0", "path": "/boo"}] -
    {"foo": 1, "baz": [1, 2, 3, 4]} [{"op": "move", "from": "/baz/1e0", "path": "/foo"}] -
    ["foo", "sil"] [{"op": "add", "path": "/1e0", "value": "bar"}] -
    {} [{"op": "add", "path": "bar", "value": 1}] -
    {"foo": "bar"} [{"op": "replace", "path": "foo", "value": 1}] -
    {"foo": 1} [{"op": "test", "path": "/bar", "value": null}] -
    ["foo", "bar"] [{"op": "test", "path": "/00", "value": "foo"}] -
    ["foo", "bar"] [{"op": "test", "path": "/01", "value": "bar"}] -
    {"foo": {"bar": {"baz": [{"boo": "net"}]}}} [{"op": "copy", "from": "/foo/bar", "path": "/foo/bar/own"}] {"foo": {"bar": {"baz": [{"boo": "net"}], "own": {"baz": [{"boo": "net"}]}}}}
    {"foo": 1} [{"op": "remove", "path": "/bar"}] -
    {"foo": 1} [{"op": "copy", "from": "/bar", "path": "/foo"}] -
    {"foo": 1} [{"op": "move", "from": "/bar", "path": "/foo"}] -
    {"q": {"bar": 2}} [{"op": "add", "path": "/a/b", "value": 1}] -
    {"foo": 1} [{"op": "test", "path": "/foo", "value": 1.0}] {"foo": 1}
    {"foo": 1} [{"op": "test", "path": "/foo", "value": "1"}] -
    {"foo": 1} [{"op": "test", "path": "/foo", "value": true}] -
    {"foo": 0} [{"op": "test", "path": "/foo", "value": false}] -
    {"foo": null} [{"op": "test", "path": "/foo", "value": false}] -
    {"foo": [1]} [{"op": "test", "path": "/foo", "value": [true]}] -
    {"foo": [1]} [{"op": "test", "path": "/foo/-", "value": 1}] -
    {"foo": [1]} [{"op": "remove", "path": "/foo/-"}] -
    {"a~b": 1} [{"op": "test", "path": "/a~b", "value": 1}] -
    {"a~b": 1} [{"op": "test", "path": "/a~", "value": 1}] -
"#;

#[test]
fn a_json_patch_does_what_the_public_test_suite_says() {
    let cases: Vec<&str> = SUITE.lines().map(str::trim).filter(|case| !case.is_empty()).collect();
    assert_eq!(cases.len(), 88);
    for case in cases {
        let (case_text, is_refused) = case.strip_suffix(" -").map_or((case, false), |case| (case, true));
        let mut parts = serde_json::Deserializer::from_str(case_text).into_iter::<Value>().map(Result::unwrap);
        let (target, patch) = (parts.next().unwrap(), parts.next().unwrap());
        let operations: Vec<Operation> = serde_json::from_value(patch.clone()).unwrap();
        let mut patched = state(&target);
        assert_eq!(patched.patch(&operations).is_err(), is_refused, "{case}");
        assert_eq!(json_of(&patched), parts.next().unwrap_or(target), "{case}");
        assert_eq!(serde_json::to_value(operations).unwrap(), patch, "it is the same after a journey as JSON");
    }
    let unread = |operation: Value| serde_json::from_value::<Operation>(operation).unwrap_err().to_string();
    assert_eq!(unread(json!({"op": "add", "path": "/a"})), "missing field `value`");
    assert_eq!(unread(json!({"op": "test", "path": "/a"})), "missing field `value`");
    assert_eq!(unread(json!({"op": "add", "value": 1})), "missing field `path`");
    assert_eq!(unread(json!({"op": "copy", "path": "/a"})), "missing field `from`");
    assert!(unread(json!({"op": "spam", "path": "/a"})).starts_with("unknown variant `spam`"));
    assert!(unread(json!({"op": "add", "path": null, "value": 1})).contains("invalid type: null"));
}

#[test]
fn a_change_tells_its_path_and_keeps_the_rest() {
    let mut changed = state(&json!({"rows": [{"id": 1}, {"id": 2}], "n": 1}));
    let old = changed.clone();
    assert_eq!(changed.set("rows.1.id", 3).unwrap(), Changes::at("rows.1.id"));
    assert_eq!(changed.merge(&state(&json!({"n": 1, "m": {"a": null, "b": 1}}))), Changes::at("m"));
    assert_eq!(changed.insert("rows", 0, 5).unwrap(), Changes::at("rows"));
    assert_eq!(changed.remove("rows.0").unwrap(), Changes::at("rows"));
    assert_eq!(changed.extend("rows", [6, 7]).unwrap(), Changes::at("rows"));
    assert!(changed.extend("n", [8]).is_err() && changed.extend("o", [8]).is_err());
    assert_eq!(changed.remove("n").unwrap(), Changes::at("n"));
    assert_eq!(json_of(&changed), json!({"rows": [{"id": 1}, {"id": 3}, 6, 7], "m": {"b": 1}}));
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

/// Both serializers make the same of every kind of data.
#[test]
fn a_state_made_at_first_is_the_one_made_beside_another() {
    #[derive(Serialize)]
    enum Kind {
        Unit,
        New(u8),
        Tuple(i8, char),
        Struct { a: f32, b: () },
    }
    #[derive(Serialize)]
    struct Unit;
    #[derive(Serialize)]
    struct New(Option<u64>);
    #[derive(Serialize)]
    struct Pair(i16, u16);
    #[derive(Serialize)]
    struct Row {
        id: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<&'static str>,
        last: bool,
    }
    /// A map with these entries, in this order.
    struct Entries(Vec<(Value, Value)>);
    impl Serialize for Entries {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
        }
    }
    let row = |id, label| Row { id, label, last: id == 3 };
    let rows = vec![row(1, Some("a")), row(2, Some("b")), row(3, None), row(4, None), row(5, Some("c"))];
    let kinds = [Kind::Unit, Kind::New(1), Kind::Tuple(-1, '<'), Kind::Struct { a: 0.5, b: () }];
    let twice = Entries(vec![("a".into(), 1.into()), ("b".into(), 2.into()), ("a".into(), 3.into())]);
    let mixed = Entries(vec![("a".into(), 1.into()), (2.into(), "two".into()), ("b".into(), Value::Null)]);
    let maps = (vec![&twice, &twice], vec![&mixed, &mixed], Entries(Vec::new()));
    let numbers = (i64::MIN, u64::MAX, i128::MAX, u128::MAX, 1.5_f64);
    let rest = (Unit, New(None), New(Some(1)), Pair(1, 2), "text", [0_u8; 2], Vec::<u8>::new());
    check_both(&rows);
    check_both(&kinds);
    check_both(&kinds.iter().collect::<Vec<_>>());
    check_both(&maps);
    check_both(&maps.0);
    check_both(&numbers);
    check_both(&rest);
    check_both(&(rows, kinds));
}

#[track_caller]
fn check_both(data: &impl Serialize) {
    let (first, beside) = (State::new(data).expect("it is a state"), State::Null.renewed(data).expect("it is a state"));
    assert_eq!(format!("{first:?}"), format!("{beside:?}"));
    assert_eq!(first, beside);
}

fn state(json: &Value) -> State {
    State::new(json).unwrap()
}

fn json_of(state: &State) -> Value {
    serde_json::to_value(state).unwrap()
}

/// Each copy doubles the depth, or the number of values: sixty of them would be beyond any memory, and beyond any stack.
#[test]
fn copies_of_copies_are_bounded_in_depth_and_number() {
    let wider: Vec<Operation> =
        (0..60).map(|idx| Operation::Copy { from: "/a".into(), path: format!("/a/{idx}") }).collect();
    let old = State::new(&json!({"a": {"x": [1]}})).unwrap();
    let mut state = old.clone();
    let error = state.patch(&wider).unwrap_err();
    assert!(error.operation_idx().is_some_and(|idx| (15..25).contains(&idx)), "{error:?}");
    assert_eq!(error.to_string(), "the patch puts more than 1000000 values in their places");
    assert_eq!(state, old);

    // Into the deepest place that there is by then, which doubles the depth.
    let mut deeper = Vec::new();
    let mut path = String::from("/a");
    for _ in 0..8 {
        let place = format!("{path}/b");
        deeper.push(Operation::Copy { from: "/a".into(), path: place.clone() });
        path = format!("{place}{}", path.strip_prefix("/a").unwrap());
    }
    let error = state.patch(&deeper).unwrap_err();
    assert_eq!(error.to_string(), "the state would be deeper than 127 levels");
    assert_eq!(state, old);

    let long = format!("/a{}", "/b".repeat(200));
    let deep = (0..200)
        .fold(State::from(1), |inner, _| State::new(&std::collections::BTreeMap::from([("b", inner)])).unwrap());
    assert!(state.patch(&[Operation::Add { path: "/a/b".into(), value: deep }]).is_err());
    assert!(state.patch(&[Operation::Add { path: long, value: State::from(1) }]).is_err());
    assert_eq!(state, old);
}

/// Each step takes as long as the map is large; were it each key, this would take minutes.
#[test]
fn a_map_of_50_000_keys_is_made_renewed_and_emptied() {
    let data = |value: i64| -> Value { (0..50_000).map(|idx| (format!("key {idx}"), json!(value))).collect() };
    let mut state = State::new(&data(1)).unwrap();
    assert_eq!(state.renewed(&data(2)).unwrap(), State::new(&data(2)).unwrap());
    let nothing: Value = (1..50_000).map(|idx| (format!("key {idx}"), Value::Null)).collect();
    state.merge(&State::new(&nothing).unwrap());
    assert_eq!(json_of(&state), json!({"key 0": 1}));
    let mut state = State::new(&data(1)).unwrap();
    let removals: Vec<Operation> = (1..2_000).map(|idx| Operation::Remove { path: format!("/key {idx}") }).collect();
    state.patch(&removals).unwrap();
    assert_eq!(json_of(&state).as_object().unwrap().len(), 48_001);
    assert_eq!(json_of(&state)["key 2001"], 1);
}

#[test]
fn whatever_a_patch_nests_can_be_read_again() {
    let mut n_refused = 0;
    for n_levels in 120..132 {
        for leaf in [json!(1), json!([]), json!({})] {
            let value = (0..n_levels).fold(leaf, |inner, _| json!([inner]));
            let mut state = state(&json!({"a": null}));
            match state.patch(&[Operation::Replace { path: "/a".into(), value: State::new(&value).unwrap() }]) {
                Ok(_) => {
                    let text = serde_json::to_string(&state).unwrap();
                    serde_json::from_str::<State>(&text).unwrap_or_else(|error| panic!("{n_levels} levels: {error}"));
                }
                Err(_) => n_refused += 1,
            }
        }
    }
    assert!((10..30).contains(&n_refused), "{n_refused}");
}

/// However rows come, go and move, a state that is renewed is the new one, and the rows that it had are the same parts. A few may be
/// made anew before it is clear that many moved.
#[test]
fn rows_that_moved_are_the_same_parts() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |n: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % n as u64) as usize
    };
    for has_text in [false, true] {
        let row = |id: usize| match has_text {
            true => json!({"id": format!("row {id}"), "label": format!("{}", id % 7)}),
            false => json!({"id": id, "label": format!("{}", id % 7)}),
        };
        for n_rows in [0, 1, 2, 30, 200] {
            let old: Vec<usize> = (0..n_rows).collect();
            let mut news: Vec<Vec<usize>> = vec![old.clone(), old.iter().rev().copied().collect()];
            for _ in 0..60 {
                let mut new = old.clone();
                for _ in 0..below(8) {
                    match below(5) {
                        0 => {
                            let third = new.len() / 3;
                            new.rotate_left(third);
                        }
                        1 if !new.is_empty() => _ = new.drain(below(new.len())..).take(below(60)).count(),
                        2 => new.insert(below(new.len() + 1), n_rows + below(9)),
                        3 if !new.is_empty() => {
                            let moved = new.remove(below(new.len()));
                            new.insert(below(new.len() + 1), moved);
                        }
                        _ => (1..new.len()).for_each(|last| new.swap(last, below(last + 1))),
                    }
                }
                news.push(new);
            }
            let old_json = Value::from_iter(old.iter().map(|&id| row(id)));
            let old_state = state(&old_json);
            for new in news {
                let new_json = Value::from_iter(new.iter().map(|&id| row(id)));
                let renewed = old_state.renewed(&new_json).expect("JSON is a state");
                assert_eq!(json_of(&renewed), new_json);
                let is_made_anew = |(at, id): (usize, &usize)| match (renewed.get(at), old_state.get(*id)) {
                    (Some(new), Some(old)) => !new.is_same(old),
                    _ => false,
                };
                let n_made_anew = new.iter().enumerate().filter(|entry| is_made_anew(*entry)).count();
                assert!(n_made_anew <= 3, "{n_made_anew} of {new:?}");
            }
        }
    }
}

#[test]
fn a_state_within_data_becomes_a_part_as_it_is_and_others_see_its_contents() {
    #[derive(Serialize)]
    struct Data<'a> {
        whole: &'a State,
        items: Vec<Option<State>>,
        pair: (State, u8),
    }
    let whole = state(&json!({"a": [1, 2.5, null, "x"], "b": {"c": true}}));
    let data = Data { whole: &whole, items: vec![whole.get("a").cloned(), None], pair: (State::from("text"), 1) };
    let expected = json!({"whole": json_of(&whole), "items": [json_of(&whole)["a"], null], "pair": ["text", 1]});
    assert_eq!(serde_json::to_value(&data).unwrap(), expected);
    let (first, beside) = (State::new(&data).unwrap(), State::Null.renewed(&data).unwrap());
    for made in [&first, &beside, &beside.renewed(&data).unwrap()] {
        assert!(made.get("whole").unwrap().is_same(&whole));
        assert!(made.at(&"items.0".into()).unwrap().is_same(whole.get("a").unwrap()));
        assert_eq!(json_of(made), expected);
    }
    assert!(beside.renewed(&Data { pair: (State::from("text"), 1), ..data }).unwrap().is_alike(&beside));
}

#[test]
fn a_newtype_that_calls_itself_a_state_is_what_it_tells() {
    struct False<T>(T);
    impl<T: Serialize> Serialize for False<T> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_newtype_struct("domcast::State", &self.0)
        }
    }
    let inner = state(&json!([1]));
    let data = False(vec![(1, False(Some("x")), inner.clone())]);
    check_both(&data);
    let made = State::new(&data).unwrap();
    assert_eq!(json_of(&made), json!([[1, "x", [1]]]));
    assert_eq!(serde_json::to_value(&made).unwrap(), serde_json::to_value(&data).unwrap());
}

#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
struct Tea {
    id: u64,
    name: String,
    kind: Option<Kind>,
}

#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
enum Kind {
    Black,
    Mixed(Vec<i8>),
    Blend { of: (u8, char), price: f64 },
}

/// Whatever is done to them at random places, rows are those of a `Vec`, and what did not change is shared.
#[test]
fn rows_behave_as_a_vec_and_share_what_stays() {
    let mut random = 1_u64;
    let mut below = |n: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % n
    };
    let tea = |id: usize| Tea {
        id: id as u64,
        name: format!("tea {}", id % 7),
        kind: [None, Some(Kind::Black), Some(Kind::Mixed(vec![-1])), Some(Kind::Blend { of: (1, 'x'), price: 0.5 })]
            [id % 4]
            .clone(),
    };
    let mut vec: Vec<Tea> = (0..40).map(tea).collect();
    let mut rows = Rows::new(vec.clone()).unwrap();
    for step in 100..400 {
        let (old_vec, old_rows) = (vec.clone(), rows.clone());
        let old = State::new(&old_rows).unwrap();
        let idx = below(vec.len().max(1));
        match below(4) {
            0 if !vec.is_empty() => assert_eq!(rows.remove(idx).unwrap(), vec.remove(idx)),
            1 if !vec.is_empty() => {
                vec[idx].name.push('!');
                rows.update(idx, |tea| tea.name.push('!')).unwrap();
                let new = old.renewed(&rows).unwrap();
                let n_same = (0..vec.len()).filter(|at| new.get(*at).unwrap().is_same(old.get(*at).unwrap())).count();
                assert_eq!(n_same, vec.len() - 1);
                rows.update(idx, |_| {}).unwrap();
                assert!(new.renewed(&rows).unwrap().is_same(&new));
            }
            2 => {
                vec.push(tea(step));
                rows.push(&tea(step)).unwrap();
            }
            _ => {
                vec.insert(idx, tea(step));
                rows.insert(idx, &tea(step)).unwrap();
            }
        }
        assert_eq!((rows.iter().collect::<Vec<_>>(), rows.len()), (vec.clone(), vec.len()));
        assert_eq!(old_rows.iter().collect::<Vec<_>>(), old_vec);
        assert_eq!(State::new(&rows).unwrap(), State::new(&vec).unwrap());
        let text = serde_json::to_string(&rows).unwrap();
        assert_eq!(text, serde_json::to_string(&vec).unwrap());
        let read: Rows<Tea> = serde_json::from_str(&text).unwrap();
        assert_eq!(read.iter().collect::<Vec<_>>(), vec);
    }
}

#[test]
fn rows_that_are_not_there_or_cannot_be_read_are_refused() {
    #[derive(Debug, Serialize, serde::Deserialize)]
    struct Odd {
        #[serde(rename(serialize = "written", deserialize = "read"))]
        name: String,
    }
    assert!(Rows::new([Odd { name: "x".into() }]).is_err());
    let mut rows = Rows::new([1]).unwrap();
    assert_eq!(rows.update(1, |_| {}).unwrap_err().to_string(), "there is no row 1 of 1");
    assert!(rows.insert(2, &2).is_err() && rows.remove(1).is_err() && rows.get(1).is_none());
    assert_eq!(rows.iter().collect::<Vec<i32>>(), [1]);
    assert!(Rows::<u8>::default().is_empty());
}
