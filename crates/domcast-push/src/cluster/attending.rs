//! Attending: who is at which server.
//!
//! A third of a lease is a heartbeat, and twice in it each server tells the others who is there, as a whole if that has changed, and hears who is elsewhere. So
//! somebody is known everywhere within a heartbeat. What a server told counts for a heartbeat; if it is missing twice, its visitors are gone: within
//! two heartbeats after it died. (Changes alone were refused: whoever misses one is wrong for ever, or asks for the whole.)
//!
//! While the ledger is away, who was elsewhere stays so.

use super::{Member, News};
use crate::ledger::{Attendance, Elsewhere, Ledger};
use std::collections::BTreeMap;
use tokio::time::sleep;

/// What is known of another server.
struct Known {
    n: u64,
    /// Whether it was there when last heard of.
    was_there: bool,
}

impl<L: Ledger> Member<L> {
    pub(super) async fn attend(&self) {
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        let mut n_told = 0;
        loop {
            let roll = self.hub.tabs().presence.roll(n_told);
            let (n, text) = match roll {
                Some((n, roll)) => (n, Some(serde_json::to_string(&roll).expect("a roll is JSON"))),
                None => (n_told, None),
            };
            let numbers = known.iter().map(|(server, known)| (server.clone(), known.n)).collect();
            let attendance = Attendance { n, text, lifetime: self.options.lease / 3, known: numbers };
            if let Some(attended) = self.try_once(self.ledger.attend(&self.name, &attendance)).await {
                n_told = if attended.is_kept { n } else { 0 };
                self.hear(&mut known, attended.others);
            }
            sleep(self.options.lease / 6).await;
        }
    }

    fn hear(&self, known: &mut BTreeMap<String, Known>, others: Vec<Elsewhere>) {
        let mut missing = std::mem::take(known);
        let presence = &self.hub.tabs().presence;
        for Elsewhere { server, n, text } in others {
            missing.remove(&server);
            match text.map(|text| serde_json::from_str(&text)) {
                Some(Ok(roll)) => presence.set_elsewhere(&server, roll),
                Some(Err(error)) => {
                    let place = format!("who is at server `{server}`");
                    (self.report)(News::Bad { place, reason: error.to_string() });
                }
                None => {}
            }
            known.insert(server, Known { n, was_there: true });
        }
        for (server, before) in missing {
            if before.was_there {
                known.insert(server, Known { was_there: false, ..before });
            } else {
                presence.set_elsewhere(&server, Vec::new());
            }
        }
    }
}
