//! The hub: all views of a server, and the way in for pushes, events, ticks and pages.
//!
//! Turns are combined instead of given to a task per view: whoever wants something puts its input into the queue of
//! a document's slot and waits for the live half *or* for an answer. Whoever gets the live half takes all that waits, runs
//! one turn for everybody and answers each.
//!
//! After a rendering the queue is closed for a while, so that many pushes share the next one. It is a throttle: what comes
//! after a pause is rendered at once, and what waits is rendered when the queue opens, whatever else arrives meanwhile.

use crate::audience::{Client, Tab, Tabs};
use crate::call::{Effects, HandlerPush, Sender};
use crate::cluster::Cluster;
use crate::declared::{DeclaredSource, DeclaredView};
use crate::document::{Document, HistoryLimits, Name, Update};
use crate::engine::Engine;
use crate::error::PushError;
use crate::frame;
use crate::mailbox::{Mailbox, MailboxLimits};
use crate::memo::Memo;
use crate::position::Position;
use crate::presence::{Headcount, Place, PresenceEvent, Present};
use crate::push::{Content, Push, Receipt};
use crate::replica::Link;
use crate::session::{Gate, Session};
use crate::slot::{Answer, Shown, Slot, Subscriber, Ticket, Waiting};
use crate::source::{PostedHtml, Source};
use crate::statistics::{Clock, Statistics, ViewStatistics};
use crate::turn::{self, Done, Input, Live, Rendering};
use crate::view::{RustView, View};
use crate::views::{DocumentLimits, Documents, Keyed, Views, no_such_key};
use domcast_template::Templates;
use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{Notify, broadcast};
use tokio::time::{Instant, sleep_until, timeout};

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
    guard: OnceLock<Guard>,
    cluster: OnceLock<Arc<dyn Cluster>>,
    /// Tells this hub's tabs from those of others.
    epoch: Arc<str>,
    n_sessions: AtomicU64,
    n_documents: AtomicU32,
    ticks_changed: Notify,
    statistics: Statistics,
}

type TurnRunner = Box<dyn Fn(&str, &mut dyn FnMut()) + Send + Sync>;
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
}

