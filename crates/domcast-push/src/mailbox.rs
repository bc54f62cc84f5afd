//! Mailboxes: what waits to be written to one connection, bounded.
//!
//! Frames of documents are shared bytes. When a reader is slow and its mailbox would exceed its bound, all waiting
//! frames of the document that wants in are dropped and a *mark* takes their place: one frame to the newest version then is
//! made when the reader gets there. It leads on from the version that the reader has after everything handed out before, which is all that
//! is remembered of a slow reader: two numbers for each document. While a document is marked none of its frames are taken in.
//! A client that comes back is a slow reader too: it is greeted, and marked if it missed anything.
//!
//! What is handed out is not yet read. A client that acknowledges frames (PROTOCOL.md) is handed a bounded number and size of
//! them beyond the last that it acknowledged; what fills up then is the mailbox. One that does not is held by its transport alone.
//!
//! Invariants: a document has a mark or frames waiting, never both; a mark or frame stands before every
//! acknowledgement of what it shows.

use crate::by_document::ByDocument;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How much may wait for one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxLimits {
    /// Frames of documents.
    pub n_frames: usize,
    /// Bytes of these frames together; and of answers and messages together, for a message to be taken in. A single one always is.
    pub n_bytes: usize,
    /// Answers and messages of topics. A client that asks more than this without reading is given up.
    pub n_answers: usize,
    /// Bytes of these together. A client that leaves more than this unread is given up too, unless it is a single one.
    pub n_answer_bytes: usize,
    /// Frames that are handed out and not acknowledged, if the client acknowledges; more than 16.
    pub n_unread_frames: usize,
    /// Bytes of these frames together; more than 128 KiB. A single frame is always handed out.
    pub n_unread_bytes: usize,
}

impl Default for MailboxLimits {
    fn default() -> MailboxLimits {
        MailboxLimits {
            n_frames: 64,
            n_bytes: 256 << 10,
            n_answers: 1024,
            n_answer_bytes: 4 << 20,
            n_unread_frames: 64,
            n_unread_bytes: 512 << 10,
        }
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
    n_answer_bytes: usize,
    /// The version that the client has of each document once it has read what was handed out; none if it needs a snapshot.
    reached: ByDocument<u64>,
    unread: Unread,
    is_closed: bool,
    /// From then on it is closed.
    closes_at: Option<Instant>,
    has_lapsed: bool,
}

/// What was handed out and is not acknowledged.
#[derive(Debug, Default)]
struct Unread {
    /// The lengths of the frames, oldest first.
    n_bytes_each: VecDeque<usize>,
    n_bytes: usize,
    n_acknowledged: u64,
    /// Whether this client acknowledges at all.
    is_bounded: bool,
}

#[derive(Debug)]
enum Item {
    Answer(Bytes),
    Frame { document: u32, version: u64, frame: Bytes },
    Mark { document: u32 },
}

/// What is next in a mailbox.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This, taken out.
    Frame(Bytes),
    /// A mark, left in place until the frame to the newest version is made; from no version on it is a snapshot.
    Mark {
        document: u32,
        from: Option<u64>,
    },
    Nothing,
    Closed,
}

/// An acknowledgement of frames that were never handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeverSent;

impl Mailbox {
    pub(crate) fn new(limits: MailboxLimits) -> Mailbox {
        Mailbox { limits, queue: Mutex::default(), filled: Notify::new() }
    }

    /// Takes in an answer to the client.
    pub(crate) fn answer(&self, frame: Bytes) {
        let mut queue = self.queue();
        if queue.is_closed {
            return;
        }
        queue.n_answers += 1;
        queue.n_answer_bytes += frame.len();
        let is_large = queue.n_answers > 1 && queue.n_answer_bytes > self.limits.n_answer_bytes;
        if is_large || queue.n_answers > self.limits.n_answers {
            *queue = Queue { is_closed: true, ..Queue::default() };
        } else {
            queue.items.push_back(Item::Answer(frame));
        }
        self.filled.notify_one();
    }

    /// Takes in a message of a topic; `false` if there is no room, or nobody reads any more.
    pub(crate) fn message(&self, frame: &Bytes) -> bool {
        let mut queue = self.queue();
        let is_large = queue.n_answers > 0 && queue.n_answer_bytes + frame.len() > self.limits.n_bytes;
        // Half of the room is left for answers: messages that nobody reads must not end a connection.
        if queue.is_closed || is_large || queue.n_answers >= self.limits.n_answers / 2 {
            return false;
        }
        queue.n_answers += 1;
        queue.n_answer_bytes += frame.len();
        queue.items.push_back(Item::Answer(frame.clone()));
        self.filled.notify_one();
        true
    }

