//! Where a socket is, as the kernel says it.

use std::net::{SocketAddrV4, SocketAddrV6};

/// The address of one end of a connection.
///
/// ```
/// use saburo_core::{Address, net};
/// use std::os::fd::AsRawFd;
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let Some(Address::V4(address)) = net::local_address(listener.as_raw_fd())? else { panic!() };
/// assert_eq!(std::net::SocketAddr::V4(address), listener.local_addr()?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// IPv4.
    V4(SocketAddrV4),
    /// IPv6, flow information and scope included.
    V6(SocketAddrV6),
    /// A Unix socket's path, as bytes without the null at its end.
    Path(Box<[u8]>),
    /// A Unix socket's name outside of the file system, without the null in front.
    Abstract(Box<[u8]>),
    /// A Unix socket without a name.
    Unnamed,
}
