//! The law on generated templates, states and histories: after every update the tree is what a parser makes of a full rendering, node for
//! node; the patches lead another copy there too; and nothing is sent for equal output.
//!
//! An ordinary run makes 20,000 steps; `PROPTEST_CASES=50000 cargo test --release -p domcast-document --test laws` makes 1,000,000.

#[path = "../../../domcast-template/tests/laws/draw.rs"]
mod draw; // templates that use all of the language, states, changes
mod markup; // templates that are mostly regular

use domcast_diff::{Tree, apply};
use domcast_document::{Template, TemplateDocument};
use domcast_parser::parse_fragment;
use domcast_template::{Changes, State, Templates};
use draw::Draw;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};
use std::cell::Cell;

/// Steps of one history.
const N_STEPS: usize = 20;

#[test]
fn an_updated_document_equals_a_new_one() {
    let cases = std::env::var("PROPTEST_CASES").map_or(1_500, |cases| cases.parse().expect("PROPTEST_CASES is a number"));
    let config = ProptestConfig { cases, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() };
    let numbers = (vec(any::<u16>(), 0..300), vec(any::<u16>(), 0..120), vec(vec(any::<u16>(), 0..24), N_STEPS));
    let count = Count::default();
    let tested = TestRunner::new(config).run(&numbers, |(template, state, history)| check(&template, &state, &history, &count));
    if let Err(error) = tested {
        panic!("{error}");
    }
    let Count { n_steps, n_plain, n_changed } = count;
    let [n_steps, n_plain, n_changed] = [n_steps, n_plain, n_changed].map(Cell::into_inner);
    println!("{n_steps} steps, {n_changed} that changed something, {n_plain} by the plain pipeline");
    assert!(n_plain * 2 < n_changed, "most changes are made at the cost of the change");
}

#[derive(Default)]
struct Count {
    n_steps: Cell<usize>,
    n_plain: Cell<usize>,
    n_changed: Cell<usize>,
}

fn check(template: &[u16], state: &[u16], history: &[Vec<u16>], count: &Count) -> TestCaseResult {
    let mut draw = Draw::new(template);
    let sources = match draw.pick(&[0, 0, 0, 0, 0, 0, 0, 1]) {
        0 => vec![("page.html".to_owned(), markup::template(&mut draw))],
        _ => draw.templates(),
    };
    let templates = Templates::from_sources(sources.clone());
    let Ok(template) = Template::new(&templates, "page.html") else { return Ok(()) };
    let mut json = Draw::new(state).state();
    let mut state = State::new(&json).expect("JSON is a state");
    let mut document: Option<(TemplateDocument, Tree)> = None;
    for numbers in history {
        let (old_json, old_state) = (json.clone(), state.clone());
        let changes = match document {
            None => Changes::Unknown,
            Some(_) => Draw::new(numbers).change(&mut json, &mut state),
        };
        let html = templates.render("page.html", &state);
        let context = || format!("{sources:#?}\nwas: {old_json}\nis: {json}\nchanges: {changes:?}\n{}", template.explain());
        let Some((present, copy)) = &mut document else {
            match (TemplateDocument::new(&template, state.clone()), html) {
                (Ok(new), Ok(html)) => {
                    check_tree(&new, &html, &context)?;
                    let copy = new.tree().clone();
                    document = Some((new, copy));
                }
                (Err(_), Err(_)) => _ = Draw::new(numbers).change(&mut json, &mut state),
                (new, html) => prop_assert!(false, "{new:?}\ninstead of\n{html:?}\n{}", context()),
            }
            continue;
        };
        let before = (present.html(), present.tree().clone());
        match (present.update(state.clone(), &changes), html) {
            (Ok(update), Ok(html)) => {
                let context = || format!("patches:\n{}trace: {}\n{}", update.patches, update.trace, context());
                check_tree(present, &html, &context)?;
                prop_assert_eq!(update.patches.is_empty(), before.1 == *present.tree(), "{}", context());
                let applied = apply(copy, &update.patches);
                prop_assert!(applied.is_ok(), "{:?}\n{}", applied, context());
                prop_assert!(format!("{copy:?}") == format!("{:?}", present.tree()), "a copy differs\n{}", context());
                count.n_plain.set(count.n_plain.get() + usize::from(update.trace.whole.is_some()));
                count.n_changed.set(count.n_changed.get() + usize::from(update.trace.n_edits > 0));
            }
            (Err(_), Err(_)) => {
                prop_assert!(before == (present.html(), present.tree().clone()), "{}", context());
                (json, state) = (old_json, old_state);
            }
            (update, html) => prop_assert!(false, "{update:?}\ninstead of\n{html:?}\n{}", context()),
        }
        count.n_steps.set(count.n_steps.get() + 1);
    }
    Ok(())
}

fn check_tree(document: &TemplateDocument, html: &str, context: &dyn Fn() -> String) -> TestCaseResult {
    prop_assert_eq!(document.html(), html, "{}", context());
    let expected = parse_fragment(html, "div").expect("it is within the limits");
    let tree = document.tree();
    prop_assert!(*tree == expected, "the tree is\n{tree:?}instead of\n{expected:?}{}", context());
    Ok(())
}
