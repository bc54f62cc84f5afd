//! How a connection ends: the close codes of PROTOCOL.md, section 5, the same on every transport.

use domcast_push::{FrameError, Session};
use serde_json::json;
use std::time::Duration;

/// A code and, for people, the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl End {
    /// The client closed, or is gone.
    pub(crate) const NORMAL: u16 = 1000;
    pub(crate) const TOO_LARGE: u16 = 1009;
    /// The server goes away: come back after the delay of `bye`.
    pub(crate) const RESTART: u16 = 1012;
    /// The server has as many connections as it may have.
    pub(crate) const FULL: u16 = 1013;
    pub(crate) const MALFORMED: u16 = 4400;
    pub(crate) const TIMED_OUT: u16 = 4408;
    /// Who the page is for is not known any more, or is somebody else: come back and say.
    pub(crate) const LAPSED: u16 = 4409;
    /// A session over HTTP that is not there any more.
    pub(crate) const NO_SESSION: u16 = 4410;
    pub(crate) const TOO_SLOW: u16 = 4429;

    pub(crate) fn new(code: u16, reason: impl Into<String>) -> End {
        End { code, reason: reason.into() }
    }

    pub(crate) fn too_slow(limit: Duration) -> End {
        End::new(End::TOO_SLOW, format!("nothing was read for {} s", limit.as_secs_f32()))
    }

    /// Why a session has no further frame.
    pub(crate) fn of(session: &Session) -> End {
        match session.has_lapsed() {
            true => End::new(End::LAPSED, "who the page is for is to be asked anew"),
            false => End::new(End::TOO_SLOW, "too many questions, and no answer was read"),
        }
    }

    pub(crate) fn restart() -> End {
        End::new(End::RESTART, "the server restarts")
    }

    /// The frame that says so, and how long to stay away.
    pub(crate) fn bye(&self, stay_away: Duration) -> String {
        json!(["bye", self.code, u64::try_from(stay_away.as_millis()).unwrap_or(u64::MAX), self.reason]).to_string()
    }
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> End {
        End::new(error.close_code(), error.to_string())
    }
}