    /// Takes in the frame that leads a document to `version`, or marks the document if there is no room: `true` then.
    pub(crate) fn frame(&self, document: u32, version: u64, frame: &Bytes) -> bool {
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
            queue.items.push_back(Item::Frame { document, version, frame: frame.clone() });
        }
        self.filled.notify_one();
        overflows
    }

    /// Marks a document for a snapshot: whatever the client has of it is of no use.
    pub(crate) fn snapshot(&self, document: u32) {
        let mut queue = self.queue();
        queue.reached.remove(document);
        if !queue.is_closed && queue.mark(document).is_none() {
            queue.set_mark(document);
            self.filled.notify_one();
        }
    }

    /// Greets a view: `mounted`, then what it misses from the version `from` to `version`.
    pub(crate) fn mount(&self, document: u32, mounted: Bytes, from: Option<u64>, version: u64) {
        // Each element of a view takes nothing before its own `mounted`, so what waits for another one already must follow this one too.
        let (was_waiting, reached) = {
            let mut queue = self.queue();
            (queue.take_out(document), queue.reached.get(document).copied())
        };
        self.answer(mounted);
        match from {
            Some(from) if !was_waiting || reached == Some(from) => {
                let mut queue = self.queue();
                queue.reached.insert(document, from);
                if from != version {
                    queue.set_mark(document);
                    self.filled.notify_one();
                }
            }
            _ => self.snapshot(document),
        }
    }

    /// Drops all that waits of a document.
    pub(crate) fn forget(&self, document: u32) {
        let mut queue = self.queue();
        queue.take_out(document);
        queue.reached.remove(document);
    }

    pub(crate) fn next(&self) -> Next {
        let mut queue = self.queue();
        let is_unread = queue.unread.is_full(&self.limits);
        match queue.items.front() {
            None if queue.is_closed => return Next::Closed,
            None => {
                // Many wait for long: an empty queue keeps no room.
                queue.items = VecDeque::new();
                return Next::Nothing;
            }
            Some(_) if is_unread => return Next::Nothing,
            Some(&Item::Mark { document }) => {
                return Next::Mark { document, from: queue.reached.get(document).copied() };
            }
            Some(_) => {}
        }
        let frame = match queue.items.pop_front() {
            Some(Item::Frame { document, version, frame }) => {
                queue.n_frames -= 1;
                queue.n_bytes -= frame.len();
                queue.reached.insert(document, version);
                frame
            }
            Some(Item::Answer(frame)) => {
                queue.n_answers -= 1;
                queue.n_answer_bytes -= frame.len();
                frame
            }
            Some(Item::Mark { .. }) | None => unreachable!("looked at above, under the same lock"),
        };
        queue.unread.push(frame.len());
        Next::Frame(frame)
    }

    /// Takes the mark of this document from the front for the frame that leads to `version`; `false` if it is not there any more,
    /// or the client is not at `from`.
    pub(crate) fn take_mark(&self, document: u32, from: Option<u64>, version: u64, frame: &Bytes) -> bool {
        let mut queue = self.queue();
        let is_there = matches!(queue.items.front(), Some(Item::Mark { document: marked }) if *marked == document)
            && queue.reached.get(document).copied() == from;
        if is_there {
            queue.items.pop_front();
            queue.reached.insert(document, version);
            queue.unread.push(frame.len());
        }
        is_there
    }

    /// Notes that the client has read the first `n` frames; from the first time on it must go on to do so.
    pub(crate) fn acknowledge(&self, n: u64) -> Result<(), NeverSent> {
        self.queue().unread.acknowledge(n)?;
        self.filled.notify_one();
        Ok(())
    }

    /// How many frames the client has acknowledged.
    pub(crate) fn n_acknowledged(&self) -> u64 {
        self.queue().unread.n_acknowledged
    }

    /// Whether something waits that is not handed out until the client acknowledges more.
    pub(crate) fn is_held(&self) -> bool {
        let queue = self.queue();
        !queue.items.is_empty() && queue.unread.is_full(&self.limits)
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
        let mut queue = self.queue();
        *queue = Queue { is_closed: true, has_lapsed: queue.has_lapsed, ..Queue::default() };
        self.filled.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue().is_closed
    }

    /// Says when it closes by itself, if ever. One that is closed stays so.
    pub(crate) fn close_at(&self, at: Option<Instant>) {
        self.queue().closes_at = at;
        self.filled.notify_one();
    }

    pub(crate) fn closes_at(&self) -> Option<Instant> {
        self.queue().closes_at
    }

    /// Whether it closed because its time was over.
    pub(crate) fn has_lapsed(&self) -> bool {
        self.queue().has_lapsed
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        // Here, so that not one frame is taken in or handed out after its time.
        if queue.closes_at.is_some_and(|at| at <= Instant::now()) && !queue.is_closed {
            *queue = Queue { is_closed: true, has_lapsed: true, ..Queue::default() };
            self.filled.notify_one();
        }
        queue
    }
}

