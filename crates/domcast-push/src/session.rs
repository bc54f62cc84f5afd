//! Sessions: one client on one connection, whatever carries its frames.
//!
//! An adapter hands every frame of the client to [`Session::receive`], writes every frame of [`Session::next`], and decides
//! nothing. What takes its time it spawns: the handling of an event, and the making of documents ([`Session::late`]), so that neither receiving
//! nor writing waits for an application. Dropping the session ends its subscriptions.

use crate::audience::{Client, Tab};
use crate::by_document::ByDocument;
use crate::call::Sender;
use crate::document::Newest;
use crate::error::PushError;
use crate::frame::{self, ClientFrame, FrameError, Greeting};
use crate::hub::Hub;
use crate::mailbox::{Mailbox, Next};
use crate::position::Position;
use crate::push::{Change, Receipt};
use crate::slot::{Slot, Subscriber};
use crate::turn::Input;
use bytes::Bytes;
use serde_json::Value;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// The most views that one session mounts.
const MAX_VIEWS: usize = 128;

/// After how long a view whose application did not answer is tried again, at first and at most.
const TRY_AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// Something that takes its time and must be driven to its end.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The handling of an event, which must be driven to its end; whoever drives it logs what was refused, if anything was.
pub type Handling = Pin<Box<dyn Future<Output = Option<Refused>> + Send>>;

/// Decides what one session may mount, and is told what it has mounted.
pub trait Gate: Send + Sync {
    /// Returns whom this token names, if that one may look at `view`, or its document of `key`, now: what [`may_mount`](Self::may_mount) is asked about once
    /// the document is there. `None` lets nobody, and no document is made. A private view has no key here.
    fn user(&self, _view: &str, _key: Option<&str>, _token: Option<&str>) -> Option<String> {
        Some(String::new())
    }

    /// Whether this user may mount the view, or its document of a key. If so, and the document was not dropped meanwhile, it is mounted before
    /// [`Session::revoke`] and [`Session::renew`] can look for it: of this session, call neither here.
    fn may_mount(&self, view: &str, key: Option<&str>, user: &str) -> bool;

    /// A document of `view` is mounted. No lock is held.
    fn mounted(&self, _view: &str, _key: Option<&str>) {}

    /// A document that [`mounted`](Self::mounted) was told of is not mounted any more. No lock is held.
    fn unmounted(&self, _view: &str, _key: Option<&str>) {}

    /// Takes an event in place of the view, or leaves it to the view's own handler: `None`.
    ///
    /// The work begins once the page's events before it were handled. It may take its time, in which this page's further events wait.
    fn forward(&self, _event: &Event<'_>) -> Option<Forwarding> {
        None
    }
}

/// What a page calls.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The view.
    pub view: &'a str,
    /// The document's key, if it has one; that of a private one is a secret, and left out.
    pub key: Option<&'a str>,
    /// The name of the handler, as the page says it.
    pub handler: &'a str,
    /// What it is given: an object.
    pub payload: &'a Value,
    /// The [tab](Session::tab) that calls.
    pub tab: &'a str,
}

/// The handling of an event by somebody else, and what came of it.
pub type Forwarding = Pin<Box<dyn Future<Output = Result<Handled, PushError>> + Send>>;

/// What somebody else made of an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Handled {
    /// What changes in the view, for everybody.
    pub change: Option<Change>,
    /// What the page that called is answered.
    pub reply: Option<Value>,
}

/// An event that was refused, or whose handler pushed in vain.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Names the event in a log. The client of one that was refused was told this, which outside development is no more than that and of what kind the
    /// error is.
    pub id: String,
    /// Why the event was refused; `None` if it was handled.
    pub error: Option<PushError>,
    /// Why pushes that its handler made were refused. The client is not told of that.
    pub pushes: Vec<String>,
}

