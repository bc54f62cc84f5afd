//! Views in pages: pages from templates, and the plain page of one view.

use crate::api::{Key, Refusal};
use crate::domcast::Domcast;
use axum::extract::{Path, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use domcast_client::CLIENT_HASH;
use domcast_push::Client;
use domcast_push::PushError;
use domcast_push::template::TemplateError;
use domcast_push::template::minijinja::value::{Kwargs, Serde, Value, ValueKind, merge_maps};
use domcast_push::template::minijinja::{Error, ErrorKind, context};
use serde::Serialize;

/// A page holds positions, which age: ask before showing a stored one.
const CACHING: [(header::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-cache")];

impl Domcast {
    /// Renders a page, with the hub's templates, over `state`; `()` is none.
    ///
    /// In the template `view("name")` is the element of a view, `view("name", key="42")` that of the document of a key, and
    /// `script()` the tag that loads the client. In `view("name", scripts=true)` scripts that are pushed later run; else they do not. In `view("name", schemes="https mailto")`
    /// pushed addresses have one of these schemes or none. An error is logged and answered with status 500; in development the answer says what is wrong.
    pub fn page(&self, template: &str, state: impl Serialize) -> Response {
        self.page_for(&Client::default(), template, state)
    }

    /// Renders a page as [`page`](Self::page) does, with the private views of this client.
    pub fn page_for(&self, client: &Client, template: &str, state: impl Serialize) -> Response {
        match self.render_page_for(client, template, state) {
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
        self.render_page_for(&Client::default(), template, state)
    }

    /// Renders a page as [`page_for`](Self::page_for) does, to text.
    ///
    /// # Errors
    ///
    /// As [`render_page`](Self::render_page), also for a view that the client's user may not look at.
    pub fn render_page_for(
        &self,
        client: &Client,
        template: &str,
        state: impl Serialize,
    ) -> Result<String, TemplateError> {
        let (domcast, client) = (self.clone(), client.clone());
        let view = Value::from_function(move |name: &str, options: Kwargs| {
            let runs_scripts = options.get::<Option<bool>>("scripts")?.unwrap_or(false);
            let schemes = options.get::<Option<&str>>("schemes")?;
            let key: Option<String> = options.get::<Option<Value>>("key")?.map(|key| key.to_string());
            options.assert_all_used()?;
            let wrong = |reason: String| Error::new(ErrorKind::InvalidOperation, reason);
            let html =
                domcast.hub().html_for(&client, name, key.as_deref()).map_err(|error| wrong(error.to_string()))?;
            let token = domcast.token_attribute(name, key.as_deref(), user(&client));
            let token = token.ok_or_else(|| wrong(format!("the user may not look at view `{name}`")))?;
            let mut start_tag = format!("<div{token} ");
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

pub(crate) async fn view_html(
    State(domcast): State<Domcast>,
    Path(view): Path<String>,
    Query(Key { key }): Query<Key>,
    parts: Parts,
) -> Result<Response, Refusal> {
    Ok((CACHING, Html(element(&domcast, &parts, &view, key.as_deref())?)).into_response())
}

pub(crate) async fn view_page(
    State(domcast): State<Domcast>,
    Path(view): Path<String>,
    Query(Key { key }): Query<Key>,
    parts: Parts,
) -> Result<Response, Refusal> {
    let html = element(&domcast, &parts, &view, key.as_deref())?;
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

/// Returns the element of a view for who asks. Which views there are, and which are for others, it does not tell.
fn element(domcast: &Domcast, parts: &Parts, view: &str, key: Option<&str>) -> Result<String, Refusal> {
    let client = domcast.client(parts);
    let missing = || Refusal(StatusCode::NOT_FOUND, NO_VIEW.into());
    let token = domcast.token_attribute(view, key, user(&client)).ok_or_else(missing)?;
    let element = domcast.hub().html_for(&client, view, key).map_err(|error| match error {
        PushError::UnknownView { .. } | PushError::WrongKey { .. } if !domcast.hub().options().development => missing(),
        error @ PushError::Application { .. } if !domcast.hub().options().development => {
            Refusal(StatusCode::SERVICE_UNAVAILABLE, error.for_browser(false))
        }
        error => error.into(),
    })?;
    Ok(element.replacen("<div ", &format!("<div{token} "), 1))
}

fn user(client: &Client) -> &str {
    client.user.as_deref().unwrap_or_default()
}

const NO_VIEW: &str = "there is no such view, or it is not for everybody";
