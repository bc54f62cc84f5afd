//! What an update of a template's document sends, and which layer found it.

use domcast_diff::apply;
use domcast_document::{DocumentError, HtmlDocument, Template, TemplateDocument};
use domcast_parser::parse_fragment;
use domcast_template::{Changes, Path, State, Templates};
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn a_text_is_set_alone() {
    check(
        "<p>Hello <b>{{ name }}</b>!</p>",
        &[json!({"name": "Ada"}), json!({"name": "Bob"})],
        &["set text of #4 to \"Bob\""],
    );
}

#[test]
fn a_text_around_a_part_is_spliced() {
    let old = json!({"n": 1});
    check("<p>You have {{ n }} messages.</p>", &[old, json!({"n": 12})], &["in text of #2 replace 0 from 10 by \"2\""]);
}

#[test]
fn a_value_of_an_attribute_is_set_alone() {
    let template = "<a href=\"/u/{{ id }}\" class=\"{% if on %}on &amp; {% endif %}x\">u</a>";
    check(
        template,
        &[json!({"id": 1, "on": true}), json!({"id": 2, "on": true}), json!({"id": 2, "on": false})],
        &["set href of #1 to \"/u/2\"", "set class of #1 to \"x\""],
    );
}

#[test]
fn a_part_around_an_attribute_makes_the_tag_be_parsed() {
    let template = "<input{% if on %} checked{% endif %} value={{ v }}>";
    check(
        template,
        &[json!({"on": false, "v": 1}), json!({"on": true, "v": 1}), json!({"on": true, "v": "a b"})],
        &["set checked of #1 to \"\"", "set value of #1 to \"a\"\nset b of #1 to \"\""],
    );
}

#[test]
fn a_text_that_prints_nothing_is_no_node() {
    check(
        "<p>{{ text }}</p>",
        &[json!({"text": "a"}), json!({"text": ""}), json!({"text": "b"})],
        &["remove all in #1", "insert \"b\" at the end of #1"],
    );
}

#[test]
fn rows_take_the_space_behind_them_along() {
    let template = "<ul>\n{% for x in xs %}\n  <li dc-key=\"{{ x }}\">{{ x }}</li>\n{% endfor %}\n</ul>";
    check(
        template,
        &[json!({"xs": [1, 2, 3]}), json!({"xs": [1, 3]}), json!({"xs": [3, 1]}), json!({"xs": []})],
        &[
            "remove #6 #8",
            "set text of #11 to \"\\n\\n  \"\nset text of #5 to \"\\n\\n\"\nmove #3 #5 to the end",
            "set text of #2 to \"\\n\\n\"\nremove #9 #11 #3 #5",
        ],
    );
}

#[test]
fn the_text_behind_a_branch_stays() {
    check(
        "<p>{% if on %}<b>yes</b>{% else %}<i>no</i>{% endif %} it is {{ n }}</p>",
        &[json!({"on": true, "n": 1}), json!({"on": false, "n": 2})],
        &["in text of #4 replace 1 from 7 by \"2\"\nremove #2\ninsert <i>\"no\"</i> before #4 in #1"],
    );
}

#[test]
fn nothing_is_sent_where_equal_rows_change_places() {
    let template = "<ul>{% for x in xs %}<li>{{ x.n }}</li>{% endfor %}</ul>";
    check(template, &[json!({"xs": [{"n": 1}, {"n": 1}]}), json!({"xs": [{"n": 1, "m": 1}, {"n": 1}]})], &[""]);
}

#[test]
fn nothing_is_sent_where_rows_change_places_and_become_alike() {
    let template = "<ul>{% for x in xs %}<li>{% if on %}{{ loop.index }}{% endif %}</li>{% endfor %}</ul>";
    let templates = Templates::from_sources([("page.html", template)]);
    let template = Template::new(&templates, "page.html").expect("the template is right");
    let old = state(&json!({"on": true, "xs": [{"n": 1}, {"n": 2}]}));
    let mut document = TemplateDocument::new(&template, old.clone()).expect("it renders");
    // The rows are the same parts, in another order.
    let rows: State = [1, 0].into_iter().filter_map(|idx| old.get("xs")?.get(idx as usize).cloned()).collect();
    let mut new = old.clone();
    let changes = new.set("xs", rows).expect("the state has rows");
    let update = document.update(new, &changes).expect("it renders");
    assert_eq!(update.patches.to_string(), "");
    let update = document.update(old, &Changes::Unknown).expect("it renders");
    assert_eq!(update.patches.to_string(), "");
}

