//! `domcast push`: changes a view on a server, or tells its pages something.
//!
//! HTML travels as `PUT /views/NAME/html`, everything else as `POST /push`.

use crate::{Answer, input, output};
use anyhow::{Context, Result, bail};
use clap::ArgGroup;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::Agent;
use ureq::http::Uri;

/// How long the server may take, until it has answered.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A body of more than this is sent once the server has said that it takes it: one that refuses does not read it, and closes, so that its reason would be lost
/// with the connection.
const ASK_BYTES: usize = 4 << 10;

pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8000";

/// Change a view, for everyone who is looking, or tell the pages something
#[derive(clap::Args)]
#[command(
    group = ArgGroup::new("change").required(true).args(["state", "merge", "patch", "handler", "html", "topic", "revoke"]),
    after_help = "Prints {\"epoch\", \"version\", \"subscribers\"}: which version shows the push, and to how many.
Exit codes: 0 done, 1 the server refused it and says why, 2 an error in the usage, the input or the connection.

Examples:
  domcast push dashboard --state '{\"visitors\": 42}'
  domcast push chat --handler on_new_message --payload '{\"name\": \"cron\", \"text\": \"backup done\"}'
  domcast push order --key 42 --merge '{\"address\": {\"zip\": null}}'
  domcast push order --key 42 --patch '[{\"op\": \"add\", \"path\": \"/items/-\", \"value\": \"tea\"}]'
  domcast push --topic news --data '{\"title\": \"Tea\"}' --user ann
  domcast push --revoke order-42 --user ann
  python render.py | domcast push panel --html - --url http://10.0.0.7:8000"
)]
pub(crate) struct Args {
    /// The view's name
    #[arg(required_unless_present_any = ["topic", "revoke"], conflicts_with_all = ["topic", "revoke"])]
    view: Option<String>,
    /// Only the view's document of this key
    #[arg(long, conflicts_with_all = ["topic", "revoke"])]
    key: Option<String>,
    /// New values of state keys, as a JSON object; `-` for standard input
    #[arg(long, value_name = "JSON")]
    state: Option<String>,
    /// Change the state by JSON Merge Patch (RFC 7386); `-` for standard input
    #[arg(long, value_name = "JSON")]
    merge: Option<String>,
    /// Change the state by JSON Patch (RFC 6902); `-` for standard input
    #[arg(long, value_name = "JSON")]
    patch: Option<String>,
    /// Call this handler of the view
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    /// What the handler is given, as JSON; `-` for standard input
    #[arg(long, value_name = "JSON", requires = "handler", conflicts_with_all = ["state", "merge", "patch", "html", "topic"])]
    payload: Option<String>,
    /// A file with the view's newly rendered HTML; `-` for standard input
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Send a message to the pages that listen to this topic
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// The message, as JSON; `-` for standard input
    #[arg(long, value_name = "JSON", requires = "topic")]
    data: Option<String>,
    /// Take this topic from the pages, with the views that they see by it
    #[arg(long, value_name = "NAME")]
    revoke: Option<String>,
    /// Only for this user
    #[arg(long, conflicts_with = "html")]
    user: Option<String>,
    /// Only for this session of a browser
    #[arg(long, conflicts_with = "html")]
    session: Option<String>,
    /// Only for this tab
    #[arg(long, conflicts_with = "html")]
    tab: Option<String>,
    /// For all but this tab
    #[arg(long, value_name = "TAB", conflicts_with = "html")]
    except: Option<String>,
    /// Where the server is
    #[arg(long, env = "DOMCAST_URL", default_value = DEFAULT_URL)]
    url: String,
    /// The server's push token
    #[arg(long, env = "DOMCAST_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let server = server(&args.url)?;
    let (url, method, content_type, body) = match &args.html {
        Some(path) => {
            let encode = |name: &str| utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
            let query = args.key.as_deref().map(|key| format!("?key={}", encode(key))).unwrap_or_default();
            let view = encode(args.view.as_deref().unwrap_or_default());
            let html = input::bytes(path)?;
            if html.is_empty() && input::is_standard_input(path) {
                bail!("standard input is empty: did what renders fail? To empty the view, name an empty file");
            }
            (format!("{server}/views/{view}/html{query}"), "PUT", "text/html; charset=utf-8", html)
        }
        None => (format!("{server}/push"), "POST", "application/json", push(args)?.to_string().into_bytes()),
    };
    let agent: Agent =
        Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIME_LIMIT)).build().into();
    let mut request = ureq::http::Request::builder().method(method).uri(&url).header("content-type", content_type);
    if body.len() > ASK_BYTES {
        request = request.header("expect", "100-continue");
    }
    let request = match &args.token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    };
    let request = request.body(body).context("the push makes no HTTP request")?;
    let mut response = agent.run(request).with_context(|| format!("`{server}` cannot be reached"))?;
    let answer = response.body_mut().read_to_string().with_context(|| format!("`{server}` broke off its answer"))?;
    let status = response.status();
    if status.is_success() {
        output::line(answer.trim_end())?;
        return Ok(Answer::Yes);
    }
    match serde_json::from_str::<Value>(&answer) {
        Ok(refusal) if refusal["error"].is_string() => {
            eprintln!("domcast: {}", refusal["error"].as_str().unwrap_or_default());
            Ok(Answer::No)
        }
        _ => bail!("`{server}` answered `{status}` and no reason: is it a domcast server?"),
    }
}

/// The push as JSON: what is given on the command line, under the same names.
fn push(args: &Args) -> Result<Value> {
    let texts = [
        ("view", &args.view),
        ("key", &args.key),
        ("handler", &args.handler),
        ("topic", &args.topic),
        ("revoke", &args.revoke),
        ("user", &args.user),
        ("session", &args.session),
        ("tab", &args.tab),
        ("except", &args.except),
    ];
    let mut push = Map::new();
    push.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.clone()?.into()))));
    for (name, json) in [("state", &args.state), ("merge", &args.merge)] {
        if let Some(json) = json {
            let (json, option) = json_argument(&format!("--{name}"), json)?;
            push.insert(name.into(), input::json_object(&json, &option)?.into());
        }
    }
    for (name, json) in [("patch", &args.patch), ("payload", &args.payload), ("data", &args.data)] {
        if let Some(json) = json {
            let (json, option) = json_argument(&format!("--{name}"), json)?;
            push.insert(name.into(), input::json(&json, &option)?);
        }
    }
    Ok(push.into())
}

/// The server's address without a `/` at its end.
fn server(url: &str) -> Result<String> {
    let uri: Uri = url.parse().with_context(|| format!("`{url}` is no address of a server"))?;
    match uri.scheme_str() {
        Some("http") if uri.query().is_none() => Ok(url.trim_end_matches('/').to_owned()),
        _ => bail!("`{url}` is no address of a server, expected one such as `{DEFAULT_URL}` (http only)"),
    }
}

/// Returns the JSON that an option gives, and what messages call it.
fn json_argument<'a>(option: &str, text: &'a str) -> Result<(Cow<'a, [u8]>, String)> {
    Ok(match text {
        "-" => (input::bytes(Path::new("-"))?.into(), format!("standard input, for `{option}`,")),
        text => (text.as_bytes().into(), format!("`{option}`")),
    })
}
