//! Shapes: what repeats among inserted nodes is sent once (PROTOCOL.md, section 2).
//!
//! Siblings repeat if they have one skeleton: the same elements with the same attribute names, and text in the same places. A
//! period of up to [`MAX_PERIOD`] siblings is tried, so rows with blanks between them repeat too. Where all instances agree the shape
//! holds the value, elsewhere a hole. A shape is used where it saves bytes.
//!
//! Linear in the tokens, times [`MAX_PERIOD`].

use super::line::{self, Item, Items, Line, Op};
use super::{DecodeError, line::write_token};
use crate::digest::Folding;
use crate::patch::{self, Nodes, Token};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};

const MAX_PERIOD: usize = 3;

/// Fewer tokens than this hold nothing worth a shape.
const MIN_TOKENS: usize = 6;

/// Writes the nodes of one patch list; the shapes are numbered through.
#[derive(Default)]
pub(super) struct Writer {
    /// The numbers of the shapes so far, by their items.
    numbers: HashMap<String, u32>,
}

impl Writer {
    /// Appends `nodes` to `items`, and to `lines` the shapes that they use first.
    pub(super) fn write<'a>(&mut self, nodes: &'a Nodes, items: &mut Vec<Item<'a>>, lines: &mut Vec<Line<'a>>) {
        let tokens: Vec<Token<'a>> = nodes.tokens().collect();
        if tokens.len() < MIN_TOKENS {
            tokens.into_iter().for_each(|token| write_token(token, items));
            return;
        }
        let n_tokens = tokens.len();
        let outline = Outline::of(tokens);
        let tokens = &outline.tokens[..n_tokens];
        let mut runs = outline.runs();
        runs.sort_unstable_by_key(|run| run.start);
        let mut at = 0;
        for run in runs {
            tokens[at..run.start].iter().for_each(|&token| write_token(token, items));
            let number = self.number(&run.shape, lines);
            items.push(Item::Number(number));
            items.push(Item::Number(run.count as u32));
            for instance in 0..run.count {
                let start = run.start + instance * run.length;
                for &slot in &run.shape.holes {
                    items.push(Item::Text(value(outline.tokens[start + slot]).into()));
                }
            }
            at = (run.start + run.count * run.length).min(tokens.len());
        }
        tokens[at..].iter().for_each(|&token| write_token(token, items));
    }

    fn number<'a>(&mut self, shape: &Shape<'a>, lines: &mut Vec<Line<'a>>) -> u32 {
        let items = shape.items();
        let n_shapes = self.numbers.len() as u32;
        *self.numbers.entry(format!("{items:?}")).or_insert_with(|| {
            lines.push(Line { op: Op::Shape, items });
            n_shapes
        })
    }
}

/// A run of repeating siblings: `count` instances of `length` tokens each, from token `start` on.
struct Run<'a> {
    start: usize,
    length: usize,
    count: usize,
    shape: Shape<'a>,
}

struct Shape<'a> {
    tokens: Vec<Token<'a>>,
    /// The tokens whose value is a hole.
    holes: Vec<usize>,
}

impl<'a> Shape<'a> {
    fn items(&self) -> Vec<Item<'a>> {
        let mut items = Vec::with_capacity(self.tokens.len());
        let mut holes = self.holes.iter().peekable();
        let n_tokens = self.tokens.iter().rposition(|&token| token != Token::Close).map_or(0, |last| last + 1);
        for (slot, &token) in self.tokens[..n_tokens].iter().enumerate() {
            let is_hole = holes.next_if_eq(&&slot).is_some();
            match token {
                Token::Attribute(name, _) if is_hole => items.extend([line::attribute_token(name), Item::Number(0)]),
                _ if is_hole => items.push(Item::Number(0)),
                _ => write_token(token, &mut items),
            }
        }
        items
    }
}

fn value(token: Token<'_>) -> &str {
    match token {
        Token::Attribute(_, value) | Token::Text(value) => value,
        _ => "",
    }
}

/// The nodes of a token list: where each begins and ends, what its skeleton is, and who its siblings are.
struct Outline<'a> {
    /// The tokens with the closes that were left out at the end.
    tokens: Vec<Token<'a>>,
    nodes: Vec<Node>,
    /// Lists of siblings, as indices of nodes, and the node they are in.
    siblings: Vec<Vec<usize>>,
}

