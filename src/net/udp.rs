//! UDP sockets that receive: opened with the largest buffer that the kernel grants, read many datagrams a call, and
//! asked how many the kernel has dropped.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce, RxqOvfl};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, getsockopt, recvmmsg, setsockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;

use super::server::{BindError, Endpoint};

/// The largest UDP payload is 65,507 bytes.
const SLOT: usize = 64 << 10;
/// From one slot to the next: a little more, because slots whose distance is a power of two share the same few lines of the
/// processor's caches.
const STRIDE: usize = SLOT + 17 * 64;
/// Datagrams a call.
const SLOTS: usize = 64;

/// What sockets are opened with.
#[derive(Clone, Debug)]
pub struct UdpSettings {
    pub endpoint: Endpoint,
    /// Bytes that the kernel keeps while nobody reads.
    pub receive_buffer: usize,
    /// That share each address (SO_REUSEPORT); at least one.
    pub sockets: usize,
}

/// One socket.
pub struct UdpSocket {
    io: tokio::net::UdpSocket,
    address: SocketAddr,
    granted: usize,
}

/// Where datagrams are received into; one for each reading task.
pub struct UdpBuffers {
    bytes: Vec<u8>,
    /// The kernel's count of drops as it was told last.
    drops: u32,
}

impl Default for UdpBuffers {
    fn default() -> Self {
        Self {
            bytes: vec![0; SLOTS * STRIDE],
            drops: 0,
        }
    }
}

/// What one call received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    pub datagrams: usize,
    /// That the kernel dropped before these, because its buffer was full.
    pub dropped: u64,
}

impl Received {
    /// There may be more in the kernel's buffer.
    pub fn is_full(self) -> bool {
        self.datagrams == SLOTS
    }
}

impl UdpSocket {
    /// Opens the sockets of an endpoint: for `localhost` on each loopback address that the machine has.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub async fn bind(settings: &UdpSettings) -> Result<Vec<Self>, BindError> {
        let fail = |error: io::Error| BindError::of_udp(&settings.endpoint, &error);
        let mut sockets: Vec<Self> = Vec::new();
        for mut address in settings.endpoint.resolve().await.map_err(fail)? {
            // With port 0 every socket gets the port that the first was given.
            if address.port() == 0
                && let Some(first) = sockets.first()
            {
                address.set_port(first.address.port());
            }
            for _ in 0..settings.sockets.max(1) {
                match Self::open(address, settings) {
                    Ok(socket) => {
                        address = socket.address;
                        sockets.push(socket);
                    }
                    Err(error) if !sockets.is_empty() && super::server::is_missing_address(&error) => break,
                    Err(error) => return Err(fail(error)),
                }
            }
        }
        if sockets.is_empty() {
            return Err(fail(io::Error::other("the host name has no address")));
        }
        Ok(sockets)
    }

    fn open(address: SocketAddr, settings: &UdpSettings) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if settings.sockets > 1 {
            socket.set_reuse_port(true)?;
        }
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        // Beyond the machine's maximum where we are allowed to, else up to it. The kernel doubles what it is told.
        if setsockopt(&socket, RcvBufForce, &settings.receive_buffer).is_err() {
            setsockopt(&socket, RcvBuf, &settings.receive_buffer)?;
        }
        let granted = getsockopt(&socket, RcvBuf)? / 2;
        setsockopt(&socket, RxqOvfl, &1)?;
        socket.bind(&address.into())?;
        let bound = socket.local_addr()?.as_socket();
        Ok(Self {
            address: bound.unwrap_or(address),
            io: tokio::net::UdpSocket::from_std(socket.into())?,
            granted,
        })
    }

    /// Where it receives.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The receive buffer that the kernel granted, bytes.
    pub fn granted(&self) -> usize {
        self.granted
    }

    /// Waits for datagrams and gives each to `take`.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn receive(&self, buffers: &mut UdpBuffers, mut take: impl FnMut(&[u8])) -> io::Result<Received> {
        let socket = self.io.as_raw_fd();
        let read = || receive(socket, buffers, &mut take);
        self.io.async_io(Interest::READABLE, read).await
    }

    /// The same for what is there now; none where there is nothing.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn receive_now(&self, buffers: &mut UdpBuffers, mut take: impl FnMut(&[u8])) -> io::Result<Received> {
        match receive(self.io.as_raw_fd(), buffers, &mut take) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Received::default()),
            other => other,
        }
    }
}

