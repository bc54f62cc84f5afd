//! A text with its tree, and the patches to the next text: only what changed is parsed.
//!
//! Old tree, old text and new text are walked together. What the two texts share at the front and at the back costs a comparison of
//! memory. In between, the fast path reads the new text token by token; wherever it stands directly in an element that is in the old
//! tree too, old children are tried first: one whose source is here letter by letter is kept and skipped, one whose start tag is here is
//! entered, another is found by its start tag wherever it was. All else is parsed, into a small tree of what is new. `domcast-diff`
//! makes the patches of what was kept, entered and parsed, and nobody looks at the rest.
//!
//! The tree knows for each node how many bytes of source it is made of. Positions follow from the walk, so an edit shifts nothing; the
//! lengths of what changed and of what is above it are set anew.
//!
//! # Why the tree equals that of a fresh parse
//!
//! The fast path is a machine whose state is the stack of open elements (all it counts follows from that) and the rest of the text.
//! At each *boundary*, old and new stack hold the same tags: this is so in front of the content, and entering an element pushes a tag
//! that is letter by letter the same. Then:
//!
//! - A child is kept only where its bytes are here and end alike. An element that its own end tag or a void one ends needs nothing more:
//!   it makes the same nodes and leaves the stack as it was (module [`fast`](crate::fast), "Spans"). One whose end is implied, or a text,
//!   ends at the next tag, so the name of that tag must be here too; that tag ends it first of all, so it makes no difference whether it is
//!   still open. Between an element whose end is implied and another of its name stands one that needs an end tag, so such an element never
//!   ends with an end tag of its own name.
//! - An element is left where the rest of it is here, by the same rule.
//! - Where the rests of both texts are equal at a boundary, so are the rests of both parses.
//! - Everything else is parsed by the fast path itself, with the stack as it is. Where that gives up, and wherever this module is not
//!   sure, the plain pipeline does all.
//!
//! This holds only of texts in which every token belongs to one node: the parser notes the part that is so (`Layout`), which ends before
//! `</body>`, because what follows that goes into the body too. What is in front of it, the head of a page, is parsed anew if any of it
//! changed, up to the start tag of `body`: whatever that was, the content begins with the same stack. Changes behind it take the plain
//! pipeline. So do elements that the text ends in, what is deeper than the deepest level, and irregular markup.
//!
//! A property and a fuzz target hold long histories equal to fresh parses, ids and patches included.

mod bytes; // what two texts share
mod level; // an element that is open in both

use crate::Parser;
use crate::fast::{self, Builder, Layout, Stop};
use crate::names::{self, Tag};
use bytes::{common_prefix, common_suffix};
use domcast_diff::{NodeId, Part, PartChild, Tree, VNode};
use level::{Level, Place, tag_of};

/// How far behind the last difference the small tree reaches at first.
const NARROW: usize = 16 << 10;

/// Names that imply the end of an element are shorter, with what is around them.
const MAX_NAME: usize = 64;

/// So many old children in front are looked at for one that stands here.
const N_AHEAD: usize = 3;

/// So many unknown children are parsed before old ones are looked up by their start tags.
const N_MISSES: usize = 2;

/// A text and what was made of it.
#[derive(Clone, Copy)]
pub(crate) struct Old<'a> {
    pub(crate) html: &'a str,
    pub(crate) tree: &'a Tree,
    pub(crate) layout: &'a Layout,
    pub(crate) is_page: bool,
}

/// What the next text changes in the old tree.
pub(crate) struct Change {
    pub(crate) layout: Layout,
    /// What is new.
    pub(crate) new: Tree,
    pub(crate) parts: Vec<Part>,
    /// Old texts that became new ones.
    pub(crate) pairs: Vec<(NodeId, NodeId)>,
    /// Old elements that have the attributes of new ones.
    pub(crate) renewed: Vec<(NodeId, NodeId)>,
    /// The new lengths of old nodes.
    pub(crate) lens: Vec<(NodeId, usize)>,
}

