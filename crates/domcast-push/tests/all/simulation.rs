//! Pushes of all kinds, slow and lost senders, slow readers, cut connections, ticks and restarts of the hub, at random; on a
//! shared view, views with keys (orders, and variants that are pushed to together) and private ones. Pages acknowledge late,
//! twice, never any more, or what they were never sent, and repeat events.
//!
//! Time is tokio's, paused, and every step is drawn from a seeded generator, so a failure names the seed that repeats it:
//! `DOMCAST_SEED=7 cargo test -p domcast-push simulation`. `DOMCAST_SEEDS` says how many seeds run; `tests/run` says 1,000.
//!
//! A model beside the hub holds what each document must show: the inputs are applied to it in the order in which they
//! were sent, each once it was answered. Checked after each step:
//!
//! - (a) what waits for a session is bounded, and so is what a page was sent that acknowledges no more;
//! - (b) a page applies the patches of version v only at v - 1 ([`Page`] asserts it);
//! - (c) once a page has read all that waits, it equals the model, and so does the server's rendering;
//! - (d) every answered push is in the document exactly once, in order, until the hub is started anew;
//! - (e) nobody gets what is for another document ([`Page`] asserts it) or another user;
//! - (f) no input is lost, and no tree had to be repaired.

use crate::client::{Page, content_of, now, unlimited};
use domcast_push::template::Templates;
use domcast_push::{
    Call, Client, DeclaredView, DocumentLimits, Edits, Empty, Handlers, HistoryLimits, Hub, MailboxLimits, Options,
    Push, PushError, Tick, View, ViewInfo,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::advance;

const N_STEPS: u64 = 10_000;
const N_SEEDS: u64 = 6;

const TEMPLATE: &str = "<h1>{{ key }}</h1><ul>{% for item in items %}<li dc-key=k{{ item }}>{{ item }}</li>{% endfor %}</ul>\
     {% if note %}<p title=\"{{ note }}\">{{ note }}</p>{% endif %}{% if note == 'poison' %}{{ note.x.y }}{% endif %}\
     <i>{{ n_calls }} {{ calls|join(' ') }}</i><b>{{ ticks }}</b>";

/// The documents that everybody may see: the only one of `shared`, and two each of the views with keys. Private ones come and go.
const DOCUMENTS: [(&str, &str); 5] =
    [("shared", ""), ("keyed", "one"), ("keyed", "two"), ("variant", "en"), ("variant", "de")];
const WITH_KEYS: [&str; 2] = ["keyed", "variant"];
const USERS: [&str; 2] = ["ann", "bob"];
const MAX_WAITING_BYTES: usize = 2000;
/// One frame is always taken in, however large.
const MAX_FRAME_BYTES: usize = 2000;
/// How many frames a page that acknowledges is sent beyond the last one.
const MAX_UNREAD: u64 = 17;

#[test]
fn whatever_happens_nothing_is_lost_or_doubled_and_every_page_ends_equal_to_the_server() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match number("DOMCAST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DOMCAST_SEEDS").unwrap_or(N_SEEDS),
    };
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    // Printed only if the step fails: the name of the seed is what repeats it.
                    let failed = std::panic::catch_unwind(|| simulate(seed)).err();
                    assert!(failed.is_none(), "seed {seed} fails: DOMCAST_SEED={seed} repeats it");
                }
            });
        }
    });
}

fn simulate(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(seed);
        for _ in 0..N_STEPS {
            world.step().await;
            world.check();
        }
        world.calm_down().await;
    });
}

struct World {
    random: Random,
    hub: Hub,
    ticks: Ticks,
    visits: Vec<Visit>,
    /// Those of [`DOCUMENTS`] by their position, then private ones.
    models: BTreeMap<usize, Model>,
    n_documents: usize,
    pending: Vec<Pending>,
    n_sent: u64,
}

/// A page that somebody looks at.
struct Visit {
    document: usize,
    user: &'static str,
    page: Page,
    /// Whether this connection has acknowledged something.
    acknowledges: bool,
}

type Outcome = Pin<Box<dyn Future<Output = Result<(), PushError>>>>;
type Ticks = Arc<Mutex<Vec<Tick>>>;

