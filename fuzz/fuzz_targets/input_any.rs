//! Laws 7 and 10: any bytes as frames of a client and as pushes are taken, or refused with an error that says why; nobody else's page is harmed.

#![no_main]

// The tests of the hub need more of it.
#[allow(dead_code)]
#[path = "../../crates/domcast-push/tests/all/client.rs"]
mod client;
#[path = "../../crates/domcast-push/tests/all/input/law.rs"]
mod law;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| law::withstand(bytes));
