//! Pushes that edit a state: JSON Merge Patch and JSON Patch, of declared views and of Rust views.

use crate::client::{content, now, unlimited};
use domcast_push::template::Templates;
use domcast_push::{DeclaredView, Edits, Empty, ErrorClass, Handlers, Hub, Push, View};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    paid: bool,
    address: BTreeMap<String, String>,
    items: Vec<String>,
}

impl View for Order {
    const TEMPLATE: &'static str = "order.html";
}

const ORDER: &str = "{{ paid }} {{ address|tojson }} {{ items|tojson }}";
const AT_FIRST: &str = r#"False {"city": "Rome", "zip": "1"} ["tea", "milk"]"#;

/// A hub with the same view twice, once in Rust and once declared.
fn hub() -> Hub {
    let hub = Hub::with_options(Templates::from_sources([("order.html", ORDER)]), unlimited());
    let address = json!({"city": "Rome", "zip": "1"});
    let order: Order = serde_json::from_value(json!({
        "paid": false, "address": address, "items": ["tea", "milk"],
    }))
    .unwrap();
    hub.register("rust", order).unwrap();
    let declared = DeclaredView::new("order.html")
        .state("paid", false)
        .state("address", address)
        .state("items", json!(["tea", "milk"]));
    hub.register_declared("declared", declared).unwrap();
    hub
}

/// Pushes an edit to both views; compares what they show then, or why it is refused (and that nothing changed).
#[track_caller]
fn check(edit: &Value, expected: Result<&str, &str>) {
    let hub = hub();
    for view in ["rust", "declared"] {
        let mut push = edit.clone();
        push["view"] = view.into();
        let push: Push = serde_json::from_value(push).unwrap();
        let outcome =
            hub.push_blocking(push).map_err(|error| error.to_string().replace(&format!("`{view}`"), "`VIEW`"));
        let shown = content(&hub, view).replace("&quot;", "\"").replace("&#34;", "\"");
        match expected {
            Ok(expected) => {
                outcome.unwrap();
                assert_eq!(shown, expected, "{view}");
            }
            Err(expected) => {
                assert_eq!(outcome.unwrap_err(), expected, "{view}");
                assert_eq!(shown, AT_FIRST, "{view}");
            }
        }
    }
}

