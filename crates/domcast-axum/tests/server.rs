//! A server as its clients see it: requests and frames in, answers and frames out, over a real loopback socket.

use domcast_axum::{
    Config, DeclaredView, Domcast, Edits, Empty, Handlers, Hub, Limits, Options, Push, PushAccess, Templates, View,
};
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

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
        handlers.on_push("add", |view: &mut Self, by: Add| {
            view.count += by.by;
            Ok(())
        });
        handlers.on("fail", |_, _: Empty| Err("the password is hunter2".into()));
    }
}

#[derive(Deserialize)]
struct Add {
    by: i64,
}

struct Server {
    address: SocketAddr,
    domcast: Domcast,
}

/// Starts a server with a counter, a panel of posted HTML and a page.
async fn start(config: Config) -> Server {
    start_with(config, Options::default()).await
}

async fn start_with(config: Config, options: Options) -> Server {
    let templates = Templates::from_sources([
        ("counter.html", "<b>{{ count }}</b>"),
        ("ticker.html", "<i>{{ n }}</i>"),
        ("page.html", "<h1>{{ title }}</h1>{{ script() }}{{ view('counter') }}"),
        ("scripts.html", "{{ view('counter', scripts=true) }}"),
        ("schemes.html", "{{ view('counter', schemes='https mailto') }}"),
        ("bad_schemes.html", "{{ view('counter', schemes='https: mailto') }}"),
        ("wrong.html", "one\n{{ view('nothing') }}"),
    ]);
    let hub = Hub::with_options(templates, options);
    hub.register("counter", Counter { count: 0 }).unwrap();
    hub.register_posted("panel", "<p>cold</p>").unwrap();
    let ticker = DeclaredView::new("ticker.html").state("n", 0);
    hub.register_declared("ticker", ticker.tick(Duration::from_millis(20), Edits::new().set("n", "n + 1"))).unwrap();
    let domcast = Domcast::with_config(hub, config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pages = domcast.clone();
    let app = domcast
        .router()
        .route("/", axum::routing::get(async move || pages.page("page.html", json!({"title": "Tea & milk"}))));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Server { address, domcast }
}

fn open() -> Config {
    Config { push: PushAccess::Open, ..Config::default() }
}

impl Server {
    /// Sends a request as it stands; returns the status, the head and the body.
    async fn send(&self, request: String) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    async fn request(&self, line: &str, headers: &[&str], body: &str) -> (u16, String, String) {
        let (address, n_bytes) = (self.address, body.len());
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let head = format!("{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {n_bytes}\r\n");
        self.send(format!("{head}{headers}\r\n{body}")).await
    }

    async fn get(&self, path: &str) -> (u16, String, String) {
        self.request(&format!("GET {path}"), &[], "").await
    }

    /// Pushes; returns the status and the error, or the answer without its epoch.
    async fn push(&self, body: &str, headers: &[&str]) -> (u16, Value) {
        let headers = [headers, &["Content-Type: application/json"]].concat();
        simplified(self.request("POST /push", &headers, body).await)
    }

    async fn connect(&self) -> Client {
        self.connect_from(None).await.unwrap()
    }

    async fn connect_from(&self, origin: Option<&str>) -> Result<Client, tungstenite::Error> {
        let mut request = format!("ws://{}/_domcast/ws", self.address).into_client_request().unwrap();
        if let Some(origin) = origin {
            request.headers_mut().insert("Origin", origin.parse().unwrap());
        }
        connect_async(request).await.map(|(socket, _)| Client { socket })
    }

    fn position(&self, view: &str) -> String {
        let views = self.domcast.hub().views();
        views.iter().find(|info| &*info.name == view).unwrap().position.to_string()
    }
}

fn simplified((status, _, body): (u16, String, String)) -> (u16, Value) {
    let mut body: Value = serde_json::from_str(&body).unwrap();
    if let Some(answer) = body.as_object_mut() {
        answer.remove("epoch");
        if let Some(error) = answer.get("error") {
            return (status, error.clone());
        }
    }
    (status, body)
}

struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    async fn say(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        loop {
            match self.socket.next().await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn close_code(&mut self) -> (u16, String) {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return (frame.code.into(), frame.reason.to_string()),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_push_reaches_who_looks_on_as_a_patch() {
    let server = start(open()).await;
    let mut client = server.connect().await;
    let position = server.position("counter");
    client.say(json!(["hello", 1, [["counter", position]]])).await;
    assert_eq!(client.hear().await, json!(["mounted", "counter", 0, position]));
    let answer = server.push(r#"{"view": "counter", "handler": "add", "payload": {"by": 7}}"#, &[]).await;
    assert_eq!(answer, (200, json!({"version": 1, "subscribers": 1})));
    assert_eq!(client.hear().await, json!(["p", 0, 1, [["t", 2, "7"]]]));
}

#[tokio::test]
async fn an_event_is_answered_after_what_it_changed() {
    let server = start(open()).await;
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, [["counter", server.position("counter")]]])).await;
    client.hear().await;
    client.say(json!(["event", 1, 0, "increment", {}])).await;
    assert_eq!(client.hear().await, json!(["p", 0, 1, [["t", 2, "1"]]]));
    assert_eq!(client.hear().await, json!(["ack", 1]));
    client.say(json!(["ping"])).await;
    assert_eq!(client.hear().await, json!(["pong"]));
}

#[tokio::test]
async fn browsers_reach_only_handlers_declared_for_them_and_learn_no_secrets() {
    let server = start(open()).await;
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, [["counter", null]]])).await;
    client.hear().await;
    client.hear().await;
    for (n, handler) in ["add", "handle_tick", "mount", "nothing"].into_iter().enumerate() {
        client.say(json!(["event", n, 0, handler, {"by": 1}])).await;
        assert_eq!(client.hear().await, json!(["refused", n, "there is no such handler"]), "{handler}");
    }
    client.say(json!(["event", 9, 0, "fail", {}])).await;
    assert_eq!(client.hear().await, json!(["refused", 9, "the event could not be handled"]));
}

