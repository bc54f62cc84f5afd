//! Lines: the common form behind both encodings, one array of PROTOCOL.md each.

use super::{DecodeError, MAX_EXPANDED, shapes};
use crate::name::{Name, Namespace};
use crate::node::Doctype;
use crate::patch::{Patch, Patches, Splice, Token};
use crate::tree::NodeId;
use std::borrow::Cow;

/// One array of the wire form: an operation and what follows it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line<'a> {
    pub(super) op: Op,
    pub(super) items: Vec<Item<'a>>,
}

/// An entry of a [`Line`].
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item<'a> {
    Number(u32),
    Text(Cow<'a, str>),
    /// `[first, step, count]`: `count` numbers from `first` on.
    Run(u32, i64, u32),
}

/// The operations, in the order of PROTOCOL.md.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Op {
    Insert,
    Shape,
    ReplaceChildren,
    Clear,
    Remove,
    Move,
    Permute,
    SetText,
    SpliceText,
    SetAttribute,
    SpliceAttribute,
    RemoveAttribute,
    Compact,
}

impl Op {
    pub(super) const ALL: [Op; 13] = [
        Op::Insert,
        Op::Shape,
        Op::ReplaceChildren,
        Op::Clear,
        Op::Remove,
        Op::Move,
        Op::Permute,
        Op::SetText,
        Op::SpliceText,
        Op::SetAttribute,
        Op::SpliceAttribute,
        Op::RemoveAttribute,
        Op::Compact,
    ];

    pub(super) fn letter(self) -> char {
        match self {
            Op::Insert => 'i',
            Op::Shape => 's',
            Op::ReplaceChildren => 'o',
            Op::Clear => 'c',
            Op::Remove => 'r',
            Op::Move => 'm',
            Op::Permute => 'p',
            Op::SetText => 't',
            Op::SpliceText => 'x',
            Op::SetAttribute => 'a',
            Op::SpliceAttribute => 'y',
            Op::RemoveAttribute => 'd',
            Op::Compact => 'n',
        }
    }

    /// What the first items are: `n` a number, `s` a text.
    pub(super) fn fixed(self) -> &'static [u8] {
        match self {
            Op::Insert => b"nn",
            Op::Shape | Op::Remove => b"",
            Op::ReplaceChildren | Op::Clear | Op::Move | Op::Permute | Op::Compact => b"n",
            Op::SetText | Op::RemoveAttribute => b"ns",
            Op::SpliceText => b"nnns",
            Op::SetAttribute => b"nss",
            Op::SpliceAttribute => b"nsnns",
        }
    }

    /// Whether any number of further items may follow the first ones.
    pub(super) fn has_tail(self) -> bool {
        matches!(self, Op::Insert | Op::Shape | Op::ReplaceChildren | Op::Remove | Op::Move | Op::Permute)
    }
}

/// Writes patches as lines, shapes before the patch that first uses them.
pub(super) fn lines(patches: &Patches) -> Vec<Line<'_>> {
    let mut lines = Vec::with_capacity(patches.len());
    let mut shapes = shapes::Writer::default();
    for patch in patches {
        let before_id = |before: &Option<NodeId>| Item::Number(before.map_or(0, |id| id.0));
        let (op, items) = match patch {
            Patch::Insert { parent, before, nodes } => {
                let mut items = vec![Item::Number(parent.0), before_id(before)];
                shapes.write(nodes, &mut items, &mut lines);
                (Op::Insert, items)
            }
            Patch::ReplaceChildren { parent, nodes } => {
                let mut items = vec![Item::Number(parent.0)];
                shapes.write(nodes, &mut items, &mut lines);
                (Op::ReplaceChildren, items)
            }
            Patch::Clear { parent } => (Op::Clear, vec![Item::Number(parent.0)]),
            Patch::Remove { nodes } => (Op::Remove, ids(nodes).collect()),
            Patch::Move { nodes, before } => (Op::Move, std::iter::once(before_id(before)).chain(ids(nodes)).collect()),
            Patch::Permute { parent, order } => {
                (Op::Permute, std::iter::once(Item::Number(parent.0)).chain(ids(order)).collect())
            }
            Patch::SetText { node, text } => {
                (Op::SetText, vec![Item::Number(node.0), Item::Text(text.as_str().into())])
            }
            Patch::SpliceText { node, splice } => {
                let [at, remove, insert] = splice_items(splice);
                (Op::SpliceText, vec![Item::Number(node.0), at, remove, insert])
            }
            Patch::SetAttribute { node, name, value } => (
                Op::SetAttribute,
                vec![Item::Number(node.0), attribute_name(name.as_name()), Item::Text(value.as_str().into())],
            ),
            Patch::SpliceAttribute { node, name, splice } => {
                let [at, remove, insert] = splice_items(splice);
                (Op::SpliceAttribute, vec![Item::Number(node.0), attribute_name(name.as_name()), at, remove, insert])
            }
            Patch::RemoveAttribute { node, name } => {
                (Op::RemoveAttribute, vec![Item::Number(node.0), attribute_name(name.as_name())])
            }
            Patch::Compact { n_nodes } => (Op::Compact, vec![Item::Number(*n_nodes)]),
        };
        lines.push(Line { op, items });
    }
    lines
}

