//! `domcast.toml`: what is served, and how.
//!
//! [`domcast serve --help`](super::Args) shows the file `domcast.toml` that lies here: every key with what it is for.
//!
//! Every error names the file, the line, what was found and what is allowed; unknown keys are errors.

use super::upstream::{self, Upstream};
use crate::{input, web};
use anyhow::{Context, Result, anyhow, bail};
use axum::http::{HeaderValue, Uri};
use domcast_axum::{DeclaredView, Edits, Limits, PushError, Rate};
use domcast_push::DeclaredHandler;
use domcast_template::Limits as TemplateLimits;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

pub(super) const FILE: &str = "domcast.toml";
const DEFAULT_BIND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);
const MIN_TICK: Duration = Duration::from_millis(10);
/// How long it holds who a page is for, unless the file or the application says otherwise.
const IDENTIFY_FOR: Duration = Duration::from_secs(600);

/// What `domcast.toml` says.
pub(super) struct Config {
    path: PathBuf,
    /// The text of the file.
    text: String,
    pub(super) bind: SocketAddr,
    pub(super) token: Option<String>,
    pub(super) allowed_origins: Vec<String>,
    pub(super) allowed_hosts: Vec<String>,
    /// The topics whose messages all pages get.
    pub(super) topics: Vec<String>,
    /// `None` is what fits the address.
    pub(super) development: Option<bool>,
    /// The address, and its line.
    pub(super) redis: Option<(String, usize)>,
    pub(super) redis_key: Option<String>,
    pub(super) upstream: Option<Upstream>,
    /// The path of the upstream that says who a page is for, and its line.
    pub(super) identify: Option<(String, usize)>,
    /// How long its answer holds if that does not say.
    pub(super) identify_for: Duration,
    /// The path of the upstream that is told of subscriptions, and its line.
    pub(super) signals: Option<(String, usize)>,
    pub(super) content_security_policy: HeaderValue,
    pub(super) limits: Limits,
    pub(super) template_limits: TemplateLimits,
    pub(super) views: Vec<View>,
}

/// A view, with the lines that errors name.
pub(super) struct View {
    pub(super) name: String,
    /// What a page must get to see the view, if anything; `{key}` in it is the key.
    pub(super) topic: Option<String>,
    pub(super) source: Source,
    /// The path of the upstream that has the first state, and its line; `{key}` in it is the key.
    pub(super) load: Option<(String, usize)>,
    /// The paths of the upstream that handlers go to, by name, and their lines; `{key}` in them is the key.
    pub(super) forwards: BTreeMap<String, (String, usize)>,
    line: usize,
    pub(super) edits: Vec<Edit>,
}

pub(super) enum Source {
    Declared(DeclaredView),
    /// One document per key.
    Keyed(DeclaredView),
    /// The first content.
    Posted(String),
}

/// An expression of a handler or a tick.
pub(super) struct Edit {
    pub(super) handler: String,
    pub(super) is_tick: bool,
    key: String,
    pub(super) expression: String,
    pub(super) line: usize,
}

impl Config {
    /// Reads the folder's `domcast.toml` and the files that it names.
    pub(super) fn read(dir: &Path) -> Result<Config> {
        let path = dir.join(FILE);
        let source = input::text(&path)?;
        Reader { dir, path, source: &source }.config()
    }

    /// Returns how errors name a line of the file.
    pub(super) fn at(&self, line: usize) -> String {
        at(&self.path, line)
    }

    /// Returns what there is to say about the file if it is another text by now than `known`, which is what it was when it was last asked for,
    /// or at first what was read.
    pub(super) fn edited(&self, known: &mut Option<String>) -> Option<String> {
        // An editor may have taken it away for a moment.
        let text = input::text(&self.path).ok()?;
        if text == *known.as_ref().unwrap_or(&self.text) {
            return None;
        }
        let is_served = text == self.text;
        *known = Some(text);
        let name = input::name(&self.path);
        let dir = self.path.parent().unwrap_or(Path::new(""));
        Some(match Config::read(dir) {
            Ok(_) if is_served => format!("{name} is what is served again"),
            Ok(_) => format!("{name} was edited: restart the server to apply it"),
            Err(error) => format!("{error:#} (the server goes on with what it has read)"),
        })
    }
}

