//! The table at the end: Criterion's medians side by side.

use crate::{changes, group_name};
use domcast_benches::{Figures, ratio, time};

pub(crate) const INLINE: &str = "dioxus, rows inline";
pub(crate) const MEMOISED: &str = "dioxus, rows memoised";
pub(crate) const SIGNALS: &str = "dioxus, a signal per row";
pub(crate) const DJUST: &str = "djust";
pub(crate) const RENDER: &str = "minijinja render alone";
pub(crate) const TODAY: &str = "minijinja, html5ever, diff";
pub(crate) const PLAIN: &str = "domcast, plain pipeline";
pub(crate) const NAMED: &str = "domcast, change named";
pub(crate) const SHARED: &str = "domcast, state whole, rows shared";
pub(crate) const SERIALIZED: &str = "domcast, plain Serialize";
pub(crate) const FIRST: &str = "domcast, first HTML";

/// Prints what was measured.
pub(crate) fn print(figures: &Figures) {
    println!(
        "\nFrom state to patches. Medians in microseconds; one allocator (mimalloc) for all; a process for each line."
    );
    println!(
        "`x` is how many times as long the peer takes. Dioxus hands its edits to nobody; all others return patches.\n"
    );
    println!("{:26}|{:^30}|{:^10}|{:^19}|{:^28}", "", "Dioxus", "djust", "minijinja", "domcast, plain pipeline");
    println!(
        "{:26}|{:>9}{:>11}{:>9} |{:>9} |{:>8}{:>10} |{:>9}{:>9}{:>10}",
        "change", "inline", "memoised", "signals", "", "render", "today", "", "x today", "x Dioxus"
    );
    println!("{}", "-".repeat(119));
    for (change, n_rows) in changes() {
        let group = group_name(change, n_rows);
        let median = |name| figures.median(&group, name);
        let (inline, memoised, today, plain) = (median(INLINE), median(MEMOISED), median(TODAY), median(PLAIN));
        if plain.is_none() {
            continue;
        }
        let best = inline.zip(memoised).map(|(a, b)| a.min(b));
        println!(
            "{:26}|{:>9}{:>11}{:>9} |{:>9} |{:>8}{:>10} |{:>9}{:>9}{:>10}",
            group.trim_start_matches("update "),
            time(inline),
            time(memoised),
            time(median(SIGNALS)),
            time(median(DJUST)),
            time(median(RENDER)),
            time(today),
            time(plain),
            ratio(today, plain),
            ratio(best, plain),
        );
    }
    print_documents(figures);
}

/// A document beside its peers: each way to hand over a change beside the peer that is told as much.
fn print_documents(figures: &Figures) {
    println!("\n{:26}|{:^38}|{:^20}|{:^20}|", "", "change named", "whole, rows shared", "plain Serialize");
    println!(
        "{:26}|{:>9}{:>9}{:>10}{:>9} |{:>9}{:>10} |{:>9}{:>10} |{:>9}",
        "change", "", "x signal", "x Dioxus", "x today", "", "x Dioxus", "", "x Dioxus", "x today"
    );
    println!("{}", "-".repeat(119));
    for (change, n_rows) in changes() {
        let group = group_name(change, n_rows);
        let median = |name| figures.median(&group, name);
        let (named, shared, serialized) = (median(NAMED), median(SHARED), median(SERIALIZED));
        if named.is_none() {
            continue;
        }
        let best = median(INLINE).zip(median(MEMOISED)).map(|(a, b)| a.min(b));
        println!(
            "{:26}|{:>9}{:>9}{:>10}{:>9} |{:>9}{:>10} |{:>9}{:>10} |{:>9}",
            group.trim_start_matches("update "),
            time(named),
            ratio(median(SIGNALS), named),
            ratio(best, named),
            ratio(median(TODAY), named),
            time(shared),
            ratio(best, shared),
            time(serialized),
            ratio(best, serialized),
            ratio(median(TODAY), serialized),
        );
        if let Some(first) = median(FIRST) {
            println!(
                "{:26}|{:>9}, {} x minijinja's render alone",
                "  first HTML, tree, ready",
                time(Some(first)),
                ratio(Some(first), median(RENDER))
            );
        }
    }
}
