//! Variables around a loop that its body only compares with a key of the item, as in `row.id == selected`.

use super::expr::{Comparison, Expr, ReadFrom};
use super::{Bits, Body, BodyId, PartKind, Reads};
use crate::state::{Path, State, Step, meet};

/// A path of the state that a loop's body reads only to ask whether it equals a part of the item.
#[derive(Debug)]
pub(crate) struct Compared {
    /// The number of the path.
    pub(crate) path: usize,
    /// The way from the item to what it is compared with.
    key: Box<[Step]>,
}

impl Compared {
    /// Whether a change at `rest` of an item may be one of its key.
    pub(crate) fn meets(&self, rest: &[Step]) -> bool {
        meet(rest, &self.key)
    }

    /// What an item's part is, if it is plainly there.
    pub(crate) fn key<'a>(&self, item: &'a State) -> Option<&'a State> {
        self.key.iter().try_fold(item, |state, step| match (state, step) {
            (State::Map(map), Step::Key(key)) => map.get(key),
            (State::List(list), Step::Index(idx)) => list.get(*idx),
            _ => None,
        })
    }
}

/// Those of the paths that a loop's body reads which are only compared; `item` is the variable of the loop.
pub(super) fn compared((bodies, paths): (&[Body], &[Path]), body: BodyId, outer: &Reads, item: usize) -> Vec<Compared> {
    let numbers = (0..paths.len().min(Bits::SHARED)).filter(|path| outer.paths.contains(*path));
    let compared = numbers.filter_map(|path| {
        let mut search = Search { bodies, paths, path, item, key: None };
        let is_only_compared = search.in_body(body);
        Some(Compared { path, key: search.key.filter(|_| is_only_compared)?.into() })
    });
    compared.collect()
}

/// A look for all reads of a path.
struct Search<'a> {
    bodies: &'a [Body],
    paths: &'a [Path],
    path: usize,
    item: usize,
    /// What all reads so far compare the path with.
    key: Option<&'a [Step]>,
}

impl<'a> Search<'a> {
    /// Whether a body reads the path only to compare it.
    fn in_body(&mut self, body: BodyId) -> bool {
        let (bodies, path) = (self.bodies, self.path);
        let mut readers = bodies[body as usize].parts.iter().filter(|part| part.reads.paths.contains(path));
        readers.all(|part| match &part.kind {
            PartKind::Hole(hole) => self.in_expr(&hole.expr),
            PartKind::Let(of) => self.in_expr(&of.expr),
            PartKind::If(of) => {
                of.tests.iter().all(|test| self.in_expr(test)) && of.bodies.iter().all(|body| self.in_body(*body))
            }
            PartKind::For(_) | PartKind::Opaque(_) => false,
        })
    }

    fn in_expr(&mut self, expr: &'a Expr) -> bool {
        match expr {
            Expr::Compare(Comparison::Equal | Comparison::Unequal, pair) => match (&pair.0, &pair.1) {
                (Expr::Path(ReadFrom::Local(local), key, _), Expr::Path(ReadFrom::State, path, _))
                | (Expr::Path(ReadFrom::State, path, _), Expr::Path(ReadFrom::Local(local), key, _))
                    if self.is_path(path) =>
                {
                    *local == self.item && **self.key.get_or_insert(key) == **key
                }
                (left, right) => self.in_expr(left) && self.in_expr(right),
            },
            Expr::Path(ReadFrom::State, path, _) => !self.is_path(path),
            Expr::Path(ReadFrom::Local(_), ..) | Expr::Const(_) | Expr::Loop(..) => true,
            Expr::Not(inner) => self.in_expr(inner),
            Expr::And(pair) | Expr::Or(pair) | Expr::Compare(_, pair) => self.in_expr(&pair.0) && self.in_expr(&pair.1),
            Expr::Choose(of) => self.in_expr(&of.0) && self.in_expr(&of.1) && self.in_expr(&of.2),
            Expr::Code(_) => false,
        }
    }

    fn is_path(&self, path: &[Step]) -> bool {
        self.paths[self.path].steps() == path
    }
}
