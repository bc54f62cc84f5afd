//! `domcast explain`: which parts of a template run when what changes, and which layer does the work of one update.

mod page; // what is live in a page
mod trace; // one update

use crate::render::{self, with_excerpt};
use crate::{Answer, input, output, serve};
use anyhow::{Result, anyhow, bail};
use domcast_document::{DocumentError, Template};
use domcast_template::TemplateError;
use std::path::PathBuf;

/// Print the regions of a template: what each reads, and why one is opaque
#[derive(clap::Args)]
#[command(
    after_help = "Each line is a part of the template that changes: where it stands, what it is, and what it reads. Parts
inside of a loop or a branch are indented. A part that is opaque is rendered anew by the template engine whenever
what it reads changes; all others change only where their values do. The last line says whether an update writes and
parses HTML, and why.

A page of a folder that `domcast serve` serves (`templates/pages/`) is rendered when it is loaded, and no update patches it: of one
it prints which views stay live in it.

With --trace it prints what one update does: what differs in the state, which parts print something else, which ran again
in vain and printed the same, which layer turned that into patches, what those are, and how long each step takes at best
of five.

Examples:
  domcast explain views/orders.html
  domcast explain orders/row.html --dir views
  domcast explain views/orders.html --trace before.json after.json"
)]
pub(crate) struct Args {
    /// The template, `-` for standard input
    template: PathBuf,
    /// The folder that names of templates are relative to, TEMPLATE among them
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// The state before and after an update, JSON objects
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"])]
    trace: Option<Vec<PathBuf>>,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let (templates, name) = render::templates(&args.template, args.dir.as_deref())?;
    let template = Template::new(&templates, &name).map_err(|error| of_template(&error))?;
    let folder = templates.folder().filter(|folder| serve::is_page(folder, &name));
    let text = match (args.trace.as_deref(), folder) {
        (Some(_), Some(_)) => bail!("`{name}` is a page, which no update patches: trace the template of a view in it"),
        (None, Some(folder)) => page::explain(&template, folder),
        (Some([old, new]), None) => {
            let state = |path: &PathBuf| input::json_object(&input::bytes(path)?, &input::name(path));
            trace::trace(&templates, &template, &state(old)?, &state(new)?)?
        }
        (_, None) => template.explain(),
    };
    output::text(&text)?;
    Ok(Answer::Yes)
}

fn of_template(error: &TemplateError) -> anyhow::Error {
    anyhow!("{}", with_excerpt(error))
}

fn of_document(error: DocumentError) -> anyhow::Error {
    match error {
        DocumentError::Template(error) => of_template(&error),
        error => error.into(),
    }
}
