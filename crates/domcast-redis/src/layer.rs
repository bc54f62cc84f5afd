//! A Redis stream as a channel layer: `XADD` publishes, `XREAD` with a cursor receives.
//!
//! Two connections are made when they are first needed: one that waits in `XREAD`, and one for everything else. A
//! connection that fails is dropped, and the next call makes another; when to call again is the caller's decision.

use domcast_push::{ChannelLayer, Cursor, Message, Push};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, Value};
use std::fmt;
use std::time::Duration;
use tokio::sync::Mutex;

/// How long one `XREAD` waits for entries.
const BLOCK: Duration = Duration::from_secs(5);
/// How long Redis may take to answer, and to be reached.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The most entries that are read at once.
const MAX_ENTRIES: usize = 64;
/// The largest push that is read.
const MAX_PUSH_BYTES: usize = 16 << 20;

/// A Redis stream that carries pushes.
pub struct RedisLayer {
    client: Client,
    stream: String,
    max_entries: usize,
    // Held over an exchange: replies come in the order of the questions.
    writer: Mutex<Option<MultiplexedConnection>>,
    reader: Mutex<Option<MultiplexedConnection>>,
}

impl RedisLayer {
    /// The stream that is used if no other is named.
    pub const STREAM: &'static str = "domcast:pushes";

    /// About how many entries the stream keeps: what a server that is cut off may fall behind.
    pub const MAX_ENTRIES: usize = 100_000;

    /// Uses the Redis server at `url`, as `redis://user:password@host:port/database`. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`RedisError`]: the text is no such address.
    pub fn open(url: &str) -> Result<RedisLayer, RedisError> {
        let wrong = |error: redis::RedisError| RedisError { at: "the address".into(), error };
        let client = url.into_connection_info().and_then(Client::open).map_err(wrong)?;
        let stream = RedisLayer::STREAM.into();
        let max_entries = RedisLayer::MAX_ENTRIES;
        Ok(RedisLayer { client, stream, max_entries, writer: Mutex::default(), reader: Mutex::default() })
    }

    /// Uses another stream, which keeps about `max_entries`.
    #[must_use]
    pub fn stream(mut self, stream: impl Into<String>, max_entries: usize) -> RedisLayer {
        (self.stream, self.max_entries) = (stream.into(), max_entries);
        self
    }

    async fn ask<T: redis::FromRedisValue>(
        &self,
        connection: &Mutex<Option<MultiplexedConnection>>,
        command: &redis::Cmd,
        timeout: Duration,
    ) -> Result<T, RedisError> {
        let mut connection = connection.lock().await;
        let answer = async {
            let mut open = match connection.take() {
                Some(open) => open,
                None => self.client.get_multiplexed_async_connection_with_config(&config(timeout)).await?,
            };
            let answer = command.query_async(&mut open).await?;
            *connection = Some(open);
            Ok(answer)
        };
        // The error of a connection that is gone may not come: the reply's own timeout is not enough.
        let answer = tokio::time::timeout(timeout + TIMEOUT, answer).await;
        let late = || redis::RedisError::from((redis::ErrorKind::Io, "no answer in time"));
        answer.unwrap_or_else(|_| Err(late())).map_err(|error| self.error(error))
    }

    fn error(&self, error: redis::RedisError) -> RedisError {
        // The address without the password.
        RedisError { at: format!("redis at `{}`", self.client.get_connection_info().addr()), error }
    }
}

fn config(timeout: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(TIMEOUT)).set_response_timeout(Some(timeout))
}

impl ChannelLayer for RedisLayer {
    type Error = RedisError;

    async fn publish(&self, push: &Push) -> Result<Cursor, RedisError> {
        let json = serde_json::to_string(push).expect("a push is JSON");
        let mut command = redis::cmd("XADD");
        command.arg(&self.stream).arg("MAXLEN").arg("~").arg(self.max_entries).arg("*").arg("push").arg(json);
        self.ask(&self.writer, &command, TIMEOUT).await.map(Cursor)
    }

    async fn end(&self) -> Result<Cursor, RedisError> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(&self.stream).arg("+").arg("-").arg("COUNT").arg(1);
        let newest: Value = self.ask(&self.writer, &command, TIMEOUT).await?;
        match items(&newest).first().map(items) {
            Some([Value::BulkString(id), ..]) => Ok(Cursor(String::from_utf8_lossy(id).into_owned())),
            // The stream is empty, or not there yet.
            _ => Ok(Cursor("0-0".into())),
        }
    }

    async fn receive(&self, cursor: &Cursor) -> Result<Vec<Message>, RedisError> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(MAX_ENTRIES).arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(&self.stream).arg(&cursor.0);
        let streams = self.ask(&self.reader, &command, BLOCK + TIMEOUT).await?;
        Ok(messages(&streams))
    }
}

/// Reads `[[stream, [[id, [field, value, ...]], ...]]]`, or nil if there is nothing new.
///
/// The library's own types refuse the whole reply if one field is not UTF-8, and nobody would get past that entry.
fn messages(streams: &Value) -> Vec<Message> {
    let entries = items(streams).iter().flat_map(|stream| items(stream).get(1)).flat_map(items);
    let message = |entry| match items(entry) {
        [Value::BulkString(id), fields] => {
            Some(Message { cursor: Cursor(String::from_utf8_lossy(id).into_owned()), push: push(items(fields)) })
        }
        _ => None,
    };
    entries.filter_map(message).collect()
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        _ => &[],
    }
}

fn push(fields: &[Value]) -> Result<Push, String> {
    let is_push = |field: &&[Value]| matches!(&field[0], Value::BulkString(name) if name == b"push");
    match fields.chunks_exact(2).find(is_push) {
        Some([_, Value::BulkString(json)]) if json.len() > MAX_PUSH_BYTES => {
            Err(format!("push of {} bytes exceeds the limit of {MAX_PUSH_BYTES}", json.len()))
        }
        Some([_, Value::BulkString(json)]) => serde_json::from_slice(json).map_err(|error| error.to_string()),
        _ => Err("the entry has no field `push`".into()),
    }
}

impl fmt::Debug for RedisLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.client.get_connection_info().addr().to_string();
        f.debug_struct("RedisLayer").field("address", &address).field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// Redis could not be asked, or refused.
#[derive(Debug)]
pub struct RedisError {
    at: String,
    error: redis::RedisError,
}

impl fmt::Display for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.error)
    }
}

impl std::error::Error for RedisError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The text holds the text of the cause.
        std::error::Error::source(&self.error)
    }
}
