//! What the commands read: files or standard input, HTML, patch lists.

use anyhow::{Context, Result, bail};
use domcast_diff::{Patches, Tree};
use domcast_parser::Parser;
use serde_json::{Map, Value};
use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// The path that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// Returns how messages name a file.
pub(crate) fn name(path: &Path) -> String {
    if is_standard_input(path) { "standard input".into() } else { format!("`{}`", path.display()) }
}

pub(crate) fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == STANDARD_INPUT
}

/// Fails if both paths are standard input, which can be read once only.
pub(crate) fn check_distinct(one: &Path, other: &Path) -> Result<()> {
    if is_standard_input(one) && is_standard_input(other) {
        bail!("standard input can be read once only: name a file for one of the two");
    }
    Ok(())
}

pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>> {
    let read = if is_standard_input(path) {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    read.with_context(|| format!("{} cannot be read", name(path)))
}

pub(crate) fn text(path: &Path) -> Result<String> {
    let text = String::from_utf8(bytes(path)?);
    text.map_err(|error| error.utf8_error()).with_context(|| format!("{} is not UTF-8", name(path)))
}

/// Parses JSON that messages call `name`.
pub(crate) fn json(bytes: &[u8], name: &str) -> Result<Value> {
    serde_json::from_slice(bytes).with_context(|| format!("{name} is not JSON"))
}

/// Parses a JSON object that messages call `name`.
pub(crate) fn json_object(bytes: &[u8], name: &str) -> Result<Map<String, Value>> {
    match json(bytes, name)? {
        Value::Object(object) => Ok(object),
        _ => bail!("{name} is not a JSON object"),
    }
}

/// Parses HTML as a document, or as a fragment in an element `context`.
pub(crate) fn tree(parser: &Parser, html: &str, context: Option<&str>) -> Result<Tree> {
    Ok(match context {
        Some(context) => parser.fragment(html, context)?,
        None => parser.document(html)?,
    })
}

/// Reads a patch list in either encoding: the binary one begins with the byte 1, which no JSON does.
pub(crate) fn patches(path: &Path) -> Result<Patches> {
    let bytes = bytes(path)?;
    let patches = match bytes.first() {
        Some(1) => Patches::from_binary(&bytes).map_err(anyhow::Error::new),
        _ => serde_json::from_slice(&bytes).map_err(anyhow::Error::new),
    };
    patches.with_context(|| format!("{} holds no patch list", name(path)))
}
