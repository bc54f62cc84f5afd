//! `domcast serve` in front of an application: a real HTTP server that does as a test says.

use super::{ANY_PORT, Server, block, folder, readme, refused, request};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

/// A request that the application got.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Its method and path.
    pub(crate) what: String,
    /// In lower case.
    head: String,
    body: String,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

type Answer = dyn Fn(&Asked) -> (u16, String) + Send + Sync;

/// An application that answers each connection in a thread of its own, as a function says; 0 hangs up without an answer.
pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    answer: Arc<Mutex<Arc<Answer>>>,
}

impl Application {
    pub(crate) fn start(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Application {
        let listener = TcpListener::bind(ANY_PORT).unwrap();
        let address = listener.local_addr().unwrap();
        let answer: Arc<Answer> = Arc::new(answer);
        let (asked, answer) = (Arc::default(), Arc::new(Mutex::new(answer)));
        let application = Application { address, asked, answer };
        let (asked, answer) = (Arc::clone(&application.asked), Arc::clone(&application.answer));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                std::thread::spawn(move || handle(socket, &asked, &answer));
            }
        });
        application
    }

    /// Says how it answers from now on.
    fn answers(&self, answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Arc::new(answer);
    }

    /// Returns what it was asked since it was last looked at.
    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn handle(socket: TcpStream, asked: &Mutex<Vec<Asked>>, answer: &Mutex<Arc<Answer>>) {
    let mut socket = BufReader::new(socket);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if socket.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let what = head.split(" HTTP").next().unwrap().to_owned();
    let mut request = Asked { what, head: head.to_ascii_lowercase(), body: String::new() };
    let n_bytes = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; n_bytes];
    socket.read_exact(&mut body).unwrap();
    request.body = String::from_utf8(body).unwrap();
    asked.lock().unwrap().push(request.clone());
    let answer = Arc::clone(&answer.lock().unwrap());
    let (status, body) = answer(&request);
    if status != 0 {
        let head = format!("HTTP/1.1 {status} As-asked\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        _ = write!(socket.get_mut(), "{head}{body}");
    }
}

/// Serves a folder with these files before an application; `UPSTREAM` in them is its address.
fn serve(name: &str, application: &Application, toml: &str) -> Server {
    let toml = toml.replace("UPSTREAM", &format!("http://{}", application.address));
    let templates = [("templates/n.html", "{{ key }}:{{ n }}"), ("templates/orders.html", "{{ orders|join(',') }}")];
    let dir = folder(name, &[&[("domcast.toml", &*toml)], &templates[..]].concat());
    Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT])
}

/// A page on a WebSocket.
pub(super) struct Page(WebSocket<TcpStream>);

impl Page {
    pub(super) fn open(server: &Server, cookies: &str, views: &Value) -> Page {
        Page::open_at(server.address, cookies, views)
    }

    fn open_at(server: SocketAddr, cookies: &str, views: &Value) -> Page {
        let mut page = Page::connect(server, &[("cookie", cookies)]).unwrap();
        page.say(&json!(["hello", 1, views]));
        page
    }

    fn connect(server: SocketAddr, headers: &[(&'static str, &str)]) -> Option<Page> {
        let mut request = format!("ws://{server}/_domcast/ws").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let socket = TcpStream::connect(server).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        tungstenite::client(request, socket).ok().map(|(socket, _)| Page(socket))
    }

    fn say(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).unwrap();
    }

    /// Returns the next frame; the code that the connection was closed with is one too.
    pub(super) fn hear(&mut self) -> Value {
        loop {
            match self.0.read().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(close) => return json!(["closed", u16::from(close.unwrap().code)]),
                _ => {}
            }
        }
    }

    /// Returns the next frame of a kind.
    fn hear_of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.hear();
            if frame[0] == kind {
                return frame;
            }
            assert_ne!(frame[0], "closed", "{frame}");
        }
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

const GRANTS: &str = r#"
upstream = "UPSTREAM"
identify = "/who"
[[views]]
name = "order"
template = "n.html"
keyed = true
state = { n = 0 }
topic = "order-{key}"
[[views]]
name = "note"
template = "n.html"
state = { n = 0 }
"#;

