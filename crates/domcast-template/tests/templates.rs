//! Templates as their users see them: sources and a state in, text or an error out.

use domcast_template::{Limits, State, TemplateError, Templates};
use serde_json::json;

#[test]
fn values_are_escaped_in_markup_and_nowhere_else() {
    let templates = Templates::from_sources([
        ("a.html", "{{ x }}"),
        ("a.htm", "{{ x }}"),
        ("a.xml", "{{ x }}"),
        ("a.svg", "{{ x }}"),
        ("a.html.j2", "{{ x }}"),
        ("a.txt", "{{ x }}"),
        ("a.json", "{{ x }}"),
    ]);
    for name in ["a.html", "a.htm", "a.xml", "a.svg", "a.html.j2"] {
        assert_eq!(templates.render(name, &json!({"x": "<b>"})).unwrap(), "&lt;b&gt;", "{name}");
    }
    for name in ["a.txt", "a.json"] {
        assert_eq!(templates.render(name, &json!({"x": "<b>"})).unwrap(), "<b>", "{name}");
    }
}

#[test]
fn templates_extend_and_include_each_other() {
    let templates = Templates::from_sources([
        ("base.html", "<main>{% block body %}{% endblock %}</main>"),
        ("page.html", "{% extends 'base.html' %}{% block body %}{% include 'row.html' %}{% endblock %}"),
        ("row.html", "<p>{{ name }}</p>"),
    ]);
    assert_eq!(templates.render("page.html", &json!({"name": "tea"})).unwrap(), "<main><p>tea</p></main>");
}

#[test]
fn an_undefined_name_prints_nothing_but_has_no_attributes() {
    let templates = Templates::from_sources([("a.html", "[{{ missing }}]"), ("b.html", "{{ missing.name }}")]);
    assert_eq!(templates.render("a.html", &json!({})).unwrap(), "[]");
    let error = templates.render("b.html", &json!({})).unwrap_err();
    assert!(error.to_string().starts_with("undefined value"), "{error}");
    assert!(error.to_string().ends_with("in template `b.html` at line 1"), "{error}");
}

#[test]
fn a_missing_template_says_where_it_was_looked_for() {
    let folder = temp_folder("missing");
    let error = Templates::from_folder(&folder).render("orders/row.html", &json!({})).unwrap_err();
    assert_eq!(error.to_string(), format!("template `orders/row.html` not found (looked in `{}`)", folder.display()));
    assert!(error.is_missing());
    assert_eq!(error.line(), None);
}

#[test]
fn a_missing_include_is_found_where_it_is_named() {
    let templates = Templates::from_sources([("page.html", "<p>\n{% include 'gone.html' %}")]);
    let error = templates.render("page.html", &json!({})).unwrap_err();
    assert_eq!(error.to_string(), "template `gone.html` not found, in template `page.html` at line 2");
}

#[test]
fn an_error_shows_the_lines_around_it() {
    let source = "one\ntwo\nthree\n{% if %}\nfive\nsix\nseven";
    let error = Templates::from_sources([("page.html", source)]).render("page.html", &json!({})).unwrap_err();
    check(
        &error,
        "page.html",
        4,
        "   2 | two\n   3 | three\n   4 > {% if %}\n   5 | five\n   6 | six\n",
        "syntax error: unexpected end of block, in template `page.html` at line 4",
    );
}

#[test]
fn an_error_in_an_included_template_names_that_template() {
    let templates = Templates::from_sources([
        ("page.html", "{% include 'row.html' %}"),
        ("row.html", "<td>\n{{ price + 'x' }}\n</td>"),
    ]);
    let error = templates.render("page.html", &json!({"price": 3})).unwrap_err();
    check(
        &error,
        "row.html",
        2,
        "   1 | <td>\n   2 > {{ price + 'x' }}\n   3 | </td>\n",
        "invalid operation: tried to use + operator on unsupported types number and string, in template `row.html` at line 2",
    );
}

#[test]
fn output_beyond_the_limit_is_refused_while_it_is_written() {
    let templates = Templates::from_sources([("a.html", "{% for _ in range(100000) %}{{ text }}{% endfor %}")]);
    let error = templates.render("a.html", &json!({"text": "x".repeat(1000)})).unwrap_err();
    assert_eq!(error.to_string(), "the output exceeds the limit of 8388608 bytes, in template `a.html`");
}

#[test]
fn a_source_beyond_the_limit_is_refused() {
    let folder = temp_folder("long");
    std::fs::write(folder.join("a.html"), "x".repeat(101)).unwrap();
    let templates = Templates::from_folder_with(&folder, Limits { source_bytes: 100, ..Limits::default() });
    let error = templates.render("a.html", &json!({})).unwrap_err();
    assert_eq!(error.message(), "template `a.html` of 101 bytes exceeds the limit of 100");
}

#[test]
fn an_edit_shows_after_a_reload() {
    let folder = temp_folder("reload");
    std::fs::write(folder.join("a.html"), "old").unwrap();
    let templates = Templates::from_folder(&folder);
    assert_eq!(templates.render("a.html", &json!({})).unwrap(), "old");
    std::fs::write(folder.join("a.html"), "new").unwrap();
    assert_eq!(templates.render("a.html", &json!({})).unwrap(), "old");
    templates.reload();
    assert_eq!(templates.render("a.html", &json!({})).unwrap(), "new");
}

