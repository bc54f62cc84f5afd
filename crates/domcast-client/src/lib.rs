//! The browser half of domcast: applies patches to a live page.

/// The client.
pub const CLIENT_JS: &str = "";
/// Names the content of [`CLIENT_JS`].
pub const CLIENT_HASH: &str = "0000000000000000";
