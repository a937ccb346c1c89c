//! The door to the operating system: the only folder with `unsafe` in it, and the only one
//! that knows which system this is.
//!
//! The contract. Every selector exports, under these names:
//!
//! - `Selector`: a set of descriptors the kernel watches, level-triggered. Cheap to clone, and
//!   a clone is the same set, because one thread changes it while another waits on it.
//!   - `new() -> io::Result<Selector>`
//!   - `add(fd, token, interest)`; `AlreadyExists` if the kernel already watches it
//!   - `modify(fd, token, interest)`; `NotFound` if it does not
//!   - `remove(fd)`; errors mean that the kernel had forgotten it, and are the caller's to ignore
//!   - `same(&self, &Selector) -> bool`
//!   - `HAS_ONCE`: whether it knows `Interest::once`. A descriptor that has had its news is still
//!     known to it, and watched again by `modify`; one that cannot do that goes on watching.
//!   - dropping the last clone of a set inherited across `fork` leaves the set as it is,
//!     because it is the parent's
//! - `Events`: a buffer that outlives the call and can go to another thread.
//!   - `new()`, `clear()`, `wait(&mut self, &Selector, Option<Duration>) -> io::Result<()>`,
//!     which fills it, may return early without events when a signal handler has run, and
//!     never returns before the time is up otherwise
//!   - `iter() -> impl Iterator<Item = Event>`
//!
//! A file descriptor here is a number the user gave us. He may close it at any time, and the
//! kernel answers with an error; that is the worst that can happen.

#[cfg(all(any(target_os = "linux", target_os = "android"), not(saburo_polling)))]
mod epoll;
#[cfg(all(any(target_os = "linux", target_os = "android"), not(saburo_polling)))]
pub(crate) use epoll::{Events, Selector};

#[cfg(not(all(any(target_os = "linux", target_os = "android"), not(saburo_polling))))]
mod polling;
#[cfg(not(all(any(target_os = "linux", target_os = "android"), not(saburo_polling))))]
pub(crate) use self::polling::{Events, Selector};

pub(crate) mod pipe;
pub(crate) mod socket;

mod waker;
pub(crate) use waker::Waker;

#[cfg(feature = "signals")]
mod signal;
#[cfg(feature = "signals")]
pub(crate) use signal::SignalHandler;

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

/// Which directions of a descriptor the kernel is asked to watch.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
    /// Only until it has news, if the selector can do that.
    pub(crate) once: bool,
}

/// One descriptor's news. Errors and hang-ups are news in both directions, as in `selectors`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Event {
    pub(crate) token: u64,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// A user's number as something to call the kernel with.
fn borrow(fd: &RawFd) -> io::Result<BorrowedFd<'_>> {
    if *fd < 0 {
        return Err(rustix::io::Errno::BADF.into());
    }
    // SAFETY: not -1, see above, which is all that memory safety asks for. That it is open is
    // not ours to guarantee: if the user has closed it, the call answers EBADF, and if the
    // number is another file by now, that file is watched, which reads and writes nothing.
    Ok(unsafe { BorrowedFd::borrow_raw(*fd) })
}
