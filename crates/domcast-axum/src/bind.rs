//! Where it is safe to listen.

use std::fmt;
use std::net::SocketAddr;

/// Checks that a server whose pushes are not off may listen on `address`.
///
/// # Errors
///
/// [`BindError`]: other machines reach the address, and no token keeps them from pushing.
pub fn check_bind(address: SocketAddr, has_token: bool) -> Result<(), BindError> {
    // `::ffff:127.0.0.1` is the loopback too.
    let is_loopback = address.ip().to_canonical().is_loopback();
    if is_loopback || has_token { Ok(()) } else { Err(BindError { address }) }
}

/// An address where anybody could push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindError {
    address: SocketAddr,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BindError { address } = self;
        write!(
            f,
            "other machines reach `{address}`, and without a push token all may push: set one, or bind to 127.0.0.1"
        )
    }
}

impl std::error::Error for BindError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_do_without_a_token() {
        for address in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert_eq!(check_bind(address.parse().unwrap(), false), Ok(()), "{address}");
        }
        for address in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "[::ffff:10.0.0.1]:80"] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(check_bind(address, true), Ok(()));
            assert_eq!(
                check_bind(address, false).unwrap_err().to_string(),
                format!(
                    "other machines reach `{address}`, and without a push token all may push: set one, or bind to 127.0.0.1"
                )
            );
        }
    }
}
