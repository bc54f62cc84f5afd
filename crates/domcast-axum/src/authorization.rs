//! Authorisation: who may look at which view, for how long, and what takes it away again.
//!
//! A page is made for a user, and the element of each view in it carries a *mount token*: the user and an expiry, signed for
//! that view, or for its document of a key. Whoever connects shows it, and is asked about anew. What is granted is granted for a time: when half of it is over
//! the hook is asked again, and the client gets a newer token or loses the view. [`Domcast::reauthorize`] asks at once.
//!
//! A token names no template and no position: it says who may look, and a page that is older than the server's
//! template differs in its checksum or its epoch, which a snapshot repairs.
//!
//! Form of a token: `expiry.user.signature`; the expiry in seconds since 1970, the user in hexadecimal digits, and HMAC-SHA256 in
//! hexadecimal digits over `domcast mount`, the view, the user, the expiry, and the key if there is one, each after its length.

use crate::domcast::{Domcast, now};
use crate::hooks::{Hooked, Tab};
use axum::http::request::Parts;
use domcast_push::{Gate, Session};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often grants are looked through for those that are half over.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What the hook says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The user may look, and is to be asked about again within this time.
    Allow(Duration),
    /// The user may not.
    Deny,
}

/// Who may look at which view.
#[derive(Clone)]
pub struct Authorization {
    hook: Arc<Hook>,
    key: Hmac<Sha256>,
}

type Hook = dyn Fn(&str, Option<&str>, &str) -> Access + Send + Sync;

impl Authorization {
    /// Asks `hook`, with the view, the key if its document of one is meant, and the user, before anybody gets it, and again from time to time.
    ///
    /// It is called while frames wait, so let it answer from memory. The user is what
    /// [`page_for`](Domcast::page_for) was given, and the empty text for those it was not called for.
    ///
    /// The key that tokens are signed with is made here and now. Where a page of one server connects to another, or
    /// to the same one after a restart, give them a common one with [`key`](Self::key).
    ///
    /// # Panics
    ///
    /// Panics if the system has no random numbers.
    pub fn new(hook: impl Fn(&str, Option<&str>, &str) -> Access + Send + Sync + 'static) -> Authorization {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the system has random numbers");
        Authorization { hook: Arc::new(hook), key: hmac(&key) }
    }

    /// Signs with this key: 32 random bytes or more, the same for all servers that share their clients.
    #[must_use]
    pub fn key(mut self, key: &[u8]) -> Authorization {
        self.key = hmac(key);
        self
    }

    /// Asks the hook; if it allows, returns the user's token for the view or its key, and how long it holds.
    fn grant(&self, view: &str, key: Option<&str>, user: &str) -> Option<(String, Duration)> {
        let Access::Allow(time) = (self.hook)(view, key, user) else { return None };
        let expiry = (unix_time() + time).as_secs();
        let mut token = format!("{expiry}.");
        hexadecimal(user.as_bytes(), &mut token);
        token.push('.');
        hexadecimal(&self.signed(view, key, user, expiry).finalize().into_bytes(), &mut token);
        Some((token, time))
    }

    /// Returns the user of a token for this view or key, if we signed it and it holds still.
    fn user(&self, view: &str, key: Option<&str>, token: &str) -> Option<String> {
        let mut parts = token.split('.');
        let (Some(expiry), Some(user), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let user = String::from_utf8(from_hexadecimal(user)?).ok()?;
        let expiry: u64 = expiry.parse().ok()?;
        self.signed(view, key, &user, expiry).verify_slice(&from_hexadecimal(signature)?).ok()?;
        (unix_time().as_secs() <= expiry).then_some(user)
    }

    fn signed(&self, view: &str, key: Option<&str>, user: &str, expiry: u64) -> Hmac<Sha256> {
        let mut hmac = self.key.clone();
        let expiry = expiry.to_be_bytes();
        let parts = [b"domcast mount", view.as_bytes(), user.as_bytes(), &expiry];
        // One part more than a view without a key has, so none is taken for the other.
        for part in parts.into_iter().chain(key.map(str::as_bytes)) {
            hmac.update(&(part.len() as u64).to_be_bytes());
            hmac.update(part);
        }
        hmac
    }
}

impl fmt::Debug for Authorization {
    /// Keeps the key to itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization").finish_non_exhaustive()
    }
}