struct Node {
    start: usize,
    end: usize,
    skeleton: u64,
    children: usize,
}

impl<'a> Outline<'a> {
    fn of(tokens: Vec<Token<'a>>) -> Outline<'a> {
        let mut outline = Outline { tokens, nodes: Vec::new(), siblings: vec![Vec::new()] };
        let hashers = Folding::new();
        let mut open: Vec<(usize, Folding)> = Vec::new();
        let mut at = 0;
        while at < outline.tokens.len() || !open.is_empty() {
            if at == outline.tokens.len() {
                outline.tokens.push(Token::Close);
            }
            let token = outline.tokens[at];
            at += 1;
            if let (Token::Attribute(name, _), Some((_, hasher))) = (token, open.last_mut()) {
                name.hash(hasher);
                continue;
            }
            if let Token::Close = token {
                let Some((idx, hasher)) = open.pop() else { continue };
                outline.nodes[idx].end = at;
                outline.nodes[idx].skeleton = hasher.finish();
                if let Some((_, above)) = open.last_mut() {
                    outline.nodes[idx].skeleton.hash(above);
                }
                continue;
            }
            let idx = outline.nodes.len();
            let list = open.last().map_or(0, |(above, _)| outline.nodes[*above].children);
            outline.siblings[list].push(idx);
            let mut hasher = hashers.build_hasher();
            std::mem::discriminant(&token).hash(&mut hasher);
            match token {
                Token::Element(name) => name.hash(&mut hasher),
                Token::Comment(text) => text.hash(&mut hasher),
                Token::Doctype(doctype) => doctype.hash(&mut hasher),
                Token::Attribute(..) | Token::Text(_) | Token::Close => {}
            }
            let (skeleton, children) = (hasher.finish(), outline.siblings.len());
            outline.nodes.push(Node { start: at - 1, end: at, skeleton, children });
            outline.siblings.push(Vec::new());
            if let Token::Element(_) = token {
                open.push((idx, hasher));
            } else if let Some((_, above)) = open.last_mut() {
                skeleton.hash(above);
            }
        }
        outline
    }

    /// Finds runs of repeating siblings; none is inside another.
    fn runs(&self) -> Vec<Run<'a>> {
        let mut runs = Vec::new();
        let mut lists = vec![0];
        while let Some(list) = lists.pop() {
            let siblings = &self.siblings[list];
            let mut at = 0;
            while at < siblings.len() {
                let best = (1..=MAX_PERIOD).map(|period| (period, self.repeats(&siblings[at..], period)));
                let best = best.filter(|&(_, count)| count > 1).max_by_key(|&(period, count)| (period * count, count));
                let Some((period, count)) = best else {
                    lists.push(self.nodes[siblings[at]].children);
                    at += 1;
                    continue;
                };
                let start = self.nodes[siblings[at]].start;
                let length = self.nodes[siblings[at + period - 1]].end - start;
                let run = self.shape(start, length, count).map(|shape| Run { start, length, count, shape });
                match run.filter(|run| self.is_worth_it(run)) {
                    Some(run) => runs.push(run),
                    None => lists.extend(siblings[at..at + period * count].iter().map(|&idx| self.nodes[idx].children)),
                }
                at += period * count;
            }
        }
        runs
    }

    fn repeats(&self, siblings: &[usize], period: usize) -> usize {
        let skeleton = |idx: usize| self.nodes[siblings[idx]].skeleton;
        if siblings.len() < period {
            return 0;
        }
        1 + (period..siblings.len()).take_while(|&idx| skeleton(idx) == skeleton(idx - period)).count() / period
    }

