//! Who a page is for, asked again as long as it is known for a time only.
//!
//! Between a quarter and half of that time after each answer whoever identified the page is asked again, with the request
//! that opened its connection; where it gives none, again and again until the time is over. Then the connection ends with a
//! code that has its page come back, which is identified as any that connects.

use crate::connection::random_part;
use crate::domcast::Domcast;
use axum::http::request::Parts;
use domcast_push::{Client, Session};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::time::{sleep, timeout};

pub(crate) type IdentifyAgain = Box<dyn Fn(&Parts) -> Answer + Send + Sync>;
type Answer = Pin<Box<dyn Future<Output = Option<Client>> + Send>>;

/// How much of the time that is over may pass until whoever gave no answer is asked again.
const TRIES: u32 = 16;

impl Domcast {
    /// Says how to find out again who is at the other end of a connection whose client is [valid for a time](Client::valid_for):
    /// from the request that opened it. `None` means that nobody can tell now, and it is tried again until that time is over;
    /// then the connection ends, and its page comes back. Another user or session ends it at once, other topics are taken and
    /// given. Without this the hook of [`identify`](Self::identify) is asked again. The first call counts.
    pub fn identify_again<F>(&self, client: impl Fn(&Parts) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Option<Client>> + Send + 'static,
    {
        _ = self.identify_again_hook().set(Box::new(move |request| Box::pin(client(request))));
    }

    /// Asks again who a session is for, until that is known for ever, or the session is over.
    pub(crate) fn keep_identified(&self, session: &Arc<Session>, request: Parts) {
        let (domcast, id) = (self.clone(), session.id());
        let Some(mut valid_for) = session.client().valid_for else { return };
        // The connection holds the session, and this does not.
        let session = Arc::downgrade(session);
        tokio::spawn(async move {
            let mut wait = valid_for / 4 + random_part(valid_for / 4);
            loop {
                sleep(wait).await;
                let answer = match domcast.identify_again_hook().get() {
                    Some(hook) if session.strong_count() > 0 => {
                        // However long that takes: what is known meanwhile ends in its time.
                        timeout(valid_for, hook(&request)).await.unwrap_or(None)
                    }
                    _ => Some(domcast.client(&request)),
                };
                let Some(session) = session.upgrade() else { return };
                let goes_on = !session.has_lapsed() && answer.as_ref().is_none_or(|client| session.confirm(client));
                if !goes_on {
                    tracing::info!(session = id, "who it is for is to be asked anew");
                    return session.leave();
                }
                wait = valid_for / TRIES;
                if let Some(client) = answer {
                    let Some(time) = client.valid_for else { return };
                    valid_for = time;
                    wait = valid_for / 4 + random_part(valid_for / 4);
                }
            }
        });
    }
}
