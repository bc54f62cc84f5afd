//! What the application is told: that this server started, that a page subscribes to a view, and that it leaves it.
//!
//! Each is a `POST` of JSON with the cookies that the browser sent: `{"signal": "subscribe", "view": "order", "key": "42",
//! "user": "ann", "session": "…", "tab": "…"}`, or `unsubscribe`. They come one after the other, in order; what the
//! application answers changes nothing. One that it does not take, or that finds too many waiting, is lost, which the log
//! tells. Before all comes `{"signal": "start"}`, again and again until the application takes it: the state of all views is
//! as new, and whom it was told of are gone.
//!
//! The address of the application is that of its pages too, so anybody could send it such a request: ours brings the token of pushes.

use super::upstream::{Application, Told};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use domcast_axum::{Client, Domcast, Tab};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

/// How many may wait for the application.
const MAX_WAITING: usize = 4096;

/// How long the application may think about one.
const ANSWER: Duration = Duration::from_secs(5);

/// How long it is left in peace after it did not take the first.
const START_AGAIN: Duration = Duration::from_secs(2);

/// How long those that wait may take when the server stops.
const LAST: Duration = Duration::from_secs(3);

#[derive(Serialize)]
struct Signal<'a> {
    signal: &'a str,
    view: &'a str,
    key: Option<&'a str>,
    user: Option<&'a str>,
    session: Option<&'a str>,
    tab: Option<&'a str>,
}

/// Where signals go.
struct Signals {
    application: Application,
    path: String,
}

/// What waits to be sent.
pub(super) struct Waiting(mpsc::Sender<Message>);

enum Message {
    Signal(Box<Request>),
    /// Tells that all before it were sent.
    Last(oneshot::Sender<()>),
}

/// Tells the application of the start, and of all subscriptions from now on.
pub(super) fn send(domcast: &Domcast, application: Application, path: String) -> Waiting {
    let (sender, waiting) = mpsc::channel(MAX_WAITING);
    let signals = Arc::new(Signals { application, path });
    let hook = |signal: &'static str| {
        let (sender, signals) = (sender.clone(), Arc::clone(&signals));
        move |page: &Parts, client: &Client, view: &str, key: Option<&str>| {
            let (user, session) = (client.user.as_deref(), client.session.as_deref());
            let tab = page.extensions.get::<Tab>().map(|Tab(tab)| tab.as_str());
            let told = Signal { signal, view, key, user, session, tab };
            let body = serde_json::to_string(&told).expect("it is a map of strings");
            if sender.try_send(Message::Signal(Box::new(signals.request(&page.headers, body)))).is_err() {
                let path = &signals.path;
                tracing::error!(
                    view,
                    key,
                    "`{path}` of the application was not told of a {signal}: {MAX_WAITING} others wait"
                );
            }
        }
    };
    domcast.on_subscribe(hook("subscribe"));
    domcast.on_unsubscribe(hook("unsubscribe"));
    tokio::spawn(async move { signals.tell(waiting).await });
    Waiting(sender)
}

impl Waiting {
    /// Waits until all that was told before is sent, but not for long.
    pub(super) async fn sent(self) {
        let (sender, last) = oneshot::channel();
        let all = async {
            _ = self.0.send(Message::Last(sender)).await;
            _ = last.await;
        };
        if timeout(LAST, all).await.is_err() {
            tracing::error!("the application was not told of all who left: it takes too long");
        }
    }
}

impl Signals {
    fn request(&self, browser: &HeaderMap, body: String) -> Request {
        self.application.request(&self.path, browser, Some(body))
    }

    async fn tell(&self, mut waiting: mpsc::Receiver<Message>) {
        let (told, path) = (Told::default(), &self.path);
        loop {
            let posted = self.post(self.request(&HeaderMap::new(), r#"{"signal":"start"}"#.into())).await;
            told.tell(&posted, |reason| {
                tracing::error!("`{path}` of the application did not take the signal of the start yet: {reason}");
            });
            if posted.is_ok() {
                break;
            }
            sleep(START_AGAIN).await;
        }
        while let Some(message) = waiting.recv().await {
            match message {
                Message::Signal(request) => {
                    let posted = self.post(*request).await;
                    told.tell(&posted, |reason| {
                        tracing::error!("`{path}` of the application does not take signals, which are lost: {reason}");
                    });
                }
                Message::Last(sender) => _ = sender.send(()),
            }
        }
    }

    async fn post(&self, request: Request) -> Result<(), String> {
        match timeout(ANSWER, self.application.upstream.answer(request)).await {
            Ok(Ok(response)) if response.status().is_success() => Ok(()),
            Ok(Ok(response)) => Err(format!("it answered {}", response.status())),
            Ok(Err(reason)) => Err(reason),
            Err(_) => Err(format!("it thought for {} s", ANSWER.as_secs())),
        }
    }
}
