//! Law 5 for text: after any edits the tree equals a fresh parse, and the patches lead there, ids included.
//!
//! The first bytes pick the context and the first text; the rest are edits of one long-lived text.

#![no_main]

use arbitrary::{Result, Unstructured};
use domcast_tests::edits::{self, LiveSource};
use domcast_tests::{markup, oracle};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    _ = follow(&mut Unstructured::new(bytes));
});

fn follow(u: &mut Unstructured<'_>) -> Result<()> {
    let context = *u.choose(&[Some("div"), Some("ul"), None])?;
    let content = markup::regular(u, 40)?;
    let html = match context {
        Some(_) => content,
        None => format!("<!DOCTYPE html><html><head><title>t</title></head><body>{content}</body></html>\n"),
    };
    let mut live = LiveSource::new(&html, context);
    for _ in 0..20 {
        if u.is_empty() {
            break;
        }
        let next = edits::edited(u, live.html())?;
        assert_eq!(live.update(&next), Ok(()));
    }
    let html = live.html();
    let expected = context.map_or_else(|| oracle::document(html), |context| oracle::fragment(html, context));
    assert_eq!(live.tree(), &expected, "{html:?}");
    Ok(())
}