/// One client on one connection.
pub struct Session {
    hub: Hub,
    id: u64,
    tab: Tab,
    mailbox: Arc<Mailbox>,
    gate: Option<Arc<dyn Gate>>,
    /// The views by document number; `None` before `hello`. Events that wait look into it too.
    mounted: Arc<Mutex<Option<ByDocument<Mount>>>>,
    events: Mutex<Events>,
    /// What `hello` left to be mounted [late](Self::late).
    late: Mutex<Vec<Entry>>,
}

/// The events that were taken in.
#[derive(Default)]
struct Events {
    /// The number of the newest.
    newest: Option<u64>,
    /// Ends once all of them were handled. It is kept where some may be forwarded.
    handled: Option<oneshot::Receiver<()>>,
    /// Held by each that waits for somebody else, or for one that does.
    forwarding: Weak<()>,
}

/// The place of an event among those of its page.
struct Order {
    /// Ends once those before it were handled.
    before: Option<oneshot::Receiver<()>>,
    /// Dropped once it was handled, and those before it.
    is_handled: oneshot::Sender<()>,
    _forwarded: Option<Arc<()>>,
}

struct Begun {
    outcome: Pin<Box<dyn Future<Output = Result<Receipt, PushError>> + Send>>,
    order: Option<Order>,
}

impl Events {
    fn next(&mut self) -> Order {
        let (is_handled, handled) = oneshot::channel();
        Order { before: self.handled.replace(handled), is_handled, _forwarded: None }
    }
}

/// What `hello` says of one element, and who the gate found it to be for.
struct Entry {
    view: String,
    position: Option<Position>,
    key: Option<String>,
    /// `None` is denied.
    user: Option<String>,
}

#[derive(Clone)]
enum Mount {
    /// Whether the gate was told.
    Live(Arc<Slot>, bool),
    /// The client may not know yet.
    Revoked,
}

impl Session {
    pub(crate) fn new(hub: Hub, id: u64, tab: Tab, mailbox: Arc<Mailbox>, gate: Option<Arc<dyn Gate>>) -> Session {
        hub.statistics().sessions_opened.add(1);
        let session = Session {
            hub,
            id,
            tab,
            mailbox,
            gate,
            mounted: Arc::default(),
            events: Mutex::default(),
            late: Mutex::default(),
        };
        session.hold_for(session.tab.client.valid_for);
        session
    }

    /// The hub that the session is of.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The number of the session, unique within its hub.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Names the session among those of all processes: what a push for one tab, or for all but one, names.
    pub fn tab(&self) -> &str {
        &self.tab.id
    }

    /// The client, as it was when the session was opened.
    pub fn client(&self) -> &Client {
        &self.tab.client
    }

    /// Lets the page get the messages of a topic from now on.
    pub fn subscribe(&self, topic: &str) {
        self.hub.tabs().subscribe(&self.tab.id, topic);
    }

    /// Keeps the messages of a topic from the page from now on.
    pub fn unsubscribe(&self, topic: &str) {
        self.hub.tabs().unsubscribe(&self.tab.id, topic);
    }

    /// Takes in what is known of the client now. The same user in the same session of a browser gets these topics, keeps those that
    /// [`subscribe`](Self::subscribe) and [`Hub::subscribe`] gave, and no others; it loses the views that [`authorize`](Hub::authorize) refuses without
    /// the others, and what is known holds anew from now on. Anybody else ends this session, for the page to come back as that one, and so does what is
    /// [older](Client::n_taken) than the last topic that was taken: `false` then.
    pub fn confirm(&self, client: &Client) -> bool {
        if (&client.user, &client.session) != (&self.tab.client.user, &self.tab.client.session) {
            self.lapse();
            return false;
        }
        self.hold_for(client.valid_for);
        match self.hub.tabs().set_topics(&self.tab.id, client) {
            Some(true) => self.ask_again(),
            Some(false) => {}
            None => {
                self.lapse();
                return false;
            }
        }
        true
    }

    /// Ends it now, as if the time were over for which its client is known.
    pub(crate) fn lapse(&self) {
        self.hold_for(Some(Duration::ZERO));
    }

