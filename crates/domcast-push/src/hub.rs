//! The hub: all views of a server, and the way in for pushes, events, ticks and pages.

mod turns; // pushes, from the queue to the subscribers

use crate::audience::{Audience, Client, Tab, Tabs};
use crate::cluster::Cluster;
use crate::declared::{DeclaredSource, DeclaredView};
use crate::document::{Document, HistoryLimits, Name};
use crate::engine::Engine;
use crate::error::PushError;
use crate::mailbox::{Mailbox, MailboxLimits};
use crate::memo::Memo;
use crate::position::Position;
use crate::presence::{Headcount, Place, PresenceEvent, Present};
use crate::session::{Gate, Session};
use crate::slot::{Shown, Slot};
use crate::source::{MOUNT, PostedHtml, Source, guarded};
use crate::statistics::{Clock, Statistics, ViewStatistics};
use crate::turn::{self, Input, Live};
use crate::view::{RustView, View, failed};
use crate::views::{DocumentLimits, Documents, Keyed, Lazy, Views, no_such_key};
use domcast_template::Templates;
use serde_json::{Map, Value};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::runtime::RuntimeFlavor;
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;

/// All views of a server. Clones share them.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    options: Options,
    views: Views,
    tabs: Tabs,
    turn_runner: OnceLock<TurnRunner>,
    on_repair: OnceLock<OnRepair>,
    guard: OnceLock<Guard>,
    /// Weak: who drives the cluster holds it, and it holds the hub.
    cluster: OnceLock<Weak<dyn Cluster>>,
    /// Tells this hub's tabs from those of others.
    epoch: Arc<str>,
    n_sessions: AtomicU64,
    n_documents: AtomicU32,
    ticks_changed: Notify,
    /// How many hand ticks out now: one, as a rule.
    n_tickers: AtomicUsize,
    statistics: Statistics,
}

type TurnRunner = Box<dyn Fn(&str, &mut dyn FnMut()) + Send + Sync>;
type OnRepair = Box<dyn Fn(&str, &str) + Send + Sync>;
type Guard = Box<dyn Fn(&Client, &str, Option<&str>) -> bool + Send + Sync>;

/// How a hub works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether pages and browsers are told what is wrong with a view. It may be secret, so the default is `false`.
    pub development: bool,
    /// What is kept of each document for clients that come back.
    pub history: HistoryLimits,
    /// What may wait for each session.
    pub mailbox: MailboxLimits,
    /// How long it is at least from one rendering of a document to the next; `None` is no time. What is pushed meanwhile waits
    /// and is rendered together. The default is 34 ms: at most 30 renderings a second.
    pub render_interval: Option<Duration>,
    /// How many documents with a key there may be, and for how long.
    pub documents: DocumentLimits,
    /// How much memory each private view may take, beside its trees and states, to update its documents at the cost of what changes. It is
    /// counted in bytes of their trees, which is about right. The documents that changed last have it; one that has not is rendered and
    /// compared as a whole at its next change, and has it again. The default is 64 MiB: a thousand pages of 30 kB of HTML.
    pub private_bytes: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            development: false,
            history: HistoryLimits::default(),
            mailbox: MailboxLimits::default(),
            render_interval: Some(Duration::from_millis(34)),
            documents: DocumentLimits::default(),
            private_bytes: 64 << 20,
        }
    }
}

/// A document as an operator sees it.
#[derive(Clone, Debug)]
pub struct ViewInfo {
    /// The view's name.
    pub name: Arc<str>,
    /// The document's key, if it has one. In a private view it is a secret.
    pub key: Option<Arc<str>>,
    /// Where the document stands.
    pub position: Position,
    /// How many sessions are subscribed.
    pub subscribers: usize,
    /// How many pushes, events and ticks wait for a turn.
    pub waiting: usize,
    /// What happened to all documents of the view so far.
    pub statistics: Arc<ViewStatistics>,
}

impl Hub {
    /// A hub without views, whose views are rendered with `templates`.
    pub fn new(templates: Templates) -> Hub {
        Hub::with_options(templates, Options::default())
    }

