//! A shared shopping list on actix-web: `cargo run --manifest-path crates/domcast-diff/examples/actix-web/Cargo.toml`, then
//! open <http://127.0.0.1:8000> in two windows.
//!
//! The server renders the list as HTML, as it would without domcast. After each change the new HTML is parsed and compared
//! with the tree before it, once; every page that looks on receives the patches as server-sent events and applies
//! them with `domcast.mjs`. A page says which update it has, so nothing is lost between its HTML and its first event.

use actix_web::http::header::{CONTENT_TYPE, LOCATION};
use actix_web::web::{Bytes, Data, Form, Path, Query};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, error, get, post, web};
use domcast_diff::{Tree, apply, diff, escape_text};
use domcast_parser::parse_fragment;
use futures_util::stream;
use serde::Deserialize;
use std::sync::{Mutex, MutexGuard};
use tokio::sync::watch;

/// The state, the tree that all pages show, and the patch lists that led there, as JSON.
///
/// A server that runs for long keeps only the last patch lists, and tells a page that lags too far behind to load anew.
struct List {
    items: Vec<(u32, String)>,
    tree: Tree,
    history: Vec<String>,
}

struct Live {
    list: Mutex<List>,
    n_updates: watch::Sender<usize>,
}

impl Live {
    fn new() -> Live {
        let mut list = List { items: Vec::new(), tree: Tree::new(), history: Vec::new() };
        list.add("tea");
        list.add("milk");
        list.tree = list.render();
        Live { list: Mutex::new(list), n_updates: watch::Sender::new(0) }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().expect("nobody panics holding the list")
    }

    /// Changes the state and shows the difference to every page.
    fn change(&self, change: impl FnOnce(&mut List)) {
        let mut list = self.list();
        change(&mut list);
        let patches = diff(&list.tree, &list.render());
        if patches.is_empty() {
            return;
        }
        // The tree that lives on is the patched one: its nodes have the numbers that the pages know.
        apply(&mut list.tree, &patches).expect("the patches fit the tree they were made for");
        list.history.push(patches.to_json());
        self.n_updates.send_replace(list.history.len());
    }
}

impl List {
    fn add(&mut self, text: &str) {
        let id = self.items.last().map_or(1, |(last, _)| last + 1);
        self.items.push((id, text.to_owned()));
    }

    /// Any template engine could write this HTML.
    fn render(&self) -> Tree {
        let mut html = format!("<p>{} to buy</p><ul>", self.items.len());
        for (id, text) in &self.items {
            html.push_str(&format!("<li dc-key=\"{id}\">"));
            escape_text(text, &mut html);
            html.push_str(&format!(" <button form=done formaction=\"/done/{id}\">Done</button></li>"));
        }
        html.push_str("</ul>");
        parse_fragment(&html, "div").expect("a list is far below the parser's limits")
    }
}

#[derive(Deserialize)]
struct NewItem {
    text: String,
}

#[post("/items")]
async fn post_item(live: Data<Live>, item: Form<NewItem>) -> HttpResponse {
    live.change(|list| list.add(&item.text));
    back()
}

#[post("/done/{id}")]
async fn post_done(live: Data<Live>, id: Path<u32>) -> HttpResponse {
    live.change(|list| list.items.retain(|(item, _)| *item != *id));
    back()
}

fn back() -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, "/")).finish()
}

/// The page, with what it must know to number its nodes as the tree here does.
#[get("/")]
async fn get_page(live: Data<Live>) -> HttpResponse {
    let list = live.list();
    let ids: Vec<u32> = list.tree.numbering().iter().flat_map(|&(first, count)| [first.0, count]).collect();
    let page = format!(
        r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shopping list</title></head>
<body><h1>Shopping list</h1><div id="view">{html}</div>
<form method="post" action="/items"><input name="text" required autofocus> <button>Add</button></form><form method="post" id="done"></form>
<script type="module">
import {{ mount }} from '/domcast.mjs';
const view = mount(document.getElementById('view'), {{ ids: {ids:?}, next: {next} }});
new EventSource('/events?from={version}').onmessage = (event) => view.apply(JSON.parse(event.data));
// Without this script each form loads the page anew, which shows the same.
document.addEventListener('submit', (event) => {{
  event.preventDefault();
  const body = new URLSearchParams(new FormData(event.target));
  fetch(event.submitter.getAttribute('formaction') ?? event.target.action, {{ method: 'post', body, redirect: 'manual' }});
  event.target.reset();
}});
</script></body></html>"#,
        html = list.tree.to_html(),
        next = list.tree.next_id().0,
        version = list.history.len(),
    );
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(page)
}