#[test]
fn a_merge_changes_members_at_every_depth_and_null_removes_one() {
    check(
        &json!({"merge": {"address": {"zip": null, "street": "Via"}}}),
        Ok(r#"False {"city": "Rome", "street": "Via"} ["tea", "milk"]"#),
    );
    check(&json!({"merge": {"items": ["salt"]}}), Ok(r#"False {"city": "Rome", "zip": "1"} ["salt"]"#));
}

#[test]
fn a_merge_that_does_not_fit_says_where() {
    check(
        &json!({"merge": {"adress": {"zip": "2"}}}),
        Err("view `VIEW` has no state key `adress` (declared: `paid`, `address`, `items`)"),
    );
    check(
        &json!({"merge": {"paid": null}}),
        Err("state key `paid` of view `VIEW` cannot be removed, only what is inside it"),
    );
}

#[test]
fn a_patch_runs_its_operations_in_order() {
    check(
        &json!({"patch": [
            {"op": "test", "path": "/items/0", "value": "tea"},
            {"op": "remove", "path": "/items/0"},
            {"op": "add", "path": "/items/-", "value": "salt"},
            {"op": "replace", "path": "/paid", "value": true},
            {"op": "copy", "from": "/items/1", "path": "/address/zip"},
        ]}),
        Ok(r#"True {"city": "Rome", "zip": "salt"} ["milk", "salt"]"#),
    );
}

#[test]
fn a_patch_whose_test_fails_changes_nothing() {
    check(
        &json!({"patch": [
            {"op": "replace", "path": "/paid", "value": true},
            {"op": "test", "path": "/items/0", "value": "milk"},
        ]}),
        Err("operation 1 of the patch does not fit view `VIEW` at `/items/0`: the test found another value, a string"),
    );
}

#[test]
fn a_patch_that_does_not_fit_says_which_operation_and_what_is_there() {
    let patch = |operation: Value| json!({ "patch": [{"op": "test", "path": "/paid", "value": false}, operation] });
    let wrong =
        |at: &str, reason: &str| format!("operation 1 of the patch does not fit view `VIEW` at `{at}`: {reason}");
    check(&patch(json!({"op": "remove", "path": "/items/7"})), Err(&wrong("/items/7", "`/items` is a list of 2")));
    check(
        &patch(json!({"op": "replace", "path": "/address/street", "value": "Via"})),
        Err(&wrong("/address/street", "`/address` has `city`, `zip`")),
    );
    check(
        &patch(json!({"op": "move", "from": "/address/street", "path": "/address/zip"})),
        Err(&wrong("/address/street", "`/address` has `city`, `zip`")),
    );
    check(&patch(json!({"op": "add", "path": "/paid/x", "value": 1})), Err(&wrong("/paid/x", "`/paid` is a boolean")));
    check(
        &patch(json!({"op": "add", "path": "/owner", "value": 1})),
        Err("view `VIEW` has no state key `owner` (declared: `paid`, `address`, `items`)"),
    );
    check(
        &patch(json!({"op": "remove", "path": "/paid"})),
        Err("state key `paid` of view `VIEW` cannot be removed, only what is inside it"),
    );
    check(
        &json!({"patch": [{"op": "replace", "path": "", "value": 5}]}),
        Err("operation 0 of the patch does not fit view `VIEW` at ``: the state would be a number, expected an object"),
    );
}

#[test]
fn an_edit_keeps_the_types_of_the_view() {
    let hub = hub();
    let text = |push| hub.push_blocking(push).unwrap_err().to_string();
    assert_eq!(
        text(Push::merge("rust", [("items", json!({"a": 1}))])),
        "state key `items` of view `rust` does not take this value: invalid type: map, expected a sequence"
    );
    assert_eq!(
        text(Push::merge("declared", [("items", json!({"a": 1}))])),
        "state key `items` of view `declared` does not take this value: found an object, expected a list"
    );
}

#[test]
fn edits_that_wait_together_are_applied_in_order() {
    let hub = hub();
    let add = |item: &str| {
        let patch = json!([{"op": "add", "path": "/items/-", "value": item}]);
        Push::patch("declared", serde_json::from_value(patch).unwrap())
    };
    let pushes = [add("a"), Push::state("declared", [("items", json!(["b"]))]), add("c"), add("d")];
    let outcomes: Vec<_> = pushes.into_iter().map(|push| hub.submit(push).unwrap()).collect();
    for outcome in outcomes {
        assert_eq!(now(outcome).unwrap().unwrap().version(), Some(1), "they are rendered once");
    }
    assert!(content(&hub, "declared").ends_with(r#"["b", "c", "d"]"#), "{}", content(&hub, "declared"));
}

#[test]
fn a_push_of_another_form_is_refused_with_what_was_found() {
    for (push, found) in [
        (json!({"view": "a"}), "`view`"),
        (json!({"view": "a", "state": {}, "merge": {}}), "`view` and `state` and `merge`"),
        (json!({"view": "a", "payload": {}}), "`view` and `payload`"),
        (json!({"topic": "a", "key": "1"}), "`key` and `topic`"),
        (json!({}), "none"),
    ] {
        let error = serde_json::from_value::<Push>(push).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "a push has `view` and one of `state`, `merge`, `patch`, `html`, `handler` with `payload`; \
                 or `topic` and `data`; or `revoke`; found {found}"
            )
        );
    }
    let wrong = |push: Value| serde_json::from_value::<Push>(push).unwrap_err().to_string();
    assert!(wrong(json!({"view": "a", "merge": 5})).contains("invalid type: integer `5`, expected a map"));
    assert!(wrong(json!({"view": "a", "patch": [{"op": "set"}]})).contains("unknown variant `set`"));
    assert!(
        wrong(json!({"view": "a", "key": true, "state": {}})).contains("expected a text or a whole number as `key`")
    );
}

/// The key of a row of a database is a number more often than not.
#[test]
fn a_key_may_be_a_whole_number() {
    let push = serde_json::from_value::<Push>(json!({"view": "a", "key": 42, "html": ""})).unwrap();
    assert_eq!(push, Push::html("a", "").key("42"));
}

#[test]
fn a_push_is_the_same_after_a_journey_as_json() {
    let patch = serde_json::from_value(json!([{"op": "remove", "path": "/a"}])).unwrap();
    for push in [
        Push::state("a", [("b", 1)]),
        Push::merge("a", [("b", Value::Null)]).key("42"),
        Push::patch("a", patch),
        Push::handler("a", "b", json!([1])).user("u").except("t"),
        Push::html("a", "<p>"),
        Push::message("a", Value::Null).session("s").tab("t"),
    ] {
        let json = serde_json::to_string(&push).unwrap();
        assert_eq!(serde_json::from_str::<Push>(&json).unwrap(), push, "{json}");
    }
}

#[test]
fn a_handler_that_nests_its_state_deeper_and_deeper_is_refused_in_the_end() {
    let hub = Hub::with_options(Templates::from_sources([("deep.html", "{{ n }}")]), unlimited());
    let nest = Edits::new().set("list", "[list]").set("map", "{'inner': map, 'other': 1}").set("n", "n + 1");
    let view = DeclaredView::new("deep.html").state("list", json!([])).state("map", json!({})).state("n", 0);
    hub.register_declared("deep", view.handler("nest", nest).handler("count", Edits::new().set("n", "n + 1"))).unwrap();
    let mut n_done = 0;
    let error = loop {
        match hub.push_blocking(Push::handler("deep", "nest", json!({}))) {
            Ok(_) => n_done += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(n_done, 125, "the state itself is a level, and so is the list that was there at first");
    let deepest = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(
        serde_json::from_str::<Value>(&deepest(127)).is_ok() && serde_json::from_str::<Value>(&deepest(128)).is_err()
    );
    assert_eq!(error.class(), ErrorClass::Unfit);
    assert!(error.to_string().contains("`list`: the state would be deeper than 127 levels"), "{error}");
    assert_eq!(content(&hub, "deep"), "125", "the state is as it was");
    hub.push_blocking(Push::handler("deep", "count", json!({}))).unwrap();
    assert_eq!(content(&hub, "deep"), "126");
}

/// A view in Rust whose state may be of any depth.
#[derive(Clone, Serialize, Deserialize)]
struct Deep {
    inner: Value,
    n: u32,
}

impl View for Deep {
    const TEMPLATE: &'static str = "deep.html";

    fn handlers(handlers: &mut Handlers<Self>) {
        handlers.on("nest", |view: &mut Self, _: Empty| {
            (view.inner, view.n) = (json!([view.inner]), view.n + 1);
            Ok(())
        });
    }
}

#[test]
fn a_handler_in_rust_that_nests_its_state_is_refused_before_the_stack_ends() {
    let hub = Hub::with_options(Templates::from_sources([("deep.html", "{{ n }}")]), unlimited());
    hub.register("deep", Deep { inner: Value::Null, n: 0 }).unwrap();
    let outcomes = (0..1000).map(|_| hub.push_blocking(Push::handler("deep", "nest", json!({}))));
    let errors: Vec<_> = outcomes.filter_map(Result::err).collect();
    assert_eq!(errors[0].to_string(), "the state of view `deep` cannot be used: it would be deeper than 127 levels");
    assert_eq!((errors.len(), &*content(&hub, "deep")), (1000 - 126, "126"));
    hub.push_blocking(Push::state("deep", [("inner", 1)])).unwrap();
}
