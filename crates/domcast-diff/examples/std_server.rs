//! A live page from the standard library and this crate alone: `cargo run -p domcast-diff --example std_server`, then open
//! <http://127.0.0.1:8000> in two windows.
//!
//! The tree changes once a second. Each change is compared and encoded once; every page that looks on receives the patches as
//! server-sent events and applies them with `domcast.mjs` of the crate `domcast-client`. The page says up to which version
//! it is, so nothing is lost between its HTML and its first event, and a page that comes back goes on where it was.

use domcast_diff::{Element, Name, NodeId, Tree, VNode, diff};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// The applier for browsers, read when it is asked for.
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../domcast-client/dist/domcast.mjs");

/// What all pages show, and the patch lists that led there, as JSON. A server that runs for long keeps only the last of
/// them and tells a page that lags too far behind to load anew.
#[derive(Default)]
struct Document {
    tree: Tree,
    history: Vec<String>,
}

#[derive(Default)]
struct Live {
    document: Mutex<Document>,
    changed: Condvar,
}

fn main() -> io::Result<()> {
    let live = Arc::new(Live::default());
    let ticker = Arc::clone(&live);
    thread::spawn(move || {
        for second in 0.. {
            ticker.show(&render(second));
            thread::sleep(Duration::from_secs(1));
        }
    });
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".into());
    let listener = TcpListener::bind(address)?;
    println!("http://{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let (stream, live) = (stream?, Arc::clone(&live));
        // An error here is a page that has gone.
        thread::spawn(move || live.answer(stream));
    }
    Ok(())
}

/// The state as a tree: a sentence, and the last five seconds as a list with keys.
fn render(second: u32) -> Tree {
    let mut tree = Tree::new();
    let element = |tree: &mut Tree, parent, name, text: &str, key: Option<u32>| {
        let id = tree.append(parent, VNode::Element(Element::new(Name::html(name))));
        if let Some(key) = key {
            tree.set_attribute(id, Name::attribute("dc-key"), &key.to_string());
        }
        if !text.is_empty() {
            tree.append(id, VNode::Text(text));
        }
        id
    };
    element(&mut tree, NodeId::ROOT, "p", &format!("This server has been up for {second} seconds."), None);
    let list = element(&mut tree, NodeId::ROOT, "ul", "", None);
    for past in (second.saturating_sub(4)..=second).rev() {
        element(&mut tree, list, "li", &format!("second {past}"), Some(past));
    }
    tree
}

impl Live {
    fn show(&self, new: &Tree) {
        let mut document = self.document.lock().expect("nobody panics holding the document");
        let patches = diff(&document.tree, new);
        if patches.is_empty() {
            return;
        }
        // The tree that lives on is the patched one: its nodes have the numbers that the pages know.
        domcast_diff::apply(&mut document.tree, &patches).expect("the patches fit the tree they were made for");
        document.history.push(patches.to_json());
        self.changed.notify_all();
    }

    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        let mut position = None;
        for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
            // A browser that lost the connection says what it received last.
            if let Some(id) = line.to_ascii_lowercase().strip_prefix("last-event-id:") {
                position = id.trim().parse().ok();
            }
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        match path.split_once("?from=").unwrap_or((path, "0")) {
            ("/", _) => write(&mut stream, "200 OK", "text/html; charset=utf-8", &self.page()),
            ("/domcast.mjs", _) => {
                write(&mut stream, "200 OK", "text/javascript; charset=utf-8", &std::fs::read_to_string(CLIENT)?)
            }
            ("/events", from) => self.send_events(stream, position.or(from.parse().ok()).unwrap_or(0)),
            _ => write(&mut stream, "404 Not Found", "text/plain", "there is only `/` here\n"),
        }
    }

    /// The page, with what it must know to number its nodes as the tree here does.
    fn page(&self) -> String {
        let document = self.document.lock().expect("nobody panics holding the document");
        let ids: Vec<u32> = document.tree.numbering().iter().flat_map(|&(first, count)| [first.0, count]).collect();
        format!(
            r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><title>std_server</title></head>
<body><h1>Live</h1><div id="view">{html}</div><script type="module">
import {{ mount }} from '/domcast.mjs';
const view = mount(document.getElementById('view'), {{ ids: {ids:?}, next: {next} }});
new EventSource('/events?from={version}').onmessage = (event) => view.apply(JSON.parse(event.data));
</script></body></html>"#,
            html = document.tree.to_html(),
            next = document.tree.next_id().0,
            version = document.history.len(),
        )
    }

    fn send_events(&self, mut stream: TcpStream, mut position: usize) -> io::Result<()> {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\r\n")?;
        loop {
            let document = self.document.lock().expect("nobody panics holding the document");
            let is_up_to_date = |document: &mut Document| document.history.len() <= position;
            let document =
                self.changed.wait_while(document, is_up_to_date).expect("nobody panics holding the document");
            let patches = document.history[position].clone();
            // A slow page must not hold up the others.
            drop(document);
            position += 1;
            stream.write_all(format!("id: {position}\ndata: {patches}\n\n").as_bytes())?;
        }
    }
}

fn write(stream: &mut TcpStream, status: &str, content_type: &str, body: &str) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}