#[test]
fn a_loop_in_svg_costs_what_changes() {
    let template = "<svg viewBox=\"0 0 {{ w }} 9\">{% for x in xs %}<circle cx=\"{{ x }}\"/>{% endfor %}</svg>";
    check(
        template,
        &[json!({"w": 9, "xs": [1]}), json!({"w": 10, "xs": [1, 2]})],
        &["in viewBox of #1 replace 1 from 4 by \"10\"\ninsert <svg circle cx=\"2\"></svg circle> at the end of #1"],
    );
}

#[test]
fn a_newline_where_a_text_area_begins_is_dropped() {
    let template = "<textarea>{{ t }}</textarea><pre>\n{{ t }}</pre><pre>{% if on %}{{ t }}{% endif %}\nx</pre>";
    law(
        template,
        &[json!({"t": "\na"}), json!({"t": "\n\nb", "on": true}), json!({"t": "", "on": true}), json!({"t": "\n"})],
        Small,
    );
}

#[test]
fn a_carriage_return_is_a_newline() {
    law("<p title=\"{{ t }}\">{{ t }}</p>", &[json!({"t": "a"}), json!({"t": "a\r\nb\rc"})], Small);
    law("<p>{{ t }}\n</p>", &[json!({"t": "a"}), json!({"t": "a\r"}), json!({"t": "a\0b"})], Plain);
}

#[test]
fn markup_that_is_printed_is_compared_alone() {
    check(
        "<p>{{ t|safe }}!</p><i>{{ n }}</i>",
        &[
            json!({"t": "a", "n": 1}),
            json!({"t": "<b>b</b> &amp; <u>c</u>", "n": 1}),
            json!({"t": "<b>b</b> &amp; <u>d</u>", "n": 2}),
            json!({"t": "<u>d</u>", "n": 2}),
            json!({"t": "e", "n": 2}),
        ],
        &[
            "set text of #2 to \" & \"\ninsert <u>\"c\"</u>\"!\" at the end of #1\ninsert <b>\"b\"</b> before #2 in #1",
            "set text of #4 to \"2\"\nset text of #6 to \"d\"",
            "remove #8 #2",
            "set text of #7 to \"e!\"\nremove #5",
        ],
    );
}

#[test]
fn a_macro_costs_what_it_prints() {
    let template = "{% macro card(u) %}<div dc-key=\"{{ u.id }}\"><b>{{ u.name }}</b></div>{% endmacro %}\
                    <main>{% for u in us %}{{ card(u) }}{% endfor %}</main>";
    let users = |names: &[&str]| -> Value { names.iter().map(|name| json!({"id": name[..1], "name": name})).collect() };
    check(
        template,
        &[
            json!({"us": users(&["ada", "bob"])}),
            json!({"us": users(&["ada", "bobby"])}),
            json!({"us": users(&["bobby", "ada"])}),
        ],
        &["set text of #7 to \"bobby\"", "move #2 to the end"],
    );
}

#[test]
fn markup_that_does_not_close_takes_the_plain_pipeline_as_long_as_it_is_there() {
    let templates = Templates::from_sources([("page.html", "<p>{{ t|safe }}</p><i>{{ n }}</i>")]);
    let template = Template::new(&templates, "page.html").expect("the template is right");
    let mut document = TemplateDocument::new(&template, state(&json!({"t": "a", "n": 1}))).expect("it renders");
    let mut is_plain = |value: Value| {
        let update = document.update(state(&value), &Changes::Unknown).expect("it renders");
        assert_eq!(*document.tree(), parse_fragment(&document.html(), "div").expect("it is short"));
        update.trace.whole.is_some()
    };
    assert!(!is_plain(json!({"t": "b", "n": 1})));
    assert!(is_plain(json!({"t": "<b>c", "n": 1})));
    assert!(is_plain(json!({"t": "<b>c", "n": 2})));
    assert!(is_plain(json!({"t": "d", "n": 2})), "the nodes are looked for after it");
    assert!(!is_plain(json!({"t": "d", "n": 3})));
}