impl Unread {
    fn push(&mut self, n_bytes: usize) {
        self.n_bytes_each.push_back(n_bytes);
        self.n_bytes += n_bytes;
        // The transport holds a client that never acknowledges: of its frames only the number counts.
        if !self.is_bounded {
            self.forget(1);
        }
    }

    fn is_full(&self, limits: &MailboxLimits) -> bool {
        let n_frames = self.n_bytes_each.len();
        self.is_bounded && (n_frames >= limits.n_unread_frames || n_frames > 0 && self.n_bytes >= limits.n_unread_bytes)
    }

    fn acknowledge(&mut self, n: u64) -> Result<(), NeverSent> {
        if !self.is_bounded {
            // What went out before counts as read: this is at most what the transport held.
            self.is_bounded = true;
            return if n <= self.n_acknowledged { Ok(()) } else { Err(NeverSent) };
        }
        let n_newly = n.saturating_sub(self.n_acknowledged);
        if n_newly > self.n_bytes_each.len() as u64 {
            return Err(NeverSent);
        }
        self.forget(n_newly as usize);
        Ok(())
    }

    fn forget(&mut self, n: usize) {
        self.n_bytes -= self.n_bytes_each.drain(..n).sum::<usize>();
        self.n_acknowledged += n as u64;
    }
}

impl Queue {
    fn mark(&self, of: u32) -> Option<usize> {
        self.items.iter().position(|item| matches!(item, Item::Mark { document } if *document == of))
    }

    /// Puts a mark where the first waiting frame of the document stands, or at the end.
    fn set_mark(&mut self, of: u32) {
        let is_frame = |item: &Item| matches!(item, Item::Frame { document, .. } if *document == of);
        let idx = self.items.iter().position(is_frame).unwrap_or(self.items.len());
        self.take_out(of);
        self.items.insert(idx, Item::Mark { document: of });
    }

