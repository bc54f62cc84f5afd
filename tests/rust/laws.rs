//! The laws on generated trees, texts and patch lists.
//!
//! `PROPTEST_CASES` sets the number of cases of each property. The same properties are fuzz targets (`fuzz/`), which search
//! longer and by coverage.

use arbitrary::Unstructured;
use domcast_diff::{
    Attribute, Attributes, Element, Name, Namespace, NodeId, Patches, Tree, VNode, escape_attribute, escape_text,
};
use domcast_parser::{parse_document, parse_fragment};
use domcast_tests::laws::{self, LiveTree};
use domcast_tests::{markup, oracle, programs, trees};
use proptest::prelude::*;
use std::collections::{BTreeSet, HashSet};

fn cases(n_cases: u32) -> ProptestConfig {
    // A failure becomes a named case in `tests/corpus`, not a file of seeds.
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => ProptestConfig { cases: n_cases, ..config },
    }
}

fn bytes(n_bytes: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..n_bytes).prop_map(Bytes)
}

/// What generators read; shown on one line.
#[derive(Clone)]
struct Bytes(Vec<u8>);

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

fn ok<T>(result: Result<T, String>) -> Result<T, TestCaseError> {
    result.map_err(TestCaseError::fail)
}

/// Attributes by number; of each name the first.
fn attributes() -> impl Strategy<Value = Vec<(u8, String)>> {
    let distinct = |mut attributes: Vec<(u8, String)>| {
        let mut names = HashSet::new();
        attributes.retain(|(name, _)| names.insert(*name));
        attributes
    };
    prop::collection::vec((0_u8..60, "[ab]?"), 0..80).prop_map(distinct)
}

/// An element with these attributes, some of which have a namespace.
fn tagged(attributes: &[(u8, String)]) -> Tree {
    let locals: Vec<String> = attributes.iter().map(|(name, _)| format!("a{}", name / 2)).collect();
    let named = attributes.iter().zip(&locals).map(|((name, value), local)| {
        let namespace = if name % 2 == 0 { Namespace::None } else { Namespace::XLink };
        Attribute { name: Name::new(namespace, local), value }
    });
    let named: Vec<Attribute<'_>> = named.collect();
    let mut tree = Tree::new();
    let element = Element { name: Name::html("div"), attributes: Attributes::from(&named[..]) };
    tree.append(NodeId::ROOT, VNode::Element(element));
    tree
}