/// Something sent, and not answered yet.
struct Pending {
    id: u64,
    outcome: Outcome,
    /// Whether its sender may go away before it is answered.
    may_leave: bool,
}

/// What a document must show.
struct Model {
    view: &'static str,
    /// What it shows of its key; a private one shows its user.
    heading: &'static str,
    items: Vec<u64>,
    note: String,
    calls: Vec<u64>,
    n_calls: u64,
    ticks: u64,
    /// Whether the last change needed no rendering.
    is_behind: bool,
    /// What was sent to it, in order.
    sent: VecDeque<(u64, Edit)>,
}

#[derive(Clone)]
enum Edit {
    Items(Vec<u64>),
    Rotate,
    Drop,
    Replace(u64),
    Note(&'static str),
    Call(u64),
    /// A change that needs no rendering.
    Quiet,
    Tick,
}

impl World {
    fn new(seed: u64) -> World {
        let (hub, ticks) = start();
        let models = at_first();
        let n_documents = models.len();
        let (visits, pending) = (Vec::new(), Vec::new());
        World { random: Random(seed), hub, ticks, visits, models, n_documents, pending, n_sent: 0 }
    }

    async fn step(&mut self) {
        match self.random.below(100) {
            0..11 => self.push(),
            11..14 => self.push_to_all(),
            14..16 => self.push_to_a_user(),
            16..19 => self.tell(),
            19..26 => self.event(),
            26..30 => self.leave(),
            30..50 => self.pass_time().await,
            50..53 if self.visits.len() < 6 => self.load(),
            53..58 => self.connect(),
            58..61 => self.on_one(|_, visit| visit.page.disconnect()),
            61..64 => self.on_one(|random, visit| visit.page.lose(random.below(4) as usize)),
            64..65 => self.on_one(|_, visit| visit.page.ask_for_a_snapshot()),
            65..66 if self.random.below(20) == 0 => self.restart(),
            66..67 if self.random.below(5) == 0 => self.calm_down().await,
            67..68 if self.random.below(4) == 0 => self.close(),
            68..72 => self.on_one(|random, visit| visit.acknowledge(random)),
            _ => self.read(),
        }
    }

    fn push(&mut self) {
        let document = self.random.below(DOCUMENTS.len() as u64) as usize;
        let (view, key) = DOCUMENTS[document];
        let n = self.n_sent;
        let patch = |operations: Value| Push::patch(view, serde_json::from_value(operations).unwrap());
        let (push, edit) = match self.random.below(12) {
            0 | 1 => {
                let items = self.random.items();
                (Push::state(view, [("items", json!(items))]), Edit::Items(items))
            }
            2 => {
                let items = self.random.items();
                (Push::merge(view, [("items", json!(items))]), Edit::Items(items))
            }
            3 => {
                // The guess may be wrong, and what waits may change it: either way the outcome says.
                let guess = self.models[&document].n_calls;
                let note = ["", "tea"][self.random.below(2) as usize];
                let operations = json!([
                    {"op": "test", "path": "/n_calls", "value": guess},
                    {"op": "replace", "path": "/note", "value": note},
                ]);
                (patch(operations), Edit::Note(note))
            }
            4 => {
                let note = ["", "tea", "milk &amp; sugar", "poison"][self.random.below(4) as usize];
                (Push::state(view, [("note", note.replace("&amp;", "&"))]), Edit::Note(note))
            }
            5 => (Push::state(view, [("items", json!("none"))]), Edit::Note("refused")),
            // There may be no such item.
            6 => (patch(json!([{"op": "move", "from": "/items/0", "path": "/items/-"}])), Edit::Rotate),
            7 => (patch(json!([{"op": "remove", "path": "/items/0"}])), Edit::Drop),
            8 => (patch(json!([{"op": "replace", "path": "/items/1", "value": 100 + n}])), Edit::Replace(100 + n)),
            9 if view == "variant" => (Push::handler(view, "quiet", json!({})), Edit::Quiet),
            _ => (Push::handler(view, "call", json!({ "n": n })), Edit::Call(n)),
        };
        let push = if key.is_empty() { push } else { push.key(key) };
        self.send(push, [document], edit, true);
    }

