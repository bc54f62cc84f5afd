//! The siblings that need not move: a longest increasing subsequence of old positions.

/// Returns which entries of `positions` (all different) belong to a longest increasing subsequence.
///
/// Among the longest ones it takes one that holds most of the entries whose `weights` are high; every weight is less than
/// the number of bits allows to sum (`u32`). `O(n log n)` time, `O(n)` space: a Fenwick tree over the positions holds
/// the best (length, weight) of the subsequences that end at or before a position (after Fredman 1975).
///
/// Where no weight tells them apart, patience sorting finds one in time linear in what is in order already.
pub(crate) fn longest_increasing(positions: &[usize], weights: &[u32]) -> Vec<bool> {
    if weights.iter().all(|&weight| weight == 0) {
        return by_patience(positions);
    }
    let n = positions.len();
    // Ranks make the Fenwick tree as small as the input.
    let mut by_position: Vec<usize> = (0..n).collect();
    by_position.sort_unstable_by_key(|&idx| positions[idx]);
    let mut ranks = vec![0; n];
    for (rank, &idx) in by_position.iter().enumerate() {
        ranks[idx] = rank;
    }

    let mut best = Best { cells: vec![(0, 0, usize::MAX); n + 1] };
    let mut previous = vec![usize::MAX; n];
    for idx in 0..n {
        let (length, weight, last) = best.up_to(ranks[idx]);
        previous[idx] = last;
        best.offer(ranks[idx] + 1, (length + 1, weight + weights[idx], idx));
    }

    let mut chosen = vec![false; n];
    let (_, _, mut at) = best.up_to(n);
    while at != usize::MAX {
        chosen[at] = true;
        at = previous[at];
    }
    chosen
}

fn by_patience(positions: &[usize]) -> Vec<bool> {
    // The smallest position that ends a run of each length and the entry there, and what stands before each entry in its run.
    let mut ends: Vec<(usize, usize)> = Vec::new();
    let mut previous = vec![usize::MAX; positions.len()];
    // Of equally long runs the one that is complete first, as above.
    let mut at = usize::MAX;
    for (idx, &position) in positions.iter().enumerate() {
        let is_longest = ends.last().is_none_or(|&(end, _)| end < position);
        let length = if is_longest { ends.len() } else { ends.partition_point(|&(end, _)| end < position) };
        if let Some(before) = length.checked_sub(1) {
            previous[idx] = ends[before].1;
        }
        match ends.get_mut(length) {
            Some(end) => *end = (position, idx),
            None => {
                ends.push((position, idx));
                at = idx;
            }
        }
    }
    let mut chosen = vec![false; positions.len()];
    while at != usize::MAX {
        chosen[at] = true;
        at = previous[at];
    }
    chosen
}

/// A Fenwick tree of maxima: (length, weight, index of the last entry), compared by the first two.
struct Best {
    cells: Vec<(u32, u32, usize)>,
}

impl Best {
    /// Returns the best of the first `end` cells.
    fn up_to(&self, mut end: usize) -> (u32, u32, usize) {
        let mut best = (0, 0, usize::MAX);
        while end > 0 {
            if (self.cells[end].0, self.cells[end].1) > (best.0, best.1) {
                best = self.cells[end];
            }
            end &= end - 1;
        }
        best
    }

    fn offer(&mut self, mut cell: usize, entry: (u32, u32, usize)) {
        while cell < self.cells.len() {
            if (entry.0, entry.1) > (self.cells[cell].0, self.cells[cell].1) {
                self.cells[cell] = entry;
            }
            cell += cell & cell.wrapping_neg();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::longest_increasing;

    #[track_caller]
    fn check(positions: &[usize], weights: &[u32], chosen: &[usize]) {
        let flags = longest_increasing(positions, weights);
        let kept: Vec<usize> = (0..flags.len()).filter(|&idx| flags[idx]).map(|idx| positions[idx]).collect();
        assert_eq!(kept, chosen);
    }

    #[test]
    fn keeps_the_longest_run() {
        check(&[], &[], &[]);
        check(&[0, 1, 2], &[0; 3], &[0, 1, 2]);
        check(&[3, 0, 1, 2], &[0; 4], &[0, 1, 2]);
        check(&[1, 2, 3, 0], &[0; 4], &[1, 2, 3]);
    }

    #[test]
    fn keeps_what_weighs_most_among_equally_long_runs() {
        check(&[1, 0], &[0, 1], &[0]);
        check(&[1, 0], &[1, 0], &[1]);
        check(&[2, 1, 0], &[0, 1, 0], &[1]);
    }
}
