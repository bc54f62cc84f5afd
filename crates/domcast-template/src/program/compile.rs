//! A syntax tree to bodies.
//!
//! What a name means is decided here, as the engine decides it when it runs: a `for`, a `with`, a block and a macro have
//! names of their own; an `if`, an `autoescape` and an include do not. So a `set` in an `if` binds a name for all that
//! follows, or does not: from there on the body is one opaque part, as it is where a name may come from a template that
//! is not known. Where even that would not do (a namespace, which any region could change; a macro that reads a name that
//! means something else where it is called) the whole template is one opaque part.
//!
//! Macros and imports print nothing where they stand. Code that calls one has its declaration before it.

mod exprs; // expressions, and what they read
mod code; // what the engine runs
mod key; // what the items of a loop are known by
mod syntax; // questions to the syntax tree
mod names; // what is taken from the state

use super::compared::compared;
use super::expr::Expr;
use super::*;
use crate::engine::{self, CallType, Facts, ForLoop, IfCond, Stmt};
use crate::state::State;
use key::key_of;
use minijinja::Error;
pub use names::Name;
pub(super) use names::names;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use syntax::{
    bodies_of, constant_text, has_extends, left_out, line_of, names_of, names_of_templates, source_of, why_opaque,
};

/// How deep bodies, includes and blocks are nested in each other; whoever walks them recurses as deep. The engine reads as deep in one template,
/// and ends the recursion of includes too, but later.
const MAX_DEPTH: usize = 192;
/// An include or a block counts as so many bodies.
const INLINED_DEPTH: usize = 8;
/// How many are resolved, those that are looked through for names included: where each template includes the next one twice there is no end of them.
const MAX_INLINED: usize = 100_000;

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

impl Place<'_, '_, '_> {
    /// In a body here.
    fn inner(self) -> Self {
        Place { depth: self.depth + 1, ..self }
    }
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
    /// The names that macros and calls with a block may have taken along so far.
    taken: Vec<&'a str>,
    escape: AutoEscape,
    /// Includes and blocks that were resolved.
    n_inlined: std::cell::Cell<usize>,
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
        compiled: Compiled { bodies: Vec::new(), codes: Vec::new(), paths: Vec::new(), n_fields: 0, fuel: 0 },
        path_ids: HashMap::new(),
        names: Vec::new(),
        n_locals: 0,
        n_loops: 0,
        loop_reads: Vec::new(),
        declarations: Vec::new(),
        taken: Vec::new(),
        escape: engine::escape_of(environment, &sources.name),
        n_inlined: std::cell::Cell::new(0),
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
    let body = Body::new(Parts::one(part), None, reads, 0, &[]);
    Compiled { bodies: vec![body], codes: Vec::new(), paths: Vec::new(), n_fields: 0, fuel: 0 }
}

impl<'x, 'a> Compiler<'x, 'a> {
    /// The parts of a template: those of the one that it extends at last, with its own blocks.
    fn template(&mut self, name: &str, depth: usize) -> Result<Parts, Whole> {
        if self.compiled.bodies.is_empty() {
            self.compiled.bodies.push(Body::new(Parts::new(), None, Reads::default(), 0, &[]));
        }
        let mut parts = Parts::new();
        self.inline_template(name, depth, &mut parts)?;
        Ok(parts)
    }

