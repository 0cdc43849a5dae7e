//! Which proxy a request goes through: `proxy_url`, else `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
//!
//! The rules are those of Go's `httpproxy`, which the Collector follows: lower-case spellings count too, loopback
//! addresses and `localhost` are never proxied (unless `proxy_url` says so), a `NO_PROXY` entry is a host with all below
//! it, an address, a network, each with an optional port, or `*`.

use std::net::IpAddr;

use base64::Engine;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use url::Url;

use crate::config::types::Secret;

/// Bytes of a proxy's answer to CONNECT that are read at most.
const LONGEST_ANSWER: usize = 16 * 1024;

/// One proxy.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Name or address, without brackets.
    pub host: String,
    /// The port; 80 where none is written.
    pub port: u16,
    /// `Basic ...`, from the user and password in the URL.
    pub authorization: Option<Secret>,
}

/// Why a text is no proxy we can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProxy {
    #[error("is no URL of a proxy")]
    NoUrl,
    #[error("proxies are spoken to by http; {0:?} is not built yet")]
    Scheme(String),
}

/// What the environment and the configuration say about proxies.
#[derive(Clone, Debug, Default)]
pub struct ProxyRules {
    forced: Option<Proxy>,
    http: Option<Proxy>,
    https: Option<Proxy>,
    except: Vec<Exception>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    Everything,
    /// The host itself (unless `only_below`) and everything below it.
    Domain {
        name: String,
        only_below: bool,
        port: Option<u16>,
    },
    Network {
        address: IpAddr,
        bits: u8,
        port: Option<u16>,
    },
}

impl Proxy {
    /// From a URL, or `host:port`.
    ///
    /// # Errors
    /// A scheme other than `http`, or no URL at all.
    pub fn parse(text: &str) -> Result<Self, BadProxy> {
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let url = Url::parse(&with_scheme).map_err(|_| BadProxy::NoUrl)?;
        if url.scheme() != "http" {
            return Err(BadProxy::Scheme(url.scheme().to_owned()));
        }
        let host = url.host_str().ok_or(BadProxy::NoUrl)?;
        let authorization = (!url.username().is_empty()).then(|| {
            let decode = |text: &str| {
                percent_encoding::percent_decode_str(text)
                    .decode_utf8_lossy()
                    .into_owned()
            };
            let pair = format!(
                "{}:{}",
                decode(url.username()),
                decode(url.password().unwrap_or_default())
            );
            Secret::new(format!(
                "Basic {}",
                base64::engine::general_purpose::STANDARD.encode(pair)
            ))
        });
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: url.port().unwrap_or(80),
            authorization,
        })
    }
}

impl ProxyRules {
    /// Everything goes through `proxy`.
    pub fn always(proxy: Proxy) -> Self {
        Self {
            forced: Some(proxy),
            ..Self::default()
        }
    }

    /// Nothing goes through a proxy.
    pub fn none() -> Self {
        Self::default()
    }

    /// From the environment of the process. A proxy that cannot be used is said once and left out.
    pub fn from_environment() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let either = |upper: &str| {
            lookup(upper)
                .or_else(|| lookup(&upper.to_lowercase()))
                .filter(|text| !text.is_empty())
        };
        let proxy = |name: &str| {
            let text = either(name)?;
            match Proxy::parse(&text) {
                Ok(proxy) => Some(proxy),
                Err(problem) => {
                    tracing::warn!(variable = name, %problem, "the proxy of the environment is not used");
                    None
                }
            }
        };
        let except = either("NO_PROXY").unwrap_or_default();
        Self {
            forced: None,
            http: proxy("HTTP_PROXY"),
            https: proxy("HTTPS_PROXY"),
            except: except.split(',').filter_map(parse_exception).collect(),
        }
    }

    /// The proxy for a target; `None`: dial it directly.
    pub fn proxy_for(&self, tls: bool, host: &str, port: u16) -> Option<&Proxy> {
        if self.forced.is_some() {
            return self.forced.as_ref();
        }
        let proxy = if tls { self.https.as_ref() } else { self.http.as_ref() }?;
        (!self.is_excepted(host, port)).then_some(proxy)
    }

    fn is_excepted(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.except
            .iter()
            .any(|exception| exception.covers(&host, address, port))
    }
}

impl Exception {
    fn covers(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        let port_fits = |wanted: &Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        match self {
            Exception::Everything => true,
            Exception::Domain {
                name,
                only_below,
                port: wanted,
            } => {
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                (below || (!only_below && host == name)) && port_fits(wanted)
            }
            Exception::Network {
                address: network,
                bits,
                port: wanted,
            } => address.is_some_and(|address| same_network(address, *network, *bits)) && port_fits(wanted),
        }
    }
}

fn parse_exception(text: &str) -> Option<Exception> {
    let text = text.trim().to_ascii_lowercase();
    if text.is_empty() {
        return None;
    }
    if text == "*" {
        return Some(Exception::Everything);
    }
    if let Some((address, bits)) = text.split_once('/') {
        return Some(Exception::Network {
            address: address.parse().ok()?,
            bits: bits.parse().ok()?,
            port: None,
        });
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(Exception::Network {
            address,
            bits: 128,
            port: None,
        });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (text.as_str(), None),
    };
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(Exception::Network {
            address,
            bits: 128,
            port,
        });
    }
    let name = host.trim_start_matches("*.").trim_start_matches('.');
    Some(Exception::Domain {
        only_below: name.len() != host.len(),
        name: name.to_owned(),
        port,
    })
}

