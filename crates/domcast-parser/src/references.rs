//! Character references: `&amp;`, `&#38;`, `&copy`.
//!
//! <https://html.spec.whatwg.org/multipage/parsing.html#character-reference-state>

use html5ever::data::{C1_REPLACEMENTS, NAMED_ENTITIES};
use memchr::memchr;
use std::borrow::Cow;

/// The letters of the longest name, `CounterClockwiseContourIntegral;`.
const MAX_LETTERS: usize = 31;

/// Decodes the character references of a text or, by other rules, of an attribute's value. Without any it is the text itself.
pub(crate) fn decode(raw: &str, in_attribute: bool) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut done, mut at) = (0, 0);
    while let Some(offset) = memchr(b'&', &raw.as_bytes()[at..]) {
        let start = at + offset;
        at = start + 1;
        let rest = &raw[at..];
        let found = match rest.as_bytes().first() {
            Some(b'#') => numeric(&rest[1..]).map(|(char, length)| ([Some(char), None], length + 1)),
            Some(byte) if byte.is_ascii_alphanumeric() => named(rest, in_attribute),
            _ => None,
        };
        if let Some((chars, length)) = found {
            out.reserve(raw.len() - done);
            out.push_str(&raw[done..start]);
            out.extend(chars.into_iter().flatten());
            at += length;
            done = at;
        }
    }
    if done == 0 {
        return Cow::Borrowed(raw);
    }
    out.push_str(&raw[done..]);
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
    let n_letters = text.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let next = text.as_bytes().get(n_letters);
    // For historical reasons `?a=1&copy=2` holds no reference.
    if in_attribute && next == Some(&b'=') {
        return None;
    }
    if next == Some(&b';')
        && n_letters <= MAX_LETTERS
        && let Some(chars) = characters(&text[..=n_letters])
    {
        return Some((chars, n_letters + 1));
    }
    // Without the semicolon some shorter name is one too, but not in an attribute's value where letters follow.
    let shortest = if in_attribute { n_letters } else { 1 };
    (shortest..=n_letters.min(MAX_LETTERS)).rev().find_map(|length| Some((characters(&text[..length])?, length)))
}

/// Returns the characters of a name, written with its semicolon where it needs one.
fn characters(name: &str) -> Option<[Option<char>; 2]> {
    Some(match name {
        "amp;" => [Some('&'), None],
        "lt;" => [Some('<'), None],
        "gt;" => [Some('>'), None],
        "quot;" => [Some('"'), None],
        "nbsp;" => [Some('\u{a0}'), None],
        // The table holds every prefix of a name, with 0 for what is no name itself.
        _ => match *NAMED_ENTITIES.get(name)? {
            (0, _) => return None,
            (first, second) => [first, second].map(|code| char::from_u32(code).filter(|&char| char != '\0')),
        },
    })
}
