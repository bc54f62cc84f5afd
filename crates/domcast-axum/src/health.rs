//! Health: is the process alive (`/healthz`), and should a load balancer send it clients (`/readyz`)?
//!
//! A server is ready unless it drains, or has never reached its channel layer. A view that cannot be rendered, or a
//! channel layer that was lost, does not make it unready: it goes on showing the last good state and applying local
//! pushes, and as every server of the fleet has the same trouble at the same time, taking all of them away would turn a
//! fault into an outage. The answer names such troubles all the same.

use crate::domcast::Domcast;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What keeps a server from being ready, and what only troubles it, by name.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Conditions>);

#[derive(Clone, Debug, Default)]
struct Conditions {
    blockers: BTreeMap<String, String>,
    troubles: BTreeMap<String, String>,
}

#[derive(Serialize)]
pub(crate) struct Answer {
    ready: bool,
    /// What keeps the server from being ready.
    blockers: BTreeMap<String, String>,
    /// What is wrong, and no reason to send clients elsewhere.
    troubles: BTreeMap<String, String>,
}

impl Domcast {
    /// Says that the server should get no new clients for now, and why; `None` takes it back.
    ///
    /// `name` is for several of these: `drain`, or `redis` before the first connection.
    pub fn set_blocker(&self, name: &str, reason: Option<String>) {
        self.health().set(|conditions| &mut conditions.blockers, name, reason);
    }

    /// Says that something is wrong that leaves the server ready, as a channel layer that was lost; `None` takes it back.
    pub fn set_trouble(&self, name: &str, reason: Option<String>) {
        self.health().set(|conditions| &mut conditions.troubles, name, reason);
    }
}

impl Health {
    fn set(&self, list: fn(&mut Conditions) -> &mut BTreeMap<String, String>, name: &str, reason: Option<String>) {
        let mut conditions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(reason) => _ = list(&mut conditions).insert(name.to_owned(), reason),
            None => _ = list(&mut conditions).remove(name),
        }
    }
}

pub(crate) async fn ready(State(domcast): State<Domcast>) -> (StatusCode, Json<Answer>) {
    let Conditions { blockers, mut troubles } =
        domcast.health().0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for view in domcast.hub().views() {
        if view.statistics.is_broken() {
            troubles.insert(format!("view {}", view.name), "it cannot be rendered".into());
        }
    }
    let ready = blockers.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Answer { ready, blockers, troubles }))
}
