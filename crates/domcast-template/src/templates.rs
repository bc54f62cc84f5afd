//! A set of templates, and how they are rendered.
//!
//! Templates are loaded when they are first named and kept compiled. The environment that holds them is shared as a
//! whole and replaced as a whole ([`Templates::reload`]), so no lock is held while a template runs and one
//! rendering never sees two versions of a template.

use crate::engine::{self, Spent};
use crate::error::TemplateError;
use crate::filters;
use crate::output::{Output, prints_within};
use crate::program::Program;
use crate::state::State;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Templates by name. Clones share the templates.
#[derive(Clone)]
pub struct Templates {
    shared: Arc<Shared>,
}

struct Shared {
    environment: RwLock<Arc<Environment<'static>>>,
    limits: Limits,
    folder: Option<PathBuf>,
    /// Functions, filters and tests of the user's own that give the same for the same arguments.
    pure: RwLock<BTreeSet<String>>,
    is_configured: AtomicBool,
}

/// The largest templates and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one template's source.
    pub source_bytes: usize,
    /// Bytes of one rendered text.
    pub output_bytes: usize,
    /// What the engine may do for one rendering or expression: about one for each instruction, and one for each 64 bytes that it makes on the
    /// way. So it bounds the time, and the memory beside the output to 64 times as many bytes.
    pub fuel: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { source_bytes: 256 << 10, output_bytes: 8 << 20, fuel: 8 << 20 }
    }
}

impl Templates {
    /// Templates in a folder; a name is a path below it, with `/`.
    ///
    /// A name that leaves the folder, or has a part that begins with a dot, names nothing.
    pub fn from_folder(folder: impl AsRef<Path>) -> Templates {
        Templates::from_folder_with(folder, Limits::default())
    }

    /// Templates in a folder, with other limits.
    pub fn from_folder_with(folder: impl AsRef<Path>, limits: Limits) -> Templates {
        let folder = folder.as_ref().to_path_buf();
        let load = minijinja::path_loader(folder.clone());
        let load = move |name: &str| Ok(load(name)?.map(|source| source.source().to_owned()));
        Templates::new(load, limits, Some(folder))
    }

    /// Templates by name and source.
    pub fn from_sources<N: Into<String>, S: Into<String>>(sources: impl IntoIterator<Item = (N, S)>) -> Templates {
        Templates::from_sources_with(sources, Limits::default())
    }

    /// Templates by name and source, with other limits.
    pub fn from_sources_with<N: Into<String>, S: Into<String>>(
        sources: impl IntoIterator<Item = (N, S)>,
        limits: Limits,
    ) -> Templates {
        let sources: HashMap<String, String> =
            sources.into_iter().map(|(name, source)| (name.into(), source.into())).collect();
        Templates::new(move |name: &str| Ok(sources.get(name).cloned()), limits, None)
    }

    fn new(
        load: impl Fn(&str) -> Result<Option<String>, Error> + Send + Sync + 'static,
        limits: Limits,
        folder: Option<PathBuf>,
    ) -> Templates {
        let mut environment = Environment::new();
        environment.set_loader(move |name| {
            let source = load(name)?;
            match source.as_ref().map(String::len) {
                Some(n_bytes) if n_bytes > limits.source_bytes => Err(too_long(name, n_bytes, limits.source_bytes)),
                _ => Ok(source),
            }
        });
        environment.set_auto_escape_callback(auto_escape);
        filters::add(&mut environment);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_fuel(Some(limits.fuel as u64));
        environment.set_formatter(move |output, state, value| {
            if value.as_object().is_some() && !prints_within(value, limits.output_bytes) {
                return Err(Error::from(ErrorKind::OutOfFuel));
            }
            minijinja::escape_formatter(output, state, value)
        });
        // With it an error knows its place in the source; a template costs nothing more while it runs.
        environment.set_debug(true);
        let environment = RwLock::new(Arc::new(environment));
        let (pure, is_configured) = Default::default();
        Templates { shared: Arc::new(Shared { environment, limits, folder, pure, is_configured }) }
    }

