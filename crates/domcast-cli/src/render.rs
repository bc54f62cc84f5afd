//! `domcast render`: a template and a state to HTML.

use crate::{Answer, input, output, serve};
use anyhow::{Context, Result, bail};
use domcast_template::{TemplateError, Templates};
use serde_json::Map;
use std::path::{Path, PathBuf};

/// Print the HTML that a template makes of a state
#[derive(clap::Args)]
#[command(
    after_help = "What a template includes or extends is looked for in its own folder, or in that of --dir; in a folder that `domcast serve`
serves, in its `templates/`.

Examples:
  domcast render views/orders.html --state orders.json
  domcast render orders/row.html --dir views --state row.json
  echo '{\"name\": \"Ada\"}' | domcast render greeting.html --state -
  echo '<p>{{ name }}</p>' | domcast render - --state ada.json"
)]
pub(crate) struct Args {
    /// The template, `-` for standard input
    template: PathBuf,
    /// The state, a JSON object; `-` for standard input
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// The folder that names of templates are relative to, TEMPLATE among them
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// A template from standard input has this name, so that what it prints is escaped.
const STANDARD_INPUT: &str = "standard-input.html";

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let state = match &args.state {
        Some(path) => {
            input::check_distinct(&args.template, path)?;
            input::json_object(&input::bytes(path)?, &input::name(path))?
        }
        None => Map::new(),
    };
    let (templates, name) = templates(&args.template, args.dir.as_deref())?;
    match templates.render(&name, &state) {
        Ok(html) => output::text(&html)?,
        Err(error) => bail!("{}", with_excerpt(&error)),
    }
    Ok(Answer::Yes)
}

/// Returns an error's text, and below it the lines of the template that are to blame.
pub(crate) fn with_excerpt(error: &TemplateError) -> String {
    match error.excerpt() {
        Some(excerpt) => format!("{error}\n{}", excerpt.trim_end()),
        None => error.to_string(),
    }
}

/// Returns the templates that `template` is one of, and its name among them. In a folder that `domcast serve` serves names are relative to its `templates/`.
pub(crate) fn templates(template: &Path, dir: Option<&Path>) -> Result<(Templates, String)> {
    if input::is_standard_input(template) {
        if dir.is_some() {
            bail!("--dir goes with the name of a template, not with standard input");
        }
        let source = input::text(template)?;
        return Ok((Templates::from_sources([(STANDARD_INPUT, source)]), STANDARD_INPUT.into()));
    }
    let served = dir.is_none().then(|| templates_of_site(template)).flatten();
    let (folder, name) = match (dir, &served) {
        (Some(folder), _) => (folder, template),
        (None, Some((folder, name))) => (&**folder, &**name),
        (None, None) => {
            let folder = template.parent().filter(|folder| !folder.as_os_str().is_empty());
            let name = template.file_name().map(Path::new);
            let name = name.with_context(|| format!("{} is not a file", input::name(template)))?;
            (folder.unwrap_or(Path::new(".")), name)
        }
    };
    let name = name.to_str().with_context(|| format!("{} is not UTF-8", input::name(name)))?;
    Ok((Templates::from_folder(folder), name.into()))
}

/// Returns the folder of templates that a template of a served folder is in, and its name there.
fn templates_of_site(template: &Path) -> Option<(PathBuf, PathBuf)> {
    let template = std::path::absolute(template).ok()?;
    let folder = template.ancestors().skip(1).find(|folder| serve::has_templates(folder))?;
    Some((folder.to_owned(), template.strip_prefix(folder).ok()?.to_owned()))
}