impl Default for Options {
    fn default() -> Options {
        Options {
            development: false,
            history: HistoryLimits::default(),
            mailbox: MailboxLimits::default(),
            render_interval: Some(Duration::from_millis(34)),
            documents: DocumentLimits::default(),
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
                guard: OnceLock::new(),
                cluster: OnceLock::new(),
                epoch: epoch(),
                n_sessions: AtomicU64::new(0),
                n_documents: AtomicU32::new(0),
                ticks_changed: Notify::new(),
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
    /// Refuse keys that do not exist, in `make` or with [`authorize`](Self::authorize): else anybody who may load a page can fill
    /// the number of documents with made-up ones.
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
        self.add_keyed(name, false, move |key, _| Ok(Box::new(RustView::new(Arc::clone(&view), make(key)?)?)))
    }

    /// Registers a declared view with one document per key. Its state has `key` besides what is declared.
    ///
    /// # Errors
    ///
    /// As [`register_declared`](Self::register_declared); a wrong template shows with the first key.
    pub fn register_declared_keyed(&self, name: &str, view: DeclaredView) -> Result<(), PushError> {
        let name: Arc<str> = name.into();
        let declared = view.state("key", "");
        DeclaredSource::new(Arc::clone(&name), declared.clone(), &self.inner.engine.templates)?;
        let (view, templates) = (Arc::clone(&name), self.inner.engine.templates.clone());
        self.add_keyed(&name, false, move |key, _| {
            let declared = declared.clone().state("key", key);
            Ok(Box::new(DeclaredSource::new(Arc::clone(&view), declared, &templates)?))
        })
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
        self.add_keyed(name, true, move |_, client| Ok(Box::new(RustView::new(Arc::clone(&view), make(client)?)?)))
    }

    fn add(&self, name: Arc<str>, source: Box<dyn Source>) -> Result<(), PushError> {
        check_name(&name)?;
        let slot = self.slot_of(Name { view: Arc::clone(&name), key: None }, source, None)?;
        // Shared before anybody can push to it: nothing may happen to it here alone.
        let cluster = self.inner.cluster.get();
        let replica = cluster.and_then(|cluster| cluster.share(&slot));
        self.inner.views.insert(name, Documents::One(slot))?;
        replica.into_iter().zip(cluster).for_each(|(replica, cluster)| cluster.keep(replica));
        self.inner.ticks_changed.notify_waiters();
        Ok(())
    }

    fn add_keyed(
        &self,
        name: &str,
        is_private: bool,
        make: impl Fn(&str, &Client) -> Result<Box<dyn Source>, PushError> + Send + Sync + 'static,
    ) -> Result<(), PushError> {
        check_name(name)?;
        let keyed = Keyed::new(is_private, Box::new(make));
        self.inner.views.insert(name.into(), Documents::Keyed(Arc::new(keyed)))
    }

    /// Renders a source for the first time.
    fn slot_of(&self, name: Name, source: Box<dyn Source>, memo: Option<Arc<Memo>>) -> Result<Arc<Slot>, PushError> {
        let statistics = self.inner.statistics.of(&name.view);
        let (live, tree) =
            Live::new(Arc::clone(&name.view), source, memo.clone(), &self.inner.engine, Arc::clone(&statistics));
        statistics.set_broken(tree.is_err());
        let (tree, fault) = match tree {
            Ok(tree) => (tree, None),
            Err(error) if self.inner.options.development => (Arc::default(), Some(turn::fault(&error))),
            Err(error) => return Err(error),
        };
        let number = self.inner.n_documents.fetch_add(1, Ordering::Relaxed);
        let mut document = Document::new(name, number, tree, memo, epoch(), self.inner.options.history);
        document.set_fault(fault);
        Ok(Arc::new(Slot::new(live, document, statistics)))
    }

    /// Applies a push and shows it to all subscribers of its view.
    ///
    /// Pushes to one view are applied in the order of the calls. Those that wait together are rendered together; state
    /// pushes among them merge, handlers run once each. The answer comes after the rendering that shows the push (see
    /// [`Options::render_interval`]). Dropping the future before its turn began withdraws the push, and what its handler pushed on.
    ///
    /// # Errors
    ///
    /// [`PushError`]; the view is then as it was, but for [`PushError::Partly`].
    pub async fn push(&self, push: Push) -> Result<Receipt, PushError> {
        self.submit(push)?.await
    }

    /// Puts a push into its view's queue and returns what to await. A message is sent at once.
    ///
    /// This keeps the order of pushes that are awaited side by side.
    ///
    /// # Errors
    ///
    /// [`PushError::UnknownView`] and what else shows before the push waits.
    pub fn submit(
        &self,
        push: Push,
    ) -> Result<impl Future<Output = Result<Receipt, PushError>> + Send + use<>, PushError> {
        let hub = self.clone();
        let started = self.begin(push, &Sender::Push, None)?;
        Ok(async move { hub.settle(started).await })
    }

    /// Applies a push and blocks the thread meanwhile.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    ///
    /// # Panics
    ///
    /// Panics in an async task: use [`push`](Self::push) there.
    pub fn push_blocking(&self, push: Push) -> Result<Receipt, PushError> {
        let mut started = self.begin(push, &Sender::Push, None)?;
        for mut ticket in std::mem::take(&mut started.tickets) {
            let mut outcome = self.wait_blocking(&mut ticket);
            if let Ok(answer) = &mut outcome {
                for mut follow_up in std::mem::take(&mut answer.follow_ups) {
                    answer
                        .receipt
                        .refused
                        .extend(self.wait_blocking(&mut follow_up).err().map(|error| error.to_string()));
                }
            }
            started.add(outcome);
        }
        started.finish()
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
        Ok(self.visible(client, view, key)?.shown().document.container())
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

    /// Returns who is at a view, at its document of a key, or among those who get a topic's messages, on this process's connections.
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

    /// Opens a session: one per connection. Nothing is known of its client.
    pub fn connect(&self) -> Session {
        self.connect_as(Client::default())
    }

    /// Opens a session of this client: one per connection.
    pub fn connect_as(&self, client: Client) -> Session {
        self.open(client, None)
    }

    /// Opens a session of this client that mounts only what `gate` lets through.
    pub fn connect_through(&self, client: Client, gate: Arc<dyn Gate>) -> Session {
        self.open(client, Some(gate))
    }

    fn open(&self, client: Client, gate: Option<Arc<dyn Gate>>) -> Session {
        let id = self.inner.n_sessions.fetch_add(1, Ordering::Relaxed);
        let tab = Tab { id: format!("{}-{id}", self.inner.epoch).into(), client: Arc::new(client) };
        let mailbox = Arc::new(Mailbox::new(self.inner.options.mailbox));
        self.inner.tabs.connect(&tab, &mailbox);
        Session::new(self.clone(), id, tab, mailbox, gate)
    }

    /// Says which clients may see which view, with which key. It is asked whenever a page is rendered or connects, so also before
    /// a client that was away gets what it missed; a refused view counts as unknown. Without it everybody may. The first call
    /// counts.
    pub fn authorize(&self, may_see: impl Fn(&Client, &str, Option<&str>) -> bool + Send + Sync + 'static) {
        _ = self.inner.guard.set(Box::new(may_see));
    }

    /// Reads the templates anew and renders every view again, keeping its state. Returns the errors of those that cannot be.
    pub async fn templates_changed(&self) -> Vec<PushError> {
        self.inner.engine.templates.reload();
        self.inner.views.forget_renderings();
        let mut errors = Vec::new();
        for slot in self.slots() {
            errors.extend(self.start(&slot, Input::Render).await.err());
        }
        errors
    }

    /// Leaves the cluster that the hub has [joined](crate::join), in good order: what its views were last is committed, their leases are
    /// given back, and what waits for other owners is sent. Other servers take over at once. Without a cluster it does nothing.
    ///
    /// What is pushed here from then on goes to the new owners. While the ledger is away this waits, so set it a deadline.
    pub async fn leave(&self) {
        if let Some(cluster) = self.inner.cluster.get() {
            cluster.leave().await;
        }
    }

    /// Takes part in a cluster; every view from now on is shared. A hub joins once.
    pub(crate) fn set_cluster(&self, cluster: Arc<dyn Cluster>) {
        assert!(self.inner.cluster.set(cluster).is_ok(), "a hub joins one cluster, once");
    }

    /// Returns the document that a client asks for, if it may see it.
    pub(crate) fn visible(&self, client: &Client, view: &str, key: Option<&str>) -> Result<Arc<Slot>, PushError> {
        match self.inner.guard.get() {
            Some(may_see) if !may_see(client, view, key) => Err(no_such_key(view)),
            _ => self.slot(view, key, client),
        }
    }

    /// Returns a document, and makes it if its key is new.
    fn slot(&self, view: &str, key: Option<&str>, client: &Client) -> Result<Arc<Slot>, PushError> {
        let wrong = |reason: &str| Err(PushError::WrongKey { view: view.into(), reason: reason.into() });
        match (self.inner.views.get(view)?, key) {
            ((_, Documents::One(slot)), None) => Ok(slot),
            ((_, Documents::One(_)), Some(_)) => wrong("has one document, and no keys"),
            ((_, Documents::Keyed(_)), None) => wrong("has a document per key, and no key is named"),
            ((name, Documents::Keyed(keyed)), Some(key)) => match keyed.get(key, client) {
                Some(slot) => Ok(slot),
                None if keyed.has(key) => Err(no_such_key(view)),
                None => self.make(name, &keyed, key, client),
            },
        }
    }

    fn make(&self, view: Arc<str>, keyed: &Keyed, key: &str, client: &Client) -> Result<Arc<Slot>, PushError> {
        const MAX_KEY_BYTES: usize = 256;
        if key.is_empty() || key.len() > MAX_KEY_BYTES || key.chars().any(char::is_control) {
            let reason = format!("takes keys of 1 to {MAX_KEY_BYTES} bytes without control characters");
            return Err(PushError::WrongKey { view: view.to_string(), reason });
        }
        let key: Arc<str> = key.into();
        let mut slot = None;
        self.run(&view, &mut || {
            let name = Name { view: Arc::clone(&view), key: Some(Arc::clone(&key)) };
            slot = Some((keyed.make)(&key, client).and_then(|source| self.slot_of(name, source, keyed.memo.clone())));
        });
        let slot = slot.unwrap_or_else(|| Err(PushError::Lost { view: view.to_string() }))?;
        keyed.insert(&view, key, slot, client.clone(), self.inner.options.documents)
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

    /// Where those are who look at a document: at its view, and at its key unless that is a secret.
    pub(crate) fn places(&self, slot: &Slot) -> impl Iterator<Item = Place> + use<> {
        let is_private =
            matches!(self.inner.views.get(&slot.view), Ok((_, Documents::Keyed(keyed))) if keyed.is_private);
        let key = slot.shown().document.key().filter(|_| !is_private).cloned();
        let view = Arc::clone(&slot.view);
        let of_key = key.map(|key| Place::View { view: Arc::clone(&view), key: Some(key) });
        std::iter::once(Place::View { view, key: None }).chain(of_key)
    }

    pub(crate) fn tabs(&self) -> &Tabs {
        &self.inner.tabs
    }

    /// Enqueues an input at once and returns its outcome's future.
    pub(crate) fn start(
        &self,
        slot: &Arc<Slot>,
        input: Input,
    ) -> impl Future<Output = Result<Receipt, PushError>> + Send + use<> {
        let view = Arc::clone(slot.shown().document.view());
        let started = Started::new(&view, true, vec![slot.enqueue(input)]);
        let hub = self.clone();
        async move { hub.settle(started).await }
    }

    /// Sends a message, or enqueues a change for every document that it is for.
    ///
    /// `origin` is the document whose handler pushes: what is for itself comes next there.
    fn begin(&self, push: Push, sender: &Sender, origin: Option<Origin<'_>>) -> Result<Started, PushError> {
        let Push { content, audience } = push;
        let (view, key, change) = match content {
            Content::Change { view, key, change } => (view, key, Arc::new(change)),
            Content::Message { topic, data } => {
                let mut started = Started::new(&topic, false, Vec::new());
                started.receipt.subscribers = self.inner.tabs.tell(&topic, &audience, &frame::message(&topic, &data));
                return Ok(started);
            }
        };
        let (name, documents) = self.inner.views.get(&view)?;
        let has_keys = matches!(documents, Documents::Keyed(_));
        let slots = match (documents, &key) {
            (Documents::Keyed(keyed), None) if keyed.is_private || audience.is_everybody() => keyed.of(&audience),
            (Documents::Keyed(keyed), Some(_)) if keyed.is_private => {
                let reason = "is private: a push names its user, session or tab, and no key".into();
                return Err(PushError::WrongKey { view, reason });
            }
            _ if !audience.is_everybody() => return Err(PushError::NotPrivate { view }),
            (_, key) if !has_keys || key.is_some() => vec![self.slot(&view, key.as_deref(), &Client::default())?],
            _ => Vec::new(),
        };
        let mut n_next = 0;
        let mut tickets = Vec::with_capacity(slots.len());
        for slot in slots {
            let input = Input::Change(Arc::clone(&change), sender.clone());
            match &origin {
                Some(origin) if Arc::ptr_eq(origin.slot, &slot) => {
                    if !origin.is_for_others {
                        tickets.push(slot.insert(origin.n_next + n_next, input));
                        n_next += 1;
                    }
                }
                _ => tickets.push(slot.enqueue(input)),
            }
        }
        let mut started = Started::new(&name, !has_keys || key.is_some(), tickets);
        started.n_next = n_next;
        Ok(started)
    }

    /// Waits for everything that was begun.
    async fn settle(&self, mut started: Started) -> Result<Receipt, PushError> {
        // One after the other is no slower than all at once: while one waits for its turn, so do the others.
        for mut ticket in std::mem::take(&mut started.tickets) {
            let mut outcome = self.wait(&mut ticket).await;
            if let Ok(answer) = &mut outcome {
                for mut follow_up in std::mem::take(&mut answer.follow_ups) {
                    answer.receipt.refused.extend(self.wait(&mut follow_up).await.err().map(|error| error.to_string()));
                }
            }
            started.add(outcome);
        }
        started.finish()
    }

    /// Waits until an input is answered, and runs the turn if nobody else does.
    pub(crate) async fn wait(&self, ticket: &mut Ticket) -> Result<Answer, PushError> {
        let slot = Arc::clone(&ticket.slot);
        if let Some(link) = slot.link.get() {
            return self.wait_for_owner(link, ticket).await;
        }
        loop {
            // No lock is held while time passes: whoever comes first when the queue opens runs the turn.
            let until_open = async {
                if let Some(at) = slot.opens_at() {
                    sleep_until(at).await;
                }
                slot.live.lock().await
            };
            let mut until_open = pin!(until_open);
            let answered_or_locked = poll_fn(|cx| match ticket.poll_answer(cx) {
                Poll::Ready(answer) => Poll::Ready(Err(answer)),
                Poll::Pending => until_open.as_mut().poll(cx).map(Ok),
            });
            match answered_or_locked.await {
                Err(answer) => return answer,
                Ok(mut live) if slot.opens_at().is_none() => {
                    self.run_turn(&slot, &mut live);
                    return ticket.take_answer().unwrap_or_else(|| Err(slot.lost()));
                }
                Ok(_) => {}
            }
        }
    }

    /// Waits until an input of a shared view is answered, or for so long that its sender is told that it waits.
    async fn wait_for_owner(&self, link: &Link, ticket: &mut Ticket) -> Result<Answer, PushError> {
        loop {
            match timeout(link.patience(), poll_fn(|cx| ticket.poll_answer(cx))).await {
                Ok(answer) => return answer,
                // A page has no use for half an answer, and a handler takes as long as it takes.
                Err(_) if ticket.is_event() || link.is_turning() => {}
                Err(_) => {
                    let view = ticket.slot.view.to_string();
                    return ticket.leave().unwrap_or(Err(PushError::Queued { view }));
                }
            }
        }
    }

    fn wait_blocking(&self, ticket: &mut Ticket) -> Result<Answer, PushError> {
        let slot = Arc::clone(&ticket.slot);
        if slot.link.get().is_some() {
            return ticket.wait_blocking();
        }
        let mut waited_until = None;
        loop {
            let opens_at = slot.opens_at();
            // Once it was waited for, an opening counts: a clock that a test has paused does not move meanwhile.
            if let Some(at) = opens_at.filter(|_| opens_at != waited_until) {
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                waited_until = opens_at;
            }
            let mut live = slot.live.blocking_lock();
            if let Some(answer) = ticket.take_answer() {
                return answer;
            }
            let opens_at = slot.opens_at();
            if opens_at.is_none() || opens_at == waited_until {
                self.run_turn(&slot, &mut live);
                return ticket.take_answer().unwrap_or_else(|| Err(slot.lost()));
            }
        }
    }

    /// Runs one turn for all that waits, and answers it.
    fn run_turn(&self, slot: &Arc<Slot>, live: &mut Live) {
        let waiting = slot.take_waiting();
        if waiting.is_empty() {
            return;
        }
        let (inputs, answers): (Vec<Input>, Vec<_>) =
            waiting.into_iter().map(|Waiting { input, answer, .. }| (input, answer)).unzip();
        let mut outcomes = Vec::new();
        let (began_at, mut is_rendered) = (Instant::now(), false);
        self.run(&slot.view, &mut || {
            let at = slot.shown().document.position().clone();
            outcomes = live.turn(&inputs, &self.inner.engine, &at, &mut |rendering| {
                is_rendered |= !matches!(rendering, Rendering::None);
                self.show(slot, rendering)
            });
        });
        if let Some(interval) = self.inner.options.render_interval.filter(|_| is_rendered) {
            slot.close_until(began_at + interval);
        }
        self.set_tick_interval(slot, live.tick_interval());
        slot.count(&inputs, &outcomes);
        let subscribers = slot.shown().subscribers.len();
        let mut n_next = 0;
        for ((answer, outcome), input) in answers.into_iter().zip(outcomes).zip(&inputs) {
            let outcome = outcome.map(|Done { position, effects: Effects { reply, pushes, .. } }| {
                let receipt =
                    Receipt { position: Some(position), n_documents: 1, subscribers, reply, refused: Vec::new() };
                let mut answer = Answer { receipt, follow_ups: Vec::new() };
                for push in pushes {
                    self.push_on(slot, input, push, &mut n_next, &mut answer);
                }
                answer
            });
            // Who went away meanwhile does not want to know.
            _ = answer.send(outcome);
        }
    }

    /// Begins a push of a handler.
    pub(crate) fn push_on(
        &self,
        slot: &Arc<Slot>,
        input: &Input,
        push: HandlerPush,
        n_next: &mut usize,
        answer: &mut Answer,
    ) {
        let HandlerPush { push, is_for_others } = push;
        if matches!(input, Input::Change(_, Sender::Handler)) {
            let reason = format!("a handler that a handler's push calls cannot push on to `{}`", push.name());
            answer.receipt.refused.push(reason);
            return;
        }
        let origin = Origin { slot, is_for_others, n_next: *n_next };
        match self.begin(push, &Sender::Handler, Some(origin)) {
            Ok(started) => {
                *n_next += started.n_next;
                answer.follow_ups.extend(started.tickets);
            }
            Err(error) => answer.receipt.refused.push(error.to_string()),
        }
    }

    /// Runs user code.
    pub(crate) fn run(&self, view: &str, turn: &mut dyn FnMut()) {
        match self.inner.turn_runner.get() {
            Some(runner) => runner(view, turn),
            None => turn(),
        }
    }

    /// Updates the document and hands what that makes to all subscribers.
    fn show(&self, slot: &Slot, rendering: Rendering<'_>) -> Result<Position, PushError> {
        let mut shown = slot.shown();
        let Shown { document, subscribers, .. } = &mut *shown;
        let statistics = &*slot.statistics;
        if !matches!(rendering, Rendering::None) {
            statistics.set_broken(matches!(rendering, Rendering::Fault(_)));
        }
        let fault = match rendering {
            Rendering::Fault(fault) if self.inner.options.development => Some(fault),
            Rendering::Fault(_) | Rendering::None => return Ok(document.position().clone()),
            Rendering::Same => None,
            Rendering::Tree(tree) => {
                let update = document.update(&tree, Instant::now(), statistics);
                hand_out(update, document, subscribers, statistics);
                None
            }
            Rendering::Change(change) => {
                let update = document.change(change, Instant::now(), statistics)?;
                hand_out(update, document, subscribers, statistics);
                None
            }
        };
        shown.tell_fault(fault);
        Ok(shown.document.position().clone())
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub(crate) fn set_tick_interval(&self, slot: &Slot, tick_interval: Option<Duration>) {
        let old = std::mem::replace(&mut slot.shown().tick_interval, tick_interval);
        if old != tick_interval {
            self.inner.ticks_changed.notify_waiters();
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("views", &self.views()).finish_non_exhaustive()
    }
}

/// The document whose handler pushes.
struct Origin<'a> {
    slot: &'a Arc<Slot>,
    is_for_others: bool,
    /// How many inputs were put before the queue already.
    n_next: usize,
}

/// A push under way: what waits for turns, and what came of it so far.
struct Started {
    view: Arc<str>,
    tickets: Vec<Ticket>,
    /// How many of the tickets stand at the head of the queue of the origin.
    n_next: usize,
    /// Whether the push is for one document, by name.
    is_single: bool,
    receipt: Receipt,
    errors: Vec<PushError>,
}

impl Started {
    fn new(view: &str, is_single: bool, tickets: Vec<Ticket>) -> Started {
        let receipt = Receipt { n_documents: tickets.len(), ..Receipt::default() };
        Started { view: view.into(), tickets, n_next: 0, is_single, receipt, errors: Vec::new() }
    }

    fn add(&mut self, outcome: Result<Answer, PushError>) {
        match outcome {
            Ok(Answer { receipt: Receipt { position, subscribers, reply, refused, .. }, .. }) => {
                self.receipt.position = position.filter(|_| self.is_single);
                self.receipt.subscribers += subscribers;
                self.receipt.reply = reply.filter(|_| self.is_single);
                self.receipt.refused.extend(refused);
            }
            Err(error) => self.errors.push(error),
        }
    }

    fn finish(mut self) -> Result<Receipt, PushError> {
        let (n_refused, n_documents) = (self.errors.len(), self.receipt.n_documents);
        match self.errors.drain(..).next() {
            None => Ok(self.receipt),
            Some(error) if n_refused == n_documents => Err(error),
            Some(error) => {
                Err(PushError::Partly { view: self.view.to_string(), n_refused, n_documents, error: Box::new(error) })
            }
        }
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

/// Puts what an update made into the mailboxes of all subscribers.
fn hand_out(update: Update, document: &Document, subscribers: &[Subscriber], statistics: &ViewStatistics) {
    match update {
        Update::Same => {}
        Update::Frame(frame) => {
            let (number, version) = (document.number(), document.position().version);
            let overflows = |to: &&Subscriber| to.mailbox.frame(number, version, &frame);
            statistics.resyncs_slow.add(subscribers.iter().filter(overflows).count());
            statistics.deliveries.add(subscribers.len());
        }
        Update::Restart => {
            subscribers.iter().for_each(|to| to.mailbox.snapshot(document.number()));
            statistics.resyncs_restart.add(subscribers.len());
        }
    }
}
