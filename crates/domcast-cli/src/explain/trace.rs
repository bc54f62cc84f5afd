//! One update of a template's document, step by step: what each layer had to do, and how long it took.
//!
//! The steps are those of a server: the states are compared, the template runs where it reads what differs, what it prints is turned into
//! patches, and these are encoded. Beside them stands the plain pipeline, which does everything anew, and which the outcome is held to.

use super::{of_document, of_template};
use anyhow::{Result, ensure};
use domcast_diff::{Tree, diff};
use domcast_document::{Template, TemplateDocument, Trace, Update};
use domcast_parser::parse_fragment;
use domcast_template::{Changes, Edit, Edits, Instance, State, Templates};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// How often each step is timed; the best counts.
const N_RUNS: usize = 5;
/// How many lines of one kind are printed.
const MAX_LINES: usize = 12;

/// The best times of the steps.
#[derive(Default)]
struct Times {
    first: Option<Duration>,
    compare: Option<Duration>,
    evaluate: Option<Duration>,
    finish: Option<Duration>,
    encode: Option<Duration>,
    plain: Option<Duration>,
}

/// Describes the update of a template's document from one state to another.
pub(super) fn trace(
    templates: &Templates,
    template: &Template,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
) -> Result<String> {
    let old = State::new(old)?;
    let mut times = Times::default();
    let mut traced = None;
    for _ in 0..N_RUNS {
        traced = Some(update(templates, template, &old, new, &mut times)?);
    }
    let (document, Update { patches, trace }) = traced.expect("it ran");
    let json = patches.to_json();
    let mut text = String::new();
    _ = writeln!(text, "page      {} bytes of HTML, {} nodes", document.html().len(), document.tree().n_nodes() - 1);
    list(&mut text, "state", &differences(&old, document.state()), "nothing differs");
    let (printed, in_vain) = parts_that_ran(template, &old, document.state())?;
    list(&mut text, "printed", &printed, "no part prints anything else");
    list(&mut text, "in vain", &in_vain, "no part ran again and printed the same");
    list(&mut text, "layer", &layers(&trace), "none: nothing is to be done");
    let patch_lines: Vec<String> =
        patches.iter().map(|patch| domcast_diff::Patches(vec![patch.clone()]).to_json()).collect();
    let patch_lines: Vec<String> = patch_lines.iter().map(|line| line[1..line.len() - 1].to_owned()).collect();
    _ = writeln!(
        text,
        "patches   {} in {} bytes of JSON",
        patches.len(),
        if patches.is_empty() { 0 } else { json.len() }
    );
    list(&mut text, "", &patch_lines, "");
    times.write(&mut text);
    Ok(text)
}

/// Runs one update, and holds its outcome to the plain pipeline.
fn update(
    templates: &Templates,
    template: &Template,
    old: &State,
    new: &Map<String, Value>,
    times: &mut Times,
) -> Result<(TemplateDocument, Update)> {
    let document = best(&mut times.first, || TemplateDocument::new(template, old.clone()));
    let mut document = document.map_err(of_document)?;
    let old_tree = document.tree().clone();
    let state = best(&mut times.compare, || old.renewed(new))?;
    let evaluated = best(&mut times.evaluate, || document.evaluate(state, &Changes::Unknown)).map_err(of_document)?;
    let update = best(&mut times.finish, || document.finish(evaluated)).map_err(of_document)?;
    best(&mut times.encode, || update.patches.to_json());
    let plain = best(&mut times.plain, || -> Result<Tree> {
        let html = templates.render(template.program().name(), new).map_err(|error| of_template(&error))?;
        let tree = parse_fragment(&html, "div")?;
        diff(&old_tree, &tree);
        Ok(tree)
    })?;
    ensure!(
        plain == *document.tree(),
        "the update does not lead to what the template renders: that is a bug of domcast"
    );
    Ok((document, update))
}

fn best<T>(time: &mut Option<Duration>, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = run();
    let took = start.elapsed();
    *time = Some(time.map_or(took, |best| best.min(took)));
    done
}

impl Times {
    fn write(&self, text: &mut String) {
        let us = |time: Option<Duration>| format!("{:.1} us", time.unwrap_or_default().as_secs_f64() * 1e6);
        _ = writeln!(text, "time      {} to compare the states", us(self.compare));
        _ = writeln!(text, "          {} to run the template where it reads what differs", us(self.evaluate));
        _ = writeln!(text, "          {} from there to the patches and the new tree", us(self.finish));
        _ = writeln!(text, "          {} to encode them", us(self.encode));
        _ = writeln!(text, "          {} for rendering, parsing and comparing all instead", us(self.plain));
        _ = writeln!(text, "          {} for the first HTML and tree", us(self.first));
    }
}