    /// Whether the session ended since what was known of its client does not hold any more. The page is to come back at once.
    pub fn has_lapsed(&self) -> bool {
        self.mailbox.has_lapsed()
    }

    /// Waits until it [has](Self::has_lapsed) because its time was over, which may be never.
    pub async fn lapsed(&self) {
        while !self.has_lapsed() {
            match self.mailbox.closes_at() {
                // It may be put off meanwhile.
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }

    fn hold_for(&self, time: Option<Duration>) {
        self.mailbox.close_at(time.and_then(|time| Instant::now().checked_add(time)));
    }

    /// How many bytes of documents' frames wait to be written.
    pub fn n_waiting_bytes(&self) -> usize {
        self.mailbox.n_bytes()
    }

    /// Whether the client has said hello.
    pub fn is_greeted(&self) -> bool {
        self.mounted().is_some()
    }

    /// Takes a frame of the client. The answers come out of [`next`](Self::next).
    ///
    /// An event is put into its view's queue at once, which keeps the order of events; the work returned waits for its
    /// turn and answers it. Spawn it: a slow handler must not keep the connection from being read.
    ///
    /// An event whose number is not above those before it was taken in already, and is not taken in again: its client may repeat what it
    /// does not know to have arrived.
    ///
    /// # Errors
    ///
    /// [`FrameError`]: close the connection with its [`close_code`](FrameError::close_code).
    pub fn receive(&self, text: &str) -> Result<Option<Handling>, FrameError> {
        let statistics = self.hub.statistics();
        statistics.frames_received.add(1);
        self.take(text).inspect_err(|_| statistics.frames_malformed.add(1))
    }

    fn take(&self, text: &str) -> Result<Option<Handling>, FrameError> {
        match ClientFrame::parse(text)? {
            ClientFrame::Hello(views) => self.hello(views)?,
            ClientFrame::Ping => self.mailbox.answer(frame::pong()),
            ClientFrame::Ack { n } => self.acknowledge(n)?,
            ClientFrame::Resync { document } => {
                if let Mount::Live(slot, _) = self.document(document)? {
                    slot.statistics.resyncs_asked.add(1);
                    self.mailbox.snapshot(document);
                }
            }
            ClientFrame::Event { n, document, handler, payload } => {
                let mount = self.document(document)?;
                // Held until the event is in its queue: of two posts that hold the same events neither overtakes the other.
                let mut events = lock(&self.events);
                if events.newest.is_some_and(|newest| n <= newest) {
                    return Ok(None);
                }
                events.newest = Some(n);
                let id = format!("{}.{n}", self.id);
                let Mount::Live(slot, _) = mount else {
                    self.mailbox.answer(frame::refused(n, "the view may not be used any more", &id, None));
                    return Ok(None);
                };
                let Begun { outcome, order } = self.begin(&mut events, document, slot, handler, payload);
                let (mailbox, development) = (Arc::clone(&self.mailbox), self.hub.options().development);
                return Ok(Some(Box::pin(async move {
                    let refused = match outcome.await {
                        Ok(receipt) => {
                            mailbox.answer(frame::ack(n, receipt.reply.as_ref()));
                            let pushes = receipt.refused;
                            (!pushes.is_empty()).then_some(Refused { id, error: None, pushes })
                        }
                        Err(error) => {
                            let errors = match &error {
                                PushError::Invalid { errors, .. } => Some(errors),
                                _ => None,
                            };
                            mailbox.answer(frame::refused(n, &error.for_browser(development), &id, errors));
                            Some(Refused { id, error: Some(error), pushes: Vec::new() })
                        }
                    };
                    // Whoever waits for this event waits for those before it too, which may be of other documents.
                    if let Some(Order { before: Some(before), is_handled: _is_handled, _forwarded }) = order {
                        _ = before.await;
                    }
                    refused
                })));
            }
        }
        Ok(None)
    }

    /// Begins an event: puts it into its view's queue, or behind the events before it if somebody else handles it or one of these.
    fn begin(&self, events: &mut Events, document: u32, slot: Arc<Slot>, handler: String, payload: Value) -> Begun {
        let key = self.hub.known_key(&slot);
        let event =
            Event { view: &slot.view, key: key.as_deref(), handler: &handler, payload: &payload, tab: &self.tab.id };
        let forwarding = self.gate.as_ref().and_then(|gate| gate.forward(&event));
        let (hub, sender) = (self.hub.clone(), Sender::Browser(self.tab.clone()));
        let change = Change::Handler { handler, payload };
        let earlier = events.forwarding.upgrade();
        if forwarding.is_none() && earlier.is_none() {
            // The queue keeps the order, and who waits for this event waits for those before it.
            let outcome = Box::pin(hub.start(&slot, Input::Change(Arc::new(change), sender)));
            let order = self.gate.as_ref().map(|_| events.next());
            return Begun { outcome, order };
        }
        let Order { before, is_handled, .. } = events.next();
        let forwarded = earlier.unwrap_or_default();
        events.forwarding = Arc::downgrade(&forwarded);
        let mounted = Arc::clone(&self.mounted);
        let outcome = async move {
            if let Some(before) = before {
                _ = before.await;
            }
            // That a page left undoes nothing that it asked for, that its view was taken away does.
            if matches!(lock(&mounted).as_ref().and_then(|mounted| mounted.get(document)), Some(Mount::Revoked)) {
                return Err(PushError::Revoked { view: slot.view.to_string() });
            }
            let Some(forwarding) = forwarding else {
                return hub.start(&slot, Input::Change(Arc::new(change), sender)).await;
            };
            let Handled { change, reply } = forwarding.await?;
            let receipt = match change {
                Some(change) => hub.start(&slot, Input::Change(Arc::new(change), Sender::Push)).await?,
                None => Receipt::default(),
            };
            Ok(Receipt { reply: reply.or(receipt.reply), ..receipt })
        };
        let order = Order { before: None, is_handled, _forwarded: Some(forwarded) };
        Begun { outcome: Box::pin(outcome), order: Some(order) }
    }

    /// Waits for the next frame to write. `None` ends the session: its client asks, and does not read the answers.
    ///
    /// Nothing is lost if the future is dropped. Only one may be awaited at a time.
    pub async fn next(&self) -> Option<Bytes> {
        loop {
            match self.mailbox.next() {
                Next::Frame(frame) => return Some(frame),
                Next::Closed => return None,
                Next::Nothing => match self.mailbox.closes_at() {
                    Some(at) => _ = timeout_at(at, self.mailbox.filled()).await,
                    None => self.mailbox.filled().await,
                },
                Next::Mark { document, from } => {
                    let Ok(Mount::Live(slot, _)) = self.document(document) else {
                        self.mailbox.forget(document);
                        continue;
                    };
                    // Under this lock no frame is made between this one and the end of the mark.
                    let mut shown = slot.shown();
                    let newest = shown.document.newest(from, Instant::now());
                    let frame = newest.frame();
                    if self.mailbox.take_mark(document, from, shown.document.position().version, frame) {
                        if from.is_some() && matches!(newest, Newest::Snapshot(_)) {
                            slot.statistics.resyncs_behind.add(1);
                        }
                        return Some(frame.clone());
                    }
                }
            }
        }
    }

    /// Notes that the client has read the first `n` frames of this session. From the first call on, [`next`](Self::next) waits
    /// while too much is not acknowledged (see [`MailboxLimits`](crate::MailboxLimits)); `acknowledge(0)` says so from the start.
    ///
    /// # Errors
    ///
    /// [`FrameError`]: so many frames were never handed out.
    pub fn acknowledge(&self, n: u64) -> Result<(), FrameError> {
        let never_sent = |_| FrameError::malformed(format!("{n} frames are acknowledged, fewer were sent"));
        self.mailbox.acknowledge(n).map_err(never_sent)
    }

    /// How many frames the client has acknowledged.
    pub fn n_acknowledged(&self) -> u64 {
        self.mailbox.n_acknowledged()
    }

    /// Whether something waits that [`next`](Self::next) does not give before the client acknowledges more.
    pub fn is_held(&self) -> bool {
        self.mailbox.is_held()
    }

    /// Takes a view, or its document of a key, away from the client, with all that waits of it. Nothing more of it is sent.
    pub fn revoke(&self, view: &str, key: Option<&str>) {
        self.take_away(|slot| self.is_of(slot, view, key));
    }

    /// Takes away what the client may not see any more, now that it has lost a topic.
    pub(crate) fn ask_again(&self) {
        let client = self.hub.tabs().client(&self.tab);
        // Whoever is asked is not called under the lock.
        let live = |mount: &Mount| match mount {
            Mount::Live(slot, _) => Some(Arc::clone(slot)),
            Mount::Revoked => None,
        };
        let slots: Vec<_> =
            self.mounted().iter().flat_map(ByDocument::iter).filter_map(|(_, mount)| live(mount)).collect();
        for slot in slots {
            let key = slot.shown().document.key().cloned();
            if !self.hub.may_see(&client, &slot.view, key.as_deref()) {
                self.take_away(|mounted| Arc::ptr_eq(mounted, &slot));
            }
        }
    }

    fn take_away(&self, is_meant: impl Fn(&Arc<Slot>) -> bool) {
        let mut told = Vec::new();
        for (document, mount) in self.mounted().iter_mut().flat_map(ByDocument::iter_mut) {
            if let Mount::Live(slot, is_told) = mount
                && is_meant(slot)
            {
                self.unsubscribe_from(slot);
                self.mailbox.forget(document);
                self.mailbox.answer(frame::revoked(document));
                told.extend(is_told.then(|| Arc::clone(slot)));
                *mount = Mount::Revoked;
            }
        }
        told.iter().for_each(|slot| self.tell_gate(slot, |gate, view, key| gate.unmounted(view, key)));
    }

    /// Ends all that the client has mounted and is subscribed to, as dropping the session does; [`next`](Self::next) ends.
    pub fn leave(&self) {
        self.mailbox.close();
        self.hub.tabs().disconnect(&self.tab.id);
        // Its own statement: nobody is told under the lock.
        let live = take_live(self.mounted().get_or_insert_default());
        for (slot, is_told) in live {
            self.unsubscribe_from(&slot);
            if is_told {
                self.tell_gate(&slot, |gate, view, key| gate.unmounted(view, key));
            }
        }
    }

    fn is_of(&self, slot: &Slot, view: &str, key: Option<&str>) -> bool {
        *slot.view == *view && self.hub.known_key(slot).as_deref() == key
    }

    fn unsubscribe_from(&self, slot: &Slot) {
        for place in self.hub.places(slot) {
            self.hub.tabs().presence.leave(&self.tab, place);
        }
        slot.unsubscribe(&self.tab.id);
    }

    fn tell_gate(&self, slot: &Slot, tell: fn(&dyn Gate, &str, Option<&str>)) {
        let Some(gate) = &self.gate else { return };
        let key = slot.shown().document.key().cloned();
        tell(&**gate, &slot.view, key.as_deref());
    }

    /// Gives the client another token for a view, or its document of a key, that it has mounted.
    pub fn renew(&self, view: &str, key: Option<&str>, token: &str) {
        for (document, mount) in self.mounted().iter().flat_map(ByDocument::iter) {
            if matches!(mount, Mount::Live(slot, _) if self.is_of(slot, view, key)) {
                self.mailbox.answer(frame::token(document, token));
            }
        }
    }

    fn hello(&self, views: Vec<Greeting>) -> Result<(), FrameError> {
        if views.len() > MAX_VIEWS {
            let n_views = views.len();
            return Err(FrameError::malformed(format!("{n_views} views exceed the limit of {MAX_VIEWS}")));
        }
        if self.mounted().replace(ByDocument::default()).is_some() {
            return Err(FrameError::malformed("`hello` is said once"));
        }
        let entries = views.into_iter().map(|greeting| self.entry(greeting)).collect();
        let client = self.hub.tabs().client(&self.tab);
        let mut mounted = Vec::new();
        let late = in_order(entries, |entry| {
            let found = self.hub.visible_now(&client, &entry.view, entry.key.as_deref());
            self.greet(entry, found, &mut mounted)
        });
        self.check(&client, &mounted);
        *self.waiting() = late;
        Ok(())
    }

    fn entry(&self, Greeting { view, position, key, token }: Greeting) -> Entry {
        let known_key = key.as_deref().filter(|_| !self.hub.is_private(&view));
        let user = match &self.gate {
            Some(gate) => gate.user(&view, known_key, token.as_deref()),
            None => Some(String::new()),
        };
        Entry { view, position, key, user }
    }

    /// Returns what mounts the views of this page whose documents have to be made, if there are any and it was not returned before: ask for it when a frame
    /// was [received](Self::receive), and spawn it. It makes one document after the other, tries again from time to time where the
    /// application does not answer, and ends soon after the session.
    ///
    /// Elements of one view are answered in the order of `hello`: one that has to wait keeps those after it waiting.
    pub fn late(self: &Arc<Session>) -> Option<Work> {
        let entries = std::mem::take(&mut *self.waiting());
        (!entries.is_empty()).then(|| Box::pin(mount_late(Arc::downgrade(self), entries)) as Work)
    }

    /// Answers an entry with what was found for it; `false` if its document is still to be made.
    fn greet(&self, entry: &Entry, found: Result<Option<Arc<Slot>>, PushError>, newly: &mut Vec<u32>) -> bool {
        let Entry { view, position, key, user } = entry;
        let Some(user) = user else {
            self.mailbox.answer(frame::denied(view));
            return true;
        };
        let slot = match found {
            Ok(Some(slot)) => slot,
            Ok(None) | Err(PushError::Application { .. }) => return false,
            Err(_) => {
                self.mailbox.answer(frame::unknown(view));
                return true;
            }
        };
        // Until the page has it under its number, nothing of it is handed out. And what the gate says holds until it can be taken back.
        let mut mounted = self.mounted();
        if self.mailbox.is_closed() {
            return true;
        }
        let known_key = key.as_deref().filter(|_| !self.hub.is_private(view));
        if self.gate.as_ref().is_some_and(|gate| !gate.may_mount(view, known_key, user)) {
            self.mailbox.answer(frame::denied(view));
            return true;
        }
        // What was dropped in between has to be made anew.
        let Some(document) = self.mount(&slot, position.as_ref()) else { return false };
        let mounted = mounted.get_or_insert_default();
        if !matches!(mounted.get(document), Some(Mount::Live(..))) {
            mounted.insert(document, Mount::Live(slot, false));
            newly.push(document);
        }
        true
    }

    /// Takes away what was mounted for topics that the client has lost meanwhile, and tells the gate of the others.
    fn check(&self, client: &Client, newly: &[u32]) {
        if self.hub.tabs().client(&self.tab).topics != client.topics {
            self.ask_again();
        }
        newly.iter().for_each(|document| self.tell_mounted(*document));
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Entry>> {
        lock(&self.late)
    }

    /// Tells the gate of a document that was just mounted; if it was taken away in the meantime, of that too.
    fn tell_mounted(&self, document: u32) {
        let Ok(Mount::Live(slot, _)) = self.document(document) else { return };
        self.tell_gate(&slot, |gate, view, key| gate.mounted(view, key));
        let is_live = match self.mounted().as_mut().and_then(|mounted| mounted.get_mut(document)) {
            Some(Mount::Live(_, is_told)) => {
                *is_told = true;
                true
            }
            Some(Mount::Revoked) | None => false,
        };
        if !is_live {
            self.tell_gate(&slot, |gate, view, key| gate.unmounted(view, key));
        }
    }

    /// Subscribes, and queues what the client misses. Returns the document's number; `None` if it was dropped.
    fn mount(&self, slot: &Slot, position: Option<&Position>) -> Option<u32> {
        // One lock over reading the position and subscribing: nothing is lost or doubled between them.
        let mut shown = slot.shown();
        if slot.is_dropped() {
            return None;
        }
        let document = &mut shown.document;
        let mounted = frame::mounted(document.view(), document.number(), document.position(), self.hub.spread());
        let (from, version) = (document.version_at(position), document.position().version);
        if from.is_none() {
            slot.statistics.resyncs_behind.add(1);
        }
        self.mailbox.mount(document.number(), mounted, from, version);
        if let Some(fault) = document.fault() {
            self.mailbox.answer(fault);
        }
        let number = document.number();
        if shown.subscribers.iter().all(|subscriber| subscriber.tab.id != self.tab.id) {
            shown.subscribers.push(Subscriber { tab: self.tab.clone(), mailbox: Arc::clone(&self.mailbox) });
            let has_ticks = shown.tick_interval.is_some();
            drop(shown);
            for place in self.hub.places(slot) {
                self.hub.tabs().presence.enter(&self.tab, place);
            }
            // All documents are looked at then.
            if has_ticks {
                self.hub.ticks_changed().notify_waiters();
            }
        }
        Some(number)
    }

    fn document(&self, number: u32) -> Result<Mount, FrameError> {
        let mounted = self.mounted();
        let slot = mounted.as_ref().ok_or_else(|| FrameError::malformed("`hello` comes first"))?.get(number);
        slot.cloned().ok_or_else(|| FrameError::malformed(format!("document {number} is not mounted")))
    }

    fn mounted(&self) -> MutexGuard<'_, Option<ByDocument<Mount>>> {
        lock(&self.mounted)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes out what is mounted, but not what was revoked, and whether the gate was told.
fn take_live(mounted: &mut ByDocument<Mount>) -> Vec<(Arc<Slot>, bool)> {
    let mut live = Vec::new();
    mounted.retain(|mount| match mount {
        Mount::Live(slot, is_told) => {
            live.push((Arc::clone(slot), *is_told));
            false
        }
        Mount::Revoked => true,
    });
    live
}

/// Works off entries of `hello` in order, and returns those that are left: what must wait, and what is of the same view behind it. A page cannot tell the
/// answers for elements of one view apart but by their order.
fn in_order(entries: Vec<Entry>, mut work_off: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
    let mut late: Vec<Entry> = Vec::new();
    for entry in entries {
        if late.iter().any(|before| before.view == entry.view) || !work_off(&entry) {
            late.push(entry);
        }
    }
    late
}

async fn mount_late(session: Weak<Session>, mut entries: Vec<Entry>) {
    let [mut pause, longest] = TRY_AGAIN;
    loop {
        entries = in_order(entries, |entry| {
            // It may end while a document is made, which takes its time: nobody holds it then.
            let open = || session.upgrade().filter(|session| !session.mailbox.is_closed());
            let Some((hub, client)) =
                open().map(|session| (session.hub.clone(), session.hub.tabs().client(&session.tab)))
            else {
                return true;
            };
            let found = match entry.user {
                Some(_) => hub.visible(&client, &entry.view, entry.key.as_deref()).map(Some),
                None => Ok(None),
            };
            let Some(session) = open() else { return true };
            let mut newly = Vec::new();
            let is_answered = session.greet(entry, found, &mut newly);
            session.check(&client, &newly);
            is_answered
        });
        // Pages that lost the same application do not come back to it together.
        let Some(apart) = session.upgrade().map(|session| Duration::from_millis(session.id % 1000)) else { return };
        if entries.is_empty() {
            return;
        }
        sleep(pause + apart).await;
        pause = longest.min(pause * 2);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.leave();
        self.hub.statistics().sessions_closed.add(1);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}