    /// A hub with options.
    pub fn with_options(templates: Templates, options: Options) -> Hub {
        Hub {
            inner: Arc::new(Inner {
                engine: Engine::new(templates),
                options,
                views: Views::default(),
                tabs: Tabs::default(),
                turn_runner: OnceLock::new(),
                on_repair: OnceLock::new(),
                guard: OnceLock::new(),
                cluster: OnceLock::new(),
                epoch: epoch(),
                n_sessions: AtomicU64::new(0),
                n_documents: AtomicU32::new(0),
                ticks_changed: Notify::new(),
                n_tickers: AtomicUsize::new(0),
                statistics: Statistics::default(),
            }),
        }
    }

    /// The templates that views are rendered with.
    pub fn templates(&self) -> &Templates {
        &self.inner.engine.templates
    }

    /// The options that the hub was made with.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Says how to run a turn, which is handlers and templates: processor work of unknown length.
    ///
    /// Without it turns run where they are awaited. An adapter on a runtime with several threads passes something like
    /// `|_view, turn| tokio::task::block_in_place(turn)`, so that a slow handler does not hold up other tasks. The first call counts.
    pub fn run_turns(&self, runner: impl Fn(&str, &mut dyn FnMut()) + Send + Sync + 'static) {
        _ = self.inner.turn_runner.set(Box::new(runner));
    }

    /// Says whom to tell when the engine failed on the tree of a view: the view's name, and the message of the panic.
    ///
    /// The tree was made anew in the same turn, in another epoch, and its pages got it as a snapshot: nothing is lost but time. It is a bug of
    /// the engine all the same. The first call counts.
    pub fn on_repair(&self, tell: impl Fn(&str, &str) + Send + Sync + 'static) {
        _ = self.inner.on_repair.set(Box::new(tell));
    }

    /// Says what time it is, for the durations in the statistics. The first call counts.
    pub fn measure_with(&self, clock: Clock) {
        _ = self.inner.statistics.clock.set(clock);
    }

    /// What happened so far, besides what happened to each of the [`views`](Self::views).
    pub fn statistics(&self) -> &Statistics {
        &self.inner.statistics
    }

    /// Registers a Rust view, mounts and renders it.
    ///
    /// # Errors
    ///
    /// - [`PushError::NameTaken`], [`PushError::BadName`], [`PushError::BadState`].
    /// - [`PushError::Template`] and its like: the view cannot be rendered. In development it is registered all the same, empty,
    ///   and its page shows the error until [`templates_changed`](Self::templates_changed) finds it mended.
    pub fn register<V: View>(&self, name: &str, view: V) -> Result<(), PushError> {
        let name: Arc<str> = name.into();
        let source = RustView::new(Arc::clone(&name), view)?;
        self.add(name, Box::new(source))
    }

    /// Registers a view that is declared by data.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register), and [`PushError::BadEdit`] or [`PushError::UndeclaredKey`] for a wrong edit.
    pub fn register_declared(&self, name: &str, view: DeclaredView) -> Result<(), PushError> {
        let name: Arc<str> = name.into();
        let source = DeclaredSource::new(Arc::clone(&name), view, &self.inner.engine.templates)?;
        self.add(name, Box::new(source))
    }

    /// Registers a declared view whose first state comes from elsewhere, such as from a database.
    ///
    /// `load` is asked when the document is first used, and gives values for declared keys; the others keep theirs. If it fails, so does that use, with
    /// its error, and the next one asks again; a page that was told [`PushError::Application`] is tried again by itself. It runs as turns do (see
    /// [`run_turns`](Self::run_turns)), so it may block, and more than once at a time. What is pushed meanwhile has the document loaded too and is applied
    /// after that: it may be in the loaded state already, so let it be a change that can be made twice.
    ///
    /// # Errors
    ///
    /// As [`register_declared`](Self::register_declared); a wrong template shows with the first use.
    pub fn register_declared_with(
        &self,
        name: &str,
        view: DeclaredView,
        load: impl Fn() -> Result<Map<String, Value>, PushError> + Send + Sync + 'static,
    ) -> Result<(), PushError> {
        check_name(name)?;
        let name: Arc<str> = name.into();
        let templates = self.inner.engine.templates.clone();
        let first = Arc::new(DeclaredSource::new(Arc::clone(&name), view, &templates)?);
        let blank = Arc::clone(&first);
        let make = move || Ok(Box::new(first.loaded(load()?)?) as Box<dyn Source>);
        let lazy = Lazy::new(make, move |saved| blank.restored(saved));
        self.inner.views.insert(name, Documents::Lazy(Arc::new(lazy)))
    }