impl Domcast {
    /// Opens a session for a request, held to the [`authorization`](crate::Config::authorization) if there is one.
    pub(crate) fn connect(&self, request: &Parts) -> Arc<Session> {
        let client = self.client(request);
        let authorization = self.config().authorization.clone();
        let grants = authorization.map(|authorization| Arc::new(Grants { authorization, list: Mutex::default() }));
        let mut gate = grants.clone().map(|grants| grants as Arc<dyn Gate>);
        let hooked = self.hooks().are_set().then(|| {
            let (hooks, client) = (Arc::clone(self.hooks()), client.clone());
            Arc::new(Hooked { hooks, request: OnceLock::new(), client, gate: gate.clone() })
        });
        if let Some(hooked) = &hooked {
            gate = Some(Arc::clone(hooked) as Arc<dyn Gate>);
        }
        let session = match gate {
            Some(gate) => self.hub().connect_through(client, gate),
            None => self.hub().connect_as(client),
        };
        if let Some(hooked) = hooked {
            let mut request = request.clone();
            request.extensions.insert(Tab(session.tab().to_owned()));
            _ = hooked.request.set(request);
        }
        if let Some(grants) = grants {
            self.guarded().push((Arc::downgrade(&session), grants));
        }
        if session.client().valid_for.is_some() {
            self.keep_identified(&session, request.clone());
        }
        session
    }

    /// Whether this user may look at the view, or its document of a key, now; always, without an [`authorization`](crate::Config::authorization).
    pub fn may_look(&self, view: &str, key: Option<&str>, user: &str) -> bool {
        self.config().authorization.as_ref().is_none_or(|authorization| authorization.grant(view, key, user).is_some())
    }

    /// Returns the attribute that carries the mount token in the element of a view, or of its document of a key, with a space before it.
    ///
    /// `None` if the user may not look. Without an [`authorization`](crate::Config::authorization) it is empty.
    pub fn token_attribute(&self, view: &str, key: Option<&str>, user: &str) -> Option<String> {
        let Some(authorization) = &self.config().authorization else { return Some(String::new()) };
        authorization.grant(view, key, user).map(|(token, _)| format!(" dc-token=\"{token}\""))
    }

    /// Asks the hook again, now, about all that this user looks at. What it denies is taken away.
    pub fn reauthorize(&self, user: &str) {
        self.ask_again(|grant| grant.user == user);
    }

    /// Asks the hook again, for ever, about what was granted long enough ago.
    pub(crate) async fn keep_authorized(guarded: Weak<Mutex<Vec<Guarded>>>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(guarded) = guarded.upgrade() else { return };
            let now = now();
            ask_again(&guarded, |grant| grant.ask_at <= now);
        }
    }

    fn ask_again(&self, is_meant: impl Fn(&Grant) -> bool) {
        ask_again(self.guarded_sessions(), is_meant);
    }

    fn guarded(&self) -> MutexGuard<'_, Vec<Guarded>> {
        self.guarded_sessions().lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ask_again(guarded: &Mutex<Vec<Guarded>>, is_meant: impl Fn(&Grant) -> bool) {
    let mut sessions = Vec::new();
    guarded.lock().unwrap_or_else(PoisonError::into_inner).retain(|(session, grants)| {
        let session = session.upgrade();
        let is_open = session.is_some();
        sessions.extend(session.map(|session| (session, Arc::clone(grants))));
        is_open
    });
    for (session, grants) in sessions {
        // The list is not locked while the hook is asked and views are taken: a session that mounts holds its own lock and waits for the list's.
        let meant: Vec<Grant> = grants.list().extract_if(.., |grant| is_meant(grant)).collect();
        for mut grant in meant {
            let Some((token, time)) = grants.authorization.grant(&grant.view, grant.key.as_deref(), &grant.user) else {
                tracing::info!(
                    session = session.id(),
                    view = grant.view,
                    key = grant.key,
                    user = grant.user,
                    "revoked"
                );
                session.revoke(&grant.view, grant.key.as_deref());
                continue;
            };
            session.renew(&grant.view, grant.key.as_deref(), &token);
            grant.ask_at = now() + time / 2;
            grants.list().push(grant);
        }
    }
}

