//! The table at the end: Criterion's medians side by side.

use crate::{changes, group_name};
use domcast_benches::{Figures, pages, ratio, time};

pub(crate) const PARSE: &str = "domcast parse";
pub(crate) const HTML5EVER: &str = "html5ever+rcdom parse";
pub(crate) const PARSE_AND_DIFF: &str = "domcast parse+diff";
pub(crate) const DIFF_FIRST: &str = "domcast diff, new tree just parsed";
pub(crate) const DIFF_WARM: &str = "domcast diff, both compared before";
pub(crate) const MT_DOM: &str = "mt-dom diff";
pub(crate) const PERCY: &str = "percy-dom diff";
pub(crate) const DIOXUS: &str = "dioxus render+diff";
pub(crate) const APPLY: &str = "domcast apply";
pub(crate) const JSON: &str = "domcast to JSON";
pub(crate) const BINARY: &str = "domcast to binary";

/// Prints what was measured.
pub(crate) fn print(figures: &Figures) {
    let rows: Vec<(String, String)> = pages()
        .iter()
        .map(|page| {
            (
                format!("{} {}", page.name, if page.is_regular { "(regular)" } else { "(irregular)" }),
                page.name.to_owned(),
            )
        })
        .chain(changes().map(|(change, n_rows)| (group_name(change, n_rows), group_name(change, n_rows))))
        .filter(|(_, group)| figures.median(group, PARSE).is_some())
        .collect();
    if rows.is_empty() {
        return;
    }
    println!(
        "\nMedians in microseconds; `x` is how many times as long the peer takes. One allocator (mimalloc) for all."
    );
    println!(
        "`first`: the new tree was just parsed. `warm`: both were compared before. `x` there is of the better peer."
    );
    println!("`render`: Dioxus, from state to edits; beside it parse + diff of domcast, from HTML to patches.\n");
    println!(
        "{:26}|{:^27}|{:^51}|{:^32}|{:^25}",
        "", "parse the new HTML", "diff of two trees", "parse + diff", "patches"
    );
    println!(
        "{:26}|{:>9}{:>11}{:>7}|{:>8}{:>8}{:>9}{:>9}{:>7}{:>9} |{:>8}{:>14}{:>9} |{:>8}{:>8}{:>8}",
        "change",
        "domcast",
        "html5ever",
        "x",
        "first",
        "warm",
        "mt-dom",
        "percy",
        "x first",
        "x warm",
        "domcast",
        "x html5ever",
        "render",
        "apply",
        "JSON",
        "binary"
    );
    println!("{}", "-".repeat(166));
    for (title, group) in &rows {
        let median = |name| figures.median(group, name);
        let (parse, html5ever, both) = (median(PARSE), median(HTML5EVER), median(PARSE_AND_DIFF));
        let (first, warm, mt_dom, percy) = (median(DIFF_FIRST), median(DIFF_WARM), median(MT_DOM), median(PERCY));
        let best = mt_dom.zip(percy).map(|(a, b)| a.min(b));
        println!(
            "{title:26}|{:>9}{:>11}{:>7}|{:>8}{:>8}{:>9}{:>9}{:>7}{:>9} |{:>8}{:>14}{:>9} |{:>8}{:>8}{:>8}",
            time(parse),
            time(html5ever),
            ratio(html5ever, parse),
            time(first),
            time(warm),
            time(mt_dom),
            time(percy),
            ratio(best, first),
            ratio(best, warm),
            time(both),
            ratio(html5ever, both),
            time(median(DIOXUS)),
            time(median(APPLY)),
            time(median(JSON)),
            time(median(BINARY)),
        );
    }
}