    /// Registers a view that shows HTML as it is pushed.
    ///
    /// # Errors
    ///
    /// [`PushError::NameTaken`], [`PushError::BadName`], [`PushError::Html`].
    pub fn register_posted(&self, name: &str, html: impl Into<String>) -> Result<(), PushError> {
        let name: Arc<str> = name.into();
        self.add(Arc::clone(&name), Box::new(PostedHtml { view: name, html: html.into() }))
    }

    /// Registers a Rust view with one document per key, such as the page of an order.
    ///
    /// `make` gives the view of a key when it is first used: when a page shows it, or a push names it. A document that nobody
    /// uses any more is dropped with its state (see [`Options::documents`]), and made anew by `make` when it is needed again.
    /// Refuse keys that do not exist, in `make` ([`PushError::WrongKey`]) or with [`authorize`](Self::authorize): else anybody who may load
    /// a page can fill the number of documents with made-up ones.
    ///
    /// ```
    /// # use domcast_push::{Hub, Push, PushError, View};
    /// # use domcast_template::Templates;
    /// # #[derive(Clone, serde::Serialize, serde::Deserialize)]
    /// # struct Order { number: String, paid: bool }
    /// # impl View for Order { const TEMPLATE: &'static str = "order.html"; }
    /// # let templates = Templates::from_sources([("order.html", "{{ number }}{% if paid %} paid{% endif %}")]);
    /// # let hub = Hub::new(templates);
    /// hub.register_keyed("order", |key| Ok(Order { number: key.into(), paid: false }))?;
    /// hub.push_blocking(Push::state("order", [("paid", true)]).key("42"))?;
    /// assert!(hub.html_keyed("order", "42")?.contains("42 paid"));
    /// # Ok::<(), PushError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PushError::NameTaken`], [`PushError::BadName`]. What is wrong with the view of a key is told to who uses the key.
    pub fn register_keyed<V: View>(
        &self,
        name: &str,
        make: impl Fn(&str) -> Result<V, PushError> + Send + Sync + 'static,
    ) -> Result<(), PushError> {
        let view: Arc<str> = name.into();
        let make = move |key: &str, _: &Client| -> Result<Box<dyn Source>, PushError> {
            Ok(Box::new(RustView::new(Arc::clone(&view), make(key)?)?))
        };
        self.add_keyed(name, Keyed::new(Box::new(make)))
    }

    /// Registers a declared view with one document per key. Its state has `key` besides what is declared.
    ///
    /// # Errors
    ///
    /// As [`register_declared`](Self::register_declared); a wrong template shows with the first key.
    pub fn register_declared_keyed(&self, name: &str, view: DeclaredView) -> Result<(), PushError> {
        self.register_declared_keyed_with(name, view, |_| Ok(Map::new()))
    }

    /// Registers a declared view with one document per key, whose first state comes from elsewhere, as that of a
    /// [view without keys](Self::register_declared_with) may: `load` is asked for each key.
    ///
    /// # Errors
    ///
    /// As [`register_declared_keyed`](Self::register_declared_keyed).
    pub fn register_declared_keyed_with(
        &self,
        name: &str,
        view: DeclaredView,
        load: impl Fn(&str) -> Result<Map<String, Value>, PushError> + Send + Sync + 'static,
    ) -> Result<(), PushError> {
        let name: Arc<str> = name.into();
        let declared = view.state("key", "");
        DeclaredSource::new(Arc::clone(&name), declared.clone(), &self.inner.engine.templates)?;
        let (view, templates) = (Arc::clone(&name), self.inner.engine.templates.clone());
        let blank = Arc::new(move |key: &str| {
            DeclaredSource::new(Arc::clone(&view), declared.clone().state("key", key), &templates)
        });
        let resumed = Arc::clone(&blank);
        let mut keyed = Keyed::new(Box::new(move |key, _| Ok(Box::new(blank(key)?.loaded(load(key)?)?))));
        keyed.resume = Some(Box::new(move |key, saved| resumed(key)?.restored(saved)));
        self.add_keyed(&name, keyed)
    }