    fn send(&mut self, push: Push, documents: impl IntoIterator<Item = usize>, edit: Edit, may_leave: bool) {
        let outcome = self.hub.submit(push).unwrap();
        let n = self.n_sent;
        for document in documents {
            self.model(document).sent.push_back((n, edit.clone()));
        }
        self.wait_for(async move { outcome.await.map(drop) }, may_leave);
    }

    fn model(&mut self, document: usize) -> &mut Model {
        self.models.get_mut(&document).unwrap()
    }

    /// What every document takes, so that one outcome tells of all.
    fn push_to_all(&mut self) {
        let view = WITH_KEYS[self.random.below(2) as usize];
        let views = self.hub.views();
        let documents = (0..DOCUMENTS.len()).filter(|idx| DOCUMENTS[*idx].0 == view && info(&views, *idx).is_some());
        let push = Push::handler(view, "call", json!({ "n": self.n_sent }));
        self.send(push, documents.collect::<Vec<_>>(), Edit::Call(self.n_sent), false);
    }

    /// Every private document of a user.
    fn push_to_a_user(&mut self) {
        let user = USERS[self.random.below(2) as usize];
        let (push, edit) = match self.random.below(3) {
            0 => {
                let items = self.random.items();
                (Push::state("private", [("items", json!(items))]), Edit::Items(items))
            }
            1 => (Push::handler("private", "quiet", json!({})), Edit::Quiet),
            _ => (Push::handler("private", "call", json!({ "n": self.n_sent })), Edit::Call(self.n_sent)),
        };
        let is_theirs = |(_, model): &(&usize, &Model)| model.view == "private" && model.heading == user;
        let documents: Vec<usize> = self.models.iter().filter(is_theirs).map(|(document, _)| *document).collect();
        self.send(push.user(user), documents, edit, false);
    }

    fn tell(&mut self) {
        let user = USERS[self.random.below(2) as usize];
        let n_told = now(self.hub.push(Push::message("news", user).user(user))).unwrap().unwrap().subscribers;
        let is_connected = |visit: &&Visit| visit.user == user && visit.page.session.is_some();
        assert!(n_told <= self.visits.iter().filter(is_connected).count());
    }

    /// A browser calls a handler. What it began is finished, even if it goes away.
    fn event(&mut self) {
        let n = self.n_sent;
        let Some(idx) = self.random.idx(self.visits.len()) else { return };
        let Visit { document, page, .. } = &mut self.visits[idx];
        if !page.is_mounted() {
            return;
        }
        let work = page.event(n as u32, "call", json!({ "n": n })).unwrap();
        // A page that does not know whether it arrived says it again.
        if self.random.below(4) == 0 {
            assert!(page.event(n as u32, "call", json!({ "n": n })).is_none(), "it was taken in already");
        }
        let document = *document;
        self.model(document).sent.push_back((n, Edit::Call(n)));
        self.wait_for(
            async move {
                work.await;
                Ok(())
            },
            false,
        );
    }

    fn wait_for(&mut self, outcome: impl Future<Output = Result<(), PushError>> + 'static, may_leave: bool) {
        self.pending.push(Pending { id: self.n_sent, outcome: Box::pin(outcome), may_leave });
        self.n_sent += 1;
        if self.random.below(2) == 0 {
            self.poll();
        }
    }

    /// A sender goes away: what it sent either was answered, or is withdrawn.
    fn leave(&mut self) {
        self.poll();
        let Some(idx) = self.random.idx(self.pending.len()) else { return };
        if self.pending[idx].may_leave {
            let Pending { id, .. } = self.pending.remove(idx);
            for model in self.models.values_mut() {
                model.sent.retain(|(sent, _)| *sent != id);
            }
        }
    }