/// A session and what it was granted.
pub(crate) type Guarded = (Weak<Session>, Arc<Grants>);

/// What one session was granted.
pub(crate) struct Grants {
    authorization: Authorization,
    list: Mutex<Vec<Grant>>,
}

struct Grant {
    view: String,
    key: Option<String>,
    user: String,
    /// When to ask the hook again.
    ask_at: Duration,
}

impl Grants {
    fn list(&self) -> MutexGuard<'_, Vec<Grant>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate for Grants {
    fn user(&self, view: &str, key: Option<&str>, token: Option<&str>) -> Option<String> {
        let user = self.authorization.user(view, key, token?)?;
        // A token outlives a change of mind.
        ((self.authorization.hook)(view, key, &user) != Access::Deny).then_some(user)
    }

    fn may_mount(&self, view: &str, key: Option<&str>, user: &str) -> bool {
        // Nobody asks the hook again under this lock, and nobody revokes before the session has mounted what this allows: a change of mind is missed
        // neither between the answer and the list nor between the list and the mounting.
        let mut list = self.list();
        let Some((_, time)) = self.authorization.grant(view, key, user) else { return false };
        let grant =
            Grant { view: view.into(), key: key.map(str::to_owned), user: user.into(), ask_at: now() + time / 2 };
        // Several elements of a page may show one document.
        list.retain(|listed| (&listed.view, &listed.key, &listed.user) != (&grant.view, &grant.key, &grant.user));
        list.push(grant);
        true
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn hexadecimal(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        // Writing to a string cannot fail.
        _ = write!(text, "{byte:02x}");
    }
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let is_whole = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_whole.then(|| text.as_bytes().chunks(2).map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_view_its_user_and_its_time_only() {
        let allow = |time| Authorization::new(move |_, _, _| Access::Allow(time)).key(&[7; 32]);
        let minute = allow(Duration::from_secs(60));
        let (token, _) = minute.grant("orders", None, "änne").unwrap();
        assert_eq!(minute.user("orders", None, &token).as_deref(), Some("änne"));
        assert_eq!(minute.user("order", None, &token), None);
        assert_eq!(minute.user("orders", Some(""), &token), None);
        assert_eq!(minute.clone().key(&[8; 32]).user("orders", None, &token), None);
        let (of_key, _) = minute.grant("orders", Some("42"), "änne").unwrap();
        assert_eq!(minute.user("orders", Some("42"), &of_key).as_deref(), Some("änne"));
        assert_eq!(minute.user("orders", Some("43"), &of_key), None);
        assert_eq!(minute.user("orders", None, &of_key), None);
        // Every other text of the same length and of any shorter one is refused.
        for idx in 0..token.len() {
            assert_eq!(minute.user("orders", None, &token[..idx]), None, "{idx}");
            let mut forged = token.clone().into_bytes();
            forged[idx] = if forged[idx] == b'0' { b'1' } else { b'0' };
            assert_eq!(minute.user("orders", None, std::str::from_utf8(&forged).unwrap()), None, "{idx}");
        }
        let expired = minute.signed("orders", None, "a", 5).finalize().into_bytes();
        let mut token = "5.61.".to_owned();
        hexadecimal(&expired, &mut token);
        assert_eq!(minute.user("orders", None, &token), None);
    }
}
