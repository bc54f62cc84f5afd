//! Building a tree from a source, for parsers: nodes point into the source, and may tell of which part they were made.

use crate::columns::{AttributeSlot, Columns, Content, NONE, Pools, Slot, Text};
use crate::name::{Name, Namespace, Symbol};
use crate::tree::{NodeId, Tree, node_id};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A tree that a parser writes from front to back, without a copy of the texts that stand in its source as they are.
pub struct Builder {
    columns: Columns,
    /// How many bytes of text are the source.
    n_source: usize,
}

/// An attribute: the namespace and the symbol of its name, and its value.
type Attribute = (Namespace, Symbol, Text);

/// A list of attributes that elements can share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct List(u32);

/// An end of a tree that is being built: see [`Builder::mark`].
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    n_nodes: usize,
    n_text: usize,
    n_attributes: usize,
    n_lists: usize,
}

impl Builder {
    /// A tree that holds its root and `source`, with room for `n_nodes` nodes to begin with.
    ///
    /// # Panics
    ///
    /// Panics if the source has 4 GiB or more.
    pub fn new(source: &str, n_nodes: usize) -> Builder {
        let mut columns = Columns::new(source.len() + source.len() / 64);
        columns.slots.reserve(n_nodes);
        columns.pools.push_text(source);
        Builder { columns, n_source: source.len() }
    }

    /// Makes room for the tree of the whole source, as far as what `n_bytes` of it made tells, but for no more than about `limit` nodes or
    /// sixteen times what is there. Returns for how many nodes there is room.
    pub fn expect(&mut self, n_bytes: usize, limit: usize) -> usize {
        let rest = self.n_source.saturating_sub(n_bytes) as f64 / n_bytes.max(1) as f64;
        // A little more, because pages are not the same all over: allocators do not take it back. And at least an eighth, so that not all is moved
        // again and again.
        let share = (1.05 * rest).clamp(0.125, 15.0);
        let more = |len: usize| (share * len as f64) as usize + 1;
        let Columns { slots, pools, .. } = &mut self.columns;
        slots.reserve_exact(more(slots.len()).min(limit.saturating_sub(slots.len()) + 2));
        pools.attributes.reserve_exact(more(pools.attributes.len()));
        pools.lists.reserve_exact(more(pools.lists.len()));
        slots.capacity()
    }

    /// A tree that holds its root and no source, so that nodes have copies of its parts.
    pub fn of_part() -> Builder {
        Builder { columns: Columns::new(0), n_source: 0 }
    }

    /// Whether this part of the source is in the tree.
    #[inline]
    pub fn holds(&self, range: &Range<usize>) -> bool {
        range.end <= self.n_source
    }

    /// A tree that holds its root, and room for `n_nodes` nodes. Nodes of `prototype` can be [appended](Self::append_like)
    /// without a copy of their names, attributes and texts.
    pub fn like(prototype: &Tree, n_nodes: usize) -> Builder {
        let mut columns = Columns::new(0);
        columns.slots.reserve(n_nodes);
        columns.pools = prototype.0.pools.clone();
        Builder { columns, n_source: 0 }
    }

    /// A copy of `tree`, whose ids stay, with room for `n_nodes` nodes more. As with [`like`](Self::like) nodes of `prototype` can be
    /// appended: all of them below `parent`, which has no children. It is [finished](Self::finish_upon) as it is.
    pub fn upon(tree: &Tree, parent: NodeId, prototype: &Tree, n_nodes: usize) -> Builder {
        let mut columns = Columns::clone(&tree.0);
        columns.fill_past();
        columns.is_in_order = columns.ends_in_order_with(parent.0);
        columns.slots.reserve(n_nodes);
        columns.move_to(prototype.0.pools.clone());
        Builder { columns, n_source: 0 }
    }

    /// Returns the tree that it was made [upon](Self::upon), with what was appended below `parent`.
    pub fn finish_upon(mut self, parent: NodeId) -> Tree {
        let is_in_order = self.columns.is_in_order;
        self.columns.forget(parent.0);
        self.columns.is_in_order = is_in_order;
        self.columns.set_limit();
        self.columns.shrink();
        Tree(Arc::new(self.columns))
    }