    async fn pass_time(&mut self) {
        let n_ms = [1, 5, 20, 40][self.random.below(4) as usize];
        advance(Duration::from_millis(n_ms)).await;
        // The clock of the ticks is a task of its own.
        tokio::task::yield_now().await;
        let due = std::mem::take(&mut *self.ticks.lock().unwrap());
        for tick in due {
            // Only the shared view ticks.
            let n = self.n_sent;
            self.model(0).sent.push_back((n, Edit::Tick));
            let mut outcome: Outcome = Box::pin(async move { tick.run().await.map(drop) });
            // It waits in the queue from the first poll on.
            let is_done = now(outcome.as_mut());
            let outcome: Outcome = if let Some(done) = is_done { Box::pin(async move { done }) } else { outcome };
            self.wait_for(outcome, false);
        }
        self.poll();
    }

    fn load(&mut self) {
        let user = USERS[self.random.below(2) as usize];
        let client = Client { user: Some(user.into()), topics: ["news".to_owned()].into(), ..Client::default() };
        let (document, view, key) = match self.random.below(DOCUMENTS.len() as u64 + 2) as usize {
            document if document < DOCUMENTS.len() => {
                let (view, key) = DOCUMENTS[document];
                (document, view, Some(key).filter(|key| !key.is_empty()))
            }
            _ => {
                self.models.insert(self.n_documents, Model::new("private", user));
                self.n_documents += 1;
                (self.n_documents - 1, "private", None)
            }
        };
        let page = Page::load_for(&self.hub, view, key, client);
        self.visits.push(Visit { document, user, page, acknowledges: false });
    }

    /// Somebody closes a page for good.
    fn close(&mut self) {
        if let Some(idx) = self.random.idx(self.visits.len()) {
            let visit = self.visits.swap_remove(idx);
            // Nobody sees its document any more.
            if visit.document >= DOCUMENTS.len() {
                self.models.remove(&visit.document);
            }
        }
    }

    fn connect(&mut self) {
        let hub = self.hub.clone();
        self.on_one(|_, visit| visit.connect(&hub));
    }

    fn read(&mut self) {
        if let Some(idx) = self.random.idx(self.visits.len()) {
            let limit = self.random.below(8) as usize;
            self.poll();
            let visit = &mut self.visits[idx];
            if visit.read(limit) {
                visit.check(&self.models[&visit.document]);
            }
        }
    }

    fn on_one(&mut self, change: impl FnOnce(&mut Random, &mut Visit)) {
        if let Some(idx) = self.random.idx(self.visits.len()) {
            change(&mut self.random, &mut self.visits[idx]);
        }
    }

    /// The server is killed, and another starts. What was not answered may be lost; the pages stay open, but for private ones:
    /// their documents are gone.
    fn restart(&mut self) {
        self.pending.clear();
        self.visits.retain(|visit| visit.document < DOCUMENTS.len());
        self.visits.iter_mut().for_each(|visit| visit.page.disconnect());
        (self.hub, self.ticks) = start();
        self.models = at_first();
    }

    /// Polls what is not answered, and applies what is to the models, in the order in which it was sent.
    fn poll(&mut self) {
        let mut outcomes = Vec::new();
        self.pending.retain_mut(|pending| match now(pending.outcome.as_mut()) {
            Some(outcome) => {
                outcomes.push((pending.id, outcome.is_ok()));
                false
            }
            None => true,
        });
        for model in self.models.values_mut() {
            // A later answer tells of what was sent before: a push to several documents is answered once, at the end.
            let outcome = |id: u64| outcomes.iter().find(|(answered, _)| *answered == id).map(|(_, is_ok)| *is_ok);
            let n_applied = model.sent.iter().rposition(|(id, _)| outcome(*id).is_some()).map_or(0, |idx| idx + 1);
            for (id, edit) in model.sent.drain(..n_applied).collect::<Vec<_>>() {
                if outcome(id).unwrap_or(true) {
                    model.apply(edit);
                }
            }
        }
    }

