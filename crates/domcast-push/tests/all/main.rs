//! The hub as adapters and authors of views see it.

mod client; // a page: a tree that follows frames
mod pushes; // what pushes do, and what they are told
mod sessions; // what subscribers get
mod simulation; // random pushes, slow readers and lost connections
mod ticks; // what changes by itself
