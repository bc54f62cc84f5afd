//! Mailboxes: what waits to be written to one connection, bounded.
//!
//! Frames of documents are shared bytes. When a reader is slow and its mailbox would exceed its bound, all waiting
//! frames of the document that wants in are dropped and a *mark* takes their place: the snapshot is made when the reader gets
//! there, of the newest state then. While a document is marked none of its frames are taken in, because the snapshot will hold them.
//!
//! Invariants: a document has a mark or frames waiting, never both; a mark or frame stands before every
//! acknowledgement of what it shows.

use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How much may wait for one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxLimits {
    /// Frames of documents.
    pub n_frames: usize,
    /// Bytes of these frames together. A single frame is always taken in.
    pub n_bytes: usize,
    /// Answers and messages of topics. A client that asks more than this without reading is given up.
    pub n_answers: usize,
}

impl Default for MailboxLimits {
    fn default() -> MailboxLimits {
        MailboxLimits { n_frames: 64, n_bytes: 1 << 20, n_answers: 1024 }
    }
}

#[derive(Debug)]
pub(crate) struct Mailbox {
    limits: MailboxLimits,
    // A std mutex: nothing is awaited while it is held, and publishers may not be async.
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    n_frames: usize,
    n_bytes: usize,
    n_answers: usize,
    is_closed: bool,
}

#[derive(Debug)]
enum Item {
    Answer(Bytes),
    Frame { document: u32, frame: Bytes },
    Snapshot { document: u32 },
}

/// What is next in a mailbox.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This, taken out.
    Frame(Bytes),
    /// A mark, left in place until its snapshot is made.
    Snapshot {
        document: u32,
    },
    Nothing,
    Closed,
}

impl Mailbox {
    pub(crate) fn new(limits: MailboxLimits) -> Mailbox {
        Mailbox { limits, queue: Mutex::default(), filled: Notify::new() }
    }

    /// Takes in an answer to the client.
    pub(crate) fn answer(&self, frame: Bytes) {
        let mut queue = self.queue();
        queue.n_answers += 1;
        if queue.n_answers > self.limits.n_answers {
            *queue = Queue { is_closed: true, ..Queue::default() };
        } else if !queue.is_closed {
            queue.items.push_back(Item::Answer(frame));
        }
        self.filled.notify_one();
    }

    /// Takes in a message of a topic; `false` if there is no room, or nobody reads any more.
    pub(crate) fn message(&self, frame: &Bytes) -> bool {
        let mut queue = self.queue();
        // Half of the room is left for answers: messages that nobody reads must not end a connection.
        if queue.is_closed || queue.n_answers >= self.limits.n_answers / 2 {
            return false;
        }
        queue.n_answers += 1;
        queue.items.push_back(Item::Answer(frame.clone()));
        self.filled.notify_one();
        true
    }

    /// Takes in a frame of a document, or marks the document if there is no room: `true` then.
    pub(crate) fn frame(&self, document: u32, frame: &Bytes) -> bool {
        let mut queue = self.queue();
        if queue.is_closed || queue.mark(document).is_some() {
            return false;
        }
        let is_full = queue.n_frames >= self.limits.n_frames || queue.n_bytes + frame.len() > self.limits.n_bytes;
        let overflows = is_full && queue.n_frames > 0;
        if overflows {
            queue.set_mark(document);
        } else {
            queue.n_frames += 1;
            queue.n_bytes += frame.len();
            queue.items.push_back(Item::Frame { document, frame: frame.clone() });
        }
        self.filled.notify_one();
        overflows
    }

    /// Marks a document: its waiting frames are dropped for a snapshot.
    pub(crate) fn snapshot(&self, document: u32) {
        let mut queue = self.queue();
        if !queue.is_closed && queue.mark(document).is_none() {
            queue.set_mark(document);
            self.filled.notify_one();
        }
    }

    /// Greets a view: `mounted`, then what it misses. `None` is a snapshot.
    pub(crate) fn mount(&self, document: u32, mounted: Bytes, missed: Option<&[Bytes]>) {
        // The client takes nothing for this view before `mounted`, so a mark that stands already must follow it.
        let was_marked = {
            let mut queue = self.queue();
            let mark = queue.mark(document);
            mark.and_then(|idx| queue.items.remove(idx)).is_some()
        };
        self.answer(mounted);
        match missed {
            Some(missed) if !was_marked => missed.iter().for_each(|frame| _ = self.frame(document, frame)),
            _ => self.snapshot(document),
        }
    }

    /// Drops all that waits of a document.
    pub(crate) fn forget(&self, document: u32) {
        let mut queue = self.queue();
        queue.set_mark(document);
        queue.items.retain(|item| !matches!(item, Item::Snapshot { document: marked } if *marked == document));
    }

