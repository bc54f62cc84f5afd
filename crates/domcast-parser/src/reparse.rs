//! What changed of a text: only that is parsed.
//!
//! Old tree, old text and new text are walked together. What the two texts share at the front and at the back costs a comparison of
//! memory. In between the walk goes from boundary to boundary: places that stand, in the new text, directly in an element that is in the old
//! tree too. There old children are tried first: one whose source is here letter by letter is kept and skipped, one whose start tag is here is
//! entered, a text becomes the one that is here, another child is found by its start tag wherever it was. All else is parsed by the fast path,
//! into a small tree of what is new; the elements around are opened in it when it comes to that. `domcast-diff`
//! makes the patches of what was kept, entered and parsed, and nobody looks at the rest.
//!
//! The tree knows for each node how many bytes of source it is made of. Positions follow from the walk, so an edit shifts nothing; the
//! lengths of what changed and of what is above it are set anew.
//!
//! # Why the tree equals that of a fresh parse
//!
//! The fast path is a machine whose state is the stack of open elements (all it counts follows from that) and the rest of the text.
//! At each boundary, old and new stack hold the same tags: this is so in front of the content, and entering an element pushes a tag
//! of the same name. Attributes decide nothing in the machine. Then:
//!
//! - A child is kept only where its bytes are here and end alike. An element that its own end tag or a void one ends needs nothing more:
//!   it makes the same nodes and leaves the stack as it was (module [`fast`](crate::fast), "Spans"). One whose end is implied, or a text,
//!   ends at the next tag, so the name of that tag must be here too; that tag ends it first of all, so it makes no difference whether it is
//!   still open. Between an element whose end is implied and another of its name stands one that needs an end tag, so such an element never
//!   ends with an end tag of its own name; save for a `li` in a `dd` in a `li` and the like, which are told by what is last in them.
//! - A start tag that is here letter by letter opened one element in the old text, and so it does here.
//! - An element is left where the rest of it is here, by the rule for children.
//! - A text is one token, up to the next markup, and ends nothing; in tables, where it might, the fast path reads it.
//! - An element in which one text changed follows from these: its start tags and what is around the text are here. It is found by where the
//!   texts differ, without entering each element on the way.
//! - Where the rests of both texts are equal at a boundary, so are the rests of both parses.
//! - Everything else is parsed by the fast path itself, with the stack as it is. Where that gives up, the plain pipeline does all.
//!
//! This holds only of texts in which every token belongs to one node: the parser notes the part that is so (`Layout`), which ends before
//! `</body>`. What is in front of it, the head of a page, is parsed anew if any of it changed, up to the start tag of `body`: whatever that
//! was, the content begins with the same stack. What is behind it must be as it was; the whitespace in it goes into the body, as a text or
//! joined to the one that is last, and is put there again unless the old last child stays last. Other changes behind it take the plain
//! pipeline. So do elements that the text ends in, what is deeper than the deepest level, and irregular markup.
//!
//! A property and a fuzz target hold long histories equal to fresh parses, ids and patches included.

mod bytes; // what two texts share, and where tags end
mod level; // an element that is open in both

use crate::Parser;
use crate::fast::{self, Builder, Layout, Stop};
use crate::names::{self, Tag};
use crate::references::decode;
use bytes::{common_suffix, start_tag_len};
use domcast_diff::{Name, Namespace, NodeId, Part, PartChild, Tree, VNode, common_prefix};
use level::{Level, Place, tag_of};
use std::borrow::Cow;

/// Names that imply the end of an element are shorter, with what is around them.
const MAX_NAME: usize = 64;

/// Elements whose start tag changed are entered if they are at least so many bytes, of which so many in front of the content are equal.
const MIN_RENEWED: usize = 512;
const MIN_ALIKE: usize = 32;

/// So many times a walk begins anew because it entered an element that follows as it was.
const MAX_MISTAKES: usize = 8;

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

/// Said where the markup is irregular, and where it might be as well.
pub(crate) const IRREGULAR: &str = "its markup is irregular";

