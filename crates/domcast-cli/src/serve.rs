//! `domcast serve`: the views of a folder, without any Rust code.
//!
//! ```text
//! site/
//!   domcast.toml           what is served, and how: see `config`
//!   templates/             views, layouts, parts; an edit shows at once in open pages
//!   templates/pages/       pages: `index.html` is `/`, `about.html` is `/about`
//!   static/                files, below `/static/`
//! ```
//!
//! With `upstream` the application there serves all else.

mod config; // `domcast.toml`
mod forward; // events that the application handles
mod load; // first states that the application has
mod names; // names that nothing has a value for
mod pages; // templates at their paths
mod signals; // who subscribes, told to the application
mod upstream; // the application that serves all else
mod watch; // edits of templates
mod who; // who a page is for

use crate::{Answer, input, output, web};
use anyhow::{Context, Result, anyhow, bail};
use axum::http::HeaderValue;
use axum::middleware::from_fn_with_state;
use config::{Config, Source};
use domcast_axum::{Domcast, Hub, Options, Templates};
use domcast_push::{ChannelLayer, Client, ClusterOptions};
use domcast_redis::RedisLayer;
use forward::Forwards;
use load::Loader;
use names::Names;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
pub(crate) use upstream::FromUpstream;
use upstream::{Application, Told, Upstream};
use who::{Rules, Who};

const AFTER_HELP: &str = concat!(
    "The folder holds `domcast.toml`, `templates/` (views, layouts, parts), `templates/pages/` (`about.html` is `/about`) and
`static/` (below `/static/`). Without a token whoever reaches the server may push: set one where a proxy passes requests on, which looks like this machine
itself if it adds no `X-Forwarded-For` or `Forwarded`. All that `domcast.toml` may say:

",
    include_str!("serve/domcast.toml"),
    "
Examples:
  domcast serve site
  domcast serve site --bind localhost:9000
  domcast serve site --upstream http://127.0.0.1:8001
  DOMCAST_TOKEN=$(openssl rand -hex 16) domcast serve site --bind 0.0.0.0:8000"
);

/// Serve live views from a folder of templates, with no Rust code
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The folder
    dir: PathBuf,
    /// Where to listen [default: `bind` of domcast.toml, else 127.0.0.1:8000]
    #[arg(long, value_name = "ADDR", value_parser = web::bind)]
    bind: Option<SocketAddr>,
    /// The Redis over which servers share their views and anybody pushes [default: `redis` of domcast.toml, else none]
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// The key that all servers and publishers of this Redis share: nothing else in it is believed [default: `redis_key` of domcast.toml]
    #[arg(long, env = "DOMCAST_REDIS_KEY", hide_env_values = true, value_name = "KEY")]
    redis_key: Option<String>,
    /// The application that serves what the folder does not, such as http://127.0.0.1:8001 [default: `upstream` of domcast.toml, else none]
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// What a push must bring; needed where other machines reach the server [default: `token` of domcast.toml]
    #[arg(long, env = "DOMCAST_TOKEN", hide_env_values = true, value_parser = web::token)]
    token: Option<String>,
}

const LOOK_AT_REDIS_EVERY: Duration = Duration::from_secs(2);

pub(crate) fn run(args: &Args) -> Result<Answer> {
    let config = Config::read(&args.dir)?;
    web::run(serve(args, Arc::new(config)))?;
    Ok(Answer::Yes)
}

