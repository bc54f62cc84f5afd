//! How time grows with input, and the times that are promised: `cargo bench -p domcast-benches --bench scaling`.
//!
//! Eight shapes that other parsers and differs are quadratic in, from 1,000 to 64,000 elements. The exponent k of time ~ n^k is the
//! slope of a least-squares line through the logarithms; times are the fastest of several runs, which is what other
//! work on the machine disturbs least. Both trees are new at every diff, so nothing is remembered. The time per element shows where an
//! exponent comes from: one that rises at the end is the memory's, which has left the caches.

mod shapes; // what is parsed

use domcast_diff::{Tree, apply, diff};
use domcast_parser::{Limits, ParseError, Parser};
use shapes::Shape;
use std::hint::black_box;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 7] = [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000];

fn main() {
    // `cargo test --benches` only wants to know that it starts.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    exponents();
    promises();
}

fn exponents() {
    println!(
        "\nexponent k of time ~ n^k, n = 1,000 to 64,000 elements (goal: at most 1.2), and the time at 64,000 in ms\n"
    );
    println!("{:32}{:>8}{:>8}{:>10}{:>10}", "shape", "k parse", "k diff", "parse", "diff");
    for shape in shapes::ALL {
        let figures: Vec<_> = SIZES.into_iter().map(|n| (n, times(&shape, n))).collect();
        let parse: Vec<_> = figures.iter().map(|&(n, (parse, _))| (n, parse)).collect();
        let diff: Vec<_> = figures.iter().filter_map(|&(n, (_, diff))| Some((n, diff?))).collect();
        let last = |times: &[(usize, Duration)]| times.last().map_or(0.0, |(_, time)| 1e3 * time.as_secs_f64());
        println!(
            "{:32}{:>8}{:>8}{:>10.2}{:>10.2}{}",
            shape.name,
            exponent(&parse),
            exponent(&diff),
            last(&parse),
            last(&diff),
            refused_from(&diff),
        );
        println!("    ns per element, parse  {}", per_element(&parse));
        println!("    ns per element, diff   {}", per_element(&diff));
    }
}

/// The times of parsing a shape and of its diff, if the parser takes it.
fn times(shape: &Shape, n: usize) -> (Duration, Option<Duration>) {
    let (old, new) = (shape.html(n, "old"), shape.html(n, "new"));
    let parser = Parser { limits: shape.limits(), ..Parser::default() };
    let parse = fastest(|| (), |()| parser.fragment(&old, "div"));
    let trees = parser.fragment(&old, "div").and_then(|old| Ok((old, parser.fragment(&new, "div")?)));
    let diff = trees.ok().map(|(old, new)| fastest(|| (old.clone(), new.clone()), |(old, new)| diff(old, new)));
    (parse, diff)
}

/// The fastest of at least three runs within a tenth of a second; making the input and dropping the result do not count.
fn fastest<I, T>(mut input: impl FnMut() -> I, mut run: impl FnMut(&I) -> T) -> Duration {
    let start = Instant::now();
    let mut fastest = Duration::MAX;
    let mut n_runs = 0;
    while n_runs < 3 || start.elapsed() < Duration::from_millis(100) {
        let input = input();
        let run_start = Instant::now();
        let output = black_box(run(black_box(&input)));
        fastest = fastest.min(run_start.elapsed());
        drop(output);
        n_runs += 1;
    }
    fastest
}

/// The slope of the line through the logarithms.
fn exponent(times: &[(usize, Duration)]) -> String {
    if times.len() < 3 {
        return "-".into();
    }
    let points: Vec<(f64, f64)> = times.iter().map(|&(n, time)| ((n as f64).ln(), time.as_secs_f64().ln())).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    format!("{:.2}", covariance / variance)
}

fn per_element(times: &[(usize, Duration)]) -> String {
    let each = times.iter().map(|&(n, time)| format!("{:>7}", time.as_nanos() / n as u128));
    each.collect()
}

fn refused_from(diff: &[(usize, Duration)]) -> String {
    match SIZES.get(diff.len()) {
        Some(n) => format!("   refused from {n} on: nests too deep"),
        None => String::new(),
    }
}

