//! What two texts share at their end, and where tags end in them.

use crate::fast::scan::find_either;

/// Returns how many bytes two texts share at their end.
pub(super) fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    let (a, b) = (&a[a.len() - len..], &b[b.len() - len..]);
    let mut end = len;
    // Comparing for equality is as fast as memory is; where it fails, smaller pieces tell where.
    for step in [4096, 256, 16] {
        while end >= step && a[end - step..end] == b[end - step..end] {
            end -= step;
        }
    }
    let rest = a[..end].iter().rev().zip(b[..end].iter().rev());
    len - end + rest.take_while(|(a, b)| a == b).count()
}

/// Returns the length of the start tag that a text begins with, given that the tag is regular.
pub(super) fn start_tag_len(text: &[u8]) -> Option<usize> {
    let is_space = |byte: u8| matches!(byte, b' ' | b'\n' | b'\t' | b'\x0c');
    let mut at = 0;
    loop {
        at = find_either(b'>', b'=', text, at)? + 1;
        if text[at - 1] == b'>' {
            return Some(at);
        }
        at += text[at..].iter().position(|&byte| !is_space(byte))?;
        at = match text[at] {
            // In quotes a `>` ends nothing.
            quote @ (b'"' | b'\'') => find_either(quote, quote, text, at + 1)? + 1,
            _ => at + text[at..].iter().position(|&byte| byte == b'>' || is_space(byte))?,
        };
    }
}
