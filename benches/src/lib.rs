//! What the benchmarks measure: the table of js-framework-benchmark, what may happen to it, and a few real pages.
//!
//! Everything is made of a [`Table`], so every peer gets the same input in its own form.

mod figures; // how a bench runs and what its table says
mod pages; // HTML of other people
mod table; // the rows, and what happens to them

pub use figures::{Figures, ratio, run, time};
pub use pages::{Page, pages};
pub use table::{Change, Row, Table};
