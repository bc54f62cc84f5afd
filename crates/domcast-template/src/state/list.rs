//! A persistent list: clones share everything, and a change copies only what is shared.
//!
//! A B-tree by position: leaves hold up to [`MAX`] items, branches up to `MAX` nodes and where each ends. Reading,
//! setting, inserting and removing are `O(log n)`; while nobody else holds the list, nothing is copied, else one node of
//! each level is (five at 100,000 items). Splitting is as in any B-tree; a node that empties goes, one that runs low stays.
//!
//! The libraries were tried first: `rpds` cannot insert or remove inside, `imbl` can but has a licence that `deny.toml`
//! refuses and six dependencies.

use super::State;
use super::ids::Remembered;
use std::sync::Arc;

/// Items of a leaf, nodes of a branch. A change of a list that somebody else holds copies a node of each level, which counts each of
/// its entries up, wherever these are in memory: fewer would make more levels, more would be copied. With 32 one label of 1,000 rows takes 9 % more instructions
/// in a copy of the state, 2 % fewer in place; lists that share their rows alone are compared with half the leaves.
const MAX: usize = 16;

/// A list of states.
#[derive(Default)]
pub struct List {
    root: Node,
    /// Where rows are by their ids. Every change forgets it.
    pub(super) remembered: Remembered,
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(Vec<State>),
    Branch(Branch),
}

#[derive(Clone, Debug)]
struct Branch {
    /// The nodes, and how many items there are up to the end of each.
    nodes: Vec<(usize, Arc<Node>)>,
}

impl List {
    /// How many items there are.
    pub fn len(&self) -> usize {
        self.root.len()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at a position.
    pub fn get(&self, mut idx: usize) -> Option<&State> {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(items) => return items.get(idx),
                Node::Branch(branch) => node = &branch.nodes.get(branch.descend(&mut idx))?.1,
            }
        }
    }

    /// The item at a position, to change it.
    pub(crate) fn get_mut(&mut self, mut idx: usize) -> Option<&mut State> {
        self.remembered = Remembered::default();
        let mut node = &mut self.root;
        loop {
            match node {
                Node::Leaf(items) => return items.get_mut(idx),
                Node::Branch(branch) => {
                    let child = branch.descend(&mut idx);
                    node = Arc::make_mut(&mut branch.nodes.get_mut(child)?.1);
                }
            }
        }
    }

    /// Puts an item before the one at `idx`, or at the end if `idx` is the length.
    ///
    /// # Panics
    ///
    /// If `idx` is beyond the length.
    pub fn insert(&mut self, idx: usize, item: State) {
        assert!(idx <= self.len(), "position {idx} of a list of {}", self.len());
        self.remembered = Remembered::default();
        if let Some(right) = self.root.insert(idx, item) {
            self.grow(right);
        }
    }

    /// Puts a node of the root's height beside it.
    fn grow(&mut self, right: Node) {
        let left = std::mem::take(&mut self.root);
        self.root = Node::Branch(Branch::of([left, right].map(Arc::new)));
    }

    /// Puts an item at the end.
    pub fn push(&mut self, item: State) {
        self.insert(self.len(), item);
    }

    /// Puts items at the end, whole leaves at once.
    pub fn extend(&mut self, items: impl IntoIterator<Item = State>) {
        self.remembered = Remembered::default();
        let mut items = items.into_iter();
        let n_free = MAX.saturating_sub(self.root.last_leaf().len());
        items.by_ref().take(n_free).for_each(|item| self.push(item));
        loop {
            let leaf: Vec<State> = items.by_ref().take(MAX).collect();
            if leaf.is_empty() {
                return;
            }
            if let Some(right) = self.root.push_leaf(leaf) {
                self.grow(right);
            }
        }
    }

    /// Takes the item at a position out.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn remove(&mut self, idx: usize) -> State {
        assert!(idx < self.len(), "position {idx} of a list of {}", self.len());
        self.remembered = Remembered::default();
        let item = self.root.remove(idx);
        while let Node::Branch(branch) = &mut self.root {
            match branch.nodes.len() {
                0 => self.root = Node::default(),
                1 => self.root = Arc::unwrap_or_clone(branch.nodes.remove(0).1),
                _ => break,
            }
        }
        item
    }

    /// How many items at the start, and then at the end, are the [same](State::is_same) in both lists. What is in nodes that both
    /// share is not looked at.
    pub(crate) fn same_ends(&self, other: &List) -> (usize, usize) {
        let (a, b) = (self.leaves(), other.leaves());
        let n_start = n_same(
            (a.iter(), b.iter()),
            |leaf, n| leaf.split_at(n),
            |a, b| a.iter().zip(b).take_while(|(a, b)| a.is_same(b)).count(),
        );
        let n_end = n_same(
            (a.iter().rev(), b.iter().rev()),
            |leaf, n| {
                let (rest, end) = leaf.split_at(leaf.len() - n);
                (end, rest)
            },
            |a, b| a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a.is_same(b)).count(),
        );
        (n_start, n_end.min(self.len().min(other.len()) - n_start))
    }

    /// The items in order, in slices.
    pub(crate) fn leaves(&self) -> Vec<&[State]> {
        // Lists that were appended to are packed; others have more leaves.
        let mut leaves = Vec::with_capacity(self.len() / MAX * 5 / 4 + 1);
        self.root.push_leaves(&mut leaves);
        leaves
    }

    /// The items in order.
    pub fn iter(&self) -> Iter<'_> {
        self.iter_from(0)
    }

    /// The items from a position on, in order. `O(log n)`.
    pub(crate) fn iter_from(&self, mut idx: usize) -> Iter<'_> {
        let mut iter = Iter { branches: Vec::new(), leaf: [].iter(), n_left: self.len().saturating_sub(idx) };
        let mut node = &self.root;
        while let Node::Branch(branch) = node {
            let child = branch.descend(&mut idx);
            let mut nodes = branch.nodes[child..].iter();
            let Some((_, first)) = nodes.next() else { return iter };
            iter.branches.push(nodes);
            node = first;
        }
        if let Node::Leaf(items) = node {
            iter.leaf = items[idx.min(items.len())..].iter();
        }
        iter
    }
}