proptest! {
    #![proptest_config(cases(3_000))]

    #[test]
    fn any_attributes_become_any_others(old in attributes(), other in attributes(), n_shared in 0_usize..80) {
        // What both begin with, in step.
        let shared = &old[..n_shared.min(old.len())];
        let is_new = |(name, _): &&(u8, String)| shared.iter().all(|(other, _)| name != other);
        let new: Vec<_> = shared.iter().chain(other.iter().filter(is_new)).cloned().collect();
        let mut reversed = new.clone();
        reversed.reverse();
        let sorted = |list: &[(u8, String)]| list.iter().cloned().collect::<BTreeSet<_>>();
        prop_assert_eq!(tagged(&old) == tagged(&new), sorted(&old) == sorted(&new));
        prop_assert_eq!(tagged(&new), tagged(&reversed));
        for (old, new) in [(&old, &new), (&new, &old), (&old, &reversed), (&new, &reversed)] {
            ok(laws::update(&tagged(old), &tagged(new)))?;
        }
    }

    #[test]
    fn a_changed_tree_is_reached(bytes in bytes(600)) {
        let u = &mut Unstructured::new(&bytes);
        let old = trees::tree(u, 60)?;
        let new = trees::changed(u, &old, 8)?;
        ok(laws::update(&old, &new))?;
        ok(laws::update(&new, &old))?;
    }

    #[test]
    fn any_tree_is_reached_from_any_other(one in bytes(400), other in bytes(400)) {
        let old = trees::tree(&mut Unstructured::new(&one), 50)?;
        let new = trees::tree(&mut Unstructured::new(&other), 50)?;
        ok(laws::update(&old, &new))?;
    }

    #[test]
    fn no_patch_list_harms_a_tree(bytes in bytes(600)) {
        let u = &mut Unstructured::new(&bytes);
        let mut tree = trees::tree(u, 40)?;
        let patches = programs::patches(u, &tree)?;
        ok(laws::no_harm(&mut tree, &patches))?;
    }

    #[test]
    fn any_patch_list_comes_back_from_both_encodings(bytes in bytes(600)) {
        let u = &mut Unstructured::new(&bytes);
        let tree = trees::tree(u, 40)?;
        let patches = programs::patches(u, &tree)?;
        ok(laws::round_trip(&patches))?;
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in bytes(300)) {
        let mut binary = vec![1];
        binary.extend(bytes.iter());
        if let Ok(patches) = Patches::from_binary(&binary) {
            prop_assert_eq!(&Patches::from_binary(&patches.to_binary()).expect("what was written is read"), &patches);
        }
        _ = Patches::from_binary(&bytes);
    }

    #[test]
    fn a_damaged_patch_list_decodes_or_is_refused(bytes in bytes(400), places in prop::collection::vec(any::<(u16, u8)>(), 1..4)) {
        let u = &mut Unstructured::new(&bytes);
        let tree = trees::tree(u, 40)?;
        let patches = programs::patches(u, &tree)?;
        let (mut binary, mut json) = (patches.to_binary(), patches.to_json().into_bytes());
        for (place, byte) in places {
            for encoded in [&mut binary, &mut json] {
                let idx = usize::from(place) % encoded.len();
                encoded[idx] = byte;
            }
        }
        _ = Patches::from_binary(&binary);
        _ = serde_json::from_slice::<Patches>(&json);
    }

    #[test]
    fn documents_parse_as_html5ever_does(bytes in bytes(300)) {
        let html = markup::markup(&mut Unstructured::new(&bytes), 40)?;
        let tree = parse_document(&html).expect("the text is short");
        prop_assert_eq!(&tree, &oracle::document(&html), "{:?}", html);
        ok(laws::sound(&tree))?;
    }

    #[test]
    fn pages_parse_as_html5ever_does_wherever_their_tags_are_missing(bytes in bytes(400)) {
        let html = markup::page(&mut Unstructured::new(&bytes), 20)?;
        let tree = parse_document(&html).expect("the text is short");
        prop_assert_eq!(&tree, &oracle::document(&html), "{:?}", html);
        ok(laws::sound(&tree))?;
        ok(laws::spans([&tree]))?;
    }

    #[test]
    fn fragments_parse_as_html5ever_does(bytes in bytes(300)) {
        let u = &mut Unstructured::new(&bytes);
        let context = *u.choose(&markup::CONTEXTS)?;
        let html = markup::markup(u, 40)?;
        let tree = parse_fragment(&html, context).expect("the text is short and the context a name");
        prop_assert_eq!(&tree, &oracle::fragment(&html, context), "{:?} in {}", html, context);
        ok(laws::sound(&tree))?;
    }

    #[test]
    fn templates_parse_as_html5ever_does(bytes in bytes(400)) {
        let u = &mut Unstructured::new(&bytes);
        let context = *u.choose(&markup::CONTEXTS)?;
        let html = markup::regular(u, 60)?;
        let tree = parse_fragment(&html, context).expect("the text is short and the context a name");
        prop_assert_eq!(&tree, &oracle::fragment(&html, context), "{:?} in {}", html, context);
        let page = format!("<!DOCTYPE html><html><head><title>t</title></head><body>{html}</body></html>");
        prop_assert_eq!(&parse_document(&page).expect("the text is short"), &oracle::document(&page), "{:?}", page);
        ok(laws::sound(&tree))?;
    }

    #[test]
    fn text_and_values_are_read_as_they_were_written(text in "[\\PC\r\n\t]{1,40}") {
        let mut html = String::from("<p title=\"");
        escape_attribute(&text, &mut html);
        html.push_str("\">");
        escape_text(&text, &mut html);
        let tree = parse_fragment(&html, "div").expect("it is small");
        let paragraph = tree.first_child(NodeId::ROOT).expect("it has an element");
        let value = tree.element(paragraph).and_then(|element| element.attributes.iter().next()).map(|attribute| attribute.value.to_owned());
        prop_assert_eq!(value.as_deref(), Some(&*text));
        let VNode::Text(found) = tree.get(tree.first_child(paragraph).expect("it has text")).expect("it is there") else { panic!() };
        prop_assert_eq!(found, &*text);
        prop_assert_eq!(parse_fragment(&tree.to_html(), "div").expect("it is small"), tree);
    }

    #[test]
    fn any_text_parses_as_html5ever_does(html in "\\PC{0,60}", context in prop::sample::select(&markup::CONTEXTS[..])) {
        prop_assert_eq!(&parse_document(&html).expect("the text is short"), &oracle::document(&html));
        let tree = parse_fragment(&html, context).expect("the text is short and the context a name");
        prop_assert_eq!(&tree, &oracle::fragment(&html, context));
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn one_tree_follows_a_page_for_50_updates(bytes in bytes(4_000)) {
        let u = &mut Unstructured::new(&bytes);
        let mut live = LiveTree::new(&trees::tree(u, 40)?);
        for _ in 0..50 {
            let new = trees::changed(u, live.tree(), 5)?;
            ok(live.update(&new))?;
        }
    }

    #[test]
    fn what_is_made_of_equal_source_is_equal(bytes in bytes(300)) {
        let u = &mut Unstructured::new(&bytes);
        let markup = markup::regular(u, 30)?;
        let other = markup::regular(u, 20)?;
        let mut trees = Vec::new();
        for (before, after) in markup::SURROUNDINGS {
            for html in [format!("{before}{markup}{after}"), format!("{before}{other}{markup}{after}{markup}")] {
                let page = format!("<!DOCTYPE html><html><head><title>t</title></head><body>{html}</body></html>");
                trees.push(parse_fragment(&html, "div").expect("the text is short"));
                trees.push(parse_document(&page).expect("the text is short"));
                // What follows `</body>` goes into it.
                trees.push(parse_document(&format!("{page}\n")).expect("the text is short"));
            }
        }
        // Deep down elements become siblings of those around them.
        trees.push(parse_fragment(&format!("{}{markup}", "<div>".repeat(510)), "div").expect("regular markup may nest"));
        ok(laws::spans(&trees))?;
    }

    #[test]
    fn one_tree_follows_regular_pages(bytes in bytes(3_000)) {
        let u = &mut Unstructured::new(&bytes);
        // Pages of few pieces, so that much of a page stays and moves.
        let pieces: Vec<String> = (0..6).map(|_| markup::regular(u, 12)).collect::<Result<_, _>>()?;
        let mut live = LiveTree::new(&Tree::new());
        for _ in 0..12 {
            let mut html = String::new();
            for _ in 0..u.int_in_range(0..=6)? {
                let (before, after) = *u.choose(&markup::SURROUNDINGS)?;
                html.extend([before, u.choose(&pieces)?, after]);
            }
            let new = parse_fragment(&html, "div").expect("the text is short");
            ok(live.update(&new))?;
            ok(laws::spans([live.tree(), &new]))?;
            // Changes that no parser saw take spans away.
            let changed = trees::changed(u, &new, 2)?;
            ok(laws::spans([live.tree(), &new, &changed]))?;
            ok(live.update(&changed))?;
            ok(laws::spans([live.tree(), &new, &changed]))?;
        }
    }

    #[test]
    fn one_tree_follows_parsed_pages(bytes in bytes(3_000)) {
        let u = &mut Unstructured::new(&bytes);
        let mut page = || -> Result<Tree, arbitrary::Error> {
            Ok(parse_fragment(&markup::markup(u, 60)?, "div").expect("the text is short"))
        };
        let mut live = LiveTree::new(&page()?);
        for _ in 0..10 {
            ok(live.update(&page()?))?;
        }
    }
}
