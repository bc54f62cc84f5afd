//! A Redis stream as a channel layer: `XADD` publishes, `XREAD` with a cursor receives.
//!
//! Three connections are made when they are first needed: two that wait in `XREAD`, for pushes and for commits, and one for everything
//! else, which many calls share. A connection that fails is dropped, and the next call makes another; when to call again is
//! the caller's decision.

use crate::seal::{self, SealedPush, Seals};
use domcast_push::{ChannelLayer, Cursor, Message, Origin, Push};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, IntoConnectionInfo, ScriptInvocation, Value};
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// How long one `XREAD` waits for entries.
pub(crate) const BLOCK: Duration = Duration::from_secs(5);
/// How long Redis may take to answer, and to be reached.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The most entries that are read at once.
const MAX_ENTRIES: usize = 64;
/// The most entries before the cursor that are looked at when a server starts.
const MAX_PRIMED: usize = 1_000;
/// The largest push that is read.
const MAX_PUSH_BYTES: usize = 16 << 20;

/// A Redis stream that carries pushes.
pub struct RedisLayer {
    client: Client,
    stream: String,
    max_entries: usize,
    pub(crate) seals: Seals,
    /// Whether the nonces of what lies before the cursor were read.
    is_primed: AtomicBool,
    shared: Mutex<Option<MultiplexedConnection>>,
    // Held while they wait: one reader each.
    push_reader: Mutex<Option<MultiplexedConnection>>,
    commit_reader: Mutex<Option<MultiplexedConnection>>,
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
        let (shared, push_reader, commit_reader) = Default::default();
        let (seals, is_primed) = Default::default();
        Ok(RedisLayer { client, stream, max_entries, seals, is_primed, shared, push_reader, commit_reader })
    }

    /// Uses another stream, which keeps about `max_entries`. The other keys begin with its name, without `:pushes` at its end.
    #[must_use]
    pub fn stream(mut self, stream: impl Into<String>, max_entries: usize) -> RedisLayer {
        (self.stream, self.max_entries) = (stream.into(), max_entries);
        self
    }

    /// Seals all that is written with a key that every server and publisher has, and believes nothing else.
    ///
    /// Take random bytes, or a text of 32 random characters. The clocks of servers and Redis may differ by up to 30 s.
    #[must_use]
    pub fn sealed(mut self, key: impl AsRef<[u8]>) -> RedisLayer {
        self.seals = Seals::new(key.as_ref());
        self
    }

    /// Whether it has a key.
    pub fn is_sealed(&self) -> bool {
        self.seals.has_key()
    }

    pub(crate) fn stream_name(&self) -> &str {
        &self.stream
    }

    /// What all other keys begin with.
    pub(crate) fn prefix(&self) -> &str {
        self.stream.strip_suffix(":pushes").unwrap_or(&self.stream)
    }

    pub(crate) fn max_entries(&self) -> usize {
        self.max_entries
    }

    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, RedisError> {
        self.share(async |mut connection| command.query_async(&mut connection).await).await
    }

    pub(crate) async fn ask_all<T: FromRedisValue>(&self, commands: &redis::Pipeline) -> Result<T, RedisError> {
        self.share(async |mut connection| commands.query_async(&mut connection).await).await
    }

    pub(crate) async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, RedisError> {
        self.share(async |mut connection| call.invoke_async(&mut connection).await).await
    }

    /// Reads the stream of commits, for one reader at a time.
    pub(crate) async fn wait_for_commits(&self, command: &redis::Cmd) -> Result<Value, RedisError> {
        self.wait(&self.commit_reader, command).await
    }

    /// Asks on the shared connection. Answers come in the order of the questions, and nobody waits for another's.
    async fn share<T, F: Future<Output = redis::RedisResult<T>>>(
        &self,
        ask: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, RedisError> {
        let answer = async {
            let open = {
                let mut shared = self.shared.lock().await;
                match &*shared {
                    Some(open) => open.clone(),
                    None => shared.insert(self.connect(TIMEOUT).await?).clone(),
                }
            };
            ask(open).await
        };
        let answer = tokio::time::timeout(2 * TIMEOUT, answer).await.unwrap_or_else(|_| Err(late()));
        if let Err(error) = &answer {
            let is_alive = error.code().is_some();
            if !is_alive {
                *self.shared.lock().await = None;
            }
        }
        answer.map_err(|error| self.error(error))
    }

    /// Waits for an answer on a connection of its own, which is lost if the future is dropped.
    async fn wait(
        &self,
        connection: &Mutex<Option<MultiplexedConnection>>,
        command: &redis::Cmd,
    ) -> Result<Value, RedisError> {
        let timeout = BLOCK + TIMEOUT;
        let mut connection = connection.lock().await;
        let answer = async {
            let mut open = match connection.take() {
                Some(open) => open,
                None => self.connect(timeout).await?,
            };
            let answer = command.query_async(&mut open).await?;
            *connection = Some(open);
            Ok(answer)
        };
        // The error of a connection that is gone may not come: the reply's own timeout is not enough.
        let answer = tokio::time::timeout(timeout + TIMEOUT, answer).await;
        answer.unwrap_or_else(|_| Err(late())).map_err(|error| self.error(error))
    }

    async fn connect(&self, timeout: Duration) -> redis::RedisResult<MultiplexedConnection> {
        self.client.get_multiplexed_async_connection_with_config(&config(timeout)).await
    }

    pub(crate) fn error(&self, error: redis::RedisError) -> RedisError {
        // The address without the password.
        RedisError { at: format!("redis at `{}`", self.client.get_connection_info().addr()), error }
    }
}

