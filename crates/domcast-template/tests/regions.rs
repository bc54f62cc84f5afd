//! Templates as regions, in odd places: a template, states one after the other, and what each change edits.
//!
//! `check` compares every HTML with the engine's own. A listing is `N fine, N opaque` of the program's parts, then the kinds
//! of edits of each update; `1:0->2` stands for two items from position 1 on where there were none.

use domcast_template::minijinja::value::Serde;
use domcast_template::minijinja::{UndefinedBehavior, Value};
use domcast_template::{Changes, Edit, Instance, PartKind, Path, Program, State, Templates};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn an_if_around_half_an_attribute_switches_a_branch() {
    let template = r#"<p class="a{% if on %} b" title="{{ t }}{% endif %}">x</p>"#;
    let states = [json!({"on": false}), json!({"on": true, "t": "<"}), json!({"on": true, "t": "y"})];
    check(template, &states, "2 fine, 0 opaque; branch; hole");
}

#[test]
fn a_loop_that_emits_half_a_tag_has_items_like_any_other() {
    let template = "<p{% for a in xs %} {{ a }}=\"{% endfor %}\">";
    check(
        template,
        &[json!({"xs": ["x"]}), json!({"xs": ["x", "y"]}), json!({"xs": []})],
        "2 fine, 0 opaque; 1:0->1; 0:2->0",
    );
}

#[test]
fn elements_left_open_are_text_to_a_template() {
    let template = "<ul>{% for x in xs %}<li>{{ x }}<p>{% endfor %}</ul>";
    check(
        template,
        &[json!({"xs": [1, 2]}), json!({"xs": [2, 1]}), json!({"xs": [2, 3]})],
        "2 fine, 0 opaque; 0:2->2; hole",
    );
}

#[test]
fn every_character_is_escaped_where_the_engine_escapes_it() {
    let texts: Vec<String> = (0..=255_u8).map(|byte| format!("{}, then more", char::from(byte))).collect();
    check("{% for x in xs %}{{ x }}{{ x|safe }}{% endfor %}", &[json!({"xs": texts})], "3 fine, 0 opaque");
}

#[test]
fn a_long_first_item_is_not_taken_for_the_length_of_the_others() {
    let mut texts = vec!["x".repeat(10_000)];
    texts.resize(1_000, "y".into());
    let templates = Templates::from_sources([("a.html", "{% for x in xs %}{{ x }}{% endfor %}")]);
    let state = State::new(&json!({"xs": texts})).expect("it is a state");
    let instance = templates.program("a.html").and_then(|program| program.instance(&state)).expect("it renders");
    let html = instance.html();
    assert!(html.capacity() < 2 * html.len(), "{} bytes for {}", html.capacity(), html.len());
}

#[test]
fn a_safe_hole_is_markup() {
    let state = |text: &str| json!({"html": text});
    check("{{ html|safe }}{{ html }}", &[state("<b>"), state("<i>")], "2 fine, 0 opaque; hole hole");
    let templates = Templates::from_sources([("a.html", "{{ html|safe }}{{ html }}")]);
    let instance = instance(&templates, &State::new(&state("<b>")).unwrap());
    let holes = instance.fragment(0).slots.iter().map(|slot| match slot {
        domcast_template::Slot::Hole(value) => (value.text().into_owned(), value.is_markup()),
        other => panic!("{other:?}"),
    });
    assert_eq!(holes.collect::<Vec<_>>(), [("<b>".to_owned(), true), ("<b>".to_owned(), false)]);
}

#[test]
fn a_namespace_makes_the_whole_template_opaque() {
    let template = "{% set ns = namespace(n=0) %}{% for x in xs %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}";
    check(template, &[json!({"xs": [1, 2]}), json!({"xs": [1, 3]})], "0 fine, 1 opaque; html");
}

#[test]
fn a_macro_is_called_where_it_is_used() {
    let template = "{% macro cell(v, c='x') %}<td class={{ c }}>{{ v }}{{ unit }}</td>{% endmacro %}\
                    {% for r in rows %}{{ cell(r, c=unit) }}{% endfor %}{{ cell(0) }}";
    let states =
        [json!({"rows": [1], "unit": "m"}), json!({"rows": [1, 2], "unit": "m"}), json!({"rows": [1, 2], "unit": "s"})];
    check(template, &states, "3 fine, 0 opaque; 1:0->1; hole hole hole");
}

#[test]
fn a_macro_that_reads_a_name_of_the_caller_makes_the_whole_template_opaque() {
    let template = "{% macro m() %}{{ r }}{% endmacro %}{% for r in rows %}{{ m() }}{% endfor %}";
    check(
        template,
        &[json!({"rows": [1, 2], "r": "outer"}), json!({"rows": [1], "r": "other"})],
        "0 fine, 1 opaque; html",
    );
}