/// Returns what the next text changes, nothing if the texts are equal; or why that is unknown.
pub(crate) fn reparse(parser: &Parser, old: Old<'_>, html: &str) -> Result<Option<Change>, &'static str> {
    let (old_bytes, new_bytes) = (old.html.as_bytes(), html.as_bytes());
    let n_front = common_prefix(old_bytes, new_bytes);
    if n_front == old_bytes.len() && n_front == new_bytes.len() {
        return Ok(None);
    }
    let n_back = common_suffix(old_bytes, new_bytes);
    let Layout { content, has_tail } = old.layout;
    let n_behind = old_bytes.len() - content.end;
    if n_back < n_behind {
        return Err("it changed behind its body");
    }
    let changed = n_front.min(new_bytes.len() - n_back)..n_front.max(new_bytes.len() - n_back);
    if !fast::has_plain_characters(&new_bytes[changed]) {
        return Err("it has carriage returns or NULs");
    }
    let irregular = |_: Stop| "its markup is irregular";
    let texts = Texts { old: old.html, new: html, n_front, n_back };
    let mut walk = Walk::new(parser, old, texts, NARROW).map_err(irregular)?;
    walk.run().map_err(irregular)?;
    if walk.builder.is_narrow {
        walk = Walk::new(parser, old, texts, html.len()).map_err(irregular)?;
        walk.run().map_err(irregular)?;
    }
    let Walk { builder, start, parts, pairs, renewed, lens, .. } = walk;
    if builder.is_flattened {
        return Err("it nests too deep");
    }
    if old.tree.n_nodes() + builder.tree.n_nodes() > parser.limits.n_nodes {
        return Err("it may have too many nodes");
    }
    let layout = Layout { content: start..html.len() - n_behind, has_tail: *has_tail };
    Ok(Some(Change { layout, new: builder.tree.finish(true), parts, pairs, renewed, lens }))
}

/// The two texts and what they share.
#[derive(Clone, Copy)]
struct Texts<'a> {
    old: &'a str,
    new: &'a str,
    n_front: usize,
    n_back: usize,
}

struct Walk<'a> {
    old: &'a Tree,
    text: Texts<'a>,
    builder: Builder<'a>,
    /// How far behind the last difference the small tree reaches.
    reach: usize,
    is_holding: bool,
    has_tail: bool,
    /// Where the content begins in the new text.
    start: usize,
    /// The elements that are open in both, from the top down.
    levels: Vec<Level<'a>>,
    run: Run,
    parts: Vec<Part>,
    pairs: Vec<(NodeId, NodeId)>,
    renewed: Vec<(NodeId, NodeId)>,
    lens: Vec<(NodeId, usize)>,
}

/// Reads what is in front of the content, all of it anew.
fn head<'a>(parser: &'a Parser, old: Old<'a>, text: Texts<'a>) -> Result<Builder<'a>, Stop> {
    // Mostly the content is as it was, and so it is known where it begins.
    let n_content = old.html.len() - old.layout.content.start;
    let mut end = if n_content <= text.n_back { text.new.len() - n_content } else { 0 };
    loop {
        let mut builder = Builder::of_part(parser, text.new);
        builder.tree.hold(&text.new[..end], 0);
        let body = builder.before_content()?;
        if !builder.is_fixed(body) {
            return Err(Stop::Irregular);
        }
        if builder.at <= end {
            return Ok(builder);
        }
        end = builder.at;
    }
}

/// Equal bytes of both texts.
#[derive(Clone, Copy)]
struct Run {
    old_start: usize,
    new_start: usize,
    len: usize,
    /// Whether the bytes behind the run differ, or one of the texts ends there.
    is_whole: bool,
}

enum Step {
    /// Something was decided; look again.
    Again,
    /// The next token is new.
    Token,
    /// The rest is as it was.
    Done,
}

