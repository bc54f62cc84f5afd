//! What a tree is made of: one column of slots for the nodes, and pools that the slots point into.
//!
//! A slot takes 48 bytes and owns nothing. Text is a range of one buffer; the buffer of a parsed tree begins with its source, so what
//! needs no decoding is not copied. Names are numbers. The attributes of all elements stand in one column, and elements
//! whose start tags are alike share a list.
//!
//! A slot may know its *span*: the part of the buffer that a parser made this element of. Elements of one name whose spans hold equal bytes
//! are equal, whatever is around them. The parser vouches for that when it notes a span, and says why in its module `fast`.
//! Of a node that changed the span is lost, but its length stays: with the lengths of all nodes a parser finds each in a text, and
//! an edit moves nothing but what is above it.
//!
//! What is replaced or removed stays in the pools as waste. When a pool has grown to twice what was in use or more, all are written anew: the cost is
//! spread over the changes, and a tree that lives for ever stays as small as its content.
//!
//! Invariants: a changed node has no span and no digest, nor has any above it; where the digest of a node is not known, none above is.

use crate::digest::{Digest, Folding};
use crate::name::{Name, Names, Namespace, Symbol};
use crate::node::{Attribute, Attributes, Doctype, Element, VNode};
use crate::tree::NodeId;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub(crate) const NONE: u32 = u32::MAX;

#[derive(Clone)]
pub(crate) struct Columns {
    pub(crate) slots: Vec<Slot>,
    pub(crate) pools: Pools,
    pub(crate) n_holes: u32,
    /// How many ids behind the slots were used: their nodes were removed. They get slots before the next change.
    pub(crate) n_past: u32,
    /// Whether a node may have no place.
    pub(crate) has_orphans: bool,
    /// Whether ids are in document order and every slot is a node in its place.
    pub(crate) is_in_order: bool,
    /// How large the pools may become before they are written anew.
    limit: Sizes,
    pub(crate) harmless: Harmless,
}

/// How many slots and attributes, the first ones, were found to hold nothing that may lose by moving. No slot becomes another element.
pub(crate) struct Harmless(AtomicU64);

impl Harmless {
    pub(crate) fn get(&self) -> (usize, usize) {
        let both = self.0.load(Relaxed);
        ((both >> 32) as usize, both as u32 as usize)
    }

    pub(crate) fn set(&self, n_slots: usize, n_attributes: usize) {
        self.0.store((n_slots as u64) << 32 | n_attributes as u64, Relaxed);
    }
}

impl Clone for Harmless {
    fn clone(&self) -> Harmless {
        Harmless(AtomicU64::new(self.0.load(Relaxed)))
    }
}

#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) parent: u32,
    pub(crate) first_child: u32,
    pub(crate) last_child: u32,
    pub(crate) prev: u32,
    pub(crate) next: u32,
    pub(crate) content: Content,
    pub(crate) span: Text,
    pub(crate) digest: Digest,
}

#[derive(Clone, Copy)]
pub(crate) enum Content {
    /// The node was removed.
    Hole,
    Root,
    Doctype(u32),
    Element {
        namespace: Namespace,
        name: Symbol,
        list: u32,
    },
    Text(Text),
    Comment(Text),
}

/// A range of a tree's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Text {
    pub(crate) const EMPTY: Text = Text { start: 0, len: 0 };

    /// As a span: the node changed, or never had one, and all above it likewise. Only the length of a span may be known.
    pub(crate) const CHANGED: Text = Text { start: NONE, len: 0 };

    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }

    /// As a span: whether the bytes are known.
    pub(crate) fn is_known(self) -> bool {
        self.start != NONE && self.len != 0
    }

    fn contains(self, other: Text) -> bool {
        self.start <= other.start && other.start + other.len <= self.start + self.len
    }
}

impl Slot {
    pub(crate) fn new(content: Content) -> Slot {
        let (span, digest) = (Text::CHANGED, Digest::unknown());
        Slot { parent: NONE, first_child: NONE, last_child: NONE, prev: NONE, next: NONE, content, span, digest }
    }

