//! The status page, `/_domcast`: what the hub does, as a live view of a hub of its own.
//!
//! Every two seconds the counters are read and what they grew by is kept as a sample, five minutes of them. Only
//! while somebody looks on is the page's view given the new samples. A chart's bars are numbered by sample and drawn
//! at that number in a window that moves, so what travels is one bar in, one bar out, and the window.
//!
//! Its hub is not the one that it shows, so watching changes nothing of what is watched, and no view of the application
//! can meet its name. Who may push may look.

use crate::access::check_sender;
use crate::api::Refusal;
use crate::domcast::{Config, Domcast, PushAccess};
use crate::metrics::by_view;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use domcast_push::template::Templates;
use domcast_push::{DeclaredView, Hub, Push, ViewInfo};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// The view's name in the hub of the status page.
const VIEW: &str = "status";
const SAMPLE_EVERY: Duration = Duration::from_secs(2);
const N_SAMPLES: usize = 150;
const TEMPLATES: [(&str, &str); 2] =
    [("page.html", include_str!("../status/page.html")), ("status.html", include_str!("../status/status.html"))];
const STYLE: &str = include_str!("../status/status.css");
const ICON: &str = include_str!("../status/icon.svg");

/// The hub of the status page, and what it shows.
pub(crate) struct Status {
    page: Domcast,
    shown: Hub,
    started: Instant,
    samples: Mutex<Samples>,
}

/// What the counters of all views together grew by, sample after sample.
#[derive(Default)]
struct Samples {
    /// How many there were, dropped ones included.
    n_taken: u64,
    last: Totals,
    kept: VecDeque<Sample>,
}

#[derive(Clone, Copy, Default)]
struct Totals {
    pushes: u64,
    renders: u64,
    bytes: u64,
}

/// Per second, but for the subscribers, who are counted.
#[derive(Clone, Copy, Default)]
struct Sample {
    pushes: f64,
    renders: f64,
    bytes: f64,
    subscribers: f64,
}

#[derive(Serialize)]
struct Chart {
    title: &'static str,
    /// What stands behind its numbers.
    unit: &'static str,
    now: String,
    /// The value at the upper edge.
    top: f64,
    top_text: String,
    /// The number of the sample at the left edge.
    first: i64,
    /// Number and value of the samples that are not 0.
    bars: Vec<(u64, f64)>,
}

impl Status {
    /// The status of `shown`, for a router at `path`.
    pub(crate) fn new(shown: Hub, config: &Config) -> Arc<Status> {
        let hub = Hub::new(Templates::from_sources(TEMPLATES));
        let view = ["charts", "views", "facts"]
            .into_iter()
            .fold(DeclaredView::new("status.html"), |view, key| view.state(key, json!([])));
        hub.register_declared(VIEW, view).expect("the status page's own view can be rendered");
        let path = format!("{}/_domcast/status", config.path);
        let config = Config { path, push: PushAccess::Off, authorization: None, ..config.clone() };
        let page = Domcast::without_status(hub, config);
        Arc::new(Status { page, shown, started: Instant::now(), samples: Mutex::default() })
    }

