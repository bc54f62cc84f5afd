//! domcast beside its peers: `cargo bench -p domcast-benches --bench peers`.
//!
//! Criterion measures; the table at the end puts its medians side by side. Every change of every size runs in a process of its
//! own, because a heap that held 10,000 rows slows down whoever comes next, and all share one allocator, mimalloc: Dioxus is
//! more than twice as slow with that of glibc, which would say nothing of Dioxus. What is thrown away is
//! dropped outside the measured time. Before anything is timed the results are checked.

mod dioxus; // dioxus-core
mod mt_dom; // mt-dom
mod percy; // percy-dom and virtual-node
mod rcdom; // html5ever and markup5ever_rcdom
mod summary; // the table at the end

use criterion::{BatchSize, BenchmarkGroup, Criterion, SamplingMode, measurement::WallTime};
use domcast_benches::{Change, Page, pages};
use domcast_diff::{NodeId, Patches, Tree, VNode, apply, diff};
use domcast_parser::{parse_document, parse_fragment};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PAGES: &str = "pages";
const SIZES: [usize; 2] = [1_000, 10_000];

fn main() -> ExitCode {
    let changes = changes().map(|(change, n_rows)| group_name(change, n_rows));
    let parts: Vec<String> = std::iter::once(PAGES.to_owned()).chain(changes).collect();
    domcast_benches::run(&parts, measure, summary::print)
}

/// Every change at every size.
fn changes() -> impl Iterator<Item = (Change, usize)> {
    SIZES.into_iter().flat_map(|n_rows| Change::ALL.into_iter().map(move |change| (change, n_rows)))
}

fn group_name(change: Change, n_rows: usize) -> String {
    format!("{} of {n_rows}", change.name())
}

fn measure(criterion: &mut Criterion, part: &str) {
    if part == PAGES {
        pages().iter().for_each(|page| measure_page(criterion, page));
        return;
    }
    let (change, n_rows) =
        changes().find(|&(change, n_rows)| group_name(change, n_rows) == part).expect("a part is one of ours");
    measure_change(criterion, change, n_rows);
}

fn measure_page(criterion: &mut Criterion, page: &Page) {
    let html = &page.html;
    let n_nodes = parse_document(html).map_or(0, |tree| tree.n_nodes());
    assert_eq!(n_nodes, 1 + rcdom::n_nodes(&rcdom::document(html)), "{}: the parsers see different trees", page.name);
    let mut group = group(criterion, page.name);
    group.bench_function(summary::PARSE, |b| without_drop(b, || parse_document(html)));
    group.bench_function(summary::HTML5EVER, |b| without_drop(b, || rcdom::document(html)));
}

fn measure_change(criterion: &mut Criterion, change: Change, n_rows: usize) {
    let (old_table, new_table) = change.tables(n_rows);
    let is_same = old_table == new_table;
    let (old_html, new_html) = (old_table.to_html(), new_table.to_html());
    let (mut old, new) = (parse(&old_html), parse(&new_html));
    let patches = diff(&old, &new);
    check(&mut old, &new, &patches, is_same);
    let is_compared = |n_patches: usize| assert_eq!(n_patches == 0, is_same, "{change:?}: {n_patches} patches");

    let mut group = group(criterion, &group_name(change, n_rows));
    group.bench_function(summary::PARSE, |b| without_drop(b, || parse(&new_html)));
    {
        assert_eq!(new.n_nodes(), rcdom::n_nodes(&rcdom::fragment(&new_html)), "the parsers see different trees");
        group.bench_function(summary::HTML5EVER, |b| without_drop(b, || rcdom::fragment(&new_html)));
    }
    group.bench_function(summary::PARSE_AND_DIFF, |b| {
        without_drop(b, || {
            let new = parse(&new_html);
            (diff(&old, &new), new)
        });
    });
    group.bench_function(summary::DIFF_FIRST, |b| {
        b.iter_batched_ref(|| parse(&new_html), |new| diff(&old, new), BatchSize::PerIteration);
    });
    group.bench_function(summary::DIFF_WARM, |b| without_drop(b, || diff(&old, &new)));
    {
        let (old, new) = (mt_dom::tree(&old_table), mt_dom::tree(&new_table));
        assert_eq!(1 + new.node_count(), parse(&new_html).n_nodes(), "mt-dom has another tree");
        is_compared(mt_dom::diff(&old, &new).len());
        group.bench_function(summary::MT_DOM, |b| without_drop(b, || mt_dom::diff(&old, &new)));
    }
    {
        let (old, new) = (percy::tree(&old_table), percy::tree(&new_table));
        assert_eq!(1 + percy::n_nodes(&new), parse(&new_html).n_nodes(), "percy-dom has another tree");
        is_compared(percy::diff(&old, &new).len());
        group.bench_function(summary::PERCY, |b| without_drop(b, || percy::diff(&old, &new)));
    }
    {
        let mut page = dioxus::Page::new(&old_table, &new_table);
        is_compared(page.n_edits());
        group.bench_function(summary::DIOXUS, |b| b.iter_custom(|n| page.time(n)));
    }
    if is_same {
        return;
    }
    group.bench_function(summary::APPLY, |b| {
        // A clone shares its nodes until it changes, and copying them is no part of applying.
        b.iter_batched_ref(|| unshared(&old), |tree| apply(tree, &patches), BatchSize::PerIteration);
    });
    group.bench_function(summary::JSON, |b| without_drop(b, || patches.to_json()));
    group.bench_function(summary::BINARY, |b| without_drop(b, || patches.to_binary()));
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    // Some of what is measured takes a tenth of a second; rising numbers of iterations would take minutes.
    group.sampling_mode(SamplingMode::Flat);
    group
}

/// Measures `run` alone, one call at a time, and drops what it returns afterwards.
fn without_drop<T>(bencher: &mut criterion::Bencher<'_>, mut run: impl FnMut() -> T) {
    bencher.iter_batched_ref(|| (), |()| run(), BatchSize::PerIteration);
}

fn unshared(tree: &Tree) -> Tree {
    let mut tree = tree.clone();
    let orphan = tree.create(VNode::Text(""));
    tree.remove(orphan);
    tree
}

fn parse(html: &str) -> Tree {
    parse_fragment(html, "div").expect("the table is within the limits")
}

fn check(old: &mut Tree, new: &Tree, patches: &Patches, is_same: bool) {
    assert_eq!(patches.is_empty(), is_same, "nothing is sent for equal content, and only for that");
    let mut patched = old.clone();
    apply(&mut patched, patches).expect("the patches fit the tree they were made for");
    assert!(patched == *new, "the patches lead elsewhere");
    let read = Patches::from_binary(&patches.to_binary()).expect("what was written can be read");
    assert!(read == *patches, "the encoding loses something");
    assert!(new.get(NodeId::ROOT).is_some());
}