#[test]
fn markup_whose_meaning_depends_on_what_is_around_takes_the_plain_pipeline() {
    for (template, values) in [
        ("<p>{{ t|safe }}</p>", ["<div>a</div>", "<li>b"]),
        ("<a>{{ t|safe }}</a>", ["<a>x</a>", "<!-- "]),
        ("<b>{{ t|safe }}lt;</b>", ["<i></i>&", "x<"]),
        ("<ul>{{ t|safe }} tail</ul>", ["<li>a", "<li>b"]),
        ("<textarea>{{ t|safe }}</textarea>", ["<b>", "&amp;"]),
    ] {
        law(template, &[json!({"t": "-"}), json!({"t": values[0]}), json!({"t": values[1]})], Plain);
    }
}

#[test]
fn attributes_that_a_value_brought_go_with_it() {
    let template = "<b class='{{ t|safe }}' id='x'>x</b>";
    law(template, &[json!({"t": "a"}), json!({"t": "' id='y"}), json!({"t": "' c d='"}), json!({"t": "b"})], Small);
}

#[test]
fn what_a_part_could_change_around_it_takes_the_plain_pipeline() {
    let odd = [
        "<i class=\"{% if on %}x\"{% else %}y\"{% endif %}>t</i>",
        "{% for x in xs %}<b{% endfor %}>t</b>",
        "{% for x in xs %}<li>{{ x }}{% endfor %}",
        "<p>{{ t }}<div>{{ t }}</div>",
        "<p>{% if on %}<div>a</div>{% endif %}</p>",
        "<table><tr><td>{{ t }}</td></tr></table>",
        "<table>{% for x in xs %}<tr><td>{{ x }}</td></tr>{% endfor %}</table>",
        "<table>{{ t }}<tbody></tbody></table>",
        "{% if on %}<b>{% endif %}{{ t }}{% if on %}</b>{% endif %}",
        "&{{ t }};",
        "<{{ t }}>",
        "<i{% if on %}mg{% endif %}>x</i>",
        "<script>x = {{ n }}</script>",
        "<!-- {{ t }} -->",
        "<template>{{ t }}</template>",
        "<math><mi>{{ t }}</mi></math>",
        "<select><option>{{ t }}<option>b</select>",
        "<h1>{% if on %}<h2>a</h2>{% endif %}</h1>",
        "<a>{% if on %}<a>x</a>{% endif %}</a>",
    ];
    let states = [
        json!({"on": false, "xs": [], "t": "amp", "n": 1}),
        json!({"on": true, "xs": [1, 2], "t": "amp", "n": 1}),
        json!({"on": true, "xs": [2], "t": "lt", "n": 2}),
        json!({"on": false, "xs": [2, 1], "t": "b", "n": 2}),
    ];
    for template in odd {
        law(template, &states, Plain);
    }
}

#[test]
fn a_failing_template_leaves_the_document_as_it_was() {
    let templates = Templates::from_sources([("page.html", "<p>{{ a }}</p>{{ 1 // b }}")]);
    let template = Template::new(&templates, "page.html").expect("the template is right");
    let mut document = TemplateDocument::new(&template, state(&json!({"a": 1, "b": 1}))).expect("it renders");
    let before = document.tree().clone();
    assert!(document.update(state(&json!({"a": 2, "b": 0})), &Changes::Unknown).is_err());
    assert_eq!(*document.tree(), before);
    let update = document.update(state(&json!({"a": 3, "b": 1})), &Changes::Unknown).expect("it renders");
    assert_eq!(update.patches.to_string(), "set text of #2 to \"3\"\n");
}

#[test]
fn a_panic_in_a_function_of_the_templates_leaves_the_document_as_it_was() {
    let templates =
        Templates::from_sources([("page.html", "<p>{{ a }}</p>{% for x in xs %}<i>{{ checked(x) }}</i>{% endfor %}")]);
    templates.configure(|environment| {
        environment.add_function("checked", |x: i64| {
            assert!(x != 13, "thirteen");
            x
        });
    });
    let template = Template::new(&templates, "page.html").expect("the template is right");
    let mut document = TemplateDocument::new(&template, state(&json!({"a": 1, "xs": [1, 2]}))).expect("it renders");
    let before = document.tree().clone();
    let new = state(&json!({"a": 2, "xs": [1, 3, 13, 2]}));
    let updated = catch_unwind(AssertUnwindSafe(|| document.update(new, &Changes::Unknown)));
    assert!(updated.is_err());
    assert_eq!(*document.tree(), before);
    assert_eq!(parse_fragment(&document.html(), "div").expect("it is short"), before);
    for xs in [json!([1, 2]), json!([1, 2, 3]), json!([3])] {
        let update = document.update(state(&json!({"a": 3, "xs": xs})), &Changes::Unknown).expect("it renders");
        assert!(!update.patches.is_empty());
        assert_eq!(*document.tree(), parse_fragment(&document.html(), "div").expect("it is short"));
    }
}