#[test]
fn a_template_imported_in_a_macro_sees_the_state_alone() {
    let templates = Templates::from_sources([
        ("lib.html", "{% macro cell() %}{{ a }}{% endmacro %}"),
        (
            "a.html",
            "{% set a = 'own' %}{% macro outer() %}{{ caller() }}{% endmacro %}\
                    {% call outer() %}{% import 'lib.html' as lib %}{{ lib.cell() }}{% endcall %}{{ a }}{{ b }}",
        ),
    ]);
    check_all(&templates, &[json!({"a": 1, "b": 1}), json!({"a": 2, "b": 1})], "0 fine, 1 opaque; html");
}

#[test]
fn a_template_that_a_macro_includes_finds_what_any_macro_beside_it_takes_along() {
    let cell = "{% macro cell(v) %}<i>{{ v }}</i>{% endmacro %}";
    let states = [json!({"a": 1}), json!({"a": 2})];
    // The macros of a template share one closure.
    for (macros, call, listing) in [
        (["{% macro other() %}{{ cell(1) }}{% endmacro %}", OUTER], "{{ outer() }}", "1 fine, 0 opaque; hole"),
        ([OUTER_WITH_A, "{% macro other() %}{{ cell }}{% endmacro %}"], "{{ outer() }}", "1 fine, 0 opaque; hole"),
        (
            ["{% macro other() %}{{ cell }}{% endmacro %}", OUTER],
            "{% for x in [1, 2] %}{{ x }}{{ outer() }}{% endfor %}",
            "0 fine, 1 opaque; html",
        ),
    ] {
        let page = [cell, macros[0], macros[1], call].concat();
        check_all(&Templates::from_sources([("part.html", "{{ cell(a) }}"), ("a.html", &*page)]), &states, listing);
    }
    const OUTER: &str = "{% macro outer() %}{% include 'part.html' %}{% endmacro %}";
    const OUTER_WITH_A: &str = "{% macro outer() %}{{ a }}{% include 'part.html' %}{% endmacro %}";
}

#[test]
fn what_a_macro_took_along_stays_though_an_include_binds_it_anew() {
    let states = [json!({"a": "r", "t": "s"}), json!({"a": 0, "t": 1}), json!({"a": 0, "t": 2})];
    const OUTER: &str = "{% macro outer() %}<u>{{ caller() }}</u>{% endmacro %}";
    const READS: &str = "{% macro reads() %}{{ t }}{% endmacro %}{{ reads() }}{{ t }}";
    let include = "{% include 'part.html' %}";
    for (part, page) in [
        ("{% macro m() %}b{{ a }}{% endmacro %}", {
            let first = ["{% macro m() %}a{{ a }}{% endmacro %}", OUTER].concat();
            [&*first, include, "{% call outer() %}{{ m() }}{% endcall %}{{ m() }}"].concat()
        }),
        ("{% set t = 'p' %}", ["{% macro other() %}{% endmacro %}{% set t = a %}", include, READS].concat()),
        ("{% set t = 'p' %}", ["{% macro other() %}{{ t }}{% endmacro %}", include, READS].concat()),
        ("{% set t = a %}", [OUTER, "{% call outer() %}{{ t }}{% endcall %}", include, READS].concat()),
        ("{% include 'set.html' %}", ["{% macro other() %}{{ t }}{% endmacro %}", include, READS].concat()),
    ] {
        let sources = [("a.html", &*page), ("part.html", part), ("set.html", "{% set t = 'q' %}")];
        let (program, _) = run(&Templates::from_sources(sources), &states);
        assert!(program.explain().contains("an include binds"), "{page}: {}", program.explain());
    }
    // Without a macro nothing is taken along, and what an include binds counts from there on.
    let sources =
        [("a.html", "{% set t = a %}{% include 'part.html' %}{{ t }}"), ("part.html", "{% set t = t ~ 'p' %}")];
    let (program, _) = run(&Templates::from_sources(sources), &states);
    assert!(program.explain().contains("3 fine-grained, 0 opaque"), "{}", program.explain());
}

