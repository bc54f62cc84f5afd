//! Searching short texts eight bytes at a time: names, values and most texts are, and what prepares a vector search costs more.

use memchr::memchr2;

/// Returns the eight bytes at a position, the first one lowest; zeros behind the end of the text, which holds none itself.
#[inline]
pub(crate) fn word(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => last_word(bytes, at),
    }
}

/// Returns the sixteen bytes at a position in the same way.
#[inline]
pub(super) fn near(bytes: &[u8], at: usize) -> u128 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(chunk) => u128::from_le_bytes(*chunk),
        None => u128::from(word(bytes, at)) | u128::from(word(bytes, at + 8)) << 64,
    }
}

#[cold]
fn last_word(bytes: &[u8], at: usize) -> u64 {
    let mut chunk = [0; 8];
    let rest = bytes.get(at..).unwrap_or_default();
    chunk[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(chunk)
}

/// Returns the first one to eight bytes of a word.
#[inline]
pub(crate) fn first_bytes(word: u64, n_bytes: usize) -> u64 {
    word & u64::MAX >> (64 - 8 * n_bytes)
}

/// Finds the next of two bytes.
#[inline(always)]
pub(crate) fn find_either(first: u8, second: u8, bytes: &[u8], at: usize) -> Option<usize> {
    let near: Option<&[u8; 16]> = bytes.get(at..).and_then(<[u8]>::first_chunk);
    let Some([low, high]) = near.map(|near| near.as_chunks().0).and_then(<[[u8; 8]]>::first_chunk) else {
        return memchr2(first, second, bytes.get(at..)?).map(|offset| at + offset);
    };
    let marks = |chunk: &[u8; 8]| {
        let word = u64::from_le_bytes(*chunk);
        marks(word, first) | marks(word, second)
    };
    match (marks(low), marks(high)) {
        (0, 0) => memchr2(first, second, &bytes[at + 16..]).map(|offset| at + 16 + offset),
        (0, high) => Some(at + 8 + high.trailing_zeros() as usize / 8),
        (low, _) => Some(at + low.trailing_zeros() as usize / 8),
    }
}

const fn repeated(byte: u8) -> u64 {
    0x0101_0101_0101_0101 * byte as u64
}

/// Marks where a byte is in a word, in its highest bit; what is above the lowest mark may be marked in error.
/// <https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord>
#[inline]
pub(super) fn marks(word: u64, byte: u8) -> u64 {
    let word = word ^ repeated(byte);
    word.wrapping_sub(repeated(1)) & !word & repeated(0x80)
}
