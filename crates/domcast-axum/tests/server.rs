//! A server as its clients see it: requests and frames in, answers and frames out, over a real loopback socket.

#[path = "server/seen.rs"]
mod seen; // metrics, health, the status page
#[path = "server/safe.rs"]
mod safe; // attacks
#[path = "server/here.rs"]
mod here; // presence, hooks

use domcast_axum::{
    Config, DeclaredView, Domcast, Edits, Empty, Handlers, Hub, Limits, MailboxLimits, Options, Push, PushAccess,
    Templates, View,
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
        ("fragile.html", "{{ 1 // divisor }}"),
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
        self.connect_with(origin.map(|origin| ("Origin", origin))).await
    }

    async fn connect_with(&self, header: Option<(&'static str, &str)>) -> Result<Client, tungstenite::Error> {
        let mut request = format!("ws://{}/_domcast/ws", self.address).into_client_request().unwrap();
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value.parse().unwrap());
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
    assert_eq!(client.hear().await, json!(["mounted", "counter", 0, position, 500]));
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
        assert_eq!(
            client.hear().await,
            json!(["refused", n, "there is no such handler", format!("0.{n}")]),
            "{handler}"
        );
    }
    client.say(json!(["event", 9, 0, "fail", {}])).await;
    assert_eq!(client.hear().await, json!(["refused", 9, "the event could not be handled", "0.9"]));
}

#[tokio::test]
async fn a_page_that_was_identified_before_a_topic_was_taken_is_sent_back_to_be_identified_anew() {
    let server = start(Config::default()).await;
    let hub = server.domcast.hub().clone();
    server.domcast.identify(move |_| {
        let n_taken = Some(hub.n_taken());
        hub.unsubscribe(&domcast_push::Audience::default(), "orders");
        domcast_axum::Client { topics: ["orders".into()].into(), n_taken, ..domcast_axum::Client::default() }
    });
    assert_eq!(server.connect().await.close_code().await.0, 4409);
}

#[tokio::test]
async fn a_user_gets_a_private_view_and_messages_and_nobody_else_does() {
    let server = start(open()).await;
    server.domcast.hub().register_private("cart", |_| Ok(Counter { count: 0 })).unwrap();
    // As a layer that reads a cookie would say.
    server.domcast.identify(|parts| {
        let user = parts.headers.get("x-user").map(|user| user.to_str().unwrap().to_owned());
        domcast_axum::Client { user, ..domcast_axum::Client::default() }
    });
    let html = server.request("GET /views/cart/html", &["X-User: ann"], "").await.2;
    let attribute = |name: &str| html.split_once(&format!("{name}=\"")).unwrap().1.split_once('"').unwrap().0;
    let hello = json!(["hello", 1, [["cart", attribute("dc-at"), attribute("dc-view-key")]]]);
    let mut ann = server.connect_with(Some(("x-user", "ann"))).await.unwrap();
    ann.say(hello.clone()).await;
    let mounted = ann.hear().await;
    assert_eq!((&mounted[0], &mounted[3]), (&json!("mounted"), &json!(attribute("dc-at"))));
    let mut eve = server.connect_with(Some(("x-user", "eve"))).await.unwrap();
    eve.say(hello).await;
    assert_eq!(eve.hear().await, json!(["unknown", "cart"]));

    let push = r#"{"view": "cart", "user": "ann", "merge": {"count": 3}}"#;
    assert_eq!(server.push(push, &[]).await, (200, json!({"documents": 1, "subscribers": 1})));
    assert_eq!(ann.hear().await, json!(["p", mounted[2], 1, [["t", 2, "3"]]]));
    let push = r#"{"topic": "news", "user": "ann", "data": {"title": "Tea"}}"#;
    assert_eq!(server.push(push, &[]).await, (200, json!({"documents": 0, "subscribers": 1})));
    assert_eq!(ann.hear().await, json!(["message", "news", {"title": "Tea"}]));
    eve.say(json!(["ping"])).await;
    assert_eq!(eve.hear().await, json!(["pong"]), "eve heard nothing of it");
}

