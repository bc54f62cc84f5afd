//! `domcast push`: changes a view on a server.
//!
//! State and handler pushes travel as `POST /push`, HTML as `PUT /views/NAME/html`.

use crate::{Answer, input, output};
use anyhow::{Context, Result, bail};
use clap::ArgGroup;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::Agent;
use ureq::http::Uri;

/// How long the server may take, until it has answered.
const TIME_LIMIT: Duration = Duration::from_secs(60);

pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8000";

/// Change a view, for everyone who is looking
#[derive(clap::Args)]
#[command(
    group = ArgGroup::new("change").required(true).args(["state", "handler", "html"]),
    after_help = "Prints {\"epoch\", \"version\", \"subscribers\"}: which version shows the push, and to how many.
Exit codes: 0 done, 1 the server refused it and says why, 2 an error in the usage, the input or the connection.

Examples:
  domcast push dashboard --state '{\"visitors\": 42}'
  domcast push chat --handler on_new_message --payload '{\"name\": \"cron\", \"text\": \"backup done\"}'
  python render.py | domcast push panel --html - --url http://10.0.0.7:8000"
)]
pub(crate) struct Args {
    /// The view's name
    view: String,
    /// New values of state keys, as a JSON object; `-` for standard input
    #[arg(long, value_name = "JSON")]
    state: Option<String>,
    /// Call this handler of the view
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    /// What the handler is given, as JSON; `-` for standard input
    #[arg(long, value_name = "JSON", requires = "handler", conflicts_with_all = ["state", "html"])]
    payload: Option<String>,
    /// A file with the view's newly rendered HTML; `-` for standard input
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Where the server is
    #[arg(long, env = "DOMCAST_URL", default_value = DEFAULT_URL)]
    url: String,
    /// The server's push token
    #[arg(long, env = "DOMCAST_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let server = server(&args.url)?;
    let (url, method, content_type, body) = match (&args.state, &args.handler, &args.html) {
        (Some(state), _, _) => {
            let (state, name) = json_argument("--state", state)?;
            let state = input::json_object(&state, &name)?;
            let push = json!({ "view": args.view, "state": state });
            (format!("{server}/push"), "POST", "application/json", push.to_string().into_bytes())
        }
        (_, Some(handler), _) => {
            let (payload, name) = json_argument("--payload", args.payload.as_deref().unwrap_or("{}"))?;
            let payload = input::json(&payload, &name)?;
            let push = json!({ "view": args.view, "handler": handler, "payload": payload });
            (format!("{server}/push"), "POST", "application/json", push.to_string().into_bytes())
        }
        (_, _, Some(path)) => {
            let view = utf8_percent_encode(&args.view, NON_ALPHANUMERIC);
            (format!("{server}/views/{view}/html"), "PUT", "text/html; charset=utf-8", input::bytes(path)?)
        }
        _ => unreachable!("clap asks for one of the three"),
    };
    let agent: Agent =
        Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIME_LIMIT)).build().into();
    let request = ureq::http::Request::builder().method(method).uri(&url).header("content-type", content_type);
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
