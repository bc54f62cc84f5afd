//! Law 10: no patch list harms a tree, and a patch that does not fit is not begun; what fits travels unharmed.

#![no_main]

use arbitrary::{Result, Unstructured};
use domcast_tests::{laws, programs, trees};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    _ = run(&mut Unstructured::new(bytes));
});

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let mut tree = trees::tree(u, 40)?;
    let patches = programs::patches(u, &tree)?;
    let harm = laws::no_harm(&mut tree, &patches);
    assert_eq!(harm, Ok(()));
    if let Err(reason) = laws::round_trip(&patches) {
        panic!("{reason}");
    }
    Ok(())
}