async fn serve(args: &Args, config: Arc<Config>) -> Result<()> {
    let bind = args.bind.unwrap_or(config.bind);
    let token = args.token.as_deref().or(config.token.as_deref());
    let development = config.development.unwrap_or(bind.ip().to_canonical().is_loopback());
    let listening = web::listen(bind, token).await?;
    let upstream = match (&args.upstream, config.upstream.clone()) {
        (Some(url), _) => {
            Some(Upstream::new(url).ok_or_else(|| anyhow!("`--upstream` is `{url}`, {}", upstream::EXPECTED))?)
        }
        (None, configured) => configured,
    };

    let folder = args.dir.join("templates");
    let templates = Templates::from_folder_with(&folder, config.template_limits);
    let hub = Hub::with_options(templates, Options { development, ..Options::default() });
    let (watched, watched_files) = (watch::watch(&folder)?, watch::watch_files(&args.dir)?);
    let application = match &upstream {
        Some(upstream) => Some(Application { upstream: upstream.clone(), token: bearer(token)? }),
        None => None,
    };
    check_application(&config, application.as_ref())?;
    register(&hub, &config, application.as_ref())?;
    // In development a view is there even if it cannot be rendered yet.
    watch::log_errors(&hub.templates_changed().await);
    let mut names = Names::new(&config);
    names.warn(hub.templates());
    match watched {
        Some(watched) => _ = tokio::spawn(watched.follow(hub.clone(), names)),
        None => tracing::info!("there is no folder {}", input::name(&folder)),
    }
    tokio::spawn(watched_files.tell(Arc::clone(&config)));
    let access = domcast_axum::Config {
        push: web::push_access(token),
        allowed_origins: config.allowed_origins.clone(),
        allowed_hosts: config.allowed_hosts.clone(),
        limits: config.limits,
        ..domcast_axum::Config::default()
    };
    let domcast = Domcast::with_config(hub, access);
    let anybody = Client { topics: config.topics.iter().cloned().collect(), ..Client::default() };
    let identify = config.identify.as_ref().zip(upstream.clone());
    let rules = Arc::new(Rules::new(&config));
    domcast.hub().authorize({
        let rules = Arc::clone(&rules);
        move |client, view, key| rules.may_see(client, view, key)
    });
    let who = Who {
        domcast: domcast.clone(),
        application: identify.map(|((path, _), upstream)| (upstream, path.clone())),
        valid_for: config.identify_for,
        anybody: anybody.clone(),
        rules,
        room: Arc::new(Semaphore::new(who::MAX_AGAIN)),
        told: Told::default(),
    };
    domcast.identify(move |request| request.extensions.get::<Client>().unwrap_or(&anybody).clone());
    domcast.identify_again({
        let who = who.clone();
        move |request| who.clone().client_again(request.clone())
    });
    if let Some(application) = application.clone().filter(|_| config.views.iter().any(|view| !view.forwards.is_empty()))
    {
        let forwards = Forwards::new(&config, application);
        domcast.on_event(move |page, client, event| forwards.take(page, client, event));
    }
    let signals = config.signals.as_ref().zip(application);
    let signals = signals.map(|((path, _), application)| signals::send(&domcast, application, path.clone()));
    let redis = match (&args.redis, &config.redis) {
        (Some(url), _) => Some(RedisLayer::open(url)?),
        (None, Some((url, line))) => Some(RedisLayer::open(url).with_context(|| config.at(*line))?),
        (None, None) => None,
    };
    let redis = match args.redis_key.as_ref().or(config.redis_key.as_ref()) {
        Some(key) => redis.map(|layer| layer.sealed(key)),
        None => redis,
    };
    if let Some(layer) = redis.map(Arc::new) {
        domcast.set_blocker("redis", Some("it was not reached yet".into()));
        tokio::spawn(watch_redis(domcast.clone(), Arc::clone(&layer)));
        tokio::spawn(domcast_redis::join_with(domcast.hub(), layer, ClusterOptions::default()));
    }
    let router = pages::router(&domcast, &args.dir, upstream).layer(from_fn_with_state(who, who::ask));
    let router = domcast.guard(router);
    // The server does not need a reader of this.
    _ = output::line(&format!("{} is on {}", input::name(&args.dir), web::url(listening.address()?)));
    let served = web::serve(listening, domcast, router, config.content_security_policy.clone()).await;
    if let Some(waiting) = signals {
        waiting.sent().await;
    }
    served
}

