//! Lines as JSON text.

use super::line::{Item, Line};
use std::fmt::Write;

pub(super) fn write(lines: &[Line<'_>]) -> String {
    let mut out = String::from("[");
    for (idx, line) in lines.iter().enumerate() {
        out.push_str(if idx == 0 { "[\"" } else { ",[\"" });
        out.push(line.op.letter());
        out.push('"');
        for item in &line.items {
            out.push(',');
            write_item(item, &mut out);
        }
        out.push(']');
    }
    out.push(']');
    out
}

pub(super) fn write_items(items: &[Item<'_>]) -> String {
    let mut out = String::from("[");
    for (idx, item) in items.iter().enumerate() {
        if idx > 0 {
            out.push(',');
        }
        write_item(item, &mut out);
    }
    out.push(']');
    out
}

fn write_item(item: &Item<'_>, out: &mut String) {
    match item {
        Item::Text(text) => write_string(text, out),
        // Writing to a String cannot fail.
        Item::Number(number) => _ = write!(out, "{number}"),
        Item::Run(first, step, count) => _ = write!(out, "[{first},{step},{count}]"),
    }
}

/// Appends `text` as a JSON string.
///
/// `<` and U+2028 need no escape: the text is parsed as JSON, never as a script or as HTML.
pub(crate) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut written = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            0x0c => "\\f",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[written..at]);
        match escape {
            "" => _ = write!(out, "\\u{byte:04x}"),
            _ => out.push_str(escape),
        }
        written = at + 1;
    }
    out.push_str(&text[written..]);
    out.push('"');
}