fn promises() {
    println!("\n{:62}{:>10}{:>10}", "promise", "goal, ms", "ms");
    promise("100,000 nested `<div>`: parse, diff, apply, write, drop", 250, || {
        small_stack(|| life(&shapes::nested(100_000)));
    });
    promise("100,000 misnested `<b><p>`: the same, or refused", 250, || {
        small_stack(|| life(&"<b><p>".repeat(50_000)));
    });
    for (what, before) in shapes::HIDING_PLACES {
        let html = format!("{before}{}", shapes::many_attributes(100_000));
        promise(&format!("100,000 attributes refused, {what}"), 50, || {
            let result = Parser::default().fragment(&html, "div");
            assert!(matches!(result, Err(ParseError::TooManyAttributes { .. })), "{what}: not refused");
        });
    }
    let million = |edit: fn(&mut Vec<usize>), row: fn(usize) -> String| {
        let parser =
            Parser { limits: Limits { n_bytes: 1 << 30, n_nodes: 1 << 24, ..Limits::default() }, ..Parser::default() };
        let mut ids: Vec<usize> = (0..1_000_000).collect();
        let parse = |ids: &[usize]| {
            parser
                .fragment(&ids.iter().map(|&id| row(id)).collect::<String>(), "div")
                .expect("the list is within the limits")
        };
        let old = parse(&ids);
        edit(&mut ids);
        (old, parse(&ids))
    };
    let keyed = |id| format!("<i id=k{id}></i>");
    let text = |id| format!("<i>{id}</i>");
    diff_promise("1,000,000 siblings without a key, one removed", million(|ids| _ = ids.remove(500_000), text));
    diff_promise("1,000,000 siblings without a key, reversed", million(|ids| ids.reverse(), text));
    diff_promise(
        "1,000,000 siblings with keys, every third moved to the end",
        million(|ids| ids.sort_by_key(|id| id % 3), keyed),
    );
    diff_promise("1,000,000 siblings with keys, reversed", million(|ids| ids.reverse(), keyed));
    diff_promise(
        "1,000,000 siblings with one key, reversed",
        million(|ids| ids.reverse(), |id| format!("<i id=k>{id}</i>")),
    );

    println!("\n{:62}{:>10}", "keys (goal: equal ones within 3 times of random ones)", "ms");
    for (what, keys) in shapes::keys(100_000) {
        let html: Vec<String> = keys.iter().enumerate().map(|(idx, key)| format!("<li id={key}>{idx}</li>")).collect();
        let parse = |html: String| Parser::default().fragment(&html, "ul").expect("the list is within the limits");
        let old = parse(html.concat());
        let new = parse(html.iter().rev().map(String::as_str).collect());
        let time = fastest(|| (old.clone(), new.clone()), |(old, new)| diff(old, new));
        println!("{:62}{:>10.1}", format!("100,000 {what} keys, reversed"), 1e3 * time.as_secs_f64());
    }
}

fn promise(what: &str, goal_ms: u64, mut run: impl FnMut()) {
    report(what, goal_ms, fastest(|| (), |()| run()));
}

fn diff_promise(what: &str, (old, new): (Tree, Tree)) {
    report(what, 2_000, fastest(|| (old.clone(), new.clone()), |(old, new)| diff(old, new)));
}

fn report(what: &str, goal_ms: u64, time: Duration) {
    let is_missed = time > Duration::from_millis(goal_ms);
    println!("{what:62}{goal_ms:>10}{:>10.1}{}", 1e3 * time.as_secs_f64(), if is_missed { "  MISSED" } else { "" });
}

/// Runs on a stack of 2 MiB, as threads have.
fn small_stack(run: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(2 << 20).spawn_scoped(scope, run);
        thread.expect("a thread starts").join().expect("it ends well");
    });
}

/// Everything that happens to a text.
fn life(html: &str) {
    let Ok(new) = domcast_parser::parse_fragment(html, "div") else { return };
    let mut old = Tree::new();
    let patches = diff(&old, &new);
    apply(&mut old, &patches).expect("the patches fit the tree they were made for");
    black_box((old.to_html(), patches.to_binary()));
}