impl View {
    /// Returns the line that an error of the view's registration is about.
    pub(super) fn line_of(&self, error: &PushError) -> usize {
        let is_meant = |edit: &&Edit| match error {
            PushError::UndeclaredKey { key, .. } => edit.key == *key,
            PushError::BadEdit { handler, error, .. } => {
                edit.handler == *handler && error.message().contains(&format!("`{}`", edit.expression))
            }
            _ => false,
        };
        self.edits.iter().find(is_meant).map_or(self.line, |edit| edit.line)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    bind: Option<Spanned<String>>,
    token: Option<Spanned<String>>,
    #[serde(default)]
    allowed_origins: Vec<Spanned<String>>,
    #[serde(default)]
    allowed_hosts: Vec<Spanned<String>>,
    #[serde(default)]
    topics: Vec<String>,
    development: Option<bool>,
    redis: Option<Spanned<String>>,
    redis_key: Option<String>,
    upstream: Option<Spanned<String>>,
    identify: Option<Spanned<String>>,
    identify_for: Option<Spanned<String>>,
    signals: Option<Spanned<String>>,
    content_security_policy: Option<Spanned<String>>,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    views: Vec<RawView>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    push_bytes: Option<usize>,
    html_bytes: Option<usize>,
    frame_bytes: Option<usize>,
    write_buffer_bytes: Option<usize>,
    template_bytes: Option<usize>,
    output_bytes: Option<usize>,
    fuel: Option<usize>,
    n_events: Option<usize>,
    n_connections: Option<usize>,
    frames_per_second: Option<u32>,
    pushes_per_second: Option<u32>,
    hello: Option<Spanned<String>>,
    idle: Option<Spanned<String>>,
    write: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawView {
    name: Spanned<String>,
    template: Option<Spanned<String>>,
    html: Option<Spanned<String>>,
    state: Option<Spanned<toml::Value>>,
    #[serde(default)]
    keyed: bool,
    topic: Option<String>,
    load: Option<Spanned<String>>,
    tick: Option<RawTick>,
    #[serde(default)]
    handlers: BTreeMap<String, RawHandler>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTick {
    every: Spanned<String>,
    set: BTreeMap<String, Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHandler {
    #[serde(default)]
    set: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    push_only: bool,
    reply: Option<Spanned<String>>,
    forward: Option<Spanned<String>>,
}

struct Reader<'a> {
    dir: &'a Path,
    path: PathBuf,
    source: &'a str,
}

impl Reader<'_> {
    fn config(self) -> Result<Config> {
        let raw: RawConfig = toml::from_str(self.source).map_err(|error| self.syntax(&error))?;
        let bind = match &raw.bind {
            Some(bind) => web::bind(bind.get_ref())
                .map_err(|expected| self.wrong(bind, &format!("`bind` is `{}`, {expected}", bind.get_ref())))?,
            None => DEFAULT_BIND,
        };
        if let Some(token) = raw.token.as_ref().filter(|token| token.get_ref().is_empty()) {
            return Err(self.wrong(token, "`token` is empty: anybody could guess it"));
        }
        for origin in &raw.allowed_origins {
            let found = origin.get_ref();
            let host = found.strip_prefix("https://").or(found.strip_prefix("http://"));
            if host.is_none_or(|host| host.is_empty() || host.contains('/')) {
                let message = format!("`{found}` is no origin, expected one such as `https://example.org`");
                return Err(self.wrong(origin, &message));
            }
        }
        for host in &raw.allowed_hosts {
            let found = host.get_ref();
            if found.is_empty()
                || found.contains(['/', '@'])
                || found.trim_end_matches(|char: char| char.is_ascii_digit()).ends_with(':')
            {
                return Err(self.wrong(
                    host,
                    &format!("`{found}` is no host, expected one such as `example.org`, without a port"),
                ));
            }
        }
        let content_security_policy = match &raw.content_security_policy {
            Some(policy) => HeaderValue::from_str(policy.get_ref())
                .map_err(|_| self.wrong(policy, "`content_security_policy` holds what no HTTP header can"))?,
            None => HeaderValue::from_static(web::CONTENT_SECURITY_POLICY),
        };
        let upstream = raw.upstream.as_ref().map(|url| {
            let found = url.get_ref();
            Upstream::new(found)
                .ok_or_else(|| self.wrong(url, &format!("`upstream` is `{found}`, {}", upstream::EXPECTED)))
        });
        let upstream = upstream.transpose()?;
        let identify = raw.identify.as_ref().map(|path| self.path_of_upstream("identify", path, None)).transpose()?;
        let signals = raw.signals.as_ref().map(|path| self.path_of_upstream("signals", path, None)).transpose()?;
        let identify_for = match &raw.identify_for {
            Some(time) if identify.is_none() => {
                return Err(self.wrong(time, "`identify_for` is for the answers to `identify`, and there is none"));
            }
            Some(time) => match self.duration(time)? {
                Duration::ZERO => return Err(self.wrong(time, "`identify_for` is no time at all")),
                time => time,
            },
            None => IDENTIFY_FOR,
        };
        let (limits, template_limits) = self.limits(&raw.limits)?;
        let views = raw.views.into_iter().map(|view| self.view(view)).collect::<Result<_>>()?;
        Ok(Config {
            bind,
            token: raw.token.map(Spanned::into_inner),
            allowed_origins: raw.allowed_origins.into_iter().map(Spanned::into_inner).collect(),
            allowed_hosts: raw.allowed_hosts.into_iter().map(Spanned::into_inner).collect(),
            topics: raw.topics,
            development: raw.development,
            redis: raw.redis.map(|url| (url.get_ref().clone(), self.line(&url))),
            redis_key: raw.redis_key,
            upstream,
            identify,
            identify_for,
            signals,
            content_security_policy,
            limits,
            template_limits,
            views,
            text: self.source.to_owned(),
            path: self.path,
        })
    }

    fn limits(&self, raw: &RawLimits) -> Result<(Limits, TemplateLimits)> {
        let (mut limits, mut template_limits) = (Limits::default(), TemplateLimits::default());
        let sizes = [
            (&mut limits.push_bytes, raw.push_bytes),
            (&mut limits.html_bytes, raw.html_bytes),
            (&mut limits.frame_bytes, raw.frame_bytes),
            (&mut limits.write_buffer_bytes, raw.write_buffer_bytes),
            (&mut limits.n_events, raw.n_events),
            (&mut limits.n_connections, raw.n_connections),
            (&mut template_limits.source_bytes, raw.template_bytes),
            (&mut template_limits.output_bytes, raw.output_bytes),
            (&mut template_limits.fuel, raw.fuel),
        ];
        for (limit, size) in sizes {
            *limit = size.unwrap_or(*limit);
        }
        for (rate, per_second) in
            [(&mut limits.frames, raw.frames_per_second), (&mut limits.pushes, raw.pushes_per_second)]
        {
            if let Some(per_second) = per_second {
                *rate = Rate { per_second, burst: per_second.saturating_mul(2) };
            }
        }
        let durations =
            [(&mut limits.hello, &raw.hello), (&mut limits.idle, &raw.idle), (&mut limits.write, &raw.write)];
        for (limit, text) in durations {
            if let Some(text) = text {
                *limit = self.duration(text)?;
            }
        }
        Ok((limits, template_limits))
    }

    /// Returns a path of the application with its line. In a view it has `{key}` if, and only if, the view has keys.
    fn path_of_upstream(&self, name: &str, path: &Spanned<String>, keyed: Option<bool>) -> Result<(String, usize)> {
        let found = path.get_ref();
        let is_path = found.starts_with('/') && found.replace("{key}", "1").parse::<Uri>().is_ok();
        let has_key = found.contains("{key}");
        let expected = match keyed {
            None => format!("a path such as `/{name}`"),
            Some(false) => format!("a path such as `/{name}`, without `{{key}}`"),
            Some(true) => format!("a path such as `/{name}/{{key}}`"),
        };
        // Without its key an event can be handled; a document cannot be loaded.
        match is_path && (has_key == (keyed == Some(true)) || name == "forward" && keyed == Some(true)) {
            true => Ok((found.clone(), self.line(path))),
            false => Err(self.wrong(path, &format!("`{name}` is `{found}`, expected {expected}"))),
        }
    }

    fn view(&self, mut raw: RawView) -> Result<View> {
        let (name, line) = (raw.name.get_ref().clone(), self.line(&raw.name));
        let load = raw.load.as_ref().map(|path| self.path_of_upstream("load", path, Some(raw.keyed))).transpose()?;
        let mut forwards = BTreeMap::new();
        for (handler, raw_handler) in &raw.handlers {
            let RawHandler { set, push_only, reply, forward: Some(path) } = raw_handler else { continue };
            if !set.is_empty() || *push_only || reply.is_some() {
                let message =
                    format!("handler `{handler}` has `forward`, so the application handles it: expected nothing else");
                return Err(self.wrong(path, &message));
            }
            forwards.insert(handler.clone(), self.path_of_upstream("forward", path, Some(raw.keyed))?);
        }
        raw.handlers.retain(|_, handler| handler.forward.is_none());
        let Some(template) = raw.template else {
            let is_declared = raw.keyed || raw.state.is_some() || raw.tick.is_some() || !raw.handlers.is_empty();
            if is_declared || load.is_some() {
                let message = format!(
                    "view `{name}` has no `template`: `state`, `keyed`, `load`, `tick` and `handlers` that do not `forward` need one"
                );
                return Err(self.wrong(&raw.name, &message));
            }
            let html = match &raw.html {
                Some(html) => input::text(&self.dir.join(html.get_ref())).with_context(|| self.at(html))?,
                None => String::new(),
            };
            let source = Source::Posted(html);
            return Ok(View { name, topic: raw.topic, source, load, forwards, line, edits: Vec::new() });
        };
        if let Some(html) = raw.html {
            return Err(self.wrong(&html, &format!("view `{name}` has `html` and `template`, expected one of them")));
        }
        let mut edits = Vec::new();
        let mut declared = DeclaredView::new(template.into_inner());
        if let Some(state) = raw.state {
            declared.state = self.state(&state)?;
        }
        if let Some(RawTick { every, set }) = raw.tick {
            let interval = self.duration(&every)?;
            if interval < MIN_TICK {
                let message = format!("a tick every `{}`, expected at least `10ms`", every.get_ref());
                return Err(self.wrong(&every, &message));
            }
            let set = self.edits("handle_tick", true, set, &mut edits);
            declared = declared.tick(interval, set);
        }
        for (handler, RawHandler { set, push_only, reply, .. }) in raw.handlers {
            let set = self.edits(&handler, false, set, &mut edits);
            if let Some(reply) = &reply {
                let (line, expression) = (self.line(reply), reply.get_ref().clone());
                edits.push(Edit { handler: handler.clone(), is_tick: false, key: "reply".into(), expression, line });
            }
            let reply = reply.map(Spanned::into_inner);
            declared.handlers.insert(handler, DeclaredHandler { set, push_only, reply });
        }
        let source = match raw.keyed {
            true => Source::Keyed(declared),
            false => Source::Declared(declared),
        };
        Ok(View { name, topic: raw.topic, source, load, forwards, line, edits })
    }

    fn edits(
        &self,
        handler: &str,
        is_tick: bool,
        set: BTreeMap<String, Spanned<String>>,
        all: &mut Vec<Edit>,
    ) -> Edits {
        let edit = |(key, expression): (String, Spanned<String>)| {
            let line = self.line(&expression);
            let expression = expression.into_inner();
            all.push(Edit { handler: handler.into(), is_tick, key: key.clone(), expression: expression.clone(), line });
            (key, expression)
        };
        Edits(set.into_iter().map(edit).collect())
    }

    fn state(&self, raw: &Spanned<toml::Value>) -> Result<Map<String, Value>> {
        match raw.get_ref() {
            toml::Value::String(file) => {
                let path = self.dir.join(file);
                let state = input::bytes(&path).and_then(|bytes| input::json_object(&bytes, &input::name(&path)));
                state.with_context(|| self.at(raw))
            }
            toml::Value::Table(table) => object(table).with_context(|| self.at(raw)),
            other => {
                let kind = other.type_str();
                let message = format!("`state` is of type {kind}, expected a table or the name of a JSON file");
                Err(self.wrong(raw, &message))
            }
        }
    }

    fn duration(&self, text: &Spanned<String>) -> Result<Duration> {
        let found = text.get_ref().trim();
        let split = found.find(|char: char| !char.is_ascii_digit()).unwrap_or(found.len());
        let (number, unit) = found.split_at(split);
        let factor_ms: Option<u64> = match unit.trim_start() {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            _ => None,
        };
        let n_ms = number.parse::<u64>().ok().zip(factor_ms).and_then(|(number, factor)| number.checked_mul(factor));
        n_ms.map(Duration::from_millis).ok_or_else(|| {
            let expected = "expected a number and `ms`, `s`, `m` or `h`, as in `2s`";
            self.wrong(text, &format!("`{found}` is no duration, {expected}"))
        })
    }

    fn syntax(&self, error: &toml::de::Error) -> anyhow::Error {
        // What serde calls a field is a key here.
        let mut message = error.message().replace(" field `", " key `").replace('\n', ", ");
        let is_of_views = error.span().is_some_and(|span| self.source[span.start..].starts_with("[views"));
        if is_of_views && message == "invalid type: map, expected a sequence" {
            message.push_str(": views are a list, each begins with `[[views]]`");
        } else if message.starts_with("invalid type") {
            // The place is that of the value; what is in front of it on its line says which key has it.
            let line = error.span().and_then(|span| self.source[..span.start].rsplit('\n').next()).unwrap_or_default();
            message =
                format!("`{}`: {}", line.trim_end_matches([' ', '=']).trim(), message.replace("a sequence", "a list"));
        }
        match error.span() {
            Some(span) => anyhow!("{}: {message}", at(&self.path, self.line_at(span.start))),
            None => anyhow!("{}: {message}", input::name(&self.path)),
        }
    }

    fn wrong<T>(&self, place: &Spanned<T>, message: &str) -> anyhow::Error {
        anyhow!("{}: {message}", self.at(place))
    }

    fn at<T>(&self, place: &Spanned<T>) -> String {
        at(&self.path, self.line(place))
    }

    fn line<T>(&self, place: &Spanned<T>) -> usize {
        self.line_at(place.span().start)
    }

    fn line_at(&self, offset: usize) -> usize {
        self.source.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }
}

fn at(path: &Path, line: usize) -> String {
    format!("{} line {line}", input::name(path))
}

/// The same table as JSON; a date becomes its text.
fn object(table: &toml::Table) -> Result<Map<String, Value>> {
    table.iter().map(|(key, value)| Ok((key.clone(), json(value)?))).collect()
}

fn json(value: &toml::Value) -> Result<Value> {
    Ok(match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => match serde_json::Number::from_f64(*number) {
            Some(number) => Value::Number(number),
            None => bail!("`{number}` is no number of JSON"),
        },
        toml::Value::Boolean(is_true) => Value::from(*is_true),
        toml::Value::Datetime(date) => Value::from(date.to_string()),
        toml::Value::Array(list) => Value::Array(list.iter().map(json).collect::<Result<_>>()?),
        toml::Value::Table(table) => Value::Object(object(table)?),
    })
}
