//! Where a socket is, as the kernel says it.

use std::net::{SocketAddrV4, SocketAddrV6};

use rustix::net::SocketAddrAny;

use crate::sys::socket::{HAS_ABSTRACT_NAMES, unix_name};

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
    #[inline]
    pub(crate) fn from_kernel(address: SocketAddrAny) -> Option<Address> {
        use rustix::net::AddressFamily;

        Some(match address.address_family() {
            AddressFamily::INET => Address::V4(address.try_into().ok()?),
            AddressFamily::INET6 => Address::V6(address.try_into().ok()?),
            AddressFamily::UNIX => match unix_name(&address) {
                [] => Address::Unnamed,
                [0, name @ ..] if HAS_ABSTRACT_NAMES => Address::Abstract(name.into()),
                [0, ..] => Address::Unnamed,
                // The null that ends it is missing where it takes all the room there is.
                path => Address::Path(path.split(|&byte| byte == 0).next().unwrap_or(path).into()),
            },
            _ => return None,
        })
    }
}
