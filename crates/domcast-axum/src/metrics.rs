//! Metrics: the hub's statistics as Prometheus reads them, at `GET /metrics`, and those of some views as JSON, at `GET /views?prefix=NAME`, for who may push.

use crate::access::check_sender;
use crate::api::Refusal;
use crate::domcast::Domcast;
use crate::presence::Prefix;
use axum::Json;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderName, Uri, header};
use domcast_push::{Counter, Histogram, Hub, ViewInfo, ViewStatistics};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value};
use std::fmt;
use tokio::runtime::Handle;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn metrics(
    State(domcast): State<Domcast>,
    request: Request,
) -> Result<([(HeaderName, &'static str); 1], String), Refusal> {
    check_sender(&domcast, request.headers(), request.uri().host())?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], domcast.metrics()))
}

/// The views whose names begin so, each with its counts since the server began and how it is now.
pub(crate) async fn views(
    State(domcast): State<Domcast>,
    Query(Prefix { prefix }): Query<Prefix>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Vec<Map<String, Value>>>, Refusal> {
    check_sender(&domcast, &headers, uri.host())?;
    let views = by_view(domcast.hub()).into_iter().filter(|view| view.name.starts_with(&*prefix));
    Ok(Json(views.map(|view| statistics(&view)).collect()))
}

/// The names are those of the metrics.
fn statistics(view: &ViewInfo) -> Map<String, Value> {
    let short = |name: &str| name.trim_start_matches("domcast_").to_owned();
    let gauges = VIEW_GAUGES.map(|(name, _, gauge)| (short(name), gauge(view).into()));
    let counts = VIEW_COUNTERS.map(|(name, _, count)| (short(name), count(&view.statistics).get().into()));
    let resyncs: Map<_, _> =
        RESYNCS.iter().map(|(cause, count)| ((*cause).to_owned(), count(&view.statistics).get().into())).collect();
    let name = ("view".to_owned(), Value::from(&*view.name));
    std::iter::once(name).chain(gauges).chain(counts).chain([("resyncs".to_owned(), resyncs.into())]).collect()
}

impl Domcast {
    /// Returns the metrics as OpenMetrics text, for an application that serves them with its own.
    pub fn metrics(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Metrics(self.hub().clone())));
        let mut text = String::new();
        text::encode(&mut text, &registry).expect("writing to a string cannot fail");
        text
    }
}

type Count = fn(&ViewStatistics) -> &Counter;
type ViewCounter = (&'static str, &'static str, Count);
type ViewGauge = (&'static str, &'static str, fn(&ViewInfo) -> u64);
type ViewHistogram = (&'static str, &'static str, fn(&ViewStatistics) -> &Histogram);

const VIEW_COUNTERS: [ViewCounter; 15] = [
    ("domcast_pushes", "Pushes that were applied", |view| &view.pushes),
    ("domcast_events", "Events of browsers that were handled", |view| &view.events),
    ("domcast_ticks", "Ticks", |view| &view.ticks),
    ("domcast_refused", "Pushes, events and ticks that were refused or failed", |view| &view.refused),
    ("domcast_drops", "Pushes, events and ticks that were lost; must be 0", |view| &view.lost),
    ("domcast_turns", "Turns, each for all that waited", |view| &view.turns),
    ("domcast_coalesced", "Pushes, events and ticks that shared the turn of another one", |view| &view.coalesced),
    ("domcast_renders", "Renderings of the template", |view| &view.renders),
    ("domcast_render_failures", "Renderings that failed", |view| &view.render_failures),
    ("domcast_wholes", "Renderings that were parsed and compared as a whole", |view| &view.wholes),
    ("domcast_repairs", "Trees that a failure of the engine lost, and that were made anew; must be 0", |view| {
        &view.repairs
    }),
    ("domcast_diffs", "Searches for the patches of a change", |view| &view.diffs),
    ("domcast_encodings", "Patch lists encoded, each once for all subscribers", |view| &view.updates),
    ("domcast_patch_bytes", "Bytes of these patch lists", |view| &view.patch_bytes),
    ("domcast_deliveries", "Patch lists put into the queues of subscribers", |view| &view.deliveries),
];

