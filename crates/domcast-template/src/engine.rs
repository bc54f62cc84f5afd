//! The engine's inner parts: its syntax tree, and code for a piece of a template. Nothing else names `machinery`.
//!
//! They have no promise of stability, so the version of minijinja is pinned.

use crate::output::Output;
use minijinja::machinery::{CodeGenerator, Instruction, Instructions, make_string_output};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) use minijinja::machinery::Span;
pub(crate) use minijinja::machinery::ast::{
    BinOpKind, CallArg, CallType, CompareOpKind, Expr, ForLoop, IfCond, Stmt, UnaryOpKind,
};

/// The syntax tree of a template; [`statements`] gives what is in it.
pub(crate) fn parse<'a>(environment: &Environment<'_>, name: &'a str, source: &'a str) -> Result<Stmt<'a>, Error> {
    minijinja::machinery::parse(source, name, environment.syntax().clone())
}

/// The statements of a template's syntax tree.
pub(crate) fn statements<'x, 'a>(tree: &'x Stmt<'a>) -> &'x [Stmt<'a>] {
    match tree {
        Stmt::Template(template) => &template.children,
        other => std::slice::from_ref(other),
    }
}

/// The escaping that a template begins with.
pub(crate) fn escape_of(environment: &Environment<'_>, name: &str) -> AutoEscape {
    match environment.get_template(name) {
        Ok(template) => minijinja::machinery::get_compiled_template(&template).initial_auto_escape.clone(),
        Err(_) => AutoEscape::None,
    }
}

/// Whether values are printed as the engine prints them. A formatter of the user's own cannot be seen, only tried.
pub(crate) fn prints_as_usual(environment: &Environment<'_>) -> bool {
    let values = [
        (Value::UNDEFINED, ""),
        (Value::from(()), "None"),
        (Value::from(true), "True"),
        (Value::from(1), "1"),
        (Value::from(1.5), "1.5"),
        (Value::from("<a"), "&lt;a"),
        (Value::from_safe_string("<b>".into()), "<b>"),
        (Value::from(vec![1]), "[1]"),
        (Value::from_pairs([("a", 1)]), "{&#x27;a&#x27;: 1}"),
    ];
    let is_strict = matches!(
        environment.undefined_behavior(),
        minijinja::UndefinedBehavior::Strict | minijinja::UndefinedBehavior::SemiStrict
    );
    values.into_iter().filter(|(value, _)| !(is_strict && value.is_undefined())).all(|(value, expected)| {
        let mut instructions = Instructions::new("formatter", "");
        instructions.add(Instruction::LoadConst(value));
        instructions.add(Instruction::Emit);
        let code = Code::of_text("formatter", "", instructions, BTreeMap::new());
        code.text(environment, Value::UNDEFINED, AutoEscape::Html, 100).is_ok_and(|(text, _)| text == expected)
    })
}

/// Refuses an expression that cannot be read, or that names a filter or a test that there is not.
pub(crate) fn check_expression(environment: &Environment<'_>, expression: &str) -> Result<(), Error> {
    let tree = minijinja::machinery::parse_expr(expression)?;
    let code = Code::of_expr("<expression>", expression, &[], &tree);
    let (facts, mut state) = (code.facts(), environment.empty_state());
    // They are known by being called, in vain.
    let is = |result: Result<(), Error>, kind| result.is_err_and(|error| error.kind() == kind);
    for name in facts.filters {
        if is(state.apply_filter(name, &[]).map(|_| ()), ErrorKind::UnknownFilter) {
            return Err(Error::new(ErrorKind::UnknownFilter, format!("there is none called `{name}`")));
        }
    }
    for name in facts.tests {
        if is(state.perform_test(name, &[]).map(|_| ()), ErrorKind::UnknownTest) {
            return Err(Error::new(ErrorKind::UnknownTest, format!("there is none called `{name}`")));
        }
    }
    Ok(())
}

/// What the engine did, in its fuel.
pub(crate) struct Spent {
    pub(crate) fuel: usize,
    pub(crate) left: usize,
}

impl Spent {
    /// What was done until the engine came to a state.
    pub(crate) fn of(state: &minijinja::State<'_, '_>) -> Spent {
        let (fuel, left) = state.fuel_levels().unwrap_or((0, u64::MAX));
        Spent { fuel: fuel as usize, left: left as usize }
    }

    /// How much may be done.
    pub(crate) fn limit(environment: &Environment<'_>) -> usize {
        environment.fuel().map_or(usize::MAX, |fuel| fuel as usize)
    }
}

/// Compiled code of a piece of a template.
pub(crate) struct Code<'a> {
    instructions: Instructions<'a>,
    /// The blocks in it. Code that writes text is one itself, since the engine writes a block wherever it is told to.
    blocks: BTreeMap<&'a str, Instructions<'a>>,
    has_blocks: bool,
}

/// No block of a template is called so.
const TEXT: &str = "";

