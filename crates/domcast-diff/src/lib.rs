//! Finds the patches that turn one HTML tree into another, applies and encodes them.
//!
//! ```
//! use domcast_diff::{apply, diff, Element, Name, NodeId, Tree, VNode};
//!
//! fn list(items: &[&str]) -> Tree {
//!     let mut tree = Tree::new();
//!     for item in items {
//!         let li = tree.append(NodeId::ROOT, VNode::Element(Element::new(Name::html("li"))));
//!         tree.append(li, VNode::Text((*item).into()));
//!     }
//!     tree
//! }
//!
//! let mut old = list(&["tea", "milk", "sugar"]);
//! let new = list(&["milk", "sugar"]);
//! let patches = diff(&old, &new);
//! assert_eq!(patches.to_json(), r#"[["r",1]]"#);
//!
//! apply(&mut old, &patches)?;
//! assert_eq!(old.to_html(), "<li>milk</li><li>sugar</li>");
//! # Ok::<(), domcast_diff::ApplyError>(())
//! ```
//!
//! The law that everything here is tested against: `apply(old, diff(old, new)) == new`, for every pair of trees. A patch list is a
//! program that a browser runs on its DOM; PROTOCOL.md tells how. To make trees of HTML text use the crate `domcast-parser`.
//!
//! No dependency, no runtime, no global state; nothing recurses over the depth of a tree.

mod text; // immutable text
mod name; // names and namespaces
mod attributes; // of elements
mod tree; // nodes and their places
mod html; // tree to text
mod numbering; // checksum and ids for a page
mod patch; // the operations
mod apply; // patches into a tree
mod diff; // the walk over two trees
mod digest; // equal subtrees
mod element; // attributes and text
mod children; // siblings: pair them, put them in place
mod align; // siblings that stay in order
mod lis; // siblings that need not move
mod encoding; // JSON and binary

pub use apply::{ApplyError, apply};
pub use attributes::{Attribute, Attributes};
pub use diff::diff;
pub use encoding::{DecodeError, MAX_EXPANDED};
pub use html::{escape_attribute, escape_text};
pub use name::{Name, Namespace};
pub use patch::{Nodes, Patch, Patches, Splice, Token};
pub use text::Str;
pub use tree::{Doctype, Element, NodeId, Tree, VNode};