#[test]
fn what_a_macro_took_along_is_there_for_the_next_item() {
    let states =
        [json!({"a": "r", "rows": [1, 2, 3]}), json!({"a": 0, "rows": [1, 2]}), json!({"a": "s", "rows": [1, 2, 3]})];
    const MACRO: &str = "{% macro m() %}{{ a }}{% endmacro %}{{ m() }}";
    const CALL: &str = "{% macro outer() %}<u>{{ caller() }}</u>{% endmacro %}{% call outer() %}{{ a }}{% endcall %}";
    let set = "{% set a = 0 %}";
    let may_set = "{% if a %}{% set a = 0 %}{% endif %}";
    for body in [
        [MACRO, set].concat(),
        [MACRO, may_set].concat(),
        [CALL, set].concat(),
        [CALL, may_set].concat(),
        [may_set, CALL].concat(),
        ["{% if a %}", MACRO, "{% endif %}", set].concat(),
        ["{% if a %}", MACRO, set, "{% endif %}"].concat(),
        [MACRO, "{% filter upper %}", set, "{% endfilter %}"].concat(),
        [MACRO, "{% set a %}0{% endset %}"].concat(),
        [
            "{% if a %}{% macro b() %}{{ r }}{% endmacro %}{% endif %}{% macro c() %}{{ b }}{% endmacro %}{{ c() }}",
            may_set,
        ]
        .concat(),
    ] {
        let (program, _) = run(
            &Templates::from_sources([("a.html", &*format!("{{% for r in rows %}}{body}{{% endfor %}}"))]),
            &states,
        );
        assert!(program.explain().contains("a macro in the loop takes along"), "{body}: {}", program.explain());
    }
    // What is bound before, each time, is new each time.
    for body in [["{% set a = r %}", CALL].concat(), ["{% with b = 1 %}", MACRO, "{% endwith %}", set].concat()] {
        let (program, _) = run(
            &Templates::from_sources([("a.html", &*format!("{{% for r in rows %}}{body}{{% endfor %}}"))]),
            &states,
        );
        assert!(!program.explain().contains("takes along"), "{body}: {}", program.explain());
    }
}

#[test]
fn a_macro_with_a_caller_is_one_opaque_part() {
    let template = "{% macro box(t) %}<div>{{ t }}{{ caller() }}</div>{% endmacro %}\
                    {% for r in rows %}{% call box(r) %}<p>{{ r }}{{ a }}</p>{% endcall %}{% endfor %}";
    check(template, &[json!({"rows": [1, 2], "a": 1}), json!({"rows": [1, 2], "a": 2})], "1 fine, 1 opaque; html html");
}

#[test]
fn names_that_a_closure_leaves_out_are_those_of_the_state() {
    // The engine looks for what a macro takes along, and passes these by; there it finds the state, not what is around the macro.
    let insides = [
        "{% for x in [loop.first] %}[{{ x }}]{% endfor %}",
        "{% for x in [1, 2] if loop.first %}[{{ x }}]{% endfor %}",
        "{% with r = r %}{{ r }}{% endwith %}",
        "{% set r = r %}{{ r }}",
        "{% set r %}<{{ r }}>{% endset %}{{ r }}",
        "{{ r[:1] }}",
        "{% filter default(r) %}{% endfilter %}",
        "{% autoescape r %}{{ '<' }}{% endautoescape %}",
        "{% include r ignore missing %}",
        "{% macro inner() %}{{ r[:1] }}{% endmacro %}{{ inner() }}",
    ];
    let declared = "{% macro box() %}<b>{{ caller() }}</b>{% endmacro %}";
    let states = [
        json!({"rows": ["x", "y"], "r": "s"}),
        json!({"rows": ["y", "z", "x"], "r": "s"}),
        json!({"rows": ["y"], "r": "other"}),
    ];
    for inside in insides {
        let called = format!("{declared}{{% for r in rows %}}{{% call box() %}}{inside}{{% endcall %}}{{% endfor %}}");
        let own = format!("{{% macro m() %}}{inside}{{% endmacro %}}{{{{ m() }}}}");
        let with = format!(
            "{{% macro m(a) %}}{inside}{{% endmacro %}}{{% for r in rows %}}{{{{ m(r) }}}}{{{{ m(loop.first) }}}}{{% endfor %}}"
        );
        let default =
            "{% macro m(r=r) %}{{ r }}{% endmacro %}{% for r in rows %}{{ m() }}{{ r }}{% endfor %}".to_owned();
        let lib = format!("{{% macro m() %}}{inside}{{% endmacro %}}");
        let imported =
            "{% from 'lib.html' import m %}{{ m() }}{% for r in rows %}{{ r }}{{ m() }}{% endfor %}".to_owned();
        for template in [called, own, with, default, imported] {
            let templates = Templates::from_sources([("a.html", template.clone()), ("lib.html", lib.clone())]);
            let program = templates.program("a.html").unwrap();
            let mut old: Option<Instance> = None;
            for json in &states {
                let expected = templates.render("a.html", json).map_err(|error| error.to_string());
                let state = State::new(json).unwrap();
                let updated = old.map(|mut old| old.update(&state, &Changes::Unknown).map(|_| old.html()));
                let new = program.instance(&state);
                let html = new.as_ref().map(Instance::html).map_err(ToString::to_string);
                assert_eq!(html, expected, "{template}");
                let updated = updated.map(|html| html.map_err(|error| error.to_string()));
                assert_eq!(updated.unwrap_or_else(|| expected.clone()), expected, "{template}, updated");
                old = new.ok();
            }
        }
    }
}