    /// Appends a copy of a node of the prototype to `parent`, without what is below it.
    ///
    /// # Panics
    ///
    /// Panics if there is no such node. `prototype` is that of [`like`](Self::like): the caller sees to it.
    #[inline]
    pub fn append_like(&mut self, parent: NodeId, prototype: &Tree, id: NodeId) -> NodeId {
        let content = prototype.0.slots[id.0 as usize].content;
        assert!(!matches!(content, Content::Hole | Content::Root), "{id:?} is no node that can be appended");
        NodeId(self.columns.append(parent.0, content))
    }

    /// Appends a copy of a node of the prototype to `parent`, with the `n_nodes` nodes that it is with all below it. They are numbered on
    /// as they are in the prototype, which is in document order.
    ///
    /// # Panics
    ///
    /// As [`append_like`](Self::append_like).
    pub fn append_all_like(&mut self, parent: NodeId, prototype: &Tree, id: NodeId, n_nodes: usize) -> NodeId {
        NodeId(self.columns.append_block(parent.0, &prototype.0, id.0, n_nodes))
    }

    /// Gives a text node another text.
    #[inline]
    pub fn set_text(&mut self, id: NodeId, text: Text) {
        self.columns.slots[id.0 as usize].content = Content::Text(text);
    }

    /// Gives an element a list of attributes of its own, with the values that it has.
    ///
    /// # Panics
    ///
    /// Panics if the node is no element, or has no attributes.
    #[inline]
    pub fn own_list(&mut self, id: NodeId) -> List {
        let pools = &mut self.columns.pools;
        let Content::Element { list, .. } = &mut self.columns.slots[id.0 as usize].content else {
            panic!("{id:?} is not an element");
        };
        *list = pools.copy_list(*list);
        List(*list)
    }

    /// Gives an attribute of a list, by its position, another value.
    ///
    /// # Panics
    ///
    /// Panics if there is none at this position.
    #[inline]
    pub fn set_value(&mut self, list: List, idx: usize, value: Text) {
        let pools = &mut self.columns.pools;
        let (start, end) = pools.lists[list.0 as usize];
        pools.attributes[start as usize..end as usize][idx].value = value;
    }

    /// Where the tree ends now, to [go back](Self::go_back) to.
    #[inline]
    pub fn mark(&self) -> Mark {
        let Pools { text, attributes, lists, .. } = &self.columns.pools;
        let n_nodes = self.columns.slots.len();
        Mark { n_nodes, n_text: text.len(), n_attributes: attributes.len(), n_lists: lists.len() }
    }

    /// Takes back what came since a mark: one node that was appended to `parent`, with all below it.
    pub fn go_back(&mut self, mark: Mark, parent: NodeId) {
        let Columns { slots, pools, .. } = &mut self.columns;
        let prev = slots[mark.n_nodes].prev;
        slots.truncate(mark.n_nodes);
        slots[parent.0 as usize].last_child = prev;
        match prev {
            NONE => slots[parent.0 as usize].first_child = NONE,
            _ => slots[prev as usize].next = NONE,
        }
        pools.text.truncate(mark.n_text);
        pools.attributes.truncate(mark.n_attributes);
        pools.lists.truncate(mark.n_lists);
    }

    /// Appends a copy of an element of the prototype with other attributes, without what is below it.
    ///
    /// # Panics
    ///
    /// As [`append_like`](Self::append_like), and if the node is no element.
    pub fn append_like_with(&mut self, parent: NodeId, prototype: &Tree, id: NodeId, list: List) -> NodeId {
        match prototype.0.slots[id.0 as usize].content {
            Content::Element { namespace, name, .. } => self.append_element(parent, namespace, name, list),
            _ => panic!("{id:?} is not an element"),
        }
    }

    /// Appends a copy of a node of any tree to `parent`, with all below it.
    ///
    /// # Panics
    ///
    /// Panics if there is no such node.
    pub fn append_copy(&mut self, parent: NodeId, from: &Tree, top: NodeId) -> NodeId {
        let mut open: Vec<NodeId> = vec![parent];
        for (id, depth) in from.descendants(top) {
            open.truncate(depth + 1);
            let node = from.get(id).unwrap_or_else(|| panic!("there is no node {id:?}"));
            let content = self.columns.pools.content(node);
            open.push(self.append(open[depth], content));
        }
        open[1]
    }