    /// A slot whose links are these, moved.
    #[inline]
    pub(crate) fn linked_by(&self, by: u32) -> Slot {
        let moved = |link: u32| if link == NONE { NONE } else { link.wrapping_add(by) };
        Slot {
            parent: moved(self.parent),
            first_child: moved(self.first_child),
            last_child: moved(self.last_child),
            prev: moved(self.prev),
            next: moved(self.next),
            ..Slot::new(self.content)
        }
    }

    pub(crate) fn is_hole(&self) -> bool {
        matches!(self.content, Content::Hole)
    }
}

/// Where slots point to.
#[derive(Clone, Default)]
pub(crate) struct Pools {
    /// The source of a parsed tree, then what was decoded or came later.
    pub(crate) text: String,
    pub(crate) attributes: Vec<AttributeSlot>,
    /// Ranges of `attributes`; the first one is empty.
    pub(crate) lists: Vec<(u32, u32)>,
    pub(crate) doctypes: Vec<[Text; 3]>,
    pub(crate) names: Names,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct AttributeSlot {
    pub(crate) namespace: Namespace,
    pub(crate) name: Symbol,
    pub(crate) value: Text,
}

#[derive(Clone, Copy)]
struct Sizes {
    text: usize,
    attributes: usize,
    lists: usize,
}

impl Pools {
    fn new(capacity: usize) -> Pools {
        Pools { text: String::with_capacity(capacity), lists: vec![(0, 0)], ..Pools::default() }
    }

    #[inline]
    pub(crate) fn str(&self, text: Text) -> &str {
        &self.text[text.range()]
    }

    pub(crate) fn push_text(&mut self, text: &str) -> Text {
        if text.is_empty() {
            return Text::EMPTY;
        }
        let start = self.text.len();
        self.text.push_str(text);
        self.text_from(start)
    }

    /// Appends a text that is here, with another one in place of some of its bytes.
    pub(crate) fn push_spliced(&mut self, text: Text, range: Range<usize>, insert: &str) -> Text {
        let (start, Range { start: old_start, end: old_end }) = (self.text.len(), text.range());
        self.text.extend_from_within(old_start..old_start + range.start);
        self.text.push_str(insert);
        self.text.extend_from_within(old_start + range.end..old_end);
        self.text_from(start)
    }

    /// The text from `start` to the end.
    #[inline]
    pub(crate) fn text_from(&self, start: usize) -> Text {
        let is_addressable = self.text.len() < NONE as usize;
        assert!(is_addressable, "a tree holds less than 4 GiB of text");
        Text { start: start as u32, len: (self.text.len() - start) as u32 }
    }

    #[inline]
    pub(crate) fn list(&self, list: u32) -> &[AttributeSlot] {
        let (start, end) = self.lists[list as usize];
        &self.attributes[start as usize..end as usize]
    }

    pub(crate) fn push_list(&mut self, attributes: impl IntoIterator<Item = AttributeSlot>) -> u32 {
        let start = self.attributes.len();
        self.attributes.extend(attributes);
        self.list_from(start)
    }

    /// The list of the attributes from `start` on.
    #[inline]
    fn list_from(&mut self, start: usize) -> u32 {
        if self.attributes.len() == start {
            return 0;
        }
        assert!(self.attributes.len() < NONE as usize, "a tree holds fewer than 2^32 - 1 attributes");
        self.lists.push((start as u32, self.attributes.len() as u32));
        (self.lists.len() - 1) as u32
    }

    /// A list of its own with the attributes of another.
    #[inline]
    pub(crate) fn copy_list(&mut self, list: u32) -> u32 {
        let (start, end) = self.lists[list as usize];
        let copy = self.attributes.len();
        self.attributes.extend_from_within(start as usize..end as usize);
        self.list_from(copy)
    }

    pub(crate) fn attribute(&self, slot: AttributeSlot) -> Attribute<'_> {
        let name = Name::new(slot.namespace, self.names.get(slot.name));
        Attribute { name, value: self.str(slot.value) }
    }

    fn attribute_slot(&mut self, attribute: Attribute<'_>) -> AttributeSlot {
        let Attribute { name, value } = attribute;
        AttributeSlot { namespace: name.namespace, name: self.names.intern(name.local), value: self.push_text(value) }
    }

