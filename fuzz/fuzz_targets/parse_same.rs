//! Law 4: any text parses to the tree that html5ever and markup5ever_rcdom make, as a document and in any context.
//!
//! The first bytes pick the context, and whether the rest is the text itself or makes text as templates or nobody writes it.

#![no_main]

use arbitrary::{Result, Unstructured};
use domcast_parser::{parse_document, parse_fragment};
use domcast_tests::{laws, markup, oracle};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    _ = compare(&mut Unstructured::new(bytes));
});

fn compare(u: &mut Unstructured<'_>) -> Result<()> {
    let context = markup::CONTEXTS.get(u.int_in_range(0..=markup::CONTEXTS.len())?);
    let html = match u.int_in_range(0..=3)? {
        0 => markup::regular(u, 60)?,
        1 => markup::markup(u, 60)?,
        2 => markup::page(u, 30)?,
        _ => String::from_utf8_lossy(u.bytes(u.len())?).into_owned(),
    };
    let (tree, expected) = match context {
        Some(context) => (parse_fragment(&html, context), oracle::fragment(&html, context)),
        None => (parse_document(&html), oracle::document(&html)),
    };
    let tree = tree.expect("the text is short and the context a name");
    assert_eq!(tree, expected, "{html:?} in {context:?}");
    assert_eq!(laws::sound(&tree), Ok(()));
    // The same text elsewhere: what was made of equal source is equal.
    let some = markup::SURROUNDINGS.iter().skip(html.len() % 6).step_by(6);
    let around: Vec<_> = some.map(|(before, after)| parse_fragment(&format!("{before}{html}{after}"), "div")).collect();
    assert_eq!(laws::spans(around.iter().flatten().chain([&tree])), Ok(()));
    Ok(())
}
