//! What the tests across the crates share with each other and with the fuzz targets: generators, an oracle, the laws.
//!
//! Generators read [`arbitrary::Unstructured`], so one generator serves proptest (which makes the bytes and shrinks them)
//! and libFuzzer (which mutates them). Bytes that run out mean "the simplest": every generator ends.

#[path = "shared/data.rs"]
pub mod data; // the corpus folder beside the repository
#[path = "shared/edits.rs"]
pub mod edits; // changes to text
#[path = "shared/laws.rs"]
pub mod laws; // what must hold for every pair of trees
#[path = "shared/markup.rs"]
pub mod markup; // text that looks like HTML
#[path = "shared/oracle.rs"]
pub mod oracle; // the tree by html5ever and markup5ever_rcdom
#[path = "shared/programs.rs"]
pub mod programs; // patch lists that nobody's diff made
#[path = "shared/trees.rs"]
pub mod trees; // trees and changes to them