    pub(crate) fn content(&mut self, node: VNode<'_>) -> Content {
        match node {
            VNode::Root => Content::Root,
            VNode::Text(text) => Content::Text(self.push_text(text)),
            VNode::Comment(text) => Content::Comment(self.push_text(text)),
            VNode::Doctype(doctype) => {
                let parts = [doctype.name, doctype.public_id, doctype.system_id].map(|part| self.push_text(part));
                self.doctypes.push(parts);
                Content::Doctype((self.doctypes.len() - 1) as u32)
            }
            VNode::Element(Element { name, attributes }) => {
                let slots: Vec<AttributeSlot> = attributes.iter().map(|a| self.attribute_slot(a)).collect();
                let list = self.push_list(slots);
                Content::Element { namespace: name.namespace, name: self.names.intern(name.local), list }
            }
        }
    }

    /// Whether most of what is here may be what so many nodes need, so that copying all costs less than looking for it.
    fn are_for(&self, n_nodes: usize) -> bool {
        self.text.len() <= 128 * n_nodes && self.attributes.len() <= 4 * n_nodes && self.lists.len() <= n_nodes
    }

    /// Appends all of some other pools. Returns how far it moved.
    fn append(&mut self, from: &Pools) -> Shift {
        let text = self.push_text(&from.text).start;
        let names = from.names.own().map(|local| self.names.intern(local)).collect();
        let list = self.lists.len() as u32 - 1;
        let shift = Shift { text, list, doctype: self.doctypes.len() as u32, names };
        let first = self.attributes.len() as u32;
        self.attributes.extend(from.attributes.iter().map(|slot| AttributeSlot {
            name: shift.symbol(slot.name),
            value: shift.text(slot.value),
            ..*slot
        }));
        assert!(self.attributes.len() < NONE as usize, "a tree holds fewer than 2^32 - 1 attributes");
        self.lists.extend(from.lists[1..].iter().map(|&(start, end)| (first + start, first + end)));
        self.doctypes.extend(from.doctypes.iter().map(|parts| parts.map(|part| shift.text(part))));
        shift
    }

    fn sizes(&self) -> Sizes {
        Sizes { text: self.text.len(), attributes: self.attributes.len(), lists: self.lists.len() }
    }
}

impl Columns {
    /// A root, with room for `capacity` bytes of text.
    pub(crate) fn new(capacity: usize) -> Columns {
        let mut columns = Columns {
            slots: vec![Slot::new(Content::Root)],
            pools: Pools::new(capacity),
            n_holes: 0,
            n_past: 0,
            has_orphans: false,
            is_in_order: true,
            limit: Sizes { text: 0, attributes: 0, lists: 0 },
            harmless: Harmless(AtomicU64::new(0)),
        };
        columns.set_limit();
        columns
    }

    /// Expects a tree of `n_bytes` of HTML.
    pub(crate) fn expect(&mut self, n_bytes: usize) {
        self.pools.text.reserve(n_bytes);
        self.limit = Sizes { text: 2 * n_bytes + 4096, attributes: n_bytes / 4 + 256, lists: n_bytes / 4 + 256 };
    }

    /// Takes what is in the pools now as the measure of what is in use.
    pub(crate) fn set_limit(&mut self) {
        let Sizes { text, attributes, lists } = self.pools.sizes();
        // To write the pools anew takes a look at every node, so that there may be some bytes of waste for each.
        let waste = text.max(8 * self.slots.len());
        self.limit = Sizes { text: text + waste + 4096, attributes: 2 * attributes + 256, lists: 2 * lists + 256 };
    }

    /// Raises the limits, if need be, for what came since the pools had these sizes: all of it is in use.
    fn grow_limit(&mut self, before: Sizes) {
        let now = self.pools.sizes();
        let limit = &mut self.limit;
        limit.text = limit.text.max(2 * (now.text - before.text) + 4096);
        limit.attributes = limit.attributes.max(2 * (now.attributes - before.attributes) + 256);
        limit.lists = limit.lists.max(2 * (now.lists - before.lists) + 256);
    }

    #[inline]
    pub(crate) fn slot(&self, id: u32) -> Option<&Slot> {
        self.slots.get(id as usize)
    }