fn late() -> redis::RedisError {
    redis::RedisError::from((redis::ErrorKind::Io, "no answer in time"))
}

fn config(timeout: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(TIMEOUT)).set_response_timeout(Some(timeout))
}

impl ChannelLayer for RedisLayer {
    type Error = RedisError;

    async fn publish(&self, push: &Push) -> Result<Cursor, RedisError> {
        let json = serde_json::to_string(push).expect("a push is JSON");
        let mut command = redis::cmd("XADD");
        command.arg(&self.stream).arg("MAXLEN").arg("~").arg(self.max_entries).arg("*").arg("push").arg(&json);
        let (at, nonce) = (seal::now(), nonce());
        let sealed = SealedPush { stream: &self.stream, push: json.as_bytes(), request: b"", sender: b"" };
        let seal = self.seals.seal_push(&sealed, at, &nonce);
        if let Some(seal) = &seal {
            command.arg("seal").arg(seal);
        }
        let id: String = self.ask(&command).await?;
        let redis_ms = id.split('-').next().and_then(|ms| ms.parse().ok()).unwrap_or_default();
        match seal {
            Some(_) if !seal::is_near(redis_ms, at) => Err(self.error(clocks_differ())),
            _ => Ok(Cursor(id)),
        }
    }

    async fn end(&self) -> Result<Cursor, RedisError> {
        self.end_of(&self.stream).await
    }

    async fn receive(&self, cursor: &Cursor) -> Result<Vec<Message>, RedisError> {
        self.prime(cursor).await?;
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(MAX_ENTRIES).arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(&self.stream).arg(&cursor.0);
        let streams = self.wait(&self.push_reader, &command).await?;
        Ok(items(&streams)
            .iter()
            .flat_map(|stream| items(stream).get(1))
            .flat_map(|entries| self.messages_of(entries, false))
            .collect())
    }
}

impl RedisLayer {
    /// Returns the place of the newest entry of a stream.
    pub(crate) async fn end_of(&self, stream: &str) -> Result<Cursor, RedisError> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
        let newest: Value = self.ask(&command).await?;
        match items(&newest).first().map(items) {
            Some([Value::BulkString(id), ..]) => Ok(Cursor(String::from_utf8_lossy(id).into_owned())),
            // The stream is empty, or not there yet.
            _ => Ok(Cursor("0-0".into())),
        }
    }

    /// Reads `[[id, [field, value, ...]], ...]`.
    ///
    /// The library's own types refuse the whole reply if one field is not UTF-8, and nobody would get past that entry.
    pub(crate) fn messages_of(&self, entries: &Value, are_read_again: bool) -> Vec<Message> {
        let message = |entry| match items(entry) {
            [Value::BulkString(id), fields] => {
                let (id, fields) = (String::from_utf8_lossy(id).into_owned(), items(fields));
                let part = |name: &[u8]| field(fields, name).unwrap_or_default();
                let (push, request, sender) = (part(b"push"), part(b"request"), part(b"sender"));
                let sealed = SealedPush { stream: &self.stream, push, request, sender };
                let checked = self.seals.check_push(&sealed, field(fields, b"seal"), &id, are_read_again);
                let push = checked.and_then(|()| self::push(fields));
                Some(Message { cursor: Cursor(id), push, origin: origin(fields) })
            }
            _ => None,
        };
        items(entries).iter().filter_map(message).collect()
    }

    /// Reads which pushes came last before `cursor`, so that they are known if somebody writes them again.
    async fn prime(&self, cursor: &Cursor) -> Result<(), RedisError> {
        if self.is_sealed() && !self.is_primed.load(Ordering::Relaxed) {
            let mut command = redis::cmd("XREVRANGE");
            command.arg(&self.stream).arg(&cursor.0).arg("-").arg("COUNT").arg(MAX_PRIMED);
            _ = self.messages_of(&self.ask::<Value>(&command).await?, true);
            self.is_primed.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Makes a name that no other push has: 128 random bits.
fn nonce() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn clocks_differ() -> redis::RedisError {
    let limit = seal::MAX_SKEW;
    let text = format!("its clock and ours differ by more than {limit:?}, or the push came too late");
    redis::RedisError::from((redis::ErrorKind::Client, "a sealed push", text))
}

pub(crate) fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        _ => &[],
    }
}

fn push(fields: &[Value]) -> Result<Push, String> {
    match field(fields, b"push") {
        Some(json) if json.len() > MAX_PUSH_BYTES => {
            Err(format!("push of {} bytes exceeds the limit of {MAX_PUSH_BYTES}", json.len()))
        }
        Some(json) => serde_json::from_slice(json).map_err(|error| error.to_string()),
        None => Err("the entry has no field `push`".into()),
    }
}

fn origin(fields: &[Value]) -> Option<Origin> {
    let request = String::from_utf8(field(fields, b"request")?.to_vec()).ok()?;
    let sender = field(fields, b"sender")?;
    let browser = match sender {
        b"server" | b"handler" => None,
        // Whoever cannot be read has the rights of a browser, and no name.
        sender => {
            let (tab, user, session) = serde_json::from_slice(sender).unwrap_or_default();
            Some((tab, domcast_push::Client { user, session, ..Default::default() }))
        }
    };
    Some(Origin { request, browser, is_handler: sender == b"handler" })
}

fn field<'a>(fields: &'a [Value], wanted: &[u8]) -> Option<&'a [u8]> {
    fields.chunks_exact(2).find_map(|field| match field {
        [Value::BulkString(name), Value::BulkString(value)] if name == wanted => Some(&**value),
        _ => None,
    })
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
