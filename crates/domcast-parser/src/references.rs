//! Character references: `&amp;`, `&#38;`, `&copy`.
//!
//! <https://html.spec.whatwg.org/multipage/parsing.html#character-reference-state>

use html5ever::data::{C1_REPLACEMENTS, NAMED_ENTITIES};
use memchr::memchr;
use std::borrow::Cow;

/// Decodes the character references of a text or, by other rules, of an attribute's value.
pub(crate) fn decode(raw: &str, in_attribute: bool) -> Cow<'_, str> {
    let Some(mut at) = memchr(b'&', raw.as_bytes()) else { return Cow::Borrowed(raw) };
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let found = match rest.as_bytes().first() {
            Some(b'#') => numeric(&rest[1..]).map(|(char, length)| ([Some(char), None], length + 1)),
            Some(byte) if byte.is_ascii_alphanumeric() => named(rest, in_attribute),
            _ => None,
        };
        match found {
            Some((chars, length)) => {
                out.extend(chars.into_iter().flatten());
                rest = &rest[length..];
            }
            None => out.push('&'),
        }
        match memchr(b'&', rest.as_bytes()) {
            Some(next) => at = next,
            None => break,
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Reads `38;` or `x26;`, of which the semicolon may be missing: the character and the bytes read.
fn numeric(text: &str) -> Option<(char, usize)> {
    let (digits, radix, prefix) = match text.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16, 1),
        None => (text, 10, 0),
    };
    let length = digits.bytes().take_while(|&byte| char::from(byte).is_digit(radix)).count();
    if length == 0 {
        return None;
    }
    let has_end = digits.as_bytes().get(length) == Some(&b';');
    let code = u32::from_str_radix(&digits[..length], radix).unwrap_or(u32::MAX);
    let replaced = match code {
        0 => None,
        // Windows-1252, which was meant.
        0x80..=0x9f => C1_REPLACEMENTS[code as usize - 0x80].or(char::from_u32(code)),
        _ => char::from_u32(code),
    };
    Some((replaced.unwrap_or('\u{fffd}'), prefix + length + usize::from(has_end)))
}

/// Finds the longest name of a reference that `text` begins with: its characters and its length.
fn named(text: &str, in_attribute: bool) -> Option<([Option<char>; 2], usize)> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b';';
    let n_name = text.bytes().take_while(|&byte| is_name(byte)).count();
    let mut found = None;
    for length in 1..=n_name {
        // The table holds every prefix of a name, with 0 for what is no name itself.
        let Some(&(first, second)) = NAMED_ENTITIES.get(&text[..length]) else { break };
        if first != 0 {
            found = Some(((first, second), length));
        }
    }
    let ((first, second), length) = found?;
    let ends_itself = text.as_bytes()[length - 1] == b';';
    let next = text.as_bytes().get(length);
    // For historical reasons `?a=1&copy=2` holds no reference.
    if in_attribute && !ends_itself && next.is_some_and(|&byte| byte == b'=' || byte.is_ascii_alphanumeric()) {
        return None;
    }
    let char = |code: u32| char::from_u32(code).filter(|&char| char != '\0');
    Some(([char(first), char(second)], length))
}