/// Ann gets the topics; everybody else is nobody.
fn ann(topics: &str, expires: f64) -> impl Fn(&Asked) -> (u16, String) + use<> {
    let answer = format!(r#"{{"user": "ann", "topics": [{topics}], "expires": {expires}}}"#);
    move |asked| match asked.header("cookie") {
        Some(cookies) if asked.what == "GET /who" && cookies.contains("login=ann") => (200, answer.clone()),
        _ => (401, String::new()),
    }
}

const VIEWS: [(&str, Option<&str>); 3] = [("order", Some("1")), ("order", Some("2")), ("note", None)];

fn views() -> Value {
    json!(VIEWS.map(|(view, key)| json!([view, null, key])))
}

fn shows(page: &mut Page) -> Vec<Value> {
    (0..3)
        .map(|_| {
            let frame = loop {
                let frame = page.hear();
                if ["mounted", "unknown"].contains(&frame[0].as_str().unwrap()) {
                    break frame;
                }
            };
            frame[0].clone()
        })
        .collect()
}

#[test]
fn who_a_page_is_for_is_asked_again_before_that_expires_and_what_it_loses_goes_silent() {
    let application = Application::start(ann(r#""order-1", "order-2""#, 1.0));
    let server = serve("grants", &application, GRANTS);
    let mut page = Page::open(&server, "login=ann", &views());
    assert_eq!(shows(&mut page), ["mounted", "mounted", "mounted"]);
    // Confirmed three times, it outlives what it was told first.
    wait_until("it is asked again", || application.asked.lock().unwrap().len() >= 5);
    assert_eq!(server.post(r#"{"view": "order", "key": "1", "state": {"n": 1}}"#).0, 200);
    page.hear_of("p");
    assert!(application.asked().iter().all(|asked| asked.header("cookie") == Some("login=ann")));

    // Nobody that it knows is asked about again.
    let mut nobody = Page::open(&server, "login=bob", &views());
    assert_eq!(shows(&mut nobody), ["unknown", "unknown", "mounted"]);

    application.answers(ann(r#""order-2""#, 1.0));
    let revoked = page.hear_of("revoked");
    assert!(revoked[1].is_u64());
    assert_eq!(server.post(r#"{"view": "order", "key": "1", "state": {"n": 2}}"#).0, 200);
    assert_eq!(server.post(r#"{"view": "order", "key": "2", "state": {"n": 2}}"#).0, 200);
    let shown = page.hear_of("p");
    assert_ne!(shown[1], revoked[1]);
    let n_of_bob = application.asked().iter().filter(|asked| asked.header("cookie") == Some("login=bob")).count();
    assert_eq!(n_of_bob, 1);
}

#[test]
fn a_page_whose_user_cannot_be_confirmed_in_time_comes_back_and_so_does_one_of_another_user() {
    let application = Application::start(ann(r#""order-1""#, 1.0));
    let server = serve("grants-away", &application, GRANTS);
    let mut page = Page::open(&server, "login=ann", &views());
    // What is without a key is there; the orders, whose documents have to be made, follow in their order.
    assert_eq!(shows(&mut page), ["mounted", "mounted", "unknown"]);
    application.answers(|_| (500, String::new()));
    let since = Instant::now();
    page.hear_of_close(4409);
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    // The page comes back, and is nobody else meanwhile.
    assert!(Page::connect(server.address, &[("cookie", "login=ann")]).is_none());
    // Over HTTP, where nobody reads just then, it is the same.
    application.answers(ann(r#""order-1""#, 1.0));
    let hello = json!(["hello", 1, views()]).to_string();
    let (_, opened) = server.request("POST /_domcast/poll", &["Cookie: login=ann"], &hello);
    let name = opened.split('"').nth(3).unwrap().to_owned();
    application.answers(|_| (401, String::new()));
    wait_until("the session ends", || server.request("GET /presence?prefix=note", &[], "").1 == "[]");
    let (_, last) = server.request(&format!("GET /_domcast/poll/{name}"), &["Cookie: login=ann"], "");
    assert!(last.contains(r#"["bye",4409,0,"#) || last.contains(r#"["bye",4410,0,"#), "{last}");

    application.answers(ann(r#""order-1""#, 1.0));
    let mut page = Page::open(&server, "login=ann", &views());
    // Logged out elsewhere.
    application.answers(|_| (401, String::new()));
    page.hear_of_close(4409);
    let lines = server.logged("who it is for is to be asked anew");
    let n_errors = lines.iter().filter(|line| line.contains("did not say who a page is for")).count();
    assert!(n_errors <= 1, "{lines:#?}");
}

impl Page {
    fn hear_of_close(&mut self, code: u16) {
        loop {
            let frame = self.hear();
            if frame[0] == "closed" {
                return assert_eq!(frame[1], code);
            }
        }
    }
}

#[test]
fn a_topic_is_revoked_over_http_and_its_views_go_silent_within_a_second() {
    let application = Application::start(ann(r#""order-1", "order-2""#, 600.0));
    let server = serve("revoke", &application, GRANTS);
    let mut page = Page::open(&server, "login=ann", &views());
    assert_eq!(shows(&mut page), ["mounted", "mounted", "mounted"]);
    let since = Instant::now();
    let answer = server.post(r#"{"revoke": "order-1", "user": "bob"}"#);
    assert_eq!(answer, (200, r#"{"documents":0,"subscribers":0}"#.into()));
    let (code, out, _) = server.push(&["--revoke", "order-1", "--user", "ann"], "");
    assert_eq!((code, &*out), (0, "{\"documents\":0,\"subscribers\":1}\n"));
    assert_eq!(server.post(r#"{"view": "order", "key": "1", "state": {"n": 1}}"#).0, 200);
    assert_eq!(server.post(r#"{"topic": "order-1", "data": 1}"#).1, r#"{"documents":0,"subscribers":0}"#);
    assert_eq!(server.post(r#"{"view": "note", "state": {"n": 1}}"#).0, 200);
    let revoked = page.hear_of("revoked");
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    assert_ne!(page.hear()[1], revoked[1], "of that view there is nothing more");
    // An answer that was on its way when the topic was taken does not count.
    application.answers(|asked| match asked.what.as_str() {
        "GET /who" => {
            std::thread::sleep(Duration::from_millis(300));
            (200, r#"{"user": "ann", "topics": ["order-2"]}"#.into())
        }
        _ => (404, String::new()),
    });
    application.asked();
    std::thread::scope(|scope| {
        let address = server.address;
        let late = scope.spawn(move || Page::open_at(address, "login=ann", &views()));
        wait_until("it is asked", || !application.asked.lock().unwrap().is_empty());
        application.answers(ann("", 600.0));
        assert_eq!(server.post(r#"{"revoke": "order-2"}"#).1, r#"{"documents":0,"subscribers":1}"#);
        assert_eq!(shows(&mut late.join().unwrap()), ["unknown", "unknown", "mounted"]);
    });
    // For who may push alone.
    let foreign = ["Content-Type: application/json", "Origin: https://evil.net"];
    assert_eq!(server.request("POST /push", &foreign, r#"{"revoke": "order-2"}"#).0, 403);
}

const LOADED: &str = r#"
token = "secret"
upstream = "UPSTREAM"
[limits]
push_bytes = 1000
[[views]]
name = "orders"
template = "orders.html"
state = { orders = [] }
load = "/orders.json"
handlers.saved.set = { orders = "orders + [payload]" }
[[views]]
name = "order"
template = "n.html"
keyed = true
state = { n = 0 }
load = "/orders/{key}?as=json"
"#;

fn look(server: &Server, path: &str) -> (u16, String) {
    look_at(server.address, path)
}

fn look_at(server: SocketAddr, path: &str) -> (u16, String) {
    request(server, &format!("GET /views/{path}"), &["Cookie: login=ann"], "")
}

const TOKEN: [&str; 2] = ["Content-Type: application/json", "Authorization: Bearer secret"];

#[test]
fn a_first_state_is_asked_of_the_application_when_a_document_is_made() {
    let application = Application::start(|asked| match asked.what.as_str() {
        "GET /orders.json" => (200, r#"{"orders": ["tea", "milk"]}"#.into()),
        "GET /orders/none?as=json" => (404, String::new()),
        _ => (200, r#"{"n": 7}"#.into()),
    });
    let server = serve("load", &application, LOADED);
    assert_eq!(application.asked().len(), 0, "nobody looks yet");
    assert!(look(&server, "orders/html").1.contains(">tea,milk<"));
    assert!(look(&server, "order/html?key=42").1.contains(">42:7<"));
    let (status, none) = look(&server, "order/html?key=none");
    assert!(status == 422 && none.contains("has no document of this key"), "{status} {none}");
    // Once each, with the token, and without what says who looks: all get the same.
    let asked = application.asked();
    assert_eq!(
        asked.iter().map(|asked| &*asked.what).collect::<Vec<_>>(),
        ["GET /orders.json", "GET /orders/42?as=json", "GET /orders/none?as=json"]
    );
    for asked in asked {
        assert_eq!((asked.header("authorization"), asked.header("cookie")), (Some("bearer secret"), None));
    }
    assert!(look(&server, "orders/html").1.contains(">tea,milk<"));
    assert_eq!(application.asked().len(), 0);
    // Pushes go on from there.
    assert_eq!(
        server.request("POST /push", &TOKEN, r#"{"view": "orders", "handler": "saved", "payload": "salt"}"#).0,
        200
    );
    assert!(look(&server, "orders/html").1.contains(">tea,milk,salt<"));
    // A page that connects first has it made as well.
    let mut page = Page::open(&server, "", &json!([["order", null, "43"]]));
    assert!(page.hear_of("snapshot").to_string().contains("43:7"));
    application.asked();
    // A key stays one part of the path.
    for (key, path) in [("a%26b%3Fc", "a%26b%3Fc"), ("a..b", "a%2E%2Eb"), ("%C3%A4%20%25", "%C3%A4%20%25")] {
        assert_eq!(look(&server, &format!("order/html?key={key}")).0, 200);
        assert_eq!(application.asked()[0].what, format!("GET /orders/{path}?as=json"));
    }
}

/// Servers on the way, and applications that get their path decoded, may take such a key for several parts of a path, or for a step up.
const OTHER_PATHS: [&str; 8] = ["..", ".", "..;a", "../../admin", "a/..", "a/b", "a\\b", "..\\admin"];

#[test]
fn a_key_that_could_be_another_path_is_never_asked_of_the_application() {
    let application = Application::start(|asked| match asked.what.as_str() {
        "GET /who" => (200, r#"{"user": "ann"}"#.into()),
        _ => (200, r#"{"n": 7}"#.into()),
    });
    let server = serve("load-key", &application, LOADED);
    for key in OTHER_PATHS {
        let (status, body) = look(&server, &format!("order/html?key={}", key.replace('/', "%2F")));
        assert!(status == 422 && body.contains("has no document of this key"), "{key}: {status} {body}");
    }
    assert_eq!(application.asked().len(), 0);
    let server = serve("forward-key", &application, FORWARDED);
    let keys: Vec<_> = OTHER_PATHS.iter().map(|key| json!(["order", null, key])).collect();
    let (mut page, documents) = open(&server, &keys.into());
    application.asked();
    for (n, document) in (1..).zip(&documents) {
        let frames = save(&mut page, n, document, "tea");
        assert!(frames.last().unwrap()[2].as_str().unwrap().contains("has a key that no path has"), "{frames:?}");
    }
    assert_eq!(application.asked().len(), 0);
}

#[test]
fn a_document_that_the_application_does_not_give_keeps_no_other_from_being_loaded() {
    let application = Application::start(|asked| match asked.what.as_str() {
        "GET /orders/large?as=json" => (200, " ".repeat(2000)),
        "GET /orders/hangs-up?as=json" => (0, String::new()),
        _ => (200, r#"{"n": 7}"#.into()),
    });
    let server = serve("load-one", &application, LOADED);
    for (n, key) in ["large", "hangs-up"].into_iter().enumerate() {
        // It rests itself.
        for n_asked in [1, 0] {
            assert_eq!(look(&server, &format!("order/html?key={key}")).0, 503, "{key}");
            assert_eq!(application.asked().len(), n_asked);
        }
        assert_eq!(look(&server, &format!("order/html?key={n}")).0, 200, "{key}");
        application.asked();
    }
}

#[test]
fn however_many_wait_for_documents_of_a_view_those_of_another_are_loaded() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(released);
    let application = Application::start(move |asked| {
        if asked.what != "GET /orders.json" {
            // Until the test lets go of the other end.
            _ = released.lock().unwrap().recv_timeout(Duration::from_secs(4));
            return (200, r#"{"n": 7}"#.into());
        }
        (200, r#"{"orders": ["tea"]}"#.into())
    });
    let server = serve("load-room", &application, LOADED);
    let address = server.address;
    std::thread::scope(|scope| {
        let looking: Vec<_> =
            (0..70).map(|n| scope.spawn(move || look_at(address, &format!("order/html?key={n}")).0)).collect();
        wait_until("it is asked", || application.asked.lock().unwrap().len() >= 32);
        assert_eq!(look(&server, "orders/html").0, 200);
        drop(release);
        // Those that there was no room for were asked about once there was.
        assert!(looking.into_iter().all(|looking| looking.join().unwrap() == 200));
    });
}

#[test]
fn the_application_is_asked_once_for_what_many_look_at() {
    let application = Application::start(|_| {
        std::thread::sleep(Duration::from_millis(500));
        (200, r#"{"orders": ["tea"]}"#.into())
    });
    let server = serve("load-once", &application, LOADED);
    let address = server.address;
    std::thread::scope(|scope| {
        let looking: Vec<_> = (0..40).map(|_| scope.spawn(move || look_at(address, "orders/html"))).collect();
        for looking in looking {
            let (status, body) = looking.join().unwrap();
            assert!(status == 200 && body.contains(">tea<"), "{status} {body}");
        }
    });
    assert_eq!(application.asked().len(), 1);
}

#[test]
fn who_looks_is_told_that_the_application_has_no_state_and_it_is_asked_again() {
    let application = Application::start(|_| (500, String::new()));
    let server = serve("load-away", &application, LOADED);
    let error = |answer: &str| {
        let (status, body) = look(&server, "orders/html");
        assert_eq!(status, 503, "{body}");
        assert!(body.contains(answer), "{body}");
    };
    error("`/orders.json`: it answered 500");
    application.answers(|_| (200, "no JSON".into()));
    error("its answer is no JSON object: expected ident at line 1");
    application.answers(|_| (302, String::new()));
    error("it answered 302");
    application.answers(|_| (200, json!({"orders": ["x".repeat(2000)]}).to_string()));
    error("is larger than 1000 bytes");
    std::thread::sleep(Duration::from_millis(1100));
    application.answers(|_| (200, r#"{"orders": 3}"#.into()));
    let (status, body) = look(&server, "orders/html");
    assert!(status == 422 && body.contains("found a number, expected a list"), "{status} {body}");
    application.answers(|_| (0, String::new()));
    error("`/orders.json`: ");
    // While it rests nobody waits for it, and a page is mounted once it is back.
    application.asked();
    error("`/orders.json`: ");
    assert_eq!(application.asked().len(), 0);
    let mut page = Page::open(&server, "", &json!([["orders", null]]));
    application.answers(|_| (200, r#"{"orders": ["tea"]}"#.into()));
    assert_eq!(page.hear()[0], "mounted");
    assert!(page.hear_of("snapshot").to_string().contains("tea"));
    // Outside of development it is not said why, and a key that there is not is one that is not for everybody.
    application.answers(|_| (404, String::new()));
    let closed = serve("load-closed", &application, &format!("development = false\n{LOADED}"));
    assert_eq!(look(&closed, "orders/html"), (503, r#"{"error":"the application does not answer"}"#.into()));
    assert_eq!(look(&closed, "order/html?key=1").0, 404);
    // The log tells each trouble once.
    let lines = {
        server.request("POST /push", &TOKEN, r#"{"view": "none", "state": {}}"#);
        server.logged("there is no view `none`")
    };
    let troubles: Vec<_> = lines.iter().filter(|line| line.contains("has no state for `orders`")).collect();
    assert_eq!(troubles.len(), 5, "{lines:#?}");
}

const FORWARDED: &str = r#"
token = "secret"
upstream = "UPSTREAM"
identify = "/who"
[limits]
push_bytes = 2000
[[views]]
name = "orders"
template = "orders.html"
state = { orders = [] }
handlers.save.forward = "/orders/save"
handlers.add = { push_only = true, set = { orders = "orders + [payload.what]" } }
handlers.clear.set = { orders = "[]" }
[[views]]
name = "order"
template = "n.html"
keyed = true
state = { n = 0 }
handlers.save.forward = "/orders/{key}/save"
[[views]]
name = "panel"
handlers.save.forward = "/panel"
"#;

/// As the forms of an application do: a title is needed; `then` says what is saved.
fn saves(asked: &Asked) -> (u16, String) {
    if asked.what == "GET /who" {
        return (200, r#"{"user": "ann", "session": "s1"}"#.into());
    }
    let sent = asked.json();
    match sent["payload"]["what"].as_str() {
        Some("") | None => (422, r#"{"errors": {"what": ["This field is required."]}}"#.into()),
        Some("forbidden") => (403, String::new()),
        Some("large") => (200, json!({"reply": "x".repeat(3000)}).to_string()),
        Some("nothing") => (204, String::new()),
        Some("broken") => (500, "a secret of the application".into()),
        Some("other") => (200, r#"{"view": "order", "state": {}}"#.into()),
        Some("unfit") => (200, r#"{"state": {"orders": 3}}"#.into()),
        Some("html") => (200, r#"{"html": "<b>saved</b>"}"#.into()),
        Some(what) => (200, json!({"handler": "add", "payload": {"what": what}, "reply": {"id": 1}}).to_string()),
    }
}

/// Opens a page of views; returns it and the numbers of their documents.
fn open(server: &Server, views: &Value) -> (Page, Vec<Value>) {
    let mut page = Page::open(server, "login=ann; other=1", views);
    let n_views = views.as_array().unwrap().len();
    // Only those of one view come in the order of `hello`.
    let mut mounted: Vec<Value> = (0..n_views).map(|_| page.hear_of("mounted")).collect();
    mounted.sort_by_key(|frame| views.as_array().unwrap().iter().position(|view| view[0] == frame[1]));
    (page, mounted.into_iter().map(|frame| frame[2].clone()).collect())
}

/// Calls `save`; returns all frames up to the answer.
fn save(page: &mut Page, n: u32, document: &Value, what: &str) -> Vec<Value> {
    page.say(&json!(["event", n, document, "save", {"what": what}]));
    let mut frames = Vec::new();
    loop {
        let frame = page.hear();
        let is_answer = frame[1] == n && (frame[0] == "ack" || frame[0] == "refused");
        if frame[0] != "snapshot" {
            frames.push(frame);
        }
        if is_answer {
            return frames;
        }
    }
}

#[test]
fn an_event_goes_to_the_application_with_the_cookies_and_what_it_answers_is_shown() {
    let application = Application::start(saves);
    let server = serve("forward", &application, FORWARDED);
    let (mut page, documents) = open(&server, &json!([["orders", null], ["order", null, "a&b"], ["panel", null]]));
    let (mut other, _) = open(&server, &json!([["orders", null]]));
    application.asked();
    let frames = save(&mut page, 1, &documents[0], "tea");
    assert_eq!((frames[0][0].as_str(), &frames[1]), (Some("p"), &json!(["ack", 1, {"id": 1}])));
    other.hear_of("p");
    let asked = application.asked();
    assert_eq!((asked.len(), &*asked[0].what), (1, "POST /orders/save"));
    assert_eq!(asked[0].header("cookie"), Some("login=ann; other=1"));
    assert_eq!(asked[0].header("authorization"), Some("bearer secret"));
    assert_eq!(asked[0].header("content-type"), Some("application/json"));
    let mut sent = asked[0].json();
    assert!(sent.as_object_mut().unwrap().remove("tab").unwrap().as_str().unwrap().contains('-'));
    let expected = json!({"view": "orders", "key": null, "handler": "save", "payload": {"what": "tea"},
        "user": "ann", "session": "s1"});
    assert_eq!(sent, expected);

    // What is wrong with a form is for the page that sent it.
    let frames = save(&mut page, 2, &documents[0], "");
    assert_eq!(frames.len(), 1, "{frames:?}");
    assert_eq!((&frames[0][0], &frames[0][4]), (&json!("refused"), &json!({"what": ["This field is required."]})));
    assert_eq!(save(&mut page, 3, &documents[0], "nothing"), [json!(["ack", 3])]);
    // The same number is the same event.
    application.asked();
    page.say(&json!(["event", 3, documents[0], "save", {"what": "nothing"}]));
    // Other documents: a key in a path, and posted HTML.
    save(&mut page, 4, &documents[1], "nothing");
    assert_eq!(save(&mut page, 5, &documents[2], "html")[0][0], "p");
    let asked: Vec<String> = application.asked().into_iter().map(|asked| asked.what).collect();
    assert_eq!(asked, ["POST /orders/a%26b/save", "POST /panel"]);
    // Only pages are forwarded.
    let push = r#"{"view": "orders", "handler": "save", "payload": {}}"#;
    assert_eq!(server.request("POST /push", &TOKEN, push).0, 422);
    // Whom its origin forbids cannot even connect.
    assert!(Page::connect(server.address, &[("origin", "https://evil.net"), ("cookie", "login=ann")]).is_none());
    assert_eq!(application.asked().len(), 0);
    assert!(look(&server, "orders/html").1.contains(">tea<"));
}

#[test]
fn events_of_a_page_keep_their_order_though_the_application_is_slow_and_others_do_not_wait() {
    let (other_came, comes) = mpsc::channel();
    let comes = Mutex::new(comes);
    // It is slow until the other page's event comes, which would be never if that one waited.
    let application = Application::start(move |asked| {
        if asked.what == "POST /orders/save" {
            match asked.json()["payload"]["what"].as_str() {
                Some("slow") if comes.lock().unwrap().recv_timeout(Duration::from_secs(8)).is_err() => {
                    return (500, String::new());
                }
                Some("fast") => _ = other_came.send(()),
                _ => {}
            }
        }
        saves(asked)
    });
    let server = serve("forward-order", &application, FORWARDED);
    let (mut page, documents) = open(&server, &json!([["orders", null]]));
    let (mut other, others) = open(&server, &json!([["orders", null]]));
    for (n, handler, what) in
        [(1, "clear", ""), (2, "save", "slow"), (3, "save", "milk"), (4, "clear", ""), (5, "save", "end")]
    {
        page.say(&json!(["event", n, documents[0], handler, {"what": what}]));
    }
    save(&mut other, 1, &others[0], "fast");
    let answered: Vec<Value> = (0..5).map(|_| page.hear_of("ack")[1].clone()).collect();
    assert_eq!(answered, [1, 2, 3, 4, 5]);
    assert!(look(&server, "orders/html").1.contains(">end<"));
    let saved: Vec<Value> = application
        .asked()
        .iter()
        .filter(|asked| asked.what == "POST /orders/save" && asked.json()["payload"]["what"] != "fast")
        .map(|asked| asked.json()["payload"]["what"].clone())
        .collect();
    assert_eq!(saved, ["slow", "milk", "end"]);
}

#[test]
fn an_application_that_fails_an_event_is_told_to_its_sender_and_changes_nothing() {
    let application = Application::start(saves);
    let server = serve("forward-away", &application, &format!("development = false\n{FORWARDED}"));
    let (mut page, documents) = open(&server, &json!([["orders", null]]));
    let cases = [
        ("forbidden", "the event could not be handled", "the application answered 403"),
        ("broken", "the application does not answer", "`/orders/save`: it answered 500"),
        ("large", "the application does not answer", "is larger than 2000 bytes"),
        ("other", "the event could not be handled", "the application's answer has `view`"),
        ("unfit", "the event could not be handled", "found a number, expected a list"),
    ];
    for (n, (what, told, logged)) in (1..).zip(cases) {
        let frames = save(&mut page, n, &documents[0], what);
        assert_eq!((frames.len(), &frames[0][0], &frames[0][2]), (1, &json!("refused"), &json!(told)), "{what}");
        server.logged(logged);
    }
    application.answers(|_| (0, String::new()));
    let frames = save(&mut page, 6, &documents[0], "tea");
    assert_eq!(frames[0][2], "the application does not answer");
    // One that hangs is given up, and not asked again.
    application.asked();
    application.answers(|_| {
        std::thread::sleep(Duration::from_secs(30));
        (204, String::new())
    });
    let since = Instant::now();
    for n in 7..37 {
        page.say(&json!(["event", n, documents[0], "save", {"what": "tea"}]));
    }
    for _ in 7..37 {
        assert_eq!(page.hear_of("refused")[2], "the application does not answer");
    }
    // Each of those behind it would wait as long; what waited so long already is not sent any more.
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    assert!((1..=2).contains(&application.asked().len()));
    application.answers(saves);
    assert_eq!(save(&mut page, 37, &documents[0], "tea").last().unwrap()[0], "ack");
    assert!(look(&server, "orders/html").1.contains(">tea<"));
}

#[test]
fn an_event_is_answered_within_ten_seconds_whatever_it_waited_for() {
    let application = Application::start(|asked| {
        if asked.what != "GET /who" {
            std::thread::sleep(Duration::from_secs(6));
        }
        (204, String::new())
    });
    let server = serve("forward-deadline", &application, FORWARDED);
    let (mut page, documents) = open(&server, &json!([["orders", null]]));
    let since = Instant::now();
    for n in [1, 2] {
        page.say(&json!(["event", n, documents[0], "save", {"what": "tea"}]));
    }
    assert_eq!(page.hear_of("ack"), json!(["ack", 1]));
    let second = page.hear();
    assert_eq!((&second[0], &second[1]), (&json!("refused"), &json!(2)));
    assert!((6..12).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
}

#[test]
fn an_application_that_hangs_when_it_is_asked_who_a_page_is_for_is_given_up_soon() {
    let application = Application::start(|_| {
        std::thread::sleep(Duration::from_secs(12));
        (401, String::new())
    });
    let server = serve("grants-hang", &application, GRANTS);
    assert!(Page::connect(server.address, &[("cookie", "login=ann")]).is_none());
}

#[test]
fn what_is_for_the_application_is_checked_at_start() {
    let view = "[[views]]\nname = 'o'\ntemplate = 'list.html'\n";
    let up = "upstream = 'http://127.0.0.1:1'\n";
    let cases = [
        (format!("{view}load = '/o.json'"), "line 4: `load` asks the upstream, and there is none"),
        (format!("{view}handlers.a.forward = '/a'"), "line 4: `forward` is for the upstream, and there is none"),
        (
            format!("{up}{view}handlers.a.forward = '/a'"),
            "line 5: `forward` is for the upstream, which needs a `token`: without it it changes things for users, and would not know our requests from those of any page",
        ),
        (
            format!("{up}{view}load = 'o.json'"),
            "line 5: `load` is `o.json`, expected a path such as `/load`, without `{key}`",
        ),
        (
            format!("{up}{view}load = '/{{key}}'"),
            "line 5: `load` is `/{key}`, expected a path such as `/load`, without `{key}`",
        ),
        (
            format!("{up}{view}keyed = true\nload = '/o'"),
            "line 6: `load` is `/o`, expected a path such as `/load/{key}`",
        ),
        (
            format!("{view}handlers.a = {{ forward = '/a', reply = '1' }}"),
            "line 4: handler `a` has `forward`, so the application handles it: expected nothing else",
        ),
        (
            "[[views]]\nname = 'o'\nload = '/o'".into(),
            "line 2: view `o` has no `template`: `state`, `keyed`, `load`, `tick` and `handlers` that do not `forward` need one",
        ),
        ("identify_for = '1m'".into(), "line 1: `identify_for` is for the answers to `identify`, and there is none"),
        ("identify = '/who'\nidentify_for = '0s'".into(), "line 2: `identify_for` is no time at all"),
    ];
    for (idx, (toml, message)) in cases.iter().enumerate() {
        let found = refused(&format!("behind-{idx}"), &[("domcast.toml", toml)]);
        assert_eq!(found, format!("domcast: `domcast.toml` {message}\n"));
    }
}

#[test]
fn the_application_of_the_readme_has_the_states_and_handles_the_events() {
    let lines = readme("In front of your application");
    let toml = block(&lines, "toml").replace("http://127.0.0.1:8001", "UPSTREAM");
    let application = Application::start(|asked| match asked.what.as_str() {
        "GET /who" => (200, r#"{"user": "ann", "topics": ["order-42"], "expires": 60}"#.into()),
        "GET /orders/42.json" => (200, r#"{"title": "Milk", "paid": true}"#.into()),
        "POST /orders/42/rename" if asked.json()["payload"]["title"] == "Tea" => {
            (200, r#"{"state": {"title": "Tea"}}"#.into())
        }
        "POST /orders/42/rename" => (422, r#"{"errors": {"title": ["Too long."]}}"#.into()),
        _ => (404, String::new()),
    });
    let mut toml =
        format!("identify = \"/who\"\n{toml}topic = \"order-{{key}}\"\n").replace("order.html", "readme.html");
    toml = toml.replace("UPSTREAM", &format!("http://{}", application.address));
    let dir = folder("readme-behind", &[("domcast.toml", &toml), ("templates/readme.html", "{{ title }}")]);
    let server = Server::start(&["serve", dir.to_str().unwrap(), "--bind", ANY_PORT]);
    let (mut page, documents) = open(&server, &json!([["order", null, "42"]]));
    assert!(page.hear_of("snapshot").to_string().contains("Milk"));
    page.say(&json!(["event", 1, documents[0], "rename", {"title": "Tea"}]));
    assert_eq!((page.hear()[0].as_str(), page.hear()), (Some("p"), json!(["ack", 1])));
    page.say(&json!(["event", 2, documents[0], "rename", {"title": "Tea and so on"}]));
    assert_eq!(page.hear()[4], json!({"title": ["Too long."]}));
    let command = lines.iter().find_map(|line| line.strip_prefix("    domcast push ")).unwrap();
    let args: Vec<&str> = command.split(' ').chain(["--token", "change me"]).collect();
    assert_eq!(server.push(&args, "").1, "{\"documents\":0,\"subscribers\":1}\n");
    assert_eq!(page.hear(), json!(["revoked", documents[0]]));
}
