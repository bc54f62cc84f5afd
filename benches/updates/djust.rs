//! djust, in a Python process of its own (`time_djust.py`), if `DOMCAST_DJUST` names a Python that has it.
//!
//! It gets the same template and the same states, and its time is that of its Rust extension from Python objects to patches as JSON.

use domcast_benches::Table;
use serde_json::json;
use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Names the Python.
pub(crate) const PYTHON: &str = "DOMCAST_DJUST";

/// The time that `n` updates from `old` to `new` take; `None` without djust.
pub(crate) fn update(old: &Table, new: &Table) -> Option<impl FnMut(u64) -> Duration + use<>> {
    let mut djust = Djust::start(&env::var_os(PYTHON)?);
    // It updates what is below the element `dj-root` alone.
    let template = format!("<div dj-root>{}</div>", Table::TEMPLATE);
    djust.tell(&json!({"template": template, "old": old, "new": new}).to_string());
    Some(move |n: u64| {
        djust.tell(&n.to_string());
        Duration::from_secs_f64(djust.answer())
    })
}

struct Djust {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Djust {
    fn start(python: &OsString) -> Djust {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("updates/time_djust.py");
        let spawned = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = spawned.unwrap_or_else(|error| panic!("{PYTHON}, {}: {error}", python.display()));
        let input = process.stdin.take().expect("the input is piped");
        let output = BufReader::new(process.stdout.take().expect("the output is piped"));
        Djust { process, input, output }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("time_djust.py reads");
    }

    fn answer(&mut self) -> f64 {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("time_djust.py writes lines");
        line.trim().parse().unwrap_or_else(|_| panic!("time_djust.py answers {line:?} instead of seconds"))
    }
}

impl Drop for Djust {
    fn drop(&mut self) {
        // It has ended already if it failed; either way it is over.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
