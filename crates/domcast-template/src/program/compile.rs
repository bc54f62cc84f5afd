//! A syntax tree to bodies.
//!
//! What a name means is decided here, as the engine decides it when it runs: a `for`, a `with`, a block and a macro have
//! names of their own; an `if`, an `autoescape` and an include do not. So a `set` in an `if` binds a name for all that
//! follows, or does not: from there on the body is one opaque part, as it is where a name may come from a template that
//! is not known. Where even that would not do (a namespace, which any region could change; a macro that reads a name that
//! means something else where it is called) the whole template is one opaque part.
//!
//! Macros and imports print nothing where they stand. Code that calls one has its declaration before it.

use super::compared::compared;
use super::expr::{Comparison, Expr, LoopField, ReadFrom};
use super::*;
use crate::engine::{self, BinOpKind, CallArg, CallType, CompareOpKind, Facts, ForLoop, IfCond, Stmt, UnaryOpKind};
use crate::state::{State, Step};
use minijinja::value::ValueKind;
use minijinja::{Error, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How deep includes and blocks are resolved. The engine ends recursion too, but later.
const MAX_DEPTH: usize = 24;

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

/// The template and those that it names by constants, with their texts.
pub(super) fn texts(environment: &Environment<'static>, name: &str) -> Result<Vec<(String, String)>, Error> {
    let root = environment.get_template(name)?;
    let mut texts = vec![(name.to_owned(), root.source().to_owned())];
    let mut idx = 0;
    while idx < texts.len() {
        let (name, source) = texts[idx].clone();
        let tree = engine::parse(environment, &name, &source)?;
        let mut named = Vec::new();
        names_of_templates(engine::statements(&tree), &mut named);
        for other in named {
            let is_known = texts.iter().any(|(name, _)| *name == other);
            if let (false, Ok(template)) = (is_known, environment.get_template(&other)) {
                let source = template.source().to_owned();
                texts.push((other, source));
            }
        }
        idx += 1;
    }
    Ok(texts)
}

fn names_of_templates(stmts: &[Stmt<'_>], names: &mut Vec<String>) {
    for stmt in stmts {
        match stmt {
            Stmt::Extends(extends) => names.extend(constant_text(&extends.name)),
            Stmt::Include(include) => names.extend(constant_text(&include.name)),
            Stmt::Import(import) => names.extend(constant_text(&import.expr)),
            Stmt::FromImport(import) => names.extend(constant_text(&import.expr)),
            _ => {}
        }
        for inner in bodies_of(stmt) {
            names_of_templates(inner, names);
        }
    }
}

/// Whether another template is named in a macro.
fn names_templates(stmt: &Stmt<'_>, is_in_macro: bool) -> bool {
    let is_macro = matches!(stmt, Stmt::Macro(_) | Stmt::CallBlock(_));
    let names_one = matches!(stmt, Stmt::Include(_) | Stmt::Import(_) | Stmt::FromImport(_));
    is_in_macro && names_one
        || bodies_of(stmt).into_iter().flatten().any(|stmt| names_templates(stmt, is_in_macro || is_macro))
}

/// The statements in a statement.
fn bodies_of<'x, 'a>(stmt: &'x Stmt<'a>) -> Vec<&'x [Stmt<'a>]> {
    match stmt {
        Stmt::Template(template) => vec![&template.children],
        Stmt::ForLoop(for_loop) => vec![&for_loop.body, &for_loop.else_body],
        Stmt::IfCond(if_cond) => vec![&if_cond.true_body, &if_cond.false_body],
        Stmt::WithBlock(with) => vec![&with.body],
        Stmt::SetBlock(set) => vec![&set.body],
        Stmt::AutoEscape(escape) => vec![&escape.body],
        Stmt::FilterBlock(filter) => vec![&filter.body],
        Stmt::Block(block) => vec![&block.body],
        Stmt::Macro(of) => vec![&of.body],
        Stmt::CallBlock(call) => vec![&call.macro_decl.body],
        _ => Vec::new(),
    }
}

/// The expressions of a statement, without those in its bodies.
fn exprs_of<'x, 'a>(stmt: &'x Stmt<'a>) -> Vec<&'x engine::Expr<'a>> {
    match stmt {
        Stmt::EmitExpr(emit) => vec![&emit.expr],
        Stmt::ForLoop(for_loop) => std::iter::once(&for_loop.iter).chain(&for_loop.filter_expr).collect(),
        Stmt::IfCond(if_cond) => vec![&if_cond.expr],
        Stmt::WithBlock(with) => with.assignments.iter().map(|(_, expr)| expr).collect(),
        Stmt::Set(set) => vec![&set.target, &set.expr],
        Stmt::SetBlock(set) => std::iter::once(&set.target).chain(&set.filter).collect(),
        Stmt::AutoEscape(escape) => vec![&escape.enabled],
        Stmt::FilterBlock(filter) => vec![&filter.filter],
        Stmt::Macro(of) => of.defaults.iter().collect(),
        Stmt::CallBlock(call) => {
            let args = call.call.args.iter().map(argument);
            std::iter::once(&call.call.expr).chain(args).chain(&call.macro_decl.defaults).collect()
        }
        Stmt::Include(include) => vec![&include.name],
        Stmt::Extends(extends) => vec![&extends.name],
        Stmt::Import(import) => vec![&import.expr],
        Stmt::FromImport(import) => vec![&import.expr],
        Stmt::Do(call) => std::iter::once(&call.call.expr).chain(call.call.args.iter().map(argument)).collect(),
        _ => Vec::new(),
    }
}

fn argument<'x, 'a>(argument: &'x CallArg<'a>) -> &'x engine::Expr<'a> {
    match argument {
        CallArg::Pos(expr) | CallArg::Kwarg(_, expr) | CallArg::PosSplat(expr) | CallArg::KwargSplat(expr) => expr,
    }
}

/// The expressions in an expression.
fn parts_of<'x, 'a>(expr: &'x engine::Expr<'a>) -> Vec<&'x engine::Expr<'a>> {
    use engine::Expr as E;
    match expr {
        E::Var(_) | E::Const(_) => Vec::new(),
        E::Slice(slice) => {
            std::iter::once(&slice.expr).chain(&slice.start).chain(&slice.stop).chain(&slice.step).collect()
        }
        E::UnaryOp(op) => vec![&op.expr],
        E::BinOp(op) => vec![&op.left, &op.right],
        E::Compare(compare) => std::iter::once(&compare.expr).chain(compare.ops.iter().map(|op| &op.expr)).collect(),
        E::IfExpr(choice) => [&choice.test_expr, &choice.true_expr].into_iter().chain(&choice.false_expr).collect(),
        E::Filter(filter) => filter.expr.iter().chain(filter.args.iter().map(argument)).collect(),
        E::Test(test) => std::iter::once(&test.expr).chain(test.args.iter().map(argument)).collect(),
        E::GetAttr(attr) => vec![&attr.expr],
        E::GetItem(item) => vec![&item.expr, &item.subscript_expr],
        E::Call(call) => std::iter::once(&call.expr).chain(call.args.iter().map(argument)).collect(),
        E::List(list) => list.items.iter().collect(),
        E::Tuple(tuple) => tuple.items.iter().collect(),
        E::Map(map) => map.keys.iter().chain(&map.values).collect(),
    }
}

fn constant_text(expr: &engine::Expr<'_>) -> Option<String> {
    expr.as_const().and_then(|value| value.as_str().map(str::to_owned))
}

/// Why the whole template is opaque.
struct Whole(String);

/// A template's file.
#[derive(Clone, Copy)]
struct File<'a> {
    name: &'a str,
    source: &'a str,
}

