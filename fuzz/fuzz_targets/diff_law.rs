//! Laws 1, 2 and 5: one tree follows a page through changes and through trees that have nothing in common.

#![no_main]

use arbitrary::{Result, Unstructured};
use domcast_tests::laws::{self, LiveTree};
use domcast_tests::trees;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Bytes that make no trees are no finding.
    _ = follow(&mut Unstructured::new(bytes));
});

fn follow(u: &mut Unstructured<'_>) -> Result<()> {
    let first = trees::tree(u, 60)?;
    let mut live = LiveTree::new(&first);
    while !u.is_empty() {
        let new = if u.int_in_range(0..=7)? == 7 { trees::tree(u, 60)? } else { trees::changed(u, live.tree(), 8)? };
        if let Err(reason) = laws::update(&new, live.tree()).and_then(|_| live.update(&new)) {
            panic!("{reason}");
        }
    }
    Ok(())
}