impl<'a> Walk<'a> {
    fn new(parser: &'a Parser, old: Old<'a>, text: Texts<'a>, reach: usize) -> Result<Walk<'a>, Stop> {
        let Layout { content, has_tail } = old.layout;
        let is_head_equal = text.n_front >= content.start;
        let builder = match (old.is_page, is_head_equal) {
            (true, false) => head(parser, old, text)?,
            (is_page, _) => {
                let mut builder = Builder::of_part(parser, text.new);
                builder.at = content.start;
                if is_page {
                    builder.open_body();
                }
                builder
            }
        };
        let start = builder.at;
        let new_id = builder.open.last().map_or(NodeId::ROOT, |open| open.id);
        let mut walk = Walk {
            old: old.tree,
            text,
            builder,
            reach,
            is_holding: false,
            has_tail: *has_tail,
            start,
            levels: Vec::new(),
            run: Run { old_start: 0, new_start: 0, len: text.n_front, is_whole: true },
            parts: Vec::new(),
            pairs: Vec::new(),
            renewed: Vec::new(),
            lens: Vec::new(),
        };
        let top = match old.is_page {
            true => walk.pair_head(is_head_equal).ok_or(Stop::Irregular)?,
            false => NodeId::ROOT,
        };
        walk.enter(top, new_id, content.start, content.end, start);
        Ok(walk)
    }

    /// Notes what became of the nodes in front of the content, and returns the old `body`.
    fn pair_head(&mut self, is_head_equal: bool) -> Option<NodeId> {
        let old = self.old;
        let find = |parent, name| {
            let is_named = |id: &NodeId| old.element(*id).is_some_and(|element| element.name.is_html(name));
            old.children(parent).position(|id| is_named(&id)).zip(old.children(parent).find(is_named))
        };
        let (html_idx, html) = find(NodeId::ROOT, "html")?;
        let (_, body) = find(html, "body")?;
        if is_head_equal {
            return Some(body);
        }
        let &[ref new_html, ref new_body] = self.builder.open.as_slice() else { return None };
        self.renewed = vec![(html, new_html.id), (body, new_body.id)];
        let new = &self.builder.tree;
        let before = |parent, until| {
            let children = std::iter::successors(new.first_child(parent), |&id| new.next_sibling(id));
            children.take_while(move |&id| id != until).map(PartChild::New)
        };
        let with_html = before(NodeId::ROOT, new_html.id).chain([PartChild::Old(html_idx)]).collect();
        let in_html = before(new_html.id, new_body.id).collect();
        let after = old.next_sibling(html);
        self.parts.push(Part { parent: NodeId::ROOT, before: None, after, children: with_html });
        self.parts.push(Part { parent: html, before: None, after: Some(body), children: in_html });
        Some(body)
    }

    fn run(&mut self) -> Result<(), Stop> {
        loop {
            self.leave_closed();
            let level = self.levels.last().expect("the top stays open");
            if level.n_open == self.builder.open.len() {
                match self.step()? {
                    Step::Again => continue,
                    Step::Done => return self.finish(true),
                    Step::Token => {}
                }
            }
            if self.builder.at == self.text.new.len() {
                return self.finish(false);
            }
            if self.token()? {
                return Err(Stop::Irregular);
            }
        }
    }

    // --- Levels ----------------------------------------------------------------------------------------------------

    fn enter(&mut self, old_id: NodeId, new_id: NodeId, old_at: usize, old_end: usize, new_start: usize) {
        self.builder.n_watched = self.builder.open.len();
        self.levels.push(Level {
            old_id,
            new_id,
            n_open: self.builder.open.len(),
            old_end,
            new_start,
            next: self.old.first_child(old_id),
            old_at,
            used_end: old_at,
            noted: None,
            entered: None,
            was_cut: false,
            n_misses: 0,
            lookup: None,
            part: None,
            old_idx: 0,
        });
    }

    /// Leaves the levels whose elements were closed.
    fn leave_closed(&mut self) {
        let ends = std::mem::take(&mut self.builder.ends);
        for &end in &ends {
            let Some(level) = self.levels.pop() else { return };
            self.lens.push((level.old_id, end - level.new_start));
            self.note(level, None);
        }
        if !ends.is_empty() {
            self.builder.n_watched = self.levels.last().map_or(0, |level| level.n_open);
        }
        self.builder.ends = ends;
        self.builder.ends.clear();
    }

    /// Notes what became of the children of a level, of which those from `after` on stay.
    fn note(&mut self, mut level: Level<'a>, after: Option<NodeId>) {
        level.note_new(self.old, &self.builder, None);
        if level.next != after {
            level.begin_part(self.old);
        }
        if let Some(mut part) = level.part {
            part.after = after;
            self.parts.push(part);
        }
    }

    fn finish(&mut self, is_rest_equal: bool) -> Result<(), Stop> {
        let at = self.builder.at;
        if !is_rest_equal && (self.levels.len() > 1 || self.levels[0].n_open != self.builder.open.len()) {
            return Err(Stop::Irregular);
        }
        if self.has_tail && !(is_rest_equal && self.is_tail_apart()) {
            return Err(Stop::Irregular);
        }
        let old_at = self.levels.last().expect("the top stays open").old_at;
        while let Some(level) = self.levels.pop() {
            if !self.levels.is_empty() {
                self.lens.push((level.old_id, at - level.new_start + level.old_end - old_at));
            }
            let after = level.next.filter(|_| is_rest_equal);
            self.note(level, after);
        }
        Ok(())
    }

    /// Whether the last child of `body`, which may be or hold text from behind `</body>`, stays, and joins no new text.
    fn is_tail_apart(&self) -> bool {
        let Level { old_id, new_id, next, .. } = self.levels[0];
        let is_text_last = self.builder.tree.last_child(new_id).is_some_and(|id| self.builder.tree.name(id).is_none());
        next.is_some() && (next != self.old.last_child(old_id) || !is_text_last)
    }

    // --- Boundaries ------------------------------------------------------------------------------------------------

    /// Decides what to do at a boundary.
    fn step(&mut self) -> Result<Step, Stop> {
        let at = self.builder.at;
        if self.is_rest_equal() {
            return Ok(Step::Done);
        }
        if self.leave_equal(at) {
            return Ok(Step::Again);
        }
        let level = self.levels.last().expect("the top stays open");
        let Some(next) = level.next else { return Ok(Step::Token) };
        let (old_at, is_used) = (level.old_at, level.is_used(next));
        if !is_used && self.is_kept(next, old_at) {
            self.keep();
            return Ok(Step::Again);
        }
        Ok(if self.step_over_removed() { Step::Again } else { Step::Token })
    }

    /// Leaves the element that is open if the rest of it is as it was.
    fn leave_equal(&mut self, at: usize) -> bool {
        let level = self.levels.last().expect("the top stays open");
        let (old_id, old_at, old_end) = (level.old_id, level.old_at, level.old_end);
        if self.levels.len() == 1 || old_at < level.used_end {
            return false;
        }
        let len = old_end - old_at;
        let is_rest_here = self.is_run(old_at, at, len)
            && (self.ends_alike(old_end, at + len) || (len > 0 && self.ends_itself(old_id, old_end)));
        if !is_rest_here {
            return false;
        }
        self.builder.at = at + len;
        self.builder.pop(at + len);
        self.builder.ends.clear();
        let level = self.levels.pop().expect("the top stays open");
        self.builder.n_watched = self.levels.last().map_or(0, |level| level.n_open);
        self.lens.push((old_id, at + len - level.new_start));
        let after = level.next;
        self.note(level, after);
        true
    }

    /// Whether both texts go on alike to their ends, from places that mean the same.
    fn is_rest_equal(&self) -> bool {
        let (n_old, n_new) = self.n_rest();
        n_old == n_new && n_new <= self.text.n_back && self.levels.iter().all(|level| level.old_at >= level.used_end)
    }

    /// Goes on behind old children that are gone, if that is plain to see.
    fn step_over_removed(&mut self) -> bool {
        let is_cut = self.is_cut();
        if self.is_grown() {
            return false;
        }
        let level = self.levels.last_mut().expect("the top stays open");
        // Where the rest of the new text is known, so is where it was; but it is looked for once only.
        let limit = if is_cut && !level.was_cut { usize::MAX } else { N_AHEAD };
        level.was_cut |= is_cut;
        let target = self.text.old.len().wrapping_sub(self.text.new.len() - self.builder.at);
        let (mut id, mut old_at) = (level.next, level.old_at);
        for n_over in 0..=limit {
            let level = self.levels.last().expect("the top stays open");
            let is_used = id.is_some_and(|id| level.is_used(id));
            let is_here = is_cut && old_at == target;
            let is_found = n_over > 0
                && !is_used
                && (is_here
                    || (n_over <= N_AHEAD
                        && id.is_some_and(|id| self.looks_kept(id, old_at) && self.is_kept(id, old_at))));
            if is_found {
                let level = self.levels.last_mut().expect("the top stays open");
                level.note_new(self.old, &self.builder, None);
                level.begin_part(self.old);
                (level.next, level.old_at, level.old_idx) = (id, old_at, level.old_idx + n_over);
                return true;
            }
            let Some(child) = id.filter(|_| !is_cut || old_at < target) else { return false };
            old_at += self.old.source_len(child);
            id = self.old.next_sibling(child);
        }
        false
    }

    /// Whether all that follows in the old text follows in the new one too, and something before it.
    fn is_grown(&self) -> bool {
        let (n_old, n_new) = self.n_rest();
        n_old < n_new && n_old <= self.text.n_back && !self.is_looking_up()
    }

    /// Whether all that follows in the new text follows in the old one too, and something before it.
    fn is_cut(&self) -> bool {
        let (n_old, n_new) = self.n_rest();
        n_new < n_old && n_new <= self.text.n_back && !self.is_looking_up()
    }

    /// Whether old children were found elsewhere than in their order, so that what follows in the old text says little.
    fn is_looking_up(&self) -> bool {
        self.levels.last().is_some_and(|level| level.lookup.is_some())
    }

    /// Returns how much follows in the old and in the new text.
    fn n_rest(&self) -> (usize, usize) {
        let level = self.levels.last().expect("the top stays open");
        (self.text.old.len() - level.old_at, self.text.new.len() - self.builder.at)
    }

    fn keep(&mut self) {
        let level = self.levels.last_mut().expect("the top stays open");
        let Some(id) = level.next else { return };
        let len = self.old.source_len(id);
        level.note_old(self.old, &self.builder, id, None);
        level.advance(self.old, id, len);
        self.builder.at += len;
    }

    /// Whether an old child, of which the source is at `old_at`, stands here.
    fn is_kept(&mut self, id: NodeId, old_at: usize) -> bool {
        let (at, len) = (self.builder.at, self.old.source_len(id));
        self.is_run(old_at, at, len) && (self.ends_alike(old_at + len, at + len) || self.ends_itself(id, old_at + len))
    }

    /// Whether a child may be kept, without leaving the run.
    fn looks_kept(&self, id: NodeId, old_at: usize) -> bool {
        let (at, len) = (self.builder.at, self.old.source_len(id));
        self.text.new.as_bytes().get(at..at + len) == self.text.old.as_bytes().get(old_at..old_at + len)
    }

    /// Whether so many bytes are equal.
    fn is_run(&mut self, old_at: usize, at: usize, len: usize) -> bool {
        let run = &mut self.run;
        let is_in_step = old_at >= run.old_start
            && at >= run.new_start
            && old_at - run.old_start == at - run.new_start
            && old_at - run.old_start <= run.len;
        if !is_in_step {
            *run = Run { old_start: old_at, new_start: at, len: 0, is_whole: false };
        }
        let end = old_at - run.old_start + len;
        if end > run.len && !run.is_whole {
            // A run grows to at most twice of what was asked for, so each byte is compared a bounded number of times.
            let limit = end.max(2 * run.len);
            let rest = |text: &'a str, start: usize| &text.as_bytes()[start + run.len..text.len().min(start + limit)];
            let n_equal = common_prefix(rest(self.text.old, run.old_start), rest(self.text.new, run.new_start));
            run.len += n_equal;
            run.is_whole = run.len < limit;
        }
        end <= run.len
    }

    /// Whether the name of the tag that follows is the same in both texts, or nothing follows.
    fn ends_alike(&self, old_at: usize, at: usize) -> bool {
        let run = &self.run;
        let is_in_run = old_at >= run.old_start
            && at >= run.new_start
            && old_at - run.old_start == at - run.new_start
            && old_at - run.old_start + MAX_NAME <= run.len;
        if is_in_run {
            return true;
        }
        let (old, new) = (&self.text.old.as_bytes()[old_at..], &self.text.new.as_bytes()[at..]);
        let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(**byte, b'<' | b'/' | b'-');
        // With the byte that ends the name.
        let n_bytes = new.iter().take(MAX_NAME).take_while(is_name).count() + 1;
        match (old.get(..n_bytes), new.get(..n_bytes)) {
            (Some(old_name), Some(new_name)) => old_name == new_name,
            _ => old == new,
        }
    }

    /// Whether an element or comment, whose source ends at `end`, ends of itself.
    fn ends_itself(&self, id: NodeId, end: usize) -> bool {
        match self.old.get(id) {
            Some(VNode::Comment(_)) => true,
            Some(VNode::Element(element)) => {
                let local = element.name.local;
                let is_void = matches!(names::tag(local), Tag::Void | Tag::Meta | Tag::Input | Tag::Hr);
                let source = &self.text.old[..end];
                let before = source.strip_suffix('>').and_then(|source| source.strip_suffix(local));
                (is_void && element.name.is_html(local)) || before.is_some_and(|source| source.ends_with("</"))
            }
            _ => false,
        }
    }

    // --- New tokens ------------------------------------------------------------------------------------------------

    /// Reads a token that is not kept.
    fn token(&mut self) -> Result<bool, Stop> {
        let level = self.levels.last().expect("the top stays open");
        if level.n_open != self.builder.open.len() {
            return self.builder.token();
        }
        let at = self.builder.at;
        let new = &self.text.new.as_bytes()[at..];
        let is_tag = new[0] == b'<' && new.get(1).is_some_and(u8::is_ascii_alphabetic);
        if is_tag && let Some(place) = self.entrance(new)? {
            return self.start_tag(place);
        }
        self.hold();
        let level = self.levels.last().expect("the top stays open");
        let is_markup = new[0] == b'<' && (is_tag || new.get(1).is_some_and(|byte| b"/!?".contains(byte)));
        let old_text = level
            .next
            .filter(|&id| !is_markup && !level.is_used(id) && matches!(self.old.get(id), Some(VNode::Text(_))));
        let n_levels = self.levels.len();
        let is_end_of_body = self.builder.token()?;
        if let Some(id) = old_text {
            let level = &mut self.levels[n_levels - 1];
            let new_id = self.builder.tree.last_child(level.new_id).ok_or(Stop::Irregular)?;
            self.pairs.push((id, new_id));
            level.note_old(self.old, &self.builder, id, Some(new_id));
            level.advance(self.old, id, self.old.source_len(id));
        }
        Ok(is_end_of_body)
    }

    /// Lets the small tree have what follows of the source.
    fn hold(&mut self) {
        if self.is_holding {
            return;
        }
        self.is_holding = true;
        let (start, html) = (self.builder.at, self.text.new);
        let behind = html.len() - self.text.n_back;
        let mut end = start.max(behind).saturating_add(self.reach).min(html.len());
        while !html.is_char_boundary(end) {
            end += 1;
        }
        self.builder.tree.hold(&html[start..end], start);
    }

    /// Returns the old child that the start tag here is entered for, if there is one.
    fn entrance(&mut self, new: &'a [u8]) -> Result<Option<Place>, Stop> {
        if self.is_grown() {
            return Ok(None);
        }
        if let Some((id, old_at)) = self.levels.last().and_then(|level| level.entered)
            && self.looks_kept(id, old_at)
        {
            // What was entered last follows as it was: it should have been left for this one.
            return Err(Stop::Irregular);
        }
        let level = self.levels.last().expect("the top stays open");
        let tag = tag_of(new);
        let old = self.text.old.as_bytes();
        if let Some(id) = level.next
            && !level.is_used(id)
            && old[level.old_at..].starts_with(tag)
        {
            let place = Place { id, old_at: level.old_at, old_idx: level.old_idx, is_alone: true };
            return Ok(Some(place).filter(|_| self.has_content(id)));
        }
        let level = self.levels.last_mut().expect("the top stays open");
        level.n_misses += 1;
        if level.n_misses <= N_MISSES {
            return Ok(None);
        }
        if level.lookup.is_none() {
            level.note_new(self.old, &self.builder, None);
            level.begin_part(self.old);
            level.look_up(self.old, self.text.old);
        }
        let lookup = level.lookup.as_ref().expect("it was just made");
        let place = lookup.by_tag.get(tag).filter(|place| place.is_alone && !lookup.used.contains(&place.id)).copied();
        Ok(place.filter(|place| self.has_content(place.id)))
    }

    /// Whether an element's content is tokens that begin right behind its start tag.
    fn has_content(&self, id: NodeId) -> bool {
        let tag = self.old.element(id).map(|element| names::tag(element.name.local));
        !matches!(
            tag,
            None | Some(
                Tag::Pre
                    | Tag::RawText
                    | Tag::RawContent
                    | Tag::Title
                    | Tag::TextArea
                    | Tag::Void
                    | Tag::Meta
                    | Tag::Input
                    | Tag::Hr
                    | Tag::Col
            )
        )
    }

    /// Reads a start tag that an old child begins with, and enters that child, or keeps it.
    fn start_tag(&mut self, place: Place) -> Result<bool, Stop> {
        let at = self.builder.at;
        let n_levels = self.levels.len();
        let is_next = self.levels[n_levels - 1].next == Some(place.id);
        if !is_next {
            let is_kept = self.is_kept(place.id, place.old_at);
            let level = &mut self.levels[n_levels - 1];
            (level.next, level.old_at, level.old_idx) = (Some(place.id), place.old_at, place.old_idx);
            if is_kept {
                self.keep();
                return Ok(false);
            }
        }
        let (n_open, new_parent) = (self.levels[n_levels - 1].n_open, self.levels[n_levels - 1].new_id);
        self.builder.start_tag()?;
        let tag = &self.text.new[at..self.builder.at];
        let is_child = self.builder.open.len() == n_open + 1
            && self.builder.open[..n_open].last().is_none_or(|open| open.id == new_parent);
        let opened = self.builder.open.last().filter(|open| is_child && open.start == Some(at) && open.tag != Tag::Pre);
        let opened = opened.map(|open| open.id);
        let element = self.old.element(place.id);
        let len = self.old.source_len(place.id);
        let is_same = self.text.old.as_bytes()[place.old_at..].starts_with(tag.as_bytes())
            && tag.len() <= len
            && element.is_some_and(|element| opened.is_some_and(|id| self.builder.is_named(id, element.name)));
        let Some(new_id) = opened.filter(|_| is_same) else {
            // It is new after all; the small tree must hold what it is made of.
            return if self.is_holding { Ok(false) } else { Err(Stop::Irregular) };
        };
        let level = &mut self.levels[n_levels - 1];
        level.note_old(self.old, &self.builder, place.id, Some(new_id));
        level.entered = Some((place.id, place.old_at));
        level.advance(self.old, place.id, len);
        self.enter(place.id, new_id, place.old_at + tag.len(), place.old_at + len, at);
        Ok(false)
    }
}