    pub(crate) fn view(&self, content: Content) -> Option<VNode<'_>> {
        Some(match content {
            Content::Hole => return None,
            Content::Root => VNode::Root,
            Content::Text(text) => VNode::Text(self.pools.str(text)),
            Content::Comment(text) => VNode::Comment(self.pools.str(text)),
            Content::Doctype(idx) => {
                let [name, public_id, system_id] = self.pools.doctypes[idx as usize].map(|part| self.pools.str(part));
                VNode::Doctype(Doctype { name, public_id, system_id })
            }
            Content::Element { namespace, name, list } => {
                let name = Name::new(namespace, self.pools.names.get(name));
                VNode::Element(Element { name, attributes: Attributes::column(self, list) })
            }
        })
    }

    pub(crate) fn create(&mut self, content: Content) -> u32 {
        let id = u32::try_from(self.slots.len()).ok().filter(|&id| id != NONE).expect("fewer than 2^32 - 1 nodes");
        self.slots.push(Slot::new(content));
        id
    }

    /// Makes a node and puts it after the last child of `parent`; spans and digests above are left alone.
    #[inline]
    pub(crate) fn append(&mut self, parent: u32, content: Content) -> u32 {
        let id = self.create(content);
        let above = &mut self.slots[parent as usize];
        let prev = std::mem::replace(&mut above.last_child, id);
        if prev == NONE {
            above.first_child = id;
        } else {
            self.slots[prev as usize].next = id;
        }
        let slot = &mut self.slots[id as usize];
        (slot.parent, slot.prev) = (parent, prev);
        id
    }

    /// Appends `n_nodes` nodes that stand one after another in columns with the same pools, from `top` on, which is above the others. They
    /// have no spans.
    pub(crate) fn append_block(&mut self, parent: u32, from: &Columns, top: u32, n_nodes: usize) -> u32 {
        let content = from.slots[top as usize].content;
        assert!(!matches!(content, Content::Hole | Content::Root), "#{top} is no node that can be appended");
        let id = self.slots.len() as u32;
        let by = id.wrapping_sub(top);
        let block = &from.slots[top as usize..top as usize + n_nodes];
        self.slots.extend(block.iter().map(|slot| Slot { span: Text::EMPTY, ..slot.linked_by(by) }));
        assert!(self.slots.len() <= NONE as usize, "fewer than 2^32 - 1 nodes");
        let above = &mut self.slots[parent as usize];
        let prev = std::mem::replace(&mut above.last_child, id);
        match prev {
            NONE => above.first_child = id,
            _ => self.slots[prev as usize].next = id,
        }
        let slot = &mut self.slots[id as usize];
        (slot.parent, slot.prev, slot.next) = (parent, prev, NONE);
        id
    }

    /// Puts a node that has no place before the child `before` of `parent`, or at the end.
    pub(crate) fn insert(&mut self, parent: u32, before: u32, id: u32) {
        let prev = self.prev_of(parent, before);
        let slot = &mut self.slots[id as usize];
        (slot.parent, slot.prev, slot.next) = (parent, prev, before);
        self.link(parent, prev, before, id, id);
        self.forget(parent);
    }

    /// The child of `parent` that is in front of its child `before`, or the last one.
    fn prev_of(&self, parent: u32, before: u32) -> u32 {
        self.slots.get(before as usize).map_or(self.slots[parent as usize].last_child, |before| before.prev)
    }

    /// Takes a node with all below it out of its place.
    pub(crate) fn detach(&mut self, id: u32) {
        let Slot { parent, prev, next, .. } = self.slots[id as usize];
        if parent == NONE {
            return;
        }
        self.link(parent, prev, next, next, prev);
        let slot = &mut self.slots[id as usize];
        (slot.parent, slot.prev, slot.next) = (NONE, NONE, NONE);
        self.forget(parent);
    }

    /// Gives slots to the ids that were used and have none.
    pub(crate) fn fill_past(&mut self) {
        let n_past = std::mem::take(&mut self.n_past);
        self.n_holes += n_past;
        self.slots.resize_with(self.slots.len() + n_past as usize, || Slot::new(Content::Hole));
    }

    /// Removes all children of a node and all below them.
    pub(crate) fn remove_children(&mut self, parent: u32) {
        match self.few_beside(parent) {
            Some(beside) => self.keep_only(&beside),
            None => self.remove_below(parent),
        }
        let slot = &mut self.slots[parent as usize];
        (slot.first_child, slot.last_child) = (NONE, NONE);
        self.forget(parent);
    }

    /// The nodes that are not below one, in order of their ids, if they are few of all.
    fn few_beside(&self, parent: u32) -> Option<Vec<u32>> {
        let n_nodes = self.slots.len() - self.n_holes as usize;
        let next = |&at: &u32| if at == parent { self.next_past(0, at) } else { self.next_in(0, at) };
        let mut beside: Vec<u32> = std::iter::successors(Some(0), next).take(n_nodes / 16 + 1).collect();
        let is_all = !self.has_orphans && beside.len() <= n_nodes / 16;
        beside.sort_unstable();
        is_all.then_some(beside)
    }

    /// Removes all nodes but these. What is behind the last one is not even looked at.
    fn keep_only(&mut self, nodes: &[u32]) {
        let n_slots = nodes.last().map_or(0, |last| *last as usize + 1);
        self.n_past += (self.slots.len() - n_slots) as u32;
        self.slots.truncate(n_slots);
        let mut kept = nodes.iter().peekable();
        for (id, slot) in (0..).zip(&mut self.slots) {
            if kept.next_if(|kept| **kept == id).is_none() {
                *slot = Slot::new(Content::Hole);
            }
        }
        self.n_holes = (n_slots - nodes.len()) as u32;
    }

    fn remove_below(&mut self, parent: u32) {
        // Nodes that came together have ids that follow one another.
        let mut runs: Vec<Range<usize>> = Vec::new();
        let mut next = self.next_in(parent, parent);
        while let Some(id) = next {
            match runs.last_mut() {
                Some(run) if run.end == id as usize => run.end += 1,
                _ => runs.push(id as usize..id as usize + 1),
            }
            next = self.next_in(parent, id);
        }
        for run in runs {
            self.n_holes += run.len() as u32;
            self.slots[run].fill_with(|| Slot::new(Content::Hole));
        }
    }

    /// Links the children of a node, all of which `order` names once, in that order.
    pub(crate) fn permute(&mut self, parent: u32, order: &[NodeId]) {
        let mut prev = NONE;
        for (idx, id) in order.iter().enumerate() {
            let slot = &mut self.slots[id.0 as usize];
            slot.prev = prev;
            slot.next = order.get(idx + 1).map_or(NONE, |next| next.0);
            prev = id.0;
        }
        let slot = &mut self.slots[parent as usize];
        (slot.first_child, slot.last_child) = (order.first().map_or(NONE, |first| first.0), prev);
        self.forget(parent);
    }

    /// Lets `after_prev` follow `prev` and `before_next` precede `next`, among the children of `parent`.
    fn link(&mut self, parent: u32, prev: u32, next: u32, after_prev: u32, before_next: u32) {
        match self.slots.get_mut(prev as usize) {
            Some(prev) => prev.next = after_prev,
            None => self.slots[parent as usize].first_child = after_prev,
        }
        match self.slots.get_mut(next as usize) {
            Some(next) => next.prev = before_next,
            None => self.slots[parent as usize].last_child = before_next,
        }
    }

    /// Forgets the spans and digests of a node and of all above it: it changed.
    pub(crate) fn forget(&mut self, id: u32) {
        self.is_in_order = false;
        let mut at = id;
        while let Some(slot) = self.slots.get_mut(at as usize) {
            if slot.span.start == NONE && !slot.digest.is_known() {
                return;
            }
            slot.span.start = NONE;
            slot.digest.forget();
            at = slot.parent;
        }
    }

    /// Notes how many bytes of its source a node is made of now.
    pub(crate) fn set_source_len(&mut self, id: u32, len: u32) {
        if self.slots[id as usize].span.len != len {
            self.forget(id);
            self.slots[id as usize].span.len = len;
        }
    }

    /// Visits a node and all below it in document order.
    pub(crate) fn next_in(&self, top: u32, id: u32) -> Option<u32> {
        let slot = &self.slots[id as usize];
        if slot.first_child != NONE {
            return Some(slot.first_child);
        }
        self.next_past(top, id)
    }

    /// The node after a node and all below it.
    fn next_past(&self, top: u32, id: u32) -> Option<u32> {
        let mut at = id;
        while at != top {
            let slot = &self.slots[at as usize];
            if slot.next != NONE {
                return Some(slot.next);
            }
            at = slot.parent;
        }
        None
    }

    /// Visits the siblings from `first` to `last`.
    pub(crate) fn siblings(&self, first: u32, last: u32) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(Some(first), move |&at| (at != last).then(|| self.slots[at as usize].next))
    }

    /// The number of nodes in the run of siblings from `first` to `last`, and below them.
    pub(crate) fn n_nodes_below(&self, first: u32, last: u32) -> usize {
        if self.is_in_order {
            // The next node that is not below the last sibling ends the run of ids.
            let mut at = last;
            while at != NONE {
                let slot = &self.slots[at as usize];
                if slot.next != NONE {
                    return (slot.next - first) as usize;
                }
                at = slot.parent;
            }
            return self.slots.len() - first as usize;
        }
        let below = |top: u32| std::iter::successors(Some(top), move |&at| self.next_in(top, at)).count();
        self.siblings(first, last).map(below).sum()
    }

    /// Copies the siblings from `first` to `last` of other columns, with the `n_nodes` nodes that they are with all below them, before the
    /// child `before` of `parent`, or to the end. They are numbered on in document order.
    pub(crate) fn copy_run(
        &mut self,
        parent: u32,
        before: u32,
        from: &Columns,
        (first, last): (u32, u32),
        n_nodes: usize,
    ) {
        let sizes = self.pools.sizes();
        self.slots.reserve(n_nodes);
        if from.is_in_order && from.pools.are_for(n_nodes) {
            self.copy_block(parent, before, from, (first, last), n_nodes);
        } else {
            let mut copies = Copies::new();
            let tops = from.siblings(first, last);
            tops.for_each(|top| _ = self.copy(parent, before, from, top, &mut copies));
        }
        self.grow_limit(sizes);
        self.tidy_if_grown();
    }

    /// The same where the nodes stand one after another in the other columns: all is copied as it is, and moved to where it is now.
    fn copy_block(&mut self, parent: u32, before: u32, from: &Columns, (first, last): (u32, u32), n_nodes: usize) {
        let fits = u32::try_from(self.slots.len() + n_nodes).is_ok_and(|len| len != NONE);
        assert!(fits, "fewer than 2^32 - 1 nodes");
        let shift = self.pools.append(&from.pools);
        let by = (self.slots.len() as u32).wrapping_sub(first);
        let block = &from.slots[first as usize..first as usize + n_nodes];
        self.slots.extend(block.iter().map(|slot| {
            let content = shift.content(slot.content);
            Slot { content, span: shift.span(slot.span), digest: slot.digest.clone(), ..slot.linked_by(by) }
        }));
        let (first, last) = (first.wrapping_add(by), last.wrapping_add(by));
        let mut top = first;
        while top != last {
            let slot = &mut self.slots[top as usize];
            slot.parent = parent;
            top = slot.next;
        }
        self.slots[last as usize].parent = parent;
        let prev = self.prev_of(parent, before);
        self.slots[first as usize].prev = prev;
        self.slots[last as usize].next = before;
        self.link(parent, prev, before, first, last);
        self.forget(parent);
    }

    /// Copies a subtree of other columns before the child `before` of `parent`, or to the end, numbered in document order.
    /// Returns the copy.
    pub(crate) fn copy(&mut self, parent: u32, before: u32, from: &Columns, top: u32, copies: &mut Copies) -> u32 {
        let mut copier = Copier { from: &from.pools, to: &mut self.pools, copies };
        let first = self.slots.len() as u32;
        // Pairs of an open node and its copy.
        let mut open: Vec<(u32, u32)> = Vec::new();
        let mut next = Some(top);
        while let Some(id) = next {
            let old = &from.slots[id as usize];
            while open.last().is_some_and(|&(above, _)| above != old.parent) && id != top {
                open.pop();
            }
            let span = copier.span(old.span);
            let mut slot = Slot { span, digest: old.digest.clone(), ..Slot::new(copier.content(old.content)) };
            let copy =
                u32::try_from(self.slots.len()).ok().filter(|&id| id != NONE).expect("fewer than 2^32 - 1 nodes");
            if let Some(&(_, above)) = open.last() {
                slot.parent = above;
                let above = &mut self.slots[above as usize];
                slot.prev = std::mem::replace(&mut above.last_child, copy);
                match slot.prev {
                    NONE => above.first_child = copy,
                    prev => self.slots[prev as usize].next = copy,
                }
            }
            self.slots.push(slot);
            if old.first_child != NONE {
                open.push((id, copy));
            }
            next = from.next_in(top, id);
        }
        self.insert(parent, before, first);
        first
    }

    /// Writes the pools anew if more than half of one may be waste.
    pub(crate) fn tidy_if_grown(&mut self) {
        let Sizes { text, attributes, lists } = self.pools.sizes();
        if text > self.limit.text || attributes > self.limit.attributes || lists > self.limit.lists {
            self.tidy();
        }
    }

    /// Writes the pools anew, without what no node uses.
    pub(crate) fn tidy(&mut self) {
        self.move_to(Pools::new(0));
        self.shrink();
    }

    /// Moves what nodes use of the pools into others.
    pub(crate) fn move_to(&mut self, mut pools: Pools) {
        self.harmless.set(0, 0);
        let from = std::mem::take(&mut self.pools);
        let mut copies = Copies::new();
        let tops: Vec<u32> = (0..self.slots.len() as u32)
            .filter(|&id| self.slots[id as usize].parent == NONE && !self.slots[id as usize].is_hole())
            .collect();
        let mut copier = Copier { from: &from, to: &mut pools, copies: &mut copies };
        for top in tops {
            let mut next = Some(top);
            while let Some(id) = next {
                let slot = &mut self.slots[id as usize];
                slot.span = copier.span(slot.span);
                slot.content = copier.content(slot.content);
                next = self.next_in(top, id);
            }
        }
        self.pools = pools;
        self.set_limit();
    }

    /// Whether a node without children comes last in document order, and all ids are in that order.
    pub(crate) fn ends_in_order_with(&self, id: u32) -> bool {
        let in_order = std::iter::successors(Some(0), |&at| self.next_in(0, at));
        let is_last = self.slots[id as usize].first_child == NONE && self.next_past(0, id).is_none();
        is_last && in_order.eq(0..self.slots.len() as u32)
    }

    /// Renumbers the nodes as `order` says, old ids in their new order. Returns the new id of each old one.
    pub(crate) fn renumber(&mut self, order: &[u32]) -> Vec<u32> {
        let mut new_ids = vec![NONE; self.slots.len()];
        for (new_id, &id) in order.iter().enumerate() {
            new_ids[id as usize] = new_id as u32;
        }
        let renamed = |link: u32| new_ids.get(link as usize).copied().unwrap_or(NONE);
        let slots = order.iter().map(|&id| {
            let mut slot = self.slots[id as usize].clone();
            for link in [&mut slot.parent, &mut slot.first_child, &mut slot.last_child, &mut slot.prev, &mut slot.next]
            {
                *link = renamed(*link);
            }
            slot
        });
        self.slots = slots.collect();
        self.harmless.set(0, 0);
        (self.n_holes, self.n_past) = (0, 0);
        new_ids
    }

    /// Gives back room that was kept for more.
    pub(crate) fn shrink(&mut self) {
        let spare = |len: usize| len + len / 16;
        self.slots.shrink_to(spare(self.slots.len()));
        self.pools.text.shrink_to(spare(self.pools.text.len()));
        self.pools.attributes.shrink_to_fit();
        self.pools.lists.shrink_to_fit();
    }

    /// Bytes of memory, as far as they are in use or kept for later.
    pub(crate) fn n_bytes(&self) -> usize {
        size_of::<Columns>()
            + self.slots.capacity() * size_of::<Slot>()
            + self.pools.text.capacity()
            + self.pools.attributes.capacity() * size_of::<AttributeSlot>()
            + self.pools.lists.capacity() * size_of::<(u32, u32)>()
            + self.pools.doctypes.capacity() * size_of::<[Text; 3]>()
            + self.pools.names.n_bytes()
    }
}

