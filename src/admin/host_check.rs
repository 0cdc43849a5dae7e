//! Which `Host` a request may name: a page of a stranger must not reach the admin API by letting its name resolve to
//! this machine (DNS rebinding).

use std::net::IpAddr;

use http::Request;

/// Whether the request names localhost, a loopback address, an IP address it could only have got by connecting to it,
/// or the host that was configured.
pub fn is_allowed<B>(request: &Request<B>, configured: &str) -> bool {
    let authority = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => match request.headers().get(http::header::HOST).map(|host| host.to_str()) {
            Some(Ok(host)) => host,
            // HTTP/1.0 probes send none; a browser always does.
            None => return true,
            Some(Err(_)) => return false,
        },
    };
    let host = host_of(authority);
    let is_named = host.eq_ignore_ascii_case("localhost") || host.eq_ignore_ascii_case(host_of(configured));
    // An address cannot be rebound: the browser treats it as the origin itself.
    is_named || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

/// The part before the port.
fn host_of(authority: &str) -> &str {
    if authority.starts_with('[') {
        return authority.split_inclusive(']').next().unwrap_or(authority);
    }
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(host: &str) -> bool {
        let request = Request::builder().uri("/").header("host", host).body(()).unwrap();
        is_allowed(&request, "agent.internal:4320")
    }

    #[test]
    fn local_names_addresses_and_the_configured_name_are_allowed() {
        for host in [
            "localhost",
            "localhost:4320",
            "127.0.0.1:4320",
            "[::1]:4320",
            "AGENT.internal:4320",
        ] {
            assert!(allowed(host), "{host}");
        }
    }

    #[test]
    fn a_name_of_a_stranger_is_not() {
        for host in [
            "evil.example",
            "localhost.evil.example:4320",
            "127.0.0.1.evil.example",
            "",
        ] {
            assert!(!allowed(host), "{host}");
        }
    }
}
