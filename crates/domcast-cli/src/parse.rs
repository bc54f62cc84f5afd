//! `domcast parse`: HTML to its tree.

use crate::{Answer, input, output};
use anyhow::{Context, Result};
use clap::ValueEnum;
use domcast_parser::{Parser, outline};
use std::path::PathBuf;

/// Print the tree that a browser makes of HTML
#[derive(clap::Args)]
#[command(after_help = "Examples:
  domcast parse page.html
  echo '<tr><td>tea' | domcast parse - --fragment tbody
  domcast parse page.html --format json")]
pub(crate) struct Args {
    /// The HTML, `-` for standard input
    file: PathBuf,
    /// Parse a fragment, as `innerHTML` of this element does: `div`, `tbody`, `svg path` …
    #[arg(long, value_name = "CONTEXT")]
    fragment: Option<String>,
    /// `tree` is the notation of html5lib-tests, `json` the token list of PROTOCOL.md, section 2
    #[arg(long, value_enum, default_value_t = Format::Tree)]
    format: Format,
    /// Parse as a browser without scripting: the content of `noscript` is markup
    #[arg(long)]
    no_scripting: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Tree,
    Json,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let parser = Parser { scripting: !args.no_scripting, ..Parser::default() };
    let html = input::text(&args.file)?;
    let tree = input::tree(&parser, &html, args.fragment.as_deref())
        .with_context(|| format!("{} cannot be parsed", input::name(&args.file)))?;
    match args.format {
        Format::Tree => output::text(&outline(&tree))?,
        Format::Json => output::line(&tree.to_tokens_json())?,
    }
    Ok(Answer::Yes)
}