#[test]
fn parts_are_set_in_place_and_states_that_are_held_stay() {
    let rows = |label: &str| json!({"rows": [{"id": 1, "label": "tea"}, {"id": 2, "label": label}], "n": 1});
    let template =
        "<ul>{% for r in rows %}<li dc-key=\"{{ r.id }}\">{{ r.label }}</li>{% endfor %}</ul>{{ rows|length }}";
    let templates = Templates::from_sources([("page.html", template)]);
    let template = Template::new(&templates, "page.html").expect("the template is right");
    let mut document = TemplateDocument::new(&template, state(&rows("milk"))).expect("it renders");
    let address = |document: &TemplateDocument| match document.state().get("rows") {
        Some(State::List(rows)) => std::sync::Arc::as_ptr(rows),
        _ => panic!("the rows are a list"),
    };
    let label = || Path::from("rows.1.label");
    let first = address(&document);
    let update = document.set([(label(), State::from("cream"))]).expect("it renders");
    assert_eq!(update.patches.to_string(), "set text of #5 to \"cream\"\n");
    assert_eq!(address(&document), first, "nobody else holds the list");

    let held = document.state().clone();
    document.set([(label(), State::from("sugar")), ("n".into(), State::from(2))]).expect("it renders");
    assert_ne!(address(&document), first, "a list that is held is copied");
    assert_eq!(held, state(&rows("cream")));
    assert_eq!(document.state().at(&label()), Some(&State::from("sugar")));

    // A part that is not there, be it after one that is, changes nothing.
    let before = format!("{:?}", document.state());
    let parts = [(label(), State::from("rum")), ("rows.2.label".into(), State::from("rum"))];
    assert!(matches!(document.set(parts), Err(DocumentError::State(_))));
    assert_eq!(format!("{:?}", document.state()), before);

    // Another key makes that the rows are compared, with those that were there.
    let update = document.set([("rows.0.id".into(), State::from(3))]).expect("it renders");
    assert_eq!(update.patches.len(), 2, "{}", update.patches);
    let update = document.set([(label(), State::from("sugar"))]).expect("it renders");
    assert!(update.patches.is_empty());
    assert_eq!(*document.tree(), parse_fragment(&document.html(), "div").expect("it is short"));
}

#[test]
fn a_panic_while_a_part_is_set_leaves_the_document_as_it_was() {
    let templates = Templates::from_sources([("page.html", "{% for x in xs %}<i>{{ checked(x.n) }}</i>{% endfor %}")]);
    templates.configure(|environment| {
        environment.add_function("checked", |x: i64| {
            assert!(x != 13, "thirteen");
            x
        });
    });
    let template = Template::new(&templates, "page.html").expect("the template is right");
    let old = json!({"xs": [{"n": 1}, {"n": 2}]});
    let mut document = TemplateDocument::new(&template, state(&old)).expect("it renders");
    let set = |document: &mut TemplateDocument, n: i64| document.set([("xs.1.n".into(), State::from(n))]);
    assert!(catch_unwind(AssertUnwindSafe(|| set(&mut document, 13))).is_err());
    assert_eq!(*document.state(), state(&old));
    for n in [2, 3, 4] {
        set(&mut document, n).expect("it renders");
        assert_eq!(*document.tree(), parse_fragment(&document.html(), "div").expect("it is short"));
    }
    assert_eq!(document.html(), "<i>1</i><i>4</i>");
}

#[test]
fn a_document_that_lives_long_is_renumbered() {
    let templates = Templates::from_sources([(
        "page.html",
        "<ul>{% for x in xs %}<li>{{ x.t }}</li>{% endfor %}</ul><p>{{ n }}</p>",
    )]);
    let template = Template::new(&templates, "page.html").expect("the template is right");
    let mut document = TemplateDocument::new(&template, state(&json!({"xs": []}))).expect("it renders");
    let mut copy = document.tree().clone();
    let mut n_compacted = 0;
    for n in 0..20 {
        let xs: Value = (0..n % 2 * 200).map(|x| json!({"t": x * n})).collect();
        let update = document.update(state(&json!({"xs": xs, "n": n})), &Changes::Unknown).expect("it renders");
        n_compacted += usize::from(update.patches.to_string().contains("renumber"));
        apply(&mut copy, &update.patches).expect("the patches fit");
        assert_eq!(copy, *document.tree());
        assert_eq!(copy, parse_fragment(&document.html(), "div").expect("it is short"));
    }
    assert!(n_compacted > 0);
}