#[test]
fn a_name_set_in_a_loop_ends_with_the_item() {
    let template = "{% set x = 'out' %}{% for r in rows %}[{{ x }}{% set x = r %}{{ x }}]{% endfor %}{{ x }}";
    check(template, &[json!({"rows": [1, 2]}), json!({"rows": [3, 2]})], "6 fine, 0 opaque; hole");
}

#[test]
fn a_name_set_in_an_if_makes_what_follows_opaque() {
    let template = "{{ a }}{% if on %}{% set x = 'yes' %}{% endif %}<p>{{ x }}</p>{% if x %}{{ x }}{% endif %}";
    check(
        template,
        &[json!({"on": true}), json!({"on": false}), json!({"on": false, "x": 1})],
        "1 fine, 1 opaque; html; html",
    );
}

#[test]
fn loops_that_look_around_are_opaque() {
    for inside in ["{{ loop.changed(r) }}", "{{ loop.previtem }}", "{{ loop.nextitem }}", "{{ loop }}"] {
        let template = format!("{{% for r in rows %}}{inside}{{% endfor %}}");
        check(&template, &[json!({"rows": [1, 1, 2]}), json!({"rows": [2, 1]})], "0 fine, 1 opaque; html");
    }
    let tree = "{% for r in rows recursive %}<li>{{ r.n }}{{ loop(r.in) }}{% endfor %}";
    let states = [json!({"rows": [{"n": 1, "in": [{"n": 2, "in": []}]}]}), json!({"rows": [{"n": 3, "in": []}]})];
    check(tree, &states, "0 fine, 1 opaque; html");
    let leaves = "{% for r in rows %}{% if r > 1 %}{% break %}{% endif %}{{ r }}{% endfor %}";
    check(leaves, &[json!({"rows": [1, 1, 2]}), json!({"rows": [2, 1]})], "0 fine, 1 opaque; html");
}

#[test]
fn the_place_in_a_loop_is_read() {
    let template = "{% for r in rows %}{{ loop.index }}{{ loop.cycle('a', 'b') }}{{ r }}{% if not loop.last %}, {% endif %}{% endfor %}";
    let states = [json!({"rows": ["a", "b", "c"]}), json!({"rows": ["b", "c"]}), json!({"rows": ["b", "c", "d"]})];
    check(template, &states, "5 fine, 0 opaque; 0:1->0 hole hole hole hole; branch 2:0->1");
}

#[test]
fn the_engine_gets_the_variables_of_loops_around() {
    let template = "{% for g in groups %}{% for r in g.rows %}{{ (g.name ~ r)|upper }}{{ loop.index + 0 }}{% endfor %}{% endfor %}";
    let states = [
        json!({"groups": [{"name": "a", "rows": ["x", "y"]}, {"name": "b", "rows": []}]}),
        json!({"groups": [{"name": "c", "rows": ["x", "y"]}, {"name": "b", "rows": ["z"]}]}),
    ];
    check(template, &states, "4 fine, 0 opaque; hole hole 0:0->1");
}

#[test]
fn rows_pair_by_their_key() {
    let template = "{% for r in rows %}<li id=\"r-{{ r.id }}\">{{ r.n }}</li>{% endfor %}";
    let row = |id: u32, n: u32| json!({"id": id, "n": n});
    let states = [
        json!({"rows": [row(1, 0), row(2, 0), row(3, 0), row(4, 0)]}),
        json!({"rows": [row(4, 0), row(1, 0), row(2, 5), row(3, 0)]}),
        json!({"rows": [row(1, 0), row(3, 0)]}),
        json!({"rows": [row(1, 0), row(9, 0), row(3, 0)]}),
    ];
    check(template, &states, "3 fine, 0 opaque; hole 0:4->4; 0:3->1; 1:0->1");
}

#[test]
fn templates_extend_and_include_each_other_without_the_engine() {
    let templates = Templates::from_sources([
        ("base.html", "<title>{% block title %}base {{ t }}{% endblock %}</title>{% block body %}{% endblock %}"),
        ("mid.html", "{% extends 'base.html' %}{% block title %}mid {{ super() }}{% endblock %}"),
        (
            "a.html",
            "{% extends 'mid.html' %}{% set x = t %}{% block title %}page {{ super() }}{{ x }}{% endblock %}\
                    {% block body %}{% for r in rows %}{% include 'row.html' %}{% endfor %}{% endblock %}",
        ),
        ("row.html", "<p>{{ r }}{% include 'deep.html' %}"),
        ("deep.html", "{{ loop.index }}{{ t }}"),
    ]);
    let states = [json!({"t": 1, "rows": ["a"]}), json!({"t": 2, "rows": ["a"]}), json!({"t": 2, "rows": ["a", "b"]})];
    check_all(&templates, &states, "7 fine, 0 opaque; hole hole hole; 1:0->1");
}