    /// Registers a view with one document for each page that shows it, for state of its own: a cart, a filter, a draft.
    ///
    /// `make` gives the view of a client when a page is rendered for it. The document's key is a secret of the page, and only the
    /// same user in the same session of a browser gets the document by it.
    ///
    /// Documents in equal state share their rendering, diff and encoding: a thousand sessions in one state cost one. So the
    /// template must depend on the state alone; a function of its that reads a clock may show the time of another document.
    ///
    /// # Errors
    ///
    /// As [`register_keyed`](Self::register_keyed).
    pub fn register_private<V: View>(
        &self,
        name: &str,
        make: impl Fn(&Client) -> Result<V, PushError> + Send + Sync + 'static,
    ) -> Result<(), PushError> {
        let view: Arc<str> = name.into();
        let make = move |_: &str, client: &Client| -> Result<Box<dyn Source>, PushError> {
            Ok(Box::new(RustView::new(Arc::clone(&view), make(client)?)?))
        };
        self.add_keyed(name, Keyed::private(Box::new(make), self.inner.options.private_bytes))
    }

    fn add(&self, name: Arc<str>, source: Box<dyn Source>) -> Result<(), PushError> {
        check_name(&name)?;
        let slot = self.slot_of(Name { view: Arc::clone(&name), key: None }, source, None)?;
        self.shared(slot, |slot| self.inner.views.insert(name, Documents::One(Arc::clone(&slot))).map(|()| slot))?;
        self.inner.ticks_changed.notify_waiters();
        Ok(())
    }

    fn add_keyed(&self, name: &str, keyed: Keyed) -> Result<(), PushError> {
        check_name(name)?;
        self.inner.views.insert(name.into(), Documents::Keyed(Arc::new(keyed)))?;
        self.inner.ticks_changed.notify_waiters();
        Ok(())
    }

    /// Renders a source for the first time.
    fn slot_of(&self, name: Name, source: Box<dyn Source>, memo: Option<Arc<Memo>>) -> Result<Arc<Slot>, PushError> {
        let statistics = self.inner.statistics.of(&name.view);
        let (live, tree) = Live::new(Arc::clone(&name.view), source, memo, &self.inner.engine, Arc::clone(&statistics));
        statistics.set_broken(tree.is_err());
        let (tree, fault) = match tree {
            Ok(tree) => (tree, None),
            Err(error) if self.inner.options.development => (Arc::default(), Some(turn::fault(&error))),
            Err(error) => return Err(error),
        };
        let number = self.inner.n_documents.fetch_add(1, Ordering::Relaxed);
        let mut document = Document::new(name, number, tree, epoch(), self.inner.options.history);
        document.set_fault(fault);
        Ok(Arc::new(Slot::new(live, document, statistics)))
    }

    /// Returns the element that holds the view, for a page: complete without JavaScript, and live once the client runs.
    ///
    /// # Errors
    ///
    /// [`PushError::UnknownView`]; [`PushError::WrongKey`] for a view with keys.
    pub fn html(&self, view: &str) -> Result<Arc<str>, PushError> {
        self.html_for(&Client::default(), view, None)
    }

    /// Returns the element that holds the document of a key, as [`html`](Self::html) does, and makes the document if need be.
    ///
    /// # Errors
    ///
    /// As [`html`](Self::html), [`PushError::TooManyDocuments`], and what keeps the document from being made.
    pub fn html_keyed(&self, view: &str, key: &str) -> Result<Arc<str>, PushError> {
        self.html_for(&Client::default(), view, Some(key))
    }

    /// Returns the element that holds a view, for a page of this client. A private view gets a new document, and takes no key.
    ///
    /// # Errors
    ///
    /// As [`html_keyed`](Self::html_keyed).
    pub fn html_for(&self, client: &Client, view: &str, key: Option<&str>) -> Result<Arc<str>, PushError> {
        let secret;
        let key = match (self.inner.views.get(view)?.1, key) {
            (Documents::Keyed(keyed), None) if keyed.is_private => {
                secret = secret_key();
                Some(&*secret)
            }
            (Documents::Keyed(keyed), Some(_)) if keyed.is_private => {
                let reason = "is private: a page cannot name its key".into();
                return Err(PushError::WrongKey { view: view.into(), reason });
            }
            (_, key) => key,
        };
        let slot = self.visible(client, view, key)?;
        self.catch_up(&slot);
        Ok(slot.shown().document.container())
    }

