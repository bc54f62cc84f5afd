//! The names that a template takes from the state, for whoever knows which names the state has.
//!
//! A name that is bound anywhere in the template (by `set`, `for`, a macro …) passes for bound everywhere, and one that is asked about anywhere
//! (`is defined`, `default`) for known to be missing: what is told here must be worth a warning.

use super::syntax::{bodies_of, exprs_of, names_of, parts_of};
use crate::engine::{self, CallType, Expr, Stmt};
use crate::program::{Compiled, PartKind, Sources};
use crate::state::Step;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A name that a template takes from the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub name: String,
    /// The template that it stands in first.
    pub template: Arc<str>,
    /// The line there, from 1.
    pub line: u32,
}

/// What is said of names in one template.
#[derive(Default)]
struct Found<'a> {
    /// The names that are read, each with the line where it first is.
    read: BTreeMap<&'a str, u32>,
    /// The names that are bound, or known to be missing.
    excused: BTreeSet<&'a str>,
}

pub(in crate::program) fn names(sources: &Sources, compiled: &Compiled<'_>) -> Vec<Name> {
    let environment = &*sources.environment;
    let trees: Vec<_> = sources
        .texts
        .iter()
        .filter_map(|(name, source)| Some((name, engine::parse(environment, name, source).ok()?)))
        .collect();
    let found: Vec<_> = trees.iter().map(|(name, tree)| (name, Found::of(engine::statements(tree)))).collect();
    let globals: BTreeSet<&str> = environment.globals().map(|(name, _)| name).collect();
    let reached = roots(compiled);
    let mut names: Vec<Name> = Vec::new();
    for (template, of_template) in &found {
        let mut in_order: Vec<_> = of_template.read.iter().collect();
        in_order.sort_by_key(|(_, line)| **line);
        for (name, line) in in_order {
            let is_excused = found.iter().any(|(_, found)| found.excused.contains(name));
            // A block that is overridden is not reached.
            let is_reached = reached.as_ref().is_none_or(|reached| reached.contains(name));
            let is_known = globals.contains(name) || names.iter().any(|known| known.name == **name);
            if is_reached && !is_excused && !is_known {
                names.push(Name { name: (*name).to_owned(), template: template.as_str().into(), line: *line });
            }
        }
    }
    names
}

/// The names at the beginning of all paths that are read; `None` if that is not known.
fn roots<'c>(compiled: &'c Compiled<'_>) -> Option<BTreeSet<&'c str>> {
    let mut parts = compiled.bodies.iter().flat_map(|body| &body.parts);
    let is_whole = parts.any(|part| matches!(&part.kind, PartKind::Opaque(opaque) if opaque.code.is_none()));
    let root = |steps: &'c [Step]| match steps.first() {
        Some(Step::Key(key)) => Some(&**key),
        _ => None,
    };
    (!is_whole).then(|| compiled.paths.iter().filter_map(|path| root(path.steps())).collect())
}

impl<'a> Found<'a> {
    fn of(stmts: &[Stmt<'a>]) -> Found<'a> {
        let mut found = Found::default();
        // What the engine itself gives.
        found.excused.extend(["loop", "self", "super", "caller"]);
        found.add_all(stmts);
        found
    }

    fn add_all(&mut self, stmts: &[Stmt<'a>]) {
        for stmt in stmts {
            self.excused.extend(bound(stmt));
            exprs_of(stmt).into_iter().for_each(|expr| self.add(expr));
            bodies_of(stmt).into_iter().for_each(|inner| self.add_all(inner));
        }
    }

    fn add(&mut self, expr: &Expr<'a>) {
        match expr {
            Expr::Var(var) => {
                let line = u32::from(var.span().start_line);
                self.read.entry(var.id).and_modify(|first| *first = line.min(*first)).or_insert(line);
            }
            Expr::Test(test) if ["defined", "undefined"].contains(&test.name) => self.excuse(&test.expr),
            Expr::Filter(filter) if ["default", "d"].contains(&filter.name) => {
                filter.expr.iter().for_each(|expr| self.excuse(expr));
            }
            // A function that is missing is an error, and told as that.
            Expr::Call(call) => {
                if let CallType::Function(name) = call.identify_call() {
                    self.excused.insert(name);
                }
            }
            _ => {}
        }
        parts_of(expr).into_iter().for_each(|part| self.add(part));
    }

    fn excuse(&mut self, expr: &Expr<'a>) {
        if let Expr::Var(var) = expr {
            self.excused.insert(var.id);
        }
    }
}

/// The names that a statement binds.
fn bound<'a>(stmt: &Stmt<'a>) -> Vec<&'a str> {
    match stmt {
        Stmt::ForLoop(of) => names_of(&of.target),
        Stmt::Set(of) => names_of(&of.target),
        Stmt::SetBlock(of) => names_of(&of.target),
        Stmt::WithBlock(of) => of.assignments.iter().flat_map(|(target, _)| names_of(target)).collect(),
        Stmt::Macro(of) => std::iter::once(of.name).chain(of.args.iter().flat_map(names_of)).collect(),
        Stmt::CallBlock(of) => of.macro_decl.args.iter().flat_map(names_of).collect(),
        Stmt::Import(of) => names_of(&of.name),
        Stmt::FromImport(of) => {
            of.names.iter().flat_map(|(name, alias)| names_of(alias.as_ref().unwrap_or(name))).collect()
        }
        _ => Vec::new(),
    }
}
