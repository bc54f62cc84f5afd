//! Start tags that stood in the text before.
//!
//! Most start tags of a page stand there again and again, letter by letter or with other values: what was read of one serves the others.
//!
//! A tag is looked for twice. First where the tag after the same two or three was last time, given its first letters: a page repeats not
//! only tags but their order, so this mostly finds it, or one that differs in its values, before its end is known. Then by its letters
//! alone.

use super::scan::word;
use super::tags::StartTag;
use crate::names::Tag;

/// Longer tags are unlikely to come again letter by letter.
const MAX_SEEN_BYTES: usize = 128;

pub(super) struct SeenTags {
    by_order: Vec<Option<Seen>>,
    by_letters: Vec<Option<Seen>>,
    /// What the last tags began with.
    last: usize,
    /// Where in `by_order` a tag belongs that comes after these.
    place: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// Its source is from behind the `<` …
    pub(super) start: usize,
    /// … to behind the `>`.
    pub(super) end: usize,
    pub(super) tag: StartTag,
}

impl Seen {
    /// Inside `svg` the same letters make another element.
    #[inline]
    fn is_good(&self, is_in_svg: bool) -> bool {
        (self.tag.tag == Tag::SvgChild) == is_in_svg
    }
}

impl SeenTags {
    /// `n_slots` is a power of two.
    pub(super) fn new(n_slots: usize) -> SeenTags {
        SeenTags { by_order: vec![None; n_slots], by_letters: vec![None; n_slots], last: 0, place: 0 }
    }

    /// Takes note of the first letters of a tag, and returns the tag that is expected.
    #[inline(always)]
    pub(super) fn expected(&mut self, letters: u64, is_in_svg: bool) -> Option<&Seen> {
        // Three tags fit: the others are shifted out.
        self.last = (hash(letters) ^ self.last << 6) & 0x3_ffff;
        self.place = (self.last ^ self.last >> 8 ^ self.last >> 16) & (self.by_order.len() - 1);
        self.by_order[self.place].as_ref().filter(|seen| seen.is_good(is_in_svg))
    }

    /// Returns again what was expected last.
    pub(super) fn last_expected(&self, is_in_svg: bool) -> Option<Seen> {
        self.by_order[self.place].filter(|seen| seen.is_good(is_in_svg))
    }

    /// Returns the tag of these letters, if it stood before; it will be expected here.
    pub(super) fn known(&mut self, html: &[u8], letters: &Letters, is_in_svg: bool) -> Option<Seen> {
        let seen = self.by_letters[self.slot(letters)]?;
        if html[seen.start..seen.end] != html[letters.start..letters.end] || !seen.is_good(is_in_svg) {
            return None;
        }
        self.by_order[self.place] = Some(seen);
        Some(seen)
    }

    /// Takes note of a tag.
    pub(super) fn note(&mut self, letters: &Letters, tag: StartTag) {
        let seen = Seen { start: letters.start, end: letters.end, tag };
        self.by_order[self.place] = Some(seen);
        if letters.end - letters.start <= MAX_SEEN_BYTES {
            let slot = self.slot(letters);
            self.by_letters[slot] = Some(seen);
        }
    }

    fn slot(&self, letters: &Letters) -> usize {
        letters.hash & (self.by_letters.len() - 1)
    }
}

/// What stands between the `<` of a tag and the end of its `>`.
pub(super) struct Letters {
    start: usize,
    end: usize,
    /// Of the first, middle and last of them.
    hash: usize,
}

impl Letters {
    pub(super) fn new(html: &[u8], start: usize, end: usize) -> Letters {
        let len = (end - start).max(8);
        let [first, middle, last] = [start, start + len / 2 - 4, start + len - 8].map(|at| word(html, at));
        Letters { start, end, hash: hash(first ^ middle.rotate_left(21) ^ last.rotate_left(42)) }
    }
}

#[inline]
fn hash(letters: u64) -> usize {
    (letters.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize
}
