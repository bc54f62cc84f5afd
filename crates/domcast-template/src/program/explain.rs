//! A program as text, for the author of a template.

use super::{Body, Part, PartKind, Program, Reads};
use std::fmt::Write;

pub(super) fn explain(program: &Program) -> String {
    let mut text = String::new();
    let bodies = program.bodies();
    write_body(program, &bodies[0], 0, &mut text);
    let parts = || bodies.iter().flat_map(|body| &body.parts);
    let n_opaque = parts().filter(|part| matches!(part.kind, PartKind::Opaque(_))).count();
    let n_fine = parts().filter(|part| !matches!(part.kind, PartKind::Opaque(_))).count();
    let n_volatile = parts().filter(|part| part.reads.is_volatile && part.is_leaf()).count();
    _ = writeln!(text, "{n_fine} fine-grained, {n_opaque} opaque, {n_volatile} run at every update");
    text
}

impl Part {
    fn is_leaf(&self) -> bool {
        matches!(self.kind, PartKind::Hole(_) | PartKind::Let(_) | PartKind::Opaque(_))
    }
}

/// Says where a part stands, what it is and what it reads.
pub(super) fn describe(program: &Program, body: &Body, idx: u32) -> String {
    let part = &body.parts[idx as usize];
    let what = match &part.kind {
        PartKind::Hole(_) if body.key == Some(idx) => "key ",
        PartKind::Hole(_) => "hole ",
        PartKind::Opaque(_) => "opaque, because ",
        // Their source begins with `if`, `for`, `set` or `with`.
        PartKind::If(_) | PartKind::For(_) | PartKind::Let(_) => "",
    };
    let note = part.note.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}:{} {what}{note}{}", part.template, part.line, reads(program, &part.reads))
}

fn write_body(program: &Program, body: &Body, depth: usize, text: &mut String) {
    for (idx, part) in body.parts.iter().enumerate() {
        _ = writeln!(text, "{}{}", "  ".repeat(depth), describe(program, body, idx as u32));
        match &part.kind {
            PartKind::If(branch) => {
                for body in &branch.bodies {
                    write_body(program, program.body(*body), depth + 1, text);
                }
            }
            PartKind::For(list) => {
                write_body(program, program.body(list.body), depth + 1, text);
                if let Some(otherwise) = list.otherwise {
                    write_body(program, program.body(otherwise), depth + 1, text);
                }
            }
            _ => {}
        }
    }
}

fn reads(program: &Program, reads: &Reads) -> String {
    let paths = program.cell.borrow_dependent().paths.iter().enumerate();
    let mut names: Vec<String> =
        paths.filter(|(id, _)| reads.paths.contains(*id)).map(|(_, path)| path.to_string()).collect();
    if !reads.locals.is_empty() {
        names.push("variables around it".to_owned());
    }
    if reads.is_volatile {
        return "; runs at every update".to_owned();
    }
    match names.is_empty() {
        true => String::new(),
        false => format!("; reads {}", names.join(", ")),
    }
}