#[test]
fn a_template_that_includes_itself_ends_in_the_engine() {
    let source = "{{ n }}{% if tree %}{% with tree = tree.in %}{% include 'a.html' %}{% endwith %}{% endif %}";
    let templates = Templates::from_sources([("a.html", source)]);
    let states = [json!({"n": 1, "tree": {"in": {"in": null}}}), json!({"n": 2, "tree": {"in": null}})];
    let (program, edits) = run(&templates, &states);
    assert!(program.explain().contains("opaque, because templates include each other"), "{}", program.explain());
    assert!(!edits.is_empty());
}

#[test]
fn a_name_from_an_included_template_is_known_after_it() {
    let templates =
        Templates::from_sources([("a.html", "{% include 'set.html' %}{{ x }}"), ("set.html", "{% set x = a %}")]);
    check_all(&templates, &[json!({"a": 1}), json!({"a": 2})], "2 fine, 0 opaque; hole");
}

#[test]
fn undefined_names_fail_as_in_the_engine_and_the_instance_stays() {
    let templates =
        Templates::from_sources([("a.html", "<p>{{ a }}</p>\n{% for r in rows %}\n{{ r.x.y }}\n{% endfor %}")]);
    let mut state = State::new(&json!({"a": 1, "rows": [{"x": {"y": 1}}, {"x": {"y": 2}}]})).unwrap();
    let mut instance = instance(&templates, &state);
    let before = instance.html();
    let old = state.clone();
    let changes =
        state.set("a", 2).unwrap().and(state.set("rows.0.x.y", 3).unwrap()).and(state.remove("rows.1.x").unwrap());
    let error = instance.update(&state, &changes).unwrap_err();
    assert_eq!(
        (error.line(), error.to_string()),
        (Some(3), templates.render("a.html", &state).unwrap_err().to_string())
    );
    assert_eq!(instance.html(), before);
    // The instance goes on from the state that it has.
    state = old;
    let changes = state.set("rows.1.x.y", 7).unwrap();
    instance.update(&state, &changes).unwrap();
    assert_eq!(instance.html(), templates.render("a.html", &state).unwrap());
}

#[test]
fn a_name_that_becomes_undefined_in_another_way_is_refused_as_in_the_engine() {
    let templates = Templates::from_sources([("a.html", "{% set x = (missing if user) %}<p>{{ x }}</p>")]);
    templates.configure(|environment| environment.set_undefined_behavior(UndefinedBehavior::Strict));
    let mut state = State::new(&json!({"user": {}})).unwrap();
    let mut instance = instance(&templates, &state);
    assert_eq!(instance.html(), "<p></p>");
    let changes = state.set("user", State::new(&json!({"name": 0})).unwrap()).unwrap();
    let error = instance.update(&state, &changes).unwrap_err();
    assert_eq!(error.to_string(), templates.render("a.html", &state).unwrap_err().to_string());
    assert_eq!(instance.html(), "<p></p>");
}

#[test]
fn what_is_not_declared_pure_runs_at_every_update() {
    for is_pure in [false, true] {
        let templates =
            Templates::from_sources([("a.html", "{{ b }}{{ now(a) }}{{ a|stamp }}{% if a is fresh %}y{% endif %}")]);
        let calls = Arc::new(AtomicUsize::new(0));
        templates.configure(|environment| {
            let (now, stamp, fresh) = (calls.clone(), calls.clone(), calls.clone());
            environment.add_function("now", move |of: u32| of as usize + now.fetch_add(1, Ordering::Relaxed));
            environment.add_filter("stamp", move |of: u32| of as usize + stamp.fetch_add(1, Ordering::Relaxed));
            environment.add_test("fresh", move |_: u32| fresh.fetch_add(1, Ordering::Relaxed) % 2 == 0);
        });
        if is_pure {
            templates.declare_pure(["now", "stamp", "fresh"]);
        }
        let mut state = State::new(&json!({"a": 1, "b": 1})).unwrap();
        let mut instance = instance(&templates, &state);
        assert_eq!((instance.html(), calls.load(Ordering::Relaxed)), ("112y".to_owned(), 3));
        let changes = state.set("b", 2).unwrap();
        instance.update(&state, &changes).unwrap();
        let expected = if is_pure { ("212y", 3) } else { ("245", 6) };
        assert_eq!((&*instance.html(), calls.load(Ordering::Relaxed)), expected);
    }
}

