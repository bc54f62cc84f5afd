//! A page: which views stay live in it, and what else it reads when it is loaded.

use crate::serve;
use domcast_document::Template;
use std::fmt::Write;
use std::path::Path;

/// Describes a page whose templates are in `folder`.
pub(super) fn explain(template: &Template, folder: &Path) -> String {
    let program = template.program();
    let mut text =
        format!("`{}` is a page: it is rendered when it is loaded, and no update patches it\n", program.name());
    let regions = program.explain();
    // The last line counts what an update would cost.
    let lines: Vec<&str> = regions.lines().map(str::trim_start).collect();
    let (views, rest): (Vec<&str>, Vec<&str>) =
        lines[..lines.len() - 1].iter().partition(|line| line.contains("hole view("));
    let is_script = |line: &&str| line.contains("hole script()");
    text.push_str(match (views.is_empty(), rest.iter().any(is_script)) {
        (true, _) => "it shows no view: nothing in it stays live\n",
        (false, true) => "what stays live in it:\n",
        (false, false) => "what stays live in it, if it loads the client some other way than by `script()`:\n",
    });
    for line in views {
        let (place, call) = line.split_once(" hole ").unwrap_or((line, ""));
        let call = call.split("; ").next().unwrap_or(call);
        // Writing to a String cannot fail.
        _ = match named(call).and_then(|view| serve::template_of(folder, view)) {
            Some(template) => writeln!(text, "  {place} {call}, whose template is `{template}`: explain that"),
            None => writeln!(text, "  {place} {call}"),
        };
    }
    let rest: Vec<&str> = rest.into_iter().filter(|line| !is_script(line)).collect();
    if !rest.is_empty() {
        text.push_str("what shows with the next load:\n");
    }
    for line in rest {
        _ = writeln!(text, "  {}", line.trim_end_matches("; runs at every update"));
    }
    text
}

/// The view that a call of `view` names by a constant.
fn named(call: &str) -> Option<&str> {
    let argument = call.strip_prefix("view(")?.trim_start();
    let quote = argument.chars().next().filter(|char| ['"', '\''].contains(char))?;
    argument[1..].split_once(quote).map(|(view, _)| view)
}