    /// Keeps a copy of the attributes of an element of the prototype, of which some, by their positions, have other values; it has at
    /// least one.
    ///
    /// # Panics
    ///
    /// Panics if the node is no element, or has no attribute at a position.
    pub fn list_like(&mut self, prototype: &Tree, id: NodeId, values: impl IntoIterator<Item = (usize, Text)>) -> List {
        let Content::Element { list, .. } = prototype.0.slots[id.0 as usize].content else {
            panic!("{id:?} is not an element");
        };
        let list = List(self.columns.pools.copy_list(list));
        values.into_iter().for_each(|(idx, value)| self.set_value(list, idx, value));
        list
    }

    /// The number of nodes, the root among them.
    #[inline]
    pub fn n_nodes(&self) -> usize {
        self.columns.slots.len()
    }

    /// Returns the symbol of an element's or attribute's name.
    pub fn symbol(&mut self, local: &str) -> Symbol {
        self.columns.pools.names.intern(local)
    }

    /// Returns the name that a symbol stands for.
    #[inline]
    pub fn local(&self, symbol: Symbol) -> &str {
        self.columns.pools.names.get(symbol)
    }

    /// Returns a part of the source as it is.
    #[inline]
    pub fn part(&self, range: Range<usize>) -> Text {
        debug_assert!(self.holds(&range), "{range:?} is no part of the source");
        Text { start: range.start as u32, len: (range.end - range.start) as u32 }
    }

    /// Keeps a text that is not in the source.
    pub fn text(&mut self, text: &str) -> Text {
        self.columns.pools.push_text(text)
    }

    /// Keeps the text that `write` appends; none of it if that fails.
    ///
    /// # Errors
    ///
    /// That of `write`.
    #[inline]
    pub fn write_text<E>(&mut self, write: impl FnOnce(&mut String) -> Result<(), E>) -> Result<Text, E> {
        let pools = &mut self.columns.pools;
        let start = pools.text.len();
        write(&mut pools.text).inspect_err(|_| pools.text.truncate(start))?;
        Ok(pools.text_from(start))
    }

    /// Keeps a list of attributes, whose names differ.
    pub fn list(&mut self, attributes: impl IntoIterator<Item = Attribute>) -> List {
        let slot = |(namespace, name, value)| AttributeSlot { namespace, name, value };
        List(self.columns.pools.push_list(attributes.into_iter().map(slot)))
    }

    /// Visits the attributes of a list.
    pub fn attributes(&self, list: List) -> impl Iterator<Item = Attribute> {
        self.columns.pools.list(list.0).iter().map(|slot| (slot.namespace, slot.name, slot.value))
    }

    /// Returns which part of the source a text is, if it is one.
    pub fn place(&self, text: Text) -> Option<Range<usize>> {
        Some(text.range()).filter(|range| self.holds(range))
    }

    /// Appends an element to `parent`.
    #[inline]
    pub fn append_element(&mut self, parent: NodeId, namespace: Namespace, name: Symbol, list: List) -> NodeId {
        self.append(parent, Content::Element { namespace, name, list: list.0 })
    }

    /// Appends a text node to `parent`.
    #[inline]
    pub fn append_text(&mut self, parent: NodeId, text: Text) -> NodeId {
        self.append(parent, Content::Text(text))
    }

    /// Appends a part of the source that is kept as a text node, with this part as its span.
    #[inline]
    pub fn append_part(&mut self, parent: NodeId, range: Range<usize>) -> NodeId {
        let text = self.part(range);
        self.append_with(parent, Content::Text(text), text)
    }

    /// Appends text to `parent`, to the text node that is there last if there is one. Returns how many bytes it copied for that.
    ///
    /// Many small texts that are joined cost a copy of what is there each; a caller who cannot know how many there are counts.
    pub fn join_text(&mut self, parent: NodeId, text: Text) -> usize {
        let columns = &mut self.columns;
        let last = columns.slots[parent.0 as usize].last_child;
        match columns.slot(last).map(|slot| slot.content) {
            Some(Content::Text(present)) => {
                let joined = [columns.pools.str(present), columns.pools.str(text)].concat();
                columns.slots[last as usize].content = Content::Text(columns.pools.push_text(&joined));
                joined.len()
            }
            _ => {
                self.append(parent, Content::Text(text));
                0
            }
        }
    }