fn receive(socket: RawFd, buffers: &mut UdpBuffers, take: &mut impl FnMut(&[u8])) -> io::Result<Received> {
    let mut slices: Vec<[IoSliceMut; 1]> = Vec::with_capacity(SLOTS);
    slices.extend(
        buffers
            .bytes
            .chunks_mut(STRIDE)
            .map(|slot| [IoSliceMut::new(&mut slot[..SLOT])]),
    );
    // Made anew for each call: the kernel writes into the headers how much of the control buffers it used.
    let mut headers: MultiHeaders<()> = MultiHeaders::preallocate(SLOTS, Some(nix::cmsg_space!(u32)));
    let messages = recvmmsg(socket, &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
    let mut received = Received::default();
    let mut drops = None;
    for message in messages {
        received.datagrams += 1;
        take(message.iovs().next().unwrap_or_default());
        for control in message.cmsgs().into_iter().flatten() {
            if let ControlMessageOwned::RxqOvfl(count) = control {
                drops = Some(count);
            }
        }
    }
    if let Some(count) = drops {
        received.dropped = u64::from(count.wrapping_sub(buffers.drops));
        buffers.drops = count;
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(receive_buffer: usize, sockets: usize) -> UdpSettings {
        UdpSettings {
            endpoint: Endpoint::parse("127.0.0.1:0").unwrap(),
            receive_buffer,
            sockets,
        }
    }

    #[tokio::test]
    async fn datagrams_of_every_size_come_whole() {
        let sockets = UdpSocket::bind(&settings(1 << 20, 1)).await.unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let sent: Vec<Vec<u8>> = [0, 1, 550, 65_507].map(|size| vec![7; size]).to_vec();
        for datagram in &sent {
            sender.send_to(datagram, sockets[0].address()).unwrap();
        }
        let (mut got, mut buffers) = (Vec::new(), UdpBuffers::default());
        while got.len() < sent.len() {
            let received = sockets[0]
                .receive(&mut buffers, |datagram| got.push(datagram.to_vec()))
                .await;
            assert_eq!(received.unwrap().dropped, 0);
        }
        assert!(got == sent);
        assert_eq!(
            sockets[0].receive_now(&mut buffers, |_| {}).unwrap(),
            Received::default()
        );
    }

    #[tokio::test]
    async fn what_the_kernel_drops_is_counted_when_the_next_one_comes() {
        let sockets = UdpSocket::bind(&settings(4096, 1)).await.unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (mut got, mut dropped, mut buffers) = (0, 0, UdpBuffers::default());
        for _ in 0..100 {
            sender.send_to(&[7; 1000], sockets[0].address()).unwrap();
        }
        loop {
            let received = sockets[0].receive_now(&mut buffers, |_| got += 1).unwrap();
            dropped += received.dropped;
            if received.datagrams == 0 {
                break;
            }
        }
        sender.send_to(&[7; 1], sockets[0].address()).unwrap();
        let last = sockets[0].receive(&mut buffers, |_| {}).await.unwrap();
        assert!(got < 100);
        assert_eq!(got + dropped + last.dropped, 100);
    }

    #[tokio::test]
    async fn several_sockets_share_a_port_and_one_alone_does_not() {
        let shared = UdpSocket::bind(&settings(1 << 16, 3)).await.unwrap();
        assert_eq!(shared.len(), 3);
        assert!(shared.iter().all(|socket| socket.address() == shared[0].address()));
        let alone = UdpSocket::bind(&settings(1 << 16, 1)).await.unwrap();
        let mut again = settings(1 << 16, 1);
        again.endpoint = Endpoint::parse(&alone[0].address().to_string()).unwrap();
        let Err(error) = UdpSocket::bind(&again).await else {
            panic!("bound twice")
        };
        assert!(error.to_string().contains(&alone[0].address().to_string()), "{error}");
    }
}