/// How far what is in some pools moved when all of them was appended to others.
struct Shift {
    text: u32,
    list: u32,
    doctype: u32,
    /// What the names are now that are not known to all trees.
    names: Vec<Symbol>,
}

impl Shift {
    #[inline]
    fn text(&self, text: Text) -> Text {
        if text.len == 0 { Text::EMPTY } else { Text { start: text.start + self.text, len: text.len } }
    }

    #[inline]
    fn span(&self, span: Text) -> Text {
        if span.is_known() { self.text(span) } else { span }
    }

    #[inline]
    fn symbol(&self, symbol: Symbol) -> Symbol {
        symbol.own().map_or(symbol, |idx| self.names[idx])
    }

    #[inline]
    fn content(&self, content: Content) -> Content {
        match content {
            Content::Hole | Content::Root => content,
            Content::Doctype(idx) => Content::Doctype(idx + self.doctype),
            Content::Text(text) => Content::Text(self.text(text)),
            Content::Comment(text) => Content::Comment(self.text(text)),
            Content::Element { namespace, name, list } => {
                let list = if list == 0 { 0 } else { list + self.list };
                Content::Element { namespace, name: self.symbol(name), list }
            }
        }
    }
}

/// What was copied from some pools so far.
pub(crate) struct Copies {
    /// The new numbers of lists of attributes, by the old ones.
    lists: HashMap<u32, u32, Folding>,
    /// The part of the old text that was copied last, and how far.
    region: Text,
    shift: u32,
}

