//! Law 5 for text: parsing what changed gives the tree of a fresh parse, and patches that lead there.

use arbitrary::Unstructured;
use domcast_parser::{Parser, Source};
use domcast_tests::data::{corpus, histories};
use domcast_tests::edits::{self, LiveSource};
use domcast_tests::{markup, oracle};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::Write;

/// Checks a history of texts in a `div`, and how many of the updates were local.
#[track_caller]
fn check(versions: &[&str], n_local: usize) {
    let mut live = LiveSource::new(versions[0], Some("div"));
    for version in &versions[1..] {
        live.update(version).unwrap_or_else(|reason| panic!("{reason}"));
    }
    assert_eq!(live.n_local, n_local, "of {versions:?}");
}

#[test]
fn one_text_is_parsed_alone() {
    check(&["<ul><li>tea</li><li>milk</li></ul>", "<ul><li>tea</li><li>oat milk</li></ul>"], 1);
    check(&["<p>a</p>", "<p>a</p>", "<p></p>", "<p>b</p>"], 3);
}

#[test]
fn one_text_deep_in_a_row_is_parsed_alone() {
    let list = |texts: [&str; 2], end: &str| {
        let items = texts.map(|text| format!("<li class=\"a > b\"><p><b>tea</b> with <i>{text}</i>{end}"));
        format!("<ul>{}</ul>", items.concat())
    };
    for end in ["</p></li>", "</p>", ""] {
        let texts =
            [["milk", "sugar"], ["", "sugar"], ["a < b", "sugar &amp; salt"], ["milk<br>", "sugar"], ["x", "y"]];
        let texts = texts.map(|texts| list(texts, end));
        check(&texts.each_ref().map(String::as_str), 4);
    }
    // What follows the text ends another element, or has another name.
    check(&["<ul><li><p>tea<li>b</ul>", "<ul><li><p>milk<li>b</ul>", "<ul><li><p>tea</ul>"], 2);
    check(&["<div><p>tea<p>b</div>", "<div><p>milk<pre>b</pre></div>", "<div><p>milk<p>b</p></div>"], 2);
    // Odd characters.
    check(&["<p>a <b>tea</b></p>", "<p>a <b>te\ra</b></p>"], 0);
    check(&["<p>a <b>tea</b></p>", "<p>a <b title='\r'>tea</b></p>"], 0);
    // Text may not stand in a table.
    check(
        &["<table> <tbody><tr><td>a</td></tr></tbody></table>", "<table>x<tbody><tr><td>a</td></tr></tbody></table>"],
        0,
    );
}