#[test]
fn a_formatter_of_the_users_own_is_obeyed() {
    let templates = Templates::from_sources([("a.html", "{{ a }}{{ none }}")]);
    templates.configure(|environment| {
        environment.set_formatter(|output, state, value| match value.is_none() || value.is_undefined() {
            true => Ok(output.write_str("-")?),
            false => domcast_template::minijinja::escape_formatter(output, state, value),
        });
    });
    check_all(&templates, &[json!({"a": 1}), json!({"a": null})], "0 fine, 1 opaque; html");
}

#[test]
fn a_named_change_touches_one_row_of_many() {
    let rows: Vec<Json> = (0..5000).map(|id| json!({"id": id, "label": "x"})).collect();
    let templates =
        Templates::from_sources([("a.html", "{% for r in rows %}<p id={{ r.id }}>{{ r.label }}</p>{% endfor %}")]);
    let mut state = State::new(&json!({"rows": rows})).unwrap();
    let mut instance = instance(&templates, &state);
    let before = state.clone();
    let changes = state.set("rows.4321.label", "y").unwrap();
    let edits = instance.update(&state, &changes).unwrap();
    assert_eq!(edits.len(), 1);
    assert_eq!(instance.html(), templates.render("a.html", &state).unwrap());
    // What did not change is the same in both states.
    let row = |state: &State, idx: usize| state.at(&Path::from("rows").then(idx)).unwrap().clone();
    assert!(row(&before, 17).is_same(&row(&state, 17)) && !row(&before, 4321).is_same(&row(&state, 4321)));
}

#[test]
fn named_rows_pair_as_they_were_before_the_first_one_changed() {
    let source = "{% for r in rows %}<li id=\"r-{{ r.id }}\">{{ r.n }}</li>{% endfor %}";
    let templates = Templates::from_sources([("a.html", source)]);
    let row = |id: u32, n: u32| State::new(&json!({"id": id, "n": n})).unwrap();
    let mut state = State::new(&json!({"rows": [{"id": 3, "n": 0}, {"id": 1, "n": 0}]})).unwrap();
    let mut instance = instance(&templates, &state);
    let first = state.at(&Path::from("rows.0")).unwrap().clone();
    let changes = state.set("rows.0", row(3, 1)).unwrap().and(state.set("rows.1", first).unwrap());
    instance.update(&state, &changes).unwrap();
    assert_eq!(instance.html(), templates.render("a.html", &state).unwrap());
}

#[test]
fn plain_data_keeps_the_parts_that_are_equal() {
    let data = |label: &str| json!({"rows": [{"id": 1, "tags": ["a"]}, {"id": 2, "tags": [label]}], "n": 1, "f": 2.0});
    let old = State::new(&data("b")).unwrap();
    assert!(old.renewed(&data("b")).unwrap().is_same(&old));
    let new = old.renewed(&data("c")).unwrap();
    assert_eq!(new, State::new(&data("c")).unwrap());
    let at = |state: &State, path: &str| state.at(&Path::from(path)).unwrap().clone();
    assert!(at(&new, "rows.0").is_same(&at(&old, "rows.0")));
    assert!(!at(&new, "rows.1").is_same(&at(&old, "rows.1")));
    // An integer is not the float that equals it: they print differently.
    assert!(!old.renewed(&json!({"rows": [], "n": 1.0, "f": 2})).unwrap().is_same(&old));
}

#[test]
fn plain_data_keeps_the_rows_that_moved_up_or_down() {
    let rows = |ids: &[u32]| json!({"rows": ids.iter().map(|id| json!({"id": id, "n": [id]})).collect::<Vec<_>>()});
    let ids: Vec<u32> = (0..100).collect();
    let old = State::new(&rows(&ids)).unwrap();
    let row = |state: &State, idx: usize| state.at(&Path::from("rows").then(idx)).unwrap().clone();
    let mut changed = vec![ids[1..].to_vec(), ids[..99].to_vec(), ids[20..].to_vec(), vec![], ids.repeat(2)];
    changed.push([&[200, 201, 202], &ids[..]].concat());
    changed.push([&ids[..50], &[200], &ids[52..], &[201]].concat());
    changed.push(ids.iter().copied().filter(|id| id % 3 == 1 || id % 7 == 0).collect());
    changed.push([&[99], &ids[1..99], &[0]].concat());
    for new_ids in changed {
        let new = old.renewed(&rows(&new_ids)).unwrap();
        assert_eq!(new, State::new(&rows(&new_ids)).unwrap());
        // All but the first three that changed places, or are there again.
        let is_kept = |(idx, id): (usize, &u32)| ids.contains(id) && row(&new, idx).is_same(&row(&old, *id as usize));
        let n_kept = new_ids.iter().enumerate().filter(|entry| is_kept(*entry)).count();
        let n_expected = new_ids.iter().filter(|id| ids.contains(id)).count();
        let n_moved = match new_ids.first() {
            Some(99) => 2,
            _ => new_ids.len().saturating_sub(100 + 3),
        };
        assert_eq!(n_kept, n_expected - n_moved.min(3), "{new_ids:?}");
        assert!(new.renewed(&rows(&new_ids)).unwrap().is_same(&new));
    }
}