    pub(crate) fn next(&self) -> Next {
        let mut queue = self.queue();
        match queue.items.front() {
            Some(&Item::Snapshot { document }) => return Next::Snapshot { document },
            None if queue.is_closed => return Next::Closed,
            None => return Next::Nothing,
            Some(_) => {}
        }
        match queue.items.pop_front() {
            Some(Item::Frame { frame, .. }) => {
                queue.n_frames -= 1;
                queue.n_bytes -= frame.len();
                Next::Frame(frame)
            }
            Some(Item::Answer(frame)) => {
                queue.n_answers -= 1;
                Next::Frame(frame)
            }
            Some(Item::Snapshot { .. }) | None => unreachable!("looked at above, under the same lock"),
        }
    }

    /// Takes the mark of this document from the front; `false` if it is not there any more.
    pub(crate) fn take_mark(&self, document: u32) -> bool {
        let mut queue = self.queue();
        let is_there = matches!(queue.items.front(), Some(Item::Snapshot { document: marked }) if *marked == document);
        if is_there {
            queue.items.pop_front();
        }
        is_there
    }

    /// Waits until there may be something. One reader at a time.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// How many bytes of documents' frames wait.
    pub(crate) fn n_bytes(&self) -> usize {
        self.queue().n_bytes
    }

    pub(crate) fn close(&self) {
        *self.queue() = Queue { is_closed: true, ..Queue::default() };
        self.filled.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn mark(&self, of: u32) -> Option<usize> {
        self.items.iter().position(|item| matches!(item, Item::Snapshot { document } if *document == of))
    }

    /// Puts a mark where the first waiting frame of the document stands, or at the end.
    fn set_mark(&mut self, of: u32) {
        let is_frame = |item: &Item| matches!(item, Item::Frame { document, .. } if *document == of);
        match self.items.iter().position(is_frame) {
            Some(idx) => self.items.insert(idx, Item::Snapshot { document: of }),
            None => self.items.push_back(Item::Snapshot { document: of }),
        }
        self.items.retain(|item| match item {
            Item::Frame { document, frame } if *document == of => {
                self.n_frames -= 1;
                self.n_bytes -= frame.len();
                false
            }
            _ => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads all that waits, marks as `snapshot N`.
    fn drain(mailbox: &Mailbox) -> Vec<String> {
        let next = || match mailbox.next() {
            Next::Frame(frame) => Some(String::from_utf8(frame.to_vec()).unwrap()),
            Next::Snapshot { document } => {
                assert!(mailbox.take_mark(document));
                Some(format!("snapshot {document}"))
            }
            Next::Nothing => None,
            Next::Closed => panic!("closed"),
        };
        std::iter::from_fn(next).collect()
    }

    fn small() -> Mailbox {
        Mailbox::new(MailboxLimits { n_frames: 3, n_bytes: 100, n_answers: 4 })
    }

    #[test]
    fn a_full_mailbox_drops_a_documents_frames_for_one_snapshot() {
        let mailbox = small();
        for frame in ["a1", "a2", "a3", "a4", "a5"] {
            mailbox.frame(0, &frame.into());
        }
        mailbox.frame(1, &"b1".into());
        assert_eq!(drain(&mailbox), ["snapshot 0", "b1"]);
        mailbox.frame(0, &"a6".into());
        assert_eq!(drain(&mailbox), ["a6"]);
    }

    #[test]
    fn a_snapshot_stands_before_the_answers_to_what_it_shows() {
        let mailbox = small();
        mailbox.frame(0, &"a1".into());
        mailbox.answer("ack 1".into());
        mailbox.frame(0, &"a2".into());
        mailbox.answer("ack 2".into());
        mailbox.snapshot(0);
        assert_eq!(drain(&mailbox), ["snapshot 0", "ack 1", "ack 2"]);
    }

    #[test]
    fn a_single_frame_may_exceed_the_bytes() {
        let mailbox = small();
        let long = Bytes::from("x".repeat(1000));
        mailbox.frame(0, &long);
        mailbox.frame(0, &"a2".into());
        assert_eq!(drain(&mailbox), ["snapshot 0"]);
        mailbox.frame(0, &long);
        assert_eq!(drain(&mailbox).concat().len(), 1000);
    }

    #[test]
    fn a_second_element_of_a_view_gets_its_snapshot_after_its_greeting() {
        let mailbox = small();
        mailbox.mount(0, "mounted first".into(), None);
        mailbox.mount(0, "mounted second".into(), Some(&["a1".into()]));
        assert_eq!(drain(&mailbox), ["mounted first", "mounted second", "snapshot 0"]);
    }

    #[test]
    fn a_client_that_asks_and_never_reads_is_given_up() {
        let mailbox = small();
        (0..5).for_each(|_| mailbox.answer("pong".into()));
        assert_eq!(mailbox.next(), Next::Closed);
    }
}