    /// Drops the mark or the frames of a document; returns whether there were any.
    fn take_out(&mut self, of: u32) -> bool {
        let n_items = self.items.len();
        self.items.retain(|item| match item {
            Item::Frame { document, frame, .. } if *document == of => {
                self.n_frames -= 1;
                self.n_bytes -= frame.len();
                false
            }
            Item::Mark { document } => *document != of,
            _ => true,
        });
        self.items.len() < n_items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads all that waits, marks as `0 from 3`.
    fn drain(mailbox: &Mailbox) -> Vec<String> {
        let next = || match mailbox.next() {
            Next::Frame(frame) => Some(String::from_utf8(frame.to_vec()).unwrap()),
            Next::Mark { document, from } => {
                assert!(mailbox.take_mark(document, from, 99, &Bytes::new()));
                Some(match from {
                    Some(from) => format!("{document} from {from}"),
                    None => format!("snapshot {document}"),
                })
            }
            Next::Nothing => None,
            Next::Closed => panic!("closed"),
        };
        std::iter::from_fn(next).collect()
    }

    fn small() -> Mailbox {
        let limits = MailboxLimits {
            n_frames: 3,
            n_bytes: 100,
            n_answers: 4,
            n_answer_bytes: 40,
            n_unread_frames: 2,
            n_unread_bytes: 10,
        };
        Mailbox::new(limits)
    }

    #[test]
    fn a_full_mailbox_drops_a_documents_frames_for_one_that_leads_on_from_what_was_read() {
        let mailbox = small();
        mailbox.mount(0, "mounted".into(), Some(7), 7);
        mailbox.frame(0, 8, &"a8".into());
        assert_eq!(drain(&mailbox), ["mounted", "a8"]);
        for version in 9..14 {
            mailbox.frame(0, version, &format!("a{version}").into());
        }
        mailbox.frame(1, 1, &"b1".into());
        assert_eq!(drain(&mailbox), ["0 from 8", "b1"]);
        mailbox.frame(0, 100, &"a100".into());
        assert_eq!(drain(&mailbox), ["a100"]);
    }

    #[test]
    fn who_comes_back_is_marked_if_it_missed_something() {
        let mailbox = small();
        mailbox.mount(0, "mounted".into(), Some(3), 7);
        mailbox.frame(0, 8, &"a8".into());
        mailbox.mount(1, "other".into(), None, 7);
        assert_eq!(drain(&mailbox), ["mounted", "0 from 3", "other", "snapshot 1"]);
    }

    #[test]
    fn a_snapshot_stands_before_the_answers_to_what_it_shows() {
        let mailbox = small();
        mailbox.frame(0, 1, &"a1".into());
        mailbox.answer("ack 1".into());
        mailbox.frame(0, 2, &"a2".into());
        mailbox.answer("ack 2".into());
        mailbox.snapshot(0);
        assert_eq!(drain(&mailbox), ["snapshot 0", "ack 1", "ack 2"]);
    }

    #[test]
    fn a_single_frame_may_exceed_the_bytes() {
        let mailbox = small();
        let long = Bytes::from("x".repeat(1000));
        mailbox.frame(0, 1, &long);
        mailbox.frame(0, 2, &"a2".into());
        assert_eq!(drain(&mailbox), ["snapshot 0"]);
        mailbox.frame(0, 100, &long);
        assert_eq!(drain(&mailbox).concat().len(), 1000);
    }

    #[test]
    fn a_second_element_of_a_view_gets_its_snapshot_after_its_greeting() {
        let mailbox = small();
        mailbox.mount(0, "mounted first".into(), None, 1);
        mailbox.mount(0, "mounted second".into(), Some(0), 1);
        assert_eq!(drain(&mailbox), ["mounted first", "mounted second", "snapshot 0"]);
    }

    #[test]
    fn a_client_that_asks_and_never_reads_is_given_up() {
        let mailbox = small();
        (0..5).for_each(|_| mailbox.answer("pong".into()));
        assert_eq!(mailbox.next(), Next::Closed);
    }

    #[test]
    fn a_client_that_leaves_large_answers_unread_is_given_up() {
        let mailbox = small();
        let large = Bytes::from("x".repeat(1000));
        mailbox.answer(large.clone());
        assert_eq!(drain(&mailbox).concat().len(), 1000, "a single one may be of any size");
        mailbox.answer("read".into());
        mailbox.answer(large);
        assert_eq!(mailbox.next(), Next::Closed);
    }

    #[test]
    fn a_client_that_acknowledges_is_handed_two_frames_beyond_that() {
        let mailbox = small();
        mailbox.acknowledge(0).unwrap();
        for n in 1..=4 {
            mailbox.answer(n.to_string().into());
        }
        assert_eq!(drain(&mailbox), ["1", "2"]);
        assert!(mailbox.is_held());
        mailbox.acknowledge(1).unwrap();
        assert_eq!(drain(&mailbox), ["3"]);
        // Said twice, and late: both change nothing.
        mailbox.acknowledge(1).unwrap();
        mailbox.acknowledge(0).unwrap();
        assert_eq!(drain(&mailbox), [] as [&str; 0]);
        mailbox.acknowledge(3).unwrap();
        assert_eq!(drain(&mailbox), ["4"]);
        assert!(!mailbox.is_held());
    }

    #[test]
    fn a_frame_beyond_the_bytes_goes_out_alone() {
        let mailbox = small();
        mailbox.acknowledge(0).unwrap();
        mailbox.frame(0, 1, &"longer than ten".into());
        mailbox.frame(0, 2, &"next".into());
        assert_eq!(drain(&mailbox), ["longer than ten"]);
        mailbox.acknowledge(1).unwrap();
        assert_eq!(drain(&mailbox), ["next"]);
    }

    #[test]
    fn what_was_never_sent_cannot_be_acknowledged() {
        let mailbox = small();
        assert_eq!(mailbox.acknowledge(1), Err(NeverSent));
        mailbox.answer("1".into());
        assert_eq!(drain(&mailbox), ["1"]);
        mailbox.acknowledge(1).unwrap();
        assert_eq!(mailbox.acknowledge(2), Err(NeverSent));
    }
}
