//! One node against another of the same kind: attributes and text.

use crate::equal::common_prefix;
use crate::name::Name;
use crate::node::Attributes;
use crate::patch::{Patch, Splice};
use crate::tree::NodeId;
use std::collections::HashMap;

/// Above this many attributes a map finds them; below, a scan is faster.
const SCAN_LIMIT: usize = 16;

/// Emits the patches that turn the attributes `old` into `new`. Linear in their number.
pub(crate) fn attributes(id: NodeId, old: Attributes<'_>, new: Attributes<'_>, patches: &mut Vec<Patch>) {
    if old == new {
        return;
    }
    // Mostly both lists name the same attributes in the same order. Then both are read once, from the front, as memory likes it: to look names up in
    // a large map costs more than all the rest.
    let in_step = old.iter().zip(new.iter()).take_while(|(old, new)| old.name == new.name);
    let n_in_step = in_step.map(|(old, new)| attribute(id, new.name, Some(old.value), new.value, patches)).count();
    let (in_old, in_new) = (Lookup::of(old, n_in_step), Lookup::of(new, n_in_step));
    for attribute in old.starting(n_in_step) {
        if in_new.get(attribute.name).is_none() {
            patches.push(Patch::RemoveAttribute { node: id, name: attribute.name.into() });
        }
    }
    for new in new.starting(n_in_step) {
        attribute(id, new.name, in_old.get(new.name), new.value, patches);
    }
}

/// Emits the patch that gives an attribute a value, unless it has that already.
pub(crate) fn attribute(id: NodeId, name: Name<'_>, old: Option<&str>, value: &str, patches: &mut Vec<Patch>) {
    match old {
        Some(old) if old == value => {}
        old => patches.push(match old.and_then(|old| splice(old, value)) {
            Some(splice) => Patch::SpliceAttribute { node: id, name: name.into(), splice },
            None => Patch::SetAttribute { node: id, name: name.into(), value: value.into() },
        }),
    }
}

/// Emits the patch that turns the text `old` into `new`, if they differ.
pub(crate) fn text(id: NodeId, old: &str, new: &str, patches: &mut Vec<Patch>) {
    if old == new {
        return;
    }
    patches.push(match splice(old, new) {
        Some(splice) => Patch::SpliceText { node: id, splice },
        None => Patch::SetText { node: id, text: new.into() },
    });
}

/// Finds attributes behind the first ones of a list.
enum Lookup<'a> {
    Scan(Attributes<'a>, usize),
    Map(HashMap<Name<'a>, &'a str>),
}

impl<'a> Lookup<'a> {
    fn of(attributes: Attributes<'a>, first: usize) -> Lookup<'a> {
        if attributes.len() - first <= SCAN_LIMIT {
            return Lookup::Scan(attributes, first);
        }
        Lookup::Map(attributes.starting(first).map(|attribute| (attribute.name, attribute.value)).collect())
    }

    fn get(&self, name: Name<'_>) -> Option<&'a str> {
        match self {
            Lookup::Scan(attributes, first) => {
                attributes.starting(*first).find(|attribute| attribute.name == name).map(|attribute| attribute.value)
            }
            Lookup::Map(attributes) => attributes.get(&name).copied(),
        }
    }
}

/// Returns the splice from `old` to `new` if writing it takes fewer bytes than writing `new`.
fn splice(old: &str, new: &str) -> Option<Splice> {
    let (prefix, suffix) = common_ends(old, new);
    // Two numbers, their commas and nothing else are what a splice needs beside the inserted text.
    let n_inserted = new.len() - prefix - suffix;
    if n_inserted + 2 + n_digits(prefix) + n_digits(old.len() - prefix - suffix) >= new.len() {
        return None;
    }
    Some(Splice {
        at: utf16_len(&old[..prefix]),
        remove: utf16_len(&old[prefix..old.len() - suffix]),
        insert: new[prefix..new.len() - suffix].into(),
    })
}

/// Returns how many bytes two texts share at their beginning and, in what is left, at their end; whole characters only.
fn common_ends(old: &str, new: &str) -> (usize, usize) {
    let mut prefix = common_prefix(old.as_bytes(), new.as_bytes());
    while !old.is_char_boundary(prefix) || !new.is_char_boundary(prefix) {
        prefix -= 1;
    }
    let (old, new) = (&old[prefix..], &new[prefix..]);
    let mut suffix = old.bytes().rev().zip(new.bytes().rev()).take_while(|(a, b)| a == b).count();
    while !old.is_char_boundary(old.len() - suffix) || !new.is_char_boundary(new.len() - suffix) {
        suffix -= 1;
    }
    (prefix, suffix)
}

fn n_digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

fn utf16_len(text: &str) -> u32 {
    if text.is_ascii() {
        return text.len() as u32;
    }
    text.chars().map(|char| char.len_utf16() as u32).sum()
}
