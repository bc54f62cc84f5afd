//! Pages: templates below `templates/pages/`, each at its path, and files below `/static/`.
//!
//! A part of a path that begins with `.` or `_` names nothing, so `pages/_layout.html` is there for other pages only.

use crate::render::with_excerpt;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use domcast_axum::{Domcast, Templates};
use domcast_template::TemplateError;
use domcast_template::minijinja::context;
use domcast_template::minijinja::value::{Serde, Value};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tower_http::services::ServeDir;

/// Pages of our own, where the folder has none.
const BUILT_IN: [(&str, &str); 3] = [
    ("index.html", include_str!("../../serve/index.html")),
    ("error.html", include_str!("../../serve/error.html")),
    ("missing.html", include_str!("../../serve/missing.html")),
];
const STYLE: &str = include_str!("../../serve/serve.css");
const ICON: &str = include_str!("../../demo/icon.svg");

#[derive(Clone)]
struct Pages {
    domcast: Domcast,
    /// The folder of the templates.
    folder: Arc<PathBuf>,
    built_in: Templates,
}

/// Returns all that the folder serves.
pub(super) fn router(domcast: &Domcast, dir: &Path) -> Router {
    let folder = Arc::new(dir.join("templates"));
    let pages = Pages { domcast: domcast.clone(), folder, built_in: Templates::from_sources(BUILT_IN) };
    let style = async || ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE);
    let icon = async || ([(header::CONTENT_TYPE, "image/svg+xml")], ICON);
    domcast
        .router()
        .nest_service("/static", ServeDir::new(dir.join("static")))
        .route("/_domcast/serve.css", get(style))
        .route("/_domcast/icon.svg", get(icon))
        // Browsers ask for it unasked; a page that has an icon links it.
        .route("/favicon.ico", get(StatusCode::NO_CONTENT))
        .fallback_service(get(page).with_state(pages))
}

async fn page(State(pages): State<Pages>, uri: Uri) -> Response {
    match pages.find(uri.path()) {
        Some(template) => pages.render(&template, uri.path()),
        None if uri.path() == "/" => pages.index(),
        None => pages.built_in(StatusCode::NOT_FOUND, "missing.html", context! { path => uri.path() }),
    }
}

#[derive(Serialize)]
struct View {
    name: Arc<str>,
    html: Arc<str>,
}

/// What a page's template can name besides `view()` and `script()`.
#[derive(Serialize)]
struct PageState<'a> {
    path: &'a str,
    views: Vec<Arc<str>>,
}

impl Pages {
    /// Returns the name of the template at a path: `/about` is `pages/about.html`, else `pages/about/index.html`.
    fn find(&self, path: &str) -> Option<String> {
        let path = percent_decode_str(path.trim_matches('/')).decode_utf8().ok()?;
        let is_part = |part: &str| !part.is_empty() && !part.starts_with(['.', '_']) && !part.contains(['\\', '\0']);
        let candidates = match &*path {
            "" => vec!["pages/index.html".to_owned()],
            path if path.split('/').all(is_part) => {
                vec![format!("pages/{path}.html"), format!("pages/{path}/index.html")]
            }
            _ => Vec::new(),
        };
        candidates.into_iter().find(|name| self.folder.join(name).is_file())
    }

    fn render(&self, template: &str, path: &str) -> Response {
        let views = self.domcast.hub().views().into_iter().filter(|view| view.key.is_none());
        let views = views.map(|view| view.name).collect();
        match self.domcast.render_page(template, PageState { path, views }) {
            Ok(html) => answer(StatusCode::OK, html),
            Err(error) => {
                tracing::error!("page `{path}` cannot be rendered: {}", with_excerpt(&error));
                self.error(&error)
            }
        }
    }

    /// Lists all views, live.
    fn index(&self) -> Response {
        let hub = self.domcast.hub();
        let view = |name: Arc<str>| Some(View { html: hub.html(&name).ok()?, name });
        let views: Vec<View> = hub.views().into_iter().filter_map(|info| view(info.name)).collect();
        let scope = context! { views => Value::from(Serde(&views)), script => self.domcast.script_tag() };
        self.built_in(StatusCode::OK, "index.html", scope)
    }

    fn error(&self, error: &TemplateError) -> Response {
        let scope = match self.domcast.hub().options().development {
            true => context! {
                message => error.message(),
                template => error.template(),
                line => error.line(),
                excerpt => error.excerpt(),
            },
            false => context! {},
        };
        self.built_in(StatusCode::INTERNAL_SERVER_ERROR, "error.html", scope)
    }

    fn built_in(&self, status: StatusCode, template: &str, scope: Value) -> Response {
        match self.built_in.render_value(template, scope) {
            Ok(html) => answer(status, html),
            Err(error) => {
                tracing::error!("{}", with_excerpt(&error));
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

fn answer(status: StatusCode, html: String) -> Response {
    // A page holds positions, which age: ask before showing a stored one.
    (status, [(header::CACHE_CONTROL, "no-cache")], Html(html)).into_response()
}
