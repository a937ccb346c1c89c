//! Bytes in and out of sockets that do not block.
//!
//! Each function is one system call on a descriptor that the caller owns; where the kernel has
//! nothing to give or no room, it answers [`WouldBlock`](std::io::ErrorKind::WouldBlock), and the
//! caller watches the descriptor. Nothing here raises SIGPIPE.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{OwnedFd, RawFd};

use crate::address::Address;
use crate::sys::socket;
pub use crate::sys::socket::Dialed;

/// Read what has arrived into `buffer`: how many bytes, 0 at the end of the stream.
///
/// # Errors
///
/// The kernel's, as `ConnectionReset`; `WouldBlock` if nothing has arrived.
///
/// ```
/// use std::os::{fd::AsRawFd, unix::net::UnixStream};
///
/// let (one, other) = UnixStream::pair()?;
/// saburo_core::net::send(one.as_raw_fd(), b"hello")?;
/// let mut buffer = [0; 16];
/// assert_eq!(saburo_core::net::recv(other.as_raw_fd(), &mut buffer)?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
pub fn recv(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    socket::recv(fd, buffer)
}

/// [`recv`] into memory that holds nothing yet: as many bytes from its start on do afterwards.
///
/// # Errors
///
/// Those of [`recv`].
///
/// ```
/// # use std::{mem::MaybeUninit, os::{fd::AsRawFd, unix::net::UnixStream}};
/// let (one, other) = UnixStream::pair()?;
/// saburo_core::net::send(one.as_raw_fd(), b"hello")?;
/// let mut room = [MaybeUninit::uninit(); 16];
/// assert_eq!(saburo_core::net::recv_fresh(other.as_raw_fd(), &mut room)?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
pub fn recv_fresh(fd: RawFd, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    socket::recv_fresh(fd, buffer)
}

/// Send as much of `data` as the kernel has room for: how many bytes.
///
/// # Errors
///
/// The kernel's, as `BrokenPipe`; `WouldBlock` if it has no room at all.
///
/// ```
/// # use std::os::{fd::AsRawFd, unix::net::UnixStream};
/// let (one, other) = UnixStream::pair()?;
/// assert_eq!(saburo_core::net::send(one.as_raw_fd(), b"hello")?, 5);
/// drop(other);
/// let error = saburo_core::net::send(one.as_raw_fd(), b"hello").unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
pub fn send(fd: RawFd, data: &[u8]) -> io::Result<usize> {
    socket::send(fd, data)
}

/// Whether the kernel has room for so many bytes more, by a cautious count; no, where it cannot be asked.
///
/// ```
/// # use std::os::fd::AsRawFd;
/// use std::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let stream = TcpStream::connect(listener.local_addr()?)?;
/// assert!(!saburo_core::net::has_room(stream.as_raw_fd(), 1 << 40));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn has_room(fd: RawFd, bytes: usize) -> bool {
    socket::has_room(fd, bytes)
}

/// [`recv`] that does not block, whatever the socket was told.
///
/// # Errors
///
/// Those of [`recv`].
///
/// ```
/// # use std::os::{fd::AsRawFd, unix::net::UnixStream};
/// let (_one, other) = UnixStream::pair()?; // which would block
/// let error = saburo_core::net::recv_now(other.as_raw_fd(), &mut [0; 16]).unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
pub fn recv_now(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    socket::recv_now(fd, buffer)
}

/// [`send`] that does not block, whatever the socket was told.
///
/// # Errors
///
/// Those of [`send`].
///
/// ```
/// # use std::os::{fd::AsRawFd, unix::net::UnixStream};
/// let (one, _other) = UnixStream::pair()?;
/// assert_eq!(saburo_core::net::send_now(one.as_raw_fd(), b"hello")?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
pub fn send_now(fd: RawFd, data: &[u8]) -> io::Result<usize> {
    socket::send_now(fd, data)
}

/// Read one datagram into `buffer`: how many bytes, and the sender's address if it has one of a
/// known family. What does not fit is lost.
///
/// # Errors
///
/// The kernel's: `WouldBlock` if nothing has arrived, `ConnectionRefused` if an earlier datagram found
/// no receiver.
///
/// ```
/// # use saburo_core::{Address, net};
/// # use std::{net::UdpSocket, os::fd::AsRawFd};
/// let (one, other) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
/// one.send_to(b"hello", other.local_addr()?)?;
/// let mut buffer = [0; 16];
/// let (count, sender) = net::recv_from(other.as_raw_fd(), &mut buffer)?;
/// assert_eq!(&buffer[..count], b"hello");
/// assert_eq!(sender, net::local_address(one.as_raw_fd())?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
pub fn recv_from(fd: RawFd, buffer: &mut [u8]) -> io::Result<(usize, Option<Address>)> {
    socket::recv_from(fd, buffer)
}

