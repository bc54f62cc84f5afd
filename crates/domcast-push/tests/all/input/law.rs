//! What clients and senders may send is anything. The law: each frame and each push is taken or refused with an error that says why; what is refused changes
//! nothing; nobody else's page gets anything but what was changed, in order; nothing is lost, and nothing panics.
//!
//! The fuzz target `input_any` includes this file.

use crate::client::{Page, content, greet, now, unlimited, waiting};
use arbitrary::{Result, Unstructured};
use domcast_push::template::Templates;
use domcast_push::{Client, DeclaredView, Edits, Hub, Options, Push, PushError, Session, View};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const MAX_STEPS: usize = 60;
/// Names that mean something, and some that do not.
const WORDS: [&str; 26] = [
    "counter",
    "order",
    "panel",
    "cart",
    "nothing",
    "add",
    "reset",
    "fail",
    "handle_tick",
    "count",
    "items",
    "key",
    "id",
    "text",
    "by",
    "/items/-",
    "/count",
    "/items/0/text",
    "42",
    "__proto__",
    "",
    "news",
    "ann",
    "bob",
    "epoch:7",
    "<b dc-key=1>ü</b><table><td>",
];
const KINDS: [&str; 9] = ["hello", "event", "resync", "ping", "ack", "p", "bye", "", "HELLO"];
const FIELDS: [&str; 13] = [
    "view", "key", "state", "merge", "patch", "handler", "payload", "html", "topic", "data", "user", "session",
    "except",
];
const POINTERS: [&str; 7] = ["/items/-", "/items/0", "/items/1", "/items/0/text", "/items/0/id", "/count", "/items"];
const OPERATIONS: [&str; 7] = ["add", "remove", "replace", "move", "copy", "test", "jump"];

/// A view that only Bob's page has.
#[derive(Clone, Serialize, Deserialize)]
struct Cart {
    count: i64,
}

impl View for Cart {
    const TEMPLATE: &'static str = "cart.html";
}

struct World {
    hub: Hub,
    /// Who sends anything: her sessions are opened anew when they are closed.
    eve: Option<Arc<Session>>,
    n_events: u64,
    /// Who only looks on.
    bob: [Page; 3],
    cart: Page,
}

/// Sends what the bytes say, and checks the law.
pub(crate) fn withstand(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    let mut world = World::new();
    for _ in 0..MAX_STEPS {
        if u.is_empty() {
            break;
        }
        // Bytes that run out are zeros, so there is no error.
        _ = world.step(&mut u);
        world.check();
    }
}

impl World {
    fn new() -> World {
        let templates = Templates::from_sources([
            (
                "counter.html",
                "<b title={{ count }}>{{ count }}</b>{% for item in items %}<i dc-key={{ item.id }}>{{ item.text }}</i>{% endfor %}",
            ),
            ("cart.html", "{{ count }}"),
        ]);
        let hub = Hub::with_options(templates, Options { documents: few(), ..unlimited() });
        let view =
            DeclaredView::new("counter.html").state("count", 0).state("items", json!([{"id": 1, "text": "tea"}]));
        let view = view.handler("add", Edits::new().set("count", "count + payload.by"));
        let view = view.handler("fail", Edits::new().set("count", "1 // 0"));
        let view = view.push_handler("reset", Edits::new().set("items", "payload.items").set("count", "0"));
        hub.register_declared("counter", view.clone()).unwrap();
        hub.register_declared_keyed("order", view).unwrap();
        hub.register_posted("panel", "<p>first</p>").unwrap();
        hub.register_private("cart", |_| Ok(Cart { count: 7 })).unwrap();
        let bob = || Client { user: Some("bob".into()), topics: ["news".to_owned()].into(), ..Client::default() };
        let pages = [("counter", None), ("order", Some("42")), ("panel", None)];
        let pages = pages.map(|(view, key)| Page::open(&hub, view, key, bob()));
        let cart = Page::open(&hub, "cart", None, Client { user: Some("bob".into()), ..Client::default() });
        World { hub, eve: None, n_events: 0, bob: pages, cart }
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let before = self.positions();
        let is_refused = match u.int_in_range(0..=2)? {
            0 => self.push(u)?,
            _ => self.frame(u)?,
        };
        if is_refused {
            assert_eq!(self.positions(), before);
        }
        Ok(())
    }

    /// Pushes; returns whether that was refused as a whole.
    fn push(&mut self, u: &mut Unstructured<'_>) -> Result<bool> {
        let text = match u.int_in_range(0..=9)? {
            0 => raw(u)?,
            _ => push(u)?.to_string(),
        };
        let Ok(push) = serde_json::from_str::<Push>(&text) else { return Ok(true) };
        // What Bob alone has is for him.
        if push.name() == "cart" {
            return Ok(false);
        }
        match now(self.hub.push(push)).expect("nothing keeps it waiting") {
            Ok(_) | Err(PushError::Partly { .. }) => Ok(false),
            Err(error) => {
                assert!(!error.to_string().is_empty() && !matches!(error, PushError::Lost { .. }), "{error} {text}");
                Ok(true)
            }
        }
    }

