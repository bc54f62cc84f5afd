//! Finds the patches that turn one HTML tree into another, applies and encodes them.
//!
//! ```
//! use domcast_diff::{apply, diff, Element, Name, NodeId, Tree, VNode};
//!
//! fn list(items: &[&str]) -> Tree {
//!     let mut tree = Tree::new();
//!     for item in items {
//!         let li = tree.append(NodeId::ROOT, VNode::Element(Element::new(Name::html("li"))));
//!         tree.append(li, VNode::Text(item));
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
//! # The idea
//!
//! ```text
//!   what the page shows              what it should show
//!
//!     ul #1                            ul
//!     ├─ li #2 ─ "tea"   #3            ├─ li ─ "milk"
//!     ├─ li #4 ─ "milk"  #5            └─ li ─ "cane sugar"
//!     └─ li #6 ─ "sugar" #7
//!            │                            │
//!            └────────── diff ────────────┘
//!                         │
//!                  remove #2                     [["r",2],
//!       in text of #7 insert "cane " at 0         ["x",7,0,0,"cane "]]
//!                         │
//!        ┌────────────────┴───────────────┐
//!   apply: the server's tree         the page's DOM: the same
//!   #1 #4 #5 #6 #7                   nodes, with caret and scroll
//! ```
//!
//! Every node has a number, which server and page count alike: in document order at first, then in the order of insertion. So a patch
//! names a node by a few digits, wherever it has moved, and the nodes that it does not name keep all that a user did to them.
//!
//! Children pair by key (the attribute `dc-key`, else `data-key`, else `id`), else by being equal, else by kind; as few as
//! possible of them move. Give keys to what is inserted, removed and moved.
//!
//! The law that everything here is tested against: `apply(old, diff(old, new)) == new`, for every pair of trees. A patch list is a
//! program that a browser runs on its DOM; PROTOCOL.md tells how. To make trees of HTML text use the crate `domcast-parser`.
//!
//! # A page that lives
//!
//! Keep the tree that you patched, not the new one: its ids are those that the page knows. A page that comes
//! later needs the [`numbering`](Tree::numbering) of that tree beside its HTML, and its [`checksum`](Tree::checksum) finds a browser that read
//! the HTML otherwise. `examples/std_server.rs` is all of it in one file, `examples/actix-web` the same on a framework, with HTML from any renderer.
//!
//! # Costs and errors
//!
//! `n` counts the nodes of the trees.
//!
//! | function | time | fails |
//! |---|---|---|
//! | [`diff`] | `O(n log n)`; of regular pages that were parsed, what comparing their memory takes, and the rest for what differs | never |
//! | [`Editor`] | what it is told of; the children of a parent whose list changes | panics on a missing node |
//! | [`apply`] | what the patches touch | [`ApplyError`]: a patch does not fit the tree |
//! | [`Patches::to_json`], [`Patches::to_binary`] | linear in the output | never |
//! | [`Patches::from_binary`] | linear in the input and what its runs stand for, at most [`MAX_EXPANDED`] | [`DecodeError`]: not a patch list |
//! | [`Tree::to_html`], [`Tree::checksum`], [`Tree::numbering`], `==` | `O(n)` | never |
//! | [`Tree::get`] and the links from node to node | `O(1)` | never: `None` for what is not there |
//! | [`Tree::append`], [`Tree::insert`], [`Tree::detach`], [`Tree::set_text`] | `O(1)`, and once after a parse or diff the depth of the node | panic on a missing node or a wrong place |
//! | [`Tree::remove`] | the nodes removed | panics on the root and on a missing node |
//! | [`Tree::compact`], [`Tree::number`] | `O(n)`, holes included | never |
//! | `Tree::clone` | `O(1)`; the first change of either copies `O(n)` | never |
//!
//! A parsed tree takes two to four times the memory of its HTML ([`Tree::n_bytes`]), its source included; one that changes for ever at most about twice
//! that. Patches that insert most of a tree share its memory, others own what they say.
//!
//! No dependency, no runtime, no global state; nothing recurses over the depth of a tree. Patches from elsewhere are safe to decode
//! and to apply: they end in an error, never in a panic. Scripts that they insert are the page's affair.

mod name; // names, namespaces, symbols
mod node; // what a node is
mod columns; // how a tree keeps them
mod tree; // nodes and their places
mod build; // for parsers
mod html; // tree to text
mod numbering; // checksum and ids for a page
mod patch; // the operations
mod apply; // patches into a tree
mod diff; // the walk over two trees
mod editor; // patches for changes that are known
mod equal; // equal subtrees, by their source …
mod digest; // … and by hashes
mod element; // attributes and text
mod children; // siblings: pair them, put them in place
mod align; // siblings that stay in order
mod lis; // siblings that need not move
mod encoding; // JSON and binary

pub use apply::{ApplyError, apply};
pub use build::{Builder, List, Mark};
pub use columns::Text;
pub use diff::{Part, PartChild, diff, diff_parts};
pub use digest::Folding;
pub use editor::{Child, Editor};
pub use encoding::{DecodeError, MAX_EXPANDED};
pub use equal::common_prefix;
pub use html::{escape_attribute, escape_text};
pub use name::{Name, NameBuf, Namespace, Symbol};
pub use node::{Attribute, Attributes, Doctype, Element, VNode};
pub use patch::{Nodes, Patch, Patches, Splice, Token};
pub use tree::{NodeId, Tree};
