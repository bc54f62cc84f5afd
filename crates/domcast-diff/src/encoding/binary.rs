//! Lines as bytes.
//!
//! The byte 1 (the version), then the lines. A line is the position of its operation in the table of PROTOCOL.md,
//! section 3, as one byte; then its fixed items; then, where any number may follow, their count and the items with a tag.
//!
//! | what | bytes |
//! |---|---|
//! | number | LEB128 varint: 7 bits a byte, low bits first, the high bit set on all but the last |
//! | text | its length in UTF-8 bytes as a varint, then the bytes |
//! | tagged number `n` | varint `4n` |
//! | tagged text | varint `4 x length + 1`, then the bytes |
//! | tagged run | varint `4 x first + 2`, then the step as a zigzag varint, then the count as a varint |
//! | tagged text that is in the table below | varint `4 x its position + 3` |
//!
//! The table holds the tokens that pages are made of: [`COMMON`], in this order, from 0.

use super::DecodeError;
use super::line::{Item, Line, Op};

const VERSION: u8 = 1;

/// Tokens that take one byte. The order is part of the format: a new version may add, never reorder.
const COMMON: [&str; 32] = [
    "/",
    "@class",
    "@id",
    "@href",
    "@style",
    "@type",
    "@value",
    "@name",
    "@src",
    "@title",
    "@dc-click",
    "@dc-key",
    "<div",
    "<span",
    "<p",
    "<a",
    "<li",
    "<ul",
    "<tr",
    "<td",
    "<th",
    "<tbody",
    "<table",
    "<b",
    "<i",
    "<em",
    "<strong",
    "<button",
    "<input",
    "<label",
    "<option",
    "<img",
];

pub(super) fn write(lines: &[Line<'_>]) -> Vec<u8> {
    let mut out = vec![VERSION];
    for line in lines {
        let op_idx = Op::ALL.iter().position(|&op| op == line.op).expect("every operation is in the table");
        out.push(op_idx as u8);
        let (fixed, tail) = line.items.split_at(line.op.fixed().len());
        for item in fixed {
            match item {
                Item::Number(number) => write_varint(u64::from(*number), &mut out),
                Item::Text(text) => {
                    write_varint(text.len() as u64, &mut out);
                    out.extend_from_slice(text.as_bytes());
                }
                Item::Run(..) => unreachable!("a run stands only where any number of ids may"),
            }
        }
        if line.op.has_tail() {
            write_varint(tail.len() as u64, &mut out);
            tail.iter().for_each(|item| write_tagged(item, &mut out));
        }
    }
    out
}

fn write_tagged(item: &Item<'_>, out: &mut Vec<u8>) {
    match item {
        Item::Number(number) => write_varint(u64::from(*number) << 2, out),
        Item::Text(text) => match COMMON.iter().position(|common| common == text) {
            Some(idx) => write_varint((idx as u64) << 2 | 3, out),
            None => {
                write_varint((text.len() as u64) << 2 | 1, out);
                out.extend_from_slice(text.as_bytes());
            }
        },
        Item::Run(first, step, count) => {
            write_varint(u64::from(*first) << 2 | 2, out);
            write_varint((step << 1 ^ step >> 63) as u64, out);
            write_varint(u64::from(*count), out);
        }
    }
}

fn write_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Line<'_>>, DecodeError> {
    let Some((&VERSION, rest)) = bytes.split_first() else {
        let found = bytes.first().map_or("nothing".into(), |byte| format!("version {byte}"));
        return Err(DecodeError::new(0, format!("version {VERSION} was expected, found {found}")));
    };
    let mut lines: Vec<Line<'_>> = Vec::new();
    let mut reader = Reader { rest };
    while !reader.rest.is_empty() {
        let line = reader.line().map_err(|reason| DecodeError::new(lines.len(), reason))?;
        lines.push(line);
    }
    Ok(lines)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> Result<Line<'a>, &'static str> {
        let op = *Op::ALL.get(self.byte()? as usize).ok_or("there is no such operation")?;
        let mut items = Vec::with_capacity(op.fixed().len());
        for kind in op.fixed() {
            items.push(match kind {
                b'n' => Item::Number(self.number()?),
                _ => {
                    let length = self.varint()?;
                    Item::Text(self.text(length)?.into())
                }
            });
        }
        if op.has_tail() {
            let n_items = self.varint()?;
            // Every item takes at least a byte, so a count beyond the input is a lie.
            if n_items > self.rest.len() as u64 {
                return Err("the bytes end too early");
            }
            for _ in 0..n_items {
                items.push(self.tagged()?);
            }
        }
        Ok(Line { op, items })
    }

    fn tagged(&mut self) -> Result<Item<'a>, &'static str> {
        let tagged = self.varint()?;
        let narrow = |number: u64| u32::try_from(number).map_err(|_| "a number exceeds 32 bits");
        Ok(match tagged & 3 {
            0 => Item::Number(narrow(tagged >> 2)?),
            1 => Item::Text(self.text(tagged >> 2)?.into()),
            2 => {
                let step = self.varint()?;
                let step = (step >> 1) as i64 ^ -((step & 1) as i64);
                if step.unsigned_abs() > u64::from(u32::MAX) {
                    return Err("a number exceeds 32 bits");
                }
                Item::Run(narrow(tagged >> 2)?, step, self.number()?)
            }
            _ => {
                let common = usize::try_from(tagged >> 2).ok().and_then(|idx| COMMON.get(idx));
                Item::Text((*common.ok_or("there is no such entry in the table of tokens")?).into())
            }
        })
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        let (&first, rest) = self.rest.split_first().ok_or("the bytes end too early")?;
        self.rest = rest;
        Ok(first)
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("a number exceeds 64 bits")
    }

    fn number(&mut self) -> Result<u32, &'static str> {
        u32::try_from(self.varint()?).map_err(|_| "a number exceeds 32 bits")
    }

    fn text(&mut self, length: u64) -> Result<&'a str, &'static str> {
        let length = usize::try_from(length).ok().filter(|&length| length <= self.rest.len());
        let (text, rest) = self.rest.split_at(length.ok_or("the bytes end too early")?);
        self.rest = rest;
        std::str::from_utf8(text).map_err(|_| "a text is not UTF-8")
    }
}
