//! The key of a loop's items.

use crate::program::{Part, PartKind};

/// The hole that is the key of the first element of a body, if it is plain to see.
pub(super) fn key_of(parts: &[Part]) -> Option<u32> {
    let mut keys: [Option<u32>; 3] = [None; 3];
    let mut tag: Option<String> = None;
    for (idx, part) in parts.iter().enumerate() {
        match (&part.kind, &mut tag) {
            (PartKind::Text(text), None) => {
                let open = text.find('<')?;
                let is_element = text[open + 1..].starts_with(|first: char| first.is_ascii_alphabetic());
                let inside = &text[open + 1..];
                if !is_element || inside.contains('>') {
                    return None;
                }
                tag = Some(inside.to_owned());
            }
            (PartKind::Text(text), Some(inside)) => match text.find('>') {
                Some(_) => break,
                None => inside.push_str(text),
            },
            (PartKind::Hole(_), Some(inside)) => {
                // ` id="` or ` id="row-`: the text before the hole ends in an open attribute.
                if let Some((before, value)) = inside.rsplit_once('=') {
                    let name = before.rsplit(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
                    let value = value.trim_start_matches(['"', '\'']);
                    let is_open = !value.contains(['"', '\'', ' ', '\n']);
                    let names = ["dc-key", "data-key", "id"];
                    if let (true, Some(at)) = (is_open, names.iter().position(|known| *known == name)) {
                        keys[at].get_or_insert(idx as u32);
                    }
                }
                inside.push_str("hole");
            }
            (PartKind::Let(_), _) => {}
            _ => break,
        }
    }
    keys.into_iter().flatten().next()
}
