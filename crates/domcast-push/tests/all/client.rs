//! A page: mounts the HTML of a view and follows its frames, as PROTOCOL.md tells a client to.

use domcast_diff::{NodeId, Patches, Tree, apply};
use domcast_parser::parse_fragment;
use domcast_push::{Client, Handling, Hub, Options, Session, Work};
use serde_json::{Value, json};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// One view of a page, on one connection or none.
pub(crate) struct Page {
    pub(crate) view: String,
    pub(crate) tree: Tree,
    pub(crate) position: Option<String>,
    pub(crate) session: Option<Arc<Session>>,
    document: Option<u64>,
    pub(crate) key: Option<String>,
    client: Client,
    pub(crate) n_patches: usize,
    pub(crate) n_snapshots: usize,
    /// How many frames this connection has brought.
    pub(crate) n_read: u64,
}

impl Page {
    /// Loads the page of a view; it is not connected yet.
    pub(crate) fn load(hub: &Hub, view: &str) -> Page {
        Page::load_for(hub, view, None, Client::default())
    }

    /// Loads a page of a client; it is not connected yet.
    pub(crate) fn load_for(hub: &Hub, view: &str, key: Option<&str>, client: Client) -> Page {
        Page::of(view, &hub.html_for(&client, view, key).unwrap(), client)
    }

    /// Loads a page for a client and connects it.
    pub(crate) fn open(hub: &Hub, view: &str, key: Option<&str>, client: Client) -> Page {
        let mut page = Page::load_for(hub, view, key, client);
        page.connect(hub);
        assert_eq!(page.read(usize::MAX), [] as [Value; 0]);
        page
    }

