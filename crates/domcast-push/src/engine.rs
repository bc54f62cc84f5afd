//! What renders: the templates, and each that a view names compiled once.

use domcast_document::Template;
use domcast_template::{TemplateError, Templates};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) templates: Templates,
    compiled: Mutex<HashMap<String, Template>>,
}

impl Engine {
    pub(crate) fn new(templates: Templates) -> Engine {
        Engine { templates, compiled: Mutex::default() }
    }

    /// Returns a template, compiled now or before.
    pub(crate) fn template(&self, name: &str) -> Result<Template, TemplateError> {
        if let Some(template) = self.compiled().get(name).filter(|template| template.is_current(&self.templates)) {
            return Ok(template.clone());
        }
        let template = Template::new(&self.templates, name)?;
        self.compiled().insert(name.to_owned(), template.clone());
        Ok(template)
    }

    fn compiled(&self) -> MutexGuard<'_, HashMap<String, Template>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