fn splice_items(splice: &Splice) -> [Item<'_>; 3] {
    [Item::Number(splice.at), Item::Number(splice.remove), Item::Text(splice.insert.as_str().into())]
}

fn attribute_name(name: Name<'_>) -> Item<'_> {
    if name.namespace == Namespace::None && !name.local.contains(' ') {
        return Item::Text(name.local.into());
    }
    let mut text = String::new();
    name.to_wire(Namespace::None, &mut text);
    Item::Text(text.into())
}

/// Cuts ids into runs of constant difference: first id, difference, number of ids. A run of one has difference 0.
pub(crate) fn runs(ids: &[NodeId]) -> impl Iterator<Item = (u32, i64, usize)> + '_ {
    let mut rest = ids;
    std::iter::from_fn(move || {
        let first = rest.first()?.0;
        let step = rest.get(1).map_or(0, |second| i64::from(second.0) - i64::from(first));
        let in_step = |pair: &&[NodeId]| i64::from(pair[1].0) - i64::from(pair[0].0) == step;
        let length = 1 + rest.windows(2).take_while(in_step).count();
        // Two ids are shorter than a run, and the second may begin a longer one.
        let length = if length < 3 { 1 } else { length };
        rest = &rest[length..];
        Some((first, if length == 1 { 0 } else { step }, length))
    })
}

fn ids(ids: &[NodeId]) -> impl Iterator<Item = Item<'static>> + '_ {
    runs(ids).map(|(first, step, length)| match length {
        1 => Item::Number(first),
        _ => Item::Run(first, step, length as u32),
    })
}

/// Reads lines back into patches.
pub(super) fn patches(lines: &[Line<'_>]) -> Result<Patches, DecodeError> {
    let mut shapes = shapes::Reader::default();
    let mut budget = MAX_EXPANDED;
    let mut patches = Vec::with_capacity(lines.len());
    for (patch_idx, line) in lines.iter().enumerate() {
        let mut items = Items { patch_idx, items: &line.items, budget: &mut budget };
        let patch = match line.op {
            Op::Shape => {
                shapes.define(&mut items)?;
                continue;
            }
            Op::Insert => {
                let (parent, before) = (items.id()?, items.optional_id()?);
                Patch::Insert { parent, before, nodes: shapes.nodes(&mut items)? }
            }
            Op::ReplaceChildren => Patch::ReplaceChildren { parent: items.id()?, nodes: shapes.nodes(&mut items)? },
            Op::Clear => Patch::Clear { parent: items.id()? },
            Op::Remove => Patch::Remove { nodes: items.ids()? },
            Op::Move => {
                let before = items.optional_id()?;
                Patch::Move { nodes: items.ids()?, before }
            }
            Op::Permute => Patch::Permute { parent: items.id()?, order: items.ids()? },
            Op::SetText => Patch::SetText { node: items.id()?, text: items.text()?.into() },
            Op::SpliceText => Patch::SpliceText { node: items.id()?, splice: items.splice()? },
            Op::SetAttribute => {
                Patch::SetAttribute { node: items.id()?, name: items.name()?.into(), value: items.text()?.into() }
            }
            Op::SpliceAttribute => {
                Patch::SpliceAttribute { node: items.id()?, name: items.name()?.into(), splice: items.splice()? }
            }
            Op::RemoveAttribute => Patch::RemoveAttribute { node: items.id()?, name: items.name()?.into() },
            Op::Compact => Patch::Compact { n_nodes: items.number()? },
        };
        items.end()?;
        patches.push(patch);
    }
    Ok(Patches(patches))
}

/// The items of one line, taken from the front.
pub(super) struct Items<'a, 'b> {
    patch_idx: usize,
    items: &'a [Item<'a>],
    /// How many tokens and ids this list may still expand to.
    budget: &'b mut usize,
}

