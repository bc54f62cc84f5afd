//! What is kept for each document of a page, by the document's number.
//!
//! A page shows one view as a rule, and few at most, and there are many pages: a sorted list takes 16 bytes where a tree's first node takes 200.

/// A map from numbers of documents. Finding takes `O(log n)`, inserting `O(n)`.
#[derive(Debug)]
pub(crate) struct ByDocument<V>(Vec<(u32, V)>);

impl<V> ByDocument<V> {
    pub(crate) fn get(&self, document: u32) -> Option<&V> {
        Some(&self.0[self.idx(document).ok()?].1)
    }

    pub(crate) fn get_mut(&mut self, document: u32) -> Option<&mut V> {
        let idx = self.idx(document).ok()?;
        Some(&mut self.0[idx].1)
    }

    pub(crate) fn insert(&mut self, document: u32, value: V) {
        match self.idx(document) {
            Ok(idx) => self.0[idx].1 = value,
            Err(idx) => {
                self.0.reserve_exact(1);
                self.0.insert(idx, (document, value));
            }
        }
    }

    pub(crate) fn remove(&mut self, document: u32) {
        if let Ok(idx) = self.idx(document) {
            self.0.remove(idx);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &V)> {
        self.0.iter().map(|(document, value)| (*document, value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut V)> {
        self.0.iter_mut().map(|(document, value)| (*document, value))
    }

    pub(crate) fn retain(&mut self, mut is_kept: impl FnMut(&V) -> bool) {
        self.0.retain(|(_, value)| is_kept(value));
    }

    fn idx(&self, document: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&document, |(document, _)| *document)
    }
}

impl<V> Default for ByDocument<V> {
    fn default() -> ByDocument<V> {
        ByDocument(Vec::new())
    }
}
