//! Where a gRPC client sends to: the forms that `endpoint` may have.
//!
//! `host:port`, `http://host:port`, `https://host:port`, `dns:host:port`, `dns:///host:port`, `passthrough:///host:port`,
//! IPv6 in brackets. The rules are gRPC's naming document and the Collector's `configgrpc`.

use std::net::IpAddr;

/// What the scheme says about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// None was written: the `tls` section decides.
    Unsaid,
    /// `http://`.
    Plain,
    /// `https://`.
    Tls,
}

/// A checked gRPC endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What the scheme says about TLS.
    pub scheme: Scheme,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    #[error("requires a non-empty \"endpoint\", e.g. `collector.example:4317`")]
    Empty,
    #[error("the port is missing, e.g. `{0}:4317`")]
    NoPort(String),
    #[error("{0:?} is no port")]
    BadPort(String),
    #[error("the host is missing")]
    NoHost,
    #[error("unix sockets are not built yet: give a host and a port")]
    Unix,
    #[error("a DNS server inside the endpoint is not built yet: write `dns:///host:port`")]
    DnsServer,
    #[error("the scheme {0:?} is not known: http, https and dns are")]
    Scheme(String),
    #[error("a gRPC endpoint has no path: leave out {0:?}")]
    Path(String),
}

impl Endpoint {
    /// Parses `text`.
    ///
    /// # Errors
    /// See [`BadEndpoint`].
    pub fn parse(text: &str) -> Result<Self, BadEndpoint> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadEndpoint::Empty);
        }
        let (scheme, rest) = split_scheme(text)?;
        let rest = match rest.split_once('/') {
            Some((authority, "")) => authority,
            Some((_, path)) => return Err(BadEndpoint::Path(format!("/{path}"))),
            None => rest,
        };
        let (host, port) = split_port(rest, scheme)?;
        if host.is_empty() {
            return Err(BadEndpoint::NoHost);
        }
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port,
        })
    }

    /// `host:port` as HTTP writes it: IPv6 in brackets.
    pub fn authority(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

fn split_scheme(text: &str) -> Result<(Scheme, &str), BadEndpoint> {
    if text.starts_with("unix:") || text.starts_with("unix-abstract:") {
        return Err(BadEndpoint::Unix);
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return match scheme {
            "http" => Ok((Scheme::Plain, rest)),
            "https" => Ok((Scheme::Tls, rest)),
            "dns" | "passthrough" => match rest.strip_prefix('/') {
                Some(rest) => Ok((Scheme::Unsaid, rest)),
                None => Err(BadEndpoint::DnsServer),
            },
            other => Err(BadEndpoint::Scheme(other.to_owned())),
        };
    }
    // `dns:host:port` has no slashes; `dns:4317` is a host called dns.
    if let Some(rest) = text.strip_prefix("dns:")
        && rest.contains(':')
    {
        return Ok((Scheme::Unsaid, rest));
    }
    Ok((Scheme::Unsaid, text))
}

fn split_port(text: &str, scheme: Scheme) -> Result<(&str, u16), BadEndpoint> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(BadEndpoint::NoHost)?;
        (host, after.strip_prefix(':'))
    } else {
        match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    match (port, scheme) {
        (Some(port), _) => match port.parse() {
            Ok(number) if number != 0 => Ok((host, number)),
            _ => Err(BadEndpoint::BadPort(port.to_owned())),
        },
        (None, Scheme::Tls) => Ok((host, 443)),
        (None, Scheme::Plain) => Ok((host, 80)),
        (None, Scheme::Unsaid) => Err(BadEndpoint::NoPort(host.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_every_form() {
        for (text, scheme, host, port) in [
            ("a.example:4317", Scheme::Unsaid, "a.example", 4317),
            ("http://a:4317", Scheme::Plain, "a", 4317),
            ("http://a:4317/", Scheme::Plain, "a", 4317),
            ("https://a", Scheme::Tls, "a", 443),
            ("dns:///a.b:1", Scheme::Unsaid, "a.b", 1),
            ("dns:a.b:1", Scheme::Unsaid, "a.b", 1),
            ("dns:4317", Scheme::Unsaid, "dns", 4317),
            ("passthrough:///10.0.0.1:4317", Scheme::Unsaid, "10.0.0.1", 4317),
            ("[::1]:4317", Scheme::Unsaid, "::1", 4317),
            ("https://[::1]:4317", Scheme::Tls, "::1", 4317),
        ] {
            let endpoint = Endpoint::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            assert_eq!(
                (endpoint.scheme, endpoint.host.as_str(), endpoint.port),
                (scheme, host, port),
                "{text}"
            );
        }
        assert_eq!(Endpoint::parse("[::1]:4317").unwrap().authority(), "[::1]:4317");
        assert_eq!(Endpoint::parse("a:4317").unwrap().authority(), "a:4317");
    }

    #[test]
    fn refuses_what_is_no_endpoint_and_says_why() {
        for (text, part) in [
            ("", "non-empty"),
            ("host", "port is missing"),
            ("host:0", "no port"),
            ("host:x", "no port"),
            ("http://host:1/v1/traces", "no path"),
            ("ftp://host:1", "scheme"),
            ("unix:///run/x.sock", "unix"),
            ("dns://8.8.8.8/host:1", "DNS server"),
            (":4317", "host is missing"),
        ] {
            let problem = Endpoint::parse(text).unwrap_err().to_string();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }
}
