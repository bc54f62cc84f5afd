//! The law on generated templates, states and histories: after every update the tree is what a parser makes of a full rendering, node for
//! node; the patches lead another copy there too; and nothing is sent for equal output.
//!
//! An ordinary run makes 20,000 steps; `PROPTEST_CASES=70000 cargo test --release -p domcast-document --test laws` makes 1,000,000.

#[path = "../../../domcast-template/tests/laws/draw.rs"]
mod draw; // templates that use all of the language, states, changes
mod law; // what must hold, shared with the fuzz target
mod markup; // templates that are mostly regular

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::Cell;

/// Steps of one history.
const N_STEPS: usize = 20;

#[test]
fn an_updated_document_equals_a_new_one() {
    let cases =
        std::env::var("PROPTEST_CASES").map_or(1_500, |cases| cases.parse().expect("PROPTEST_CASES is a number"));
    let config =
        ProptestConfig { cases, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() };
    let numbers = (vec(any::<u16>(), 0..300), vec(any::<u16>(), 0..120), vec(vec(any::<u16>(), 0..24), N_STEPS));
    let total = Cell::new(law::Count::default());
    let tested = TestRunner::new(config).run(&numbers, |(template, state, history)| {
        let count = law::follow(&template, &state, &history);
        let mut sum = total.get();
        sum.n_steps += count.n_steps;
        sum.n_changed += count.n_changed;
        sum.n_set += count.n_set;
        sum.n_plain += count.n_plain;
        total.set(sum);
        Ok(())
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
    let law::Count { n_steps, n_changed, n_set, n_plain } = total.get();
    println!("{n_steps} steps, {n_set} in place, {n_changed} that changed something, {n_plain} by the plain pipeline");
    assert!(n_set * 8 > n_steps, "many steps set parts in place");
    assert!(n_plain * 2 < n_changed, "most changes are made at the cost of the change");
}
