//! Expressions: those that need no engine, and the paths that they read.

use super::{Compiler, Meaning, Place, Whole};
use crate::engine::{self, BinOpKind, CompareOpKind, UnaryOpKind};
use crate::program::Reads;
use crate::program::expr::{Comparison, Expr, LoopField, ReadFrom};
use crate::state::{Path, State, Step};
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Value};

impl<'x, 'a> Compiler<'x, 'a> {
    pub(super) fn read_path(&mut self, keys: &[&str], reads: &mut Reads) {
        let path: Path = keys.iter().map(|key| Step::from(*key)).collect();
        self.read(path, reads);
    }

    fn read(&mut self, path: Path, reads: &mut Reads) {
        let next = self.compiled.paths.len();
        let id = *self.path_ids.entry(path.clone()).or_insert(next);
        if id == next {
            self.compiled.paths.push(path);
        }
        reads.paths.insert(id);
    }

    pub(super) fn expr(
        &mut self,
        expr: &'x engine::Expr<'a>,
        place: Place<'_, 'x, 'a>,
        reads: &mut Reads,
    ) -> Result<Expr, Whole> {
        let mut own_reads = Reads::default();
        if let Some(own) = self.own_expr(expr, &mut own_reads) {
            reads.add(&own_reads);
            return Ok(own);
        }
        let (code, code_reads) = self.code(&[], Some(expr), place)?;
        reads.add(&code_reads);
        Ok(Expr::Code(code))
    }

    /// An expression that needs no engine.
    fn own_expr(&mut self, expr: &engine::Expr<'a>, reads: &mut Reads) -> Option<Expr> {
        use engine::Expr as E;
        if let Some(value) = expr.as_const() {
            return constant(value);
        }
        Some(match expr {
            E::Var(_) | E::GetItem(_) => self.own_path(expr, reads)?,
            E::GetAttr(attr) => match &attr.expr {
                E::Var(var) if matches!(self.meaning(var.id), Some(Meaning::Loop(_))) => {
                    let Some(Meaning::Loop(level)) = self.meaning(var.id) else { return None };
                    let field = LoopField::named(attr.name)?;
                    let (local, reads_position, reads_length) = &mut self.loop_reads[level];
                    *reads_position |= field.reads_position();
                    *reads_length |= field.reads_length();
                    reads.locals.insert(*local);
                    Expr::Loop(level, field)
                }
                _ => self.own_path(expr, reads)?,
            },
            E::UnaryOp(op) if matches!(op.op, UnaryOpKind::Not) => Expr::Not(Box::new(self.own_expr(&op.expr, reads)?)),
            E::BinOp(op) => {
                let pair = |this: &mut Self, reads: &mut Reads| {
                    Some(Box::new((this.own_expr(&op.left, reads)?, this.own_expr(&op.right, reads)?)))
                };
                match op.op {
                    BinOpKind::ScAnd => Expr::And(pair(self, reads)?),
                    BinOpKind::ScOr => Expr::Or(pair(self, reads)?),
                    BinOpKind::Eq => Expr::Compare(Comparison::Equal, pair(self, reads)?),
                    BinOpKind::Ne => Expr::Compare(Comparison::Unequal, pair(self, reads)?),
                    BinOpKind::Lt => Expr::Compare(Comparison::Less, pair(self, reads)?),
                    BinOpKind::Lte => Expr::Compare(Comparison::LessOrEqual, pair(self, reads)?),
                    BinOpKind::Gt => Expr::Compare(Comparison::Greater, pair(self, reads)?),
                    BinOpKind::Gte => Expr::Compare(Comparison::GreaterOrEqual, pair(self, reads)?),
                    _ => return None,
                }
            }
            E::Compare(compare) => {
                let [op] = &compare.ops[..] else { return None };
                let comparison = match op.op {
                    CompareOpKind::Eq => Comparison::Equal,
                    CompareOpKind::Ne => Comparison::Unequal,
                    CompareOpKind::Lt => Comparison::Less,
                    CompareOpKind::Lte => Comparison::LessOrEqual,
                    CompareOpKind::Gt => Comparison::Greater,
                    CompareOpKind::Gte => Comparison::GreaterOrEqual,
                    _ => return None,
                };
                let pair = (self.own_expr(&compare.expr, reads)?, self.own_expr(&op.expr, reads)?);
                Expr::Compare(comparison, Box::new(pair))
            }
            E::IfExpr(choice) => Expr::Choose(Box::new((
                self.own_expr(&choice.test_expr, reads)?,
                self.own_expr(&choice.true_expr, reads)?,
                self.own_expr(choice.false_expr.as_ref()?, reads)?,
            ))),
            _ => return None,
        })
    }

    fn own_path(&mut self, expr: &engine::Expr<'a>, reads: &mut Reads) -> Option<Expr> {
        use engine::Expr as E;
        let mut steps = Vec::new();
        let mut inner = expr;
        let name = loop {
            match inner {
                E::Var(var) => break var.id,
                E::GetAttr(attr) => {
                    steps.push(Step::from(attr.name));
                    inner = &attr.expr;
                }
                E::GetItem(item) => {
                    let subscript = item.subscript_expr.as_const()?;
                    steps.push(match (subscript.kind(), subscript.as_str()) {
                        (ValueKind::String, Some(key)) => Step::from(key),
                        (ValueKind::Number, _) if subscript.is_integer() => Step::Index(subscript.as_usize()?),
                        _ => return None,
                    });
                    inner = &item.expr;
                }
                _ => return None,
            }
        };
        match self.meaning(name) {
            Some(Meaning::Local(local)) => {
                steps.reverse();
                reads.locals.insert(local);
                Some(Expr::Path(ReadFrom::Local(local), steps.into(), self.next_field()))
            }
            None if !self.globals.contains(name) && !["loop", "self", "super", "caller"].contains(&name) => {
                steps.push(Step::from(name));
                steps.reverse();
                self.read(steps.iter().cloned().collect(), reads);
                Some(Expr::Path(ReadFrom::State, steps.into(), self.next_field()))
            }
            _ => None,
        }
    }

    /// A number for what a path remembers while it is evaluated.
    fn next_field(&mut self) -> u32 {
        self.compiled.n_fields += 1;
        self.compiled.n_fields - 1
    }

    /// What an `autoescape` with a constant sets.
    pub(super) fn autoescape(&self, enabled: &engine::Expr<'a>) -> Option<AutoEscape> {
        let value = enabled.as_const()?;
        match (value.as_str(), value.kind()) {
            (Some("html"), _) => Some(AutoEscape::Html),
            (Some("none"), _) => Some(AutoEscape::None),
            (None, ValueKind::Bool) if !value.is_true() => Some(AutoEscape::None),
            // What `true` means depends on the escaping where the engine began to run.
            (None, ValueKind::Bool) if self.escape == AutoEscape::Html => Some(AutoEscape::Html),
            _ => None,
        }
    }
}

fn constant(value: Value) -> Option<Expr> {
    let is_scalar = matches!(value.kind(), ValueKind::None | ValueKind::Bool | ValueKind::Number | ValueKind::String);
    (is_scalar && !value.is_safe()).then(|| Expr::Const(State::from_value(value)))
}
