//! HTML that somebody else rendered, from the next text to patches: `cargo bench -p domcast-benches --bench posted`.
//!
//! Beside it html5ever's parse alone, and what touching the bytes takes: one memcmp and one copy.
//!
//! Each figure is the fastest of several runs. The text goes there and back, and only the way there is timed; the next text is in
//! memory already, and is handed over.

use domcast_benches::{Change, pages};
use domcast_parser::{Parser, Source};
use html5ever::tendril::TendrilSink;
use html5ever::{ParseOpts, QualName, local_name, ns, parse_document, parse_fragment};
use markup5ever_rcdom::RcDom;
use std::hint::black_box;
use std::time::{Duration, Instant};

const CHANGES: [Change; 8] = [
    Change::One,
    Change::Nothing,
    Change::Select,
    Change::EveryTenth,
    Change::Swap,
    Change::Remove,
    Change::Prepend,
    Change::Shuffle,
];

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // `cargo test --benches` only wants to know that it starts.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    println!(
        "\nPosted HTML: from the next text to patches, in microseconds. `x html5ever` is how many times as long its parse alone"
    );
    println!(
        "takes, `x bytes` how many times as long as one memcmp of the text and one copy of it the update takes.\n"
    );
    println!(
        "{:34}{:>10}{:>12}{:>12}{:>12}{:>10}{:>8}",
        "change", "update", "html5ever", "bytes", "x html5ever", "x bytes", "local"
    );
    println!("{}", "-".repeat(98));
    for n_rows in [1_000, 10_000] {
        for change in CHANGES {
            let (old, new) = change.tables(n_rows);
            row(&format!("{} of {n_rows}", change.name()), &old.to_html(), &new.to_html(), Some("div"));
        }
    }
    let (table, _) = Change::One.tables(2_800);
    let head = "<!DOCTYPE html><html><head><title>Rows</title></head><body>";
    let old = format!("{head}{}</body></html>", table.to_html());
    row(
        "one text of a page of 638 kB",
        &old,
        &old.replacen(
            "r-1400\" class=\"\"><td class=\"col-md-1\">1400",
            "r-1400\" class=\"\"><td class=\"col-md-1\">x",
            1,
        ),
        None,
    );
    for page in pages() {
        // A text in the middle.
        let middle = page.html.len() / 2;
        let at = page.html[middle..].match_indices("</").map(|(at, _)| middle + at);
        let Some(at) = at.into_iter().find(|&at| page.html.as_bytes()[at - 1].is_ascii_alphanumeric()) else {
            continue;
        };
        let new = format!("{} changed{}", &page.html[..at], &page.html[at..]);
        row(&format!("one text of `{}`", page.name), &page.html, &new, None);
    }
}

fn row(what: &str, old: &str, new: &str, context: Option<&str>) {
    let mut source = Source::new(Parser::default(), old.to_owned(), context).expect("the text is within the limits");
    let mut is_local = true;
    let update = fastest(|| {
        let (there, back) = (new.to_owned(), old.to_owned());
        let start = Instant::now();
        let update = source.update(there).expect("the text is within the limits");
        let time = start.elapsed();
        is_local &= update.is_local();
        source.update(back).expect("the text is within the limits");
        time
    });
    let html5ever = fastest(|| {
        let start = Instant::now();
        let dom = match context {
            Some(_) => parse_fragment(
                RcDom::default(),
                ParseOpts::default(),
                QualName::new(None, ns!(html), local_name!("div")),
                vec![],
                false,
            )
            .one(new),
            None => parse_document(RcDom::default(), ParseOpts::default()).one(new),
        };
        let time = start.elapsed();
        black_box(&dom);
        time
    });
    let mut copy = new.as_bytes().to_vec();
    let same = new.as_bytes().to_vec();
    let bytes = fastest(|| {
        let start = Instant::now();
        let is_equal = black_box(same.as_slice()) == black_box(new.as_bytes());
        copy.copy_from_slice(black_box(new.as_bytes()));
        black_box((&copy, is_equal));
        start.elapsed()
    });
    let micros = |time: Duration| 1e6 * time.as_secs_f64();
    println!(
        "{what:34}{:>10.1}{:>12.0}{:>12.1}{:>12.0}{:>10.1}{:>8}",
        micros(update),
        micros(html5ever),
        micros(bytes),
        micros(html5ever) / micros(update),
        micros(update) / micros(bytes),
        if is_local { "yes" } else { "no" },
    );
}

/// The fastest of at least five runs within a fifth of a second.
fn fastest(mut run: impl FnMut() -> Duration) -> Duration {
    let start = Instant::now();
    let mut fastest = Duration::MAX;
    let mut n_runs = 0;
    while n_runs < 5 || start.elapsed() < Duration::from_millis(200) {
        fastest = fastest.min(run());
        n_runs += 1;
    }
    fastest
}
