//! A persistent list: clones share everything, and a change copies only what is shared.
//!
//! A B-tree by position: leaves hold up to [`MAX`] items, branches up to `MAX` nodes and where each ends. Reading,
//! setting, inserting and removing are `O(log n)`; while nobody else holds the list, nothing is copied, else one node of
//! each level is (four at 100,000 items). Splitting is as in any B-tree; a node that empties goes, one that runs low stays.
//!
//! The libraries were tried first: `rpds` cannot insert or remove inside, `imbl` can but has a licence that `deny.toml`
//! refuses and six dependencies.

use super::State;
use std::sync::Arc;

/// Items of a leaf, nodes of a branch.
const MAX: usize = 32;

/// A list of states.
#[derive(Clone, Default)]
pub struct List {
    root: Node,
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(Vec<State>),
    Branch(Branch),
}

#[derive(Clone, Debug)]
struct Branch {
    nodes: Vec<Arc<Node>>,
    /// How many items there are up to the end of each node.
    ends: Vec<usize>,
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
                Node::Branch(branch) => node = branch.nodes.get(branch.descend(&mut idx))?,
            }
        }
    }

    /// The item at a position, to change it.
    pub(crate) fn get_mut(&mut self, mut idx: usize) -> Option<&mut State> {
        let mut node = &mut self.root;
        loop {
            match node {
                Node::Leaf(items) => return items.get_mut(idx),
                Node::Branch(branch) => {
                    let child = branch.descend(&mut idx);
                    node = Arc::make_mut(branch.nodes.get_mut(child)?);
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
        if let Some(right) = self.root.insert(idx, item) {
            let left = std::mem::take(&mut self.root);
            self.root = Node::Branch(Branch::of(vec![Arc::new(left), Arc::new(right)]));
        }
    }

    /// Puts an item at the end.
    pub fn push(&mut self, item: State) {
        self.insert(self.len(), item);
    }

    /// Takes the item at a position out.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn remove(&mut self, idx: usize) -> State {
        assert!(idx < self.len(), "position {idx} of a list of {}", self.len());
        let item = self.root.remove(idx);
        while let Node::Branch(branch) = &mut self.root {
            match branch.nodes.len() {
                0 => self.root = Node::default(),
                1 => self.root = Arc::unwrap_or_clone(branch.nodes.remove(0)),
                _ => break,
            }
        }
        item
    }

    /// The items in order.
    pub fn iter(&self) -> Iter<'_> {
        let mut iter = Iter { branches: Vec::new(), leaf: [].iter(), n_left: self.len() };
        iter.enter(&self.root);
        iter
    }
}

impl Node {
    fn len(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Branch(branch) => branch.ends.last().copied().unwrap_or(0),
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
                if let Some(right) = Arc::make_mut(&mut branch.nodes[child]).insert(idx, item) {
                    branch.nodes.insert(child + 1, Arc::new(right));
                }
                let right = (branch.nodes.len() > MAX).then(|| {
                    let at = if is_last { MAX } else { MAX / 2 };
                    Node::Branch(Branch::of(branch.nodes.split_off(at)))
                });
                branch.find_ends(child);
                right
            }
        }
    }

    fn remove(&mut self, mut idx: usize) -> State {
        match self {
            Node::Leaf(items) => items.remove(idx),
            Node::Branch(branch) => {
                let child = branch.descend(&mut idx);
                let node = Arc::make_mut(&mut branch.nodes[child]);
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

impl Default for Node {
    fn default() -> Node {
        Node::Leaf(Vec::new())
    }
}

impl Branch {
    fn of(nodes: Vec<Arc<Node>>) -> Branch {
        let mut branch = Branch { nodes, ends: Vec::new() };
        branch.find_ends(0);
        branch
    }

    /// Finds the ends anew from a node on.
    fn find_ends(&mut self, from: usize) {
        self.ends.truncate(from.min(self.nodes.len()));
        for node in &self.nodes[self.ends.len()..] {
            self.ends.push(self.ends.last().copied().unwrap_or(0) + node.len());
        }
    }

    /// The node that holds a position; `idx` becomes the position in it.
    fn descend(&self, idx: &mut usize) -> usize {
        let child = self.ends.partition_point(|end| *end <= *idx);
        if child > 0 {
            *idx -= self.ends[child - 1];
        }
        child
    }

    fn descend_to_insert(&self, idx: &mut usize) -> usize {
        let child = self.ends.partition_point(|end| *end < *idx);
        if child > 0 {
            *idx -= self.ends[child - 1];
        }
        child
    }
}

impl FromIterator<State> for List {
    fn from_iter<I: IntoIterator<Item = State>>(items: I) -> List {
        let mut leaves = Vec::new();
        let mut leaf = Vec::new();
        for item in items {
            if leaf.len() == MAX {
                leaves.push(Arc::new(Node::Leaf(std::mem::take(&mut leaf))));
            }
            if leaf.capacity() == 0 && !leaves.is_empty() {
                leaf.reserve_exact(MAX);
            }
            leaf.push(item);
        }
        if leaves.is_empty() {
            return List { root: Node::Leaf(leaf) };
        }
        leaves.push(Arc::new(Node::Leaf(leaf)));
        let mut level = leaves;
        while level.len() > MAX {
            level = level.chunks(MAX).map(|nodes| Arc::new(Node::Branch(Branch::of(nodes.to_vec())))).collect();
        }
        List { root: Node::Branch(Branch::of(level)) }
    }
}

/// The items of a [`List`] in order.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    branches: Vec<std::slice::Iter<'a, Arc<Node>>>,
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
                    let Some(first) = nodes.next() else { return };
                    self.branches.push(nodes);
                    node = first;
                }
            }
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a State;

    fn next(&mut self) -> Option<&'a State> {
        loop {
            if let Some(item) = self.leaf.next() {
                self.n_left -= 1;
                return Some(item);
            }
            match self.branches.last_mut()?.next() {
                Some(node) => self.enter(node),
                None => _ = self.branches.pop(),
            }
        }
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
                match below(4) {
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