#[tokio::test]
async fn a_push_is_applied_though_its_sender_hangs_up() {
    let server = start(open()).await;
    // The second waits for its turn when its sender goes away.
    server.domcast.hub().push(Push::state("counter", [("count", 1)])).await.unwrap();
    let body = r#"{"view": "counter", "handler": "add", "payload": {"by": 7}}"#;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!("POST /push HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n", server.address);
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    drop(stream);
    let is_applied = async {
        while !server.domcast.hub().html("counter").unwrap().contains("<b>8</b>") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), is_applied).await.expect("the push is applied");
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
    assert_eq!(client.hear().await, json!(["refused", 1, text, "0.1"]));
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
            "the body is no push: a push has `view` and one of `state`, `merge`, `patch`, `html`, `handler` with `payload`; or `topic` and `data`; or `revoke`; found `view` and `state` and `html`",
        ),
        (
            r#"{"view": "counter", "sate": {}}"#,
            400,
            "the body is no push: unknown field `sate`, expected one of `view`, `key`, `state`, `merge`, `patch`, `handler`, `payload`, `html`, `topic`, `data`, `revoke`, `user`, `session`, `tab`, `except` at line 1 column 26",
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
        (r#"["shout"]"#, 4400, "malformed frame: it is none of `hello`, `event`, `resync`, `ping`, `ack`"),
        (r#"["event", 1, 0, "increment", {}]"#, 4400, "malformed frame: `hello` comes first"),
        (
            r#"["hello", 1, [["counter"]]]"#,
            4400,
            r#"malformed frame: it is not of the form `["hello", 1, [[view, position, key, token], ...]]`"#,
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
    // Read below the library, which would answer the pings.
    let MaybeTlsStream::Plain(socket) = client.socket.get_mut() else { panic!("not over TLS") };
    let (mut heard, end) = (Vec::new(), b"no heartbeat in time");
    while !heard.windows(end.len()).any(|found| found == end) {
        assert_ne!(socket.read_buf(&mut heard).await.unwrap(), 0, "{heard:?}");
    }
}

#[tokio::test]
async fn a_client_that_answers_pings_stays() {
    let limits = Limits { idle: Duration::from_millis(40), ..Limits::default() };
    let server = start(Config { limits, ..open() }).await;
    let mut client = server.connect().await;
    client.say(json!(["hello", 1, []])).await;
    for _ in 0..4 {
        assert!(matches!(client.socket.next().await, Some(Ok(Message::Ping(_)))));
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_closed_with_4429() {
    let limits = Limits { write: Duration::from_millis(40), ..Limits::default() };
    let server = start(Config { limits, ..open() }).await;
    let mut client = server.connect().await;
    // It acknowledges, so it is held to that.
    client.say(json!(["hello", 1, [["counter", server.position("counter")]]])).await;
    client.say(json!(["ack", 0])).await;
    client.say(json!(["ping"])).await;
    while client.hear().await != json!(["pong"]) {}
    for n in 1..=64 {
        server.domcast.hub().push(Push::state("counter", [("count", n)])).await.unwrap();
        // The last one waits, because 64 are not acknowledged: the pong and these.
        if n < 64 {
            assert_eq!(client.hear().await[2], n);
        }
    }
    assert_eq!(client.close_code().await, (4429, "nothing was read for 0.04 s".into()));
}

#[tokio::test]
async fn a_client_that_asks_and_reads_no_answer_is_closed_with_4429() {
    let mailbox = MailboxLimits { n_answers: 4, n_unread_frames: 17, ..MailboxLimits::default() };
    let server = start_with(open(), Options { mailbox, ..Options::default() }).await;
    let mut client = server.connect().await;
    client.say(hello(&server)).await;
    client.say(json!(["ack", 0])).await;
    for _ in 0..30 {
        client.say(json!(["ping"])).await;
    }
    let reason = "too many questions, and no answer was read";
    assert_eq!(client.close_code().await, (4429, reason.into()));

    let mut http = server.http("sse", hello(&server)).await;
    http.hear().await;
    let pings = vec![json!(["ping"]).to_string(); 30].join("\n");
    server.request(&format!("POST {}", http.path), &[], &pings).await;
    let mut heard = http.hear().await;
    while heard[0] != "bye" {
        heard = http.hear().await;
    }
    assert_eq!(heard, json!(["bye", 4429, 0, reason]));
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
    assert_eq!((status, error), (404, json!("there is no such view, or it is not for everybody")));
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

/// A session over HTTP: requests on connections of their own, events as they come.
struct Http<'a> {
    server: &'a Server,
    /// `sse` or `poll`, and the session's name once there is one.
    path: String,
    stream: Option<TcpStream>,
    read: String,
    last: u64,
}

impl Server {
    async fn http(&self, transport: &str, hello: Value) -> Http<'_> {
        let path = format!("/_domcast/{transport}");
        let mut http = Http { server: self, path, stream: None, read: String::new(), last: 0 };
        http.ask("POST", &hello.to_string()).await;
        let session = http.hear().await;
        assert_eq!(session[0], "session");
        let name = session[1].as_str().unwrap();
        assert_eq!(name.len(), 32, "{name}");
        http.path = format!("{}/{name}", http.path);
        http
    }
}

impl Http<'_> {
    /// Sends a request whose answer goes on.
    async fn ask(&mut self, method: &str, body: &str) {
        let (path, last, n_bytes, address) = (&self.path, self.last, body.len(), self.server.address);
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
        let request = format!("{head}Last-Event-ID: {last}\r\nContent-Length: {n_bytes}\r\n\r\n{body}");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        (self.stream, self.read) = (Some(stream), String::new());
    }

    /// Returns the next frame of the present answer; `null` at its end.
    async fn hear(&mut self) -> Value {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.read = rest;
                if let Some(id) = event.lines().find_map(|line| line.split_once("id:")) {
                    self.last = id.1.parse().unwrap();
                }
                match event.lines().find_map(|line| line.strip_prefix("data:")) {
                    Some(data) => return serde_json::from_str(data).unwrap(),
                    None => continue,
                }
            }
            let mut bytes = [0; 4096];
            match self.stream.as_mut().unwrap().read(&mut bytes).await.unwrap() {
                0 => return Value::Null,
                n => self.read.push_str(&String::from_utf8_lossy(&bytes[..n])),
            }
        }
    }

    async fn post(&self, frames: &str) -> (u16, String, String) {
        self.server.request(&format!("POST {}", self.path), &[], frames).await
    }
}

fn hello(server: &Server) -> Value {
    json!(["hello", 1, [["counter", server.position("counter")]]])
}

#[tokio::test]
async fn server_sent_events_and_posts_carry_the_same_frames() {
    let server = start(open()).await;
    let mut http = server.http("sse", hello(&server)).await;
    assert_eq!(http.hear().await[0], "mounted");
    let answer = http.post("[\"event\",1,0,\"increment\",{}]\n[\"event\",2,0,\"nothing\",{}]\n").await;
    assert_eq!((answer.0, answer.2), (204, String::new()));
    assert_eq!(http.hear().await, json!(["p", 0, 1, [["t", 2, "1"]]]));
    assert_eq!(http.hear().await, json!(["ack", 1]));
    assert_eq!(http.hear().await, json!(["refused", 2, "there is no such handler", "0.2"]));
    assert_eq!(http.last, 4);
}

#[tokio::test]
async fn last_event_id_brings_what_was_lost_with_a_connection_and_nothing_twice() {
    let server = start(open()).await;
    let mut http = server.http("sse", hello(&server)).await;
    http.hear().await;
    http.post("[\"event\",1,0,\"increment\",{}]").await;
    assert_eq!(http.hear().await[0], "p");
    // The answer to the event was sent, and is lost with the connection.
    http.stream = None;
    server.push(r#"{"view": "counter", "state": {"count": 7}}"#, &[]).await;
    http.ask("GET", "").await;
    assert_eq!(http.hear().await, json!(["ack", 1]));
    assert_eq!(http.hear().await, json!(["p", 0, 2, [["t", 2, "7"]]]));
    // Who says that it has read less than it said before cannot be helped.
    (http.last, http.stream) = (1, None);
    http.ask("GET", "").await;
    assert_eq!(http.hear().await, json!(["bye", 4410, 0, "frame 2 is not kept any more"]));
}

#[tokio::test]
async fn a_post_that_is_repeated_runs_no_event_twice() {
    let server = start_with(open(), Options { render_interval: None, ..Options::default() }).await;
    let mut http = server.http("sse", hello(&server)).await;
    http.hear().await;
    let events = |numbers: &[u64]| {
        let frames = numbers.iter().map(|n| json!(["event", n, 0, "increment", {}]).to_string());
        frames.collect::<Vec<_>>().join("\n")
    };
    // The answers to some of these got lost on the way, or the post did after half of it was taken.
    for numbers in [&[1, 2][..], &[1, 2], &[3], &[3, 4], &[4]] {
        assert_eq!(http.post(&events(numbers)).await.0, 204);
    }
    let mut acks = Vec::new();
    while acks.len() < 4 {
        acks.extend(Some(http.hear().await).filter(|frame| frame[0] == "ack"));
    }
    assert_eq!(acks, [1, 2, 3, 4].map(|n| json!(["ack", n])));
    http.post("[\"ping\"]").await;
    assert_eq!(http.hear().await, json!(["pong"]), "no other is answered");
    assert!(server.get("/views/counter").await.2.contains("<b>4</b>"));
}

#[tokio::test]
async fn a_poll_is_answered_as_soon_as_there_is_something() {
    let server = start(open()).await;
    let mut http = server.http("poll", hello(&server)).await;
    assert_eq!(http.hear().await[0], "mounted");
    assert_eq!(http.hear().await, Value::Null);
    http.ask("GET", "").await;
    for count in [5, 6] {
        let push = Push::state("counter", [("count", count)]);
        assert_eq!(server.domcast.hub().push(push).await.unwrap().subscribers, 1, "it lives between polls");
    }
    let mut heard = Vec::new();
    while heard.last().is_none_or(|frame: &Value| frame[2] != 2) {
        match http.hear().await {
            Value::Null => http.ask("GET", "").await,
            frame => heard.push(frame),
        }
    }
    assert_eq!(heard, [json!(["p", 0, 1, [["t", 2, "5"]]]), json!(["p", 0, 2, [["t", 2, "6"]]])]);
}

#[tokio::test]
async fn a_newer_request_takes_a_session_over() {
    let server = start(open()).await;
    let mut http = server.http("sse", hello(&server)).await;
    http.hear().await;
    let old = http.stream.take();
    http.ask("GET", "").await;
    let mut old = Http { server: &server, path: String::new(), stream: old, read: String::new(), last: 0 };
    assert_eq!(old.hear().await, Value::Null);
    server.push(r#"{"view": "counter", "state": {"count": 7}}"#, &[]).await;
    assert_eq!(http.hear().await[0], "p");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_taken_over_again_and_again_loses_no_frame() {
    // Every push makes a frame at once, so that there is always one under way.
    let server = start_with(open(), Options { render_interval: None, ..Options::default() }).await;
    let mut http = server.http("sse", hello(&server)).await;
    assert_eq!(http.hear().await[0], "mounted");
    let hub = server.domcast.hub().clone();
    let pusher = tokio::spawn(async move {
        for count in 1..=2000 {
            hub.push(Push::state("counter", [("count", count)])).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let mut version = 0;
    while version < 2000 {
        http.ask("GET", "").await;
        for _ in 0..3 {
            let frame = http.hear().await;
            // A reader that falls behind the history gets a snapshot.
            let to = match frame[2].as_str() {
                Some(position) => position.split_once(':').unwrap().1.parse().unwrap(),
                None => {
                    let to = frame[2].as_u64().unwrap();
                    assert_eq!(frame.get(4).map_or(to - 1, |from| from.as_u64().unwrap()), version, "{frame}");
                    to
                }
            };
            version = to;
            if version == 2000 {
                break;
            }
        }
    }
    pusher.await.unwrap();
}

#[tokio::test]
async fn a_session_over_http_ends_when_its_client_is_silent_for_two_heartbeats() {
    let limits = Limits { idle: Duration::from_millis(400), ..Limits::default() };
    let server = start(Config { limits, ..open() }).await;
    let mut http = server.http("sse", hello(&server)).await;
    http.hear().await;
    for n in 0..3 {
        assert_eq!(http.hear().await, json!(["ping"]));
        assert_eq!(http.post("[\"ack\",1]").await.0, 204, "{n}");
    }
    assert_eq!(http.hear().await, json!(["ping"]));
    // Where a post took long there was one more ping meanwhile; each was sent before the next was heard.
    let mut last = http.hear().await;
    for _ in 0..3 {
        if last == json!(["ping"]) {
            last = http.hear().await;
        }
    }
    assert_eq!(last, json!(["bye", 4408, 0, "no heartbeat in time"]));
    assert_eq!(http.hear().await, Value::Null);
    assert_eq!(server.domcast.hub().views()[0].subscribers, 0);
    http.ask("GET", "").await;
    assert_eq!(http.hear().await, json!(["bye", 4410, 0, "there is no such session"]));
}

#[tokio::test]
async fn posts_of_frames_are_checked_and_bounded() {
    let server = start(open()).await;
    let cases = [
        (
            r#"["hello", 2, {}]"#.to_owned(),
            "400",
            json!(["bye", 4426, 0, "protocol version 2 is not spoken here, 1 is"]),
        ),
        (r#"["ping"]"#.into(), "400", json!(["bye", 4400, 0, "malformed frame: `hello` comes first"])),
        ("x".repeat(65537), "413", json!(["bye", 1009, 0, "frame of 65537 bytes exceeds the limit of 65536"])),
    ];
    for (body, status, bye) in cases {
        let (found, _, answer) = server.request("POST /_domcast/sse", &[], &body).await;
        assert_eq!((found.to_string().as_str(), answer), (status, format!("data:{bye}\n\n")));
    }
    let mut http = server.http("sse", hello(&server)).await;
    http.hear().await;
    assert_eq!(http.post("[\"ping\"]\nx").await.0, 400);
    assert_eq!(http.hear().await, json!(["pong"]));
    assert_eq!(http.hear().await[1], 4400);
    for (method, path) in [("POST", "sse"), ("POST", "poll"), ("GET", "sse/x"), ("POST", "sse/x"), ("DELETE", "sse/x")]
    {
        let path = format!("{method} /_domcast/{path}");
        let (status, _, _) = server.request(&path, &["Origin: https://evil.net"], "[\"ping\"]").await;
        assert_eq!(status, 403, "{path}");
    }
}

#[tokio::test]
async fn a_client_over_http_that_reads_nothing_costs_a_bounded_amount_and_is_closed() {
    let limits = Limits { write: Duration::from_millis(40), ..Limits::default() };
    let server = start(Config { limits, ..open() }).await;
    let mut http = server.http("sse", hello(&server)).await;
    http.hear().await;
    for n in 1..=64 {
        server.domcast.hub().push(Push::state("counter", [("count", n)])).await.unwrap();
        if n < 64 {
            assert_eq!(http.hear().await[2], n);
        }
    }
    assert_eq!(http.hear().await, json!(["bye", 4429, 0, "nothing was read for 0.04 s"]));
    assert_eq!(http.last, 64);
}

#[tokio::test]
async fn there_are_no_more_connections_than_there_may_be() {
    let server = start(Config { limits: Limits { n_connections: 1, ..Limits::default() }, ..open() }).await;
    let mut first = server.http("sse", hello(&server)).await;
    first.hear().await;
    let (status, _, body) = server.request("POST /_domcast/sse", &[], &hello(&server).to_string()).await;
    let reason = "the server has as many connections as it may have";
    assert_eq!((status, body), (503, format!("data:[\"bye\",1013,0,\"{reason}\"]\n\n")));
    assert!(server.connect_from(None).await.is_err());
    let deleted = server.request(&format!("DELETE {}", first.path), &[], "").await;
    assert_eq!(deleted.0, 204);
    assert_eq!(first.hear().await, json!(["bye", 1000, 0, "the client closed"]));
    assert_eq!(first.hear().await, Value::Null);
    while server.connect_from(None).await.is_err() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_finishes_what_was_begun_and_spreads_the_return() {
    #[derive(Clone, Serialize, Deserialize)]
    struct Slow {
        n: u64,
    }
    /// Handlers wait here until the test lets them go on.
    static GATE: std::sync::Barrier = std::sync::Barrier::new(2);
    impl View for Slow {
        const TEMPLATE: &'static str = "ticker.html";
        fn handlers(handlers: &mut Handlers<Self>) {
            handlers.on("wait", |view: &mut Self, _: Empty| {
                GATE.wait();
                GATE.wait();
                view.n += 1;
                Ok(())
            });
        }
    }
    let server = start(open()).await;
    server.domcast.hub().register("slow", Slow { n: 0 }).unwrap();
    let hello = json!(["hello", 1, [["slow", server.position("slow")]]]);
    let mut client = server.connect().await;
    client.say(hello.clone()).await;
    client.hear().await;
    let mut http = server.http("sse", hello).await;
    let document = http.hear().await[2].clone();
    client.say(json!(["event", 1, document, "wait", {}])).await;
    tokio::task::spawn_blocking(|| GATE.wait()).await.unwrap();
    let domcast = server.domcast.clone();
    let drain = tokio::spawn(async move { domcast.drain(Duration::from_secs(20)).await });
    assert_eq!(http.hear().await.as_array().unwrap()[..2], [json!("bye"), json!(1012)]);
    tokio::task::spawn_blocking(|| GATE.wait()).await.unwrap();
    assert_eq!(client.hear().await, json!(["p", document, 1, [["t", 2, "1"]]]));
    assert_eq!(client.hear().await, json!(["ack", 1]));
    let bye = client.hear().await;
    assert_eq!((&bye[0], &bye[1]), (&json!("bye"), &json!(1012)));
    // Two clients need not come back one by one.
    assert!(bye[2].as_u64().unwrap() <= 500, "{bye}");
    assert_eq!(client.close_code().await, (1012, "the server restarts".into()));
    drop(client);
    assert_eq!(http.hear().await, Value::Null);
    assert!(drain.await.unwrap(), "all ended in time");
    assert!(server.connect_from(None).await.is_err());
}
