//! Pipes: what a descriptor is, and the system calls that move its bytes.

use std::io::{self, IoSlice};
use std::os::fd::RawFd;

use rustix::fs::{FileType, Stat, fstat};
use rustix::io::{ioctl_fionbio, retry_on_intr};

use super::borrow;

/// What a descriptor is, of what can be a pipe.
///
/// ```
/// use saburo_core::pipe::{self, Kind};
/// use std::os::fd::AsRawFd;
///
/// let (reader, _writer) = std::io::pipe()?;
/// assert_eq!(pipe::kind(reader.as_raw_fd())?, Kind::Pipe);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A pipe, or a FIFO of the file system.
    Pipe,
    /// A FIFO of a system where its writing end says nothing about the reader, or says it wrongly.
    MuteFifo,
    /// A socket.
    Socket,
    /// A character device, as a terminal is.
    Device,
    /// A file, a folder: never a pipe.
    Other,
}

impl Kind {
    /// Does the writing end become readable when the reader is gone, and only then?
    ///
    /// ```
    /// # use saburo_core::pipe::Kind;
    /// assert!(Kind::Pipe.tells_of_reader() && Kind::Socket.tells_of_reader());
    /// assert!(!Kind::Device.tells_of_reader());
    /// ```
    pub fn tells_of_reader(self) -> bool {
        matches!(self, Kind::Pipe | Kind::Socket)
    }
}

pub(crate) fn kind(fd: RawFd) -> io::Result<Kind> {
    let stat = fstat(borrow(&fd)?)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo if is_mute(&stat) => Kind::MuteFifo,
        FileType::Fifo => Kind::Pipe,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::Device,
        _ => Kind::Other,
    })
}

/// On Apple's systems and Solaris, the writing end of a FIFO in the file system is readable while there
/// is something to read, and says nothing when the reader goes (CPython, gh-145030). On AIX no pipe does.
fn is_mute(stat: &Stat) -> bool {
    let mute_if_named = cfg!(any(target_vendor = "apple", target_os = "solaris", target_os = "illumos"));
    cfg!(target_os = "aix") || (mute_if_named && stat.st_nlink > 0)
}

pub(crate) fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    Ok(ioctl_fionbio(borrow(&fd)?, true)?)
}

/// Read what is there; 0 at the end.
#[inline]
pub(crate) fn read(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    let fd = borrow(&fd)?;
    Ok(retry_on_intr(|| rustix::io::read(fd, &mut *buffer))?)
}

/// Write what there is room for.
#[inline]
pub(crate) fn write(fd: RawFd, data: &[u8]) -> io::Result<usize> {
    let fd = borrow(&fd)?;
    Ok(retry_on_intr(|| rustix::io::write(fd, data))?)
}

/// Write several pieces in one call, as many bytes as there is room for.
#[inline]
pub(crate) fn write_vectored(fd: RawFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    let fd = borrow(&fd)?;
    Ok(retry_on_intr(|| rustix::io::writev(fd, pieces))?)
}
