//! Who is here, and what an application is told of it, on every transport.

use crate::*;
use domcast_axum::{Access, Authorization, Place, PresenceEvent};
use std::any::Any;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::time::timeout;

const TRANSPORTS: [&str; 3] = ["ws", "sse", "poll"];

/// A server that knows its users by a cookie.
async fn start_known(config: Config) -> Server {
    let server = start(config).await;
    server.domcast.identify(|parts| {
        let cookie = parts.headers.get("cookie").and_then(|cookie| cookie.to_str().ok()?.strip_prefix("user="));
        domcast_axum::Client { user: cookie.map(str::to_owned), ..domcast_axum::Client::default() }
    });
    server
}

/// A page on a connection; it never says anything again.
type Silent = Box<dyn Any + Send>;

impl Server {
    /// Connects a page that shows the counter.
    async fn look(&self, transport: &str, user: &str) -> Silent {
        self.say_hello(transport, user, &hello(self)).await
    }

    async fn say_hello(&self, transport: &str, user: &str, hello: &Value) -> Silent {
        let cookie = format!("user={user}");
        if transport == "ws" {
            let mut client = self.connect_with(Some(("cookie", &cookie))).await.unwrap();
            client.say(hello.clone()).await;
            assert_eq!(client.hear().await[0], "mounted");
            return Box::new(client);
        }
        let (hello, address) = (hello.to_string(), self.address);
        let head = format!("POST /_domcast/{transport} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\n");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{hello}", hello.len()).as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains("mounted") {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
        }
        Box::new(stream)
    }
}

