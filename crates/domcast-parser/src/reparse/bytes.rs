//! What two texts share.

/// Returns how many bytes two texts share at their beginning.
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    let mut at = 0;
    // Comparing for equality is as fast as memory is; where it fails, smaller pieces tell where.
    for step in [4096, 256, 16] {
        while at + step <= len && a[at..at + step] == b[at..at + step] {
            at += step;
        }
    }
    at + a[at..].iter().zip(&b[at..]).take_while(|(a, b)| a == b).count()
}

/// Returns how many bytes two texts share at their end.
pub(super) fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    let (a, b) = (&a[a.len() - len..], &b[b.len() - len..]);
    let mut end = len;
    for step in [4096, 256, 16] {
        while end >= step && a[end - step..end] == b[end - step..end] {
            end -= step;
        }
    }
    let rest = a[..end].iter().rev().zip(b[..end].iter().rev());
    len - end + rest.take_while(|(a, b)| a == b).count()
}
