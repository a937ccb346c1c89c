//! Where a socket is, as the kernel says it.

use std::net::{SocketAddrV4, SocketAddrV6};

use rustix::net::{SocketAddrAny, SocketAddrUnix};

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

impl Address {
    /// `None` for a family we do not know.
    pub(crate) fn from_kernel(address: SocketAddrAny) -> Option<Address> {
        use rustix::net::AddressFamily;

        Some(match address.address_family() {
            AddressFamily::INET => Address::V4(address.try_into().ok()?),
            AddressFamily::INET6 => Address::V6(address.try_into().ok()?),
            AddressFamily::UNIX => {
                let unix: SocketAddrUnix = address.try_into().ok()?;
                if let Some(path) = unix.path_bytes() {
                    Address::Path(path.strip_suffix(b"\0").unwrap_or(path).into())
                } else if let Some(name) = abstract_name(&unix).filter(|name| !name.is_empty()) {
                    Address::Abstract(name.into())
                } else {
                    Address::Unnamed
                }
            }
            _ => return None,
        })
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_name(address: &SocketAddrUnix) -> Option<&[u8]> {
    address.abstract_name()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_name(_address: &SocketAddrUnix) -> Option<&[u8]> {
    None
}
