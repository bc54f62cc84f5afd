//! Start tags that stood in the text before.
//!
//! Most start tags of a page stand there again and again, letter by letter: what was read of one serves the others.
//!
//! A tag is looked for twice. First where the tag after the same two or three was last time, given its first letters: a page repeats not
//! only tags but their order, so this mostly finds it before its end is known. Then by its letters alone.

use super::scan::word;
use super::tags::StartTag;
use crate::names::Tag;

/// Longer tags are unlikely to come again.
const MAX_SEEN_BYTES: usize = 128;

pub(super) struct SeenTags<'a> {
    by_order: Vec<Option<Seen<'a>>>,
    by_letters: Vec<Option<Seen<'a>>>,
    /// Where in `by_order` the last tag is.
    last: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    /// The source from behind the `<` to the `>`.
    pub(super) source: &'a [u8],
    pub(super) tag: StartTag,
}

impl Seen<'_> {
    /// Inside `svg` the same letters make another element.
    fn is_good(&self, is_in_svg: bool) -> bool {
        (self.tag.tag == Tag::SvgChild) == is_in_svg
    }
}

impl<'a> SeenTags<'a> {
    /// `n_slots` is a power of two.
    pub(super) fn new(n_slots: usize) -> SeenTags<'a> {
        SeenTags { by_order: vec![None; n_slots], by_letters: vec![None; n_slots], last: 0 }
    }

    /// Takes note of the first letters of a tag, and returns the tag that begins `rest` if it is the one that is expected.
    #[inline]
    pub(super) fn expected(&mut self, rest: &[u8], is_in_svg: bool) -> Option<Seen<'a>> {
        let hash = word(rest, 0).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        // Each tag shifts those before it out, so what was further back does not matter.
        self.last = (hash as usize ^ self.last << 4) & (self.by_order.len() - 1);
        self.by_order[self.last].filter(|seen| rest.starts_with(seen.source) && seen.is_good(is_in_svg))
    }

    /// Returns the tag of these letters, which will be expected where it was met.
    pub(super) fn known(&mut self, source: &[u8], is_in_svg: bool) -> Option<Seen<'a>> {
        let slot = self.slot(source);
        let seen = self.by_letters[slot].filter(|seen| seen.source == source && seen.is_good(is_in_svg))?;
        self.by_order[self.last] = Some(seen);
        Some(seen)
    }

    /// Takes note of a tag.
    pub(super) fn note(&mut self, seen: Seen<'a>) {
        if seen.source.len() <= MAX_SEEN_BYTES {
            let slot = self.slot(seen.source);
            self.by_letters[slot] = Some(seen);
        }
    }

    /// Returns the slot of a tag; values stand at the end of a tag and differ there.
    fn slot(&self, source: &[u8]) -> usize {
        let at = |from_end: usize| usize::from(source[source.len().saturating_sub(from_end).min(source.len() - 1)]);
        (source.len() * 59 + usize::from(source[0]) * 31 + at(3) * 17 + at(5) * 7 + at(9)) & (self.by_letters.len() - 1)
    }
}
