//! From an endpoint's text to listening sockets.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::holder;

/// Connections that wait for `accept`. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// `host:port` to listen on, parsed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// Reads `host:port`, `:port` (every address), `[v6]:port`.
    ///
    /// # Errors
    /// A sentence saying what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("\"{text}\" is no listen address: expected host:port, [ipv6]:port or :port");
        if text.contains("://") {
            return Err(format!(
                "\"{text}\" is a URL; a listen address has no scheme: host:port"
            ));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let port = port.parse().map_err(|_| expected())?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(expected)?,
            None if host.contains(':') => return Err(expected()),
            None => host,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }

    /// The addresses that it stands for: of `localhost` both loopback addresses, of a wildcard the one that takes IPv6
    /// and IPv4, of a name one, IPv4 first.
    pub(in crate::net) async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let host = self.host.as_str();
        if host == "localhost" {
            let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            return Ok(loopback.map(|address| SocketAddr::from((address, self.port))).to_vec());
        }
        match host.parse::<IpAddr>() {
            _ if host.is_empty() => Ok(vec![(Ipv6Addr::UNSPECIFIED, self.port).into()]),
            Ok(address) => Ok(vec![(address, self.port).into()]),
            Err(_) => {
                let found: Vec<SocketAddr> = tokio::net::lookup_host((host, self.port)).await?.collect();
                let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
                Ok(first.copied().into_iter().collect())
            }
        }
    }

    /// Whether only this machine can connect.
    pub fn is_local(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct BindError {
    /// As configured.
    pub address: String,
    /// The operating system's reason and, for a taken port, its holder.
    pub reason: String,
}

impl BindError {
    pub(super) fn of(endpoint: &Endpoint, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::AddrInUse => format!("the port is taken by {}", holder::of_port(endpoint.port)),
            io::ErrorKind::PermissionDenied => "permission denied (ports below 1024 need CAP_NET_BIND_SERVICE)".into(),
            _ => error.to_string(),
        };
        Self {
            address: endpoint.to_string(),
            reason,
        }
    }

    /// The same for a UDP socket, whose holder cannot be told.
    pub(in crate::net) fn of_udp(endpoint: &Endpoint, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::AddrInUse => "another process receives on this UDP port".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied (ports below 1024 need CAP_NET_BIND_SERVICE)".into(),
            _ => error.to_string(),
        };
        Self {
            address: format!("{endpoint} (UDP)"),
            reason,
        }
    }
}

/// Opens the endpoint's listeners: for `localhost` one on each loopback address that the machine has; for a wildcard
/// one that takes IPv6 and IPv4 (as Go does for `0.0.0.0` too), or IPv4 only where the machine has no IPv6.
pub(super) async fn bind(endpoint: &Endpoint) -> Result<Vec<TcpListener>, BindError> {
    let fail = |error: io::Error| BindError::of(endpoint, &error);
    if endpoint.host == "localhost" {
        let v4 = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, endpoint.port)));
        if v4.as_ref().is_err_and(|error| !is_missing_address(error)) {
            return v4.map(|listener| vec![listener]).map_err(fail);
        }
        // With port 0 both listeners get the port that the first was given.
        let port = v4.as_ref().ok().and_then(|listener| listener.local_addr().ok());
        let port = port.map_or(endpoint.port, |address| address.port());
        return match (v4, listen(SocketAddr::from((Ipv6Addr::LOCALHOST, port)))) {
            (Ok(v4), Ok(v6)) => Ok(vec![v4, v6]),
            (Ok(v4), Err(error)) if is_missing_address(&error) || endpoint.port == 0 => Ok(vec![v4]),
            (Err(_), Ok(v6)) => Ok(vec![v6]),
            (_, Err(error)) => Err(fail(error)),
        };
    }
    let host = endpoint.host.as_str();
    let literal = if host.is_empty() {
        Ok(Ipv6Addr::UNSPECIFIED.into())
    } else {
        host.parse::<IpAddr>()
    };
    let address = match literal {
        Ok(address) if address.is_unspecified() => {
            let every = listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, endpoint.port)));
            return match every {
                Err(error) if is_missing_address(&error) => listen((Ipv4Addr::UNSPECIFIED, endpoint.port).into()),
                other => other,
            }
            .map(|listener| vec![listener])
            .map_err(fail);
        }
        Ok(address) => SocketAddr::from((address, endpoint.port)),
        Err(_) => {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, endpoint.port))
                .await
                .map_err(fail)?
                .collect();
            let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
            *first.ok_or_else(|| fail(io::Error::other("the host name has no address")))?
        }
    };
    listen(address).map(|listener| vec![listener]).map_err(fail)
}

/// The machine has no such address: no IPv6, or none on this interface.
pub(in crate::net) fn is_missing_address(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_host_and_port() {
        for (text, shown) in [
            ("localhost:4317", "localhost:4317"),
            (":4317", ":4317"),
            ("[::1]:1", "[::1]:1"),
            ("0.0.0.0:0", "0.0.0.0:0"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), shown);
        }
        for bad in [
            "4317",
            "localhost",
            "::1:4317",
            "localhost:99999",
            "http://localhost:4318",
            "[::1:3",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_loopback_addresses_are_local() {
        let local = |text| Endpoint::parse(text).unwrap().is_local();
        assert!(local("localhost:1") && local("127.0.0.9:1") && local("[::1]:1"));
        assert!(!local(":1") && !local("0.0.0.0:1") && !local("host:1"));
    }

    #[tokio::test]
    async fn localhost_listens_on_every_loopback_address_at_one_port() {
        let listeners = bind(&Endpoint::parse("localhost:0").unwrap()).await.unwrap();
        let ports: Vec<u16> = listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap().port())
            .collect();
        assert!(!ports.is_empty() && ports.iter().all(|port| *port == ports[0] && *port != 0));
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_that_names_address_and_holder() {
        let first = bind(&Endpoint::parse("127.0.0.1:0").unwrap()).await.unwrap();
        let taken = first[0].local_addr().unwrap();
        let error = bind(&Endpoint::parse(&taken.to_string()).unwrap())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(&taken.to_string()), "{error}");
        assert!(error.contains("taken by"), "{error}");
        if cfg!(target_os = "linux") {
            assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        }
    }
}
