//! Attending: who is at which server.
//!
//! A third of a lease is a heartbeat, and twice in it each server tells the others who came and who left, and hears that of them. So
//! somebody is known everywhere within a heartbeat. What a server told counts for a heartbeat; if it is missing twice, its visitors are gone: within
//! two heartbeats after it died.
//!
//! A server tells who is there as a whole when the ledger has nothing of it, and then what changed, with a number each. The ledger keeps both, so whoever
//! knows a number gets what changed since, and everybody else the whole with what changed since that. The whole is told anew, beside the change, once the
//! changes are as long: telling costs twice what changes, and hearing no more than the whole and as much again. A server with more visitors than it
//! tells of tells the whole once in a lease, and no changes.
//!
//! While the ledger is away, who was elsewhere stays so.

use super::{Member, News};
use crate::ledger::{Attendance, Elsewhere, Ledger};
use crate::presence::{Roll, RollChange};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use tokio::time::{Instant, sleep};

/// What is known of another server.
struct Known {
    /// The number of what was read of it; 0 if nothing was.
    n: u64,
    /// Whether it was there when last heard of.
    was_there: bool,
}

/// What the ledger has of this server.
#[derive(Default)]
struct Told {
    /// The number; 0 if it has nothing, or may have.
    n: u64,
    whole_bytes: usize,
    /// When the whole was told.
    whole_at: Option<Instant>,
    changes_bytes: usize,
    n_changes: usize,
}

/// How many changes follow a whole at most, …
const MAX_CHANGES: usize = 512;
/// … and of how many bytes, if the whole has fewer.
const MIN_CHANGES_BYTES: usize = 16 << 10;

impl<L: Ledger> Member<L> {
    pub(super) async fn attend(&self) {
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        let (mut told, mut is_away) = (Told::default(), false);
        loop {
            let numbers = known.iter().map(|(server, known)| (server.clone(), known.n)).collect();
            // What is away is not told the whole again and again.
            let (n, whole, change) = if is_away { (0, None, None) } else { self.to_tell(&mut told) };
            let is_told = whole.is_some() || change.is_some();
            let attendance = Attendance { n, whole, change, lifetime: self.options.lease / 3, known: numbers };
            let attended = self.probe(self.ledger.attend(&self.name, &attendance)).await;
            let is_lost = match &attended {
                Some(attended) => !attended.is_kept,
                None => is_told,
            };
            if is_lost {
                told = Told::default();
            }
            is_away = attended.is_none() && told.n == 0;
            if let Some(attended) = attended {
                self.hear(&mut known, attended.others);
            }
            sleep(self.options.lease / 6).await;
        }
    }

    /// Returns what the ledger does not have yet: the number, who is there, and what changed since which number.
    fn to_tell(&self, told: &mut Told) -> (u64, Option<String>, Option<(u64, String)>) {
        fn text(what: &impl serde::Serialize) -> String {
            serde_json::to_string(what).expect("a roll is JSON")
        }
        let presence = &self.hub.tabs().presence;
        let is_late = told.whole_at.is_none_or(|at| at.elapsed() >= self.options.lease);
        if told.n > 0 && (presence.number() == told.n || presence.is_cut() && !is_late) {
            return (told.n, None, None);
        }
        let is_long = told.n_changes >= MAX_CHANGES || told.changes_bytes > MIN_CHANGES_BYTES.max(told.whole_bytes);
        let (n, roll, change) = presence.news(is_long || told.n == 0);
        let whole = roll.map(|roll| text(&roll));
        let change = change.filter(|_| told.n > 0).map(|change| (told.n, text(&change)));
        if let Some(whole) = &whole {
            *told = Told { whole_bytes: whole.len(), whole_at: Some(Instant::now()), ..Told::default() };
        }
        told.n = n;
        told.n_changes += 1;
        told.changes_bytes += change.as_ref().map_or(0, |(_, text)| text.len());
        (n, whole, change)
    }

    fn hear(&self, known: &mut BTreeMap<String, Known>, others: Vec<Elsewhere>) {
        let mut missing = std::mem::take(known);
        for Elsewhere { server, n, whole, changes } in others {
            let before = missing.remove(&server).map_or(0, |before| before.n);
            // Nothing is taken of what it told before, written again, and of what cannot be read.
            let is_taken = n >= before && self.take_elsewhere(&server, whole, changes).is_some();
            known.insert(server, Known { n: if is_taken { n } else { before }, was_there: true });
        }
        for (server, before) in missing {
            if before.was_there {
                known.insert(server, Known { was_there: false, ..before });
            } else {
                self.hub.tabs().presence.set_elsewhere(&server, Vec::new());
            }
        }
    }

    /// Takes what a server told, all or nothing: a change says nothing to who did not read those before it.
    fn take_elsewhere(&self, server: &str, whole: Option<String>, changes: Vec<String>) -> Option<()> {
        let whole: Option<Roll> = match whole {
            Some(whole) => Some(self.read_roll(server, &whole)?),
            None => None,
        };
        let changes: Vec<RollChange> =
            changes.iter().map(|change| self.read_roll(server, change)).collect::<Option<_>>()?;
        let presence = &self.hub.tabs().presence;
        whole.into_iter().for_each(|whole| presence.set_elsewhere(server, whole));
        changes.into_iter().for_each(|change| presence.change_elsewhere(server, change));
        Some(())
    }

    fn read_roll<T: DeserializeOwned>(&self, server: &str, text: &str) -> Option<T> {
        let read = serde_json::from_str(text);
        read.inspect_err(|error: &serde_json::Error| {
            (self.report)(News::Bad { place: format!("who is at server `{server}`"), reason: error.to_string() });
        })
        .ok()
    }
}
