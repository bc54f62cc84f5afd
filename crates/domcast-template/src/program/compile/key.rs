//! The key of a loop's items.

use crate::program::{PartKind, Parts};

/// The hole that is the key of the first element of a body, if it is plain to see.
pub(super) fn key_of(parts: &Parts) -> Option<u32> {
    let mut keys: [Option<u32>; 3] = [None; 3];
    let mut tag: Option<String> = None;
    for (idx, (text, part)) in parts.with_texts().enumerate() {
        let text = &*text.text;
        match &mut tag {
            _ if text.is_empty() => {}
            None => {
                let open = text.find('<')?;
                let is_element = text[open + 1..].starts_with(|first: char| first.is_ascii_alphabetic());
                let inside = &text[open + 1..];
                if !is_element || inside.contains('>') {
                    return None;
                }
                tag = Some(inside.to_owned());
            }
            Some(_) if text.contains('>') => break,
            Some(inside) => inside.push_str(text),
        }
        match (part.map(|part| &part.kind), &mut tag) {
            (Some(PartKind::Hole(_)), Some(inside)) => {
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
            (Some(PartKind::Let(_)), _) => {}
            _ => break,
        }
    }
    keys.into_iter().flatten().next()
}
