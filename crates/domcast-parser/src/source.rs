//! A text with its tree, and the patches to the next text.
//!
//! Only what changed is parsed ([`reparse`](crate::reparse)), where the markup is regular before and after. All else takes the plain pipeline:
//! the text is parsed as a whole and the trees are compared.

use crate::fast::{self, Layout};
use crate::reparse::{self, Change, IRREGULAR, Old};
use crate::{ParseError, Parser};
use domcast_diff::{Folding, NodeId, Part, PartChild, Patch, Patches, Tree, apply, diff, diff_parts};
use std::cell::LazyCell;
use std::collections::HashSet;

/// HTML text with its tree. The tree is patched from text to text, so that its ids are those that a page knows.
///
/// ```
/// use domcast_parser::{Parser, Source};
///
/// let mut source = Source::new(Parser::default(), "<p>tea<p>milk".into(), Some("div"))?;
/// let update = source.update("<p>tea<p>oat milk".into())?;
/// assert_eq!(update.patches.to_json(), r#"[["t",4,"oat milk"]]"#);
/// # Ok::<(), domcast_parser::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Source {
    parser: Parser,
    context: Option<String>,
    html: String,
    tree: Tree,
    layout: Option<Layout>,
}

/// What the next text changed.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// From the old tree to the new one.
    pub patches: Patches,
    /// Why the text was parsed as a whole, if it was.
    pub whole: Option<&'static str>,
}

impl Update {
    /// Whether only what changed was parsed.
    pub fn is_local(&self) -> bool {
        self.whole.is_none()
    }
}

impl Source {
    /// Parses the first text: the content of an element `context`, or a whole page.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the text exceeds the limits or `context` is not a name.
    pub fn new(parser: Parser, html: String, context: Option<&str>) -> Result<Source, ParseError> {
        let (tree, layout) = parse(&parser, &html, context)?;
        Ok(Source { parser, context: context.map(str::to_owned), html, tree, layout })
    }

    /// The present tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The present text.
    pub fn html(&self) -> &str {
        &self.html
    }

    /// The bytes of memory that the text and its tree hold.
    pub fn n_bytes(&self) -> usize {
        self.html.capacity() + self.tree.n_bytes()
    }

    /// Swaps the tree with another place for it, for those who keep it behind a lock of their own. It must be back for the next update.
    pub fn swap_tree(&mut self, tree: &mut Tree) {
        std::mem::swap(&mut self.tree, tree);
    }

    /// Takes over a tree that pages know: it becomes equal to the present one, and its nodes keep their ids. Returns the patches.
    pub fn take_over(&mut self, mut tree: Tree) -> Patches {
        let patches = diff(&tree, &self.tree);
        apply(&mut tree, &patches).expect("the patches of a diff fit the tree that it was made for");
        if self.layout.is_some() {
            tree.take_source_lens(NodeId::ROOT, &self.tree, NodeId::ROOT);
        }
        self.tree = tree;
        patches
    }

    /// Goes on to the next text, and returns the patches that were applied to the tree; the last of them may renumber it.
    ///
    /// Regular markup costs a comparison of the texts, and beyond that what changed, with the lists of children it is in.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the text exceeds the limits. Text and tree are as they were.
    pub fn update(&mut self, html: String) -> Result<Update, ParseError> {
        self.parser.check_length(&html)?;
        let mut update = match self.update_locally(&html) {
            Ok(patches) => Update { patches, whole: None },
            Err(why) => {
                let (new, layout) = parse(&self.parser, &html, self.context.as_deref())?;
                let is_unsure = why == IRREGULAR && layout.is_some();
                let why = if is_unsure { "what became of its elements is unclear" } else { why };
                let patches = diff(&self.tree, &new);
                self.apply(&patches);
                if layout.is_some() {
                    self.tree.take_source_lens(NodeId::ROOT, &new, NodeId::ROOT);
                }
                self.layout = layout;
                Update { patches, whole: Some(why) }
            }
        };
        self.html = html;
        if !update.patches.is_empty() && self.tree.is_sparse() {
            self.tree.compact();
            update.patches.0.push(Patch::Compact { n_nodes: self.tree.n_nodes() as u32 });
        }
        Ok(update)
    }

    fn apply(&mut self, patches: &Patches) {
        apply(&mut self.tree, patches).expect("the patches of a diff fit the tree that it was made for");
    }

