//! Law 10: any bytes decode or are refused, in both encodings; what was decoded is written and read as the same.

#![no_main]

use domcast_diff::Patches;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(patches) = Patches::from_binary(bytes) {
        check(&patches);
    }
    if let Ok(patches) = serde_json::from_slice::<Patches>(bytes) {
        check(&patches);
    }
});

fn check(patches: &Patches) {
    // Runs may stand for millions of ids; writing those is slow and finds nothing.
    if patches.len() > 1_000 {
        return;
    }
    let binary = Patches::from_binary(&patches.to_binary()).expect("what was written in binary is read");
    assert_eq!(&binary, patches);
    let json: Patches = serde_json::from_str(&patches.to_json()).expect("what was written as JSON is read");
    assert_eq!(&json, patches);
}
