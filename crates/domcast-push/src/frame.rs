//! Frames: the messages of PROTOCOL.md, section 4, as text.

use crate::document::Fault;
use crate::position::Position;
use bytes::Bytes;
use domcast_diff::{Patches, Tree};
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

/// The version of the protocol that this crate speaks.
pub const PROTOCOL_VERSION: u64 = 1;

pub(crate) fn mounted(view: &str, document: u32, position: &Position, come_back_within: Duration) -> Bytes {
    json!(["mounted", view, document, position.to_string(), come_back_within.as_millis() as u64]).to_string().into()
}

pub(crate) fn patches(document: u32, version: u64, json: &str) -> Bytes {
    format!("[\"p\",{document},{version},{json}]").into()
}

pub(crate) fn composed(document: u32, version: u64, patches: &Patches, from: u64) -> Bytes {
    format!("[\"p\",{document},{version},{},{from}]", patches.to_json()).into()
}

/// Returns the patch list in a frame of [`patches`].
pub(crate) fn text_of_patches(frame: &[u8]) -> Option<&str> {
    let frame = std::str::from_utf8(frame).ok()?.strip_prefix("[\"p\",")?.strip_suffix(']')?;
    frame.splitn(3, ',').nth(2)
}

pub(crate) fn snapshot(document: u32, position: &Position, tree: &Tree) -> Bytes {
    let next_id = tree.next_id().0;
    let ids: Vec<u32> = tree.numbering().into_iter().flat_map(|(first, count)| [first.0, count]).collect();
    let (ids, tokens) = (json!(ids), tree.to_tokens_json());
    format!("[\"snapshot\",{document},\"{position}\",{next_id},{ids},{tokens}]").into()
}

pub(crate) fn ack(n: u64, reply: Option<&Value>) -> Bytes {
    match reply {
        Some(reply) => json!(["ack", n, reply]).to_string().into(),
        None => format!("[\"ack\",{n}]").into(),
    }
}

pub(crate) fn message(topic: &str, data: &Value) -> Bytes {
    json!(["message", topic, data]).to_string().into()
}

pub(crate) fn refused(n: u64, message: &str, id: &str, errors: Option<&Value>) -> Bytes {
    match errors {
        Some(errors) => json!(["refused", n, message, id, errors]).to_string().into(),
        None => json!(["refused", n, message, id]).to_string().into(),
    }
}

pub(crate) fn unknown(view: &str) -> Bytes {
    json!(["unknown", view]).to_string().into()
}

pub(crate) fn denied(view: &str) -> Bytes {
    json!(["denied", view]).to_string().into()
}

pub(crate) fn revoked(document: u32) -> Bytes {
    json!(["revoked", document]).to_string().into()
}

pub(crate) fn token(document: u32, token: &str) -> Bytes {
    json!(["token", document, token]).to_string().into()
}

pub(crate) fn fault(document: u32, fault: Option<&Fault>) -> Bytes {
    json!(["fault", document, fault]).to_string().into()
}

pub(crate) fn pong() -> Bytes {
    Bytes::from_static(b"[\"pong\"]")
}

/// A view of a page.
#[derive(Debug, PartialEq)]
pub(crate) struct Greeting {
    pub(crate) view: String,
    pub(crate) position: Option<Position>,
    pub(crate) key: Option<String>,
    /// The mount token of the page.
    pub(crate) token: Option<String>,
}

/// What a client says.
#[derive(Debug, PartialEq)]
pub(crate) enum ClientFrame {
    /// The views of the page, each with the position of its HTML; one that cannot be read counts as none.
    Hello(Vec<Greeting>),
    Event {
        n: u64,
        document: u32,
        handler: String,
        payload: Value,
    },
    Resync {
        document: u32,
    },
    Ping,
    /// The first `n` frames of this session are applied.
    Ack {
        n: u64,
    },
}

/// A frame of a client that ends its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame is not one of the protocol, or comes out of turn.
    Malformed(String),
    /// The client speaks another version of the protocol.
    OtherVersion(String),
}

impl FrameError {
    /// The code that a WebSocket is closed with.
    pub fn close_code(&self) -> u16 {
        match self {
            FrameError::Malformed(_) => 4400,
            FrameError::OtherVersion(_) => 4426,
        }
    }

    pub(crate) fn malformed(reason: impl Into<String>) -> FrameError {
        FrameError::Malformed(reason.into())
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Malformed(reason) => write!(f, "malformed frame: {reason}"),
            FrameError::OtherVersion(found) => {
                write!(f, "protocol version {found} is not spoken here, {PROTOCOL_VERSION} is")
            }
        }
    }
}

impl std::error::Error for FrameError {}

impl ClientFrame {
    pub(crate) fn parse(text: &str) -> Result<ClientFrame, FrameError> {
        let frame: Vec<Value> =
            serde_json::from_str(text).map_err(|error| FrameError::malformed(format!("no JSON array: {error}")))?;
        let wrong = |form: &str| FrameError::malformed(format!("it is not of the form `{form}`"));
        let kind = frame.first().and_then(Value::as_str).unwrap_or_default();
        match (kind, &frame[..]) {
            ("hello", [_, version, ..]) if version.as_u64() != Some(PROTOCOL_VERSION) => {
                Err(FrameError::OtherVersion(version.to_string().chars().take(20).collect()))
            }
            ("hello", [_, _, Value::Array(views)]) => {
                let views: Option<Vec<_>> = views.iter().map(greeting).collect();
                views
                    .map(ClientFrame::Hello)
                    .ok_or_else(|| wrong(r#"["hello", 1, [[view, position, key, token], ...]]"#))
            }
            ("hello", _) => Err(wrong(r#"["hello", 1, [[view, position, key, token], ...]]"#)),
            ("event", _) => event(frame).ok_or_else(|| wrong(r#"["event", n, document, handler, payload]"#)),
            ("resync", [_, document]) => match document_number(document) {
                Some(document) => Ok(ClientFrame::Resync { document }),
                None => Err(wrong(r#"["resync", document]"#)),
            },
            ("ping", [_]) => Ok(ClientFrame::Ping),
            ("ack", [_, n]) => n.as_u64().map(|n| ClientFrame::Ack { n }).ok_or_else(|| wrong(r#"["ack", n]"#)),
            _ => Err(FrameError::malformed("it is none of `hello`, `event`, `resync`, `ping`, `ack`")),
        }
    }
}

fn greeting(entry: &Value) -> Option<Greeting> {
    let entry = entry.as_array()?;
    let [Value::String(view), position, ..] = entry.as_slice() else { return None };
    let text = |idx: usize| match entry.get(idx) {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(text)) => Some(Some(text.clone())),
        Some(_) => None,
    };
    let position = match position {
        Value::Null => None,
        Value::String(position) => position.parse().ok(),
        _ => return None,
    };
    let (key, token) = (text(2)?, text(3)?);
    (entry.len() <= 4).then(|| Greeting { view: view.clone(), position, key, token })
}

fn event(frame: Vec<Value>) -> Option<ClientFrame> {
    let [_, n, document, Value::String(handler), payload @ Value::Object(_)] = <[Value; 5]>::try_from(frame).ok()?
    else {
        return None;
    };
    Some(ClientFrame::Event { n: n.as_u64()?, document: document_number(&document)?, handler, payload })
}

fn document_number(value: &Value) -> Option<u32> {
    value.as_u64()?.try_into().ok()
}