/// What a piece of code touches, as far as its instructions say.
#[derive(Default)]
pub(crate) struct Facts<'a> {
    /// Names that are looked up, each with the attributes read from it at once.
    pub(crate) lookups: BTreeSet<Vec<&'a str>>,
    /// Names that macros in it take from where they are declared.
    pub(crate) enclosed: BTreeSet<&'a str>,
    pub(crate) functions: BTreeSet<&'a str>,
    pub(crate) filters: BTreeSet<&'a str>,
    pub(crate) tests: BTreeSet<&'a str>,
    /// Whether methods of values or values themselves are called.
    pub(crate) calls_values: bool,
    /// Whether it names other templates.
    pub(crate) names_templates: bool,
    /// Whether there are blocks in it, or it calls one.
    pub(crate) has_blocks: bool,
    /// Whether it writes into an object.
    pub(crate) sets_attributes: bool,
}

impl<'a> Code<'a> {
    /// Code that runs `before`, then gives the value of `expr`.
    pub(crate) fn of_expr(name: &'a str, source: &'a str, before: &[&Stmt<'a>], expr: &Expr<'a>) -> Code<'a> {
        let mut generator = CodeGenerator::new(name, source);
        for stmt in before {
            generator.compile_stmt(stmt);
        }
        generator.compile_expr(expr);
        let (instructions, blocks) = generator.finish();
        let has_blocks = !blocks.is_empty();
        Code { instructions, blocks, has_blocks }
    }

    /// Code that runs statements.
    pub(crate) fn of_statements<'x>(
        name: &'a str,
        source: &'a str,
        stmts: impl IntoIterator<Item = &'x Stmt<'a>>,
    ) -> Code<'a>
    where
        'a: 'x,
    {
        let mut generator = CodeGenerator::new(name, source);
        for stmt in stmts {
            generator.compile_stmt(stmt);
        }
        let (instructions, blocks) = generator.finish();
        Code::of_text(name, source, instructions, blocks)
    }

    fn of_text(
        name: &'a str,
        source: &'a str,
        instructions: Instructions<'a>,
        mut blocks: BTreeMap<&'a str, Instructions<'a>>,
    ) -> Code<'a> {
        let has_blocks = !blocks.is_empty();
        blocks.insert(TEXT, instructions);
        Code { instructions: Instructions::new(name, source), blocks, has_blocks }
    }

    pub(crate) fn facts(&self) -> Facts<'a> {
        let mut facts = Facts { has_blocks: self.has_blocks, ..Facts::default() };
        for instructions in std::iter::once(&self.instructions).chain(self.blocks.values()) {
            let all = (0..).map_while(|idx| instructions.get(idx)).collect::<Vec<_>>();
            for (idx, instruction) in all.iter().enumerate() {
                match **instruction {
                    Instruction::Lookup(name) => {
                        let attributes = all[idx + 1..].iter().map_while(|next| match **next {
                            Instruction::GetAttr(name) => Some(name),
                            _ => None,
                        });
                        facts.lookups.insert(std::iter::once(name).chain(attributes).collect());
                    }
                    Instruction::CallFunction(name, _) => _ = facts.functions.insert(name),
                    Instruction::ApplyFilter(name, ..) => _ = facts.filters.insert(name),
                    Instruction::PerformTest(name, ..) => _ = facts.tests.insert(name),
                    Instruction::Enclose(name) => _ = facts.enclosed.insert(name),
                    Instruction::CallMethod(..) | Instruction::CallObject(..) => facts.calls_values = true,
                    Instruction::SetAttr(_) => facts.sets_attributes = true,
                    Instruction::Include(_) => facts.names_templates = true,
                    Instruction::LoadBlocks | Instruction::CallBlock(_) | Instruction::FastSuper => {
                        facts.has_blocks = true;
                    }
                    _ => {}
                }
            }
        }
        facts
    }

    /// How many instructions there are.
    pub(crate) fn n_instructions(&self) -> usize {
        let all = std::iter::once(&self.instructions).chain(self.blocks.values());
        all.map(|instructions| (0..).take_while(|idx| instructions.get(*idx).is_some()).count()).sum()
    }

    /// The value that the code of an expression ends with.
    pub(crate) fn value(
        &self,
        environment: &Environment<'_>,
        scope: Value,
        escape: AutoEscape,
    ) -> Result<(Value, Spent), Error> {
        let mut discarded = String::new();
        let mut output = make_string_output(&mut discarded);
        let (value, state) =
            minijinja::machinery::eval(environment, &self.instructions, scope, &self.blocks, &mut output, escape)?;
        Ok((value.unwrap_or_default(), Spent::of(&state)))
    }

    /// The text that the code of statements writes, which is refused beyond a limit.
    pub(crate) fn text(
        &self,
        environment: &Environment<'_>,
        scope: Value,
        escape: AutoEscape,
        limit_bytes: usize,
    ) -> Result<(String, Spent), Error> {
        let mut discarded = String::new();
        let mut output = make_string_output(&mut discarded);
        let (_, mut state) =
            minijinja::machinery::eval(environment, &self.instructions, scope, &self.blocks, &mut output, escape)?;
        let mut output = Output::new(limit_bytes);
        state.render_block_to_write(TEXT, &mut output)?;
        Ok((output.into_text(), Spent::of(&state)))
    }
}