    fn of(view: &str, html: &str, client: Client) -> Page {
        let (start, content) = html.split_once('>').unwrap();
        let attribute = |name: &str| {
            let (_, rest) = start.split_once(&format!(" {name}=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        let content = content.strip_suffix("</div>").unwrap();
        let numbers = |text: String| text.split(' ').map(|n| n.parse().unwrap()).collect::<Vec<u32>>();
        let ids = attribute("dc-ids").map(numbers).unwrap_or_default();
        let parsed = parse_fragment(content, "div").unwrap();
        let next = attribute("dc-next").map_or(parsed.next_id().0, |next| next.parse().unwrap());
        let tree = numbered(&parsed, &ids, next);
        assert_eq!(attribute("dc-sum").unwrap(), tree.checksum().to_string());
        let position = attribute("dc-at");
        let key = attribute("dc-view-key").map(|key| key.replace("&amp;", "&").replace("&lt;", "<"));
        let view = view.into();
        Page {
            view,
            tree,
            position,
            session: None,
            document: None,
            key,
            client,
            n_patches: 0,
            n_snapshots: 0,
            n_read: 0,
        }
    }

    pub(crate) fn connect(&mut self, hub: &Hub) {
        let session = hub.connect_as(self.client.clone());
        let mut view = vec![json!(self.view), json!(self.position)];
        view.extend(self.key.as_ref().map(|key| json!(key)));
        _ = greet(&session, &json!(["hello", 1, [view]]).to_string());
        (self.session, self.document, self.n_read) = (Some(session), None, 0);
    }

    pub(crate) fn disconnect(&mut self) {
        self.session = None;
    }

    /// Loses the connection, and with it some of the frames that were written already.
    pub(crate) fn lose(&mut self, n_frames: usize) {
        for _ in 0..n_frames {
            _ = self.session.as_deref().and_then(waiting);
        }
        self.disconnect();
    }

    /// Says that it has read the first `n` frames; a server that does not take that closes the connection.
    pub(crate) fn acknowledge(&mut self, n: u64) {
        let session = self.session.as_ref().unwrap();
        if session.receive(&json!(["ack", n]).to_string()).is_err() {
            self.disconnect();
        }
    }

    /// Whether the server's number of the document is known.
    pub(crate) fn is_mounted(&self) -> bool {
        self.session.is_some() && self.document.is_some()
    }

    pub(crate) fn ask_for_a_snapshot(&mut self) {
        if self.is_mounted() {
            self.position = None;
            let frame = json!(["resync", self.document]).to_string();
            self.session.as_ref().unwrap().receive(&frame).unwrap();
        }
    }

    /// Calls a handler; the work returned runs it.
    pub(crate) fn event(&self, n: u32, handler: &str, payload: Value) -> Option<Handling> {
        let frame = json!(["event", n, self.document, handler, payload]).to_string();
        self.session.as_ref().unwrap().receive(&frame).unwrap()
    }

    /// Reads at most `limit` of the frames that wait; returns those that are not about content.
    pub(crate) fn read(&mut self, limit: usize) -> Vec<Value> {
        let mut others = Vec::new();
        for _ in 0..limit {
            let Some(frame) = self.session.as_deref().and_then(waiting) else { break };
            self.n_read += 1;
            match frame[0].as_str().unwrap() {
                "mounted" => self.document = frame[2].as_u64(),
                "p" => self.patch(&frame),
                "snapshot" => self.snapshot(&frame),
                _ => others.push(frame),
            }
        }
        others
    }

    fn patch(&mut self, frame: &Value) {
        assert_eq!(frame[1].as_u64(), self.document);
        // A page that asked for a snapshot takes nothing else.
        let Some(position) = self.position.take() else { return };
        let (epoch, version) = position.split_once(':').unwrap();
        let version: u64 = version.parse().unwrap();
        let from = frame.get(4).map_or_else(|| frame[2].as_u64().unwrap() - 1, |from| from.as_u64().unwrap());
        assert_eq!(from, version, "no version is skipped or repeated");
        self.position = Some(format!("{epoch}:{}", frame[2]));
        let patches: Patches = serde_json::from_value(frame[3].clone()).unwrap();
        apply(&mut self.tree, &patches).unwrap();
        self.n_patches += 1;
    }

    fn snapshot(&mut self, frame: &Value) {
        assert_eq!(frame[1].as_u64(), self.document);
        self.position = Some(frame[2].as_str().unwrap().to_owned());
        let insert: Vec<Value> = [json!("i"), json!(0), json!(0)].into_iter().chain(tokens(frame)).collect();
        let patches: Patches = serde_json::from_value(json!([insert])).unwrap();
        let mut tree = Tree::new();
        apply(&mut tree, &patches).unwrap();
        let ids: Vec<u32> = serde_json::from_value(frame[4].clone()).unwrap();
        self.tree = numbered(&tree, &ids, frame[3].as_u64().unwrap() as u32);
        self.n_snapshots += 1;
    }
}

fn tokens(snapshot: &Value) -> Vec<Value> {
    snapshot[5].as_array().unwrap().clone()
}

/// Copies a tree that is numbered in document order, with other ids: `ids` are runs of first id and count.
fn numbered(tree: &Tree, ids: &[u32], next_id: u32) -> Tree {
    let n_nodes = tree.n_nodes() as u32;
    let mut new_ids: Vec<u32> = vec![0];
    match ids {
        [] => new_ids.extend(1..n_nodes),
        runs => new_ids.extend(runs.chunks(2).flat_map(|run| run[0]..run[0] + run[1])),
    }
    assert_eq!(new_ids.len(), tree.n_nodes(), "the ids cover the tree");
    let mut old_ids = vec![None; next_id as usize];
    for (old_id, new_id) in new_ids.iter().enumerate() {
        old_ids[*new_id as usize] = Some(NodeId(old_id as u32));
    }
    let mut copy = Tree::new();
    for old_id in &old_ids[1..] {
        match old_id.and_then(|id| tree.get(id)) {
            Some(node) => _ = copy.create(node),
            None => {
                let hole = copy.create(domcast_diff::VNode::Text(""));
                copy.remove(hole);
            }
        }
    }
    for (old_id, _) in tree.descendants(NodeId::ROOT).skip(1) {
        let new_id = |id: NodeId| NodeId(new_ids[id.0 as usize]);
        copy.insert(new_id(tree.parent(old_id).unwrap()), None, new_id(old_id));
    }
    copy
}

/// Says hello, and makes what documents it takes; returns what has to wait still.
pub(crate) fn greet(session: &Arc<Session>, hello: &str) -> Option<Work> {
    assert!(session.receive(hello).unwrap().is_none());
    let mut late = session.late()?;
    now(&mut late).is_none().then_some(late)
}

/// Returns the next frame of a session, if one waits.
pub(crate) fn waiting(session: &Session) -> Option<Value> {
    match now(session.next()) {
        Some(Some(frame)) => Some(serde_json::from_slice(&frame).unwrap()),
        _ => None,
    }
}

/// Polls a future once.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Options of a hub that renders as often as it is pushed to.
pub(crate) fn unlimited() -> Options {
    Options { render_interval: None, ..Options::default() }
}

/// The HTML inside a view's element.
pub(crate) fn content(hub: &Hub, view: &str) -> String {
    content_of(&hub.html(view).unwrap())
}

pub(crate) fn content_of(html: &str) -> String {
    html.split_once('>').unwrap().1.strip_suffix("</div>").unwrap().to_owned()
}