    /// Lists the documents by name and key.
    pub fn views(&self) -> Vec<ViewInfo> {
        let info = |slot: &Arc<Slot>| {
            let Shown { document, subscribers, .. } = &*slot.shown();
            let (name, position) = (Arc::clone(document.view()), document.position().clone());
            ViewInfo {
                name,
                key: document.key().cloned(),
                position,
                subscribers: subscribers.len(),
                waiting: slot.n_waiting(),
                statistics: Arc::clone(&slot.statistics),
            }
        };
        self.slots().iter().map(info).collect()
    }

    /// Returns who is at a view, at its document of a key, or among those who get a topic's messages, on all servers of a [cluster](crate::join).
    ///
    /// A user counts once with however many tabs, and so does a session of a browser in which nobody is logged in.
    pub fn presence(&self, place: &Place) -> Present {
        self.inner.tabs.presence.at(place)
    }

    /// Counts who is at each view, document of a key and topic whose name begins with `prefix`: views first, in the order of names
    /// and keys. Where nobody is, is left out.
    pub fn headcounts(&self, prefix: &str) -> Vec<Headcount> {
        self.inner.tabs.presence.count(prefix)
    }

    /// Returns the joins and leaves from now on, in order: one per user and place over many tabs.
    ///
    /// A listener that is 1,024 events behind is told so in place of those it missed (`RecvError::Lagged`), and asks
    /// [`presence`](Self::presence) anew. Make pushes of them to show in a page who else is there:
    ///
    /// ```
    /// # use domcast_push::{Hub, Place, PresenceEvent, Push};
    /// # async fn show(hub: Hub) {
    /// let mut events = hub.presence_events();
    /// while let Ok(PresenceEvent::Joined { .. } | PresenceEvent::Left { .. }) = events.recv().await {
    ///     let here = hub.presence(&Place::view("order"));
    ///     let here = [("users", serde_json::json!(here.users.len())), ("guests", serde_json::json!(here.n_anonymous))];
    ///     _ = hub.push(Push::state("who", here)).await;
    /// }
    /// # }
    /// ```
    pub fn presence_events(&self) -> broadcast::Receiver<PresenceEvent> {
        self.inner.tabs.presence.listen()
    }

    /// Lets the tabs of an audience that are connected to this hub get the messages of a topic from now on. Returns for how many that is new.
    pub fn subscribe(&self, audience: &Audience, topic: &str) -> usize {
        self.inner.tabs.set_topic(audience, topic, true).len()
    }

    /// Takes a topic from the tabs of an audience that are connected to this hub: no message that is sent after the call reaches them, and the views that
    /// [`authorize`](Self::authorize) then refuses them are taken away. Returns how many had it. On all servers [`Push::revoke`](crate::Push::revoke) does that.
    ///
    /// What a tab gets when it connects, and connects again, its [`Client`] says: take the topic from there before.
    pub fn unsubscribe(&self, audience: &Audience, topic: &str) -> usize {
        let lost = self.inner.tabs.set_topic(audience, topic, false);
        lost.iter().filter_map(Weak::upgrade).for_each(|session| session.ask_again());
        lost.len()
    }

    /// Counts how often topics were taken ([`unsubscribe`](Self::unsubscribe), [`Push::revoke`](crate::Push::revoke)). Whoever finds out elsewhere what a
    /// client gets asks again if this grew meanwhile, since the answer may be older, and says in [`Client::n_taken`] what it was before.
    pub fn n_taken(&self) -> usize {
        self.inner.tabs.n_taken()
    }

    /// Opens a session: one per connection. Nothing is known of its client.
    pub fn connect(&self) -> Arc<Session> {
        self.connect_as(Client::default())
    }

    /// Opens a session of this client: one per connection.
    pub fn connect_as(&self, client: Client) -> Arc<Session> {
        self.open(client, None)
    }

    /// Opens a session of this client that mounts only what `gate` lets through.
    pub fn connect_through(&self, client: Client, gate: Arc<dyn Gate>) -> Arc<Session> {
        self.open(client, Some(gate))
    }

    /// Over how long the sessions of this hub should come back if all of them were lost now: 20 ms for each, from half a second to 8 s.
    ///
    /// Each is told so when it mounts a view. Those that came while there were few come back early, but the more there are, the fewer of
    /// them: of 1,000 that came one by one less than a quarter is back in the first second.
    pub fn spread(&self) -> Duration {
        let statistics = &self.inner.statistics;
        let n_sessions = statistics.sessions_opened.get().saturating_sub(statistics.sessions_closed.get());
        Duration::from_millis(n_sessions.saturating_mul(20).clamp(500, 8_000))
    }