impl Node {
    fn push_leaves<'a>(&'a self, leaves: &mut Vec<&'a [State]>) {
        match self {
            Node::Leaf(items) => leaves.push(items),
            Node::Branch(branch) => {
                for (_, node) in &branch.nodes {
                    // Most nodes are leaves, which need no call.
                    match &**node {
                        Node::Leaf(items) => leaves.push(items),
                        node => node.push_leaves(leaves),
                    }
                }
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Branch(branch) => branch.nodes.last().map_or(0, |(end, _)| *end),
        }
    }

    /// Inserts, and returns the right half if the node became too large.
    fn insert(&mut self, mut idx: usize, item: State) -> Option<Node> {
        match self {
            Node::Leaf(items) => {
                items.insert(idx, item);
                // At the end a full leaf stays full, so that lists that are appended to are packed.
                let at = if idx + 1 == items.len() { MAX } else { MAX / 2 };
                (items.len() > MAX).then(|| Node::Leaf(items.split_off(at)))
            }
            Node::Branch(branch) => {
                let child = branch.descend_to_insert(&mut idx);
                let is_last = child + 1 == branch.nodes.len();
                if let Some(right) = Arc::make_mut(&mut branch.nodes[child].1).insert(idx, item) {
                    branch.nodes.insert(child + 1, (0, Arc::new(right)));
                }
                let right = (branch.nodes.len() > MAX).then(|| {
                    let at = if is_last { MAX } else { MAX / 2 };
                    let mut right = Branch { nodes: branch.nodes.split_off(at) };
                    right.find_ends(0);
                    Node::Branch(right)
                });
                branch.find_ends(child);
                right
            }
        }
    }

    fn last_leaf(&self) -> &[State] {
        let mut node = self;
        loop {
            match node {
                Node::Leaf(items) => return items,
                Node::Branch(branch) => match branch.nodes.last() {
                    Some((_, last)) => node = last,
                    None => return &[],
                },
            }
        }
    }

    /// Puts a leaf behind the last one. Returns a node of this one's height that it is in, if there is no room.
    fn push_leaf(&mut self, leaf: Vec<State>) -> Option<Node> {
        let Node::Branch(branch) = self else { return Some(Node::Leaf(leaf)) };
        let last = branch.nodes.len() - 1;
        if let Some(right) = Arc::make_mut(&mut branch.nodes[last].1).push_leaf(leaf) {
            let right = Arc::new(right);
            if branch.nodes.len() == MAX {
                return Some(Node::Branch(Branch::of([right])));
            }
            branch.nodes.push((0, right));
        }
        branch.find_ends(last);
        None
    }

    fn remove(&mut self, mut idx: usize) -> State {
        match self {
            Node::Leaf(items) => items.remove(idx),
            Node::Branch(branch) => {
                let child = branch.descend(&mut idx);
                let node = Arc::make_mut(&mut branch.nodes[child].1);
                let item = node.remove(idx);
                if node.len() == 0 {
                    branch.nodes.remove(child);
                }
                branch.find_ends(child);
                item
            }
        }
    }
}

impl Clone for List {
    fn clone(&self) -> List {
        List::from(self.root.clone())
    }
}

impl From<Node> for List {
    fn from(root: Node) -> List {
        List { root, remembered: Remembered::default() }
    }
}

impl Default for Node {
    fn default() -> Node {
        Node::Leaf(Vec::new())
    }
}