/// Tells `/readyz` how Redis is: it keeps the server from being ready until it is reached once, and troubles it later.
async fn watch_redis(domcast: Domcast, layer: Arc<RedisLayer>) {
    loop {
        match layer.end().await {
            Ok(_) => {
                domcast.set_blocker("redis", None);
                domcast.set_trouble("redis", None);
            }
            Err(error) => domcast.set_trouble("redis", Some(error.to_string())),
        }
        tokio::time::sleep(LOOK_AT_REDIS_EVERY).await;
    }
}

/// Whether this is the folder of the templates of a folder that can be served.
pub(crate) fn has_templates(folder: &Path) -> bool {
    folder.ends_with("templates") && folder.with_file_name(config::FILE).is_file()
}

/// Whether a template of this folder is a page.
pub(crate) fn is_page(folder: &Path, template: &str) -> bool {
    template.starts_with(pages::FOLDER) && has_templates(folder)
}

/// Returns the template of a view, as far as the configuration beside the folder of the templates says so.
pub(crate) fn template_of(folder: &Path, view: &str) -> Option<String> {
    let config = Config::read(folder.parent()?).ok()?;
    let view = config.views.into_iter().find(|of| of.name == view)?;
    match view.source {
        Source::Declared(declared) | Source::Keyed(declared) => Some(declared.template),
        Source::Posted(_) => None,
    }
}

/// The header that brings the token of pushes to the application.
fn bearer(token: Option<&str>) -> Result<Option<HeaderValue>> {
    let token = token.map(|token| HeaderValue::from_str(&format!("Bearer {token}"))).transpose();
    token.context("the token has characters that no header may have, so the application cannot be shown it")
}

/// Checks that there is an application for all that is for it, and what it knows us by where it changes something for us.
fn check_application(config: &Config, application: Option<&Application>) -> Result<()> {
    let of_views = config.views.iter().flat_map(|view| {
        let forwards = view.forwards.values().map(|forward| ("`forward` is for", forward));
        view.load.iter().map(|load| ("`load` asks", load)).chain(forwards)
    });
    let identify = config.identify.iter().map(|identify| ("`identify` asks", identify));
    let signals = config.signals.iter().map(|signals| ("`signals` are for", signals));
    for (what, (_, line)) in identify.chain(signals).chain(of_views) {
        let Some(application) = application else {
            bail!("{}: {what} the upstream, and there is none", config.at(*line));
        };
        if what.starts_with("`forward`") && application.token.is_none() {
            let reason = "it changes things for users, and would not know our requests from those of any page";
            bail!("{}: {what} the upstream, which needs a `token`: without it {reason}", config.at(*line));
        }
    }
    Ok(())
}

fn register(hub: &Hub, config: &Config, application: Option<&Application>) -> Result<()> {
    let n_loaded = config.views.iter().filter(|view| view.load.is_some()).count();
    for view in &config.views {
        let load = view.load.as_ref().zip(application);
        let loader = load.map(|((path, _), application)| {
            Loader::new(&view.name, path, application, config.limits.push_bytes, n_loaded)
        });
        let registered = match (&view.source, loader) {
            (Source::Declared(declared), Some(loader)) => {
                hub.register_declared_with(&view.name, declared.clone(), move || loader.load(None))
            }
            (Source::Keyed(declared), Some(loader)) => {
                hub.register_declared_keyed_with(&view.name, declared.clone(), move |key| loader.load(Some(key)))
            }
            (Source::Declared(declared), None) => hub.register_declared(&view.name, declared.clone()),
            (Source::Keyed(declared), None) => hub.register_declared_keyed(&view.name, declared.clone()),
            (Source::Posted(html), _) => hub.register_posted(&view.name, html.as_str()),
        };
        registered.map_err(|error| anyhow!("{}: {}", config.at(view.line_of(&error)), watch::describe(&error)))?;
    }
    Ok(())
}