    /// Appends a comment to `parent`.
    pub fn append_comment(&mut self, parent: NodeId, text: Text) -> NodeId {
        self.append(parent, Content::Comment(text))
    }

    /// Appends a doctype to the root.
    pub fn append_doctype(&mut self, [name, public_id, system_id]: [&str; 3]) {
        let [name, public_id, system_id] = [name, public_id, system_id].map(|part| self.columns.pools.push_text(part));
        self.columns.pools.doctypes.push([name, public_id, system_id]);
        let idx = self.columns.pools.doctypes.len() - 1;
        self.append(NodeId::ROOT, Content::Doctype(idx as u32));
    }

    /// Appends a node; what is above it may get a span, so it is not as one that changed.
    #[inline]
    fn append(&mut self, parent: NodeId, content: Content) -> NodeId {
        self.append_with(parent, content, Text::EMPTY)
    }

    #[inline]
    fn append_with(&mut self, parent: NodeId, content: Content, span: Text) -> NodeId {
        let slots = &mut self.columns.slots;
        let id = u32::try_from(slots.len()).ok().filter(|&id| id != NONE).expect("fewer than 2^32 - 1 nodes");
        let above = &mut slots[parent.0 as usize];
        let prev = std::mem::replace(&mut above.last_child, id);
        match prev {
            NONE => above.first_child = id,
            _ => slots[prev as usize].next = id,
        }
        slots.push(Slot { parent: parent.0, prev, span, ..Slot::new(content) });
        NodeId(id)
    }

    /// Returns the name of an element.
    pub fn name(&self, id: NodeId) -> Option<Name<'_>> {
        match self.columns.slot(id.0)?.content {
            Content::Element { namespace, name, .. } => Some(Name::new(namespace, self.columns.pools.names.get(name))),
            _ => None,
        }
    }

    /// Whether a node is a text.
    pub fn is_text(&self, id: NodeId) -> bool {
        self.columns.slot(id.0).is_some_and(|slot| matches!(slot.content, Content::Text(_)))
    }

    /// Returns what identifies an element among its siblings, as [`Tree::key`] does.
    pub fn key(&self, id: NodeId) -> Option<&str> {
        crate::children::key(&self.columns, id)
    }

    /// Returns the first child of a node.
    pub fn first_child(&self, id: NodeId) -> Option<NodeId> {
        node_id(self.columns.slot(id.0)?.first_child)
    }

    /// Returns the last child of a node.
    pub fn last_child(&self, id: NodeId) -> Option<NodeId> {
        node_id(self.columns.slot(id.0)?.last_child)
    }

    /// Returns the sibling after a node.
    pub fn next_sibling(&self, id: NodeId) -> Option<NodeId> {
        node_id(self.columns.slot(id.0)?.next)
    }

    /// Returns the parent of a node.
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        node_id(self.columns.slot(id.0)?.parent)
    }

    /// Notes that a node and all in it is what `range` of the source means; of an element, wherever one of this name may stand. Without
    /// the source the tree knows how long it was.
    #[inline]
    pub fn set_span(&mut self, id: NodeId, range: Range<usize>) {
        let span = match self.holds(&range) {
            true => self.part(range),
            false => Text { len: (range.end - range.start) as u32, ..Text::CHANGED },
        };
        self.columns.slots[id.0 as usize].span = span;
    }

    /// Takes all spans back.
    pub fn forget_spans(&mut self) {
        self.columns.slots.iter_mut().for_each(|slot| slot.span = Text::CHANGED);
    }

    /// Returns the tree, numbered in document order; if `is_in_order`, nodes were appended so and have these numbers already.
    pub fn finish(mut self, is_in_order: bool) -> Tree {
        self.columns.is_in_order = is_in_order;
        self.columns.set_limit();
        self.columns.shrink();
        let mut tree = Tree(Arc::new(self.columns));
        tree.number();
        tree
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a tree of {} nodes so far", self.n_nodes())
    }
}
