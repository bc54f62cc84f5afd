//! The `domcast` command.
//!
//! Every subcommand is a file with its arguments and a `run` that returns an [`Answer`]; `main` turns answers and errors
//! into exit codes: 0 yes, 1 no, 2 an error in the usage or the input.

mod input; // files, standard input, patch lists
mod output; // standard output

// Live views.
mod demo; // a page of live views to try things on
mod push; // changes a view on a server
mod serve; // the views of a folder
mod web; // what servers share

// Tools over the engine.
mod apply; // old HTML and patches to new HTML
mod check; // the diff law on somebody's pages
mod diff; // two HTML texts to patches
mod parse; // HTML to its tree
mod explain; // what the parts of a template read
mod render; // a template and a state to HTML

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// HTML in, minimal patches out, to everyone who is looking.
#[derive(Parser)]
#[command(name = "domcast", version, disable_help_subcommand = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 yes, 1 no (`diff` found differences, `check` failures, `push` was refused), 2 an error in the usage or the input.
A file named `-` is standard input.";

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Serve(serve::Args),
    Push(push::Args),
    Render(render::Args),
    Explain(explain::Args),
    Parse(parse::Args),
    Diff(diff::Args),
    Apply(apply::Args),
    Check(check::Args),
}

/// What a command found out; an error is neither.
enum Answer {
    Yes,
    No,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Push(args) => push::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Parse(args) => parse::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Apply(args) => apply::run(&args),
        Command::Check(args) => check::run(&args),
    };
    match result {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        // Whoever reads the output has seen enough, as `head` does.
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("domcast: {error:#}");
            ExitCode::from(2)
        }
    }
}