#[test]
fn another_selected_row_changes_two_rows() {
    let template = "{% for r in rows %}<p id=\"{{ r.id }}\"{% if r.id == sel and r.on %} class=x{% endif %}>\
                    {{ 'this' if sel != r.id else r.id }}</p>{% endfor %}";
    let row = |id: Json| json!({"id": id, "on": true});
    let rows = |ids: &[Json]| ids.iter().cloned().map(row).collect::<Vec<_>>();
    let numbers = rows(&[json!(3), json!(1), json!(2), json!(1)]);
    let state = |sel: Json| json!({"rows": numbers, "sel": sel});
    let states = [json!(null), json!(1), json!(2), json!(7), json!(2.0), json!(true), json!("1"), json!(3)];
    let listing = "4 fine, 0 opaque; branch hole branch hole; branch hole branch hole branch hole; branch hole; \
                   branch hole; branch hole branch hole branch hole; branch hole branch hole; branch hole";
    check(template, &states.map(state), listing);
    // Keys that equal values of another kind are all looked at.
    let mixed = rows(&[json!(1), json!(1.0), json!(null), json!("a"), json!(true)]);
    let state = |sel: Json| json!({"rows": mixed, "sel": sel});
    let states = [json!(1), json!("a"), json!(null), json!(true), json!(1.0)];
    let listing = "4 fine, 0 opaque; branch hole branch hole branch hole branch hole; branch hole branch hole; \
                   branch hole branch hole branch hole branch hole; ";
    check(template, &states.map(state), listing);
}

#[test]
fn rows_are_selected_while_they_change() {
    let templates = Templates::from_sources([(
        "a.html",
        "{% for r in rows %}<p id={{ r.id }}>{{ r.n }}{% if r.id == sel %}*{% endif %}</p>{% endfor %}",
    )]);
    let rows: Vec<Json> = (0..100).map(|id| json!({"id": id, "n": 0})).collect();
    let mut state = State::new(&json!({"rows": rows, "sel": 3})).unwrap();
    let mut instance = instance(&templates, &state);
    let mut step = |state: &State, changes: Changes| {
        instance.update(state, &changes).unwrap();
        assert_eq!(instance.html(), templates.render("a.html", state).unwrap());
    };
    for sel in [7, 50, 99, 7] {
        let changes = state.set("sel", sel).unwrap();
        step(&state, changes);
        let changes = state.set("rows.50.n", sel).unwrap();
        step(&state, changes);
        let changes = state.set("rows.7.id", 1000 + sel).unwrap();
        step(&state, changes);
        let changes = state.set("sel", 1000 + sel).unwrap();
        step(&state, changes);
        let changes = state.remove("rows.20").unwrap();
        step(&state, changes);
        let changes = state.set("sel", 21).unwrap().and(state.set("rows.22.id", sel).unwrap());
        step(&state, changes);
    }
}