impl Copies {
    pub(crate) fn new() -> Copies {
        Copies { lists: HashMap::with_hasher(Folding::new()), region: Text::EMPTY, shift: 0 }
    }
}

/// Copies what slots point to from some pools to others. The bytes of a span are copied as a whole, so what is inside only shifts.
struct Copier<'a> {
    from: &'a Pools,
    to: &'a mut Pools,
    copies: &'a mut Copies,
}

impl Copier<'_> {
    /// To be called before the content is copied.
    fn span(&mut self, span: Text) -> Text {
        if !span.is_known() {
            return span;
        }
        if !self.copies.region.contains(span) {
            self.region(span);
        }
        self.shifted(span)
    }

    /// Copies a part of the text as it is; what is in it will only shift.
    fn region(&mut self, region: Text) {
        let copy = self.to.push_text(self.from.str(region));
        (self.copies.region, self.copies.shift) = (region, copy.start.wrapping_sub(region.start));
    }

    fn shifted(&self, text: Text) -> Text {
        Text { start: text.start.wrapping_add(self.copies.shift), len: text.len }
    }

    fn text(&mut self, text: Text) -> Text {
        match text.len {
            0 => Text::EMPTY,
            _ if self.copies.region.contains(text) => self.shifted(text),
            _ => self.to.push_text(self.from.str(text)),
        }
    }

    fn symbol(&mut self, symbol: Symbol) -> Symbol {
        if symbol.is_known() { symbol } else { self.to.names.intern(self.from.names.get(symbol)) }
    }

    fn content(&mut self, content: Content) -> Content {
        match content {
            Content::Hole | Content::Root => content,
            Content::Text(text) => Content::Text(self.text(text)),
            Content::Comment(text) => Content::Comment(self.text(text)),
            Content::Doctype(idx) => {
                let parts = self.from.doctypes[idx as usize].map(|part| self.text(part));
                self.to.doctypes.push(parts);
                Content::Doctype((self.to.doctypes.len() - 1) as u32)
            }
            Content::Element { namespace, name, list } => {
                Content::Element { namespace, name: self.symbol(name), list: self.list(list) }
            }
        }
    }

    fn list(&mut self, list: u32) -> u32 {
        if list == 0 {
            return 0;
        }
        if let Some(&copy) = self.copies.lists.get(&list) {
            return copy;
        }
        let start = self.to.attributes.len();
        for slot in self.from.list(list) {
            let slot = AttributeSlot { name: self.symbol(slot.name), value: self.text(slot.value), ..*slot };
            self.to.attributes.push(slot);
        }
        let copy = self.to.list_from(start);
        self.copies.lists.insert(list, copy);
        copy
    }
}
