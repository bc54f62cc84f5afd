//! Code that the engine runs: for expressions that are not understood, and for opaque parts.
//!
//! Which declarations it needs, what it reads, and whether it may be something else the next time.

use super::syntax::{self, names_templates, only_cycles};
use super::{Compiler, File, Meaning, Place, Whole};
use crate::engine::{self, Code, Stmt};
use crate::program::{Captured, EngineCode, Reads};
use std::collections::{BTreeMap, BTreeSet};

/// Functions of the engine whose value depends on nothing but their arguments.
const PURE_FUNCTIONS: [&str; 2] = ["range", "dict"];

/// The engine's filters and tests, all pure.
const FILTERS: &[&str] = &[
    "safe",
    "escape",
    "e",
    "lower",
    "upper",
    "title",
    "capitalize",
    "replace",
    "length",
    "count",
    "dictsort",
    "items",
    "reverse",
    "trim",
    "join",
    "split",
    "lines",
    "default",
    "d",
    "round",
    "abs",
    "int",
    "float",
    "attr",
    "first",
    "last",
    "min",
    "max",
    "sort",
    "list",
    "string",
    "bool",
    "batch",
    "slice",
    "sum",
    "indent",
    "select",
    "reject",
    "selectattr",
    "rejectattr",
    "map",
    "groupby",
    "unique",
    "chain",
    "zip",
    "pprint",
    "tojson",
    "urlencode",
];
const TESTS: &[&str] = &[
    "undefined",
    "defined",
    "none",
    "safe",
    "escaped",
    "boolean",
    "odd",
    "even",
    "divisibleby",
    "number",
    "integer",
    "int",
    "float",
    "string",
    "sequence",
    "iterable",
    "mapping",
    "startingwith",
    "endingwith",
    "lower",
    "upper",
    "sameas",
    "eq",
    "equalto",
    "==",
    "ne",
    "!=",
    "lt",
    "lessthan",
    "<",
    "le",
    "<=",
    "gt",
    "greaterthan",
    ">",
    "ge",
    ">=",
    "in",
    "true",
    "false",
    "filter",
    "test",
];
/// Filters that call a filter or a test by a name that they are given.
const CALLING_FILTERS: [&str; 5] = ["select", "reject", "selectattr", "rejectattr", "map"];

