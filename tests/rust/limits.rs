//! Hostile input: what is refused and with which words, and what must not overflow a stack. Times are the business of
//! `cargo bench -p domcast-benches --bench scaling`.

use domcast_diff::{NodeId, Patch, Patches, Tree, VNode, apply, diff};
use domcast_parser::{Limits, ParseError, Parser, parse_document, parse_fragment};

/// Chromium's parser nests no deeper below `html`, which a fragment lacks: what would is a sibling.
const MAX_DEPTH: usize = 512;

#[test]
fn elements_nested_100_000_deep_fit_a_small_stack() {
    small_stack(|| live("<div>".repeat(100_000)));
}

#[test]
fn text_in_elements_nested_100_000_deep_fits_a_small_stack() {
    small_stack(|| live(format!("{}tea{}", "<div>".repeat(100_000), "</div>".repeat(100_000))));
}

#[test]
fn lists_nested_100_000_deep_fit_a_small_stack() {
    small_stack(|| live("<ul><li>".repeat(50_000)));
}

#[test]
fn foreign_elements_nested_100_000_deep_are_flattened_or_refused_on_a_small_stack() {
    small_stack(|| live(format!("<svg>{}", "<g>".repeat(100_000))));
    small_stack(|| live_or_too_deep(format!("<math>{}", "<mrow>".repeat(100_000))));
}

#[test]
fn misnested_elements_100_000_deep_are_flattened_or_refused_on_a_small_stack() {
    small_stack(|| live("<b><p>".repeat(50_000)));
    small_stack(|| live_or_too_deep("<a><div>".repeat(50_000)));
    small_stack(|| live("<table><tr><td><i>".repeat(25_000)));
    small_stack(|| live_or_too_deep("<template>".repeat(100_000)));
}

#[test]
fn misnested_elements_are_flattened_as_in_a_browser() {
    small_stack(|| live("<b><p>".repeat(1_000)));
    small_stack(|| live("<i><section>x</i>".repeat(1_000)));
}

#[test]
fn a_page_100_000_deep_fits_a_small_stack() {
    small_stack(|| {
        for before in [
            "<!doctype html><html><head><title>x</title></head><body>",
            "<!doctype html><title>x</title>",
            "<!-- no doctype -->",
            "",
        ] {
            for after in ["", "</body>\n</html>\n"] {
                let html = format!("{before}{}{after}", "<div>".repeat(100_000));
                live_on(&parse_document(&html).unwrap_or_else(|error| panic!("{before}: {error}")));
            }
        }
        // Where tags cross, html5ever reads the page, and takes quadratic time for its depth.
        let result = parse_document(&format!("<b><p>x</b>{}", "<div>".repeat(100_000)));
        assert_eq!(result.err(), Some(ParseError::TooDeep { limit: 4096 }));
    });
}

#[test]
fn whatever_nests_without_crossing_100_000_deep_is_flattened_in_a_page_and_in_any_plain_element() {
    let nests = [
        ("<b>", "</b>"),
        ("<b><i>", ""),
        ("<span>x", "</span>"),
        ("<x-card class=a>", "</x-card>x"),
        ("<div>\n  <!-- c -->", "</div>\n"),
        ("<ul>\n<li>x", "</ul>"),
        ("<ul><li>", "</li></ul>"),
        ("<dl><dd>", ""),
        ("<table><tr><td>", ""),
        ("<table><tr><td>x", "</table>"),
        ("<table><tbody><tr><td>", "</td></tr></tbody></table>"),
        ("<section><p>x</p>", "</section>"),
        ("<svg>", "</svg>"),
    ];
    small_stack(move || {
        for ((before, after), context) in nests.into_iter().zip(["p", "x-view", "td"].into_iter().cycle()) {
            let html = format!("{}{}", before.repeat(100_000), after.repeat(100_000));
            for result in [parse_document(&html), parse_fragment(&html, context)] {
                live_on(&result.unwrap_or_else(|error| panic!("{before} in {context}: {error}")));
            }
        }
    });
}

#[test]
fn a_tree_100_000_deep_that_no_parser_made_fits_a_small_stack() {
    small_stack(|| {
        let deep = |text: &str| {
            let mut tree = Tree::new();
            let mut parent = NodeId::ROOT;
            for _ in 0..100_000 {
                let element = domcast_diff::Element::new(domcast_diff::Name::html("div"));
                parent = tree.append(parent, domcast_diff::VNode::Element(element));
            }
            tree.append(parent, domcast_diff::VNode::Text(text));
            tree
        };
        let (mut old, new) = (deep("tea"), deep("milk"));
        let patches = diff(&old, &new);
        assert_eq!(patches.len(), 1);
        apply(&mut old, &patches).expect("the patches fit the tree they were made for");
        assert!(old == new);
        assert!(old.clone().to_html().contains("milk"));
        old.remove(old.first_child(NodeId::ROOT).expect("the tree has an element"));
        assert_eq!(old.n_nodes(), 1);
    });
}