/// The patches share the tree that most of their nodes are in, until one of the two changes.
#[test]
fn patches_that_are_held_stay_as_they_were() {
    let templates = Templates::from_sources([(
        "t.html",
        "<h1>{{ n }}</h1><ul>{% for x in xs %}<li dc-key=\"{{ x }}\">{{ x }} {{ n }}</li>{% endfor %}</ul><p>{{ n }}</p>",
    )]);
    let template = Template::new(&templates, "t.html").unwrap();
    let at = |n: usize, xs: std::ops::Range<usize>| state(&json!({"n": n, "xs": xs.collect::<Vec<_>>()}));
    let mut document = TemplateDocument::new(&template, at(0, 0..0)).unwrap();
    let mut copy = document.tree().clone();
    let mut held = Vec::new();
    for (n, xs) in [(0, 0..100), (1, 0..100), (1, 50..60), (1, 0..0), (1, 0..30), (2, 5..90), (2, 0..0), (2, 7..90)] {
        let next = at(n, xs.clone());
        let update = document.update(next, &Changes::Unknown).unwrap();
        assert_eq!(update.trace.whole, None);
        let (tree, json) = (document.tree().clone(), update.patches.to_json());
        apply(&mut copy, &update.patches).unwrap();
        assert_eq!(format!("{copy:?}"), format!("{tree:?}"), "{n}, {xs:?}: {json}");
        assert!(*document.tree() == parse_fragment(&document.html(), "div").unwrap());
        held.push((update.patches, json, tree, format!("{copy:?}")));
    }
    for (patches, json, tree, outline) in held {
        assert_eq!((patches.to_json(), format!("{tree:?}")), (json, outline));
    }
}

#[test]
fn posted_html_is_compared() {
    let mut document = HtmlDocument::new("<p>one</p>".into()).expect("it is short");
    assert!(document.update("<p>one</p>".into()).expect("it is short").patches.is_empty());
    let update = document.update("<p>two</p>".into()).expect("it is short");
    assert_eq!(update.patches.to_string(), "set text of #2 to \"two\"\n");
}

#[test]
fn what_a_template_costs_is_explained() {
    let templates = Templates::from_sources([("page.html", "<p>{{ a }}</p>\n<li>{% if a %}<li>{% endif %}")]);
    let template = Template::new(&templates, "page.html").expect("the template is right");
    let irregular = template.irregular().expect("it has no skeleton").to_string();
    assert_eq!(irregular, "page.html:2: its tags do not balance");
    assert!(
        template.explain().ends_with("updates cost the whole page, because of page.html:2: its tags do not balance\n")
    );
}

/// How updates are to be found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Small,
    Plain,
}
use Way::{Plain, Small};

fn state(value: &Value) -> State {
    State::new(value).expect("JSON is a state")
}

/// Checks the law for all states in turn, each with what was sent to get there.
#[track_caller]
fn check(template: &str, states: &[Value], listings: &[&str]) {
    let sent = law(template, states, Small);
    assert_eq!(sent.iter().map(|patches| patches.trim_end()).collect::<Vec<_>>(), listings);
}

#[track_caller]
fn law(source: &str, states: &[Value], way: Way) -> Vec<String> {
    let templates = Templates::from_sources([("page.html", source)]);
    let template = Template::new(&templates, "page.html").expect("the template is right");
    let mut document = TemplateDocument::new(&template, state(&states[0])).expect("it renders");
    let mut sent = Vec::new();
    for value in states {
        let before = document.tree().clone();
        let update = document.update(state(value), &Changes::Unknown).expect("it renders");
        let html = templates.render("page.html", value).expect("it renders");
        assert_eq!(document.html(), html);
        assert_eq!(*document.tree(), parse_fragment(&html, "div").expect("it is short"), "{source} with {value}");
        assert_eq!(before == *document.tree(), update.patches.is_empty(), "{source} with {value}");
        let is_plain = update.trace.whole.is_some();
        assert!(update.patches.is_empty() || is_plain == (way == Plain), "{source} with {value}: {}", update.trace);
        sent.push(update.patches.to_string());
    }
    sent.remove(0);
    sent
}