    fn open(&self, client: Client, gate: Option<Arc<dyn Gate>>) -> Arc<Session> {
        let id = self.inner.n_sessions.fetch_add(1, Ordering::Relaxed);
        let tab = Tab { id: format!("{}-{id}", self.inner.epoch).into(), client: Arc::new(client) };
        let mailbox = Arc::new(Mailbox::new(self.inner.options.mailbox));
        let session = Arc::new(Session::new(self.clone(), id, tab.clone(), Arc::clone(&mailbox), gate));
        if !self.inner.tabs.connect(&tab, &mailbox, Arc::downgrade(&session)) {
            session.lapse();
        }
        session
    }

    /// Says which clients may see which view, with which key. It is asked whenever a page is rendered or connects, so also before
    /// a client that was away gets what it missed; a refused view counts as unknown. It is asked again about what a page has mounted when the page loses a
    /// topic, and what it refuses then is taken away. Without it everybody may. The first call counts.
    pub fn authorize(&self, may_see: impl Fn(&Client, &str, Option<&str>) -> bool + Send + Sync + 'static) {
        _ = self.inner.guard.set(Box::new(may_see));
    }

    /// Reads the templates anew and renders every view again, keeping its state. Returns the errors of those that cannot be.
    pub async fn templates_changed(&self) -> Vec<PushError> {
        self.inner.engine.templates.reload();
        let mut errors = Vec::new();
        for slot in self.slots() {
            errors.extend(self.start(&slot, Input::Render).await.err());
        }
        errors
    }

    /// Leaves the cluster that the hub has [joined](crate::join), in good order: what its views were last is committed, their leases are
    /// given back, and what waits for other owners is sent. Other servers take over at once. Without a cluster it does nothing.
    ///
    /// What was pushed here before is applied, if need be here: a document that no other server has is kept with it, for who uses it next. What is
    /// pushed here from then on goes to the new owners, so end the ways in first. While the ledger is away this waits, so set it a deadline.
    pub async fn leave(&self) {
        if let Some(cluster) = self.cluster() {
            cluster.leave().await;
        }
    }

    /// Takes part in a cluster; every view from now on is shared. A hub joins once.
    pub(crate) fn set_cluster(&self, cluster: Weak<dyn Cluster>) {
        assert!(self.inner.cluster.set(cluster).is_ok(), "a hub joins one cluster, once");
    }

    fn cluster(&self) -> Option<Arc<dyn Cluster>> {
        self.inner.cluster.get()?.upgrade()
    }

    /// Returns the document that a client asks for, if it may see it.
    pub(crate) fn visible(&self, client: &Client, view: &str, key: Option<&str>) -> Result<Arc<Slot>, PushError> {
        match self.may_see(client, view, key) {
            true => self.slot(view, key, client),
            false => Err(no_such_key(view)),
        }
    }

    /// Returns the document that a client asks for, if it may see it; `None` if the document has to be made, which may take its time.
    pub(crate) fn visible_now(
        &self,
        client: &Client,
        view: &str,
        key: Option<&str>,
    ) -> Result<Option<Arc<Slot>>, PushError> {
        if !self.may_see(client, view, key) {
            return Err(no_such_key(view));
        }
        match (self.inner.views.get(view)?.1, key) {
            (Documents::Lazy(lazy), None) => Ok(lazy.get()),
            (Documents::Keyed(keyed), Some(key)) => keyed.get(view, key, client),
            // It is there from the start, or asked for wrongly.
            _ => self.slot(view, key, client).map(Some),
        }
    }

    pub(crate) fn may_see(&self, client: &Client, view: &str, key: Option<&str>) -> bool {
        self.inner.guard.get().is_none_or(|may_see| may_see(client, view, key))
    }

    /// Returns a document, and makes it if its key is new.
    fn slot(&self, view: &str, key: Option<&str>, client: &Client) -> Result<Arc<Slot>, PushError> {
        let wrong = |reason: &str| Err(PushError::WrongKey { view: view.into(), reason: reason.into() });
        match (self.inner.views.get(view)?, key) {
            ((_, Documents::One(slot)), None) => Ok(slot),
            ((name, Documents::Lazy(lazy)), None) => {
                lazy.get().map_or_else(|| self.make_lazy(name, &lazy, &lazy.make), Ok)
            }
            ((_, Documents::One(_) | Documents::Lazy(_)), Some(_)) => wrong("has one document, and no keys"),
            ((_, Documents::Keyed(_)), None) => wrong("has a document per key, and no key is named"),
            ((name, Documents::Keyed(keyed)), Some(key)) => match keyed.get(view, key, client)? {
                Some(slot) => Ok(slot),
                None => self.make(name, &keyed, key, client, &|| (keyed.make)(key, client)),
            },
        }
    }