    fn check(&mut self) {
        self.poll();
        let views = self.hub.views();
        for (document, model) in self.models.range(..DOCUMENTS.len()) {
            // What is under way may be shown already, in part.
            let is_settled = model.sent.is_empty() && !model.is_behind;
            if is_settled && info(&views, *document).is_some() {
                assert_eq!(shown(&self.hub, *document), model.html());
            }
        }
        for visit in &self.visits {
            let Some(session) = &visit.page.session else { continue };
            let n_bytes = session.n_waiting_bytes();
            assert!(n_bytes <= MAX_WAITING_BYTES + MAX_FRAME_BYTES, "{n_bytes} bytes wait");
            let n_unread = visit.page.n_read - session.n_acknowledged();
            assert!(n_unread <= MAX_UNREAD, "{n_unread} frames are not acknowledged");
        }
        for view in views {
            assert_eq!((view.statistics.lost.get(), view.statistics.repairs.get()), (0, 0), "{}", view.name);
        }
    }

    /// The faults stop: all is answered, connected and read.
    async fn calm_down(&mut self) {
        while !self.pending.is_empty() {
            self.pass_time().await;
        }
        for visit in &mut self.visits {
            if visit.page.session.is_none() {
                visit.connect(&self.hub);
            }
            while !visit.read(usize::MAX) {
                visit.page.acknowledge(visit.page.n_read);
            }
            visit.check(&self.models[&visit.document]);
        }
        self.check();
    }
}

impl Visit {
    fn connect(&mut self, hub: &Hub) {
        self.page.connect(hub);
        self.acknowledges = false;
    }

    /// Acknowledges what it has read, or something else.
    fn acknowledge(&mut self, random: &mut Random) {
        if self.page.session.is_none() {
            return;
        }
        let n_read = self.page.n_read;
        match random.below(8) {
            0 => self.page.acknowledge(n_read + 1 + random.below(3)),
            1 => self.page.acknowledge(u64::MAX),
            2 | 3 => self.page.acknowledge(random.below(n_read + 1)),
            4 => {
                self.page.acknowledge(n_read);
                self.page.acknowledge(n_read);
            }
            _ => self.page.acknowledge(n_read),
        }
        self.acknowledges = true;
    }

    /// Reads so many frames; returns whether nothing more waits.
    fn read(&mut self, limit: usize) -> bool {
        let n_read = self.page.n_read;
        for frame in self.page.read(limit) {
            match frame[0].as_str().unwrap() {
                "message" => assert_eq!(frame, json!(["message", "news", self.user]), "it is for this user"),
                "ack" => {}
                _ => panic!("{frame}"),
            }
        }
        let is_held = self.page.session.as_ref().is_some_and(|session| session.is_held());
        assert!(self.acknowledges || !is_held, "only who acknowledges is waited for");
        self.page.n_read - n_read < limit as u64 && !is_held
    }

    /// Compares the page, which has read all that waits, with what its document must show.
    #[track_caller]
    fn check(&self, model: &Model) {
        if self.page.is_mounted() && model.sent.is_empty() && !model.is_behind {
            assert_eq!(self.page.tree.to_html(), model.html());
        }
    }
}

/// A Rust view of the same template, for variants and private documents.
#[derive(Clone, Serialize, Deserialize)]
struct List {
    key: String,
    items: Vec<u64>,
    note: String,
    calls: Vec<u64>,
    n_calls: u64,
    ticks: u64,
}

#[derive(Deserialize)]
struct Called {
    n: u64,
}

impl List {
    fn new(key: &str) -> List {
        let (items, calls, note) = (Vec::new(), Vec::new(), String::new());
        List { key: key.into(), items, note, calls, n_calls: 0, ticks: 0 }
    }
}

impl View for List {
    const TEMPLATE: &'static str = "list.html";

