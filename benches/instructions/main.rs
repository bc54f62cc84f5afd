//! Instructions per operation: `cargo bench -p domcast-benches --bench instructions`. Needs valgrind.
//!
//! Time depends on the machine and on who else uses it; the number of instructions hardly does. Each operation runs under callgrind
//! in a process of its own, some times and then more times; the difference is what it costs, without what
//! prepares it. More than 5 % above `baseline.txt` fails. `-- --bless` writes that file anew: commit it with what changed it.

mod operations; // what is counted

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, ExitCode};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FEW: u64 = 2;
const MANY: u64 = 12;
const TOLERANCE: f64 = 0.05;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [operation, n_runs] = &arguments[..] {
        operations::run(operation, n_runs.parse().expect("a number of runs"));
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("\nLEFT OUT: instruction counts: valgrind is not installed\n");
        return ExitCode::SUCCESS;
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions/baseline.txt");
    let baseline = std::fs::read_to_string(&file).unwrap_or_default();
    let baseline = read(&baseline);
    let counts: Vec<(&str, u64)> = operations::NAMES.iter().map(|&name| (name, count(name))).collect();

    println!("\n{:40}{:>14}{:>14}{:>9}", "operation", "instructions", "baseline", "change");
    let mut is_worse = false;
    for &(name, count) in &counts {
        let before = baseline.get(name);
        let change = before.map(|&before| count as f64 / before as f64 - 1.0);
        is_worse |= change.is_some_and(|change| change > TOLERANCE);
        let before = before.map_or("-".into(), u64::to_string);
        println!(
            "{name:40}{count:>14}{before:>14}{:>9}",
            change.map_or("-".into(), |change| format!("{:+.1} %", 100.0 * change))
        );
    }
    if arguments == ["--bless"] {
        let mut text = String::new();
        counts.iter().for_each(|(name, count)| _ = writeln!(text, "{count:>12}  {name}"));
        std::fs::write(&file, text).expect("the baseline can be written");
        return ExitCode::SUCCESS;
    }
    if is_worse {
        eprintln!("\nmore than {:.0} % above the baseline; `-- --bless` makes this the new one", 100.0 * TOLERANCE);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Reads lines of a count and a name.
fn read(text: &str) -> BTreeMap<&str, u64> {
    text.lines()
        .filter_map(|line| line.trim().split_once("  "))
        .filter_map(|(count, name)| Some((name, count.parse().ok()?)))
        .collect()
}

/// The instructions of one run of an operation.
fn count(operation: &str) -> u64 {
    (total(operation, MANY) - total(operation, FEW)) / (MANY - FEW)
}

/// The instructions of a process that runs an operation `n_runs` times.
fn total(operation: &str, n_runs: u64) -> u64 {
    let program = std::env::current_exe().expect("a running program has a path");
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .arg(operation)
        .arg(n_runs.to_string());
    let output = command.output().expect("valgrind runs");
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    collected.unwrap_or_else(|| panic!("`{operation}` under valgrind:\n{report}"))
}
