//! Tests across the crates: one binary, because it links once.

mod arrows; // who may depend on whom
mod cases; // our own corpus, shared with the client
mod corpus; // other people's pages
mod html5lib; // the parser against the standard's test suite
mod laws; // the laws on generated input
mod limits; // hostile input
mod reparse; // texts that change
mod sizes; // bytes on the wire