/// Writes lines below a word, the first beside it.
fn list(text: &mut String, word: &str, lines: &[String], nothing: &str) {
    if lines.is_empty() && !nothing.is_empty() {
        _ = writeln!(text, "{word:<10}{nothing}");
    }
    for (idx, line) in lines.iter().take(MAX_LINES).enumerate() {
        let word = if idx == 0 { word } else { "" };
        _ = writeln!(text, "{word:<10}{line}");
    }
    if lines.len() > MAX_LINES {
        _ = writeln!(text, "{:<10}and {} more", "", lines.len() - MAX_LINES);
    }
}

/// Says where two states differ; parts that are one are not walked into.
fn differences(old: &State, new: &State) -> Vec<String> {
    let mut found = Vec::new();
    differ(Some(old), Some(new), "", &mut found);
    found
}

// Recursion: the parser of JSON refuses nesting deeper than 127.
fn differ(old: Option<&State>, new: Option<&State>, path: &str, found: &mut Vec<String>) {
    let dot = if path.is_empty() { "" } else { "." };
    match (old, new) {
        (Some(old), Some(new)) if old.is_same(new) => {}
        (Some(State::Map(old)), Some(State::Map(new))) => {
            let gone = old.iter().filter(|(key, _)| new.get(key).is_none()).map(|(key, _)| key);
            for key in new.iter().map(|(key, _)| key).chain(gone) {
                differ(old.get(key), new.get(key), &format!("{path}{dot}{key}"), found);
            }
        }
        (Some(State::List(old)), Some(State::List(new))) => {
            if old.len() != new.len() {
                found.push(format!("{path} has {} items, before {}", new.len(), old.len()));
            }
            for (idx, (old, new)) in old.iter().zip(new.iter()).enumerate() {
                differ(Some(old), Some(new), &format!("{path}{dot}{idx}"), found);
            }
        }
        (None, _) => found.push(format!("{path} is new")),
        (_, None) => found.push(format!("{path} is gone")),
        _ => found.push(format!("{path} is another value")),
    }
}

/// Says which parts of the template print something else, and how often each; then which ran again and printed the same.
fn parts_that_ran(template: &Template, old: &State, new: &State) -> Result<(Vec<String>, Vec<String>)> {
    let program = template.program();
    let mut instance = program.instance(old).map_err(|error| of_template(&error))?;
    let (edits, same) = instance.update_traced(new, &Changes::Unknown).map_err(|error| of_template(&error))?;
    let mut by_part: BTreeMap<(u32, u32), BTreeMap<Cow<'static, str>, usize>> = BTreeMap::new();
    for (body, part, what) in edits_of(&edits, &instance) {
        *by_part.entry((body, part)).or_default().entry(what).or_default() += 1;
    }
    let line = |((body, part), counts): (&(u32, u32), &BTreeMap<Cow<'static, str>, usize>)| {
        let counts: Vec<String> = counts.iter().map(|(what, n)| format!("{n} × {what}")).collect();
        format!("{}: {}", program.describe(*body, *part), counts.join(", "))
    };
    let mut in_vain: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    same.into_iter().for_each(|part| *in_vain.entry(part).or_default() += 1);
    let line_in_vain = |(&(body, part), n): (&(u32, u32), &usize)| format!("{}: {n} ×", program.describe(body, part));
    Ok((by_part.iter().map(line).collect(), in_vain.iter().map(line_in_vain).collect()))
}

/// Names the part of each edit by its body and number, and what the edit does.
fn edits_of<'a>(edits: &'a Edits, instance: &'a Instance) -> impl Iterator<Item = (u32, u32, Cow<'static, str>)> + 'a {
    edits.iter().map(|edit| {
        let (fragment, part, what) = match *edit {
            Edit::Hole { fragment, part } => (fragment, part, "another value"),
            Edit::Html { fragment, part } => (fragment, part, "other HTML, rendered by the engine"),
            Edit::Branch { fragment, part, new: Some(_), .. } => (fragment, part, "branch stamped"),
            Edit::Branch { fragment, part, new: None, .. } => (fragment, part, "branch removed"),
            Edit::Items { fragment, part, n_old, n_new, .. } => {
                let what = format!("{n_old} items in a row become {n_new}");
                return (instance.fragment(fragment).body, part, what.into());
            }
            _ => unreachable!("the edits are known"),
        };
        (instance.fragment(fragment).body, part, what.into())
    })
}

/// Says which layers turned that into patches.
fn layers(trace: &Trace) -> Vec<String> {
    if let Some(why) = trace.whole {
        return vec![format!("the plain pipeline: all was rendered, parsed and compared, because {why}")];
    }
    let counts = [
        (trace.n_runs, "texts set alone"),
        (trace.n_tags, "start tags set alone"),
        (trace.n_contents, "lists of children made of skeletons"),
        (trace.n_islands, "nodes of printed markup, parsed and compared"),
    ];
    counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{what}: {n}")).collect()
}
