//! The law itself, for properties and for the fuzz target.

use crate::draw::{Draw, own, parts};
use crate::markup;
use domcast_diff::{Tree, apply};
use domcast_document::{Template, TemplateDocument};
use domcast_parser::parse_fragment;
use domcast_template::{Changes, State, Templates};

/// How many steps were made, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) n_steps: usize,
    /// Steps that changed something.
    pub(crate) n_changed: usize,
    /// Steps that set parts of the state in place.
    pub(crate) n_set: usize,
    /// Steps by the plain pipeline.
    pub(crate) n_plain: usize,
}

/// Follows a document through a history; panics where it breaks the law.
pub(crate) fn follow(template: &[u16], state: &[u16], history: &[Vec<u16>]) -> Count {
    let mut count = Count::default();
    let mut draw = Draw::new(template);
    let sources = match draw.pick(&[0, 0, 0, 0, 0, 0, 0, 1]) {
        0 => vec![("page.html".to_owned(), markup::template(&mut draw))],
        _ => draw.templates(),
    };
    let templates = Templates::from_sources(sources.clone());
    let Ok(template) = Template::new(&templates, "page.html") else { return count };
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
        let context =
            || format!("{sources:#?}\nwas: {old_json}\nis: {json}\nchanges: {changes:?}\n{}", template.explain());
        let Some((present, copy)) = &mut document else {
            match (TemplateDocument::new(&template, state.clone()), html) {
                (Ok(new), Ok(html)) => {
                    check_tree(&new, &html, &context);
                    let copy = new.tree().clone();
                    document = Some((new, copy));
                }
                (Err(_), Err(_)) => _ = Draw::new(numbers).change(&mut json, &mut state),
                (new, html) => panic!("{new:?}\ninstead of\n{html:?}\n{}", context()),
            }
            continue;
        };
        let before = (present.html(), present.tree().clone());
        // Every other history sets its parts in place, where they are there; states that others hold stay as they are.
        let parts = if numbers.len() % 2 == 1 { parts(present.state(), &state, &changes) } else { None };
        let is_set = parts.is_some();
        let old = (format!("{:?}", present.state()), (numbers.len() % 4 == 1).then(|| present.state().clone()));
        let updated = match parts {
            Some(parts) => {
                count.n_set += 1;
                present.set(parts)
            }
            None => present.update(state.clone(), &changes),
        };
        if let (was, Some(held)) = &old {
            assert_eq!(*was, format!("{held:?}"), "a state that is held changed\n{}", context());
        }
        assert_eq!(*present.state(), *if updated.is_ok() { &state } else { &old_state }, "{}", context());
        if is_set {
            // What the document has is its own.
            state = own(&state);
        }
        match (updated, html) {
            (Ok(update), Ok(html)) => {
                let context = || format!("patches:\n{}trace: {}\n{}", update.patches, update.trace, context());
                check_tree(present, &html, &context);
                assert_eq!(update.patches.is_empty(), before.1 == *present.tree(), "{}", context());
                let applied = apply(copy, &update.patches);
                assert!(applied.is_ok(), "{:?}\n{}", applied, context());
                assert!(format!("{copy:?}") == format!("{:?}", present.tree()), "a copy differs\n{}", context());
                count.n_plain += usize::from(update.trace.whole.is_some());
                count.n_changed += usize::from(update.trace.n_edits > 0);
            }
            (Err(_), Err(_)) => {
                assert!(before == (present.html(), present.tree().clone()), "{}", context());
                assert_eq!(old.0, format!("{:?}", present.state()), "{}", context());
                (json, state) = (old_json, old_state);
            }
            (update, html) => panic!("{update:?}\ninstead of\n{html:?}\n{}", context()),
        }
        count.n_steps += 1;
    }
    count
}

fn check_tree(document: &TemplateDocument, html: &str, context: &dyn Fn() -> String) {
    assert_eq!(document.html(), html, "{}", context());
    let expected = parse_fragment(html, "div").expect("it is within the limits");
    let tree = document.tree();
    assert!(*tree == expected, "the tree is\n{tree:?}instead of\n{expected:?}{}", context());
}
