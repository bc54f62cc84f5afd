//! Figures: percentiles, and one table at the end.

use std::fmt;
use std::time::Duration;

/// What a scenario found out, with the goals that there are.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Row>,
}

struct Row {
    what: String,
    found: String,
    goal: Option<(String, bool)>,
}

impl Table {
    /// Adds a figure that has no goal.
    pub(super) fn add(&mut self, what: impl Into<String>, found: impl fmt::Display) {
        self.rows.push(Row { what: what.into(), found: found.to_string(), goal: None });
    }

    /// Adds a figure and whether it reaches its goal.
    pub(super) fn hold(
        &mut self,
        what: impl Into<String>,
        found: impl fmt::Display,
        goal: impl Into<String>,
        is_reached: bool,
    ) {
        self.rows.push(Row { what: what.into(), found: found.to_string(), goal: Some((goal.into(), is_reached)) });
    }

    pub(super) fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.goal.as_ref().is_none_or(|(_, is_reached)| *is_reached))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |cell: fn(&Row) -> &str| self.rows.iter().map(|row| cell(row).chars().count()).max().unwrap_or(0);
        let (what_width, found_width) = (width(|row| &row.what), width(|row| &row.found));
        for (idx, Row { what, found, goal }) in self.rows.iter().enumerate() {
            let line_end = if idx == 0 { "" } else { "\n" };
            write!(f, "{line_end}{what:what_width$}  {found:>found_width$}")?;
            if let Some((goal, is_reached)) = goal {
                write!(f, "  {} {goal}", if *is_reached { "reached:" } else { "MISSED: " })?;
            }
        }
        Ok(())
    }
}

/// Durations, sorted.
pub(super) struct Durations(Vec<Duration>);

impl Durations {
    pub(super) fn new(mut durations: Vec<Duration>) -> Durations {
        durations.sort_unstable();
        Durations(durations)
    }

    /// The duration that `share` of them do not exceed; zero if there are none.
    pub(super) fn percentile(&self, share: f64) -> Duration {
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| ms(self.percentile(share)));
        write!(f, "{p50} / {p99} / {max}")
    }
}

pub(super) fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

pub(super) fn us(seconds: f64) -> String {
    format!("{:.2} us", seconds * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_durations() {
        let durations = Durations::new((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(durations.to_string(), "100.0 ms / 198.0 ms / 200.0 ms");
        assert_eq!(Durations::new(Vec::new()).percentile(0.99), Duration::ZERO);
    }

    #[test]
    fn a_table_is_good_if_every_goal_is_reached() {
        let mut table = Table::default();
        table.add("renders", 20);
        table.hold("drops", 0, "0", true);
        assert!(table.is_good());
        table.hold("p99", "12 ms", "at most 10 ms", false);
        assert!(!table.is_good());
        assert_eq!(
            table.to_string(),
            "renders     20\ndrops        0  reached: 0\np99      12 ms  MISSED:  at most 10 ms"
        );
    }
}
