//! Pages: templates below `templates/pages/`, each at its path, and files below `/static/`; all else is asked of the upstream.
//!
//! A part of a path that begins with `.` or `_` names nothing, so `pages/_layout.html` is there for other pages only.

use super::upstream::Upstream;
use crate::render::with_excerpt;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};
use domcast_axum::{Domcast, Templates};
use domcast_template::TemplateError;
use domcast_template::minijinja::context;
use domcast_template::minijinja::value::{Serde, Value};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tower_http::services::ServeDir;

/// What the names of pages begin with.
pub(super) const FOLDER: &str = "pages/";

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
    upstream: Option<Upstream>,
}

/// Returns all that the folder serves.
pub(super) fn router(domcast: &Domcast, dir: &Path, upstream: Option<Upstream>) -> Router {
    let folder = Arc::new(dir.join("templates"));
    let built_in = Templates::from_sources(BUILT_IN);
    let files = dir.join("static");
    // An application may have files of its own there.
    let has_files = upstream.is_none() || files.is_dir();
    let mut router = domcast.router();
    if has_files {
        router = router.nest_service("/static", ServeDir::new(files));
    }
    if upstream.is_none() {
        // Browsers ask for it unasked; a page that has an icon links it.
        router = router.route("/favicon.ico", get(StatusCode::NO_CONTENT));
    }
    let pages = Pages { domcast: domcast.clone(), folder, built_in, upstream };
    let style = async || ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE);
    let icon = async || ([(header::CONTENT_TYPE, "image/svg+xml")], ICON);
    router
        .route("/_domcast/serve.css", get(style))
        .route("/_domcast/icon.svg", get(icon))
        .fallback_service(any(page).with_state(pages))
}

async fn page(State(pages): State<Pages>, request: Request) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path();
    match (pages.find(path).filter(|_| is_read), &pages.upstream) {
        (Some(template), _) => pages.render(&template, path),
        (None, Some(upstream)) => match upstream.answer(request).await {
            Ok(response) => response,
            // The log has why.
            Err(_) => pages.bad_gateway(upstream),
        },
        (None, None) if !is_read => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        (None, None) if path == "/" => pages.index(),
        (None, None) => pages.built_in(StatusCode::NOT_FOUND, "missing.html", context! { path }),
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
            "" => vec![format!("{FOLDER}index.html")],
            path if path.split('/').all(is_part) => {
                vec![format!("{FOLDER}{path}.html"), format!("{FOLDER}{path}/index.html")]
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

    fn bad_gateway(&self, upstream: &Upstream) -> Response {
        let scope = match self.domcast.hub().options().development {
            true => context! { message => format!("{} does not answer", upstream.url()) },
            false => context! {},
        };
        self.built_in(StatusCode::BAD_GATEWAY, "error.html", scope)
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
