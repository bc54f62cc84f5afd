//! `domcast apply`: old HTML and patches to new HTML.

use crate::{Answer, input, output};
use anyhow::{Context, Result};
use clap::ValueEnum;
use domcast_parser::{Parser, outline};
use std::path::PathBuf;

/// Apply patches to HTML and print what comes out
#[derive(clap::Args)]
#[command(after_help = "Exit codes, as of patch(1): 0 done, 1 the patches do not fit the HTML, 2 an error.

Examples:
  domcast apply old.html patches.json
  domcast diff old.html new.html --format binary | domcast apply old.html -
  echo '[[\"c\",0]]' | domcast apply list.html - --fragment ul --format tree")]
pub(crate) struct Args {
    /// The HTML before, `-` for standard input
    old: PathBuf,
    /// The patch list that `domcast diff` wrote, JSON or binary; `-` for standard input
    patches: PathBuf,
    /// Parse the HTML as a fragment, as `innerHTML` of this element does: `div`, `tbody`, `svg path` …
    #[arg(long, value_name = "CONTEXT")]
    fragment: Option<String>,
    /// `html` is written without a line end of its own; `tree` is the notation of html5lib-tests
    #[arg(long, value_enum, default_value_t = Format::Html)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Html,
    Tree,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    input::check_distinct(&args.old, &args.patches)?;
    let html = input::text(&args.old)?;
    let mut tree = input::tree(&Parser::default(), &html, args.fragment.as_deref())
        .with_context(|| format!("{} cannot be parsed", input::name(&args.old)))?;
    let patches = input::patches(&args.patches)?;
    if let Err(error) = domcast_diff::apply(&mut tree, &patches) {
        eprintln!("domcast: {} does not fit {}: {error}", input::name(&args.patches), input::name(&args.old));
        return Ok(Answer::No);
    }
    match args.format {
        Format::Html => output::text(&tree.to_html())?,
        Format::Tree => output::text(&outline(&tree))?,
    }
    Ok(Answer::Yes)
}