const VIEW_GAUGES: [ViewGauge; 3] = [
    ("domcast_subscribers", "Sessions that have mounted the view", |view| view.subscribers as u64),
    ("domcast_queue_depth", "Pushes, events and ticks that wait for a turn", |view| view.waiting as u64),
    ("domcast_broken", "1 while the view cannot be rendered", |view| view.statistics.is_broken().into()),
];

const RESYNCS: [(&str, Count); 4] = [
    ("asked", |view| &view.resyncs_asked),
    ("behind", |view| &view.resyncs_behind),
    ("slow", |view| &view.resyncs_slow),
    ("restart", |view| &view.resyncs_restart),
];

const VIEW_HISTOGRAMS: [ViewHistogram; 4] = [
    ("domcast_render_seconds", "Rendering the template", |view| &view.render_time),
    ("domcast_parse_seconds", "Parsing what was rendered", |view| &view.parse_time),
    ("domcast_diff_seconds", "Finding the patches", |view| &view.diff_time),
    ("domcast_encode_seconds", "Encoding the patches", |view| &view.encode_time),
];

/// Lists the views, the documents of one with keys added up.
pub(crate) fn by_view(hub: &Hub) -> Vec<ViewInfo> {
    let mut views: Vec<ViewInfo> = Vec::new();
    for document in hub.views() {
        match views.last_mut() {
            Some(view) if view.name == document.name => {
                view.subscribers += document.subscribers;
                view.waiting += document.waiting;
            }
            _ => views.push(document),
        }
    }
    views
}

#[derive(Debug)]
struct Metrics(Hub);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let views = by_view(&self.0);
        let hub = self.0.statistics();
        let hub_counters = [
            ("domcast_sessions_opened", "Sessions that were opened", &hub.sessions_opened),
            ("domcast_frames_received", "Frames that clients sent", &hub.frames_received),
            ("domcast_frames_malformed", "Frames that were not of the protocol", &hub.frames_malformed),
        ];
        for (name, help, counter) in hub_counters {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            family.encode_counter::<NoLabelSet, _, u64>(&counter.get(), None)?;
        }
        let sessions = hub.sessions_opened.get().saturating_sub(hub.sessions_closed.get());
        let mut family =
            encoder.encode_descriptor("domcast_sessions", "Sessions that are open", None, MetricType::Gauge)?;
        family.encode_gauge(&sessions)?;

        if let Ok(runtime) = Handle::try_current() {
            let help = "Tasks of the runtime that are alive";
            let mut family = encoder.encode_descriptor("domcast_tasks", help, None, MetricType::Gauge)?;
            family.encode_gauge(&(runtime.metrics().num_alive_tasks() as u64))?;
        }

        for (name, help, counter) in VIEW_COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for view in &views {
                let count = counter(&view.statistics).get();
                family.encode_family(&[("view", &*view.name)])?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let help = "Snapshots instead of patches, by cause";
        let mut family = encoder.encode_descriptor("domcast_resyncs", help, None, MetricType::Counter)?;
        for view in &views {
            for (cause, counter) in RESYNCS {
                let labels = [("view", &*view.name), ("cause", cause)];
                let count = counter(&view.statistics).get();
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        for (name, help, gauge) in VIEW_GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for view in &views {
                family.encode_family(&[("view", &*view.name)])?.encode_gauge(&gauge(view))?;
            }
        }
        for (name, help, histogram) in VIEW_HISTOGRAMS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for view in &views {
                let histogram = histogram(&view.statistics);
                let bounds = Histogram::BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
                let buckets: Vec<(f64, u64)> = bounds.zip(histogram.buckets()).collect();
                let count = buckets.iter().map(|(_, count)| count).sum();
                family.encode_family(&[("view", &*view.name)])?.encode_histogram::<NoLabelSet>(
                    histogram.sum().as_secs_f64(),
                    count,
                    &buckets,
                    None,
                )?;
            }
        }
        Ok(())
    }
}