    fn inline_template(&mut self, name: &str, depth: usize, parts: &mut Parts) -> Result<(), Whole> {
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
            self.note_fuel(file, stmts);
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
    fn inline(&mut self, stmts: &'x [Stmt<'a>], place: Place<'_, 'x, 'a>, parts: &mut Parts) -> Result<(), Whole> {
        if place.depth > MAX_DEPTH {
            return Err(Whole(format!("bodies and templates are nested more than {MAX_DEPTH} deep")));
        }
        for (idx, stmt) in stmts.iter().enumerate() {
            if let Some(reason) = self.leak(stmt, place.depth) {
                if place.shares_names {
                    return Err(Whole(reason));
                }
                return self.opaque(&stmts[idx..], place, &reason, parts);
            }
            match stmt {
                Stmt::EmitRaw(raw) => parts.push_text(raw.raw, place.file.name, line_of(stmt)),
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
                    self.inline(&with.body, Place { shares_names: false, ..place.inner() }, parts)?;
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
                        self.inline(&escape.body, Place { shares_names: true, ..place.inner() }, parts)?;
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
                        let (n_names, n_taken) = (self.names.len(), self.taken.len());
                        self.inline_template(&name, place.depth + INLINED_DEPTH, parts)?;
                        self.check_include(n_names, n_taken)?;
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
            self.taken.extend(syntax::taken(stmt));
        }
        Ok(())
    }

    /// Checks the names that an include has bound. Those before it share what their macros take along, and it has a share of its own: so for macros and calls
    /// after it a name may still be what it was before, while for all else it is what the include made of it.
    fn check_include(&self, n_names: usize, n_taken: usize) -> Result<(), Whole> {
        let (before, bound) = self.names.split_at(n_names);
        let taken = &self.taken[..n_taken];
        let is_kept = |name: &str| taken.contains(&name) || before.iter().any(|(other, _)| *other == name);
        match bound.iter().find(|(name, _)| !taken.is_empty() && is_kept(name)) {
            Some((name, _)) => {
                Err(Whole(format!("an include binds `{name}` anew, which a macro may have taken along")))
            }
            None => Ok(()),
        }
    }

    /// Why a statement may bind names for the statements after it in a way that is not followed.
    fn leak(&self, stmt: &Stmt<'_>, depth: usize) -> Option<String> {
        match stmt {
            Stmt::IfCond(_) | Stmt::FilterBlock(_) | Stmt::SetBlock(_) => {
                let binds = bodies_of(stmt).into_iter().flatten().any(|stmt| self.binds(stmt, depth + 1));
                binds.then(|| "a name is bound in a part that may not run".to_owned())
            }
            Stmt::ForLoop(for_loop) => {
                let binds = for_loop.else_body.iter().any(|stmt| self.binds(stmt, depth + 1));
                binds.then(|| "a name is bound in a part that may not run".to_owned())
            }
            Stmt::AutoEscape(escape) if self.autoescape(&escape.enabled).is_none() => {
                let binds = escape.body.iter().any(|stmt| self.binds(stmt, depth + 1));
                binds.then(|| "a name is bound where the escaping is not a constant".to_owned())
            }
            Stmt::Include(include) => match constant_text(&include.name) {
                _ if depth + INLINED_DEPTH > MAX_DEPTH || self.inlines_too_much() => {
                    Some("templates include each other".to_owned())
                }
                Some(name) => {
                    let (_, tree) = self.trees.get(name.as_str())?;
                    engine::statements(tree).iter().find_map(|stmt| self.leak(stmt, depth + INLINED_DEPTH))
                }
                None => Some("the name of an included template is not a constant".to_owned()),
            },
            _ => None,
        }
    }

    /// Counts an include or a block; whether that is one too many.
    fn inlines_too_much(&self) -> bool {
        self.n_inlined.set(self.n_inlined.get() + 1);
        self.n_inlined.get() > MAX_INLINED
    }

    /// Whether a statement binds a name for those after it.
    fn binds(&self, stmt: &Stmt<'_>, depth: usize) -> bool {
        match stmt {
            _ if depth > MAX_DEPTH => true,
            Stmt::Set(_) | Stmt::SetBlock(_) | Stmt::Macro(_) | Stmt::Import(_) | Stmt::FromImport(_) => true,
            Stmt::IfCond(_) | Stmt::AutoEscape(_) | Stmt::FilterBlock(_) => {
                bodies_of(stmt).into_iter().flatten().any(|stmt| self.binds(stmt, depth + 1))
            }
            Stmt::ForLoop(for_loop) => for_loop.else_body.iter().any(|stmt| self.binds(stmt, depth + 1)),
            Stmt::Include(include) => match constant_text(&include.name).and_then(|name| self.trees.get(name.as_str()))
            {
                Some((_, tree)) => {
                    self.inlines_too_much()
                        || engine::statements(tree)
                            .iter()
                            .any(|stmt| matches!(stmt, Stmt::Extends(_)) || self.binds(stmt, depth + INLINED_DEPTH))
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
        parts: &mut Parts,
    ) -> Result<(), Whole> {
        let overriders = place.blocks.get(name).map(Vec::as_slice).unwrap_or_default();
        let Some((file, body, is_required)) = overriders.get(level).copied() else {
            return Err(Whole(format!("the block `{name}` has no parent")));
        };
        if is_required && overriders.len() == 1 {
            return Err(Whole(format!("the required block `{name}` is not filled")));
        }
        if self.inlines_too_much() {
            return Err(Whole(format!("blocks stand in each other more than {MAX_INLINED} times")));
        }
        self.note_fuel(file, body);
        let n_names = self.names.len();
        let inner = Place {
            file,
            block: Some((name, level)),
            shares_names: false,
            depth: place.depth + INLINED_DEPTH,
            ..place
        };
        self.inline(body, inner, parts)?;
        self.names.truncate(n_names);
        Ok(())
    }

    fn hole(
        &mut self,
        expr: &'x engine::Expr<'a>,
        stmt: &'x Stmt<'a>,
        place: Place<'_, 'x, 'a>,
        parts: &mut Parts,
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
            parts.push_text(&text, place.file.name, line_of(stmt));
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
        parts: &mut Parts,
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
        let mut parts = Parts::new();
        self.inline(stmts, Place { shares_names: false, ..place.inner() }, &mut parts)?;
        self.names.truncate(n_names);
        self.n_locals = n_locals;
        Ok(self.push_body(parts, n_locals, reads))
    }

    fn push_body(&mut self, parts: Parts, n_locals: usize, reads: &mut Reads) -> BodyId {
        let body = self.finish_body(parts, n_locals);
        reads.add(&body.reads);
        self.compiled.bodies.push(body);
        (self.compiled.bodies.len() - 1) as BodyId
    }

    fn finish_body(&mut self, parts: Parts, n_locals: usize) -> Body {
        let mut reads = Reads::default();
        for part in parts.iter() {
            reads.add(&part.reads);
        }
        reads.locals.truncate(n_locals);
        let key = key_of(&parts);
        Body::new(parts, key, reads, n_locals, &self.compiled.bodies)
    }

    fn for_loop(
        &mut self,
        for_loop: &'x ForLoop<'a>,
        stmt: &'x Stmt<'a>,
        place: Place<'_, 'x, 'a>,
        parts: &mut Parts,
    ) -> Result<(), Whole> {
        let mut reads = Reads::default();
        let fuel_before = self.compiled.fuel;
        self.note_fuel(place.file, std::slice::from_ref(stmt));
        let iter = self.expr(&for_loop.iter, place, &mut reads)?;
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
        let mut body_parts = Parts::new();
        self.inline(&for_loop.body, Place { shares_names: false, ..place.inner() }, &mut body_parts)?;
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
        let fuel = self.compiled.fuel - fuel_before;
        let of = For { iter, target, filter, reads_position, reads_length, outer, compared, fuel, body, otherwise };
        let kind = PartKind::For(of);
        parts.push(part(kind, reads, note, place.file, line_of(stmt)));
        Ok(())
    }

    /// Adds what the engine does at most where statements run once. What they include is added where it is compiled.
    fn note_fuel(&mut self, file: File<'a>, stmts: &'x [Stmt<'a>]) {
        // Twice, for the names that are unpacked and the items that a filter keeps.
        self.compiled.fuel += 2 * Code::of_statements(file.name, file.source, stmts).n_instructions();
    }

    fn bind(
        &mut self,
        target: &'x engine::Expr<'a>,
        expr: &'x engine::Expr<'a>,
        place: Place<'_, 'x, 'a>,
        parts: &mut Parts,
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
        parts: &mut Parts,
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
                let mut enclosed: BTreeSet<_> = known.filter(|name| free.contains(*name)).collect();
                left_out(engine::statements(tree), true, &mut enclosed);
                (enclosed, facts)
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
        parts: &mut Parts,
    ) -> Result<(), Whole> {
        let (code, reads) = self.code(stmts, None, place)?;
        let line = stmts.first().map_or(1, line_of);
        parts.push(part(PartKind::Opaque(Opaque { code: Some(code) }), reads, reason, place.file, line));
        Ok(())
    }
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

fn part(kind: PartKind, reads: Reads, note: &str, file: File<'_>, line: impl Into<u32>) -> Part {
    Part { kind, template: file.name.into(), line: line.into(), reads, note: note.into() }
}