    /// Sends a frame of Eve's; returns whether it was refused.
    fn frame(&mut self, u: &mut Unstructured<'_>) -> Result<bool> {
        let frame = match u.int_in_range(0..=9)? {
            0 => raw(u)?,
            1 => {
                Value::Array((0..u.int_in_range(0..=6)?).map(|_| json_value(u, 3)).collect::<Result<_>>()?).to_string()
            }
            _ => {
                let mut frame = frame(u)?;
                // Most events are new.
                if frame[0] == "event" && frame[1].as_u64().is_some_and(|n| n > 0) {
                    self.n_events += 1;
                    frame[1] = json!(self.n_events);
                }
                frame.to_string()
            }
        };
        let hub = &self.hub;
        // Her own hello may be anything.
        let says_hello = !frame.starts_with("[\"hello\"");
        let eve = self.eve.get_or_insert_with(|| {
            let session = hub.connect_as(Client { user: Some("eve".into()), ..Client::default() });
            if says_hello {
                _ = greet(&session, r#"["hello", 1, [["counter", null], ["order", null, "42"]]]"#);
            }
            session
        });
        while waiting(eve).is_some() {}
        match eve.receive(&frame) {
            Ok(None) => {
                eve.late().map(now);
                Ok(false)
            }
            Ok(Some(event)) => {
                let refused = now(event).expect("nothing keeps it waiting").and_then(|refused| refused.error);
                let answer = std::iter::from_fn(|| waiting(eve)).last().expect("an event is answered");
                let kind = if refused.is_some() { "refused" } else { "ack" };
                assert_eq!(answer[0], kind, "{frame}: {answer}");
                Ok(refused.is_some())
            }
            Err(error) => {
                assert!([4400, 4426].contains(&error.close_code()) && error.to_string().len() > 10, "{error}");
                self.eve = None;
                Ok(true)
            }
        }
    }

    /// Where the documents stand that Bob looks at.
    fn positions(&self) -> Vec<String> {
        let is_seen = |key: Option<&str>| key.is_none_or(|key| key == "42");
        let views = self.hub.views().into_iter().filter(|view| is_seen(view.key.as_deref()));
        views.map(|view| format!("{} {}", view.name, view.position)).collect()
    }

    /// Bob has got what changed and nothing else: [`Page`] asserts that no version is skipped or repeated, and that frames are of its document.
    fn check(&mut self) {
        for page in &mut self.bob {
            for other in page.read(usize::MAX) {
                assert_eq!(other[0], "message", "{other}");
            }
            let key = page.key.clone();
            let shown = match &key {
                Some(key) => self.hub.html_keyed(&page.view, key).unwrap(),
                None => self.hub.html(&page.view).unwrap(),
            };
            assert_eq!(page.tree.to_html(), crate::client::content_of(&shown));
        }
        assert_eq!(self.cart.read(usize::MAX), [] as [Value; 0]);
        assert_eq!((self.cart.n_patches, self.cart.n_snapshots), (0, 0));
        for view in self.hub.views() {
            assert_eq!((view.statistics.lost.get(), view.statistics.repairs.get()), (0, 0), "{}", view.name);
        }
        assert!(!content(&self.hub, "counter").is_empty());
    }
}

/// Few enough that their number is met.
fn few() -> domcast_push::DocumentLimits {
    domcast_push::DocumentLimits { n_documents: 4, ..Default::default() }
}

/// Any text.
fn raw(u: &mut Unstructured<'_>) -> Result<String> {
    let len = u.int_in_range(0..=40)?.min(u.len());
    Ok(String::from_utf8_lossy(u.bytes(len)?).into_owned())
}

fn word(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(match u.int_in_range(0..=7)? {
        0 => raw(u)?,
        _ => (*u.choose(&WORDS)?).to_owned(),
    })
}

fn number(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match u.int_in_range(0..=9)? {
        0 => json!(u.arbitrary::<u64>()?),
        1 => json!(u.arbitrary::<i64>()?),
        2 => json!(f64::from(u.arbitrary::<f32>()?)),
        _ => json!(u.int_in_range(0..=5)?),
    })
}

fn json_value(u: &mut Unstructured<'_>, depth: u32) -> Result<Value> {
    let n_items = u.int_in_range(0..=3)?;
    Ok(match u.int_in_range(0..=if depth > 0 { 6 } else { 3 })? {
        0 => Value::Null,
        1 => json!(u.arbitrary::<bool>()?),
        2 => number(u)?,
        3 => json!(word(u)?),
        4 => Value::Array((0..n_items).map(|_| json_value(u, depth - 1)).collect::<Result<_>>()?),
        5 => Value::Array((0..n_items).map(|_| row(u)).collect::<Result<_>>()?),
        _ => Value::Object(object(u, depth - 1)?),
    })
}

