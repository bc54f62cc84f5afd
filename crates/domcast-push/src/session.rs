//! Sessions: one client on one connection, whatever carries its frames.
//!
//! An adapter hands every frame of the client to [`Session::receive`], writes every frame of [`Session::next`], and decides
//! nothing. Dropping the session ends its subscriptions.

use crate::audience::{Client, Tab};
use crate::call::Sender;
use crate::document::CatchUp;
use crate::frame::{self, ClientFrame, FrameError, Greeting};
use crate::hub::Hub;
use crate::mailbox::{Mailbox, Next};
use crate::position::Position;
use crate::push::Change;
use crate::slot::{Slot, Subscriber};
use crate::turn::Input;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The most views that one session mounts.
const MAX_VIEWS: usize = 128;

/// Something that takes its time and must be driven to its end.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One client on one connection.
pub struct Session {
    hub: Hub,
    id: u64,
    tab: Tab,
    mailbox: Arc<Mailbox>,
    /// The views by document number; `None` before `hello`.
    mounted: Mutex<Option<BTreeMap<u32, Arc<Slot>>>>,
}

impl Session {
    pub(crate) fn new(hub: Hub, id: u64, tab: Tab, mailbox: Arc<Mailbox>) -> Session {
        Session { hub, id, tab, mailbox, mounted: Mutex::default() }
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
    /// # Errors
    ///
    /// [`FrameError`]: close the connection with its [`close_code`](FrameError::close_code).
    pub fn receive(&self, text: &str) -> Result<Option<Work>, FrameError> {
        match ClientFrame::parse(text)? {
            ClientFrame::Hello(views) => self.hello(views)?,
            ClientFrame::Ping => self.mailbox.answer(frame::pong()),
            ClientFrame::Resync { document } => {
                self.document(document)?;
                self.mailbox.snapshot(document);
            }
            ClientFrame::Event { n, document, handler, payload } => {
                let slot = self.document(document)?;
                let change = Change::Handler { handler, payload };
                let sender = Sender::Browser(self.tab.clone());
                let outcome = self.hub.start(&slot, Input::Change(Arc::new(change), sender));
                let (mailbox, development) = (Arc::clone(&self.mailbox), self.hub.options().development);
                return Ok(Some(Box::pin(async move {
                    mailbox.answer(match outcome.await {
                        Ok(receipt) => frame::ack(n, receipt.reply.as_ref()),
                        Err(error) => frame::refused(n, &error.for_browser(development)),
                    });
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
                Next::Snapshot { document } => {
                    let Ok(slot) = self.document(document) else { continue };
                    // Under this lock no frame is made between the snapshot and the end of the mark.
                    let mut shown = slot.shown();
                    if self.mailbox.take_mark(document) {
                        return Some(shown.document.snapshot());
                    }
                }
            }
        }
    }

    fn hello(&self, views: Vec<Greeting>) -> Result<(), FrameError> {
        if views.len() > MAX_VIEWS {
            let n_views = views.len();
            return Err(FrameError::malformed(format!("{n_views} views exceed the limit of {MAX_VIEWS}")));
        }
        let mut mounted = self.mounted();
        if mounted.is_some() {
            return Err(FrameError::malformed("`hello` is said once"));
        }
        let mounted = mounted.insert(BTreeMap::new());
        for Greeting { view, position, key } in views {
            match self.hub.visible(&self.tab.client, &view, key.as_deref()) {
                Ok(slot) => {
                    let document = self.mount(&slot, position.as_ref());
                    mounted.insert(document, slot);
                }
                Err(_) => self.mailbox.answer(frame::unknown(&view)),
            }
        }
        Ok(())
    }

    /// Subscribes, and queues what the client misses.
    fn mount(&self, slot: &Slot, position: Option<&Position>) -> u32 {
        // One lock over reading the position and subscribing: nothing is lost or doubled between them.
        let mut shown = slot.shown();
        let document = &mut shown.document;
        let mounted = frame::mounted(document.view(), document.number(), document.position());
        match document.catch_up(position, Instant::now()) {
            CatchUp::Frames(missed) => self.mailbox.mount(document.number(), mounted, Some(&missed)),
            CatchUp::Snapshot => self.mailbox.mount(document.number(), mounted, None),
        }
        if let Some(fault) = document.fault() {
            self.mailbox.answer(fault);
        }
        let number = document.number();
        if shown.subscribers.iter().all(|subscriber| subscriber.tab.id != self.tab.id) {
            shown.subscribers.push(Subscriber { tab: self.tab.clone(), mailbox: Arc::clone(&self.mailbox) });
            self.hub.ticks_changed().notify_waiters();
        }
        number
    }

    fn document(&self, number: u32) -> Result<Arc<Slot>, FrameError> {
        let mounted = self.mounted();
        let slot = mounted.as_ref().ok_or_else(|| FrameError::malformed("`hello` comes first"))?.get(&number);
        slot.cloned().ok_or_else(|| FrameError::malformed(format!("document {number} is not mounted")))
    }

    fn mounted(&self) -> MutexGuard<'_, Option<BTreeMap<u32, Arc<Slot>>>> {
        self.mounted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.mailbox.close();
        self.hub.tabs().disconnect(&self.tab.id);
        let mut has_keys = false;
        for slot in self.mounted().take().into_iter().flat_map(BTreeMap::into_values) {
            has_keys |= slot.unsubscribe(&self.tab.id);
        }
        if has_keys {
            // Some time what this session used is to be dropped.
            self.hub.ticks_changed().notify_waiters();
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}