#[tokio::test]
async fn a_user_joins_once_over_all_transports_and_leaves_with_the_last() {
    let server = start_known(open()).await;
    let mut events = server.domcast.hub().presence_events();
    let (place, user) = (Place::view("counter"), Some("ann".into()));
    let mut pages = Vec::new();
    for transport in TRANSPORTS {
        pages.push(server.look(transport, "ann").await);
    }
    let (_, _, body) = server.get("/presence?prefix=count").await;
    assert_eq!(body, r#"[{"view":"counter","users":1,"anonymous":0}]"#);
    assert_eq!(events.recv().await.unwrap(), PresenceEvent::Joined { place: place.clone(), user: user.clone() });
    // The socket and the stream end with their processes; nothing was heard of the poll yet.
    pages.clear();
    assert!(events.is_empty());
    server.domcast.drain(Duration::from_secs(5)).await;
    assert_eq!(events.recv().await.unwrap(), PresenceEvent::Left { place, user });
    assert!(events.is_empty());
}

#[tokio::test]
async fn a_killed_client_is_gone_at_once_where_its_socket_ends() {
    let server = start_known(open()).await;
    let mut events = server.domcast.hub().presence_events();
    let page = server.look("ws", "ann").await;
    events.recv().await.unwrap();
    let start = Instant::now();
    drop(page);
    assert!(matches!(events.recv().await.unwrap(), PresenceEvent::Left { .. }));
    assert!(start.elapsed() < server.domcast.config().limits.idle / 4);
}

#[tokio::test]
async fn a_client_that_vanished_is_gone_within_two_heartbeats_on_every_transport() {
    let idle = Duration::from_secs(2);
    let server = start_known(Config { limits: Limits { idle, ..Limits::default() }, ..open() }).await;
    for transport in TRANSPORTS {
        let mut events = server.domcast.hub().presence_events();
        // Its socket stays open, as that of a machine without power does.
        let _page = server.look(transport, "ann").await;
        let start = Instant::now();
        events.recv().await.unwrap();
        assert!(matches!(events.recv().await.unwrap(), PresenceEvent::Left { .. }));
        // Before a third heartbeat is over, and without the time that a goodbye may take.
        assert!(start.elapsed() < idle + idle / 2, "{transport}: {:?}", start.elapsed());
        assert_eq!(server.get("/presence").await.2, "[]");
    }
}

#[tokio::test]
async fn heads_are_counted_for_who_may_push_only() {
    let server = start_known(Config { push: PushAccess::Token("s3cret".into()), ..Config::default() }).await;
    let _page = server.look("ws", "ann").await;
    let ask = async |headers: &[&str]| simplified(server.request("GET /presence", headers, "").await);
    let missing = "a push needs the header `Authorization: Bearer` with the push token";
    assert_eq!(ask(&[]).await, (401, json!(missing)));
    assert_eq!(ask(&["Authorization: Bearer s3cre"]).await, (401, json!("this is not the push token")));
    let foreign = ["Authorization: Bearer s3cret", "Origin: https://evil.example"];
    assert_eq!(ask(&foreign).await, (403, json!("pages of this origin may not push")));
    let expected = json!([{"view": "counter", "users": 1, "anonymous": 0}]);
    assert_eq!(ask(&["Authorization: Bearer s3cret"]).await, (200, expected));
}

#[tokio::test]
async fn joins_and_leaves_may_become_pushes() {
    let server = start_known(open()).await;
    let hub = server.domcast.hub().clone();
    hub.register("who", Counter { count: 0 }).unwrap();
    let mut events = hub.presence_events();
    tokio::spawn(async move {
        while events.recv().await.is_ok() {
            let n_users = hub.presence(&Place::view("counter")).users.len();
            hub.push(Push::state("who", [("count", n_users)])).await.unwrap();
        }
    });
    let mut watcher = server.connect().await;
    watcher.say(json!(["hello", 1, [["who", server.position("who")]]])).await;
    watcher.hear().await;
    let ann = server.look("ws", "ann").await;
    assert_eq!(watcher.hear().await[3], json!([["t", 2, "1"]]));
    drop(ann);
    assert_eq!(watcher.hear().await[3], json!([["t", 2, "0"]]));
}

/// Notes what the hooks of a server are told.
fn note_hooks(server: &Server) -> impl AsyncFnMut() -> String + use<> {
    let (sender, mut notes) = tokio::sync::mpsc::unbounded_channel();
    let note = move |sign: char| {
        let sender = sender.clone();
        move |request: &axum::http::request::Parts, client: &domcast_axum::Client, view: &str, key: Option<&str>| {
            let cookie = request.headers["cookie"].to_str().unwrap();
            let user = client.user.as_deref().unwrap_or("?");
            sender.send(format!("{sign}{view} {} {user} {cookie}", key.unwrap_or("-"))).unwrap();
        }
    };
    server.domcast.on_subscribe(note('+'));
    server.domcast.on_unsubscribe(note('-'));
    async move || timeout(Duration::from_secs(10), notes.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn hooks_see_the_cookies_of_who_subscribes_and_leaves_on_every_transport() {
    let limits = Limits { idle: Duration::from_millis(300), ..Limits::default() };
    let server = start_known(Config { limits, ..open() }).await;
    server.domcast.hub().register_keyed("order", |_| Ok(Counter { count: 0 })).unwrap();
    let mut told = note_hooks(&server);
    for transport in TRANSPORTS {
        let hello = json!(["hello", 1, [["counter", null], ["order", null, "42"], ["missing", null]]]);
        let page = server.say_hello(transport, "ann", &hello).await;
        assert_eq!(told().await, "+counter - ann user=ann", "{transport}");
        assert_eq!(told().await, "+order 42 ann user=ann", "{transport}");
        drop(page);
        assert_eq!(told().await, "-counter - ann user=ann", "{transport}");
        assert_eq!(told().await, "-order 42 ann user=ann", "{transport}");
    }
}

#[tokio::test]
async fn a_hook_hears_of_a_view_that_is_taken_away_and_not_of_one_that_is_denied() {
    let is_allowed = Arc::new(Mutex::new(true));
    let authorization = {
        let is_allowed = Arc::clone(&is_allowed);
        Authorization::new(move |view, _, user| {
            match view == "counter" && user == "ann" && *is_allowed.lock().unwrap() {
                true => Access::Allow(Duration::from_secs(60)),
                false => Access::Deny,
            }
        })
    };
    let server = start_known(Config { authorization: Some(authorization), ..open() }).await;
    let mut told = note_hooks(&server);
    let attribute = server.domcast.token_attribute("counter", None, "ann").unwrap();
    let token = attribute.split('"').nth(1).unwrap();
    let hello = json!(["hello", 1, [["counter", null, null, token], ["panel", null, null, token]]]);
    let _page = server.say_hello("ws", "ann", &hello).await;
    assert_eq!(told().await, "+counter - ann user=ann");
    *is_allowed.lock().unwrap() = false;
    server.domcast.reauthorize("ann");
    assert_eq!(told().await, "-counter - ann user=ann");
    assert_eq!(server.get("/presence").await.2, "[]");
}
