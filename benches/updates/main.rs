//! From a change of state to patches: `cargo bench -p domcast-benches --bench updates`.
//!
//! The bench `peers` compares trees; this one starts where users start, at the state, and beside engines that
//! never see HTML. The table, the allocator, a process for each change and the checks are those of `peers`.

mod dioxus; // Dioxus in three forms
mod document; // a document that lives: a change in, patches out
mod djust; // djust, where it is installed
#[path = "../peers/dioxus.rs"]
mod inline; // keyed rows inline, shared with `peers`
mod plain; // render all, parse all, compare all
mod plot; // the picture of the README
mod summary; // the table at the end

use criterion::{BenchmarkGroup, Criterion, SamplingMode, measurement::WallTime};
use domcast_benches::{Change, Table};
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 2] = [1_000, 10_000];

/// One label is changed in these too, to see what the size of a page costs.
const PLOTTED: [usize; 4] = [100, 1_000, 10_000, 100_000];

/// It takes seconds for an update of more.
const MOST_ROWS_OF_DJUST: usize = 10_000;

fn main() -> ExitCode {
    if std::env::var_os(djust::PYTHON).is_none() {
        eprintln!("\nLEFT OUT: djust ({} names no Python that has it; see benches/README.md)\n", djust::PYTHON);
    }
    let parts: Vec<String> = changes().map(|(change, n_rows)| group_name(change, n_rows)).collect();
    domcast_benches::run(&parts, measure, |figures| {
        summary::print(figures);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("updates.svg");
        if plot::draw(figures, &file).expect("the picture can be written") {
            println!("\nDrawn in {}", file.display());
        }
    })
}

/// Every change at every size, and at the others that which is plotted.
fn changes() -> impl Iterator<Item = (Change, usize)> {
    PLOTTED.into_iter().flat_map(|n_rows| {
        let is_measured = move |change: &Change| SIZES.contains(&n_rows) || *change == Change::One;
        Change::ALL.into_iter().filter(is_measured).map(move |change| (change, n_rows))
    })
}

/// Not that of the bench `peers`: Criterion keeps the figures of both in one folder.
fn group_name(change: Change, n_rows: usize) -> String {
    format!("update {} of {n_rows}", change.name())
}

fn measure(criterion: &mut Criterion, part: &str) {
    let (change, n_rows) =
        changes().find(|&(change, n_rows)| group_name(change, n_rows) == part).expect("a part is one of ours");
    let (old, new) = change.tables(n_rows);
    let mut group = criterion.benchmark_group(part);
    // Some of what is measured takes a tenth of a second; rising numbers of iterations would take minutes.
    group.sampling_mode(SamplingMode::Flat);
    bench(&mut group, summary::INLINE, dioxus::inline(&old, &new));
    bench(&mut group, summary::MEMOISED, dioxus::memoised(&old, &new));
    if has_same_rows(&old, &new) {
        bench(&mut group, summary::SIGNALS, dioxus::signals(&old, &new));
    }
    if n_rows <= MOST_ROWS_OF_DJUST
        && let Some(djust) = djust::update(&old, &new)
    {
        bench(&mut group, summary::DJUST, djust);
    }
    bench(&mut group, summary::NAMED, document::named(change, &old, &new));
    bench(&mut group, summary::SHARED, document::shared(&old, &new));
    bench(&mut group, summary::SERIALIZED, document::serialized(&old, &new));
    if change == Change::Create {
        bench(&mut group, summary::FIRST, document::first(&new));
    }
    bench(&mut group, summary::RENDER, plain::render(&new));
    bench(&mut group, summary::TODAY, plain::update(&old, &new, false));
    bench(&mut group, summary::PLAIN, plain::update(&old, &new, true));
}

/// Measures what times itself.
fn bench(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut time: impl FnMut(u64) -> Duration) {
    group.bench_function(name, |b| b.iter_custom(&mut time));
}

/// Whether only labels and the selection differ, which is what signals can follow.
fn has_same_rows(old: &Table, new: &Table) -> bool {
    old.rows.iter().map(|row| row.id).eq(new.rows.iter().map(|row| row.id))
}

/// The time of `n` runs; what they return is dropped outside of it.
pub(crate) fn total<T>(n: u64, mut run: impl FnMut() -> T) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..n {
        let start = Instant::now();
        let result = black_box(run());
        total += start.elapsed();
        drop(result);
    }
    total
}