#[test]
fn rows_come_go_and_move() {
    let row = |id: u32, text: &str| format!("<tr id=\"r{id}\"><td>{id}</td><td>{text}</td></tr>\n");
    let table = |rows: &[(u32, &str)]| {
        let rows: String = rows.iter().map(|&(id, text)| row(id, text)).collect();
        format!("<table>\n<tbody>{rows}</tbody></table>")
    };
    let all = [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e"), (6, "f")];
    let mut swapped = all;
    swapped.swap(1, 4);
    let mut mixed = swapped;
    (mixed[0].1, mixed[3].1) = ("x", "y");
    mixed.reverse();
    let texts =
        [table(&all), table(&swapped), table(&mixed), table(&all[1..]), table(&all[..2]), table(&all), table(&[])];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    check(&texts, 6);
}

#[test]
fn what_implies_an_end_is_seen() {
    check(
        &["<ul><li>a<li>b<li>c</ul>", "<ul><li>a<li>x<li>c</ul>", "<ul><li>a<li>x</ul>", "<ul><li>a<b>x</b></ul>"],
        3,
    );
    check(&["<div><p>a<p>b<div>c</div></div>", "<div><p>a<span>b</span><div>c</div></div>"], 1);
}

#[test]
fn an_item_that_ends_with_the_end_tag_of_another_is_open_still() {
    let list = |end: &str| format!("<ul><li>a<li>b<dd>c<li>d</li>{end}</ul>");
    check(&[&list(""), &list("tea"), &list("<li>milk"), &list("")], 3);
}

#[test]
fn a_start_tag_that_looks_like_an_end_tag_ends_nothing() {
    let list = |items: &str| format!("<ul>{items}<li id=b>tea</ul>");
    for item in ["<li id=</li>", "<li><p id=</li>", "<li>x<p id=a</li>", "<li>x<p title=\"a>\"</li>"] {
        let mut live = LiveSource::new(&list(item), Some("div"));
        for next in [format!("{item}1"), format!("{item}<p>2"), format!("{item}</li>3"), item.to_owned()] {
            live.update(&list(&next)).unwrap_or_else(|reason| panic!("{reason}"));
        }
    }
}

#[test]
fn a_comment_takes_in_what_is_behind_the_body() {
    let page = |content: &str| format!("<!DOCTYPE html><html><head></head><body>{content}</body><!-- c -->");
    let mut live = LiveSource::new(&page("<p>tea</p>"), None);
    for content in ["<!--<p>tea</p>", "<p>tea</p>", "<!--</body><!-- c -->", "<!--"] {
        live.update(&page(content)).unwrap_or_else(|reason| panic!("{reason}"));
    }
}

#[test]
fn what_looks_alike_does_not_move() {
    let mut live = LiveSource::new("<ul><li></li><li></li><li><b></b></li><li id=k><i>tea</i></li></ul>", Some("div"));
    live.update("<ul><li><li></li><li><b></b><li id=k><i>tea</i></li></ul>")
        .unwrap_or_else(|reason| panic!("{reason}"));

    let item = |end: &str| format!("<li id=a>tea{end}<li id=b>");
    let texts = ["</li>", ""].map(|end| format!("<ul>{}x{}y{}</ul>", item(""), item(end), item("</li>")));
    let mut live = LiveSource::new(&texts[0], Some("div"));
    for text in [&texts[1], &texts[0]] {
        live.update(text).unwrap_or_else(|reason| panic!("{reason}"));
    }
}

#[test]
fn what_plays_stays_though_it_came_after_other_moves() {
    let (a, b) = ("<li id=a>a</li>", "<li id=b>b</li>");
    let with_video = "<li id=b>b<video></video></li>";
    let mut source = Source::new(Parser::default(), [a, b].concat(), Some("ul")).expect("it is within the limits");
    let mut update =
        |items: [&str; 2]| source.update(items.concat()).expect("it is within the limits").patches.to_json();
    assert_eq!(update([b, a]), r#"[["m",0,1]]"#);
    update([with_video, a]);
    assert_eq!(update([a, with_video]), r#"[["m",3,1]]"#);
}

#[test]
fn a_head_is_parsed_alone() {
    let page = |html: &str, head: &str, body: &str, text: &str| {
        format!("<!DOCTYPE html>\n<html{html}>\n<head>{head}</head>\n<body{body}><p>tea</p><p>{text}</p></body></html>")
    };
    let mut live = LiveSource::new(&page("", "<title>a</title>", "", "milk"), None);
    for next in [
        page("", "<title>b</title><link rel=x href=y>", "", "milk"),
        page(" lang=en", "<link rel=x href=z><title>b</title>", " class=on", "milk"),
        page("", "", "", "oat milk"),
        page("", "", " id=b", "oat milk").replace("<html>", "<!-- c --><html>"),
    ] {
        live.update(&next).unwrap_or_else(|reason| panic!("{reason}"));
    }
    assert_eq!(live.n_local, 4);
}

#[test]
fn a_head_may_begin_with_what_is_in_it() {
    let page = |content: &str| {
        format!(
            "<!doctype html><html><meta charset=utf-8 /><head> <title>t</title></head><body>{content}</body></html>"
        )
    };
    let mut live = LiveSource::new(&page("tea"), None);
    live.update(&page("milk")).unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(live.n_local, 1);
    assert_eq!(live.tree(), &oracle::document(live.html()));

    let joined = "<!DOCTYPE html><html><head>\n<title>t</title>\n<head>\n<title>t</title></head><body></body></html>";
    assert_eq!(domcast_parser::parse_document(joined).as_ref(), Ok(&oracle::document(joined)));
}

#[test]
fn an_element_with_other_attributes_is_entered() {
    let page = |class: &str, text: &str| {
        format!(
            "<main{class}><p>This paragraph is as it was, and it takes its time.</p><p>{text}</p></main>{}",
            "<i>x</i>".repeat(80)
        )
    };
    let long = "tea ".repeat(200);
    let longer = format!("{long}milk");
    let texts = [
        page("", &long),
        page(" class=\"on > off\"", &long),
        page(" class=on", &longer),
        page(" class=on id=a", &longer),
        page(" id=b", &long),
    ];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    check(&texts, 4);
}

#[test]
fn whitespace_from_behind_the_body_stays_at_its_end() {
    let page = |content: &str| format!("<!DOCTYPE html><html><head></head><body>{content}</body>\n<!-- c --></html>\n");
    let mut live = LiveSource::new(&page("<p>tea</p>\n"), None);
    for content in
        ["<p>tea</p>", "<p>tea</p>milk", "", "milk", "<p>tea</p>\n<p>tea</p>\n", "<p>tea</p>\n\n", "x<p>milk</p>y", "x"]
    {
        live.update(&page(content)).unwrap_or_else(|reason| panic!("{reason}"));
    }
    assert_eq!(live.n_local, 8);
}

#[test]
fn text_from_behind_the_body_joins_new_text_in_it() {
    let page = |content: &str| format!("<!DOCTYPE html><html><head></head><body>{content}</body></html>\n");
    let mut live = LiveSource::new(&page("<p>tea</p>"), None);
    for content in ["milk", "<p>tea</p>", "<p>tea</p>milk", "<p>milk</p>"] {
        live.update(&page(content)).unwrap_or_else(|reason| panic!("{reason}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: cases(400), ..ProptestConfig::default() })]

    #[test]
    fn a_text_is_followed_through_50_edits(bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
        let u = &mut Unstructured::new(&bytes);
        let context = *u.choose(&[Some("div"), Some("ul"), None])?;
        // A list of regular pieces, some of them in rows with keys.
        let mut content = String::from("<ul class=\"list\">\n");
        for id in 0..u.int_in_range(0..=12)? {
            let piece = markup::regular(u, 6)?;
            let piece = if is_regular(&piece) { piece } else { "<b>tea</b> &amp; milk".into() };
            content += &match u.int_in_range(0..=2)? {
                0 => format!("<li id=\"k{id}\">{piece}</li>\n"),
                1 => format!("<li>{piece}</li>"),
                _ => format!("<li>{piece}\n"),
            };
        }
        content += "</ul>";
        let html = match context {
            Some(_) => content,
            None => format!("<!DOCTYPE html><html><head><title>t</title></head><body>{content}</body></html>\n"),
        };
        let mut live = LiveSource::new(&html, context);
        let mut last_regular = html;
        let is_regular = |html: &str| Parser::default().is_regular(html, context).expect("the text is short");
        for step in 0..50 {
            let edited = edits::edited(u, live.html())?;
            // Most of what is broken is mended, so that the next edits are of regular text.
            let is_mended = step % 8 > 0 && !is_regular(&edited);
            let next = if is_mended || edited.len() > 20_000 { last_regular.clone() } else { edited };
            if is_regular(&next) {
                last_regular.clone_from(&next);
            }
            live.update(&next).map_err(TestCaseError::fail)?;
            if step % 16 == 0 {
                let expected = context.map_or_else(|| oracle::document(&next), |context| oracle::fragment(&next, context));
                prop_assert!(live.tree() == &expected, "{:?}", next);
            }
        }
    }
}

/// Whether a text may stand anywhere in a regular one.
fn is_regular(html: &str) -> bool {
    Parser::default().is_regular(&format!("{html}</div>"), Some("div")).is_ok_and(|is_regular| !is_regular)
        && Parser::default().is_regular(&format!("<div>{html}</div>"), Some("div")).expect("the text is short")
}

fn cases(n_cases: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(n_cases)
}

#[test]
fn every_page_history_is_followed_as_posted() {
    let Some(corpus) = corpus("posted page histories") else { return };
    let (mut n_updates, mut wholes, mut failures) = (0, BTreeMap::new(), Vec::new());
    for history in histories(&corpus) {
        let Some(first) = history.versions.first() else { continue };
        let start: String = first.trim_start().chars().take(9).flat_map(char::to_lowercase).collect();
        let is_document = start.starts_with("<!doctype") || start.starts_with("<html");
        let mut live = LiveSource::new(first, if is_document { None } else { Some("div") });
        for (idx, version) in history.versions.iter().enumerate().skip(1) {
            n_updates += 1;
            if let Err(reason) = live.update(version) {
                let reason: String = reason.chars().take(2_000).collect();
                failures.push(format!("{}: {}, version {}: {reason}", history.source, history.path, idx + 1));
                break;
            }
        }
        live.wholes.into_iter().for_each(|(why, n)| *wholes.entry(why).or_insert(0) += n);
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(n_updates, 1_075);
    let n_local = n_updates - wholes.values().sum::<usize>();
    _ = writeln!(
        std::io::stderr(),
        "\n{n_local} of {n_updates} updates of real pages were parsed locally, not: {wholes:#?}\n"
    );
    assert!(n_local >= 1_040);
}
