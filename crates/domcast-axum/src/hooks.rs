//! Hooks: what an application is told when a page subscribes to a view, and when it leaves it.
//!
//! They are called with the request that opened the connection, so with its cookies, on whatever transport. The request is kept
//! for as long as the connection, only if there is a hook.

use crate::domcast::Domcast;
use axum::http::request::Parts;
use domcast_push::{Client, Event, Forwarding, Gate};
use std::sync::{Arc, OnceLock};

type Hook = Box<dyn Fn(&Parts, &Client, &str, Option<&str>) + Send + Sync>;
type OnEvent = Box<dyn Fn(&Parts, &Client, &Event<'_>) -> Option<Forwarding> + Send + Sync>;

/// What an application wants to be told.
#[derive(Default)]
pub(crate) struct Hooks {
    subscribe: OnceLock<Hook>,
    unsubscribe: OnceLock<Hook>,
    event: OnceLock<OnEvent>,
}

impl Hooks {
    pub(crate) fn are_set(&self) -> bool {
        self.subscribe.get().is_some() || self.unsubscribe.get().is_some() || self.event.get().is_some()
    }
}

impl Domcast {
    /// Calls `hook` whenever a connection has subscribed to a view: with the request that opened it (its cookies, what a layer before
    /// the router put into its extensions, and its [`Tab`]), who [`identify`](Self::identify) says it is, the view, and the key if it has one.
    ///
    /// Once for each document that the connection mounts; a page that comes back, and each further tab, subscribes anew. For joins and
    /// leaves once per user see [`Hub::presence_events`](crate::Hub::presence_events). The connection waits for the hook, so spawn what takes
    /// its time. Set it before the router serves; the first call counts.
    ///
    /// ```no_run
    /// # fn example(domcast: &domcast_axum::Domcast) {
    /// domcast.on_subscribe(|request, client, view, key| {
    ///     let cookies = request.headers.get("cookie");
    ///     tracing::info!(?cookies, user = client.user, view, key, "looks on");
    /// });
    /// # }
    /// ```
    pub fn on_subscribe(&self, hook: impl Fn(&Parts, &Client, &str, Option<&str>) + Send + Sync + 'static) {
        _ = self.hooks().subscribe.set(Box::new(hook));
    }

    /// Calls `hook` when what [`on_subscribe`](Self::on_subscribe) told ends: the page went away or was silent for two heartbeats, or the
    /// view was taken away from it.
    pub fn on_unsubscribe(&self, hook: impl Fn(&Parts, &Client, &str, Option<&str>) + Send + Sync + 'static) {
        _ = self.hooks().unsubscribe.set(Box::new(hook));
    }

    /// Lets somebody else handle events of pages, such as an application in another language: `hook` is called with the request
    /// that opened the connection, who [`identify`](Self::identify) says it is, and the event. `None` leaves it to the view's own
    /// handler. The future begins once the events of this page before it were handled, its events after it wait, and it is driven
    /// to its end though the page may leave: bound its time. What it changes is shown to everybody, what it replies goes to the
    /// page that called, and so does its error. Set it before the router serves; the first call counts.
    pub fn on_event(&self, hook: impl Fn(&Parts, &Client, &Event<'_>) -> Option<Forwarding> + Send + Sync + 'static) {
        _ = self.hooks().event.set(Box::new(hook));
    }
}

/// Which connection a hook is told of, in the `extensions` of its request: what a push for one tab names, or for all but one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tab(pub String);

/// Tells the hooks of one connection.
pub(crate) struct Hooked {
    pub(crate) hooks: Arc<Hooks>,
    /// Set before the first frame of the connection.
    pub(crate) request: OnceLock<Parts>,
    pub(crate) client: Client,
    /// Who decides, if not everybody may mount everything.
    pub(crate) gate: Option<Arc<dyn Gate>>,
}

impl Hooked {
    fn tell(&self, hook: &OnceLock<Hook>, view: &str, key: Option<&str>) {
        if let Some((hook, request)) = hook.get().zip(self.request.get()) {
            hook(request, &self.client, view, key);
        }
    }
}

impl Gate for Hooked {
    fn user(&self, view: &str, key: Option<&str>, token: Option<&str>) -> Option<String> {
        match &self.gate {
            Some(gate) => gate.user(view, key, token),
            None => Some(String::new()),
        }
    }

    fn may_mount(&self, view: &str, key: Option<&str>, user: &str) -> bool {
        self.gate.as_ref().is_none_or(|gate| gate.may_mount(view, key, user))
    }

    fn mounted(&self, view: &str, key: Option<&str>) {
        self.tell(&self.hooks.subscribe, view, key);
    }

    fn unmounted(&self, view: &str, key: Option<&str>) {
        self.tell(&self.hooks.unsubscribe, view, key);
    }

    fn forward(&self, event: &Event<'_>) -> Option<Forwarding> {
        let (hook, request) = self.hooks.event.get().zip(self.request.get())?;
        hook(request, &self.client, event)
    }
}
