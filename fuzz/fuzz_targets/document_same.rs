//! Law 5: a document of any template, through any history of its state, is what a full rendering and a parse make, and sends nothing
//! for equal output.

#![no_main]

#[path = "../../crates/domcast-template/tests/laws/draw.rs"]
mod draw;
#[path = "../../crates/domcast-document/tests/laws/law.rs"]
mod law;
#[path = "../../crates/domcast-document/tests/laws/markup.rs"]
mod markup;

use libfuzzer_sys::fuzz_target;

/// Numbers of one step.
const STEP: usize = 12;

fuzz_target!(|bytes: &[u8]| {
    let numbers: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_le_bytes([pair[0], *pair.last().unwrap_or(&0)])).collect();
    let (template, rest) = numbers.split_at(numbers.len() / 2);
    let (state, history) = rest.split_at(rest.len() / 3);
    let history: Vec<Vec<u16>> = history.chunks(STEP).map(<[u16]>::to_vec).collect();
    law::follow(template, state, &history);
});