    fn is_worth_it(&self, run: &Run<'_>) -> bool {
        let shape = &run.shape;
        let bytes = |token: &Token<'_>| match token {
            Token::Element(name) => 4 + name.local.len(),
            Token::Attribute(name, value) => 7 + name.local.len() + value.len(),
            Token::Text(text) | Token::Comment(text) => 4 + text.len(),
            Token::Doctype(_) => 16,
            Token::Close => 4,
        };
        let plain: usize = self.tokens[run.start..run.start + run.length * run.count].iter().map(bytes).sum();
        let definition: usize = 8 + shape.tokens.iter().map(bytes).sum::<usize>();
        let instances =
            (0..run.count).flat_map(|instance| shape.holes.iter().map(move |slot| instance * run.length + slot));
        let holes: usize = instances.map(|slot| 3 + value(self.tokens[run.start + slot]).len()).sum();
        definition + holes < plain
    }

    /// Returns the shape of a run, or `None` if equal skeleton digests were a coincidence.
    fn shape(&self, start: usize, length: usize, count: usize) -> Option<Shape<'a>> {
        let tokens = self.tokens[start..start + length].to_vec();
        let mut is_hole = vec![false; length];
        for instance in 1..count {
            let start = start + instance * length;
            for (slot, (&first, &other)) in tokens.iter().zip(self.tokens.get(start..start + length)?).enumerate() {
                is_hole[slot] |= match (first, other) {
                    (Token::Attribute(name, value), Token::Attribute(other_name, other)) if name == other_name => {
                        value != other
                    }
                    (Token::Text(text), Token::Text(other)) => text != other,
                    _ if first == other => false,
                    _ => return None,
                };
            }
        }
        let holes = (0..length).filter(|&slot| is_hole[slot]).collect();
        Some(Shape { tokens, holes })
    }
}

/// Reads nodes; keeps the shapes of the list.
#[derive(Default)]
pub(super) struct Reader<'a> {
    shapes: Vec<Read<'a>>,
}

/// A shape as read: its tokens, which of them are holes, and how many closes were left out at its end.
struct Read<'a> {
    tokens: Vec<Token<'a>>,
    holes: Vec<usize>,
    n_open: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn define(&mut self, items: &mut Items<'a, '_>) -> Result<(), DecodeError> {
        let mut shape = Read { tokens: Vec::new(), holes: Vec::new(), n_open: 0 };
        while let Some(item) = items.next() {
            let slot = shape.tokens.len();
            let mut is_hole = false;
            let token = match item {
                Item::Number(0) => {
                    is_hole = true;
                    Token::Text("")
                }
                Item::Text(text) => line::read_token(text, items, &mut |items| {
                    is_hole = items.skip_hole();
                    if is_hole { Ok("") } else { items.text() }
                })?,
                _ => return Err(items.error("a shape holds tokens and holes only")),
            };
            match token {
                Token::Element(_) => shape.n_open += 1,
                Token::Close if shape.n_open == 0 => return Err(items.error("a shape closes more than it opens")),
                Token::Close => shape.n_open -= 1,
                _ => {}
            }
            if is_hole {
                shape.holes.push(slot);
            }
            shape.tokens.push(token);
        }
        self.shapes.push(shape);
        Ok(())
    }

    pub(super) fn nodes(&self, items: &mut Items<'a, '_>) -> Result<Nodes, DecodeError> {
        let mut writer = patch::Writer::default();
        while let Some(item) = items.next() {
            match item {
                Item::Text(text) => {
                    let token = line::read_token(text, items, &mut |items| items.text())?;
                    push(&mut writer, token, items)?;
                }
                Item::Number(number) => self.expand(*number, items, &mut writer)?,
                Item::Run(..) => return Err(items.error("a token was expected, found a run")),
            }
        }
        Ok(writer.finish())
    }

    fn expand(
        &self,
        number: u32,
        items: &mut Items<'a, '_>,
        writer: &mut patch::Writer<'a>,
    ) -> Result<(), DecodeError> {
        let shape = self.shapes.get(number as usize);
        let shape = shape.ok_or_else(|| items.error(format!("shape {number} is used before it is defined")))?;
        let count = items.number()? as usize;
        items.spend(count.saturating_mul(shape.tokens.len() + shape.n_open + 1))?;
        for _ in 0..count {
            let mut holes = shape.holes.iter().peekable();
            for (slot, &token) in shape.tokens.iter().enumerate() {
                let is_hole = holes.next_if_eq(&&slot).is_some();
                let token = match token {
                    Token::Attribute(name, _) if is_hole => Token::Attribute(name, items.text()?),
                    Token::Text(_) if is_hole => Token::Text(items.text()?),
                    token => token,
                };
                push(writer, token, items)?;
            }
            (0..shape.n_open).try_for_each(|_| push(writer, Token::Close, items))?;
        }
        Ok(())
    }
}

fn push<'a>(writer: &mut patch::Writer<'a>, token: Token<'a>, items: &Items<'_, '_>) -> Result<(), DecodeError> {
    writer.push(token).map_err(|patch::OutOfPlace| items.error("a close or an attribute is out of place"))
}
