//! A text that is written up to a limit.

use minijinja::Value;
use minijinja::value::ValueKind;
use std::io::{self, Write};

/// Takes what a template writes, up to a limit.
pub(crate) struct Output {
    text: Vec<u8>,
    limit_bytes: usize,
    is_full: bool,
}

impl Output {
    pub(crate) fn new(limit_bytes: usize) -> Output {
        Output { text: Vec::new(), limit_bytes, is_full: false }
    }

    /// Whether something was written beyond the limit.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(crate) fn into_text(self) -> String {
        String::from_utf8(self.text).expect("the engine writes text")
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > self.limit_bytes {
            self.is_full = true;
            return Err(io::Error::other("output limit"));
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a value prints no more than so many bytes, as far as its texts and the number of its parts tell. The engine makes the whole text of a list
/// before it counts and writes it, and a list may hold a part many times over.
pub(crate) fn prints_within(value: &Value, n_bytes: usize) -> bool {
    fn subtract(value: &Value, left: &mut usize) -> bool {
        let Some(rest) = left.checked_sub(value.as_str().map_or(1, str::len)) else { return false };
        *left = rest;
        let mut parts = match value.kind() {
            ValueKind::Seq | ValueKind::Iterable | ValueKind::Map if value.len().is_some() => value.try_iter().ok(),
            _ => None,
        };
        let is_map = value.kind() == ValueKind::Map;
        parts.iter_mut().flatten().all(|part| {
            subtract(&part, left) && (!is_map || value.get_item(&part).is_ok_and(|value| subtract(&value, left)))
        })
    }
    subtract(value, &mut { n_bytes })
}
