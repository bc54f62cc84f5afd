//! The Rust of README.md, word for word, so that it compiles; what needs no server of its own runs.

use axum::extract::Request;
use axum::http::request::Parts;
use axum::routing::get;
use domcast_axum::{
    Access, Authorization, Client, Config, DeclaredView, Domcast, Edits, Empty, Handlers, Hub, Place, Push, Templates,
    View,
};
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::error::Error;
use std::time::Duration;

fn hub() -> Hub {
    let hub = Hub::new(Templates::from_sources([("n.html", "{{ visitors }} {{ count }}")]));
    let view = || DeclaredView::new("n.html").state("visitors", 0).state("count", 0);
    let add = Edits::new().set("count", "count + payload.by");
    hub.register_declared("dashboard", view()).unwrap();
    hub.register_declared("counter", view().handler("add", add)).unwrap();
    hub.register_declared_keyed("order", view()).unwrap();
    hub
}

async fn pushes(hub: &Hub) -> Result<(), Box<dyn Error>> {
    hub.push(Push::state("dashboard", [("visitors", 42)])).await?;
    hub.push_blocking(Push::handler("counter", "add", json!({"by": 10})))?;
    Ok(())
}

#[test]
fn the_pushes_in_rust_do_as_they_say() {
    let hub = hub();
    pushes(&hub).now_or_never().expect("nothing keeps it waiting").unwrap();
    assert!(hub.html("dashboard").unwrap().contains(">42 0</div>"));
    assert!(hub.html("counter").unwrap().contains(">0 10</div>"));
}

/// Its folder of templates is not there.
#[allow(dead_code)]
fn view() -> Result<axum::Router, Box<dyn Error>> {
    #[derive(Clone, Serialize, Deserialize)]
    struct Counter {
        count: i64,
    }

    impl View for Counter {
        const TEMPLATE: &'static str = "counter.html";

        fn handlers(handlers: &mut Handlers<Self>) {
            handlers.on("increment", |view: &mut Self, _: Empty| {
                view.count += 1;
                Ok(())
            });
        }
    }

    let hub = Hub::new(Templates::from_folder("templates"));
    hub.register("counter", Counter { count: 0 })?;
    let domcast = Domcast::new(hub);
    let app = domcast.router().route("/", get(async move || domcast.page("page.html", ())));
    Ok(app)
}

struct Permissions;

impl Permissions {
    fn may_see(&self, user: &str, view: &str, _key: Option<&str>) -> bool {
        (user, view) == ("ann", "counter")
    }
}

#[tokio::test]
async fn who_may_look_is_asked_as_it_says() {
    let who = |request: &Parts| {
        let user = request.headers.get("cookie").and_then(|cookie| cookie.to_str().ok()?.strip_prefix("user="));
        Client { user: user.map(str::to_owned), ..Client::default() }
    };
    let (hub, permissions) = (hub(), Permissions);
    hub.templates().configure(|engine| engine.add_template("page.html", "{{ view('counter') }}").unwrap());
    let authorization = Authorization::new(move |view, key, user| match permissions.may_see(user, view, key) {
        true => Access::Allow(Duration::from_secs(300)), // ask again after half of that
        false => Access::Deny,
    });
    let domcast = Domcast::with_config(hub, Config { authorization: Some(authorization), ..Config::default() });
    domcast.identify(who); // from the cookies of a request to a `Client`, which names the user
    let page = async move |request: Request| {
        let client = domcast.client(&request.into_parts().0);
        domcast.page_for(&client, "page.html", ())
    };
    let request = |user: &str| {
        Request::get("/").header("cookie", format!("user={user}")).body(axum::body::Body::empty()).unwrap()
    };
    assert_eq!([page(request("ann")).await.status(), page(request("bob")).await.status()], [200, 500]);
}

#[test]
fn who_is_here_is_told_as_it_says() {
    let (hub, log) = (hub(), |_: &Parts, _: &Client, _: &str, _: Option<&str>| {});
    let domcast = Domcast::new(hub.clone());
    let here = hub.presence(&Place::keyed("order", "42")); // here.users, here.n_anonymous
    let mut events = hub.presence_events(); // joins and leaves: once per user and place
    domcast.on_subscribe(move |request, client, view, key| log(request, client, view, key)); // each connection, with its cookies
    assert_eq!((here.users.len(), here.n_anonymous), (0, 0));
    assert!(events.try_recv().is_err());
}

#[test]
fn the_engine_does_as_it_says() -> Result<(), Box<dyn Error>> {
    let mut old = domcast_parser::parse_fragment("<ul><li>tea<li>milk</ul>", "div")?;
    let new = domcast_parser::parse_fragment("<ul><li>milk</ul>", "div")?;
    let patches = domcast_diff::diff(&old, &new);
    assert_eq!(patches.to_json(), r#"[["r",2]]"#);
    domcast_diff::apply(&mut old, &patches)?;
    assert_eq!(old, new);
    Ok(())
}

#[test]
fn all_rust_of_the_readme_is_here() {
    let trimmed =
        |text: &str| text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    let here = trimmed(include_str!("readme.rs"));
    let readme = include_str!("../../../../README.md");
    let blocks: Vec<&str> = readme.split("```rust\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert_eq!(blocks.len(), 5);
    for block in blocks {
        assert!(here.contains(&trimmed(block)), "it is not compiled:\n{block}");
    }
}