impl<'a> Items<'a, '_> {
    pub(super) fn next(&mut self) -> Option<&'a Item<'a>> {
        let (first, rest) = self.items.split_first()?;
        self.items = rest;
        Some(first)
    }

    /// Takes a hole, if one is next.
    pub(super) fn skip_hole(&mut self) -> bool {
        let is_hole = self.items.first() == Some(&Item::Number(0));
        if is_hole {
            self.next();
        }
        is_hole
    }

    pub(super) fn error(&self, reason: impl Into<String>) -> DecodeError {
        DecodeError::new(self.patch_idx, reason)
    }

    pub(super) fn spend(&mut self, n_expanded: usize) -> Result<(), DecodeError> {
        *self.budget = self
            .budget
            .checked_sub(n_expanded)
            .ok_or_else(|| self.error(format!("the list expands to more than {MAX_EXPANDED} tokens and ids")))?;
        Ok(())
    }

    pub(super) fn number(&mut self) -> Result<u32, DecodeError> {
        match self.next() {
            Some(Item::Number(number)) => Ok(*number),
            other => Err(self.error(format!("a number was expected, found {}", describe(other)))),
        }
    }

    pub(super) fn text(&mut self) -> Result<&'a str, DecodeError> {
        match self.next() {
            Some(Item::Text(text)) => Ok(text),
            other => Err(self.error(format!("a text was expected, found {}", describe(other)))),
        }
    }

    fn id(&mut self) -> Result<NodeId, DecodeError> {
        self.number().map(NodeId)
    }

    fn optional_id(&mut self) -> Result<Option<NodeId>, DecodeError> {
        self.id().map(|id| (id != NodeId::ROOT).then_some(id))
    }

    fn name(&mut self) -> Result<Name<'a>, DecodeError> {
        let text = self.text()?;
        Name::from_wire(Namespace::None, text).ok_or_else(|| self.error(format!("`{text}` is not a name")))
    }

    fn splice(&mut self) -> Result<Splice, DecodeError> {
        Ok(Splice { at: self.number()?, remove: self.number()?, insert: self.text()?.into() })
    }

    fn ids(&mut self) -> Result<Vec<NodeId>, DecodeError> {
        let mut ids = Vec::new();
        while let Some(item) = self.next() {
            match *item {
                Item::Number(id) => ids.push(NodeId(id)),
                Item::Run(first, step, count) => {
                    self.spend(count as usize)?;
                    let run = (0..i64::from(count)).map(|idx| u32::try_from(i64::from(first) + idx * step).map(NodeId));
                    let run: Result<Vec<NodeId>, _> = run.collect();
                    ids.extend(run.map_err(|_| self.error("a run leaves the range of ids"))?);
                }
                Item::Text(_) => return Err(self.error("an id was expected, found a text")),
            }
        }
        Ok(ids)
    }

    fn end(&mut self) -> Result<(), DecodeError> {
        match self.next() {
            None => Ok(()),
            other => Err(self.error(format!("nothing more was expected, found {}", describe(other)))),
        }
    }
}

fn describe(item: Option<&Item<'_>>) -> String {
    match item {
        None => "the end".into(),
        Some(Item::Number(number)) => format!("{number}"),
        Some(Item::Text(text)) => format!("a text of {} bytes", text.len()),
        Some(Item::Run(..)) => "a run".into(),
    }
}

/// Writes one token; a doctype takes three items, an attribute two.
pub(super) fn write_token<'a>(token: Token<'a>, items: &mut Vec<Item<'a>>) {
    let prefixed = |prefix: char, text: &str| Item::Text(format!("{prefix}{text}").into());
    match token {
        Token::Element(name) => items.push(Item::Text(prefixed_name('<', name, Namespace::Html).into())),
        Token::Attribute(name, value) => items.extend([attribute_token(name), Item::Text(value.into())]),
        Token::Text(text) => items.push(prefixed('=', text)),
        Token::Comment(text) => items.push(prefixed('!', text)),
        Token::Doctype(doctype) => items.extend([
            prefixed('?', doctype.name),
            Item::Text(doctype.public_id.into()),
            Item::Text(doctype.system_id.into()),
        ]),
        Token::Close => items.push(Item::Text("/".into())),
    }
}

/// Writes the name of an attribute as the first of its two items.
pub(super) fn attribute_token(name: Name<'_>) -> Item<'static> {
    Item::Text(prefixed_name('@', name, Namespace::None).into())
}

fn prefixed_name(prefix: char, name: Name<'_>, usual: Namespace) -> String {
    let mut text = String::with_capacity(1 + name.local.len());
    text.push(prefix);
    name.to_wire(usual, &mut text);
    text
}

/// Reads one token whose first item is `text`. `value` reads the text of an attribute.
pub(super) fn read_token<'a>(
    text: &'a str,
    items: &mut Items<'a, '_>,
    value: &mut dyn FnMut(&mut Items<'a, '_>) -> Result<&'a str, DecodeError>,
) -> Result<Token<'a>, DecodeError> {
    let mut chars = text.chars();
    let (kind, rest) = (chars.next(), chars.as_str());
    let name = |usual, items: &Items<'_, '_>| {
        Name::from_wire(usual, rest).ok_or_else(|| items.error(format!("`{rest}` is not a name")))
    };
    Ok(match kind {
        Some('<') => Token::Element(name(Namespace::Html, items)?),
        Some('@') => Token::Attribute(name(Namespace::None, items)?, value(items)?),
        Some('=') => Token::Text(rest),
        Some('!') => Token::Comment(rest),
        Some('?') => Token::Doctype(Doctype { name: rest, public_id: items.text()?, system_id: items.text()? }),
        Some('/') if rest.is_empty() => Token::Close,
        _ => return Err(items.error(format!("`{}` begins no token", text.chars().take(20).collect::<String>()))),
    })
}