fn object(u: &mut Unstructured<'_>, depth: u32) -> Result<Map<String, Value>> {
    (0..u.int_in_range(0..=3)?).map(|_| Ok((word(u)?, json_value(u, depth)?))).collect()
}

fn row(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(json!({"id": number(u)?, "text": word(u)?}))
}

/// A frame in the form of one, mostly.
fn frame(u: &mut Unstructured<'_>) -> Result<Value> {
    let mut frame = match u.int_in_range(0..=9)? {
        0 => {
            let views = (0..u.int_in_range(0..=3)?).map(|_| greeting(u)).collect::<Result<Vec<_>>>()?;
            vec![json!("hello"), json!(1), json!(views)]
        }
        1 => vec![json!("resync"), document(u)?],
        2 => vec![json!("ack"), json!(u.choose(&[0, 0, 0, 1, 2, 9])?)],
        3 => vec![json!("ping")],
        _ => {
            let handler = *u.choose(&["add", "add", "fail", "reset", "handle_tick", ""])?;
            let payload = if u.int_in_range(0..=3)? > 0 { json!({"by": number(u)?}) } else { json_value(u, 2)? };
            vec![json!("event"), number(u)?, document(u)?, json!(handler), payload]
        }
    };
    match u.int_in_range(0..=15)? {
        0 => frame[0] = json!(u.choose(&KINDS)?),
        1 => _ = frame.pop(),
        2 => frame.push(json_value(u, 2)?),
        3 => {
            let idx = u.choose_index(frame.len())?;
            frame[idx] = json_value(u, 2)?;
        }
        _ => {}
    }
    Ok(Value::Array(frame))
}

/// The number of a document, mostly of one that Eve sees.
fn document(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match u.int_in_range(0..=7)? {
        0 => number(u)?,
        n if n % 2 == 0 => json!(0),
        _ => json!(2),
    })
}

fn greeting(u: &mut Unstructured<'_>) -> Result<Value> {
    let mut greeting = vec![json!(word(u)?), json_value(u, 0)?, json_value(u, 0)?, json_value(u, 0)?];
    greeting.truncate(u.int_in_range(1..=4)?);
    Ok(Value::Array(greeting))
}

/// A push in the form of one, mostly.
fn push(u: &mut Unstructured<'_>) -> Result<Value> {
    let mut push = Map::new();
    push.insert("view".into(), json!(u.choose(&["counter", "counter", "order", "panel", "nothing"])?));
    if push["view"] == "order" && u.arbitrary()? {
        push.insert("key".into(), json!(u.choose(&["42", "42", "7", "8", "9", "10", ""])?));
    }
    let mut state = Map::new();
    if u.arbitrary()? {
        state.insert("count".into(), number(u)?);
    }
    if u.arbitrary()? {
        state.insert("items".into(), Value::Array((0..u.int_in_range(0..=4)?).map(|_| row(u)).collect::<Result<_>>()?));
    }
    if u.int_in_range(0..=5)? == 0 {
        state.extend(object(u, 3)?);
    }
    match u.int_in_range(0..=5)? {
        0 => push.insert("state".into(), state.into()),
        1 => push.insert("merge".into(), state.into()),
        2 => {
            let operations = (0..u.int_in_range(0..=3)?).map(|_| operation(u)).collect::<Result<Vec<_>>>()?;
            push.insert("patch".into(), json!(operations))
        }
        3 => push.insert("html".into(), json!(word(u)? + &word(u)?)),
        4 => {
            let payload = if u.int_in_range(0..=3)? == 0 {
                json_value(u, 3)?
            } else {
                json!({"by": number(u)?, "items": [row(u)?]})
            };
            push.insert("payload".into(), payload);
            push.insert("handler".into(), json!(u.choose(&["add", "reset", "fail", "nothing"])?))
        }
        _ => {
            push = Map::from_iter([("topic".to_owned(), json!(word(u)?))]);
            push.insert("data".into(), json_value(u, 3)?)
        }
    };
    if u.int_in_range(0..=7)? == 0 {
        push.insert((*u.choose(&FIELDS)?).to_owned(), json_value(u, 2)?);
    }
    Ok(push.into())
}

fn operation(u: &mut Unstructured<'_>) -> Result<Value> {
    let pointer = |u: &mut Unstructured<'_>| match u.int_in_range(0..=5)? {
        0 => word(u),
        _ => Ok((*u.choose(&POINTERS)?).to_owned()),
    };
    let value = if u.arbitrary()? { row(u)? } else { json_value(u, 2)? };
    Ok(json!({"op": u.choose(&OPERATIONS)?, "path": pointer(u)?, "from": pointer(u)?, "value": value}))
}
