//! `domcast load`: puts a server under load and prints the figures that the project promises.
//!
//! It starts a server of its own, as another process on a free port of 127.0.0.1, reads that process's processor time and
//! memory from /proc, and ends it. Every scenario is bounded in connections and in time. What the clients cost is not counted,
//! but they run on the same machine: latencies are those of both together.

mod client; // WebSocket subscribers, HTTP requests
mod figures; // percentiles and the table
mod server; // the process under load, both sides of it

mod fanout; // one change, many subscribers
mod pushes; // many pushes at once
mod restart; // a server that is killed
mod soak; // clients that come and go
mod stalled; // subscribers that do not read

use crate::{Answer, output};
use anyhow::{Result, ensure};
use clap::Subcommand;
use std::time::Duration;

/// Put a server of its own under load, and print figures
#[derive(clap::Args)]
#[command(after_help = "Needs /proc. Exit codes: 0 every goal was reached, 1 not, 2 an error.

Examples:
  domcast load fanout
  domcast load fanout --crowd 2000 --seconds 5
  domcast load pushes
  domcast load stalled --seconds 20
  domcast load restart --kills 3
  domcast load soak")]
pub(crate) struct Args {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    Fanout(fanout::Args),
    Pushes(pushes::Args),
    Stalled(stalled::Args),
    Restart(restart::Args),
    Soak(soak::Args),
    #[command(hide = true)]
    Server(server::Args),
}

/// The longest that one wait of a scenario may last.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(args: &Args) -> Result<Answer> {
    if let Scenario::Server(args) = &args.scenario {
        server::run(args)?;
        return Ok(Answer::Yes);
    }
    ensure!(cfg!(target_os = "linux"), "`domcast load` reads processor time and memory from /proc, which is Linux's");
    let table = tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        match &args.scenario {
            Scenario::Fanout(args) => fanout::run(args).await,
            Scenario::Pushes(args) => pushes::run(args).await,
            Scenario::Stalled(args) => stalled::run(args).await,
            Scenario::Restart(args) => restart::run(args).await,
            Scenario::Soak(args) => soak::run(args).await,
            Scenario::Server(_) => unreachable!("it ran above"),
        }
    })?;
    output::line(&table.to_string())?;
    Ok(if table.is_good() { Answer::Yes } else { Answer::No })
}

/// Lets this process, and the server that it starts, have so many files open.
fn allow_files(n_files: usize) -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // Beside the connections: the runtime, the pipes, the program itself.
    let wanted = n_files as u64 + 64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    ensure!(
        maximum.is_none_or(|maximum| maximum >= wanted),
        "{wanted} open files are needed and {} are allowed (`ulimit -Hn`): ask for fewer connections",
        maximum.unwrap_or_default()
    );
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })?)
}

/// Says on standard error what is going on.
fn say(what: &str) {
    eprintln!("domcast load: {what}");
}
