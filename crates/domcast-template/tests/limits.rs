//! Templates and states without measure: each is refused, by the engine and by an instance alike, before it has taken the memory.

use domcast_template::{Changes, Limits, State, TemplateError, Templates};
use serde_json::{Value as Json, json};

/// A sixteenth of what is usual, so that a wrong count shows.
const LIMITS: Limits = Limits { source_bytes: 256 << 10, output_bytes: 1 << 20, fuel: 512 << 10 };

/// What each test may take: the fuel's 32 MiB, a few times over, and what the tests beside it take.
const MOST_BYTES: u64 = 800 << 20;

#[test]
fn a_text_that_doubles_at_each_include_is_refused() {
    refused(&[
        ("page.html", "{% if n %}{% include 'part.html' %}{% endif %}"),
        ("part.html", "{% set n = n ~ n %}{% include 'part.html' %}"),
    ]);
    refused(&[
        ("page.html", "{% if n %}{% include 'part.html' %}{% endif %}"),
        ("part.html", "{% set n %}{{ n }}{{ n }}{% endset %}{% include 'part.html' %}"),
    ]);
}

#[test]
fn a_macro_that_calls_itself_twice_is_refused() {
    refused(&[(
        "page.html",
        "{% macro m(n) %}{% if n %}{% set x = m(n - 1) %}{{ x }}{{ x }}{% else %}x{% endif %}{% endmacro %}{{ m(n // 2) }}",
    )]);
    refused(&[(
        "page.html",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}<p>{{ m(n // 2) }}</p>",
    )]);
    refused(&[(
        "page.html",
        "{% macro twice() %}{{ caller() }}{{ caller() }}{% endmacro %}{% macro m(n) %}{% if n %}{% call twice() %}\
         {{ m(n - 1) }}{% endcall %}{% else %}x{% endif %}{% endmacro %}{{ m(n // 4) }}",
    )]);
}

#[test]
fn a_block_whose_text_a_filter_doubles_is_refused() {
    let mut page = "x".to_owned();
    for _ in 0..30 {
        page = format!("{{% filter replace('x', 'xx') %}}{page}{{% endfilter %}}");
    }
    refused(&[("page.html", &format!("{{% if n %}}{{% set y %}}{page}{{% endset %}}{{{{ y|length }}}}{{% endif %}}"))]);
}

#[test]
fn loops_in_loops_are_refused_whether_they_print_or_not() {
    refused(&[("page.html", &nested(""))]);
    refused(&[("page.html", &nested("x"))]);
    refused(&[("page.html", &nested("<p>{{ n }}</p>"))]);
    refused(&[("page.html", &nested("{% if a > n %}<b>{{ a }}</b>{% endif %}"))]);
    refused(&[("page.html", &nested("{% set y = 'x' * 1000 %}"))]);
    refused(&[(
        "page.html",
        "{% for a in range(n * 900) %}{% for b in range(n * 900) if b < 0 %}{% endfor %}{% endfor %}",
    )]);
    refused(&[("page.html", "{% for a in [0] * (n * 30000) %}{% endfor %}")]);
    refused(&[("page.html", "{% for a in [0] * (n * 30000) if a %}{% endfor %}")]);
}

fn nested(body: &str) -> String {
    format!("{{% for a in range(n * 900) %}}{{% for b in range(n * 900) %}}{body}{{% endfor %}}{{% endfor %}}")
}

#[test]
fn values_too_large_to_print_are_refused() {
    refused(&[("page.html", "{{ 'x' * (n * 1000000) }}")]);
    refused(&[("page.html", "{{ ('x' * (n * 1000000))|length }}")]);
    refused(&[("page.html", "{{ [0] * (n * 30000) }}")]);
    refused(&[("page.html", "{% if n %}{% set x %}{{ [0] * (n * 30000) }}{% endset %}{{ x|length }}{% endif %}")]);
    let doubling = "{% set l = [l, l] %}".repeat(40);
    refused(&[("page.html", &format!("{{% if n %}}{{% set l = [n] %}}{doubling}{{{{ l }}}}{{% endif %}}"))]);
    refused(&[("page.html", &format!("{{% with l = [n] if n %}}{doubling}{{{{ l if n }}}}{{% endwith %}}"))]);
}

#[test]
fn templates_that_each_include_the_next_one_twice_are_refused() {
    let mut sources = vec![("page.html".to_owned(), "{% if n %}{% include 'p0.html' %}{% endif %}".to_owned())];
    for idx in 0..24 {
        let next = format!("{{% include 'p{}.html' %}}", idx + 1);
        sources.push((format!("p{idx}.html"), format!("<p>{next}{next}")));
    }
    sources.push(("p24.html".to_owned(), "<b>{{ n }}</b>".to_owned()));
    let sources: Vec<(&str, &str)> = sources.iter().map(|(name, source)| (&**name, &**source)).collect();
    refused(&sources);
    // They never run, and compile.
    let mut sources = vec![("page.html".to_owned(), "{% block b %}<p>{{ n }}{% endblock %}".to_owned())];
    for idx in 0..24 {
        let parent = if idx == 0 { "page.html".to_owned() } else { format!("e{}.html", idx - 1) };
        let block = "{% block b %}{{ super() }}{{ super() }}{% endblock %}";
        sources.push((format!("e{idx}.html"), format!("{{% extends '{parent}' %}}{block}")));
    }
    let templates = Templates::from_sources_with(sources, LIMITS);
    let program = templates.program("e23.html").unwrap();
    assert!(program.instance(&State::new(&json!({"n": 0})).unwrap()).unwrap_err().exceeds_limit());
}

#[test]
fn expressions_of_handlers_have_the_same_limits() {
    let templates = Templates::from_sources_with([("page.html", "")], LIMITS);
    let state = json!({"n": 100, "rows": [{"id": 1}]});
    let error = templates.evaluate::<Json>("'x' * (n * 1000000)", &state).unwrap_err();
    assert_eq!(error.to_string(), "the rendering takes more than its fuel in the expression `'x' * (n * 1000000)`");
    assert!(error.exceeds_limit());
    let state = State::new(&state).unwrap();
    for expression in
        ["[0] * (n * 30000)", "([rows[0]] * (n * 30000))|upsert({'id': 2})", "rows|upsert([0] * (n * 30000))"]
    {
        assert!(templates.evaluate_state(expression, &state).is_err(), "{expression}");
    }
    assert_eq!(peak_bytes() / MOST_BYTES, 0);
}

#[test]
fn what_is_within_the_fuel_is_rendered_however_often_it_is_updated() {
    let limits = Limits { fuel: 2_000, ..LIMITS };
    let templates =
        Templates::from_sources_with([("a.html", "{% for r in rows %}<p>{{ r|upper }}</p>{% endfor %}")], limits);
    let rows = |n: usize, text: &str| State::new(&json!({"rows": vec![text; n]})).unwrap();
    let mut instance = templates.program("a.html").unwrap().instance(&rows(100, "a")).unwrap();
    for idx in 0..100 {
        let state = rows(100, &idx.to_string());
        instance.update(&state, &Changes::Unknown).unwrap();
        assert_eq!(instance.html(), templates.render("a.html", &state).unwrap());
    }
    let before = instance.html();
    assert!(instance.update(&rows(1_000, "a"), &Changes::Unknown).unwrap_err().exceeds_limit());
    assert_eq!(instance.html(), before);
    instance.update(&rows(100, "b"), &Changes::Unknown).unwrap();
}

#[test]
fn templates_nested_as_deep_as_the_engine_reads_them_fit_the_stack_of_a_thread() {
    let nested = |inner: &str| format!("{}{inner}{}", "{% if n %}".repeat(140), "{% endif %}".repeat(140));
    let mut sources = vec![("page.html".to_owned(), nested("{% include 'p0.html' %}"))];
    for idx in 0..20 {
        sources.push((format!("p{idx}.html"), nested(&format!("{{% include 'p{}.html' %}}", idx + 1))));
    }
    sources.push(("p20.html".to_owned(), nested("{{ n }}")));
    let templates = Templates::from_sources(sources);
    let program = templates.program("page.html").unwrap();
    let state = |n: usize| State::new(&json!({"n": n})).unwrap();
    let mut instance = program.instance(&state(0)).unwrap();
    for n in [1, 2, 0, 3] {
        instance.update(&state(n), &Changes::Unknown).unwrap();
        assert_eq!(instance.html(), templates.render("page.html", &state(n)).unwrap());
    }
}

/// Checks that `n` of 0 is rendered and `n` of 100 refused, at first and as a change.
#[track_caller]
fn refused(sources: &[(&str, &str)]) {
    let templates = Templates::from_sources_with(sources.iter().copied(), LIMITS);
    let [small, large] = [0, 100].map(|n| State::new(&json!({"n": n})).unwrap());
    let is_refused = |error: TemplateError| assert!(error.exceeds_limit(), "{error:?}");
    is_refused(templates.render("page.html", &large).unwrap_err());
    let program = templates.program("page.html").unwrap();
    is_refused(program.instance(&large).unwrap_err());
    let mut instance = program.instance(&small).unwrap();
    let html = templates.render("page.html", &small).unwrap();
    assert_eq!(instance.html(), html);
    is_refused(instance.update(&large, &Changes::Unknown).unwrap_err());
    assert_eq!(instance.html(), html);
    instance.update(&small, &Changes::Unknown).unwrap();
    let peak_bytes = peak_bytes();
    assert!(peak_bytes < MOST_BYTES, "{} MiB", peak_bytes >> 20);
}

/// The most memory that the process had, where that can be told.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |n_kib| n_kib << 10)
}
