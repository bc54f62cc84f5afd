//! Alone: an owner that cannot reach the ledger, and the way back.
//!
//! What is pushed meanwhile is shown in an epoch of its own and noted, up to a bound. When the ledger is back, the document is committed as a
//! whole if nobody else wrote; else what was noted is forwarded, like any push.

use super::asking::Parcel;
use super::owner::Owned;
use super::{Batch, ClusterOptions, Member, News};
use crate::error::PushError;
use crate::ledger::{Commit, Committed, Ledger, Standing};
use crate::replica::{Owing, Replica, Turn};
use crate::slot::Waiting;
use crate::turn::Input;
use std::pin::pin;
use std::sync::Arc;
use tokio::time::sleep;

/// What was done alone, to be done again if it must be.
#[derive(Default)]
pub(super) struct Uncommitted {
    pub(super) pushes: Vec<Parcel>,
    pub(super) n_bytes: usize,
}

/// What an owner finds that comes back.
enum Return {
    Owner,
    /// Another owns the view; this server's last commit is `n_own`.
    Deposed {
        n_own: u64,
    },
}

impl<L: Ledger> Member<L> {
    /// Goes on without the ledger until it is back. Returns whether this server is still the owner then.
    pub(super) async fn go_alone(&self, replica: &Replica, owned: &mut Owned, batch: Batch, turn: Turn) -> bool {
        (self.report)(News::Alone { view: Arc::clone(&replica.name) });
        let mut n_tried = owned.n + 1;
        let mut cursor = owned.cursor.clone();
        cursor =
            batch.askers.iter().rev().find_map(|(_, arrival)| Some(arrival.as_ref()?.cursor.clone())).unwrap_or(cursor);
        let mut uncommitted = Uncommitted::default();
        replica.renew_epoch();
        let mut source = turn.source.clone();
        self.note(&mut uncommitted, replica, &batch, &turn);
        let mut replies = self.replies(replica, &batch, &turn);
        self.answer_alone(replica, batch, turn);
        // What was tried may have been written although nobody said so: its number, and how many pushes it had.
        let mut tried = vec![(n_tried, uncommitted.pushes.len())];
        let token = owned.token.clone();
        loop {
            let mut probe = pin!(async {
                sleep(self.options.alone_after).await;
                self.beat(replica, Some(&token), true, None).await
            });
            let standing = loop {
                tokio::select! {
                    () = replica.queued() => {}
                    standing = &mut probe => break standing,
                }
                replica.open().await;
                let (refused, mut taken) = uncommitted.divide(self.take(replica, owned.term), &self.options);
                let unavailable = || PushError::Unavailable { view: replica.slot.view.to_string() };
                taken.extend(refused.into_iter().filter_map(|waiting| waiting.refuse(unavailable())));
                if taken.is_empty() {
                    continue;
                }
                let batch = Batch::new(taken);
                let turn = match replica.turn(&batch.inputs).await {
                    Ok(turn) => turn,
                    Err(error) => {
                        replica.roll_back();
                        _ = replica.restore(&source).await;
                        batch.askers.into_iter().for_each(|(answer, _)| drop(answer.send(Err(error.clone()))));
                        continue;
                    }
                };
                for arrival in batch.askers.iter().filter_map(|(_, arrival)| arrival.as_ref()) {
                    cursor = arrival.cursor.clone();
                }
                replica.show_own(0, &turn.step);
                source.clone_from(&turn.source);
                self.note(&mut uncommitted, replica, &batch, &turn);
                replies.extend(self.replies(replica, &batch, &turn));
                self.answer_alone(replica, batch, turn);
            };
            let Some(Standing { token, .. }) = standing else { continue };
            // What was tried before may be written yet, and be read by some: this one comes after it in any case.
            n_tried += 1;
            let (n, entry) = (n_tried, replica.still(replies.clone()));
            let (source, cursor, snapshot) = (source.clone(), cursor.clone(), Some(replica.snapshot()));
            let lifetime = self.lifetime(replica);
            let commit = Commit {
                n,
                id: self.request(),
                at: replica.at(),
                entry,
                source,
                cursor,
                snapshot,
                is_install: true,
                is_last: false,
                lifetime,
            };
            tried.push((n, uncommitted.pushes.len()));
            match self.come_back(replica, owned, token, &commit).await {
                Some(Return::Owner) => return true,
                Some(Return::Deposed { n_own }) => {
                    let written = tried.iter().find(|(n, _)| *n == n_own);
                    self.resubmit(replica, uncommitted, written.map_or(0, |(_, n_pushes)| *n_pushes));
                    return false;
                }
                None => {}
            }
        }
    }

    /// Tries to commit what was done alone, as a whole. `None`: the ledger is still away.
    async fn come_back(
        &self,
        replica: &Replica,
        owned: &mut Owned,
        token: Option<String>,
        commit: &Commit,
    ) -> Option<Return> {
        let _held = token.as_ref().map(|token| self.hold(replica, token));
        let _place = self.place().await;
        // Loaded after the beat: once the lease is another's, what was tried cannot be written any more.
        let kept = self.try_once(self.ledger.load(&replica.name, &replica.owner)).await?;
        let deposed = Return::Deposed { n_own: kept.as_ref().map_or(0, |kept| kept.n_own) };
        let Some(token) = token else { return Some(deposed) };
        let is_ours = kept.is_none_or(|kept| kept.n <= owned.n || kept.n_own == kept.n);
        if !is_ours {
            return Some(deposed);
        }
        owned.token = token;
        match self.try_once(self.ledger.commit(&replica.name, &replica.owner, &owned.token, commit)).await? {
            Committed::Done => {
                owned.committed(commit);
                replica.settle(commit.n);
                Some(Return::Owner)
            }
            Committed::Deposed | Committed::Astray => Some(deposed),
        }
    }

    fn note(&self, uncommitted: &mut Uncommitted, replica: &Replica, batch: &Batch, turn: &Turn) {
        for ((input, (_, arrival)), outcome) in batch.inputs.iter().zip(&batch.askers).zip(&turn.outcomes) {
            if let (Input::Change(change, sender), None, Ok(_)) = (input, arrival, outcome) {
                let forwarded = self.forwarded(replica, (**change).clone(), sender);
                let parcel = Parcel::new(forwarded);
                uncommitted.n_bytes += parcel.n_bytes;
                uncommitted.pushes.push(parcel);
            }
        }
    }

    /// Forwards what was done alone, but for the first `n_written` pushes.
    fn resubmit(&self, replica: &Replica, mut uncommitted: Uncommitted, n_written: usize) {
        uncommitted.pushes.drain(..n_written);
        if let Some(last) = uncommitted.pushes.last() {
            replica.set_owing(Some(Owing::Answer(last.forwarded.origin.request.clone())));
        }
        let mut outbox = self.outbox();
        uncommitted.pushes.into_iter().for_each(|parcel| outbox.put(parcel));
        drop(outbox);
        self.outbox_filled.notify_one();
    }
}

impl Uncommitted {
    /// Divides inputs into those beyond the bound and those within.
    fn divide(&self, waiting: Vec<Waiting>, options: &ClusterOptions) -> (Vec<Waiting>, Vec<Waiting>) {
        let is_full = self.n_bytes >= options.n_waiting_bytes;
        let mut room = options.n_waiting.saturating_sub(self.pushes.len());
        waiting.into_iter().partition(|waiting| {
            let is_push = matches!(waiting.input, Input::Change(..));
            let is_beyond = is_push && (is_full || room == 0);
            room = room.saturating_sub(usize::from(is_push));
            is_beyond
        })
    }
}
