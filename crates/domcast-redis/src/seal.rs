//! Seals: what is written into Redis shows that its writer has the servers' key.
//!
//! A seal is HMAC-SHA256 over what a text is for and the text itself: kind, prefix, view and number of the commit, one a line; with source and cursor
//! also where the document stands. So a text that is forged, cut off, or moved to another place is known, and so is one of an earlier life of
//! the document, which had another epoch. The cursor of a document with a key carries the time at which all of it ends. With a push it is the field `seal`, `AT NONCE HEX`, over
//!
//! ```text
//! push\nSTREAM\nAT\nNONCE\nREQUEST\nSENDER\nPUSH
//! ```
//!
//! where `AT` is the time in milliseconds since 1970, and `REQUEST` and `SENDER` are empty unless a server forwards it. A genuine push that is
//! written again is known by its nonce; nonces are remembered for two and a half minutes. What is older than that beside the newest is refused, and
//! so is what was written more than 30 s before or after it was sealed.
//!
//! Without a key nothing is sealed, and Redis is trusted with what fits.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How far the clocks of servers and Redis may be apart, and how late a push may be written.
pub(crate) const MAX_SKEW: Duration = Duration::from_secs(30);
/// For longer than that and the time that a document is kept without an owner.
const MEMORY_MS: u64 = 5 * MAX_SKEW.as_millis() as u64;

/// Seals texts, or leaves them as they are where there is no key.
#[derive(Default)]
pub(crate) struct Seals {
    key: Option<Hmac<Sha256>>,
    seen: Mutex<Seen>,
}

/// The pushes that were read of late.
#[derive(Default)]
struct Seen {
    newest_at: u64,
    swept_at: u64,
    /// By nonce: when it was sealed, and the entry that has it.
    entries: HashMap<String, (u64, String)>,
}

/// A push as it lies in Redis.
pub(crate) struct SealedPush<'a> {
    pub(crate) stream: &'a str,
    pub(crate) push: &'a [u8],
    pub(crate) request: &'a [u8],
    pub(crate) sender: &'a [u8],
}

impl Seals {
    pub(crate) fn new(key: &[u8]) -> Seals {
        let key = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
        Seals { key: Some(key), seen: Mutex::default() }
    }

    pub(crate) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Puts the seal before a text that is for `place`.
    pub(crate) fn seal(&self, place: &[&str], text: &str) -> String {
        match &self.key {
            Some(key) => format!("{} {text}", hex(&over(key, place, text.as_bytes()).finalize().into_bytes())),
            None => text.into(),
        }
    }

    /// Returns the text without its seal, if that is right.
    pub(crate) fn open(&self, place: &[&str], sealed: &str) -> Option<String> {
        let Some(key) = &self.key else { return Some(sealed.into()) };
        let (seal, text) = sealed.split_once(' ')?;
        over(key, place, text.as_bytes()).verify_slice(&from_hex(seal)?).ok()?;
        Some(text.into())
    }

    /// Returns the field `seal` of a push; none without a key.
    pub(crate) fn seal_push(&self, push: &SealedPush<'_>, at: u64, nonce: &str) -> Option<String> {
        let seal = hex(&push.mac(self.key.as_ref()?, &at.to_string(), nonce)?.finalize().into_bytes());
        Some(format!("{at} {nonce} {seal}"))
    }

    /// Says whether a push is genuine and new, and written when it was sealed. `is_read_again`: it lies before what was read already, so it may be
    /// older than that.
    pub(crate) fn check_push(
        &self,
        push: &SealedPush<'_>,
        seal: Option<&[u8]>,
        id: &str,
        is_read_again: bool,
    ) -> Result<(), String> {
        let Some(key) = &self.key else { return Ok(()) };
        let seal = seal.and_then(|seal| str::from_utf8(seal).ok()).ok_or("it has no seal")?;
        let mut parts = seal.splitn(3, ' ');
        let (Some(at), Some(nonce), Some(code)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("its seal is not `AT NONCE HEX`".into());
        };
        let verified = push.mac(key, at, nonce).zip(from_hex(code)).map(|(mac, code)| mac.verify_slice(&code).is_ok());
        if verified != Some(true) {
            return Err("its seal is of another key, or for something else".into());
        }
        let at: u64 = at.parse().map_err(|_| "its seal has no time")?;
        let written_at = id.split('-').next().and_then(|ms| ms.parse().ok());
        let is_in_time = written_at.is_some_and(|written_at| is_near(written_at, at));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.entries.get(nonce) {
            Some((_, first)) if first == id => return Ok(()),
            Some((_, first)) => return Err(format!("it repeats the entry {first}")),
            None => {}
        }
        if !is_in_time {
            return Err("it was sealed long before or after it was written".into());
        }
        if !is_read_again && at + MEMORY_MS < seen.newest_at {
            return Err("it was sealed long before others that were read already".into());
        }
        seen.entries.insert(nonce.into(), (at, id.into()));
        seen.newest_at = seen.newest_at.max(at);
        if seen.newest_at > seen.swept_at + MEMORY_MS {
            let Seen { newest_at, swept_at, entries } = &mut *seen;
            *swept_at = *newest_at;
            entries.retain(|_, (at, _)| *at + MEMORY_MS >= *newest_at);
        }
        Ok(())
    }
}

impl SealedPush<'_> {
    /// `None`: a line break in a field would let it be read in two ways.
    fn mac(&self, key: &Hmac<Sha256>, at: &str, nonce: &str) -> Option<Hmac<Sha256>> {
        let request = str::from_utf8(self.request).ok()?;
        let sender = str::from_utf8(self.sender).ok()?;
        let place = ["push", self.stream, at, nonce, request, sender];
        let is_clear = place.iter().all(|part| !part.contains('\n'));
        is_clear.then(|| over(key, &place, self.push))
    }
}

/// The time in milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// Whether a time of Redis, as in the id of an entry, is near one of ours.
pub(crate) fn is_near(redis_ms: u64, at: u64) -> bool {
    redis_ms.abs_diff(at) <= MAX_SKEW.as_millis() as u64
}

fn over(key: &Hmac<Sha256>, place: &[&str], text: &[u8]) -> Hmac<Sha256> {
    let mut mac = key.clone();
    for part in place {
        mac.update(part.as_bytes());
        mac.update(b"\n");
    }
    mac.update(text);
    mac
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?)).collect()
}