impl Branch {
    fn of(nodes: impl IntoIterator<Item = Arc<Node>>) -> Branch {
        let mut branch = Branch { nodes: nodes.into_iter().map(|node| (0, node)).collect() };
        branch.find_ends(0);
        branch
    }

    /// Where a node begins.
    fn start(&self, child: usize) -> usize {
        child.checked_sub(1).map_or(0, |before| self.nodes[before].0)
    }

    /// Finds the ends anew from a node on.
    fn find_ends(&mut self, from: usize) {
        let from = from.min(self.nodes.len());
        let mut n_items = self.start(from);
        for (end, node) in self.nodes.iter_mut().skip(from) {
            n_items += node.len();
            *end = n_items;
        }
    }

    /// The node that holds a position; `idx` becomes the position in it.
    fn descend(&self, idx: &mut usize) -> usize {
        let child = self.nodes.partition_point(|(end, _)| *end <= *idx);
        *idx -= self.start(child);
        child
    }

    fn descend_to_insert(&self, idx: &mut usize) -> usize {
        let child = self.nodes.partition_point(|(end, _)| *end < *idx);
        *idx -= self.start(child);
        child
    }
}

impl FromIterator<State> for List {
    fn from_iter<I: IntoIterator<Item = State>>(items: I) -> List {
        let mut items = items.into_iter();
        let next_leaf = || Some(items.by_ref().take(MAX).collect::<Vec<State>>()).filter(|leaf| !leaf.is_empty());
        let mut leaves: Vec<Vec<State>> = std::iter::from_fn(next_leaf).collect();
        if leaves.len() <= 1 {
            return List::from(Node::Leaf(leaves.pop().unwrap_or_default()));
        }
        let mut level: Vec<Arc<Node>> = leaves.into_iter().map(|leaf| Arc::new(Node::Leaf(leaf))).collect();
        while level.len() > MAX {
            level = level.chunks(MAX).map(|nodes| Arc::new(Node::Branch(Branch::of(nodes.iter().cloned())))).collect();
        }
        List::from(Node::Branch(Branch::of(level)))
    }
}

/// The items of a [`List`] in order.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    branches: Vec<std::slice::Iter<'a, (usize, Arc<Node>)>>,
    leaf: std::slice::Iter<'a, State>,
    n_left: usize,
}

impl<'a> Iter<'a> {
    fn enter(&mut self, mut node: &'a Node) {
        loop {
            match node {
                Node::Leaf(items) => {
                    self.leaf = items.iter();
                    return;
                }
                Node::Branch(branch) => {
                    let mut nodes = branch.nodes.iter();
                    let Some((_, first)) = nodes.next() else { return };
                    self.branches.push(nodes);
                    node = first;
                }
            }
        }
    }

    /// Goes on to the next leaf.
    fn next_leaf(&mut self) -> Option<()> {
        loop {
            match self.branches.last_mut()?.next() {
                Some((_, node)) => {
                    self.enter(node);
                    return Some(());
                }
                None => _ = self.branches.pop(),
            }
        }
    }
}

/// Whether all items are maps, and the same in both lists. Without an early end it needs no branch for each.
#[inline]
fn are_the_same_maps(a: &[State], b: &[State]) -> bool {
    a.iter().zip(b).fold(true, |is_so_far, (a, b)| {
        is_so_far & matches!((a, b), (State::Map(a), State::Map(b)) if Arc::ptr_eq(a, b))
    })
}