    /// Returns the routes of the page; all of them want what a push wants of `domcast`.
    pub(crate) fn router(self: &Arc<Status>, domcast: &Domcast) -> Router {
        let style = async || ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE);
        let icon = async || ([(header::CONTENT_TYPE, "image/svg+xml")], ICON);
        let connection = self.page.connection_routes();
        Router::new()
            .route("/_domcast", get(page))
            .with_state(Arc::clone(self))
            .route("/_domcast/status/status.css", get(style))
            .route("/_domcast/status/icon.svg", get(icon))
            .nest("/_domcast/status/_domcast", connection)
            .layer(middleware::from_fn_with_state(domcast.clone(), guard))
    }

    /// Takes samples until the status is dropped.
    pub(crate) async fn run(status: Weak<Status>) {
        let mut clock = interval(SAMPLE_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            let Some(status) = status.upgrade() else { return };
            status.samples().take(&by_view(&status.shown));
            if status.page.hub().views().iter().any(|view| view.subscribers > 0) {
                status.refresh().await;
            }
        }
    }

    /// Brings the view up to date.
    async fn refresh(&self) {
        let views = by_view(&self.shown);
        let charts = self.samples().charts();
        let state =
            [("charts", json!(charts)), ("views", views.iter().map(row).collect()), ("facts", self.facts(&views))];
        if let Err(error) = self.page.hub().push(Push::state(VIEW, state)).await {
            tracing::error!(%error, "the status page cannot be rendered");
        }
    }

    fn facts(&self, views: &[ViewInfo]) -> Value {
        let hub = self.shown.statistics();
        let sum = |count: fn(&ViewInfo) -> u64| views.iter().map(count).sum::<u64>();
        let n_lost = sum(|view| view.statistics.lost.get());
        json!([
            ["up", duration(self.started.elapsed())],
            ["sessions", number(hub.sessions_opened.get().saturating_sub(hub.sessions_closed.get()) as f64)],
            ["waiting", number(sum(|view| view.waiting as u64) as f64)],
            ["refused", number(sum(|view| view.statistics.refused.get()) as f64)],
            ["lost", number(n_lost as f64)],
        ])
    }

    fn samples(&self) -> MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn guard(State(domcast): State<Domcast>, request: Request, next: Next) -> Response {
    match check_sender(&domcast, request.headers(), request.uri().host()) {
        Ok(()) => next.run(request).await,
        // A browser asks for the token, as a password.
        Err(Refusal(StatusCode::UNAUTHORIZED, reason)) if domcast.config().push != PushAccess::Off => {
            let challenge =
                [(header::WWW_AUTHENTICATE, "Basic realm=\"domcast: any name, the push token as password\"")];
            (StatusCode::UNAUTHORIZED, challenge, reason).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

async fn page(State(status): State<Arc<Status>>) -> Response {
    status.refresh().await;
    status.page.page("page.html", json!({ "path": status.page.config().path }))
}

impl Samples {
    fn take(&mut self, views: &[ViewInfo]) {
        let sum = |count: fn(&ViewInfo) -> u64| views.iter().map(count).sum::<u64>();
        let totals = Totals {
            pushes: sum(|view| view.statistics.pushes.get()),
            renders: sum(|view| view.statistics.renders.get()),
            bytes: sum(|view| view.statistics.patch_bytes.get()),
        };
        let last = std::mem::replace(&mut self.last, totals);
        self.n_taken += 1;
        if self.n_taken == 1 {
            // What was before the first sample happened at no known speed.
            return;
        }
        let per_second = |new: u64, old: u64| new.saturating_sub(old) as f64 / SAMPLE_EVERY.as_secs_f64();
        self.kept.push_back(Sample {
            pushes: per_second(totals.pushes, last.pushes),
            renders: per_second(totals.renders, last.renders),
            bytes: per_second(totals.bytes, last.bytes),
            subscribers: sum(|view| view.subscribers as u64) as f64,
        });
        if self.kept.len() > N_SAMPLES {
            self.kept.pop_front();
        }
    }

    fn charts(&self) -> [Chart; 4] {
        [
            self.chart("Pushes", "per second", |sample| sample.pushes),
            self.chart("Renders", "per second", |sample| sample.renders),
            self.chart("Patches", "bytes per second", |sample| sample.bytes),
            self.chart("Subscribers", "", |sample| sample.subscribers),
        ]
    }

    fn chart(&self, title: &'static str, unit: &'static str, value: fn(&Sample) -> f64) -> Chart {
        let first = self.n_taken - self.kept.len() as u64;
        let numbered = (first..).zip(self.kept.iter().map(value));
        let bars: Vec<_> = numbered.filter(|(_, value)| *value > 0.0).collect();
        let top = rounded_up(bars.iter().map(|(_, value)| *value).fold(1.0, f64::max));
        let now = number(self.kept.back().map(value).unwrap_or_default());
        let first = self.n_taken as i64 - N_SAMPLES as i64;
        Chart { title, unit, now, top, top_text: number(top), first, bars }
    }
}

fn row(view: &ViewInfo) -> Value {
    let statistics = &view.statistics;
    let render_ms = match (statistics.render_time.sum(), statistics.render_time.count()) {
        (_, 0) => "–".into(),
        (time, count) => format!("{:.2}", time.as_secs_f64() * 1e3 / count as f64),
    };
    let resyncs =
        [&statistics.resyncs_asked, &statistics.resyncs_behind, &statistics.resyncs_slow, &statistics.resyncs_restart];
    json!({
        "name": view.name,
        "is_broken": statistics.is_broken(),
        "version": view.position.version,
        "subscribers": number(view.subscribers as f64),
        "pushes": number(statistics.pushes.get() as f64),
        "renders": number(statistics.renders.get() as f64),
        "render_ms": render_ms,
        "bytes": number(statistics.patch_bytes.get() as f64),
        "resyncs": number(resyncs.iter().map(|resyncs| resyncs.get()).sum::<u64>() as f64),
    })
}

/// The next of 1, 2, 5, 10, 20, 50 …, so that a chart's scale seldom changes.
fn rounded_up(value: f64) -> f64 {
    let magnitude = 10_f64.powf(value.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * magnitude >= value);
    step.unwrap_or(10.0) * magnitude
}

/// Three digits that mean something: `0.5`, `42`, `1.25k`, `12.5M`.
fn number(value: f64) -> String {
    let (value, suffix) = match value {
        value if value >= 1e9 => (value / 1e9, "G"),
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e4 => (value / 1e3, "k"),
        value => (value, ""),
    };
    let text = format!("{value:.1}");
    format!("{}{suffix}", text.strip_suffix(".0").unwrap_or(&text))
}

fn duration(duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => format!("{} s", duration.as_secs()),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [(0.0, "0"), (0.5, "0.5"), (42.0, "42"), (9999.0, "9999"), (12_500.0, "12.5k"), (2e6, "2M")];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        for (value, top) in [(1.0, 1.0), (1.1, 2.0), (3.0, 5.0), (5.1, 10.0), (180.0, 200.0), (1000.0, 1000.0)] {
            assert_eq!(rounded_up(value), top);
        }
        for (seconds, text) in [(59, "59 s"), (60, "1 min"), (3661, "1 h 1 min"), (90_000, "1 d 1 h")] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }
}
