//! `domcast check`: the laws of the engine on somebody's own pages.
//!
//! A line of the file is a pair (`from`, `to`) or the history of a page (`versions`). Of a pair both directions are
//! checked, of a history every step in turn on one tree that lives as long, with a second tree that knows only the first
//! HTML and what arrives over the wire.

use crate::{Answer, input, output};
use anyhow::{Context, Result, bail};
use domcast_diff::{NodeId, Patch, Patches, Tree, apply, diff};
use domcast_parser::{ParseError, parse_document, parse_fragment};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

/// Check that diff and apply are right on pairs of HTML texts
#[derive(clap::Args)]
#[command(
    after_help = "Each line of the file is a JSON object: {\"name\", \"from\", \"to\"}, or {\"name\" or \"path\", \"versions\": [...]} for the
history of a page. A text that starts, spaces aside, with <!doctype or <html is a document, every other a
fragment in a div. Checked are apply(from, diff(from, to)) == to in both directions, that diff(x, x) is empty,
that both encodings come back as they went out, and that the node ids of sender and receiver agree.

Exit codes: 0 all passed, 1 some failed, 2 an error.

Examples:
  domcast check pairs.jsonl
  zcat pages.jsonl.gz | domcast check -"
)]
pub(crate) struct Args {
    /// The pairs, one JSON object a line; `-` for standard input
    pairs: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let lines = read(args)?;
    let bar = progress_bar(lines.iter().map(|line| line.texts.len() as u64 - 1).sum());
    let mut report = Report::default();
    for line in &lines {
        let failures_before = report.failures.len();
        if line.is_history {
            check_history(line, &mut report, &bar);
        } else {
            check_pair(line, &mut report, &bar);
        }
        for failure in &report.failures[failures_before..] {
            bar.suspend(|| output::line(failure))?;
        }
    }
    bar.finish_and_clear();
    let Report { n_passed, failures, n_json, n_binary, n_html } = report;
    output::line(&format!("{n_json} bytes of patches as JSON, {n_binary} as binary, for {n_html} bytes of new HTML"))?;
    output::line(&format!("{n_passed} passed, {} failed", failures.len()))?;
    Ok(if failures.is_empty() { Answer::Yes } else { Answer::No })
}

struct Line {
    name: String,
    /// Two or more.
    texts: Vec<String>,
    is_history: bool,
}

#[derive(Default)]
struct Report {
    n_passed: usize,
    failures: Vec<String>,
    n_json: usize,
    n_binary: usize,
    /// Bytes of the HTML that would be sent instead of the patches.
    n_html: usize,
}

/// A line as it is written.
#[derive(Deserialize)]
struct Raw {
    name: Option<String>,
    source: Option<String>,
    path: Option<String>,
    from: Option<String>,
    to: Option<String>,
    versions: Option<Vec<String>>,
}

fn read(args: &Args) -> Result<Vec<Line>> {
    let text = input::text(&args.pairs)?;
    let mut lines = Vec::new();
    for (idx, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let place = || format!("line {} of {}", idx + 1, input::name(&args.pairs));
        let raw: Raw = serde_json::from_str(line).with_context(|| format!("{} is no pair", place()))?;
        let own_name = raw.name.or(raw.path).unwrap_or_else(|| format!("line {}", idx + 1));
        let name = raw.source.map_or(own_name.clone(), |source| format!("{source}: {own_name}"));
        lines.push(match (raw.from, raw.to, raw.versions) {
            (Some(from), Some(to), None) => Line { name, texts: vec![from, to], is_history: false },
            // A page with one version has no step.
            (None, None, Some(versions)) if versions.len() < 2 => continue,
            (None, None, Some(texts)) => Line { name, texts, is_history: true },
            _ => bail!("{} has neither `from` and `to` nor `versions`", place()),
        });
    }
    Ok(lines)
}

