//! `domcast load`, with little of everything: the counts must hold on any machine, the times need not.

use std::process::Command;

/// Runs a scenario; returns its table, line by line.
#[track_caller]
fn load(args: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_domcast")).arg("load").args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{errors}");
    let table: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(Into::into).collect();
    let missed = table.iter().any(|line| line.contains("MISSED:"));
    assert_eq!(output.status.code(), Some(missed.into()), "{table:#?}");
    table
}

/// Checks that the figures whose lines begin so have reached their goals.
#[track_caller]
fn check_reached(table: &[String], starts: &[&str]) {
    for start in starts {
        let lines: Vec<_> = table.iter().filter(|line| line.starts_with(start)).collect();
        assert!(!lines.is_empty(), "no `{start}` in {table:#?}");
        assert!(lines.iter().all(|line| line.contains("reached: ")), "{lines:#?}");
    }
}

#[test]
fn one_change_is_rendered_diffed_and_encoded_once_for_all() {
    let table = load(&["fanout", "--subscribers", "50", "--changes", "4", "--crowd", "100", "--seconds", "2"]);
    let once = ["renders of 4 changes", "diffs of", "encodings of", "deliveries of", "drops of"];
    check_reached(&table, &once);
    check_reached(&table, &["100 subscribers, a push a second: arrived"]);
}

#[test]
fn every_concurrent_push_runs_once_and_the_last_state_is_last() {
    let table = load(&["pushes", "--pushes", "600", "--slow", "50", "--states", "40"]);
    check_reached(&table, &["count of", "sum of", "sum_of_squares of", "events that ran", "the state after", "drops"]);
}

#[test]
fn all_pages_come_back_equal_after_a_kill() {
    let table = load(&["restart", "--subscribers", "40", "--kills", "2", "--away", "0.3"]);
    check_reached(&table, &["all back and equal", "patches on a wrong version"]);
}

#[test]
fn a_stalled_subscriber_costs_a_bounded_amount_of_memory() {
    let table = load(&["stalled", "--live", "30", "--stalled", "10", "--seconds", "1"]);
    check_reached(&table, &["memory per stalled one"]);
}

/// `DOMCAST_SOAK` says for how many seconds.
#[test]
fn nothing_grows_while_clients_come_and_go() {
    let seconds = std::env::var("DOMCAST_SOAK").unwrap_or_else(|_| "3".into());
    let table = load(&["soak", "--seconds", &seconds, "--subscribers", "40"]);
    check_reached(&table, &["memory grown in the second half", "tasks before, after", "files before, after"]);
}