/// The blocks of a template and of those that it extends, by name, the overriding ones first.
type Blocks<'x, 'a> = BTreeMap<&'a str, Vec<(File<'a>, &'x [Stmt<'a>], bool)>>;

/// Where a statement stands.
#[derive(Clone, Copy)]
struct Place<'y, 'x, 'a> {
    file: File<'a>,
    blocks: &'y Blocks<'x, 'a>,
    /// The block around it, and how many of its overriders were passed by `super()`.
    block: Option<(&'a str, usize)>,
    /// Whether statements after this body see the names that it binds.
    shares_names: bool,
    depth: usize,
}

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meaning {
    Local(usize),
    Loop(usize),
    /// A macro, or what an import brought.
    Declared(usize),
}

/// A macro or an import.
struct Declaration<'x, 'a> {
    stmt: &'x Stmt<'a>,
    facts: Facts<'a>,
    /// What the names that it takes from around it mean there.
    enclosed: Vec<(&'a str, Option<Meaning>)>,
}

struct Compiler<'x, 'a> {
    environment: &'a Environment<'static>,
    templates: &'a Templates,
    trees: &'x HashMap<&'a str, (File<'a>, Stmt<'a>)>,
    globals: BTreeSet<String>,
    compiled: Compiled<'a>,
    path_ids: HashMap<Path, usize>,
    names: Vec<(&'a str, Meaning)>,
    n_locals: usize,
    n_loops: usize,
    /// Whether each loop around reads `loop`'s position and length.
    loop_reads: Vec<(usize, bool, bool)>,
    declarations: Vec<Declaration<'x, 'a>>,
    escape: AutoEscape,
}

/// Compiles the template; one that is not understood becomes one opaque part.
pub(super) fn compile(sources: &Sources) -> Compiled<'_> {
    let environment = &*sources.environment;
    let mut trees = HashMap::new();
    for (name, source) in &sources.texts {
        let tree = engine::parse(environment, name, source).expect("the texts were parsed when they were collected");
        trees.insert(name.as_str(), (File { name, source }, tree));
    }
    let globals = environment.globals().map(|(name, _)| name.to_owned()).collect();
    let mut compiler = Compiler {
        environment,
        templates: &sources.templates,
        trees: &trees,
        globals,
        compiled: Compiled { bodies: Vec::new(), codes: Vec::new(), paths: Vec::new() },
        path_ids: HashMap::new(),
        names: Vec::new(),
        n_locals: 0,
        n_loops: 0,
        loop_reads: Vec::new(),
        declarations: Vec::new(),
        escape: engine::escape_of(environment, &sources.name),
    };
    let compiled = match engine::prints_as_usual(environment) {
        true => compiler.template(&sources.name, 0),
        false => Err(Whole("the engine has a formatter of its own".into())),
    };
    match compiled {
        Ok(parts) => {
            // The bodies inside were made before the one around them.
            let root = compiler.finish_body(parts, 0);
            compiler.compiled.bodies[0] = root;
            compiler.compiled
        }
        Err(Whole(reason)) => whole(&sources.name, reason),
    }
}

fn whole<'a>(name: &str, reason: String) -> Compiled<'a> {
    let reads = Reads { is_volatile: true, ..Reads::default() };
    let kind = PartKind::Opaque(Opaque { code: None });
    let part = Part { kind, template: name.into(), line: 1, reads, note: reason.into() };
    let body = Body { parts: vec![part], key: None, reads, n_locals: 0 };
    Compiled { bodies: vec![body], codes: Vec::new(), paths: Vec::new() }
}

impl<'x, 'a> Compiler<'x, 'a> {
    /// The parts of a template: those of the one that it extends at last, with its own blocks.
    fn template(&mut self, name: &str, depth: usize) -> Result<Vec<Part>, Whole> {
        if self.compiled.bodies.is_empty() {
            self.compiled.bodies.push(Body { parts: Vec::new(), key: None, reads: Reads::default(), n_locals: 0 });
        }
        let mut parts = Vec::new();
        self.inline_template(name, depth, &mut parts)?;
        Ok(parts)
    }