#[test]
fn a_state_is_to_a_template_what_the_same_data_is() {
    #[derive(serde::Serialize)]
    enum Kind {
        Unit,
        New(u8),
        Tuple(u8, u8),
        Struct { a: u8 },
    }
    #[derive(serde::Serialize)]
    struct Data {
        bytes: &'static [u8],
        tuple: (u8, &'static str),
        numbers: (i128, u128, u64, f32),
        letter: char,
        by_number: std::collections::BTreeMap<u32, &'static str>,
        kinds: Vec<Kind>,
        nothing: Option<()>,
        map: std::collections::BTreeMap<&'static str, Vec<i8>>,
        floats: Vec<f64>,
        big: Vec<u64>,
    }
    let data = Data {
        bytes: b"ab",
        tuple: (1, "x"),
        numbers: (-(1 << 100), 1 << 100, u64::MAX, 0.5),
        letter: 'é',
        by_number: [(1, "one"), (2, "two")].into(),
        kinds: vec![Kind::Unit, Kind::New(1), Kind::Tuple(1, 2), Kind::Struct { a: 1 }],
        nothing: None,
        map: [("b", vec![1, -1]), ("a", vec![])].into(),
        floats: vec![1.0, -0.0, 1e300, f64::NAN, f64::INFINITY],
        big: vec![u64::MAX, i64::MAX as u64],
    };
    let state = State::new(&data).unwrap();
    let (plain, ours) = (Value::from(Serde(&data)), state.to_value());
    let templates = Templates::from_sources([("a.html", "")]);
    let names = [
        "bytes",
        "tuple",
        "numbers",
        "letter",
        "by_number",
        "kinds",
        "nothing",
        "map",
        "floats",
        "big",
        "kinds[3]",
        "map.b",
    ];
    let uses = [
        "{}",
        "{}|tojson",
        "{}|pprint",
        "{}|length",
        "{}|first",
        "{}|last",
        "{}|sort",
        "{}|reverse|list",
        "{}|items|list",
        "{}|dictsort",
        "{}|unique|list",
        "{}|join('-')",
        "{}|string",
        "{} is mapping",
        "{} is sequence",
        "{} is iterable",
        "{} is number",
        "{} is string",
        "{} is none",
        "{} is true",
        "{} is sameas({})",
        "{}[0]",
        "{}[-1]",
        "{}[1]",
        "{}['a']",
        "{}.a",
        "{}[1:]",
        "{} == {}",
        "{} < 1",
        "not {}",
        "{}|min",
        "{}|sum",
        "{}|list",
        "{} in [{}]",
        "{}|batch(2)|list",
        "{} ~ 'x'",
        "{} + {}",
        "{}|default('d', true)",
        "{}|map('string')|list",
        "{}|bool",
        "{}|float",
        "{}|int",
        "{}|title",
        "{}|urlencode",
    ];
    for name in names {
        for used in uses {
            let source = format!("{{{{ {} }}}}", used.replace("{}", name));
            let templates = Templates::from_sources([("a.html", source.clone())]);
            let rendered =
                |value: &Value| templates.render_value("a.html", value.clone()).map_err(|error| error.to_string());
            assert_eq!(rendered(&ours), rendered(&plain), "{source}");
            let program = templates.program("a.html").unwrap();
            let regions = program.instance(&state).map(|instance| instance.html()).map_err(|error| error.to_string());
            assert_eq!(regions, rendered(&plain), "{source} as a region");
        }
    }
    drop(templates);
}

#[test]
fn an_explanation_says_what_is_read_and_why_something_is_opaque() {
    let templates = Templates::from_sources([(
        "a.html",
        "<h1>{{ user.name }}</h1>\n{% for r in rows %}\n<p id=\"{{ r.id }}\">{% if r.id == sel %}{{ now() }}{% endif %}\n{% endfor %}\n\
         {% for x in xs recursive %}{{ loop(x) }}{% endfor %}",
    )]);
    let expected = "\
a.html:1 hole user.name; reads user.name
a.html:2 for r in rows; runs at every update
  a.html:3 key r.id; reads variables around it
  a.html:3 if r.id == sel; runs at every update
    a.html:3 hole now(); runs at every update
a.html:5 opaque, because the loop is recursive; reads xs, x
5 fine-grained, 1 opaque, 1 run at every update
";
    assert_eq!(templates.program("a.html").unwrap().explain(), expected);
}

/// Checks one template over states that follow each other, and the listing of its parts and edits.
#[track_caller]
fn check(template: &str, states: &[Json], listing: &str) {
    check_all(&Templates::from_sources([("a.html", template)]), states, listing);
}

#[track_caller]
fn check_all(templates: &Templates, states: &[Json], listing: &str) {
    let (program, edits) = run(templates, states);
    let parts = || program.bodies().iter().flat_map(|body| &body.parts);
    let n_opaque = parts().filter(|part| matches!(part.kind, PartKind::Opaque(_))).count();
    let n_fine = parts().filter(|part| !matches!(part.kind, PartKind::Opaque(_))).count();
    let found =
        std::iter::once(format!("{n_fine} fine, {n_opaque} opaque")).chain(edits).collect::<Vec<_>>().join("; ");
    assert_eq!(found, listing, "{}", program.explain());
}

/// Brings an instance from state to state, and compares its HTML with the engine's each time.
#[track_caller]
fn run(templates: &Templates, states: &[Json]) -> (Program, Vec<String>) {
    let mut state = State::new(&states[0]).unwrap();
    let mut instance = instance(templates, &state);
    assert_eq!(instance.html(), templates.render("a.html", &states[0]).unwrap());
    let mut listing = Vec::new();
    for json in &states[1..] {
        state = state.renewed(json).unwrap();
        let edits = instance.update(&state, &Changes::Unknown).unwrap();
        assert_eq!(instance.html(), templates.render("a.html", json).unwrap(), "{}", instance.program().explain());
        listing.push(edits.iter().map(name).collect::<Vec<_>>().join(" "));
    }
    (instance.program().clone(), listing)
}

#[track_caller]
fn instance(templates: &Templates, state: &State) -> Instance {
    templates.program("a.html").unwrap().instance(state).unwrap()
}

fn name(edit: &Edit) -> String {
    match edit {
        Edit::Hole { .. } => "hole".into(),
        Edit::Html { .. } => "html".into(),
        Edit::Branch { .. } => "branch".into(),
        Edit::Items { start, n_old, n_new, .. } => format!("{start}:{n_old}->{n_new}"),
        _ => "other".into(),
    }
}