/// What the next text changes in the old tree.
pub(crate) struct Change<'a> {
    pub(crate) layout: Layout,
    /// What is new.
    pub(crate) new: Tree,
    pub(crate) parts: Vec<Part>,
    /// Old text nodes and what they say now.
    pub(crate) texts: Vec<(NodeId, Cow<'a, str>)>,
    /// Old elements that have the attributes of new ones.
    pub(crate) renewed: Vec<(NodeId, NodeId)>,
    /// The new lengths of old nodes.
    pub(crate) lens: Vec<(NodeId, usize)>,
}

/// Returns what the next text changes, nothing if the texts are equal; or why that is unknown.
pub(crate) fn reparse<'a>(parser: &'a Parser, old: Old<'a>, html: &'a str) -> Result<Option<Change<'a>>, &'static str> {
    let (old_bytes, new_bytes) = (old.html.as_bytes(), html.as_bytes());
    let n_front = common_prefix(old_bytes, new_bytes);
    if n_front == old_bytes.len() && n_front == new_bytes.len() {
        return Ok(None);
    }
    let n_back = common_suffix(old_bytes, new_bytes);
    let content = &old.layout.content;
    let n_behind = old_bytes.len() - content.end;
    if n_back < n_behind {
        return Err("it changed behind its body");
    }
    let irregular = |_: Stop| match fast::has_plain_characters(new_bytes) {
        true => IRREGULAR,
        false => "it has carriage returns or NULs",
    };
    let texts = Texts { old: old.html, new: html, n_front, n_back };
    let mut mistaken = Vec::new();
    let walk = loop {
        let mut walk = Walk::new(parser, old, texts, mistaken).map_err(irregular)?;
        let outcome = walk.run();
        if !walk.is_mistaken {
            outcome.map_err(irregular)?;
            break walk;
        }
        mistaken = walk.mistaken;
    };
    let Walk { builder, start, parts, texts, renewed, lens, .. } = walk;
    if builder.is_flattened {
        return Err("it nests too deep");
    }
    if old.tree.n_nodes() + builder.tree.n_nodes() > parser.limits.n_nodes {
        return Err("it may have too many nodes");
    }
    let layout = Layout { content: start..html.len() - n_behind };
    Ok(Some(Change { layout, new: builder.tree.finish(true), parts, texts, renewed, lens }))
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
    /// How many bytes are behind the content.
    n_behind: usize,
    /// Whether the last old child of all, which may hold text from there, is last of all still.
    is_last_kept: bool,
    /// Where the content begins in the new text.
    start: usize,
    /// The elements that are open in both, from the top down.
    levels: Vec<Level<'a>>,
    run: Run,
    parts: Vec<Part>,
    texts: Vec<(NodeId, Cow<'a, str>)>,
    renewed: Vec<(NodeId, NodeId)>,
    lens: Vec<(NodeId, usize)>,
    /// Old elements that an earlier walk entered where they are not, and whether this one did.
    mistaken: Vec<NodeId>,
    is_mistaken: bool,
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

impl Run {
    /// Whether the run goes from these places to these, or ends there.
    #[inline]
    fn is_in_step(&self, old_at: usize, at: usize) -> bool {
        old_at >= self.old_start
            && at >= self.new_start
            && old_at - self.old_start == at - self.new_start
            && old_at - self.old_start <= self.len
    }

    /// Whether a tag's name at a place in step is equal for sure.
    #[inline]
    fn is_name_within(&self, old_at: usize) -> bool {
        old_at - self.old_start + MAX_NAME <= self.len
    }
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
    fn new(parser: &'a Parser, old: Old<'a>, text: Texts<'a>, mistaken: Vec<NodeId>) -> Result<Walk<'a>, Stop> {
        let content = &old.layout.content;
        let is_head_equal = text.n_front >= content.start;
        let mut builder = Builder::of_part(parser, text.new);
        if old.is_page && !is_head_equal {
            let body = builder.before_content()?;
            let is_plain = fast::has_plain_characters(&text.new.as_bytes()[..builder.at]);
            if !is_plain || !builder.is_fixed(body) {
                return Err(Stop::Irregular);
            }
        } else {
            builder.at = content.start;
            if old.is_page {
                builder.open_body();
            }
        }
        let start = builder.at;
        let new_id = builder.open.last().map_or(NodeId::ROOT, |open| open.id);
        let mut walk = Walk {
            old: old.tree,
            text,
            builder,
            n_behind: old.html.len() - content.end,
            is_last_kept: false,
            start,
            levels: Vec::new(),
            run: Run { old_start: 0, new_start: 0, len: text.n_front, is_whole: true },
            parts: Vec::new(),
            texts: Vec::new(),
            renewed: Vec::new(),
            lens: Vec::new(),
            mistaken,
            is_mistaken: false,
        };
        let top = match old.is_page {
            true => walk.pair_head(is_head_equal).ok_or(Stop::Irregular)?,
            false => NodeId::ROOT,
        };
        let top = Level::new(old.tree, top, content.clone(), start);
        walk.enter(Level { new_id: Some(new_id), ..top });
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
        let [new_html, new_body] = self.builder.open.as_slice() else { return None };
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
        let end = self.text.new.len() - self.n_behind;
        loop {
            if self.builder.at > end {
                // A comment took in what stood behind the content.
                return Err(Stop::Irregular);
            }
            self.leave_closed();
            if self.is_boundary() {
                match self.step() {
                    Step::Again => continue,
                    Step::Done => return self.finish(true),
                    Step::Token => {}
                }
            }
            if self.builder.at == self.text.new.len() {
                return self.finish(false);
            }
            let at = self.builder.at;
            if self.token()? {
                return if at == end { self.finish(false) } else { Err(Stop::Irregular) };
            }
        }
    }

    // --- Levels ----------------------------------------------------------------------------------------------------

    /// Whether what comes next stands directly in the last level.
    fn is_boundary(&self) -> bool {
        let level = self.levels.last().expect("the top stays open");
        level.new_id.is_none() || level.n_open == self.builder.open.len()
    }

    fn enter(&mut self, level: Level<'a>) {
        let n_open = self.builder.open.len();
        self.levels.push(Level { n_open, ..level });
        self.watch();
    }

    /// Asks the builder to tell when the element of a level is closed.
    fn watch(&mut self) {
        let is_open = |level: &&Level<'_>| level.new_id.is_some();
        self.builder.n_watched = self.levels.iter().rev().find(is_open).map_or(0, |level| level.n_open);
    }

    /// Opens the elements of all levels in the builder, which has to know them before it reads a token.
    fn open_levels(&mut self) -> Result<(), Stop> {
        let Some(first) = self.levels.iter().position(|level| level.new_id.is_none()) else { return Ok(()) };
        let at = self.builder.at;
        for idx in first..self.levels.len() {
            self.builder.at = self.levels[idx].new_start;
            let id = self.open_child(self.levels[idx - 1].new_id)?.ok_or(Stop::Irregular)?;
            self.levels[idx - 1].noted = Some(id);
            self.levels[idx].new_id = Some(id);
            self.levels[idx].n_open = self.builder.open.len();
        }
        self.builder.at = at;
        self.watch();
        Ok(())
    }

    /// Reads a start tag; returns the element if it opened as a child of `parent`, and nothing else did.
    fn open_child(&mut self, parent: Option<NodeId>) -> Result<Option<NodeId>, Stop> {
        let (at, n_open) = (self.builder.at, self.builder.open.len());
        self.read()?;
        let open = &self.builder.open;
        let is_child = open.len() == n_open + 1 && open[..n_open].last().is_none_or(|open| Some(open.id) == parent);
        let opened = open.last().filter(|open| is_child && open.start == Some(at) && open.tag != Tag::Pre);
        Ok(opened.map(|open| open.id))
    }

    /// Leaves the levels whose elements were closed.
    fn leave_closed(&mut self) {
        if self.builder.ends.is_empty() {
            return;
        }
        let ends = std::mem::take(&mut self.builder.ends);
        for &end in &ends {
            let Some(level) = self.levels.pop() else { return };
            self.lens.push((level.old_id, end - level.new_start));
            self.note(level, None);
        }
        self.watch();
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
        if !is_rest_equal && (self.levels.len() > 1 || !self.is_boundary()) {
            return Err(Stop::Irregular);
        }
        let is_last_kept = self.place_tail(is_rest_equal);
        let old_at = self.levels.last().expect("the top stays open").old_at;
        while let Some(level) = self.levels.pop() {
            let is_top = self.levels.is_empty();
            if !is_top {
                self.lens.push((level.old_id, at - level.new_start + level.old_end - old_at));
            }
            let after = level.next.filter(|_| is_rest_equal && (is_last_kept || !is_top));
            self.note(level, after);
        }
        Ok(())
    }

    /// Puts what stands behind `</body>` into the body, where it joins a text that is last. Returns whether it stays where it was, in the last
    /// old child.
    fn place_tail(&mut self, is_rest_equal: bool) -> bool {
        let tail = whitespace_behind_body(&self.text.new[self.text.new.len() - self.n_behind..]);
        if tail.is_empty() || self.is_last_kept {
            return true;
        }
        let Level { old_id, new_id, next, noted, ref part, .. } = self.levels[0];
        let new_id = new_id.expect("the top is open");
        // The last child in the builder is the last of all unless an old one follows it.
        let is_last = |id: NodeId| {
            let noted_last = part.as_ref().and_then(|part| part.children.last());
            Some(id) != noted || noted_last == Some(&PartChild::New(id))
        };
        let new_last = self.builder.tree.last_child(new_id).filter(|&id| is_last(id));
        let joins = new_last.is_some_and(|id| self.builder.tree.is_text(id)) && self.levels.len() == 1;
        let is_alone = next == self.old.last_child(old_id) && next.is_some_and(|id| self.old.source_len(id) == 0);
        if is_rest_equal && next.is_some() && !(is_alone && joins) {
            return true;
        }
        let text = self.builder.tree.text(&tail);
        if joins {
            self.builder.tree.join_text(new_id, text);
        } else {
            self.builder.tree.append_text(new_id, text);
        }
        false
    }

    // --- Boundaries ------------------------------------------------------------------------------------------------

    /// Decides what to do at a boundary.
    fn step(&mut self) -> Step {
        let at = self.builder.at;
        if self.is_rest_equal() {
            return Step::Done;
        }
        if self.leave_equal(at) {
            return Step::Again;
        }
        if self.keep_in_run() {
            return Step::Again;
        }
        let level = self.levels.last().expect("the top stays open");
        let Some(next) = level.next else { return Step::Token };
        let (old_at, is_used) = (level.old_at, level.is_used(level.old_idx));
        if !is_used && self.is_kept(next, old_at, self.old.source_len(next)) {
            self.keep();
            return Step::Again;
        }
        if self.keep_looked_up() {
            return Step::Again;
        }
        let is_moved = self.step_over_removed() || (!is_used && self.set_text(next));
        if is_moved { Step::Again } else { Step::Token }
    }

    /// Gives the next old child, a text, the text that stands here.
    fn set_text(&mut self, id: NodeId) -> bool {
        let level = self.levels.last().expect("the top stays open");
        // Text from behind the body may join one in it.
        let is_apart = self.levels.len() > 1 || self.n_behind == 0;
        let is_text = matches!(self.old.get(id), Some(VNode::Text(_)));
        if !is_text || !is_apart {
            return false;
        }
        let at = self.builder.at;
        let Some(end) = self.text_here(level.old_id, at) else { return false };
        let old_len = self.old.source_len(id);
        self.texts.push((id, decode(&self.text.new[at..end], false)));
        self.lens.push((id, end - at));
        let level = self.levels.last_mut().expect("the top stays open");
        level.note_old(self.old, &self.builder, None);
        level.advance(self.old, id, old_len);
        self.builder.at = end;
        true
    }

    /// Returns where a text ends that stands here in an old element, if one does that may take the place of another.
    fn text_here(&self, parent: NodeId, at: usize) -> Option<usize> {
        let new = self.text.new.as_bytes();
        let is_table = |name: Name<'_>| fast::is_in_table(names::tag(name.local));
        let (end, _) = fast::text_end(new, at);
        let is_text = end > at && fast::has_plain_characters(&new[at..end]);
        (is_text && !self.old.name(parent).is_some_and(is_table)).then_some(end)
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
        let level = self.levels.pop().expect("the top stays open");
        if level.new_id.is_some() {
            self.builder.pop(at + len);
            self.builder.ends.clear();
            self.watch();
        }
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
        if self.is_looking_up() || self.is_grown() {
            return false;
        }
        let is_cut = self.is_cut();
        let level = self.levels.last_mut().expect("the top stays open");
        // Where the rest of the new text is known, so is where it was; but it is looked for once only.
        let limit = if is_cut && !level.was_cut { usize::MAX } else { N_AHEAD };
        level.was_cut |= is_cut;
        let target = self.text.old.len().wrapping_sub(self.text.new.len() - self.builder.at);
        let (mut id, mut old_at) = (level.next, level.old_at);
        for n_over in 0..=limit {
            let level = self.levels.last().expect("the top stays open");
            let is_used = level.is_used(level.old_idx + n_over);
            let is_here = is_cut && old_at == target;
            let is_found = n_over > 0
                && !is_used
                && (is_here
                    || (n_over <= N_AHEAD && id.is_some_and(|id| self.is_kept(id, old_at, self.old.source_len(id)))));
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
        let n_levels = self.levels.len();
        let level = self.levels.last_mut().expect("the top stays open");
        let Some(id) = level.next else { return };
        let len = self.old.source_len(id);
        self.is_last_kept |= n_levels == 1 && self.old.next_sibling(id).is_none();
        level.note_old(self.old, &self.builder, None);
        level.advance(self.old, id, len);
        self.builder.at += len;
    }

    /// Keeps the old children that follow and end well within the run; whether there are any.
    fn keep_in_run(&mut self) -> bool {
        let (run, n_levels, at) = (self.run, self.levels.len(), self.builder.at);
        let level = self.levels.last_mut().expect("the top stays open");
        let len_of_next = |level: &Level<'_>| level.next.map_or(0, |id| self.old.source_len(id));
        let is_within = |level: &Level<'_>, len: usize| len > 0 && run.is_name_within(level.old_at + len);
        let mut len = len_of_next(level);
        if level.lookup.is_some() || !run.is_in_step(level.old_at, at) || !is_within(level, len) {
            return false;
        }
        level.note_new(self.old, &self.builder, None);
        let old_start = level.old_at;
        while let Some(id) = level.next.filter(|_| is_within(level, len)) {
            if let Some(part) = &mut level.part {
                part.children.push(PartChild::Old(level.old_idx));
            }
            level.advance(self.old, id, len);
            len = len_of_next(level);
        }
        self.builder.at += level.old_at - old_start;
        self.is_last_kept |= n_levels == 1 && level.next.is_none();
        true
    }

    /// Keeps the old children that are found by their start tags; whether there are any.
    fn keep_looked_up(&mut self) -> bool {
        let mut last = None;
        while let Some(place) = self.looked_up()
            && self.is_kept(place.id, place.old_at, place.len)
        {
            self.go_to(place);
            let is_top = self.levels.len() == 1;
            let level = self.levels.last_mut().expect("the top stays open");
            level.note_old(self.old, &self.builder, None);
            // Its own place in memory may be far from the one before, and is not needed.
            level.pass(place.len);
            self.is_last_kept |= is_top && self.old.last_child(level.old_id) == Some(place.id);
            self.builder.at += place.len;
            last = Some(place.id);
            if self.is_rest_equal() {
                break;
            }
        }
        let level = self.levels.last_mut().expect("the top stays open");
        level.next = last.map_or(level.next, |last| self.old.next_sibling(last));
        last.is_some()
    }

    /// Returns the old child that alone has the start tag which stands here, if children are looked up and it was not found before.
    fn looked_up(&self) -> Option<Place> {
        let level = self.levels.last().expect("the top stays open");
        let place = level.lookup.as_ref()?.by_tag.get(tag_of(&self.text.new.as_bytes()[self.builder.at..]))?;
        (place.is_alone && !level.is_used(place.old_idx)).then_some(*place)
    }

    /// Makes an old child the next one.
    fn go_to(&mut self, place: Place) {
        let level = self.levels.last_mut().expect("the top stays open");
        (level.next, level.old_at, level.old_idx) = (Some(place.id), place.old_at, place.old_idx);
    }

    /// Whether an old child, of which the source is so many bytes at `old_at`, stands here.
    fn is_kept(&mut self, id: NodeId, old_at: usize, len: usize) -> bool {
        let at = self.builder.at;
        // A text from behind the body alone has no source here.
        if len == 0 {
            return false;
        }
        let is_here = match self.run.is_in_step(old_at, at) {
            true => self.is_run(old_at, at, len),
            // Most likely it is not, and then the run may be of use still.
            false => self.looks_kept(old_at, len),
        };
        if !is_here {
            return false;
        }
        if !self.run.is_in_step(old_at, at) {
            self.run = Run { old_start: old_at, new_start: at, len, is_whole: false };
        }
        self.ends_alike(old_at + len, at + len) || self.ends_itself(id, old_at + len)
    }

    /// Whether so many bytes of the old text stand here, without leaving the run.
    fn looks_kept(&self, old_at: usize, len: usize) -> bool {
        let at = self.builder.at;
        self.text.new.as_bytes().get(at..at + len) == self.text.old.as_bytes().get(old_at..old_at + len)
    }

    /// Whether so many bytes are equal.
    fn is_run(&mut self, old_at: usize, at: usize, len: usize) -> bool {
        let run = &mut self.run;
        if !run.is_in_step(old_at, at) {
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
        if self.run.is_in_step(old_at, at) && self.run.is_name_within(old_at) {
            return true;
        }
        let (old, new) = (self.text.old.as_bytes(), self.text.new.as_bytes());
        let next = fast::scan::word(new, at);
        if next == fast::scan::word(old, old_at) && next.to_le_bytes().iter().any(|byte| matches!(byte, b' ' | b'>')) {
            return true;
        }
        let (old, new) = (&old[old_at..], &new[at..]);
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
                // An item may hold another one of its name in an item of the other kind, and end with it.
                let is_item = |local: &str| matches!(names::tag(local), Tag::Li | Tag::Definition);
                let last = self.old.last_child(id).and_then(|last| self.old.element(last));
                if is_item(local) && last.is_some_and(|last| is_item(last.name.local)) {
                    return false;
                }
                let before = before.and_then(|source| source.strip_suffix("</"));
                (is_void && element.name.is_html(local))
                    || before.is_some_and(|before| self.is_between_tags(id, before))
            }
            _ => false,
        }
    }

    /// Whether what looks like the end tag of an element, behind this source, is not the end of a start tag: `<li id=</li>`. Then an empty
    /// element would be the last in it.
    fn is_between_tags(&self, id: NodeId, source: &str) -> bool {
        let last = || std::iter::successors(Some(id), |&id| self.old.last_child(id)).last();
        source.ends_with('>') || last().is_some_and(|last| self.old.name(last).is_none())
    }

    // --- New tokens ------------------------------------------------------------------------------------------------

    /// Reads a token that is not kept.
    fn token(&mut self) -> Result<bool, Stop> {
        if !self.is_boundary() {
            return self.read();
        }
        let new = &self.text.new.as_bytes()[self.builder.at..];
        if new[0] == b'<' && new.get(1).is_some_and(u8::is_ascii_alphabetic) {
            if let Some(place) = self.entrance(new)?
                && self.enter_place(place, new)
            {
                return Ok(false);
            }
            self.open_levels()?;
            if self.renew(new)? {
                return Ok(false);
            }
        }
        self.open_levels()?;
        self.read()
    }

    /// Reads a token. What is kept is as the old text was, so that here all is seen that might have odd characters.
    fn read(&mut self) -> Result<bool, Stop> {
        let at = self.builder.at;
        let is_end = self.builder.token()?;
        let is_plain = fast::has_plain_characters(&self.text.new.as_bytes()[at..self.builder.at]);
        if is_plain { Ok(is_end) } else { Err(Stop::Irregular) }
    }

    /// Returns the old child that the start tag here is entered for, if there is one.
    fn entrance(&mut self, new: &'a [u8]) -> Result<Option<Place>, Stop> {
        if self.is_grown() {
            return Ok(None);
        }
        if let Some((id, old_at)) = self.levels.last().and_then(|level| level.entered)
            && self.mistaken.len() < MAX_MISTAKES
            && self.looks_kept(old_at, self.old.source_len(id))
        {
            // What was entered last follows as it was: it should have been left for this one.
            self.mistaken.push(id);
            self.is_mistaken = true;
            return Err(Stop::Irregular);
        }
        let level = self.levels.last().expect("the top stays open");
        let tag = tag_of(new);
        let old = self.text.old.as_bytes();
        if let Some(id) = level.next
            && !level.is_used(level.old_idx)
            && old[level.old_at..].starts_with(tag)
            && !self.mistaken.contains(&id)
        {
            let (old_at, len) = (level.old_at, self.old.source_len(id));
            let place = Place { id, old_at, len, old_idx: level.old_idx, is_alone: true };
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
        Ok(self.looked_up().filter(|place| self.has_content(place.id)))
    }

    /// Whether an element's content is tokens that begin right behind its start tag.
    fn has_content(&self, id: NodeId) -> bool {
        let tag = self.old.name(id).map(|name| names::tag(name.local));
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

    /// Keeps an old child whose start tag seems to stand here, or enters it.
    fn enter_place(&mut self, place: Place, new: &'a [u8]) -> bool {
        let is_next = self.levels.last().is_some_and(|level| level.next == Some(place.id));
        let is_kept = !is_next && self.is_kept(place.id, place.old_at, place.len);
        let Some(tag_len) = is_kept.then_some(0).or_else(|| self.same_start_tag(place, new)) else { return false };
        self.go_to(place);
        if is_kept {
            self.keep();
            return true;
        }
        let level = self.levels.last_mut().expect("the top stays open");
        level.note_old(self.old, &self.builder, None);
        level.entered = Some((place.id, place.old_at));
        level.advance(self.old, place.id, place.len);
        let (n_lens, n_texts) = (self.lens.len(), self.texts.len());
        if self.change_text(place, tag_len).is_some() {
            return true;
        }
        self.lens.truncate(n_lens);
        self.texts.truncate(n_texts);
        let new_start = self.builder.at;
        self.builder.at += tag_len;
        let old_content = place.old_at + tag_len..place.old_at + place.len;
        self.levels.push(Level::new(self.old, place.id, old_content, new_start));
        true
    }

    /// Goes on behind an old element, which begins here with its start tag, if it changed in one text only. That is what most often happens, and
    /// to find it by where the texts differ takes a part of what entering each element takes.
    fn change_text(&mut self, place: Place, tag_len: usize) -> Option<()> {
        let at = self.builder.at;
        let new_at = |old_at: usize| at + old_at - place.old_at;
        if self.is_run(place.old_at, at, place.len) {
            return None;
        }
        let differs_at = self.run.old_start + self.run.len;
        let n_lens = self.lens.len();
        let (mut above, mut tag_len) = (place, tag_len);
        let text = loop {
            self.lens.push((above.id, above.len));
            let child_at = |id: NodeId, old_at| Place { id, old_at, len: self.old.source_len(id), ..above };
            let mut child = child_at(self.old.first_child(above.id)?, above.old_at + tag_len);
            loop {
                let end = child.old_at + child.len;
                let is_equal =
                    end <= differs_at && (self.ends_alike(end, new_at(end)) || self.ends_itself(child.id, end));
                if child.len == 0 || !is_equal {
                    break;
                }
                child = child_at(self.old.next_sibling(child.id)?, end);
            }
            let new = self.text.new.as_bytes().get(new_at(child.old_at)..)?;
            if matches!(self.old.get(child.id), Some(VNode::Text(_))) {
                break child;
            }
            tag_len = self.same_start_tag(child, new).filter(|_| self.has_content(child.id))?;
            above = child;
        };
        let old_end = text.old_at + text.len;
        let end = self.text_here(above.id, new_at(text.old_at))?;
        let rest = place.old_at + place.len - old_end;
        let is_rest_here = self.is_run(old_end, end, rest)
            && (self.ends_alike(old_end + rest, end + rest) || self.ends_itself(place.id, old_end + rest));
        if !is_rest_here {
            return None;
        }
        let text_start = new_at(text.old_at);
        self.texts.push((text.id, decode(&self.text.new[text_start..end], false)));
        for (_, len) in &mut self.lens[n_lens..] {
            *len = *len + (end - text_start) - text.len;
        }
        self.lens.push((text.id, end - text_start));
        self.builder.at = end + rest;
        Some(())
    }

    /// Returns the length of the start tag that stands here if an old element, which has content, begins with the same.
    fn same_start_tag(&self, place: Place, new: &[u8]) -> Option<usize> {
        let tag = &new[..start_tag_len(new)?];
        let name = self.old.name(place.id)?;
        let source = self.text.old.as_bytes().get(place.old_at..place.old_at + place.len)?;
        let has_content = name.namespace == Namespace::Html || !tag.ends_with(b"/>");
        (has_content && source.starts_with(tag) && is_tag_of(tag, name.local)).then_some(tag.len())
    }

    /// Enters the next old child where its start tag has other attributes, if it seems to go on alike.
    fn renew(&mut self, new: &'a [u8]) -> Result<bool, Stop> {
        let level = self.levels.last().expect("the top stays open");
        let is_large = |id: &NodeId| self.old.source_len(*id) >= MIN_RENEWED;
        let Some(id) = level.next.filter(is_large).filter(|id| !self.mistaken.contains(id)) else { return Ok(false) };
        let (old_at, parent) = (level.old_at, level.new_id);
        let len = self.old.source_len(id);
        let old = &self.text.old.as_bytes()[old_at..old_at + len];
        let (Some(tag_len), Some(old_tag_len)) = (start_tag_len(new), start_tag_len(old)) else { return Ok(false) };
        let is_same_name = self.old.element(id).is_some_and(|element| {
            is_tag_of(&new[..tag_len], element.name.local) && is_tag_of(&old[..old_tag_len], element.name.local)
        });
        let content = &old[old_tag_len..(old_tag_len + MIN_ALIKE).min(len)];
        let is_alike = is_same_name && new[tag_len..].starts_with(content);
        if !is_alike || level.is_used(level.old_idx) || self.is_grown() || !self.has_content(id) {
            return Ok(false);
        }
        let new_start = self.builder.at;
        let opened = self.open_child(parent)?;
        let is_renewed = |new_id: &NodeId| {
            let is_same_name = self.old.element(id).is_some_and(|element| self.builder.is_named(*new_id, element.name));
            is_same_name && self.builder.tree.key(*new_id) == self.old.key(id)
        };
        // What is another after all is new.
        let Some(new_id) = opened.filter(is_renewed) else { return Ok(true) };
        self.renewed.push((id, new_id));
        let level = self.levels.last_mut().expect("the top stays open");
        level.note_old(self.old, &self.builder, Some(new_id));
        level.entered = Some((id, old_at));
        level.advance(self.old, id, len);
        let old_start = old_at + old_tag_len;
        let level = Level::new(self.old, id, old_start..old_at + len, new_start);
        self.enter(Level { new_id: Some(new_id), ..level });
        Ok(true)
    }
}

/// Returns the text that stands behind the content of a page: whitespace between end tags and comments.
fn whitespace_behind_body(tail: &str) -> String {
    let mut text = String::new();
    let mut rest = tail;
    while let Some(start) = rest.find('<') {
        text += &rest[..start];
        let end = if rest[start..].starts_with("<!--") { "-->" } else { ">" };
        let Some(end_at) = rest[start..].find(end) else { return text };
        rest = &rest[start + end_at + end.len()..];
    }
    text + rest
}

/// Whether a start tag, in any case, is of an element of this name.
fn is_tag_of(tag: &[u8], local: &str) -> bool {
    let name = tag.get(1..1 + local.len());
    name.is_some_and(|name| name.eq_ignore_ascii_case(local.as_bytes()))
        && tag.get(1 + local.len()).is_some_and(|byte| b" \n\t\x0c/>".contains(byte))
}
