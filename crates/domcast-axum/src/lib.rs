//! HTTP, WebSocket, server-sent events and long polling around a domcast hub, as an axum router.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use domcast_axum::{Domcast, Edits, DeclaredView, Hub, Templates};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::new(Templates::from_sources([
//!     ("page.html", "<!doctype html><title>Count</title>{{ script() }}{{ view('counter') }}"),
//!     ("counter.html", "<button dc-click=increment>{{ count }}</button>"),
//! ]));
//! let counter = DeclaredView::new("counter.html").state("count", 0);
//! hub.register_declared("counter", counter.handler("increment", Edits::new().set("count", "count + 1")))?;
//!
//! let domcast = Domcast::new(hub);
//! let app = domcast.router().route("/", get(async move || domcast.page("page.html", ())));
//! axum::serve(tokio::net::TcpListener::bind("127.0.0.1:8000").await?, app).await?;
//! # Ok(()) }
//! ```
//!
//! | route | what it is |
//! |---|---|
//! | `GET /_domcast/ws` | the WebSocket of PROTOCOL.md |
//! | `/_domcast/sse`, `/_domcast/poll` | the same frames over server-sent events and posts, and over long polling |
//! | `GET /_domcast/client.js`, `/_domcast/client-HASH.js` | the browser's half; the second may be cached for ever |
//! | `GET /_domcast/errors.js` | shows at the fields of a form what an application says is wrong with them |
//! | `GET /views/NAME` | a page with this view and nothing else |
//! | `GET /views/NAME/html` | the element of the view, for pages that another server makes |
//! | `PUT /views/NAME/html` | newly rendered HTML for the view (see [`PushAccess`]) |
//! | `POST /push` | a push as JSON (see [`PushAccess`]) |
//! | `GET /presence?prefix=NAME` | how many are at each view, key and topic of such a name, as JSON (for who may push) |
//! | `GET /views?prefix=NAME` | the statistics of each view of such a name, as JSON (for who may push) |
//! | `GET /_domcast` | the status page, live (for who may push) |
//! | `GET /metrics` | the statistics as Prometheus reads them (for who may push) |
//! | `GET /healthz` | `ok` while the process lives |
//! | `GET /readyz` | 200 or 503, and as JSON what keeps the server from being ready, and what is wrong besides |

mod domcast; // configuration and router
mod access; // who may push
mod presence; // who is here
mod identity; // who a page is for, and for how long
mod hooks; // what an application is told of its visitors
mod api; // pushes over HTTP
mod page; // views in pages
mod connection; // what all transports share, and how it ends
mod socket; // sessions over WebSocket
mod stream; // sessions over HTTP
mod close; // why connections end
mod origin; // who may connect
mod metrics; // what Prometheus reads
mod health; // alive, ready
mod status; // what an operator sees
mod authorization; // who may look
mod host; // which names a server answers to
mod rate; // how often
mod bind; // where it is safe to listen

pub use authorization::{Access, Authorization};
pub use bind::{BindError, check_bind};
pub use domcast::{Config, Domcast, Limits, PushAccess};
pub use domcast_push::template::{TemplateError, Templates};
pub use domcast_push::{
    Call, Client, DeclaredView, DocumentLimits, Edits, Empty, Event, Forwarding, Handled, HandlerResult, Handlers,
    Headcount, HistoryLimits, Hub, MailboxLimits, Options, Place, PresenceEvent, Present, Push, PushError, Receipt,
    View,
};
pub use rate::Rate;