#[get("/domcast.mjs")]
async fn get_client() -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/javascript; charset=utf-8")).body(domcast_client::CLIENT_MJS)
}

#[derive(Deserialize)]
struct From {
    from: usize,
}

/// All updates after the one that the page has, then each as it comes. A browser that lost the connection names the last it received.
#[get("/events")]
async fn get_events(live: Data<Live>, query: Query<From>, request: HttpRequest) -> actix_web::Result<HttpResponse> {
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let from = last.unwrap_or(query.from);
    if from > live.list().history.len() {
        return Err(error::ErrorBadRequest(format!("update {from} has not happened here: load the page anew\n")));
    }
    let updates = live.n_updates.subscribe();
    let events = stream::unfold((live, updates, from), async |(live, mut updates, from)| {
        // It fails once the server stops; the stream ends then.
        updates.wait_for(|n_updates| *n_updates > from).await.ok()?;
        let event = format!("id: {}\ndata: {}\n\n", from + 1, live.list().history[from]);
        Some((Ok::<_, error::Error>(Bytes::from(event)), (live, updates, from + 1)))
    });
    let head = [(CONTENT_TYPE.as_str(), "text/event-stream"), ("cache-control", "no-store")];
    let mut response = HttpResponse::Ok();
    head.iter().for_each(|header| _ = response.insert_header(*header));
    Ok(response.streaming(Box::pin(events)))
}

fn routes(config: &mut web::ServiceConfig) {
    config.service(get_page).service(get_client).service(get_events).service(post_item).service(post_done);
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let live = Data::new(Live::new());
    println!("http://127.0.0.1:8000");
    HttpServer::new(move || App::new().app_data(live.clone()).configure(routes)).bind(("127.0.0.1", 8000))?.run().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::{BodySize, MessageBody};
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use std::future::poll_fn;
    use std::pin::Pin;

    #[actix_web::test]
    async fn a_page_receives_what_happened_since_its_html_and_what_comes() {
        let live = Data::new(Live::new());
        let app = init_service(App::new().app_data(live.clone()).configure(routes)).await;
        let html = read_body(call_service(&app, TestRequest::get().uri("/").to_request()).await).await;
        let html = String::from_utf8(html.to_vec()).unwrap();
        assert!(html.contains("<p>2 to buy</p>") && html.contains("/events?from=0"), "{html}");

        let add = TestRequest::post().uri("/items").set_form([("text", "a <b> & c")]).to_request();
        assert_eq!(call_service(&app, add).await.status(), 303);
        let events = call_service(&app, TestRequest::get().uri("/events?from=0").to_request()).await;
        let mut events = Pin::from(Box::new(events.into_body()));
        assert_eq!(events.size(), BodySize::Stream);
        let mut next = async || {
            let event = poll_fn(|cx| events.as_mut().poll_next(cx)).await.unwrap().unwrap();
            String::from_utf8(event.to_vec()).unwrap()
        };
        let first = next().await;
        assert!(first.starts_with("id: 1\ndata: [[") && first.contains("=a <b> & c"), "{first}");

        let done = TestRequest::post().uri("/done/1").to_request();
        assert_eq!(call_service(&app, done).await.status(), 303);
        assert_eq!(next().await, "id: 2\ndata: [[\"x\",2,0,1,\"2\"],[\"r\",4]]\n\n");
    }
}
