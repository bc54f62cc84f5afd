//! One node against another of the same kind: attributes and text.

use crate::attributes::Attribute;
use crate::name::Name;
use crate::patch::{Patch, Splice};
use crate::tree::{Element, NodeId};
use std::collections::HashMap;

/// Above this many attributes a map finds them; below, a scan is faster.
const SCAN_LIMIT: usize = 16;

/// Emits the patches that turn the attributes of `old` into those of `new`. Linear in their number.
pub(crate) fn attributes(id: NodeId, old: &Element, new: &Element, patches: &mut Vec<Patch>) {
    if old.attributes == new.attributes {
        return;
    }
    let (in_old, in_new) = (Lookup::of(old), Lookup::of(new));
    for Attribute { name, .. } in &old.attributes {
        if in_new.get(name).is_none() {
            patches.push(Patch::RemoveAttribute { node: id, name: name.detached() });
        }
    }
    for Attribute { name, value } in &new.attributes {
        match in_old.get(name) {
            Some(old) if old.value == *value => {}
            Some(old) => patches.push(match splice(&old.value, value) {
                Some(splice) => Patch::SpliceAttribute { node: id, name: name.detached(), splice },
                None => Patch::SetAttribute { node: id, name: name.detached(), value: value.detached() },
            }),
            None => patches.push(Patch::SetAttribute { node: id, name: name.detached(), value: value.detached() }),
        }
    }
}

/// Emits the patch that turns the text `old` into `new`, if they differ.
pub(crate) fn text(id: NodeId, old: &str, new: &crate::text::Str, patches: &mut Vec<Patch>) {
    if *old == **new {
        return;
    }
    patches.push(match splice(old, new) {
        Some(splice) => Patch::SpliceText { node: id, splice },
        None => Patch::SetText { node: id, text: new.detached() },
    });
}

enum Lookup<'a> {
    Scan(&'a [Attribute]),
    Map(HashMap<&'a Name, &'a Attribute>),
}

impl<'a> Lookup<'a> {
    fn of(element: &'a Element) -> Lookup<'a> {
        if element.attributes.len() <= SCAN_LIMIT {
            return Lookup::Scan(&element.attributes);
        }
        Lookup::Map(element.attributes.iter().map(|attribute| (&attribute.name, attribute)).collect())
    }

    fn get(&self, name: &Name) -> Option<&'a Attribute> {
        match self {
            Lookup::Scan(attributes) => attributes.iter().find(|attribute| attribute.name == *name),
            Lookup::Map(attributes) => attributes.get(name).copied(),
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
    let mut prefix = old.bytes().zip(new.bytes()).take_while(|(a, b)| a == b).count();
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
    text.chars().map(|char| char.len_utf16() as u32).sum()
}
