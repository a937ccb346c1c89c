//! Sockets: the system calls that move bytes and accept connections.
//!
//! All of them are for sockets that do not block, and answer `WouldBlock` where they would. An
//! interrupted call is made again. None raises SIGPIPE.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{OwnedFd, RawFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::addr::SocketAddrArg;
use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrAny, SocketAddrUnix, SocketType,
};

use super::borrow;
use crate::address::Address;

/// Read what has arrived into `buffer`; 0 at the end of the stream.
#[inline]
pub(crate) fn recv(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    let fd = borrow(&fd)?;
    Ok(retry_on_intr(|| net::recv(fd, &mut *buffer, RecvFlags::empty()))?.0)
}

/// The same into memory that holds nothing yet.
#[inline]
pub(crate) fn recv_fresh(fd: RawFd, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    let fd = borrow(&fd)?;
    Ok(retry_on_intr(|| net::recv(fd, &mut *buffer, RecvFlags::empty()).map(|(_, count)| count))?)
}

/// Send what the kernel has room for.
#[inline]
pub(crate) fn send(fd: RawFd, data: &[u8]) -> io::Result<usize> {
    let fd = borrow(&fd)?;
    Ok(retry_on_intr(|| net::send(fd, data, QUIET))?)
}

/// `recv` that does not block, whatever the socket was told.
#[inline]
pub(crate) fn recv_now(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    let fd = borrow(&fd)?;
    Ok(retry_on_intr(|| net::recv(fd, &mut *buffer, RecvFlags::DONTWAIT))?.0)
}

/// `send` that does not block, whatever the socket was told.
#[inline]
pub(crate) fn send_now(fd: RawFd, data: &[u8]) -> io::Result<usize> {
    let fd = borrow(&fd)?;
    Ok(retry_on_intr(|| net::send(fd, data, QUIET.union(SendFlags::DONTWAIT)))?)
}

/// Send several pieces in one call, as many bytes as the kernel has room for.
#[inline]
pub(crate) fn send_vectored(fd: RawFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    let fd = borrow(&fd)?;
    let mut nothing_else = net::SendAncillaryBuffer::default();
    Ok(retry_on_intr(|| net::sendmsg(fd, pieces, &mut nothing_else, QUIET))?)
}

/// Read one datagram into `buffer`: the number of bytes, and the sender's address.
#[inline]
pub(crate) fn recv_from(fd: RawFd, buffer: &mut [u8]) -> io::Result<(usize, Option<Address>)> {
    let fd = borrow(&fd)?;
    let (count, _, sender) = retry_on_intr(|| net::recvfrom(fd, &mut *buffer, RecvFlags::empty()))?;
    Ok((count, sender.and_then(address_of)))
}