    /// Changes the engine: adds functions and filters, or sets what undefined names do.
    ///
    /// Renderings under way finish with the engine as it was. A function, filter or test that is added here is called
    /// again at every update of an [`Instance`](crate::Instance), unless it is [declared pure](Self::declare_pure).
    pub fn configure(&self, change: impl FnOnce(&mut Environment<'static>)) {
        self.shared.is_configured.store(true, Ordering::Relaxed);
        self.change(change);
    }

    fn change(&self, change: impl FnOnce(&mut Environment<'static>)) {
        let mut shared = self.shared.environment.write().unwrap_or_else(PoisonError::into_inner);
        let mut environment = Environment::clone(&shared);
        change(&mut environment);
        *shared = Arc::new(environment);
    }

    /// Drops what was loaded, so that edited templates are read anew.
    pub fn reload(&self) {
        self.change(Environment::clear_templates);
    }

    /// Declares functions, filters or tests that were added as pure: what they give depends on their arguments alone, so
    /// it may be reused. Those of the engine are known.
    pub fn declare_pure<N: Into<String>>(&self, names: impl IntoIterator<Item = N>) {
        let mut pure = self.shared.pure.write().unwrap_or_else(PoisonError::into_inner);
        pure.extend(names.into_iter().map(Into::into));
    }

    pub(crate) fn is_pure(&self, name: &str) -> bool {
        self.shared.pure.read().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    pub(crate) fn is_configured(&self) -> bool {
        self.shared.is_configured.load(Ordering::Relaxed)
    }

    /// Compiles a template into regions that know what they read.
    ///
    /// The program stays as it is when templates are reloaded or the engine is configured.
    ///
    /// # Errors
    ///
    /// [`TemplateError`]: the template is missing, wrong or too long. Templates that it names may be; rendering tells.
    pub fn program(&self, name: &str) -> Result<Program, TemplateError> {
        Program::new(self.clone(), self.environment(), name)
    }

    /// The folder that the templates come from, if they do.
    pub fn folder(&self) -> Option<&Path> {
        self.shared.folder.as_deref()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Renders a template over `state`, whose keys are the template's names.
    ///
    /// # Errors
    ///
    /// [`TemplateError`]: the template is missing, wrong or too long, failed while it ran, wrote more than [`Limits::output_bytes`] or did more
    /// than its [`Limits::fuel`] allows; nothing of its output is kept then.
    pub fn render(&self, name: &str, state: &impl Serialize) -> Result<String, TemplateError> {
        self.render_value(name, Value::from(Serde(state)))
    }

    /// Renders a template over a value of the engine, which can hold functions too.
    ///
    /// # Errors
    ///
    /// As [`render`](Self::render).
    pub fn render_value(&self, name: &str, state: Value) -> Result<String, TemplateError> {
        self.render_with(&self.environment(), name, state).map(|(html, _)| html)
    }

    pub(crate) fn render_with(
        &self,
        environment: &Environment<'static>,
        name: &str,
        state: Value,
    ) -> Result<(String, Spent), TemplateError> {
        let limit_bytes = self.shared.limits.output_bytes;
        let mut output = Output::new(limit_bytes);
        let rendered = environment
            .get_template(name)
            .and_then(|template| template.render_captured_to(state, &mut output).map(|rest| Spent::of(rest.state())));
        if output.is_full() {
            return Err(TemplateError::output_too_long(name, limit_bytes));
        }
        let spent = rendered.map_err(|error| TemplateError::new(name, error, self.folder()))?;
        Ok((output.into_text(), spent))
    }

    /// Evaluates an expression such as `count + payload.by` over `state`.
    ///
    /// # Errors
    ///
    /// [`TemplateError`]: the expression is wrong, failed, or its value is not a `T`.
    pub fn evaluate<T: DeserializeOwned>(&self, expression: &str, state: &impl Serialize) -> Result<T, TemplateError> {
        let environment = self.environment();
        let value = environment
            .compile_expression(expression)
            .and_then(|compiled| compiled.eval(Value::from(Serde(state))))
            .and_then(|value| match value.is_undefined() {
                true => Err(Error::new(ErrorKind::UndefinedError, "the expression has no value")),
                false => T::deserialize(value),
            });
        value.map_err(|error| TemplateError::expression(expression, error))
    }

    /// Evaluates an expression over a state. What it hands on as it was is the same part; the rest becomes what its JSON would be.
    ///
    /// # Errors
    ///
    /// [`TemplateError`]: the expression is wrong, failed, or its value is none that a state can hold.
    pub fn evaluate_state(&self, expression: &str, state: &State) -> Result<State, TemplateError> {
        let environment = self.environment();
        let value = environment.compile_expression(expression).and_then(|compiled| compiled.eval(state.to_value()));
        let state = value.and_then(|value| match value.is_undefined() {
            true => Err(Error::new(ErrorKind::UndefinedError, "the expression has no value")),
            false => State::of_value(value, &mut Spent::limit(&environment))
                .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string())),
        });
        state.map_err(|error| TemplateError::expression(expression, error))
    }

    /// Checks that an expression can be read and that there are its filters and tests, without evaluating it. (A filter is called without a value to see
    /// whether it is there.)
    ///
    /// # Errors
    ///
    /// [`TemplateError`]: the expression is wrong.
    pub fn check_expression(&self, expression: &str) -> Result<(), TemplateError> {
        let checked = engine::check_expression(&self.environment(), expression);
        checked.map_err(|error| TemplateError::expression(expression, error))
    }

    /// Returns the names that an expression takes from its state.
    ///
    /// # Errors
    ///
    /// [`TemplateError`]: the expression is wrong.
    pub fn names_of_expression(&self, expression: &str) -> Result<BTreeSet<String>, TemplateError> {
        let environment = self.environment();
        let compiled = environment.compile_expression(expression);
        let compiled = compiled.map_err(|error| TemplateError::expression(expression, error))?;
        let globals: BTreeSet<&str> = environment.globals().map(|(name, _)| name).collect();
        let names = compiled.undeclared_variables(false).into_iter();
        Ok(names.filter(|name| !globals.contains(&**name)).collect())
    }

    pub(crate) fn environment(&self) -> Arc<Environment<'static>> {
        Arc::clone(&self.shared.environment.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { limits, folder, .. } = &*self.shared;
        f.debug_struct("Templates").field("folder", folder).field("limits", limits).finish_non_exhaustive()
    }
}

fn auto_escape(name: &str) -> AutoEscape {
    let name = [".j2", ".jinja2", ".jinja"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    match name.rsplit_once('.') {
        Some((_, "html" | "htm" | "xml" | "svg")) => AutoEscape::Html,
        _ => AutoEscape::None,
    }
}

fn too_long(name: &str, n_bytes: usize, limit: usize) -> Error {
    let message = format!("template `{name}` of {n_bytes} bytes exceeds the limit of {limit}");
    Error::new(ErrorKind::InvalidOperation, message)
}
