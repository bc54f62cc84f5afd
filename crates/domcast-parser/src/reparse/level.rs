//! An element that is open in both texts, and how far its old children were followed.

use crate::fast::Builder;
use domcast_diff::{Folding, NodeId, Part, PartChild, Tree};
use std::collections::HashMap;
use std::ops::Range;

/// An old element that the new text has too, and how far it was followed.
pub(super) struct Level<'a> {
    pub(super) old_id: NodeId,
    /// The element in the builder, which knows it from when it has to read something in it.
    pub(super) new_id: Option<NodeId>,
    /// How many elements the builder has open directly in it.
    pub(super) n_open: usize,
    pub(super) old_end: usize,
    pub(super) new_start: usize,
    /// The next old child, and where its source is.
    pub(super) next: Option<NodeId>,
    pub(super) old_at: usize,
    /// Behind all old children that were kept or entered.
    pub(super) used_end: usize,
    /// The last child in the small tree that was noted.
    pub(super) noted: Option<NodeId>,
    /// The child that was entered last, and where it was.
    pub(super) entered: Option<(NodeId, usize)>,
    pub(super) was_cut: bool,
    pub(super) n_misses: usize,
    pub(super) lookup: Option<Lookup<'a>>,
    /// From the first old child on that is not where it was.
    pub(super) part: Option<Part>,
    /// The place of the next old child, from the first of the part.
    pub(super) old_idx: usize,
}

/// Old children by their start tags.
pub(super) struct Lookup<'a> {
    pub(super) by_tag: HashMap<&'a [u8], Place, Folding>,
    pub(super) used: Vec<bool>,
}

/// An old child, and where its source is.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) id: NodeId,
    pub(super) old_at: usize,
    pub(super) len: usize,
    pub(super) old_idx: usize,
    pub(super) is_alone: bool,
}

impl<'a> Level<'a> {
    /// An element whose old content is in this part of the old text, and which the new text has at `new_start`.
    pub(super) fn new(old: &Tree, old_id: NodeId, old_content: Range<usize>, new_start: usize) -> Level<'a> {
        Level {
            old_id,
            new_id: None,
            n_open: 0,
            old_end: old_content.end,
            new_start,
            next: old.first_child(old_id),
            old_at: old_content.start,
            used_end: old_content.start,
            noted: None,
            entered: None,
            was_cut: false,
            n_misses: 0,
            lookup: None,
            part: None,
            old_idx: 0,
        }
    }

    /// Whether an old child that was looked up stands in another place.
    pub(super) fn is_used(&self, old_idx: usize) -> bool {
        self.lookup.as_ref().is_some_and(|lookup| lookup.used.get(old_idx) == Some(&true))
    }

    /// From here on children are not where they were.
    pub(super) fn begin_part(&mut self, old: &Tree) {
        if self.part.is_some() {
            return;
        }
        let before = match self.next {
            Some(next) => old.prev_sibling(next),
            None => old.last_child(self.old_id),
        };
        self.part = Some(Part { parent: self.old_id, before, after: None, children: Vec::new() });
        self.old_idx = 0;
    }

    /// Notes the new children that stand before `until`, and before the next old one.
    pub(super) fn note_new(&mut self, old: &Tree, builder: &Builder<'_>, until: Option<NodeId>) {
        let Some(new_id) = self.new_id else { return };
        let mut at = match self.noted {
            Some(noted) => builder.tree.next_sibling(noted),
            None => builder.tree.first_child(new_id),
        };
        while let Some(id) = at.filter(|&id| Some(id) != until) {
            self.begin_part(old);
            self.part.as_mut().expect("it was just begun").children.push(PartChild::New(id));
            self.noted = Some(id);
            at = builder.tree.next_sibling(id);
        }
    }

    /// Notes that the next child is the old one, which the small tree has as `new_id` if it may have changed.
    pub(super) fn note_old(&mut self, old: &Tree, builder: &Builder<'_>, new_id: Option<NodeId>) {
        self.note_new(old, builder, new_id);
        self.noted = new_id.or(self.noted);
        if let Some(part) = &mut self.part {
            part.children.push(PartChild::Old(self.old_idx));
        }
        if let Some(lookup) = &mut self.lookup {
            lookup.used[self.old_idx] = true;
        }
    }

    /// Goes on behind the next old child.
    pub(super) fn advance(&mut self, old: &Tree, id: NodeId, len: usize) {
        self.pass(len);
        self.next = old.next_sibling(id);
    }

    /// Counts an old child of so many bytes, behind which the next one is then to be set.
    pub(super) fn pass(&mut self, len: usize) {
        self.old_at += len;
        self.used_end = self.used_end.max(self.old_at);
        self.old_idx += 1;
    }

    /// Makes the old children from the beginning of the part on known by their start tags.
    pub(super) fn look_up(&mut self, old: &Tree, text: &'a str) {
        let part = self.part.as_ref().expect("a part was begun");
        let first = match part.before {
            Some(before) => old.next_sibling(before),
            None => old.first_child(self.old_id),
        };
        let n_children = std::iter::successors(first, |&id| old.next_sibling(id)).count();
        let mut used = vec![false; n_children];
        for child in &part.children {
            if let PartChild::Old(idx) = *child {
                used[idx] = true;
            }
        }
        let mut by_tag: HashMap<&[u8], Place, Folding> = HashMap::with_capacity_and_hasher(n_children, Folding::new());
        // The part begins where so much was used up to the next child.
        let mut old_at = self.old_at - self.len_before(old, first);
        for (old_idx, id) in std::iter::successors(first, |&id| old.next_sibling(id)).enumerate() {
            let (source, len) = (&text.as_bytes()[old_at..], old.source_len(id));
            if let [b'<', b'a'..=b'z' | b'A'..=b'Z', ..] = source {
                let place = Place { id, old_at, len, old_idx, is_alone: true };
                by_tag.entry(tag_of(source)).and_modify(|place| place.is_alone = false).or_insert(place);
            }
            old_at += len;
        }
        self.lookup = Some(Lookup { by_tag, used });
    }

    /// Returns how long the old children from `first` to the next one are.
    pub(super) fn len_before(&self, old: &Tree, first: Option<NodeId>) -> usize {
        let children = std::iter::successors(first, |&id| old.next_sibling(id));
        children.take_while(|&id| Some(id) != self.next).map(|id| old.source_len(id)).sum()
    }
}

/// Returns the start tag that a text begins with, or as much of it as serves to recognise it.
pub(super) fn tag_of(text: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'>', &text[..text.len().min(256)]);
    &text[..end.map_or(text.len().min(256), |end| end + 1)]
}
