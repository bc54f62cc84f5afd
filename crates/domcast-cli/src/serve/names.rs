//! Names that nothing has a value for: a template reads one as nothing and an empty place is all that shows, so they are told of once.

use super::config::{Config, Source, View};
use domcast_axum::Templates;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What was told already.
pub(super) struct Names {
    config: Arc<Config>,
    told: BTreeSet<String>,
}

impl Names {
    pub(super) fn new(config: &Arc<Config>) -> Names {
        Names { config: Arc::clone(config), told: BTreeSet::new() }
    }

    /// Warns of the names in templates and handlers that the states of their views do not have, of each once.
    pub(super) fn warn(&mut self, templates: &Templates) {
        for view in &self.config.views {
            for warning in
                unknown_in_template(view, templates).into_iter().chain(self.unknown_in_edits(view, templates))
            {
                if !self.told.contains(&warning) {
                    tracing::warn!("{warning}");
                    self.told.insert(warning);
                }
            }
        }
    }

    fn unknown_in_edits(&self, view: &View, templates: &Templates) -> Vec<String> {
        let Some(known) = names_of_state(view) else { return Vec::new() };
        let mut warnings = Vec::new();
        for edit in &view.edits {
            // A wrong expression stopped the server before.
            let names = templates.names_of_expression(&edit.expression).unwrap_or_default();
            let known: BTreeSet<&str> = match edit.is_tick {
                true => known.clone(),
                false => known.iter().copied().chain(["payload", "caller"]).collect(),
            };
            for name in names.iter().filter(|name| !known.contains(&***name)) {
                let place = self.config.at(edit.line);
                let reads = format!("handler `{}` of view `{}` reads `{name}`", edit.handler, view.name);
                warnings.push(format!("{place}: {reads}, which its state does not have{}", near(name, &known)));
            }
        }
        warnings
    }
}

fn unknown_in_template(view: &View, templates: &Templates) -> Vec<String> {
    let (Some(known), Source::Declared(declared) | Source::Keyed(declared)) = (names_of_state(view), &view.source)
    else {
        return Vec::new();
    };
    // A template that cannot be read is told of where it is rendered.
    let names = templates.program(&declared.template).map(|program| program.names()).unwrap_or_default();
    let unknown = names.into_iter().filter(|found| !known.contains(&*found.name));
    let warning = |found: domcast_template::Name| {
        let place = format!("template `{}` line {}", found.template, found.line);
        let reads = format!("reads `{}`, which the state of view `{}` does not have", found.name, view.name);
        format!("{place} {reads}: it shows nothing{}", near(&found.name, &known))
    };
    unknown.map(warning).collect()
}

/// The names that a view's template and handlers may read; `None` for one without a state.
fn names_of_state(view: &View) -> Option<BTreeSet<&str>> {
    match &view.source {
        Source::Declared(declared) => Some(declared.state.keys().map(String::as_str).collect()),
        Source::Keyed(declared) => Some(declared.state.keys().map(String::as_str).chain(["key"]).collect()),
        Source::Posted(_) => None,
    }
}

/// Asks whether the nearest known name was meant, if one is near.
fn near(name: &str, known: &BTreeSet<&str>) -> String {
    let with_distance = known.iter().map(|known| (strsim::damerau_levenshtein(name, known), known));
    let nearest = with_distance.filter(|(distance, _)| *distance <= 1.max(name.chars().count() / 3)).min();
    nearest.map_or_else(String::new, |(_, known)| format!(" (did you mean `{known}`?)"))
}