/// Send one datagram to `address`.
#[inline]
pub(crate) fn send_to(fd: RawFd, data: &[u8], address: &Address) -> io::Result<()> {
    let fd = borrow(&fd)?;
    let sent = match address {
        Address::V4(address) => retry_on_intr(|| net::sendto(fd, data, QUIET, address)),
        Address::V6(address) => retry_on_intr(|| net::sendto(fd, data, QUIET, address)),
        Address::Path(path) => {
            let address = SocketAddrUnix::new(&**path)?;
            retry_on_intr(|| net::sendto(fd, data, QUIET, &address))
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Address::Abstract(name) => {
            let address = SocketAddrUnix::new_abstract_name(name)?;
            retry_on_intr(|| net::sendto(fd, data, QUIET, &address))
        }
        // Nobody has it.
        _ => Err(Errno::DESTADDRREQ),
    };
    sent?;
    Ok(())
}

/// Tell the peer that nothing more will come.
pub(crate) fn shutdown_write(fd: RawFd) -> io::Result<()> {
    Ok(net::shutdown(borrow(&fd)?, Shutdown::Write)?)
}

/// How far a connection has come that [`dial`](crate::net::dial) has begun.
#[derive(Debug)]
pub enum Dialed {
    /// It stands.
    Connected(OwnedFd),
    /// The descriptor becomes writable when the peer has answered; [`take_error`](crate::net::take_error) says what.
    Pending(OwnedFd),
    /// The peer has answered, and has refused.
    Failed(io::Error),
}

/// Begin to connect a new TCP socket, which does not block and is closed on exec.
pub(crate) fn dial(address: &Address) -> io::Result<Dialed> {
    match address {
        Address::V4(address) => dial_inet(AddressFamily::INET, address),
        Address::V6(address) => dial_inet(AddressFamily::INET6, address),
        _ => Err(Errno::AFNOSUPPORT.into()),
    }
}

fn dial_inet(family: AddressFamily, address: &impl SocketAddrArg) -> io::Result<Dialed> {
    let tcp = Some(net::ipproto::TCP);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let socket = {
        let flags = net::SocketFlags::NONBLOCK | net::SocketFlags::CLOEXEC;
        net::socket_with(family, SocketType::STREAM, flags, tcp)?
    };
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let socket = {
        let socket = net::socket(family, SocketType::STREAM, tcp)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        socket
    };
    match net::connect(&socket, address) {
        Ok(()) => Ok(Dialed::Connected(socket)),
        // An interrupted call goes on in the background, too.
        Err(Errno::INPROGRESS | Errno::INTR) => Ok(ask_again(socket, address)),
        Err(error) => Err(error.into()),
    }
}

/// A peer on this machine has answered by the time that connect() returns, but too late for it to say so:
/// Linux keeps the answer until the call is over. Asked again, it tells.
#[cfg(target_os = "linux")]
fn ask_again(socket: OwnedFd, address: &impl SocketAddrArg) -> Dialed {
    match net::connect(&socket, address) {
        Ok(()) | Err(Errno::ISCONN) => Dialed::Connected(socket),
        Err(Errno::ALREADY | Errno::INPROGRESS | Errno::INTR) => Dialed::Pending(socket),
        Err(error) => Dialed::Failed(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn ask_again(socket: OwnedFd, _address: &impl SocketAddrArg) -> Dialed {
    Dialed::Pending(socket)
}

/// What has become of a connection whose socket has become writable.
pub(crate) fn take_error(fd: RawFd) -> io::Result<()> {
    Ok(net::sockopt::socket_error(borrow(&fd)?)??)
}

/// Take a connection that has come in: a descriptor that does not block and is closed on exec, and
/// who is at the other end.
pub(crate) fn accept(fd: RawFd) -> io::Result<(OwnedFd, Option<Address>)> {
    let listener = borrow(&fd)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let (accepted, peer) = {
        let flags = net::SocketFlags::NONBLOCK | net::SocketFlags::CLOEXEC;
        retry_on_intr(|| net::acceptfrom_with(listener, flags))?
    };
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let (accepted, peer) = {
        let (accepted, peer) = retry_on_intr(|| net::acceptfrom(listener))?;
        rustix::io::ioctl_fionbio(&accepted, true)?;
        rustix::io::fcntl_setfd(&accepted, rustix::io::FdFlags::CLOEXEC)?;
        (accepted, peer)
    };
    Ok((accepted, peer.and_then(address_of)))
}

/// `None` for a family we do not know.
#[inline]
fn address_of(address: SocketAddrAny) -> Option<Address> {
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

/// The name in a Unix socket's address, as long as the kernel says. rustix would take one without a name
/// for one with an empty name, and panics at one that leaves no room for the null at its end.
fn unix_name(address: &SocketAddrAny) -> &[u8] {
    /// The family, and on some systems the length, each of one byte there.
    const HEADER: usize = 2;
    let whole = address.as_ptr().cast::<u8>();
    // SAFETY: `SocketAddrAny` keeps its first `addr_len` bytes initialized, and lives as long as the slice.
    let whole = unsafe { std::slice::from_raw_parts(whole, address.addr_len() as usize) };
    whole.get(HEADER..).unwrap_or_default()
}

/// Are there names outside of the file system? Elsewhere a null in front means that there is no name.
const HAS_ABSTRACT_NAMES: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// The address of this end; `None` for a family we do not know.
pub(crate) fn local_address(fd: RawFd) -> io::Result<Option<Address>> {
    Ok(address_of(net::getsockname(borrow(&fd)?)?))
}

/// The address of the other end; `None` for a family we do not know.
pub(crate) fn peer_address(fd: RawFd) -> io::Result<Option<Address>> {
    Ok(match net::getpeername(borrow(&fd)?)? {
        Some(address) => address_of(address),
        // The kernel names nobody: a Unix socket whose peer is not bound.
        None => Some(Address::Unnamed),
    })
}

/// Send small pieces at once, instead of waiting for an acknowledgement of the last one.
pub(crate) fn set_nodelay(fd: RawFd) -> io::Result<()> {
    Ok(net::sockopt::set_tcp_nodelay(borrow(&fd)?, true)?)
}

/// Has the kernel room for so many bytes more, by a cautious count? Where it cannot be asked the answer is
/// no.
pub(crate) fn has_room(fd: RawFd, bytes: usize) -> bool {
    use std::ffi::c_int;

    use rustix::ioctl::{Getter, Opcode, ioctl};

    /// Of Linux on the architectures below; others have other numbers.
    const SIOCOUTQ: Opcode = 0x5411;

    let can_ask = cfg!(all(
        any(target_os = "linux", target_os = "android"),
        any(
            target_arch = "x86_64",
            target_arch = "x86",
            target_arch = "aarch64",
            target_arch = "arm",
            target_arch = "riscv64"
        )
    ));
    let room = || -> rustix::io::Result<usize> {
        let fd = borrow(&fd).map_err(|_| Errno::BADF)?;
        let room = net::sockopt::socket_send_buffer_size(fd)?;
        // SAFETY: SIOCOUTQ, where it is that, writes one int: how many bytes were sent and not acknowledged.
        let waiting = unsafe { ioctl(fd, Getter::<SIOCOUTQ, c_int>::new()) }?;
        // The kernel counts what it keeps beside the bytes, too, which may be as much again.
        Ok((room / 2).saturating_sub(usize::try_from(waiting).unwrap_or(usize::MAX)))
    };
    can_ask && room().is_ok_and(|room| room >= bytes)
}

#[cfg(not(target_vendor = "apple"))]
const QUIET: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const QUIET: SendFlags = SendFlags::empty();

/// Is the system, or the process, out of what a socket is made of?
pub(crate) fn is_out_of_resources(error: &io::Error) -> bool {
    let lacks = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|number| lacks.iter().any(|lack| lack.raw_os_error() == number))
}