#[test]
fn a_name_never_leaves_the_folder() {
    let folder = temp_folder("outside");
    std::fs::create_dir_all(folder.join("inside")).unwrap();
    std::fs::write(folder.join("secret.html"), "secret").unwrap();
    let templates = Templates::from_folder(folder.join("inside"));
    for name in ["../secret.html", "/secret.html", "./../secret.html", "x/../../secret.html"] {
        assert!(templates.render(name, &json!({})).unwrap_err().is_missing(), "{name}");
    }
}

#[test]
fn functions_and_filters_can_be_added() {
    let templates = Templates::from_sources([("a.html", "{{ 'tea' | shout }}{{ answer() }}")]);
    templates.configure(|environment| {
        environment.add_filter("shout", |text: String| text.to_uppercase());
        environment.add_function("answer", || 42);
    });
    templates.reload();
    assert_eq!(templates.render("a.html", &json!({})).unwrap(), "TEA42");
}

#[test]
fn expressions_compute_values_from_a_state() {
    let templates = Templates::from_sources([("", ""); 0]);
    let state = json!({"count": 3, "items": ["a"], "payload": {"by": 4, "item": "b"}});
    let evaluate = |expression| templates.evaluate::<serde_json::Value>(expression, &state).unwrap();
    assert_eq!(evaluate("count + payload.by"), json!(7));
    assert_eq!(evaluate("(items + [payload.item])[-1:]"), json!(["b"]));
    assert_eq!(evaluate("{'name': payload.item, 'big': count > 2}"), json!({"name": "b", "big": true}));
}

#[test]
fn an_expression_over_a_state_hands_its_parts_on_as_they_were() {
    let templates = Templates::from_sources([("", ""); 0]);
    let state = State::new(&json!({"rows": [{"id": 1}, {"id": 2}], "n": 1})).unwrap();
    let evaluate = |expression| templates.evaluate_state(expression, &state).unwrap();
    let part = |path: &str| state.at(&path.into()).unwrap();
    assert!(evaluate("rows").is_same(part("rows")));
    let turned = evaluate("(rows + [{'id': n + 2, 'safe': '<'|safe, 'none': [none, rows[0]]}])[1:]");
    assert!(turned.get(0).unwrap().is_same(part("rows.1")));
    assert!(turned.at(&"1.none.1".into()).unwrap().is_same(part("rows.0")));
    assert_eq!(
        serde_json::to_value(turned).unwrap(),
        json!([{"id": 2}, {"id": 3, "safe": "<", "none": [null, {"id": 1}]}])
    );
    assert_eq!(serde_json::to_value(evaluate("rows|map(attribute='id')|sort(reverse=true)")).unwrap(), json!([2, 1]));
    let error = templates.evaluate_state("nothing", &state).unwrap_err();
    assert_eq!(error.to_string(), "undefined value: the expression has no value in the expression `nothing`");
}

#[test]
fn a_wrong_expression_is_quoted() {
    let templates = Templates::from_sources([("", ""); 0]);
    let text = |expression| templates.evaluate::<i64>(expression, &json!({"count": 3})).unwrap_err().to_string();
    assert_eq!(
        text("count +"),
        "syntax error: unexpected end of input, expected expression in the expression `count +`"
    );
    assert_eq!(text("nothing"), "undefined value: the expression has no value in the expression `nothing`");
    assert!(text("'three'").starts_with("cannot deserialize: invalid type: string \"three\""), "{}", text("'three'"));
}

#[track_caller]
fn check(error: &TemplateError, template: &str, line: usize, excerpt: &str, text: &str) {
    assert_eq!(error.to_string(), text);
    assert_eq!(error.template(), Some(template));
    assert_eq!(error.line(), Some(line));
    assert_eq!(error.excerpt(), Some(excerpt));
}

fn temp_folder(name: &str) -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("templates").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_template_tells_which_names_it_takes_from_the_state() {
    let templates = Templates::from_sources([
        (
            "base.html",
            "<h1>{% block title %}{{ title }}{% endblock %}</h1>\n{% block body %}{{ overridden }}{% endblock %}",
        ),
        (
            "page.html",
            "{% extends 'base.html' %}\n{% block body %}\n{% for row in rows %}{{ loop.index }}{{ row.name }}{{ cuont }}{% endfor %}\n\
             {% set total = cuont %}{{ total }}{{ range(3) }}{{ maybe | default('-') }}{% if flag is defined %}{{ flag }}{% endif %}\n\
             {% include 'row.html' %}{% endblock %}",
        ),
        ("row.html", "{{ row }}\n{% macro m(arg) %}{{ arg }}{{ deep }}{% endmacro %}{{ m(1) }}"),
        ("whole.html", "{% set ns = namespace(n=0) %}\n{% for x in xs %}{% set ns.n = 1 %}{% endfor %}{{ ns.n }}"),
    ]);
    let names = |template: &str| -> Vec<String> {
        let names = templates.program(template).unwrap().names();
        names.iter().map(|found| format!("{} {}:{}", found.name, found.template, found.line)).collect()
    };
    // `row` is bound in the loop, so it is not told of in the other template either.
    assert_eq!(names("page.html"), ["cuont page.html:3", "rows page.html:3", "title base.html:1", "deep row.html:2"]);
    assert_eq!(names("whole.html"), ["xs whole.html:2"]);
    let names = templates.names_of_expression("count + payload.by + range(3) | length").unwrap();
    assert_eq!(Vec::from_iter(names), ["count", "payload"]);
}