/// Send one datagram to `address`, whole or not at all.
///
/// # Errors
///
/// The kernel's: `WouldBlock` if it has no room; that the datagram is too long, or that the way to
/// the address is not known. An unnamed address, and one whose family is not the socket's, are errors.
///
/// ```
/// # use saburo_core::{Address, net};
/// # use std::{net::UdpSocket, os::fd::AsRawFd};
/// let (one, other) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
/// let Some(address) = net::local_address(other.as_raw_fd())? else { panic!() };
/// net::send_to(one.as_raw_fd(), b"hello", &address)?;
/// let mut buffer = [0; 16];
/// assert_eq!(other.recv(&mut buffer)?, 5);
/// assert!(net::send_to(one.as_raw_fd(), b"hello", &Address::Unnamed).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
pub fn send_to(fd: RawFd, data: &[u8], address: &Address) -> io::Result<()> {
    socket::send_to(fd, data, address)
}

/// Tell the peer that nothing more will come.
///
/// # Errors
///
/// The kernel's: `NotConnected` if the peer has gone.
///
/// ```
/// # use std::os::{fd::AsRawFd, unix::net::UnixStream};
/// let (one, other) = UnixStream::pair()?;
/// saburo_core::net::shutdown_write(one.as_raw_fd())?;
/// assert_eq!(saburo_core::net::recv(other.as_raw_fd(), &mut [0; 16])?, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn shutdown_write(fd: RawFd) -> io::Result<()> {
    socket::shutdown_write(fd)
}

/// Take a connection that has come in: its descriptor, which does not block and is closed on exec,
/// and the address of the other end if it is of a known family.
///
/// # Errors
///
/// The kernel's; `WouldBlock` if no client waits.
///
/// ```
/// # use std::os::fd::AsRawFd;
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let client = std::net::TcpStream::connect(listener.local_addr()?)?;
/// let (accepted, peer) = saburo_core::net::accept(listener.as_raw_fd())?;
/// assert_eq!(peer, saburo_core::net::local_address(client.as_raw_fd())?);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn accept(fd: RawFd) -> io::Result<(OwnedFd, Option<Address>)> {
    socket::accept(fd)
}

/// Begin to connect a new TCP socket, which does not block and is closed on exec.
///
/// # Errors
///
/// The kernel's, for what it knows without asking the peer, as `NetworkUnreachable`; `Unsupported`
/// for a Unix address.
///
/// ```
/// # use std::os::fd::AsRawFd;
/// use saburo_core::net::{self, Dialed};
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let address = net::local_address(listener.as_raw_fd())?.expect("it is bound");
/// let (Dialed::Connected(socket) | Dialed::Pending(socket)) = net::dial(&address)? else {
///     panic!("refused")
/// };
/// let (_, peer) = net::accept(listener.as_raw_fd())?;
/// assert_eq!(peer, net::local_address(socket.as_raw_fd())?);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn dial(address: &Address) -> io::Result<Dialed> {
    socket::dial(address)
}

/// What has gone wrong with a socket since this was asked last, as an error.
///
/// # Errors
///
/// That: `ConnectionRefused`, say, for a connection that [`dial`] has begun.
///
/// ```
/// # use std::os::fd::AsRawFd;
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// saburo_core::net::take_error(listener.as_raw_fd())?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn take_error(fd: RawFd) -> io::Result<()> {
    socket::take_error(fd)
}

/// The address of this end, `None` if its family is not one of [`Address`].
///
/// # Errors
///
/// The kernel's: the descriptor is closed, or is no socket.
///
/// ```
/// # use saburo_core::{Address, net};
/// # use std::os::{fd::AsRawFd, unix::net::UnixStream};
/// let (one, _) = UnixStream::pair()?;
/// assert_eq!(net::local_address(one.as_raw_fd())?, Some(Address::Unnamed));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn local_address(fd: RawFd) -> io::Result<Option<Address>> {
    socket::local_address(fd)
}

/// The address of the other end, `None` if its family is not one of [`Address`].
///
/// # Errors
///
/// The kernel's: `NotConnected` if there is no other end.
///
/// ```
/// # use std::os::fd::AsRawFd;
/// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
/// let error = saburo_core::net::peer_address(socket.as_raw_fd()).unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn peer_address(fd: RawFd) -> io::Result<Option<Address>> {
    socket::peer_address(fd)
}

/// Let TCP send small pieces at once, instead of waiting until the last one is acknowledged.
///
/// # Errors
///
/// The kernel's: the socket is not TCP's.
///
/// ```
/// # use std::os::fd::AsRawFd;
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// saburo_core::net::set_nodelay(listener.as_raw_fd())?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn set_nodelay(fd: RawFd) -> io::Result<()> {
    socket::set_nodelay(fd)
}

/// Is it the answer of a system, or a process, that has no descriptor or no memory left for a
/// socket? Others will give some back.
///
/// ```
/// use std::io::{Error, ErrorKind};
///
/// assert!(!saburo_core::net::is_out_of_resources(&Error::from(ErrorKind::WouldBlock)));
/// ```
pub fn is_out_of_resources(error: &io::Error) -> bool {
    socket::is_out_of_resources(error)
}