    fn handlers(handlers: &mut Handlers<List>) {
        handlers.on("call", |list: &mut List, Called { n }: Called| {
            list.n_calls += 1;
            list.calls.push(n);
            list.calls.drain(..list.calls.len().saturating_sub(3));
            Ok(())
        });
        handlers.on_push_call("quiet", |list: &mut List, Empty {}: Empty, call: &mut Call| {
            list.ticks += 1;
            call.needs_no_render();
            Ok(())
        });
    }
}

/// Small limits, so that histories end and mailboxes overflow.
fn start() -> (Hub, Ticks) {
    let options = Options {
        history: HistoryLimits { n_updates: 8, n_bytes: 2000, age: Duration::from_secs(2) },
        mailbox: MailboxLimits {
            n_frames: 4,
            n_bytes: MAX_WAITING_BYTES,
            n_unread_frames: MAX_UNREAD as usize,
            ..MailboxLimits::default()
        },
        documents: DocumentLimits { idle: Duration::from_secs(3600), ..DocumentLimits::default() },
        render_interval: Options::default().render_interval,
        ..unlimited()
    };
    let hub = Hub::with_options(Templates::from_sources([("list.html", TEMPLATE)]), options);
    let call = Edits::new().set("calls", "(calls + [payload.n])[-3:]").set("n_calls", "n_calls + 1");
    let view = DeclaredView::new("list.html").state("items", json!([])).state("note", "").state("calls", json!([]));
    let view = view.state("n_calls", 0).state("ticks", 0).handler("call", call);
    hub.register_declared_keyed("keyed", view.clone()).unwrap();
    hub.register_keyed("variant", |key| Ok(List::new(key))).unwrap();
    hub.register_private("private", |client| Ok(List::new(client.user.as_deref().unwrap()))).unwrap();
    let tick = Edits::new().set("ticks", "ticks + 1");
    hub.register_declared("shared", view.state("key", "").tick(Duration::from_millis(500), tick)).unwrap();
    let ticks = Ticks::default();
    let (clock, due) = (hub.clone(), Arc::clone(&ticks));
    tokio::spawn(async move { clock.run_ticks(|tick| due.lock().unwrap().push(tick)).await });
    (hub, ticks)
}

fn at_first() -> BTreeMap<usize, Model> {
    DOCUMENTS.iter().map(|(view, key)| Model::new(view, key)).enumerate().collect()
}

/// Returns what is known of one of [`DOCUMENTS`], if it was made already.
fn info(views: &[ViewInfo], document: usize) -> Option<&ViewInfo> {
    let (view, key) = DOCUMENTS[document];
    views.iter().find(|info| *info.name == *view && info.key.as_deref().unwrap_or_default() == key)
}

/// Returns the content of one of [`DOCUMENTS`].
fn shown(hub: &Hub, document: usize) -> String {
    let (view, key) = DOCUMENTS[document];
    content_of(&hub.html_for(&Client::default(), view, Some(key).filter(|key| !key.is_empty())).unwrap())
}

impl Model {
    fn new(view: &'static str, heading: &'static str) -> Model {
        let (items, calls, note, sent) = (Vec::new(), Vec::new(), String::new(), VecDeque::new());
        Model { view, heading, items, note, calls, n_calls: 0, ticks: 0, is_behind: false, sent }
    }

    fn apply(&mut self, edit: Edit) {
        self.is_behind = matches!(edit, Edit::Quiet);
        match edit {
            Edit::Items(items) => self.items = items,
            Edit::Note(note) => self.note = note.into(),
            Edit::Call(n) => {
                self.n_calls += 1;
                self.calls.push(n);
                self.calls.drain(..self.calls.len().saturating_sub(3));
            }
            Edit::Rotate => self.items.rotate_left(1),
            Edit::Drop => _ = self.items.remove(0),
            Edit::Replace(item) => self.items[1] = item,
            Edit::Tick | Edit::Quiet => self.ticks += 1,
        }
    }

    fn html(&self) -> String {
        let mut html = format!("<h1>{}</h1><ul>", self.heading);
        for item in &self.items {
            _ = write!(html, "<li dc-key=\"k{item}\">{item}</li>");
        }
        html.push_str("</ul>");
        if !self.note.is_empty() {
            _ = write!(html, "<p title=\"{0}\">{0}</p>", self.note);
        }
        let calls: Vec<String> = self.calls.iter().map(u64::to_string).collect();
        _ = write!(html, "<i>{} {}</i><b>{}</b>", self.n_calls, calls.join(" "), self.ticks);
        html
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn idx(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.below(len as u64) as usize)
    }

    /// Up to eight different numbers.
    fn items(&mut self) -> Vec<u64> {
        let mut items: Vec<u64> = (0..12).collect();
        (0..self.below(9)).map(|_| items.swap_remove(self.below(items.len() as u64) as usize)).collect()
    }
}
