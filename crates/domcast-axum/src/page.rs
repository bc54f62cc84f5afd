//! Views in pages: pages from templates, and the plain page of one view.

use crate::api::Refusal;
use crate::domcast::Domcast;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use domcast_client::CLIENT_HASH;
use domcast_push::template::TemplateError;
use domcast_push::template::minijinja::value::{Kwargs, Serde, Value, ValueKind, merge_maps};
use domcast_push::template::minijinja::{Error, ErrorKind, context};
use serde::Serialize;

/// A page holds positions, which age: ask before showing a stored one.
const CACHING: [(header::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-cache")];

impl Domcast {
    /// Renders a page, with the hub's templates, over `state`; `()` is none.
    ///
    /// In the template `view("name")` is the element of a view and `script()` the tag that loads the client. In
    /// `view("name", scripts=true)` scripts that are pushed later run; else they do not. In `view("name", schemes="https mailto")`
    /// pushed addresses have one of these schemes or none. An error is logged and answered with status 500; in development the answer says what is wrong.
    pub fn page(&self, template: &str, state: impl Serialize) -> Response {
        match self.render_page(template, state) {
            Ok(html) => (CACHING, Html(html)).into_response(),
            Err(error) => {
                tracing::error!(template, %error, "page cannot be rendered");
                let mut text = "this page cannot be shown\n".to_owned();
                if self.hub().options().development {
                    text = format!("{error}\n\n{}", error.excerpt().unwrap_or_default());
                }
                (StatusCode::INTERNAL_SERVER_ERROR, CACHING, text).into_response()
            }
        }
    }

    /// Renders a page as [`page`](Self::page) does, to text.
    ///
    /// # Errors
    ///
    /// [`TemplateError`], also for a view that does not exist.
    pub fn render_page(&self, template: &str, state: impl Serialize) -> Result<String, TemplateError> {
        let hub = self.hub().clone();
        let view = Value::from_function(move |name: &str, options: Kwargs| {
            let runs_scripts = options.get::<Option<bool>>("scripts")?.unwrap_or(false);
            let schemes = options.get::<Option<&str>>("schemes")?;
            options.assert_all_used()?;
            let html = hub.html(name).map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))?;
            let mut start_tag = "<div ".to_owned();
            if runs_scripts {
                start_tag.push_str("dc-scripts=\"run\" ");
            }
            if let Some(schemes) = schemes {
                start_tag.push_str(&format!("dc-schemes=\"{}\" ", checked_schemes(schemes)?));
            }
            // The view's own element comes first.
            Ok(Value::from_safe_string(html.replacen("<div ", &start_tag, 1)))
        });
        let script_tag = self.script_tag();
        let script = Value::from_function(move || Value::from_safe_string(script_tag.clone()));
        let functions = context! { view, script };
        let scope = match Value::from(Serde(state)) {
            state if state.kind() == ValueKind::Map => merge_maps([functions, state]),
            _ => functions,
        };
        self.hub().templates().render_value(template, scope)
    }

    /// Returns the tag that loads the client, for pages made in another way.
    pub fn script_tag(&self) -> String {
        format!("<script src=\"{}/_domcast/client-{CLIENT_HASH}.js\" defer></script>", self.config().path)
    }
}

pub(crate) async fn view_html(State(domcast): State<Domcast>, Path(view): Path<String>) -> Result<Response, Refusal> {
    let html = domcast.hub().html(&view)?;
    Ok((CACHING, Html(html.to_string())).into_response())
}

pub(crate) async fn view_page(State(domcast): State<Domcast>, Path(view): Path<String>) -> Result<Response, Refusal> {
    let html = domcast.hub().html(&view)?;
    // A view's name needs no escaping.
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{view}</title>\n{}\n{html}\n",
        domcast.script_tag()
    );
    Ok((CACHING, Html(page)).into_response())
}

/// Schemes as <https://url.spec.whatwg.org/#url-scheme-string> has them, separated by spaces.
fn checked_schemes(schemes: &str) -> Result<&str, Error> {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|char| char.is_ascii_alphanumeric() || "+-.".contains(char))
    };
    match schemes.split(' ').find(|scheme| !is_scheme(scheme)) {
        None => Ok(schemes),
        Some(other) => {
            let reason = format!(
                "`{other}` in `schemes` is no scheme; write them like `https mailto`, each once, without colons"
            );
            Err(Error::new(ErrorKind::InvalidOperation, reason))
        }
    }
}