/// How many items are the same at the side that leaves come from: `split` takes so many of a leaf from that side and gives the rest
/// too, `count` counts those of two parts that are the same.
fn n_same<'a>(
    (mut a_leaves, mut b_leaves): (impl Iterator<Item = &'a &'a [State]>, impl Iterator<Item = &'a &'a [State]>),
    split: impl Fn(&'a [State], usize) -> (&'a [State], &'a [State]),
    count: impl Fn(&[State], &[State]) -> usize,
) -> usize {
    let (mut a_rest, mut b_rest): (&[State], &[State]) = (&[], &[]);
    let mut n_same = 0;
    loop {
        if a_rest.is_empty() {
            let Some(leaf) = a_leaves.next() else { return n_same };
            a_rest = leaf;
        }
        if b_rest.is_empty() {
            let Some(leaf) = b_leaves.next() else { return n_same };
            b_rest = leaf;
        }
        let n = a_rest.len().min(b_rest.len());
        let (a, b);
        (a, a_rest) = split(a_rest, n);
        (b, b_rest) = split(b_rest, n);
        let is_shared = std::ptr::eq(a.as_ptr(), b.as_ptr());
        let n_here = if is_shared || are_the_same_maps(a, b) { n } else { count(a, b) };
        n_same += n_here;
        if n_here < n {
            return n_same;
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a State;

    #[inline]
    fn next(&mut self) -> Option<&'a State> {
        match self.leaf.next() {
            Some(item) => {
                self.n_left -= 1;
                Some(item)
            }
            None => self.nth(0),
        }
    }

    /// Passes over whole leaves.
    fn nth(&mut self, mut n: usize) -> Option<&'a State> {
        while n >= self.leaf.len() {
            n -= self.leaf.len();
            self.n_left -= self.leaf.len();
            self.leaf = [].iter();
            self.next_leaf()?;
        }
        self.n_left -= n + 1;
        self.leaf.nth(n)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.n_left, Some(self.n_left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a List {
    type Item = &'a State;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every operation at random places gives what a `Vec` gives, and leaves older clones as they were.
    #[test]
    fn a_list_behaves_as_a_vec() {
        let mut random = 1_u64;
        let mut below = |n: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % n
        };
        for n_start in [0, 1, 31, 32, 33, 1024, 1025, 5000] {
            let mut vec: Vec<i64> = (0..n_start as i64).collect();
            let mut list: List = vec.iter().map(|item| State::Int(*item)).collect();
            let (kept_vec, kept_list) = (vec.clone(), list.clone());
            for step in 0..3000 {
                match below(if step % 100 == 0 { 5 } else { 4 }) {
                    0 if !vec.is_empty() => {
                        let idx = below(vec.len());
                        assert_eq!(int(&list.remove(idx)), vec.remove(idx));
                    }
                    1 if !vec.is_empty() => {
                        let idx = below(vec.len());
                        vec[idx] = -step;
                        *list.get_mut(idx).expect("it is inside") = State::Int(-step);
                    }
                    2 => {
                        vec.push(step);
                        list.push(State::Int(step));
                    }
                    4 => {
                        let n_items = below(600) as i64;
                        vec.extend(0..n_items);
                        list.extend((0..n_items).map(State::Int));
                    }
                    _ => {
                        let idx = below(vec.len() + 1);
                        vec.insert(idx, step);
                        list.insert(idx, State::Int(step));
                    }
                }
            }
            assert_eq!(ints(&list), vec);
            assert_eq!(ints(&kept_list), kept_vec);
            assert_eq!(list.iter().len(), vec.len());
            assert!((0..vec.len()).all(|idx| int(list.get(idx).expect("it is inside")) == vec[idx]));
            assert!(list.get(vec.len()).is_none());
            while !list.is_empty() {
                list.remove(below(list.len()));
            }
            assert_eq!(ints(&list), []);
        }
    }

    /// However a list was made, what is the same at its ends is found, and its items are found from any position on.
    #[test]
    fn the_same_ends_of_lists_are_those_of_vectors() {
        let ends = |a: &[i64], b: &[i64]| {
            let n_start = a.iter().zip(b).take_while(|(a, b)| a == b).count();
            let rest = a.len().min(b.len()) - n_start;
            (n_start, a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(a, b)| a == b).count())
        };
        for n in [0, 1, 5, 31, 32, 33, 64, 100, 1025, 3000] {
            let old: List = (0..n).map(State::Int).collect();
            for at in [0, 1, 31, 32, 33, 500, 1024, 2990].into_iter().filter(|at| *at < n as usize) {
                let (mut set, mut longer, mut shorter) = (old.clone(), old.clone(), old.clone());
                *set.get_mut(at).expect("it is inside") = State::Int(-1);
                longer.insert(at, State::Int(-2));
                shorter.remove(at);
                let both = |list: &List| [list.clone(), list.iter().cloned().collect()];
                for new in [&set, &longer, &shorter, &old].into_iter().flat_map(both) {
                    assert_eq!(old.same_ends(&new), ends(&ints(&old), &ints(&new)), "{n} at {at}");
                    assert_eq!(new.same_ends(&old), ends(&ints(&new), &ints(&old)), "{n} at {at}");
                    let rest: Vec<i64> = new.iter().skip(at).map(int).collect();
                    let from: Vec<i64> = new.iter_from(at).map(int).collect();
                    let at = at.min(new.len());
                    assert_eq!((&rest[..], from.len()), (&ints(&new)[at..], new.iter_from(at).len()), "{n} from {at}");
                    assert_eq!(from, rest, "{n} from {at}");
                    assert_eq!(new.iter().skip(at).len(), rest.len());
                }
            }
            assert_eq!(old.iter().nth(n as usize).map(int), None);
            assert_eq!((old.iter_from(n as usize).len(), old.iter_from(n as usize + 1).map(int).next()), (0, None));
        }
    }

    fn ints(list: &List) -> Vec<i64> {
        list.iter().map(int).collect()
    }

    fn int(state: &State) -> i64 {
        match state {
            State::Int(int) => *int,
            _ => panic!("not an int"),
        }
    }
}
