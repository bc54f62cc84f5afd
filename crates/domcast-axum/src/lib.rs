//! HTTP and WebSocket around a domcast hub, as an axum router.