    fn make(
        &self,
        view: Arc<str>,
        keyed: &Keyed,
        key: &str,
        client: &Client,
        make: &dyn Fn() -> Result<Box<dyn Source>, PushError>,
    ) -> Result<Arc<Slot>, PushError> {
        const MAX_KEY_BYTES: usize = 256;
        if key.is_empty() || key.len() > MAX_KEY_BYTES || key.chars().any(char::is_control) {
            let reason = format!("takes keys of 1 to {MAX_KEY_BYTES} bytes without control characters");
            return Err(PushError::WrongKey { view: view.to_string(), reason });
        }
        let key: Arc<str> = key.into();
        let name = Name { view: Arc::clone(&view), key: Some(Arc::clone(&key)) };
        let slot = self.made(name, keyed.memo.clone(), make)?;
        self.shared(slot, |slot| keyed.insert(&view, key, slot, client.clone(), self.inner.options.documents))
    }

    /// Makes the only document of a view that is not there from the start.
    fn make_lazy(
        &self,
        view: Arc<str>,
        lazy: &Lazy,
        make: &dyn Fn() -> Result<Box<dyn Source>, PushError>,
    ) -> Result<Arc<Slot>, PushError> {
        let slot = self.made(Name { view, key: None }, None, make)?;
        let inserted = self.shared(slot, |slot| Ok(lazy.insert(slot)))?;
        self.inner.ticks_changed.notify_waiters();
        Ok(inserted)
    }

    /// Makes a document, which is user code.
    fn made(
        &self,
        name: Name,
        memo: Option<Arc<Memo>>,
        make: &dyn Fn() -> Result<Box<dyn Source>, PushError>,
    ) -> Result<Arc<Slot>, PushError> {
        let view = Arc::clone(&name.view);
        let (mut slot, mut name_and_memo) = (None, Some((name, memo)));
        self.run(&view, &mut || {
            let Some((name, memo)) = name_and_memo.take() else { return };
            let made =
                guarded(make).unwrap_or_else(|reason| Err(failed(&view, MOUNT, format!("it panicked: {reason}"))));
            slot = Some(made.and_then(|source| self.slot_of(name, source, memo)));
        });
        slot.unwrap_or_else(|| Err(PushError::Lost { view: view.to_string() }))
    }

    /// Inserts a new document, shared with other servers before anybody can push to it: nothing may happen to it here alone.
    fn shared(
        &self,
        slot: Arc<Slot>,
        insert: impl FnOnce(Arc<Slot>) -> Result<Arc<Slot>, PushError>,
    ) -> Result<Arc<Slot>, PushError> {
        let cluster = self.cluster();
        let replica = cluster.as_ref().and_then(|cluster| cluster.share(&slot));
        let inserted = insert(Arc::clone(&slot))?;
        if Arc::ptr_eq(&inserted, &slot) {
            replica.into_iter().zip(cluster).for_each(|(replica, cluster)| cluster.keep(replica));
        }
        Ok(inserted)
    }

    /// Makes the document that a push of another server is for.
    pub(crate) fn make_shared(&self, view: &str, key: Option<&str>) -> Result<(), PushError> {
        self.slot(view, key, &Client::default()).map(drop)
    }

    /// Makes the document of which another server saved this, if it is not here and that can be done without asking for its first state.
    /// Returns whether it is here now.
    pub(crate) fn resume_shared(&self, view: &str, key: Option<&str>, saved: &str) -> bool {
        let nobody = Client::default();
        let slot = match (self.inner.views.get(view), key) {
            (Ok((name, Documents::Keyed(keyed))), Some(key)) => match (keyed.get(view, key, &nobody), &keyed.resume) {
                (Ok(None), Some(resume)) => self.make(name, &keyed, key, &nobody, &|| resume(key, saved)),
                (found, _) => return matches!(found, Ok(Some(_))),
            },
            (Ok((name, Documents::Lazy(lazy))), None) => {
                lazy.get().map_or_else(|| self.make_lazy(name, &lazy, &|| (lazy.resume)(saved)), Ok)
            }
            _ => return false,
        };
        slot.is_ok()
    }

