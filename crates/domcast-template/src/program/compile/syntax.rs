//! What there is to know about a piece of a syntax tree without knowing what the names in it mean.

use super::File;
use crate::engine::{self, CallArg, CallType, ForLoop, Stmt};
use crate::program::expr::LoopField;
use std::collections::BTreeSet;

pub(super) fn names_of_templates(stmts: &[Stmt<'_>], names: &mut Vec<String>) {
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
pub(super) fn names_templates(stmt: &Stmt<'_>, is_in_macro: bool) -> bool {
    let is_macro = matches!(stmt, Stmt::Macro(_) | Stmt::CallBlock(_));
    let names_one = matches!(stmt, Stmt::Include(_) | Stmt::Import(_) | Stmt::FromImport(_));
    is_in_macro && names_one
        || bodies_of(stmt).into_iter().flatten().any(|stmt| names_templates(stmt, is_in_macro || is_macro))
}

/// The statements in a statement.
pub(super) fn bodies_of<'x, 'a>(stmt: &'x Stmt<'a>) -> Vec<&'x [Stmt<'a>]> {
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
pub(super) fn exprs_of<'x, 'a>(stmt: &'x Stmt<'a>) -> Vec<&'x engine::Expr<'a>> {
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
pub(super) fn parts_of<'x, 'a>(expr: &'x engine::Expr<'a>) -> Vec<&'x engine::Expr<'a>> {
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

pub(super) fn constant_text(expr: &engine::Expr<'_>) -> Option<String> {
    expr.as_const().and_then(|value| value.as_str().map(str::to_owned))
}

pub(super) fn has_extends(stmts: &[Stmt<'_>]) -> bool {
    stmts.iter().any(|stmt| matches!(stmt, Stmt::Extends(_)) || bodies_of(stmt).into_iter().any(has_extends))
}

/// Names that macros in statements read where the engine does not see that they come from around them: it does not take
/// them along, and finds those of the state when the macro runs.
pub(super) fn left_out<'a>(stmts: &[Stmt<'a>], is_in_macro: bool, names: &mut BTreeSet<&'a str>) {
    for stmt in stmts {
        let is_in_macro = is_in_macro || matches!(stmt, Stmt::Macro(_) | Stmt::CallBlock(_));
        if is_in_macro {
            add_left_out(stmt, names);
        }
        bodies_of(stmt).into_iter().for_each(|inner| left_out(inner, is_in_macro, names));
    }
}

fn add_left_out<'a>(stmt: &Stmt<'a>, names: &mut BTreeSet<&'a str>) {
    // What a statement binds passes for bound in all of it, and some expressions are not looked at.
    let (exprs, bound) = match stmt {
        Stmt::ForLoop(_) => (exprs_of(stmt), Some(vec!["loop"])),
        Stmt::Set(set) => (vec![&set.expr], Some(names_of(&set.target))),
        Stmt::WithBlock(with) => {
            (exprs_of(stmt), Some(with.assignments.iter().flat_map(|(target, _)| names_of(target)).collect()))
        }
        Stmt::Macro(of) => (exprs_of(stmt), Some(of.args.iter().flat_map(names_of).collect())),
        Stmt::CallBlock(call) => {
            let of = &call.macro_decl;
            (of.defaults.iter().collect(), Some(of.args.iter().flat_map(names_of).collect()))
        }
        Stmt::SetBlock(_) | Stmt::FilterBlock(_) | Stmt::AutoEscape(_) => (exprs_of(stmt), None),
        Stmt::Include(_) | Stmt::Extends(_) | Stmt::Import(_) | Stmt::FromImport(_) => (exprs_of(stmt), None),
        _ => (Vec::new(), None),
    };
    let is_left_out = |name: &&str| bound.as_ref().is_none_or(|bound| bound.contains(name));
    exprs.into_iter().for_each(|expr| add_names(expr, &is_left_out, names));
    exprs_of(stmt).into_iter().for_each(|expr| add_sliced(expr, names));
}

fn add_names<'a>(expr: &engine::Expr<'a>, is_wanted: &dyn Fn(&&str) -> bool, names: &mut BTreeSet<&'a str>) {
    if let engine::Expr::Var(var) = expr {
        names.extend(Some(var.id).filter(is_wanted));
    }
    parts_of(expr).into_iter().for_each(|part| add_names(part, is_wanted, names));
}

/// Adds the names of which slices are taken.
fn add_sliced<'a>(expr: &engine::Expr<'a>, names: &mut BTreeSet<&'a str>) {
    if let engine::Expr::Slice(slice) = expr {
        add_names(&slice.expr, &|_| true, names);
    }
    parts_of(expr).into_iter().for_each(|part| add_sliced(part, names));
}

