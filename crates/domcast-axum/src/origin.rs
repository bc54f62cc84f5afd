//! Origins: browsers say which page a request comes from, and let every page of the web open a WebSocket to us.

use axum::http::{HeaderMap, header};

/// Whether a request may come from where it comes from.
///
/// Allowed are requests without an origin (no page sent them), pages on the host that was asked, and pages of `allowed`.
/// The scheme is not compared: behind a proxy we speak plain HTTP while the page has `https`.
pub(crate) fn is_allowed(headers: &HeaderMap, authority: Option<&str>, allowed: &[String]) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else {
        return headers.get(header::ORIGIN).is_none();
    };
    let Ok(origin) = origin.to_str() else { return false };
    if allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(authority);
    match (split(origin), host) {
        (Some((default_port, origin_host)), Some(host)) => {
            let with_port = |host: &str| match has_port(host) {
                true => host.to_ascii_lowercase(),
                false => format!("{}:{default_port}", host.to_ascii_lowercase()),
            };
            with_port(origin_host) == with_port(host)
        }
        _ => false,
    }
}

/// Splits `http://host` into the scheme's port and the host with its port.
fn split(origin: &str) -> Option<(u16, &str)> {
    let (scheme, host) = origin.split_once("://")?;
    let default_port = match scheme.to_ascii_lowercase().as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let is_host = !host.is_empty() && !host.contains(['/', '@', '?', '#', '\\']);
    is_host.then_some((default_port, host))
}

fn has_port(host: &str) -> bool {
    // The colons of an IPv6 address stand in brackets.
    host.rsplit_once(']').map_or(host, |(_, rest)| rest).contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_the_same_host_are_allowed_and_no_others() {
        let cases = [
            (None, "example.org", true),
            (Some("http://example.org"), "example.org", true),
            (Some("https://example.org"), "example.org", true),
            (Some("http://EXAMPLE.org"), "example.org", true),
            (Some("http://example.org:80"), "example.org", true),
            (Some("http://127.0.0.1:8000"), "127.0.0.1:8000", true),
            (Some("http://[::1]:8000"), "[::1]:8000", true),
            (Some("http://[::1]"), "[::1]:80", true),
            (Some("https://friend.net"), "example.org", true),
            (Some("null"), "example.org", false),
            (Some(""), "example.org", false),
            (Some("http://example.org:8001"), "example.org", false),
            (Some("http://localhost:8000"), "127.0.0.1:8000", false),
            (Some("http://evil-example.org"), "example.org", false),
            (Some("http://example.org.evil.net"), "example.org", false),
            (Some("http://example.org@evil.net"), "example.org", false),
            (Some("http://evil.net/example.org"), "example.org", false),
            (Some("file://example.org"), "example.org", false),
            (Some("https://friend.net.evil.net"), "example.org", false),
        ];
        for (origin, host, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            let allowed = ["https://friend.net".to_owned()];
            assert_eq!(is_allowed(&headers, None, &allowed), expected, "{origin:?} to {host}");
        }
    }

    #[test]
    fn two_origins_are_none() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "example.org".parse().unwrap());
        headers.append(header::ORIGIN, "http://example.org".parse().unwrap());
        headers.append(header::ORIGIN, "http://example.org".parse().unwrap());
        assert!(!is_allowed(&headers, None, &[]));
    }
}