#[tokio::test]
async fn in_development_a_refusal_says_why() {
    let server = start_with(open(), Options { development: true, ..Options::default() }).await;
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, [["counter", null]]])).await;
    client.hear().await;
    client.hear().await;
    client.say(json!(["event", 1, 0, "fail", {}])).await;
    let text = "handler `fail` of view `counter` failed: the password is hunter2";
    assert_eq!(client.hear().await, json!(["refused", 1, text]));
}

#[tokio::test]
async fn a_view_ticks_while_somebody_looks_on() {
    let server = start(open()).await;
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, [["ticker", server.position("ticker")]]])).await;
    client.hear().await;
    assert_eq!(client.hear().await, json!(["p", 2, 1, [["t", 2, "1"]]]));
    assert_eq!(client.hear().await, json!(["p", 2, 2, [["t", 2, "2"]]]));
}

#[tokio::test]
async fn posted_html_is_diffed() {
    let server = start(open()).await;
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, [["panel", server.position("panel")]]])).await;
    client.hear().await;
    let answer = server.request("PUT /views/panel/html", &["Content-Type: text/html"], "<p>hot</p>").await;
    assert_eq!(simplified(answer), (200, json!({"version": 1, "subscribers": 1})));
    assert_eq!(client.hear().await, json!(["p", 1, 1, [["t", 2, "hot"]]]));
    let (_, _, html) = server.get("/views/panel/html").await;
    assert!(html.ends_with("\"><p>hot</p></div>"), "{html}");
}

