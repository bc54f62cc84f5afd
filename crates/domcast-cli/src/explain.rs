//! `domcast explain`: which parts of a template run when what changes.

use crate::render::{self, with_excerpt};
use crate::{Answer, output};
use anyhow::{Result, bail};
use std::path::PathBuf;

/// Print the regions of a template: what each reads, and why one is opaque
#[derive(clap::Args)]
#[command(
    after_help = "Each line is a part of the template that changes: where it stands, what it is, and what it reads. Parts
inside of a loop or a branch are indented. A part that is opaque is rendered anew by the template engine whenever
what it reads changes; all others change only where their values do.

Examples:
  domcast explain views/orders.html
  domcast explain orders/row.html --dir views"
)]
pub(crate) struct Args {
    /// The template, `-` for standard input
    template: PathBuf,
    /// The folder that names of templates are relative to, TEMPLATE among them
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let (templates, name) = render::templates(&args.template, args.dir.as_deref())?;
    match templates.program(&name) {
        Ok(program) => output::text(&program.explain())?,
        Err(error) => bail!("{}", with_excerpt(&error)),
    }
    Ok(Answer::Yes)
}
