//! Sessions: one client on one connection, whatever carries its frames.
//!
//! An adapter hands every frame of the client to [`Session::receive`], writes every frame of [`Session::next`], and decides
//! nothing. Dropping the session ends its subscriptions.

use crate::audience::{Client, Tab};
use crate::by_document::ByDocument;
use crate::call::Sender;
use crate::document::Newest;
use crate::error::PushError;
use crate::frame::{self, ClientFrame, FrameError, Greeting};
use crate::hub::Hub;
use crate::mailbox::{Mailbox, Next};
use crate::position::Position;
use crate::push::Change;
use crate::slot::{Slot, Subscriber};
use crate::turn::Input;
use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The most views that one session mounts.
const MAX_VIEWS: usize = 128;

/// Something that takes its time and must be driven to its end.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The handling of an event, which must be driven to its end; whoever drives it logs what was refused, if anything was.
pub type Handling = Pin<Box<dyn Future<Output = Option<Refused>> + Send>>;

/// Decides what one session may mount, and is told what it has mounted.
pub trait Gate: Send + Sync {
    /// Whether `view`, or its document of `key`, may be mounted by who shows this token. A private view has no key here.
    fn may_mount(&self, view: &str, key: Option<&str>, token: Option<&str>) -> bool;

    /// A document of `view` is mounted. No lock is held.
    fn mounted(&self, _view: &str, _key: Option<&str>) {}

    /// A document that [`mounted`](Self::mounted) was told of is not mounted any more. No lock is held.
    fn unmounted(&self, _view: &str, _key: Option<&str>) {}
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
    /// The views by document number; `None` before `hello`.
    mounted: Mutex<Option<ByDocument<Mount>>>,
    /// The number of the newest event that was taken in.
    newest_event: Mutex<Option<u64>>,
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
        Session { hub, id, tab, mailbox, gate, mounted: Mutex::default(), newest_event: Mutex::default() }
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
                let mut newest = self.newest_event.lock().unwrap_or_else(PoisonError::into_inner);
                if newest.is_some_and(|newest| n <= newest) {
                    return Ok(None);
                }
                *newest = Some(n);
                let id = format!("{}.{n}", self.id);
                let Mount::Live(slot, _) = mount else {
                    self.mailbox.answer(frame::refused(n, "the view may not be used any more", &id));
                    return Ok(None);
                };
                let change = Change::Handler { handler, payload };
                let sender = Sender::Browser(self.tab.clone());
                let outcome = self.hub.start(&slot, Input::Change(Arc::new(change), sender));
                let (mailbox, development) = (Arc::clone(&self.mailbox), self.hub.options().development);
                return Ok(Some(Box::pin(async move {
                    match outcome.await {
                        Ok(receipt) => {
                            mailbox.answer(frame::ack(n, receipt.reply.as_ref()));
                            let pushes = receipt.refused;
                            (!pushes.is_empty()).then_some(Refused { id, error: None, pushes })
                        }
                        Err(error) => {
                            mailbox.answer(frame::refused(n, &error.for_browser(development), &id));
                            Some(Refused { id, error: Some(error), pushes: Vec::new() })
                        }
                    }
                })));
            }
        }
        Ok(None)
    }

    /// Waits for the next frame to write. `None` ends the session: its client asks, and does not read the answers.
    ///
    /// Nothing is lost if the future is dropped. Only one may be awaited at a time.
    pub async fn next(&self) -> Option<Bytes> {
        loop {
            match self.mailbox.next() {
                Next::Frame(frame) => return Some(frame),
                Next::Closed => return None,
                Next::Nothing => self.mailbox.filled().await,
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
        let mut told = Vec::new();
        for (document, mount) in self.mounted().iter_mut().flat_map(ByDocument::iter_mut) {
            if let Mount::Live(slot, is_told) = mount
                && self.is_of(slot, view, key)
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
        let mounted = std::mem::take(self.mounted().get_or_insert_default());
        for mount in mounted.into_values() {
            let Mount::Live(slot, is_told) = mount else { continue };
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
        let mut guard = self.mounted();
        if guard.is_some() {
            return Err(FrameError::malformed("`hello` is said once"));
        }
        let mounted = guard.insert(ByDocument::default());
        for Greeting { view, position, key, token } in views {
            let known_key = key.as_deref().filter(|_| !self.hub.is_private(&view));
            if self.gate.as_ref().is_some_and(|gate| !gate.may_mount(&view, known_key, token.as_deref())) {
                self.mailbox.answer(frame::denied(&view));
                continue;
            }
            loop {
                let Ok(slot) = self.hub.visible(&self.tab.client, &view, key.as_deref()) else {
                    self.mailbox.answer(frame::unknown(&view));
                    break;
                };
                // What was dropped in between is there anew.
                if let Some(document) = self.mount(&slot, position.as_ref()) {
                    mounted.insert(document, Mount::Live(slot, false));
                    break;
                }
            }
        }
        let documents: Vec<u32> = mounted.iter().map(|(document, _)| document).collect();
        drop(guard);
        documents.into_iter().for_each(|document| self.tell_mounted(document));
        Ok(())
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
        self.mounted.lock().unwrap_or_else(PoisonError::into_inner)
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
