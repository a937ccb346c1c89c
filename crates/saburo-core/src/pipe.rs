//! Bytes in and out of pipes, and of whatever else can be one end of one: a socket, a terminal.
//!
//! As [`net`](crate::net), on descriptors that the caller owns and that do not block.

use std::io;
use std::os::fd::RawFd;

use crate::sys::pipe;
pub use crate::sys::pipe::Kind;

/// Find out what a descriptor is.
///
/// # Errors
///
/// The kernel's: the descriptor is closed.
///
/// ```
/// # use saburo_core::pipe::{self, Kind};
/// # use std::os::fd::AsRawFd;
/// let null = std::fs::File::open("/dev/null")?;
/// assert_eq!(pipe::kind(null.as_raw_fd())?, Kind::Device);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn kind(fd: RawFd) -> io::Result<Kind> {
    pipe::kind(fd)
}

/// Let reads and writes of a descriptor, and of all its copies, answer `WouldBlock` instead of
/// waiting.
///
/// # Errors
///
/// The kernel's: the descriptor is closed.
///
/// ```
/// # use saburo_core::pipe;
/// # use std::os::fd::AsRawFd;
/// let (reader, _writer) = std::io::pipe()?;
/// pipe::set_nonblocking(reader.as_raw_fd())?;
/// let error = pipe::read(reader.as_raw_fd(), &mut [0; 16]).unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    pipe::set_nonblocking(fd)
}

/// Read what is there into `buffer`: how many bytes, 0 at the end.
///
/// # Errors
///
/// The kernel's; `WouldBlock` if nothing is there yet.
///
/// ```
/// # use saburo_core::pipe;
/// # use std::os::fd::AsRawFd;
/// let (reader, writer) = std::io::pipe()?;
/// pipe::write(writer.as_raw_fd(), b"hello")?;
/// drop(writer);
/// let mut buffer = [0; 16];
/// assert_eq!(pipe::read(reader.as_raw_fd(), &mut buffer)?, 5);
/// assert_eq!(pipe::read(reader.as_raw_fd(), &mut buffer)?, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
pub fn read(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    pipe::read(fd, buffer)
}

/// Write as much of `data` as there is room for: how many bytes. Raises SIGPIPE in a process that has not
/// asked to be told by an error.
///
/// # Errors
///
/// The kernel's, as `BrokenPipe`; `WouldBlock` if there is no room.
///
/// ```
/// # use saburo_core::pipe;
/// # use std::os::fd::AsRawFd;
/// let (reader, writer) = std::io::pipe()?;
/// assert_eq!(pipe::write(writer.as_raw_fd(), b"hello")?, 5);
/// drop(reader);
/// let error = pipe::write(writer.as_raw_fd(), b"hello").unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
pub fn write(fd: RawFd, data: &[u8]) -> io::Result<usize> {
    pipe::write(fd, data)
}