    /// Where the plain pipeline must do it, says why and leaves all as it was.
    fn update_locally(&mut self, html: &str) -> Result<Patches, &'static str> {
        let layout = self.layout.as_ref().ok_or("its markup was irregular")?;
        let old = Old { html: &self.html, tree: &self.tree, layout, is_page: self.context.is_none() };
        let Some(change) = reparse::reparse(&self.parser, old, html)? else { return Ok(Patches::default()) };
        let Change { layout, new, parts, texts, renewed, lens } = change;
        let patches = diff_parts(&self.tree, &new, &parts, &texts, &renewed);
        if patches.iter().any(is_of_children) {
            // Children that look alike may have changed places, and then nothing changed.
            let entered: HashSet<NodeId, Folding> = lens.iter().map(|&(id, _)| id).collect();
            let all_shifted =
                || parts.iter().flat_map(|part| shifted(&self.tree, part)).collect::<HashSet<NodeId, Folding>>();
            let all_shifted = LazyCell::new(all_shifted);
            // What is in a child that took the place of another may be what was in that.
            let is_in_place = |part: &Part| {
                let mut above = std::iter::successors(Some(part.parent), |&id| self.tree.parent(id));
                parts.len() == 1 || above.all(|id| !all_shifted.contains(&id))
            };
            let is_changed = |part: &Part| is_different(&self.tree, &new, part, &entered) && is_in_place(part);
            if !parts.iter().any(is_changed) {
                return Err("children that look alike changed places");
            }
        }
        self.apply(&patches);
        self.tree.set_source_lens(&lens);
        let with_new = |part: &&Part| part.children.iter().any(|child| matches!(child, PartChild::New(_)));
        for part in parts.iter().filter(with_new) {
            let mut at = match part.before {
                Some(before) => self.tree.next_sibling(before),
                None => self.tree.first_child(part.parent),
            };
            for child in &part.children {
                let id = at.expect("the children of a part are in the tree");
                if let PartChild::New(new_id) = *child {
                    self.tree.take_source_lens(id, &new, new_id);
                }
                at = self.tree.next_sibling(id);
            }
        }
        self.layout = Some(layout);
        Ok(patches)
    }
}

fn parse(parser: &Parser, html: &str, context: Option<&str>) -> Result<(Tree, Option<Layout>), ParseError> {
    parser.check_length(html)?;
    let parsed = match context {
        _ if !parser.fast_path => None,
        Some(context) => fast::fragment(parser, html, crate::context_name(context)?)?,
        // A byte order mark would shift all that follows.
        None if html.starts_with('\u{feff}') => None,
        None => fast::document(parser, html)?,
    };
    if let Some(parsed) = parsed {
        return Ok((parsed.tree, parsed.layout));
    }
    // What the fast path has left to html5ever it would leave again.
    let fast_path = parser.fast_path && context.is_none() && html.starts_with('\u{feff}');
    let parser = Parser { fast_path, ..parser.clone() };
    let tree = match context {
        Some(context) => parser.fragment(html, context)?,
        None => parser.document(html)?,
    };
    Ok((tree, None))
}

/// Whether a patch changes a list of children.
fn is_of_children(patch: &Patch) -> bool {
    matches!(
        patch,
        Patch::Insert { .. }
            | Patch::ReplaceChildren { .. }
            | Patch::Clear { .. }
            | Patch::Remove { .. }
            | Patch::Move { .. }
            | Patch::Permute { .. }
    )
}

/// Returns the old children of a part that stand at another position in it.
fn shifted(old: &Tree, part: &Part) -> Vec<NodeId> {
    let old_ids = old_children(old, part);
    let is_shifted = |(idx, child): (usize, &PartChild)| match *child {
        PartChild::Old(old_idx) if old_idx != idx => Some(old_ids[old_idx]),
        _ => None,
    };
    part.children.iter().enumerate().filter_map(is_shifted).collect()
}

/// Returns the children that were where a part is.
fn old_children(old: &Tree, part: &Part) -> Vec<NodeId> {
    let first = match part.before {
        Some(before) => old.next_sibling(before),
        None => old.first_child(part.parent),
    };
    let until_after = |id: &NodeId| Some(*id) != part.after;
    std::iter::successors(first, |&id| old.next_sibling(id)).take_while(until_after).collect()
}

/// Whether the children of a part surely differ from those that were there. What was entered may have become anything.
fn is_different(old: &Tree, new: &Tree, part: &Part, entered: &HashSet<NodeId, Folding>) -> bool {
    let old_ids = old_children(old, part);
    let is_other = |(old_idx, child): (usize, &PartChild)| match *child {
        PartChild::Old(idx) if idx == old_idx || entered.contains(&old_ids[idx]) => false,
        PartChild::Old(idx) => !old.is_equal_at(old_ids[old_idx], old, old_ids[idx]),
        PartChild::New(id) => !old.is_equal_at(old_ids[old_idx], new, id),
    };
    old_ids.len() != part.children.len() || part.children.iter().enumerate().any(is_other)
}