/// Whether the only values that are called are `loop.cycle`.
pub(super) fn only_cycles(stmts: &[Stmt<'_>], expr: Option<&engine::Expr<'_>>) -> bool {
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
pub(super) fn why_opaque(for_loop: &ForLoop<'_>) -> Option<&'static str> {
    if for_loop.recursive {
        return Some("the loop is recursive");
    }
    if for_loop.body.iter().any(leaves_loop) {
        return Some("the loop has `break` or `continue`");
    }
    if carries_over(&for_loop.body) {
        return Some("a macro in the loop takes along what is bound after it, or not for each item");
    }
    (!for_loop.body.iter().all(uses_loop_simply)).then_some("the loop uses `loop` for more than its position")
}

/// Whether a macro may find what was bound for the item before: the macros in the body of a loop share what they take along, for all items. What is
/// bound before them, each time, is new each time.
fn carries_over(body: &[Stmt<'_>]) -> bool {
    let (mut taken, mut late) = (BTreeSet::new(), BTreeSet::new());
    for stmt in body {
        match stmt {
            Stmt::Set(set) => late.extend(names_of(&set.target).into_iter().filter(|name| taken.contains(name))),
            Stmt::Macro(_) => {}
            _ => add_bound(stmt, &mut late),
        }
        add_taken(stmt, &mut taken);
    }
    !late.is_disjoint(&taken)
}

/// Adds what a statement binds for those after it, if it runs.
fn add_bound<'a>(stmt: &Stmt<'a>, names: &mut BTreeSet<&'a str>) {
    match stmt {
        Stmt::Set(set) => names.extend(names_of(&set.target)),
        Stmt::SetBlock(set) => names.extend(names_of(&set.target)),
        Stmt::Macro(of) => _ = names.insert(of.name),
        _ => {}
    }
    bodies_in_frame(stmt).into_iter().flatten().for_each(|stmt| add_bound(stmt, names));
}

/// The names that macros in a statement may take along, their own included.
pub(super) fn taken<'a>(stmt: &Stmt<'a>) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    add_taken(stmt, &mut names);
    if let Stmt::Macro(of) = stmt {
        names.insert(of.name);
    }
    names
}

/// Adds the names that macros in a statement may take along.
fn add_taken<'a>(stmt: &Stmt<'a>, names: &mut BTreeSet<&'a str>) {
    match stmt {
        Stmt::Macro(_) | Stmt::CallBlock(_) => add_all_names(stmt, names),
        _ => bodies_in_frame(stmt).into_iter().flatten().for_each(|stmt| add_taken(stmt, names)),
    }
}

fn add_all_names<'a>(stmt: &Stmt<'a>, names: &mut BTreeSet<&'a str>) {
    exprs_of(stmt).into_iter().for_each(|expr| add_names(expr, &|_| true, names));
    bodies_of(stmt).into_iter().flatten().for_each(|stmt| add_all_names(stmt, names));
}

/// The statements in a statement that share its variables.
fn bodies_in_frame<'x, 'a>(stmt: &'x Stmt<'a>) -> Vec<&'x [Stmt<'a>]> {
    match stmt {
        Stmt::IfCond(_) | Stmt::SetBlock(_) | Stmt::AutoEscape(_) | Stmt::FilterBlock(_) => bodies_of(stmt),
        Stmt::ForLoop(for_loop) => vec![&for_loop.else_body],
        _ => Vec::new(),
    }
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

pub(super) fn names_of<'a>(target: &engine::Expr<'a>) -> Vec<&'a str> {
    match target {
        engine::Expr::Var(var) => vec![var.id],
        engine::Expr::List(list) => list.items.iter().flat_map(names_of).collect(),
        _ => Vec::new(),
    }
}

/// The tag that a span is in, without its braces.
pub(super) fn source_of<'a>(file: File<'a>, span: engine::Span) -> &'a str {
    let at = (span.start_offset as usize).min(file.source.len());
    let open = file.source.get(..at).and_then(|before| before.rfind(['{']));
    let inside = open.map_or("", |open| file.source[open + 1..].trim_start_matches(['{', '%', '-', '+']));
    let close = ["}}", "%}"].iter().filter_map(|close| inside.find(close)).min();
    inside[..close.unwrap_or(0)].trim_end_matches(['-', '+']).trim()
}

pub(super) fn line_of(stmt: &Stmt<'_>) -> u32 {
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