#[tokio::test]
async fn bad_pushes_get_clear_errors_and_change_nothing() {
    let server = start(open()).await;
    let cases = [
        (r#"{"view": "x", "state": {}}"#, 404, "there is no view `x` (views: `counter`, `panel`, `ticker`)"),
        (
            r#"{"view": "counter", "state": {"cont": 1}}"#,
            422,
            "view `counter` has no state key `cont` (declared: `count`)",
        ),
        (
            r#"{"view": "counter", "state": {"count": "x"}}"#,
            422,
            "state key `count` of view `counter` does not take this value: invalid type: string \"x\", expected i64",
        ),
        (
            r#"{"view": "counter", "handler": "ad", "payload": {}}"#,
            422,
            "view `counter` has no handler `ad` (declared: `add`, `fail`, `increment`)",
        ),
        (
            r#"{"view": "counter", "handler": "add", "payload": {}}"#,
            422,
            "handler `add` of view `counter` does not take this payload: missing field `by`",
        ),
        (
            r#"{"view": "counter", "handler": "fail"}"#,
            422,
            "handler `fail` of view `counter` failed: the password is hunter2",
        ),
        (r#"{"view": "counter", "html": "x"}"#, 422, "view `counter` is rendered from a template and takes no HTML"),
        (r#"{"view": "panel", "state": {}}"#, 422, "view `panel` is posted as HTML and takes no state"),
        ("{\"view\":\n \"counter\",}", 400, "the body is no push: trailing comma at line 2 column 12"),
        (
            r#"{"view": "counter", "state": {}, "html": ""}"#,
            400,
            "the body is no push: a push has `state`, or `handler` and `payload`, or `html`; found `state` and `html`",
        ),
        (
            r#"{"view": "counter", "sate": {}}"#,
            400,
            "the body is no push: unknown field `sate`, expected one of `view`, `state`, `handler`, `payload`, `html` at line 1 column 26",
        ),
    ];
    for (body, status, error) in cases {
        assert_eq!(server.push(body, &[]).await, (status, json!(error)), "{body}");
    }
    assert!(server.position("counter").ends_with(":0"));
}

#[tokio::test]
async fn a_push_must_be_json_of_a_bounded_size() {
    let server = start(Config { limits: Limits { push_bytes: 100, ..Limits::default() }, ..open() }).await;
    let push = r#"{"view": "counter", "state": {"count": 1}}"#;
    let answer = server.request("POST /push", &["Content-Type: text/plain"], push).await;
    let error = "a push has the content type `application/json`, found `text/plain`";
    assert_eq!(simplified(answer), (415, json!(error)));
    let answer = server.request("POST /push", &["Content-Type: application/json; charset=utf-8"], push).await;
    assert_eq!(simplified(answer).0, 200);

    let error = "push of 101 bytes exceeds the limit of 100";
    assert_eq!(server.push(&" ".repeat(101), &[]).await, (413, json!(error)));
    let head = format!("POST /push HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", server.address);
    let chunked = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = format!("65\r\n{}\r\n0\r\n\r\n", " ".repeat(101));
    let error = "push of more than 100 bytes exceeds the limit of 100";
    assert_eq!(simplified(server.send(format!("{head}{chunked}{body}")).await), (413, json!(error)));
}

#[tokio::test]
async fn a_configured_token_must_be_shown() {
    let server = start(Config { push: PushAccess::Token("s3cret".into()), ..Config::default() }).await;
    let push = r#"{"view": "counter", "state": {"count": 1}}"#;
    let missing = json!("a push needs the header `Authorization: Bearer` with the push token");
    assert_eq!(server.push(push, &[]).await, (401, missing.clone()));
    assert_eq!(simplified(server.request("PUT /views/panel/html", &[], "x").await), (401, missing));
    for wrong in ["Bearer s3cre", "Bearer s3cret2", "Bearer ", "s3cret", "Basic s3cret"] {
        let answer = server.push(push, &[&format!("Authorization: {wrong}")]).await;
        assert_eq!(answer, (401, json!("this is not the push token")), "{wrong}");
    }
    assert_eq!(server.push(push, &["Authorization: Bearer s3cret"]).await.0, 200);
}

#[tokio::test]
async fn pushing_over_http_is_off_until_it_is_configured() {
    let server = start(Config::default()).await;
    let error = "pushing over HTTP is off: no push token is configured";
    assert_eq!(server.push(r#"{"view": "counter", "state": {}}"#, &[]).await, (401, json!(error)));
}

#[tokio::test]
async fn other_origins_neither_connect_nor_push() {
    let server = start(Config { allowed_origins: vec!["https://friend.net".into()], ..open() }).await;
    let own = format!("http://{}", server.address);
    for origin in [own.as_str(), "https://friend.net"] {
        assert!(server.connect_from(Some(origin)).await.is_ok(), "{origin}");
    }
    for origin in ["https://evil.net", "null", "http://127.0.0.1"] {
        match server.connect_from(Some(origin)).await {
            Err(tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 403, "{origin}"),
            _ => panic!("{origin} connected"),
        }
        let header = format!("Origin: {origin}");
        let answer = server.push(r#"{"view": "counter", "state": {}}"#, &[&header]).await;
        assert_eq!(answer, (403, json!("pages of this origin may not push")));
    }
}

#[tokio::test]
async fn bad_frames_close_the_connection_with_a_code_that_says_why() {
    let server = start(open()).await;
    let cases = [
        ("[", 4400, "malformed frame: no JSON array: EOF while parsing a list at line 1 column 1"),
        ("{}", 4400, "malformed frame: no JSON array: invalid type: map, expected a sequence at line 1 column 0"),
        (r#"["shout"]"#, 4400, "malformed frame: it is none of `hello`, `event`, `resync`, `ping`"),
        (r#"["event", 1, 0, "increment", {}]"#, 4400, "malformed frame: `hello` comes first"),
        (
            r#"["hello", 1, [["counter"]]]"#,
            4400,
            r#"malformed frame: it is not of the form `["hello", 1, [[view, position], ...]]`"#,
        ),
        (r#"["hello", 2, {}]"#, 4426, "protocol version 2 is not spoken here, 1 is"),
    ];
    for (frame, code, reason) in cases {
        let mut client = server.connect().await;
        client.socket.send(Message::text(frame)).await.unwrap();
        assert_eq!(client.close_code().await, (code, reason.to_owned()), "{frame}");
    }
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, []])).await;
    client.say(json!(["event", 1, 7, "increment", {}])).await;
    assert_eq!(client.close_code().await, (4400, "malformed frame: document 7 is not mounted".into()));
    let mut client = server.connect().await;
    client.socket.send(Message::binary(vec![0])).await.unwrap();
    assert_eq!(client.close_code().await, (4400, "malformed frame: it is binary".into()));
}

#[tokio::test]
async fn a_frame_that_is_too_large_closes_with_1009() {
    let server = start(open()).await;
    let mut client = server.connect().await;
    client.socket.send(Message::text("x".repeat(65537))).await.unwrap();
    assert_eq!(client.close_code().await, (1009, "frame of 65537 bytes exceeds the limit of 65536".into()));
}

#[tokio::test]
async fn silence_closes_with_4408() {
    let short = Duration::from_millis(20);
    let limits = Limits { hello: short, idle: short, ..Limits::default() };
    let server = start(Config { limits, ..open() }).await;
    assert_eq!(server.connect().await.close_code().await, (4408, "no hello in time".into()));
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, []])).await;
    assert_eq!(client.close_code().await, (4408, "no heartbeat in time".into()));
}

#[tokio::test]
async fn a_page_holds_its_views_and_the_client() {
    let server = start(open()).await;
    let (status, head, page) = server.get("/").await;
    assert_eq!(status, 200);
    assert!(head.contains("cache-control: no-cache"), "{head}");
    let position = server.position("counter");
    let script = server.domcast.script_tag();
    assert!(page.starts_with(&format!("<h1>Tea &amp; milk</h1>{script}<div dc-view=\"counter\" dc-at=\"{position}\"")));
    assert!(page.ends_with("><b>0</b></div>"), "{page}");

    let (_, _, page) = server.get("/views/counter").await;
    assert!(page.starts_with("<!doctype html>") && page.contains(&script), "{page}");
    let (status, error) = simplified(server.get("/views/nothing").await);
    assert_eq!((status, error), (404, json!("there is no view `nothing` (views: `counter`, `panel`, `ticker`)")));
}

#[tokio::test]
async fn a_page_may_let_the_scripts_of_a_view_run() {
    let server = start(open()).await;
    let page = server.domcast.render_page("scripts.html", ()).unwrap();
    assert!(page.starts_with("<div dc-scripts=\"run\" dc-view=\"counter\" "), "{page}");
}

#[tokio::test]
async fn a_page_may_hold_pushed_addresses_to_schemes() {
    let server = start(open()).await;
    let page = server.domcast.render_page("schemes.html", ()).unwrap();
    assert!(page.starts_with("<div dc-schemes=\"https mailto\" dc-view=\"counter\" "), "{page}");
    let error = server.domcast.render_page("bad_schemes.html", ()).unwrap_err().to_string();
    assert!(error.contains("`https:` in `schemes` is no scheme"), "{error}");
}

#[tokio::test]
async fn a_page_with_an_unknown_view_says_where() {
    let server = start(open()).await;
    let error = server.domcast.render_page("wrong.html", ()).unwrap_err();
    let text = "invalid operation: there is no view `nothing` (views: `counter`, `panel`, `ticker`), in template `wrong.html` at line 2";
    assert_eq!(error.to_string(), text);
    let answer = server.domcast.page("wrong.html", ());
    assert_eq!(answer.status(), 500);
}

#[tokio::test]
async fn the_client_is_not_sent_twice() {
    let server = start(open()).await;
    let (status, head, body) = server.get("/_domcast/client.js").await;
    assert_eq!((status, body.as_str()), (200, domcast_client::CLIENT_JS));
    assert!(head.contains("content-type: text/javascript; charset=utf-8"), "{head}");
    let entity_tag = format!("\"{}\"", domcast_client::CLIENT_HASH);
    assert!(head.contains(&format!("etag: {entity_tag}")), "{head}");
    let header = format!("If-None-Match: {entity_tag}");
    let (status, _, body) = server.request("GET /_domcast/client.js", &[&header], "").await;
    assert_eq!((status, body.as_str()), (304, ""));
    let tag = server.domcast.script_tag();
    let (status, head, _) = server.get(tag.split('"').nth(1).unwrap()).await;
    assert_eq!(status, 200);
    assert!(head.contains("immutable"), "{head}");
}

#[tokio::test]
async fn the_router_works_nested() {
    let hub = Hub::new(Templates::from_sources([("counter.html", "{{ count }}")]));
    hub.register("counter", Counter { count: 5 }).unwrap();
    let domcast = Domcast::with_config(hub, Config { path: "/live".into(), ..Config::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().nest("/live", domcast.router());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let server = Server { address, domcast };
    assert_eq!(server.get("/live/healthz").await.2, "ok");
    let tag = server.domcast.script_tag();
    assert_eq!(server.get(tag.split('"').nth(1).unwrap()).await.0, 200);
    server.domcast.hub().push(Push::state("counter", [("count", 6)])).await.unwrap();
    assert!(server.get("/live/views/counter/html").await.2.contains(">6<"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_handler_holds_up_neither_pages_nor_other_views() {
    #[derive(Clone, Serialize, Deserialize)]
    struct Slow {}
    /// Handlers wait here until the test lets them go on.
    static GATE: std::sync::Barrier = std::sync::Barrier::new(2);
    impl View for Slow {
        const TEMPLATE: &'static str = "ticker.html";
        fn handlers(handlers: &mut Handlers<Self>) {
            handlers.on("wait", |_: &mut Self, _: Empty| {
                GATE.wait();
                GATE.wait();
                Ok(())
            });
        }
    }
    let server = start(open()).await;
    for name in ["slow", "slower"] {
        server.domcast.hub().register(name, Slow {}).unwrap();
    }
    let push = |name: &str| {
        let (hub, push) = (server.domcast.hub().clone(), Push::handler(name, "wait", json!({})));
        tokio::spawn(async move { hub.push(push).await })
    };
    let slow = push("slow");
    tokio::task::spawn_blocking(|| GATE.wait()).await.unwrap();
    // Its handler runs now.
    assert!(server.get("/views/slow").await.2.contains("<i></i>"));
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, [["slow", null], ["counter", null]]])).await;
    for expected in ["mounted", "snapshot", "mounted", "snapshot"] {
        assert_eq!(client.hear().await[0], expected);
    }
    assert_eq!(server.push(r#"{"view": "counter", "state": {"count": 1}}"#, &[]).await.0, 200);
    assert!(!slow.is_finished());
    tokio::task::spawn_blocking(|| GATE.wait()).await.unwrap();
    slow.await.unwrap().unwrap();
}