    /// Whether the document of a view without keys is made when it is first used.
    pub(crate) fn is_lazy(&self, view: &str) -> bool {
        matches!(self.inner.views.get(view), Ok((_, Documents::Lazy(_))))
    }

    /// Waits for what other servers know of a document that was made just now, where waiting holds up nobody, and not for long: it comes as an update
    /// in any case.
    fn catch_up(&self, slot: &Slot) {
        const PATIENCE: Duration = Duration::from_millis(250);
        let Some(link) = slot.link.get().filter(|link| !link.is_settled()) else { return };
        let may_wait = match tokio::runtime::Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::CurrentThread) => false,
            Ok(_) => self.inner.turn_runner.get().is_some(),
            Err(_) => true,
        };
        if may_wait && slot.shown().document.key().is_some() {
            self.run(&slot.view, &mut || link.wait_until_settled(PATIENCE));
        }
    }

    /// Drops a document with a key that is shared with other servers, if nobody uses it here.
    pub(crate) fn release(&self, slot: &Arc<Slot>) -> bool {
        let Some(key) = slot.shown().document.key().cloned() else { return false };
        match self.inner.views.get(&slot.view) {
            Ok((_, Documents::Keyed(keyed))) => keyed.release(&key, slot, self.inner.options.documents.idle),
            _ => false,
        }
    }

    pub(crate) fn slots(&self) -> Vec<Arc<Slot>> {
        self.inner.views.slots()
    }

    /// Drops the documents that nobody uses any more; returns when to look again.
    pub(crate) fn drop_idle(&self) -> Option<Instant> {
        self.inner.views.drop_idle(self.inner.options.documents.idle)
    }

    pub(crate) fn ticks_changed(&self) -> &Notify {
        &self.inner.ticks_changed
    }

    pub(crate) fn n_tickers(&self) -> &AtomicUsize {
        &self.inner.n_tickers
    }

    /// Whether a view has a document per key, which all servers share.
    pub(crate) fn is_keyed(&self, view: &str) -> bool {
        matches!(self.inner.views.get(view), Ok((_, Documents::Keyed(keyed))) if !keyed.is_private)
    }

    /// Whether a view has a document for each page.
    pub(crate) fn is_private(&self, view: &str) -> bool {
        matches!(self.inner.views.get(view), Ok((_, Documents::Keyed(keyed))) if keyed.is_private)
    }

    /// The key that a document is asked for by; that of a private one is a secret between its page and the server.
    pub(crate) fn known_key(&self, slot: &Slot) -> Option<Arc<str>> {
        let is_private = self.is_private(&slot.view);
        slot.shown().document.key().filter(|_| !is_private).cloned()
    }

    /// Where those are who look at a document: at its view, and at its key unless that is a secret.
    pub(crate) fn places(&self, slot: &Slot) -> impl Iterator<Item = Place> + use<> {
        let view = Arc::clone(&slot.view);
        let of_key = self.known_key(slot).map(|key| Place::View { view: Arc::clone(&view), key: Some(key) });
        std::iter::once(Place::View { view, key: None }).chain(of_key)
    }

    pub(crate) fn tabs(&self) -> &Tabs {
        &self.inner.tabs
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("views", &self.views()).finish_non_exhaustive()
    }
}

fn check_name(name: &str) -> Result<(), PushError> {
    let is_name_char = |char: char| char.is_ascii_alphanumeric() || "-_.:".contains(char);
    match (1..=128).contains(&name.len()) && name.chars().all(is_name_char) {
        true => Ok(()),
        false => Err(PushError::BadName { view: name.into() }),
    }
}

/// Makes a key that nobody guesses: 128 random bits.
fn secret_key() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes a name for a document's life that no other life of it has had: 40 random bits.
pub(crate) fn epoch() -> Arc<str> {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijkmnpqrstuvwx";
    let random = RandomState::new().hash_one(0_u8);
    let digit = |idx: u32| char::from(DIGITS[(random >> (5 * idx)) as usize % DIGITS.len()]);
    (0..8).map(digit).collect::<String>().into()
}