impl<'x, 'a> Compiler<'x, 'a> {
    /// Code for statements, or for an expression after them.
    pub(super) fn code(
        &mut self,
        stmts: &'x [Stmt<'a>],
        expr: Option<&'x engine::Expr<'a>>,
        place: Place<'_, 'x, 'a>,
    ) -> Result<(usize, Reads), Whole> {
        let File { name, source } = place.file;
        let make = |before: &[&Stmt<'a>]| match expr {
            Some(expr) => Code::of_expr(name, source, &before.iter().copied().chain(stmts).collect::<Vec<_>>(), expr),
            None => Code::of_statements(name, source, before.iter().copied().chain(stmts)),
        };
        let mut facts = make(&[]).facts();
        if facts.sets_attributes || facts.functions.contains("namespace") {
            return Err(Whole("a namespace is used".into()));
        }
        if facts.functions.contains("debug") {
            return Err(Whole("`debug()` prints everything".into()));
        }
        if facts.has_blocks || facts.functions.contains("super") {
            return Err(Whole("a block stands in a part that is opaque".into()));
        }
        // The declarations that it needs, and those that these need.
        let mut needed = BTreeSet::new();
        let mut reads = Reads::default();
        let mut names: Vec<Vec<&'a str>> = facts.lookups.iter().cloned().collect();
        names.extend(facts.functions.iter().chain(&facts.enclosed).map(|name| vec![*name]));
        // Another template may call any of them: the macros of a template share one closure, in which is what any of them takes along.
        let declared = self.names.iter().filter(|(_, meaning)| matches!(meaning, Meaning::Declared(_)));
        let declared: Vec<Vec<&'a str>> = declared.map(|(name, _)| vec![*name]).collect();
        if facts.names_templates {
            names.extend(declared.clone());
        }
        let mut captures = BTreeMap::new();
        while let Some(path) = names.pop() {
            match self.meaning(path[0]) {
                Some(Meaning::Declared(id)) => {
                    if !needed.insert(id) {
                        continue;
                    }
                    let declaration = &self.declarations[id];
                    for (name, meaning) in &declaration.enclosed {
                        if self.meaning(name) != *meaning && *meaning != Some(Meaning::Declared(id)) {
                            // A macro that calls itself finds itself declared later.
                            let is_itself = self.meaning(name) == Some(Meaning::Declared(id));
                            if !is_itself {
                                return Err(Whole(format!(
                                    "a macro reads `{name}`, which means something else where the macro is called"
                                )));
                            }
                        }
                        names.push(vec![name]);
                    }
                    let of = &declaration.facts;
                    if of.sets_attributes || of.functions.contains("namespace") {
                        return Err(Whole("a namespace is used".into()));
                    }
                    if of.functions.contains("debug") {
                        return Err(Whole("`debug()` prints everything".into()));
                    }
                    facts.functions.extend(&of.functions);
                    facts.filters.extend(&of.filters);
                    facts.tests.extend(&of.tests);
                    facts.calls_values |= of.calls_values;
                    if of.names_templates && !facts.names_templates {
                        facts.names_templates = true;
                        names.extend(declared.clone());
                    }
                }
                Some(Meaning::Local(local)) => {
                    reads.locals.insert(local);
                    captures.insert(path[0], Captured::Local(local));
                }
                Some(Meaning::Loop(level)) => {
                    captures.insert(path[0], Captured::Loop(level));
                    let (local, reads_position, reads_length) = &mut self.loop_reads[level];
                    reads.locals.insert(*local);
                    (*reads_position, *reads_length) = (true, true);
                }
                // Even the name of a function: the state may hide it.
                None => self.read_path(&path, &mut reads),
            }
        }
        let is_known = |function: &str| {
            PURE_FUNCTIONS.contains(&function)
                || function == "caller"
                || self.templates.is_pure(function)
                || matches!(self.meaning(function), Some(Meaning::Declared(_)))
        };
        let is_known_filter = |name: &str| {
            self.templates.is_pure(name)
                || crate::filters::NAMES.contains(&name)
                || FILTERS.contains(&name) && (!CALLING_FILTERS.contains(&name) || !self.templates.is_configured())
        };
        let is_pure = facts.functions.iter().all(|function| is_known(function))
            && facts.filters.iter().all(|name| is_known_filter(&name.replace(char::is_whitespace, "")))
            && facts.tests.iter().all(|name| TESTS.contains(name) || self.templates.is_pure(name));
        let calls_known = !facts.calls_values || needed.is_empty() && only_cycles(stmts, expr);
        reads.is_volatile = !is_pure || facts.names_templates || !calls_known;
        if reads.is_volatile {
            // Other templates, and functions that look names up, may read any name.
            for (idx, (name, meaning)) in self.names.iter().enumerate() {
                let is_hidden = self.names[idx + 1..].iter().any(|(other, _)| other == name);
                match meaning {
                    _ if is_hidden => {}
                    Meaning::Local(local) => _ = captures.insert(name, Captured::Local(*local)),
                    Meaning::Loop(level) => _ = captures.insert(name, Captured::Loop(*level)),
                    Meaning::Declared(_) => {}
                }
            }
            for (_, reads_position, reads_length) in &mut self.loop_reads {
                (*reads_position, *reads_length) = (true, true);
            }
        }
        // In a macro, another template sees the state, not the variables around the macro; code has these in its state.
        let mut all = stmts.iter().chain(needed.iter().map(|id| self.declarations[*id].stmt));
        if !captures.is_empty() && all.any(|stmt| names_templates(stmt, false)) {
            return Err(Whole("a macro names another template".into()));
        }
        let mut left_out = BTreeSet::new();
        syntax::left_out(stmts, false, &mut left_out);
        for id in &needed {
            syntax::left_out(std::slice::from_ref(self.declarations[*id].stmt), false, &mut left_out);
        }
        for name in left_out {
            if captures.contains_key(name) {
                return Err(Whole(format!("a macro reads `{name}` in a way that the engine does not follow")));
            }
            self.read_path(&[name], &mut reads);
        }
        let before: Vec<&Stmt<'a>> = needed.iter().map(|id| self.declarations[*id].stmt).collect();
        let captures = captures.into_iter().map(|(name, captured)| (name.into(), captured)).collect();
        let code = EngineCode { code: make(&before), escape: self.escape.clone(), captures };
        self.compiled.codes.push(code);
        Ok((self.compiled.codes.len() - 1, reads))
    }
}