#[test]
fn an_order_of_nodes_that_are_nowhere_is_refused() {
    let mut tree = parse_fragment("<ul><li>a</li></ul><p>z", "div").expect("it is small");
    let list = tree.first_child(NodeId::ROOT).expect("it has a list");
    let orphan = tree.create(VNode::Text("x"));
    let html = tree.to_html();
    let order = Patches(vec![Patch::Permute { parent: list, order: vec![orphan] }]);
    assert!(apply(&mut tree, &order).is_err());
    assert_eq!(tree.to_html(), html);
    assert!(apply(&mut tree, &Patches(vec![Patch::Clear { parent: NodeId::ROOT }])).is_ok());
}

#[test]
fn many_small_texts_that_join_take_no_more_memory_than_their_page() {
    const N: usize = 20_000;
    let documents = [
        format!("<!doctype html><head>{}<body>x", " <head>".repeat(N)),
        format!("<!doctype html><body>x</body>{}", " <!---->".repeat(N)),
    ];
    let deep = "<div>".repeat(520);
    let fragments = [format!("{deep}{}", "a<!---->".repeat(N)), format!("{deep}{}", "a<b x='&amp;'></b>".repeat(N))];
    let trees = documents
        .iter()
        .map(|html| (html, parse_document(html)))
        .chain(fragments.iter().map(|html| (html, parse_fragment(html, "div"))));
    for (html, tree) in trees {
        let tree = tree.expect("it is within the limits");
        assert!(tree.n_bytes() < 40 * html.len(), "{} bytes for {}", tree.n_bytes(), html.len());
    }
}

#[test]
fn a_tag_with_100_000_attributes_is_refused_wherever_it_hides() {
    let tag = many_attributes(100_000);
    let before = [
        "",                                           // regular
        "<p>tea</p>\n",                               // regular, after an element
        "<b><p>tea</b>",                              // irregular from here on
        "<!-- <p a=\"> -->",                          // a quote that a comment holds
        "<!--><b><p>tea</b>",                         // a comment that ends at once
        "<b><i title='>'></b>",                       // a quoted end of a tag
        "<i title=\"'\"></b>",                        // a quote within quotes
        "<svg><style><p x='</style>'>",               // markup, unlike the content of an HTML style
        "<style><p x='</style>",                      // no markup
        "<svg><title><b></svg>",                      // HTML within SVG
        "<math><annotation-xml encoding=text/html>",  // HTML within MathML
        "<svg><![CDATA[ <p x=\" ]]>",                 // a section that only foreign content has
        "<textarea><p x='</textarea>",                // text
        "<script><!--<script>'</script>--></script>", // a script within a script
        "<table><tr><b>",                             // beside a table
        "<template><b><p></b>",                       // another tree
        "</b ",                                       // an end tag has attributes too …
        "<?php \">",                                  // a bogus comment
        "<p a=1",                                     // … and a tag may go on: its quotes are attributes
    ];
    for before in before {
        let html = format!("{before}{tag}");
        for result in [parse_fragment(&html, "div"), parse_document(&html)] {
            match result {
                Err(ParseError::TooManyAttributes { limit: 4096 }) => {}
                // `</b <p a0=1 …` is one end tag, whose attributes nobody sees.
                Ok(tree) if before.starts_with("</") => assert!(tree.n_nodes() < 8, "{before}: {tree:?}"),
                other => panic!("{before}: {:?}", other.map(|tree| tree.n_nodes())),
            }
        }
    }
}

#[test]
fn a_tag_may_have_4096_attributes() {
    for before in ["", "<b><p></b>"] {
        assert!(parse_fragment(&format!("{before}{}", many_attributes(4096)), "div").is_ok(), "{before}");
        let result = parse_fragment(&format!("{before}{}", many_attributes(4097)), "div");
        assert_eq!(result.err(), Some(ParseError::TooManyAttributes { limit: 4096 }), "{before}");
    }
}

#[test]
fn each_of_many_attributes_is_found_by_its_name_with_its_first_value() {
    let written = |value: fn(usize) -> usize| (0..2048).map(move |idx| format!(" a{idx}={}", value(idx)));
    let tag: String = written(|idx| idx).chain(written(|_| 0)).collect();
    for before in ["", "<b><p></b>"] {
        let tree = parse_fragment(&format!("{before}<i{tag}>"), "div").expect("it is within the limits");
        let element = tree.descendants(NodeId::ROOT).filter_map(|(id, _)| tree.element(id)).last().expect("a tag");
        assert_eq!(element.attributes.iter().count(), 2048, "{before}");
        for idx in 0..2048 {
            assert_eq!(element.attribute(&format!("a{idx}")), Some(&*idx.to_string()), "{before}");
        }
        assert_eq!(element.attribute("a2048"), None);
    }
}