    fn inline_template(&mut self, name: &str, depth: usize, parts: &mut Vec<Part>) -> Result<(), Whole> {
        if depth > MAX_DEPTH {
            return Err(Whole(format!("templates name each other more than {MAX_DEPTH} deep")));
        }
        let trees = self.trees;
        let mut chain: Vec<(File<'a>, &'x [Stmt<'a>], Option<usize>)> = Vec::new();
        let mut next = Some(name.to_owned());
        while let Some(name) = next.take() {
            let Some((file, tree)) = trees.get(name.as_str()) else {
                return Err(Whole(format!("extends the template `{name}`, which is missing")));
            };
            if chain.iter().any(|(seen, ..)| seen.name == file.name) {
                return Err(Whole(format!("`{name}` extends itself")));
            }
            let stmts = engine::statements(tree);
            let mut extends = stmts.iter().enumerate().filter_map(|(idx, stmt)| match stmt {
                Stmt::Extends(extends) => Some((idx, extends)),
                _ => None,
            });
            let first = extends.next();
            if extends.next().is_some() || stmts.iter().any(|stmt| bodies_of(stmt).into_iter().any(has_extends)) {
                return Err(Whole("`extends` is not at the top".into()));
            }
            if let Some((_, extends)) = first {
                next = Some(constant_text(&extends.name).ok_or_else(|| Whole("`extends` names no constant".into()))?);
            }
            chain.push((*file, stmts, first.map(|(idx, _)| idx)));
        }
        let mut blocks = Blocks::new();
        for (file, stmts, _) in &chain {
            let mut own = BTreeMap::new();
            collect_blocks(stmts, *file, &mut own);
            for (name, block) in own {
                blocks.entry(name).or_default().push(block);
            }
        }
        // Blocks live as long as the bodies that are made of them, and these are made before this returns.
        let blocks = &blocks;
        for (file, stmts, extends) in chain {
            let shares_names = extends.is_some() || depth > 0;
            let place = Place { file, blocks, block: None, shares_names, depth };
            let n_printed = extends.unwrap_or(stmts.len());
            self.inline(&stmts[..n_printed], place, parts)?;
            for stmt in stmts.iter().skip(n_printed + 1) {
                match stmt {
                    Stmt::EmitRaw(_) | Stmt::Block(_) => {}
                    Stmt::Set(_) | Stmt::SetBlock(_) | Stmt::Macro(_) | Stmt::Import(_) | Stmt::FromImport(_) => {
                        self.inline(std::slice::from_ref(stmt), place, parts)?;
                    }
                    _ => {
                        return Err(Whole("there is code beside the blocks of a template that extends another".into()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds the parts of statements to a body.
    fn inline(&mut self, stmts: &'x [Stmt<'a>], place: Place<'_, 'x, 'a>, parts: &mut Vec<Part>) -> Result<(), Whole> {
        for (idx, stmt) in stmts.iter().enumerate() {
            if let Some(reason) = self.leak(stmt, place.depth) {
                if place.shares_names {
                    return Err(Whole(reason));
                }
                return self.opaque(&stmts[idx..], place, &reason, parts);
            }
            match stmt {
                Stmt::EmitRaw(raw) => push_text(raw.raw, place.file, stmt, parts),
                Stmt::EmitExpr(emit) => match super_level(&emit.expr, place) {
                    Some(Err(whole)) => return Err(whole),
                    Some(Ok(level)) => {
                        let (name, _) = place.block.expect("`super()` stands in a block");
                        self.inline_block(name, level, place, parts)?;
                    }
                    None => self.hole(&emit.expr, stmt, place, parts)?,
                },
                Stmt::IfCond(if_cond) => self.if_cond(if_cond, stmt, place, parts)?,
                Stmt::ForLoop(for_loop) => match why_opaque(for_loop) {
                    Some(reason) => self.opaque(std::slice::from_ref(stmt), place, reason, parts)?,
                    None => self.for_loop(for_loop, stmt, place, parts)?,
                },
                Stmt::WithBlock(with) => {
                    let n_names = self.names.len();
                    for (target, expr) in &with.assignments {
                        self.bind(target, expr, place, parts)?;
                    }
                    self.inline(&with.body, Place { shares_names: false, ..place }, parts)?;
                    self.names.truncate(n_names);
                }
                Stmt::Set(set) => self.bind(&set.target, &set.expr, place, parts)?,
                Stmt::SetBlock(set) => {
                    let engine::Expr::Var(_) = &set.target else {
                        return Err(Whole("a namespace is written to".into()));
                    };
                    // The code captures the block, then gives what it was bound to.
                    let (code, reads) = self.code(std::slice::from_ref(stmt), Some(&set.target), place)?;
                    self.push_let(&set.target, Expr::Code(code), reads, place, parts)?;
                }
                Stmt::AutoEscape(escape) => match self.autoescape(&escape.enabled) {
                    Some(inner) => {
                        let outer = std::mem::replace(&mut self.escape, inner);
                        self.inline(&escape.body, Place { shares_names: true, ..place }, parts)?;
                        self.escape = outer;
                    }
                    None => self.opaque(std::slice::from_ref(stmt), place, "the escaping is not a constant", parts)?,
                },
                Stmt::FilterBlock(_) => {
                    self.opaque(std::slice::from_ref(stmt), place, "a filter takes the text of a block", parts)?;
                }
                Stmt::CallBlock(_) => {
                    self.opaque(std::slice::from_ref(stmt), place, "a macro is called with a block", parts)?;
                }
                Stmt::Block(block) => self.inline_block(block.name, 0, place, parts)?,
                Stmt::Include(include) => {
                    let name = constant_text(&include.name).unwrap_or_default();
                    if self.trees.contains_key(name.as_str()) {
                        let escape = engine::escape_of(self.environment, &name);
                        let outer = std::mem::replace(&mut self.escape, escape);
                        self.inline_template(&name, place.depth + 1, parts)?;
                        self.escape = outer;
                    } else if !include.ignore_missing {
                        self.opaque(std::slice::from_ref(stmt), place, "an included template is missing", parts)?;
                    }
                }
                Stmt::Macro(_) => self.declare(stmt, place),
                Stmt::Import(_) | Stmt::FromImport(_) => {
                    // It prints nothing, but it may fail.
                    self.opaque(std::slice::from_ref(stmt), place, "imports another template", parts)?;
                    self.declare(stmt, place);
                }
                Stmt::Do(_) => return Err(Whole("`do` is there for its side effect".into())),
                Stmt::Template(_) | Stmt::Extends(_) | Stmt::Continue(_) | Stmt::Break(_) => {
                    return Err(Whole("a statement stands where none is expected".into()));
                }
            }
        }
        Ok(())
    }

    /// Why a statement may bind names for the statements after it in a way that is not followed.
    fn leak(&self, stmt: &Stmt<'_>, depth: usize) -> Option<String> {
        match stmt {
            Stmt::IfCond(_) | Stmt::FilterBlock(_) | Stmt::SetBlock(_) => {
                let binds = bodies_of(stmt).into_iter().flatten().any(|stmt| self.binds(stmt, depth));
                binds.then(|| "a name is bound in a part that may not run".to_owned())
            }
            Stmt::ForLoop(for_loop) => {
                let binds = for_loop.else_body.iter().any(|stmt| self.binds(stmt, depth));
                binds.then(|| "a name is bound in a part that may not run".to_owned())
            }
            Stmt::AutoEscape(escape) if self.autoescape(&escape.enabled).is_none() => {
                let binds = escape.body.iter().any(|stmt| self.binds(stmt, depth));
                binds.then(|| "a name is bound where the escaping is not a constant".to_owned())
            }
            Stmt::Include(include) => match constant_text(&include.name) {
                _ if depth >= MAX_DEPTH => Some("templates include each other".to_owned()),
                Some(name) => {
                    let (_, tree) = self.trees.get(name.as_str())?;
                    engine::statements(tree).iter().find_map(|stmt| self.leak(stmt, depth + 1))
                }
                None => Some("the name of an included template is not a constant".to_owned()),
            },
            _ => None,
        }
    }

    /// Whether a statement binds a name for those after it.
    fn binds(&self, stmt: &Stmt<'_>, depth: usize) -> bool {
        match stmt {
            Stmt::Set(_) | Stmt::SetBlock(_) | Stmt::Macro(_) | Stmt::Import(_) | Stmt::FromImport(_) => true,
            Stmt::IfCond(_) | Stmt::AutoEscape(_) | Stmt::FilterBlock(_) => {
                bodies_of(stmt).into_iter().flatten().any(|stmt| self.binds(stmt, depth))
            }
            Stmt::ForLoop(for_loop) => for_loop.else_body.iter().any(|stmt| self.binds(stmt, depth)),
            Stmt::Include(include) => match constant_text(&include.name).and_then(|name| self.trees.get(name.as_str()))
            {
                Some((_, tree)) => {
                    depth >= MAX_DEPTH
                        || engine::statements(tree)
                            .iter()
                            .any(|stmt| matches!(stmt, Stmt::Extends(_)) || self.binds(stmt, depth + 1))
                }
                None => constant_text(&include.name).is_none(),
            },
            _ => false,
        }
    }

    fn inline_block(
        &mut self,
        name: &'a str,
        level: usize,
        place: Place<'_, 'x, 'a>,
        parts: &mut Vec<Part>,
    ) -> Result<(), Whole> {
        let overriders = place.blocks.get(name).map(Vec::as_slice).unwrap_or_default();
        let Some((file, body, is_required)) = overriders.get(level).copied() else {
            return Err(Whole(format!("the block `{name}` has no parent")));
        };
        if is_required && overriders.len() == 1 {
            return Err(Whole(format!("the required block `{name}` is not filled")));
        }
        if place.depth > MAX_DEPTH {
            return Err(Whole(format!("blocks are more than {MAX_DEPTH} deep")));
        }
        let n_names = self.names.len();
        let inner = Place { file, block: Some((name, level)), shares_names: false, depth: place.depth + 1, ..place };
        self.inline(body, inner, parts)?;
        self.names.truncate(n_names);
        Ok(())
    }

    fn hole(
        &mut self,
        expr: &'x engine::Expr<'a>,
        stmt: &'x Stmt<'a>,
        place: Place<'_, 'x, 'a>,
        parts: &mut Vec<Part>,
    ) -> Result<(), Whole> {
        let escapes = match self.escape {
            AutoEscape::Html => true,
            AutoEscape::None => false,
            _ => return self.opaque(std::slice::from_ref(stmt), place, "the escaping is not that of HTML", parts),
        };
        let mut reads = Reads::default();
        let compiled = self.expr(expr, place, &mut reads)?;
        if let Expr::Const(State::Text(text)) = &compiled {
            let text = if escapes { minijinja::HtmlEscape(text).to_string() } else { text.to_string() };
            push_text(&text, place.file, stmt, parts);
            return Ok(());
        }
        let kind = PartKind::Hole(Hole { expr: compiled, escapes });
        parts.push(part(kind, reads, source_of(place.file, expr.span()), place.file, expr.span().start_line));
        Ok(())
    }

    fn if_cond(
        &mut self,
        if_cond: &'x IfCond<'a>,
        stmt: &'x Stmt<'a>,
        place: Place<'_, 'x, 'a>,
        parts: &mut Vec<Part>,
    ) -> Result<(), Whole> {
        let mut reads = Reads::default();
        let (mut tests, mut bodies) = (Vec::new(), Vec::new());
        let mut next = Some(if_cond);
        let mut note = String::new();
        while let Some(if_cond) = next.take() {
            note.push_str(if note.is_empty() { "" } else { ", " });
            note.push_str(source_of(place.file, if_cond.expr.span()));
            tests.push(self.expr(&if_cond.expr, place, &mut reads)?);
            bodies.push(self.body(&if_cond.true_body, place, &mut reads)?);
            match &if_cond.false_body[..] {
                [Stmt::IfCond(inner)] => next = Some(inner),
                other => bodies.push(self.body(other, place, &mut reads)?),
            }
        }
        let kind = PartKind::If(If { tests, bodies });
        parts.push(part(kind, reads, &note, place.file, line_of(stmt)));
        Ok(())
    }

    /// A body of its own, for the branches of an `if` and the `else` of a `for`, which bind nothing.
    fn body(&mut self, stmts: &'x [Stmt<'a>], place: Place<'_, 'x, 'a>, reads: &mut Reads) -> Result<BodyId, Whole> {
        let (n_names, n_locals) = (self.names.len(), self.n_locals);
        let mut parts = Vec::new();
        self.inline(stmts, Place { shares_names: false, ..place }, &mut parts)?;
        self.names.truncate(n_names);
        self.n_locals = n_locals;
        Ok(self.push_body(parts, n_locals, reads))
    }

    fn push_body(&mut self, parts: Vec<Part>, n_locals: usize, reads: &mut Reads) -> BodyId {
        let body = self.finish_body(parts, n_locals);
        reads.add(&body.reads);
        self.compiled.bodies.push(body);
        (self.compiled.bodies.len() - 1) as BodyId
    }

    fn finish_body(&mut self, parts: Vec<Part>, n_locals: usize) -> Body {
        let mut reads = Reads::default();
        for part in &parts {
            reads.add(&part.reads);
        }
        reads.locals.truncate(n_locals);
        Body { key: key_of(&parts), parts, reads, n_locals }
    }

    fn for_loop(
        &mut self,
        for_loop: &'x ForLoop<'a>,
        stmt: &'x Stmt<'a>,
        place: Place<'_, 'x, 'a>,
        parts: &mut Vec<Part>,
    ) -> Result<(), Whole> {
        let mut reads = Reads::default();
        let iter = self.iter(&for_loop.iter, place, &mut reads)?;
        let target = self.target(&for_loop.target)?;
        let (n_names, n_locals) = (self.names.len(), self.n_locals);
        self.bind_names(&for_loop.target, n_locals);
        self.n_locals += target.n_names();
        let mut outer = Reads::default();
        let filter = match &for_loop.filter_expr {
            // In it, `loop` is still that of the loop around.
            Some(filter) => Some(self.expr(filter, place, &mut outer)?),
            None => None,
        };
        // The loop itself is a variable of the body, so that its place can be found to have changed.
        let loop_local = self.n_locals;
        self.n_locals += 1;
        // In a body, a variable of the loop hides `loop`, unless it is unpacked to that name itself.
        let at = self.names.len() - target.n_names();
        self.names.insert(at, ("loop", Meaning::Loop(self.n_loops)));
        self.n_loops += 1;
        self.loop_reads.push((loop_local, false, false));
        let mut body_parts = Vec::new();
        self.inline(&for_loop.body, Place { shares_names: false, ..place }, &mut body_parts)?;
        let (_, reads_position, reads_length) = self.loop_reads.pop().expect("it was pushed above");
        self.n_loops -= 1;
        self.names.truncate(n_names);
        self.n_locals = n_locals;
        let n_own = loop_local + 1;
        let mut body_reads = Reads::default();
        let body = self.push_body(body_parts, n_own, &mut body_reads);
        outer.add(&body_reads);
        outer.locals.truncate(n_locals);
        let body_mut = &mut self.compiled.bodies[body as usize];
        // A key that needs a variable of the body cannot be told before there is a body.
        if let Some(key) = body_mut.key {
            let key_reads = &body_mut.parts[key as usize].reads;
            let mut own = key_reads.locals;
            own.truncate(n_own);
            let is_early = own == key_reads.locals && !key_reads.is_volatile && !key_reads.locals.contains(loop_local);
            if !is_early {
                body_mut.key = None;
            }
        }
        let otherwise = match &for_loop.else_body[..] {
            [] => None,
            stmts => Some(self.body(stmts, place, &mut reads)?),
        };
        reads.add(&outer);
        let compared = match (&target, &filter) {
            (Target::Name, None) => compared((&self.compiled.bodies, &self.compiled.paths), body, &outer, n_locals),
            _ => Vec::new(),
        };
        let note = source_of(place.file, for_loop.iter.span());
        let of = For { iter, target, filter, reads_position, reads_length, outer, compared, body, otherwise };
        let kind = PartKind::For(of);
        parts.push(part(kind, reads, note, place.file, line_of(stmt)));
        Ok(())
    }

    /// The list of a loop. A path that nothing but loops reads need not be kept.
    fn iter(&mut self, expr: &'x engine::Expr<'a>, place: Place<'_, 'x, 'a>, reads: &mut Reads) -> Result<Expr, Whole> {
        let n_paths = self.compiled.paths.len();
        let compiled = self.expr(expr, place, reads)?;
        if let (Expr::Path(ReadFrom::State, _), Some(path)) = (&compiled, self.compiled.paths.get_mut(n_paths)) {
            path.is_kept = false;
        }
        Ok(compiled)
    }

    fn bind(
        &mut self,
        target: &'x engine::Expr<'a>,
        expr: &'x engine::Expr<'a>,
        place: Place<'_, 'x, 'a>,
        parts: &mut Vec<Part>,
    ) -> Result<(), Whole> {
        let mut reads = Reads::default();
        let expr = self.expr(expr, place, &mut reads)?;
        self.push_let(target, expr, reads, place, parts)
    }

    fn push_let(
        &mut self,
        target: &'x engine::Expr<'a>,
        expr: Expr,
        reads: Reads,
        place: Place<'_, 'x, 'a>,
        parts: &mut Vec<Part>,
    ) -> Result<(), Whole> {
        let compiled = self.target(target)?;
        self.bind_names(target, self.n_locals);
        self.n_locals += compiled.n_names();
        let kind = PartKind::Let(Let { target: compiled, expr });
        parts.push(part(kind, reads, source_of(place.file, target.span()), place.file, target.span().start_line));
        Ok(())
    }

    fn target(&self, target: &engine::Expr<'a>) -> Result<Target, Whole> {
        match target {
            engine::Expr::Var(_) => Ok(Target::Name),
            engine::Expr::List(list) => {
                Ok(Target::List(list.items.iter().map(|item| self.target(item)).collect::<Result<_, _>>()?))
            }
            _ => Err(Whole("a namespace is written to".into())),
        }
    }

    /// Gives the names of a target, in order, the variables from `first` on.
    fn bind_names(&mut self, target: &engine::Expr<'a>, first: usize) -> usize {
        match target {
            engine::Expr::Var(var) => {
                self.names.push((var.id, Meaning::Local(first)));
                first + 1
            }
            engine::Expr::List(list) => list.items.iter().fold(first, |next, item| self.bind_names(item, next)),
            _ => first,
        }
    }

    fn declare(&mut self, stmt: &'x Stmt<'a>, place: Place<'_, 'x, 'a>) {
        let imported = match stmt {
            Stmt::Import(import) => constant_text(&import.expr),
            Stmt::FromImport(import) => constant_text(&import.expr),
            _ => None,
        };
        let tree = imported.and_then(|name| self.trees.get(name.as_str()));
        let (enclosed, facts) = match tree {
            // What an imported template takes from around it is what it does not define itself.
            Some((file, tree)) => {
                let facts = Code::of_statements(file.name, file.source, engine::statements(tree)).facts();
                let template = self.environment.get_template(file.name);
                let free = template.map(|template| template.undeclared_variables(false)).unwrap_or_default();
                let known = facts.lookups.iter().map(|path| path[0]).chain(facts.functions.iter().copied());
                (known.filter(|name| free.contains(*name)).collect::<BTreeSet<_>>(), facts)
            }
            None => {
                let facts = Code::of_statements(place.file.name, place.file.source, [stmt]).facts();
                (facts.enclosed.clone(), facts)
            }
        };
        let id = self.declarations.len();
        let enclosed = enclosed.into_iter().map(|name| (name, self.meaning(name))).collect();
        let names: Vec<&'a str> = match stmt {
            Stmt::Macro(of) => vec![of.name],
            Stmt::Import(import) => names_of(&import.name),
            Stmt::FromImport(import) => {
                import.names.iter().flat_map(|(name, alias)| names_of(alias.as_ref().unwrap_or(name))).collect()
            }
            _ => Vec::new(),
        };
        self.declarations.push(Declaration { stmt, facts, enclosed });
        for name in names {
            self.names.push((name, Meaning::Declared(id)));
        }
    }

    fn meaning(&self, name: &str) -> Option<Meaning> {
        self.names.iter().rev().find(|(bound, _)| *bound == name).map(|(_, meaning)| *meaning)
    }

    fn opaque(
        &mut self,
        stmts: &'x [Stmt<'a>],
        place: Place<'_, 'x, 'a>,
        reason: &str,
        parts: &mut Vec<Part>,
    ) -> Result<(), Whole> {
        let (code, reads) = self.code(stmts, None, place)?;
        let line = stmts.first().map_or(1, line_of);
        parts.push(part(PartKind::Opaque(Opaque { code: Some(code) }), reads, reason, place.file, line));
        Ok(())
    }

    /// Code for statements, or for an expression after them.
    fn code(
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
        if facts.names_templates {
            let declared = self.names.iter().filter(|(_, meaning)| matches!(meaning, Meaning::Declared(_)));
            names.extend(declared.map(|(name, _)| vec![*name]));
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
                    facts.names_templates |= of.names_templates;
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
        let before: Vec<&Stmt<'a>> = needed.iter().map(|id| self.declarations[*id].stmt).collect();
        let captures = captures.into_iter().map(|(name, captured)| (name.into(), captured)).collect();
        let code = EngineCode { code: make(&before), escape: self.escape.clone(), captures };
        self.compiled.codes.push(code);
        Ok((self.compiled.codes.len() - 1, reads))
    }

    fn read_path(&mut self, keys: &[&str], reads: &mut Reads) {
        let path: Path = keys.iter().map(|key| Step::from(*key)).collect();
        self.read(path, reads);
    }

    fn read(&mut self, path: Path, reads: &mut Reads) {
        let next = self.compiled.paths.len();
        let id = *self.path_ids.entry(path.clone()).or_insert(next);
        match self.compiled.paths.get_mut(id) {
            Some(path) => path.is_kept = true,
            None => self.compiled.paths.push(ReadPath { path, is_kept: true }),
        }
        reads.paths.insert(id);
    }

    fn expr(&mut self, expr: &'x engine::Expr<'a>, place: Place<'_, 'x, 'a>, reads: &mut Reads) -> Result<Expr, Whole> {
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
                Some(Expr::Path(ReadFrom::Local(local), steps.into()))
            }
            None if !self.globals.contains(name) && !["loop", "self", "super", "caller"].contains(&name) => {
                steps.push(Step::from(name));
                steps.reverse();
                self.read(steps.iter().cloned().collect(), reads);
                Some(Expr::Path(ReadFrom::State, steps.into()))
            }
            _ => None,
        }
    }

    /// What an `autoescape` with a constant sets.
    fn autoescape(&self, enabled: &engine::Expr<'a>) -> Option<AutoEscape> {
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

fn has_extends(stmts: &[Stmt<'_>]) -> bool {
    stmts.iter().any(|stmt| matches!(stmt, Stmt::Extends(_)) || bodies_of(stmt).into_iter().any(has_extends))
}

fn collect_blocks<'x, 'a>(
    stmts: &'x [Stmt<'a>],
    file: File<'a>,
    blocks: &mut BTreeMap<&'a str, (File<'a>, &'x [Stmt<'a>], bool)>,
) {
    for stmt in stmts {
        for inner in bodies_of(stmt) {
            collect_blocks(inner, file, blocks);
        }
        if let Stmt::Block(block) = stmt {
            blocks.insert(block.name, (file, &block.body, block.required));
        }
    }
}

/// The level that `super()` stands for, if that is what the expression is.
fn super_level(expr: &engine::Expr<'_>, place: Place<'_, '_, '_>) -> Option<Result<usize, Whole>> {
    let engine::Expr::Call(call) = expr else { return None };
    match call.identify_call() {
        CallType::Function("super") => Some(match place.block {
            Some((_, level)) if call.args.is_empty() => Ok(level + 1),
            _ => Err(Whole("`super()` stands outside of a block".into())),
        }),
        CallType::Block(_) => Some(Err(Whole("a block is called by name".into()))),
        _ => None,
    }
}

/// Whether the only values that are called are `loop.cycle`.
fn only_cycles(stmts: &[Stmt<'_>], expr: Option<&engine::Expr<'_>>) -> bool {
    fn in_expr(expr: &engine::Expr<'_>) -> bool {
        let is_known = match expr {
            engine::Expr::Call(call) => match call.identify_call() {
                CallType::Function(_) => true,
                CallType::Method(engine::Expr::Var(var), "cycle") => var.id == "loop",
                _ => false,
            },
            _ => true,
        };
        is_known && parts_of(expr).into_iter().all(in_expr)
    }
    stmts.is_empty() && expr.is_none_or(in_expr)
}

/// Why a loop is rendered by the engine.
fn why_opaque(for_loop: &ForLoop<'_>) -> Option<&'static str> {
    if for_loop.recursive {
        return Some("the loop is recursive");
    }
    if for_loop.body.iter().any(leaves_loop) {
        return Some("the loop has `break` or `continue`");
    }
    (!for_loop.body.iter().all(uses_loop_simply)).then_some("the loop uses `loop` for more than its position")
}

fn leaves_loop(stmt: &Stmt<'_>) -> bool {
    match stmt {
        Stmt::Continue(_) | Stmt::Break(_) => true,
        Stmt::ForLoop(for_loop) => for_loop.else_body.iter().any(leaves_loop),
        _ => bodies_of(stmt).into_iter().flatten().any(leaves_loop),
    }
}

/// Whether `loop` is only asked for what depends on the position and the length.
fn uses_loop_simply(stmt: &Stmt<'_>) -> bool {
    fn in_expr(expr: &engine::Expr<'_>) -> bool {
        use engine::Expr as E;
        match expr {
            E::Var(var) => var.id != "loop",
            E::GetAttr(attr) if matches!(&attr.expr, E::Var(var) if var.id == "loop") => {
                LoopField::named(attr.name).is_some()
            }
            E::Call(call) => match call.identify_call() {
                CallType::Method(E::Var(var), "cycle") if var.id == "loop" => {
                    call.args.iter().all(|arg| matches!(arg, CallArg::Pos(expr) if in_expr(expr)))
                }
                _ => parts_of(expr).into_iter().all(in_expr),
            },
            _ => parts_of(expr).into_iter().all(in_expr),
        }
    }
    // What is included sees the loop too, but only what is understood is compiled into this body.
    exprs_of(stmt).into_iter().all(in_expr)
        && match stmt {
            Stmt::ForLoop(for_loop) => for_loop.else_body.iter().all(uses_loop_simply),
            _ => bodies_of(stmt).into_iter().flatten().all(uses_loop_simply),
        }
}

fn names_of<'a>(target: &engine::Expr<'a>) -> Vec<&'a str> {
    match target {
        engine::Expr::Var(var) => vec![var.id],
        engine::Expr::List(list) => list.items.iter().flat_map(names_of).collect(),
        _ => Vec::new(),
    }
}

fn push_text(text: &str, file: File<'_>, stmt: &Stmt<'_>, parts: &mut Vec<Part>) {
    if let Some(Part { kind: PartKind::Text(before), .. }) = parts.last_mut() {
        *before = format!("{before}{text}").into();
    } else if !text.is_empty() {
        parts.push(part(PartKind::Text(text.into()), Reads::default(), "", file, line_of(stmt)));
    }
}

fn part(kind: PartKind, reads: Reads, note: &str, file: File<'_>, line: impl Into<u32>) -> Part {
    Part { kind, template: file.name.into(), line: line.into(), reads, note: note.into() }
}

/// The tag that a span is in, without its braces.
fn source_of<'a>(file: File<'a>, span: engine::Span) -> &'a str {
    let at = (span.start_offset as usize).min(file.source.len());
    let open = file.source.get(..at).and_then(|before| before.rfind(['{']));
    let inside = open.map_or("", |open| file.source[open + 1..].trim_start_matches(['{', '%', '-', '+']));
    let close = ["}}", "%}"].iter().filter_map(|close| inside.find(close)).min();
    inside[..close.unwrap_or(0)].trim_end_matches(['-', '+']).trim()
}

fn line_of(stmt: &Stmt<'_>) -> u32 {
    let span = match stmt {
        Stmt::Template(s) => s.span(),
        Stmt::EmitExpr(s) => s.span(),
        Stmt::EmitRaw(s) => s.span(),
        Stmt::ForLoop(s) => s.span(),
        Stmt::IfCond(s) => s.span(),
        Stmt::WithBlock(s) => s.span(),
        Stmt::Set(s) => s.span(),
        Stmt::SetBlock(s) => s.span(),
        Stmt::AutoEscape(s) => s.span(),
        Stmt::FilterBlock(s) => s.span(),
        Stmt::Block(s) => s.span(),
        Stmt::Import(s) => s.span(),
        Stmt::FromImport(s) => s.span(),
        Stmt::Extends(s) => s.span(),
        Stmt::Include(s) => s.span(),
        Stmt::Macro(s) => s.span(),
        Stmt::CallBlock(s) => s.span(),
        Stmt::Continue(s) => s.span(),
        Stmt::Break(s) => s.span(),
        Stmt::Do(s) => s.span(),
    };
    span.start_line.into()
}

/// The hole that is the key of the first element of a body, if it is plain to see.
fn key_of(parts: &[Part]) -> Option<u32> {
    let mut keys: [Option<u32>; 3] = [None; 3];
    let mut tag: Option<String> = None;
    for (idx, part) in parts.iter().enumerate() {
        match (&part.kind, &mut tag) {
            (PartKind::Text(text), None) => {
                let open = text.find('<')?;
                let is_element = text[open + 1..].starts_with(|first: char| first.is_ascii_alphabetic());
                let inside = &text[open + 1..];
                if !is_element || inside.contains('>') {
                    return None;
                }
                tag = Some(inside.to_owned());
            }
            (PartKind::Text(text), Some(inside)) => match text.find('>') {
                Some(_) => break,
                None => inside.push_str(text),
            },
            (PartKind::Hole(_), Some(inside)) => {
                // ` id="` or ` id="row-`: the text before the hole ends in an open attribute.
                if let Some((before, value)) = inside.rsplit_once('=') {
                    let name = before.rsplit(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
                    let value = value.trim_start_matches(['"', '\'']);
                    let is_open = !value.contains(['"', '\'', ' ', '\n']);
                    let names = ["dc-key", "data-key", "id"];
                    if let (true, Some(at)) = (is_open, names.iter().position(|known| *known == name)) {
                        keys[at].get_or_insert(idx as u32);
                    }
                }
                inside.push_str("hole");
            }
            (PartKind::Let(_), _) => {}
            _ => break,
        }
    }
    keys.into_iter().flatten().next()
}
