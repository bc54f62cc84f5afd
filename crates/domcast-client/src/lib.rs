//! The browser half of domcast: applies patches to a live page.
//!
//! The client is written in TypeScript (`ts/`) and built to files that ship inside this crate,
//! so that building a server needs no Node. Serve [`CLIENT_JS`] as `text/javascript`, with
//! [`CLIENT_HASH`] as its entity tag or as part of an address that may be cached for ever:
//!
//! ```
//! let address = format!("/_domcast/client-{}.js", domcast_client::CLIENT_HASH);
//! let page = format!(r#"<script src="{address}" defer></script>"#);
//! assert!(page.len() < 80);
//! ```
//!
//! The script opens its WebSocket at `ws` beside itself, here `/_domcast/ws`. What the two then say
//! to each other is written down in `PROTOCOL.md`.

/// The script of a page: mounts every `[dc-view]` and keeps it live.
///
/// Needs no `unsafe-inline` and no `eval`, and works under `require-trusted-types-for 'script'`
/// (its policy is named `domcast`).
pub const CLIENT_JS: &str = include_str!("../dist/domcast.js");

/// Shows at the fields of a form what an application says is wrong with them, for pages with [`CLIENT_JS`].
pub const ERRORS_JS: &str = include_str!("../dist/errors.js");

/// The applier alone, as an ES module, for pages that bring a transport of their own.
pub const CLIENT_MJS: &str = include_str!("../dist/domcast.mjs");

/// Names the content of [`CLIENT_JS`]: 16 hexadecimal digits that change whenever it does.
pub const CLIENT_HASH: &str = match core::str::from_utf8(&HEX) {
    Ok(hash) => hash,
    Err(_) => unreachable!(),
};

const HEX: [u8; 16] = hex(fnv_1a(CLIENT_JS.as_bytes()));

/// 64-bit FNV-1a. It tells versions apart; it protects against nobody, and need not.
const fn fnv_1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut idx = 0;
    while idx < bytes.len() {
        hash = (hash ^ bytes[idx] as u64).wrapping_mul(0x0100_0000_01b3);
        idx += 1;
    }
    hash
}

const fn hex(value: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    let mut idx = 0;
    while idx < 16 {
        digits[idx] = b"0123456789abcdef"[(value >> (60 - 4 * idx) & 15) as usize];
        idx += 1;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_script() {
        // FNV-1a of "a", from http://www.isthe.com/chongo/tech/comp/fnv/.
        assert_eq!(hex(fnv_1a(b"a")), *b"af63dc4c8601ec8c");
        assert_eq!(CLIENT_HASH, format!("{:016x}", fnv_1a(CLIENT_JS.as_bytes())));
    }

    #[test]
    fn the_script_is_small() {
        assert!(CLIENT_JS.len() < 32 * 1024, "{} bytes", CLIENT_JS.len());
    }
}
