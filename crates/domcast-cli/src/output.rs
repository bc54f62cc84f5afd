//! Standard output, which its reader may close at any time.

use anyhow::Result;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// Writes `bytes` as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Writes `text` as it is; on a terminal its last line is ended.
pub(crate) fn text(text: &str) -> Result<()> {
    bytes(text.as_bytes())?;
    let is_line_open = !text.is_empty() && !text.ends_with('\n');
    if is_line_open && io::stdout().is_terminal() {
        bytes(b"\n")?;
    }
    Ok(())
}

/// Writes `text` and a line end.
pub(crate) fn line(text: &str) -> Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Whether the error is that nobody reads the output any more.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
