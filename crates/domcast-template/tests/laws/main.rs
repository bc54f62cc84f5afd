//! The law of regions: after every update an instance's HTML is what the engine renders from the same state, and the
//! edits tell all of the difference.
//!
//! Templates, states and histories are drawn from numbers, which proptest makes smaller when one fails. An ordinary run
//! makes 20,000 steps; `PROPTEST_CASES=50000 cargo test --release -p domcast-template --test laws` makes 1,000,000.

mod draw; // templates, states and changes from numbers
mod mirror; // a copy of an instance that sees nothing but its edits

use domcast_template::minijinja::UndefinedBehavior;
use domcast_template::{Changes, Limits, State, SwapError, Templates};
use draw::{Draw, own, parts};
use mirror::Mirror;
use proptest::collection::vec;
use proptest::prelude::*;

/// Steps of one history.
const N_STEPS: usize = 20;

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_instance_is_what_the_engine_renders(
        template in vec(any::<u16>(), 0..400),
        state in vec(any::<u16>(), 0..120),
        history in vec(vec(any::<u16>(), 0..24), N_STEPS),
    ) {
        check(&template, &state, &history)?;
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1000)
}

fn check(template: &[u16], state: &[u16], history: &[Vec<u16>]) -> Result<(), TestCaseError> {
    let mut draw = Draw::new(template);
    let behavior = draw.pick(&[
        UndefinedBehavior::Lenient,
        UndefinedBehavior::Lenient,
        UndefinedBehavior::Chainable,
        UndefinedBehavior::SemiStrict,
        UndefinedBehavior::Strict,
    ]);
    let sources = draw.templates();
    // Some renderings are near to their limit.
    let usual = Limits::default();
    let fuel = draw.pick(&[usual.fuel, usual.fuel, usual.fuel, 30, 300, 3_000]);
    let templates = Templates::from_sources_with(sources.clone(), Limits { fuel, ..usual });
    if behavior != UndefinedBehavior::Lenient {
        templates.configure(|environment| environment.set_undefined_behavior(behavior));
    }
    let Ok(program) = templates.program("page.html") else {
        // The engine refuses the template too.
        prop_assert!(templates.render("page.html", &()).is_err());
        return Ok(());
    };
    let mut json = Draw::new(state).state();
    let mut state = State::new(&json).expect("JSON is a state");
    let mut instance = None;
    // What it was rendered from.
    let mut rendered = State::default();
    for numbers in history {
        let mut draw = Draw::new(numbers);
        let old = (json.clone(), state.clone());
        let changes = if instance.is_some() { draw.change(&mut json, &mut state) } else { Changes::none() };
        prop_assert_eq!(&state, &State::new(&json).expect("JSON is a state"), "{:?}", changes);
        // From values that the engine makes of the same data, unless these might take a little more or less of it.
        let expected = match fuel < usual.fuel {
            true => templates.render_value("page.html", state.to_value()),
            false => templates.render("page.html", &state),
        };
        let context = || {
            format!("templates: {sources:#?}\nwas: {}\nis: {json}\nchanges: {changes:?}\n{}", old.0, program.explain())
        };
        let Some((instance, mirror)) = &mut instance else {
            match (program.instance(&state), expected) {
                (Ok(new), Ok(expected)) => {
                    prop_assert_eq!(new.html(), expected, "{}", context());
                    let mirror = Mirror::new(&new);
                    (instance, rendered) = (Some((new, mirror)), state.clone());
                }
                (Err(error), Err(expected)) => {
                    prop_assert_eq!(error.to_string(), expected.to_string());
                    draw.change(&mut json, &mut state);
                }
                (found, expected) => prop_assert!(false, "{found:?}\ninstead of\n{expected:?}\n{}", context()),
            }
            continue;
        };
        let before = instance.html();
        // Every other history swaps its parts in place, where they are there; states that others hold stay as they are.
        let parts = if numbers.len() % 2 == 1 { parts(&rendered, &state, &changes) } else { None };
        let (was, held) = (format!("{rendered:?}"), (numbers.len() % 4 == 1).then(|| rendered.clone()));
        let updated = match parts {
            Some(mut parts) => {
                let updated = instance.swap(&mut rendered, &mut parts).map_err(|error| match error {
                    SwapError::Template(error) => error,
                    SwapError::State(error) => panic!("{error}\n{}", context()),
                });
                // What was rendered shares nothing with the next state.
                state = own(&state);
                updated
            }
            None => instance.update(&state, &changes).inspect(|_| rendered = state.clone()),
        };
        prop_assert!(held.is_none_or(|held| format!("{held:?}") == was), "a state that is held changed\n{}", context());
        match &updated {
            Ok(_) => prop_assert_eq!(&rendered, &state, "{}", context()),
            Err(_) => prop_assert_eq!(&format!("{rendered:?}"), &was, "{}", context()),
        }
        match (updated, expected) {
            (Ok(edits), Ok(expected)) => {
                prop_assert_eq!(instance.html(), expected, "{}", context());
                mirror.apply(&edits, instance);
                prop_assert_eq!(mirror.html(), instance.html(), "by {:?}\n{}", edits, context());
            }
            (Err(error), Err(expected)) => {
                prop_assert_eq!(error.to_string(), expected.to_string(), "{}", context());
                prop_assert_eq!(instance.html(), before, "{}", context());
                (json, state) = old;
            }
            (found, expected) => prop_assert!(false, "{found:?}\ninstead of\n{expected:?}\n{}", context()),
        }
    }
    Ok(())
}