fn same_network(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let (one, other, width) = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u128::from(one.to_bits()), u128::from(other.to_bits()), 32u32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        _ => return false,
    };
    let ignored = width.saturating_sub(u32::from(bits));
    let difference = one ^ other;
    difference.checked_shr(ignored).unwrap_or(0) == 0
}

/// Asks a proxy for a tunnel to `authority` (`host:port`).
///
/// # Errors
/// The proxy's refusal, or a connection that broke.
pub async fn connect_through<S>(io: &mut S, proxy: &Proxy, authority: &str) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(authorization) = &proxy.authorization {
        request.push_str("Proxy-Authorization: ");
        request.push_str(authorization.reveal());
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    io.write_all(request.as_bytes()).await?;
    io.flush().await?;
    let head = read_head(io).await?;
    let line = head.lines().next().unwrap_or_default();
    let status = line.split(' ').nth(1).unwrap_or_default();
    if line.starts_with("HTTP/1.") && status.starts_with('2') {
        Ok(())
    } else {
        Err(std::io::Error::other(format!(
            "the proxy {}:{} refused the tunnel: {line}",
            proxy.host, proxy.port
        )))
    }
}

/// Reads up to the empty line, byte by byte: what follows belongs to the tunnel.
async fn read_head<S: AsyncRead + Unpin>(io: &mut S) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= LONGEST_ANSWER {
            return Err(std::io::Error::other("the proxy's answer is too long"));
        }
        head.push(io.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(no_proxy: &str) -> ProxyRules {
        let no_proxy = no_proxy.to_owned();
        ProxyRules::from_lookup(move |name| match name {
            "http_proxy" => Some("http://plain:3128".into()),
            "HTTPS_PROXY" => Some("http://user:p%40ss@secure:8080".into()),
            "NO_PROXY" => Some(no_proxy.clone()),
            _ => None,
        })
    }

    #[test]
    fn http_and_https_have_proxies_of_their_own() {
        let rules = rules("");
        assert_eq!(rules.proxy_for(false, "a.example", 80).unwrap().host, "plain");
        let secure = rules.proxy_for(true, "a.example", 443).unwrap();
        assert_eq!((secure.host.as_str(), secure.port), ("secure", 8080));
        assert_eq!(secure.authorization.as_ref().unwrap().reveal(), "Basic dXNlcjpwQHNz");
    }

    #[test]
    fn no_proxy_takes_hosts_networks_ports_and_the_loopback() {
        let rules = rules("example.com, .internal,10.0.0.0/8,[fd00::1]:99,svc:8080,1.2.3.4");
        for (host, port) in [
            ("localhost", 1),
            ("127.0.0.5", 1),
            ("::1", 1),
            ("example.com", 1),
            ("A.Example.COM", 1),
            ("x.internal", 1),
            ("10.200.3.4", 1),
            ("fd00::1", 99),
            ("svc", 8080),
            ("1.2.3.4", 7),
        ] {
            assert!(
                rules.proxy_for(true, host, port).is_none(),
                "{host}:{port} must be direct"
            );
        }
        for (host, port) in [
            ("notexample.com", 1),
            ("internal", 1),
            ("11.0.0.1", 1),
            ("fd00::1", 98),
            ("svc", 80),
            ("1.2.3.5", 7),
        ] {
            assert!(
                rules.proxy_for(true, host, port).is_some(),
                "{host}:{port} must be proxied"
            );
        }
    }

    #[test]
    fn a_star_switches_proxies_off_and_proxy_url_beats_everything() {
        assert!(rules("*").proxy_for(true, "a.example", 443).is_none());
        let forced = ProxyRules::always(Proxy::parse("proxy:1").unwrap());
        assert_eq!(forced.proxy_for(false, "localhost", 80).unwrap().port, 1);
    }

    #[test]
    fn refuses_proxies_it_cannot_speak_to() {
        assert_eq!(
            Proxy::parse("socks5://a:1").unwrap_err(),
            BadProxy::Scheme("socks5".into())
        );
        assert_eq!(Proxy::parse("http://").unwrap_err(), BadProxy::NoUrl);
    }

    #[tokio::test]
    async fn a_tunnel_is_asked_for_and_a_refusal_is_named() {
        for (answer, good) in [
            ("HTTP/1.1 200 Connection established\r\n\r\nrest", true),
            ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", false),
        ] {
            let (mut ours, mut theirs) = tokio::io::duplex(4096);
            theirs.write_all(answer.as_bytes()).await.unwrap();
            let proxy = Proxy::parse("http://u:p@proxy:1").unwrap();
            let result = connect_through(&mut ours, &proxy, "far:443").await;
            assert_eq!(result.is_ok(), good, "{result:?}");
            let mut asked = vec![0; 1024];
            let length = theirs.read(&mut asked).await.unwrap();
            let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
            assert!(asked.starts_with("CONNECT far:443 HTTP/1.1\r\n"), "{asked}");
            assert!(asked.contains("Proxy-Authorization: Basic dTpw\r\n"), "{asked}");
            if let Err(problem) = result {
                assert!(problem.to_string().contains("407"), "{problem}");
            }
        }
    }
}
