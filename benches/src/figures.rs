//! How a bench runs and what its table says: parts in processes of their own, medians as Criterion kept them.

use criterion::Criterion;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

/// Names the part that a process measures.
const PART: &str = "DOMCAST_BENCH_PART";

/// Mimalloc keeps what was freed. Else it gives memory back that nobody took for 10 ms, and whoever comes next pays for having it
/// cleared: with 10,000 rows, where an update there and back takes about so long, that is a matter of chance.
const KEEPS_MEMORY: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "-1");

/// Measures each part in a process of its own, then prints the table of what was measured.
///
/// A heap that held 10,000 rows slows down whoever comes next.
pub fn run(parts: &[String], measure: impl FnOnce(&mut Criterion, &str), print: impl FnOnce(&Figures)) -> ExitCode {
    if let Ok(part) = std::env::var(PART) {
        let mut criterion = Criterion::default()
            .output_directory(&output_directory())
            .warm_up_time(Duration::from_millis(100))
            .measurement_time(Duration::from_millis(400))
            .sample_size(10)
            .nresamples(2_000)
            .configure_from_args();
        measure(&mut criterion, &part);
        return ExitCode::SUCCESS;
    }
    let since = SystemTime::now();
    for part in parts {
        let program = std::env::current_exe().expect("a running program has a path");
        let mut command = Command::new(program);
        command.args(std::env::args_os().skip(1)).env(PART, part).env(KEEPS_MEMORY.0, KEEPS_MEMORY.1);
        let status = command.status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("`{part}` failed");
            return ExitCode::FAILURE;
        }
    }
    print(&Figures { since });
    ExitCode::SUCCESS
}

/// Where Criterion keeps its figures: `criterion` beside the profile's folder, wherever `target` is.
fn output_directory() -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a path");
    let target = program.ancestors().nth(3).expect("a bench lies in `target/PROFILE/deps`");
    target.join("criterion")
}

/// What was measured in this run.
#[derive(Debug)]
pub struct Figures {
    since: SystemTime,
}

impl Figures {
    /// The median of a benchmark in microseconds, if it is of this run.
    pub fn median(&self, group: &str, name: &str) -> Option<f64> {
        let file = output_directory().join(group).join(name).join("new/estimates.json");
        let written = fs::metadata(&file).ok()?.modified().ok()?;
        if written < self.since {
            return None;
        }
        let estimates: Value = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
        Some(estimates["median"]["point_estimate"].as_f64()? / 1_000.0)
    }
}

/// Writes a time with three digits; `-` was not measured.
pub fn time(micros: Option<f64>) -> String {
    match micros {
        None => "-".into(),
        Some(micros) if micros < 10.0 => format!("{micros:.2}"),
        Some(micros) if micros < 100.0 => format!("{micros:.1}"),
        Some(micros) => format!("{micros:.0}"),
    }
}

/// Writes how many times as long the peer takes.
pub fn ratio(peer: Option<f64>, ours: Option<f64>) -> String {
    match peer.zip(ours).map(|(peer, ours)| peer / ours) {
        None => "-".into(),
        Some(ratio) if ratio < 10.0 => format!("{ratio:.1}"),
        Some(ratio) => format!("{ratio:.0}"),
    }
}