#[test]
fn attributes_given_again_count_too() {
    for before in ["", "<b><p></b>"] {
        let result = parse_fragment(&format!("{before}<p{}>", " a=1".repeat(100_000)), "div");
        assert_eq!(result.err(), Some(ParseError::TooManyAttributes { limit: 4096 }), "{before}");
    }
}

#[test]
fn every_refusal_says_what_was_found_and_what_is_allowed() {
    let limits = Limits { n_bytes: 40, n_nodes: 5, n_attributes: 2, n_levels: 3 };
    let parser = Parser { limits, ..Parser::default() };
    let reason = |html: &str, context: &str| {
        let error = parser.fragment(html, context).expect_err("the text is beyond a limit");
        error.to_string()
    };
    assert_eq!(reason(&"x".repeat(41), "div"), "HTML of 41 bytes exceeds the limit of 40");
    assert_eq!(reason("<p><p><p><p><p><p>", "div"), "HTML makes more nodes than the limit of 5");
    assert_eq!(reason("<p a=1 b=2 c=3>", "div"), "a tag has more attributes than the limit of 2");
    assert_eq!(reason("<b><p a=1 b=2 c=3></b>", "div"), "a tag has more attributes than the limit of 2");
    assert_eq!(reason("", "<p>"), "context `<p>` is not an element (`div`, `tbody`, `svg path`, `math mi` …)");
    let parser = Parser { limits: Limits { n_levels: 3, ..Limits::default() }, ..Parser::default() };
    let error = parser.fragment("<b><p><b><p></b></p>", "div").expect_err("the text nests deeper than 3 levels");
    assert_eq!(error.to_string(), "irregular markup nests deeper than the limit of 3");
}

#[test]
fn a_long_context_is_refused_with_a_bounded_cost() {
    let context = "x ".repeat(1_000);
    assert!(matches!(parse_fragment("", &context), Err(ParseError::BadContext(found)) if found == context));
}

/// Parses, compares, patches, writes and drops, all within the depth of a browser.
fn live(html: String) {
    let new = parse_fragment(&html, "div").unwrap_or_else(|error| panic!("{error}"));
    live_on(&new);
}

fn live_or_too_deep(html: String) {
    match parse_fragment(&html, "div") {
        Ok(new) => live_on(&new),
        Err(error) => assert_eq!(error, ParseError::TooDeep { limit: 4096 }),
    }
}

fn live_on(new: &Tree) {
    assert!(depth(new) <= MAX_DEPTH, "{} deep", depth(new));
    let mut tree = Tree::new();
    let patches = diff(&tree, new);
    let patches = Patches::from_binary(&patches.to_binary()).expect("what was written can be read");
    apply(&mut tree, &patches).expect("the patches fit the tree they were made for");
    assert!(tree == *new, "the patches lead elsewhere");
    assert!(!tree.to_html().is_empty());
    apply(&mut tree, &diff(new, &Tree::new())).expect("the tree is numbered as the new one");
    assert_eq!(tree.n_nodes(), 1);
}

/// The depth of the deepest element; those in the root, or in `html`, are at 1.
fn depth(tree: &Tree) -> usize {
    let is_html = |&id: &NodeId| tree.element(id).is_some_and(|element| element.name.is_html("html"));
    let top = tree.children(NodeId::ROOT).find(is_html).unwrap_or(NodeId::ROOT);
    let elements = tree.descendants(top).filter(|&(id, _)| tree.element(id).is_some());
    elements.map(|(_, depth)| depth).max().unwrap_or(0)
}

fn many_attributes(n: usize) -> String {
    let mut html = String::from("<p");
    (0..n).for_each(|idx| html.push_str(&format!(" a{idx}=1")));
    html + ">tea"
}

/// Runs on a stack of 2 MiB, as threads of servers have.
fn small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).expect("a thread starts");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_tree_that_changes_for_ever_stays_small() {
    let page = |step: usize| {
        let row = |row: usize| {
            let class = if row % 7 == step % 7 { format!("c{step}") } else { "row".into() };
            format!("<li id=r{row} class={class} data-x{step}=1>text {} of step {}</li>", row, step / (1 + row % 5))
        };
        parse_fragment(&format!("<ul>{}</ul>", (step % 40..200 + step % 40).map(row).collect::<String>()), "div")
    };
    let page = |step| page(step).expect("the page is small");
    let mut tree = page(0);
    let n_bytes = tree.n_bytes();
    for step in 0..2_000 {
        let patches = diff(&tree, &page(step));
        apply(&mut tree, &patches).expect("the patches fit the tree they were made for");
        if tree.is_sparse() {
            tree.compact();
        }
        assert!(tree.n_bytes() < 8 * n_bytes, "step {step}: {} bytes, at first {n_bytes}", tree.n_bytes());
    }
}
