//! `domcast diff`: two HTML texts to the patches between them.

use crate::{Answer, input, output};
use anyhow::{Context, Result};
use clap::ValueEnum;
use domcast_diff::{Patch, Patches, Tree};
use domcast_parser::Parser;
use std::path::{Path, PathBuf};

/// Print the patches that turn one HTML text into another
#[derive(clap::Args)]
#[command(after_help = "Exit codes, as of diff(1): 0 the trees are equal, 1 they differ, 2 an error.

Examples:
  domcast diff old.html new.html
  curl -s https://example.org/ | domcast diff saved.html - --stats
  domcast diff old.html new.html --fragment tbody --format binary > patches.bin")]
pub(crate) struct Args {
    /// The HTML before, `-` for standard input
    old: PathBuf,
    /// The HTML after, `-` for standard input
    new: PathBuf,
    /// Parse both as fragments, as `innerHTML` of this element does: `div`, `tbody`, `svg path` …
    #[arg(long, value_name = "CONTEXT")]
    fragment: Option<String>,
    /// `text` is for people; `json` and `binary` are the encodings of PROTOCOL.md
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print the number of patches of each kind and the sizes to standard error
    #[arg(long)]
    stats: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
    Binary,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    input::check_distinct(&args.old, &args.new)?;
    let parse = |path: &Path| -> Result<(String, Tree)> {
        let html = input::text(path)?;
        let tree = input::tree(&Parser::default(), &html, args.fragment.as_deref())
            .with_context(|| format!("{} cannot be parsed", input::name(path)))?;
        Ok((html, tree))
    };
    let (old_html, old) = parse(&args.old)?;
    let (new_html, new) = parse(&args.new)?;
    let patches = domcast_diff::diff(&old, &new);
    match args.format {
        Format::Text => output::text(&patches.to_string())?,
        Format::Json => output::line(&patches.to_json())?,
        Format::Binary => output::bytes(&patches.to_binary())?,
    }
    if args.stats {
        eprint!("{}", stats(&patches, &old_html, &new_html));
    }
    Ok(if patches.is_empty() { Answer::Yes } else { Answer::No })
}

fn stats(patches: &Patches, old_html: &str, new_html: &str) -> String {
    let mut lines = format!("{} patches\n", patches.len());
    for kind in KINDS {
        let n_patches = patches.iter().filter(|patch| kind_of(patch) == kind).count();
        if n_patches > 0 {
            lines.push_str(&format!("  {n_patches} {kind}\n"));
        }
    }
    let sizes = [
        ("patches as JSON", patches.to_json().len()),
        ("patches as binary", patches.to_binary().len()),
        ("old HTML", old_html.len()),
        ("new HTML", new_html.len()),
    ];
    lines.extend(sizes.map(|(what, n_bytes)| format!("{n_bytes} bytes of {what}\n")));
    lines
}

/// The kinds of patches in the order of PROTOCOL.md, section 3.
const KINDS: [&str; 12] = [
    "insert",
    "replace children",
    "clear",
    "remove",
    "move",
    "permute",
    "set text",
    "splice text",
    "set attribute",
    "splice attribute",
    "remove attribute",
    "renumber",
];

fn kind_of(patch: &Patch) -> &'static str {
    KINDS[match patch {
        Patch::Insert { .. } => 0,
        Patch::ReplaceChildren { .. } => 1,
        Patch::Clear { .. } => 2,
        Patch::Remove { .. } => 3,
        Patch::Move { .. } => 4,
        Patch::Permute { .. } => 5,
        Patch::SetText { .. } => 6,
        Patch::SpliceText { .. } => 7,
        Patch::SetAttribute { .. } => 8,
        Patch::SpliceAttribute { .. } => 9,
        Patch::RemoveAttribute { .. } => 10,
        Patch::Compact { .. } => 11,
    }]
}