fn progress_bar(n_pairs: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} pairs, {eta} left");
    ProgressBar::new(n_pairs).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn check_pair(line: &Line, report: &mut Report, bar: &ProgressBar) {
    let [from, to] = &line.texts[..] else { return };
    let both_ways = parse(from).and_then(|from| Ok((from, parse(to)?))).and_then(|(from, to)| {
        let there = step(&mut from.clone(), &mut from.clone(), &to)?;
        step(&mut to.clone(), &mut to.clone(), &from).map_err(|reason| format!("backwards: {reason}"))?;
        Ok(there)
    });
    count(report, &line.name, to, both_ways);
    bar.inc(1);
}

fn check_history(line: &Line, report: &mut Report, bar: &ProgressBar) {
    let mut trees: Option<(Tree, Tree)> = None;
    for (idx, version) in line.texts.iter().enumerate() {
        let name = format!("{}, version {}", line.name, idx + 1);
        let parsed = parse(version);
        let (Some((sender, receiver)), Ok(new)) = (&mut trees, &parsed) else {
            match parsed {
                Ok(tree) => trees = Some((tree.clone(), tree)),
                Err(reason) => count(report, &name, version, Err(reason)),
            }
            continue;
        };
        let result = step(sender, receiver, new);
        if result.is_err() {
            trees = Some((new.clone(), new.clone()));
        }
        count(report, &name, version, result);
        bar.inc(1);
    }
}

fn count(report: &mut Report, name: &str, html: &str, result: Result<Sizes, String>) {
    match result {
        Ok(sizes) => {
            report.n_passed += 1;
            report.n_json += sizes.n_json;
            report.n_binary += sizes.n_binary;
            report.n_html += html.len();
        }
        Err(reason) => report.failures.push(format!("failed: {name}: {reason}")),
    }
}

fn parse(html: &str) -> Result<Tree, String> {
    let start: String = html.trim_start().chars().take(9).flat_map(char::to_lowercase).collect();
    let is_document = start.starts_with("<!doctype") || start.starts_with("<html");
    let tree = if is_document { parse_document(html) } else { parse_fragment(html, "div") };
    tree.map_err(|error: ParseError| error.to_string())
}

struct Sizes {
    n_json: usize,
    n_binary: usize,
}

/// Updates the sender's tree to `new`, and the receiver's by what goes over the wire; says which law does not hold.
fn step(sender: &mut Tree, receiver: &mut Tree, new: &Tree) -> Result<Sizes, String> {
    if !diff(new, new).is_empty() {
        return Err("the diff of a tree with itself is not empty".into());
    }
    let patches = diff(sender, new);
    if patches.is_empty() != (sender == new) {
        return Err(format!(
            "the trees are {}equal, the patches say otherwise",
            if sender == new { "" } else { "not " }
        ));
    }
    let (json, binary) = (patches.to_json(), patches.to_binary());
    let from_json: Patches = serde_json::from_str(&json).map_err(|error| format!("JSON cannot be read: {error}"))?;
    let from_binary = Patches::from_binary(&binary).map_err(|error| format!("binary cannot be read: {error}"))?;
    if from_json != patches || from_binary != patches {
        return Err("an encoding comes back as other patches".into());
    }
    apply(sender, &patches).map_err(|error| error.to_string())?;
    apply(receiver, &from_binary).map_err(|error| error.to_string())?;
    if sender != new || receiver != new {
        return Err("apply(old, diff(old, new)) is not new".into());
    }
    if sender.is_sparse() {
        let renumber = Patches(vec![Patch::Compact { n_nodes: sender.n_nodes() as u32 }]);
        apply(sender, &renumber).map_err(|error| error.to_string())?;
        apply(receiver, &renumber).map_err(|error| error.to_string())?;
    }
    if !ids(sender).eq(ids(receiver)) {
        return Err("sender and receiver number the nodes differently".into());
    }
    Ok(Sizes { n_json: json.len(), n_binary: binary.len() })
}

fn ids(tree: &Tree) -> impl Iterator<Item = NodeId> + '_ {
    tree.descendants(NodeId::ROOT).map(|(id, _)| id)
}
