//! Positions: which update of which life of a document.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Where a document stands: `epoch:version`.
///
/// The epoch names one life of the document; the version counts its updates. Positions of different epochs cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The life of the document: 1 to 64 letters, digits and dashes.
    pub epoch: Arc<str>,
    /// The number of updates so far.
    pub version: u64,
}

/// Text that is not `epoch:version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPosition;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.version)
    }
}

impl FromStr for Position {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Position, BadPosition> {
        let (epoch, version) = text.split_once(':').ok_or(BadPosition)?;
        let is_epoch = (1..=64).contains(&epoch.len()) && epoch.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        match version.parse() {
            Ok(version) if is_epoch => Ok(Position { epoch: epoch.into(), version }),
            _ => Err(BadPosition),
        }
    }
}

impl fmt::Display for BadPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a position is `epoch:version`")
    }
}

impl std::error::Error for BadPosition {}
