//! The hub as adapters and authors of views see it.

mod calls; // what handlers want besides changing their view
mod client; // a page: a tree that follows frames
mod coalescing; // many pushes, few renderings
mod edits; // merge and patch
mod forwarded; // events that somebody else handles
mod grants; // what is known of a page for a time only, and what is taken from it
mod input; // anything from anybody
mod keys; // one document per key, and private ones
mod loaded; // first states that come from elsewhere
mod presence; // who is here
mod private; // a document per page, and what they share
mod pushes; // what pushes do, and what they are told
mod semantics; // the page that tells all this names tests that are there
mod sessions; // what subscribers get
mod simulation; // all of it at random
mod targets; // whom a push is for
mod ticks; // what changes by itself
