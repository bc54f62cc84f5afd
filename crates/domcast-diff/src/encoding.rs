//! Patch lists on the wire: the two encodings of PROTOCOL.md.
//!
//! Both write the same [lines](Line), one or more a patch: an operation letter and a list of items. [`json`] prints them,
//! [`binary`] packs them. What repeats in inserted nodes is found on the way ([`shapes`]).
//!
//! Reading JSON text is left to a JSON library: with the feature `serde` a [`Patches`] is `Serialize` and `Deserialize`
//! in the form of PROTOCOL.md.

pub(crate) mod binary;
mod json;
mod line;
#[cfg(feature = "serde")]
mod serde;
mod shapes;

use crate::patch::{Nodes, Patches};
use crate::tree::{NodeId, Tree};
use std::fmt;

impl Tree {
    /// Writes all that is in the root as JSON: the flat list of tokens of PROTOCOL.md, section 2. Linear in the output.
    pub fn to_tokens_json(&self) -> String {
        let children: Vec<NodeId> = self.children(NodeId::ROOT).collect();
        let nodes = Nodes::new(self, &children);
        let mut items = Vec::with_capacity(2 * nodes.n_nodes());
        nodes.tokens().for_each(|token| line::write_token(token, &mut items));
        json::write_items(&items)
    }
}

impl Patches {
    /// Writes the patch list as JSON: `[["r",3],["t",7,"tea"]]`. Linear in the output.
    pub fn to_json(&self) -> String {
        json::write(&line::lines(self))
    }

    /// Writes the patch list in the binary form, at most half as long on the usual changes. Linear in the output.
    pub fn to_binary(&self) -> Vec<u8> {
        binary::write(&line::lines(self))
    }

    /// Reads what [`to_binary`](Self::to_binary) wrote.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]: the bytes are of another version, cut off, or say something that no patch list says. Memory
    /// use is bounded by a small multiple of the input, save for [`MAX_EXPANDED`] tokens and ids that runs may stand for.
    pub fn from_binary(bytes: &[u8]) -> Result<Patches, DecodeError> {
        line::patches(&binary::read(bytes)?)
    }
}

pub(crate) use line::runs;

/// The most tokens and ids that the runs of one encoded patch list may expand to.
pub const MAX_EXPANDED: usize = 16_777_216;

/// Bytes or JSON that are not a patch list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The position of the faulty patch in its list, from 0.
    pub patch_idx: usize,
    reason: String,
}

impl DecodeError {
    fn new(patch_idx: usize, reason: impl Into<String>) -> DecodeError {
        DecodeError { patch_idx, reason: reason.into() }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "patch {} cannot be read: {}", self.patch_idx, self.reason)
    }
}

impl std::error::Error for DecodeError {}
