//! The waker: a pipe whose reading end the selector watches.
//!
//! A pipe and not an eventfd, because what comes through it has a value: a thread that wakes
//! the loop writes 0, a signal handler writes the signal's number, and the loop can tell.
//! Both ends are non-blocking: a full pipe has woken the loop already. Both live and die
//! together, so that a write can never find the other end closed and raise SIGPIPE.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, read, write};

#[derive(Debug)]
pub(crate) struct Waker {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = pipe()?;
        Ok(Waker { reader, writer })
    }

    /// What the selector has to watch.
    pub(crate) fn reader_fd(&self) -> RawFd {
        self.reader.as_raw_fd()
    }

    /// What signal handlers write to.
    pub(crate) fn writer_fd(&self) -> RawFd {
        self.writer.as_raw_fd()
    }

    pub(crate) fn wake(&self) {
        self.write(0);
    }

    /// Async-signal-safe: one system call, no lock, no allocation.
    pub(crate) fn write(&self, byte: u8) {
        // It fails if the pipe is full, and then the loop has enough to wake up to.
        while write(&self.writer, &[byte]) == Err(Errno::INTR) {}
    }

    /// Empty the pipe; what is not 0 is a signal's number.
    pub(crate) fn drain(&self, signals: &mut Vec<u8>) {
        let mut buffer = [0; 512];
        loop {
            match read(&self.reader, &mut buffer) {
                Ok(length) => {
                    let bytes = buffer[..length].iter().copied();
                    signals.extend(bytes.filter(|&byte| byte != 0));
                    if length < buffer.len() {
                        return;
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Bytes written and not yet read: wakes, and signals.
    #[cfg(test)]
    pub(crate) fn pending(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.reader).expect("a pipe can tell")
    }

    /// In a forked child: a pipe of its own, under the same two numbers, so that whoever has
    /// been told the number, as C signal handlers have, now writes to the child's.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        let (reader, writer) = pipe()?;
        replace(&self.reader, &reader)?;
        replace(&self.writer, &writer)
    }
}

/// Make `fd` a name for what `by` names, as `dup3` does.
fn replace(fd: &OwnedFd, by: &OwnedFd) -> io::Result<()> {
    // SAFETY: open, since `fd` owns it, and never closed through here. That the shared `fd` now
    // means another file is what this is for; the kernel swaps it in one step.
    let mut target = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(fd.as_raw_fd()) });
    #[cfg(any(target_os = "linux", target_os = "android"))]
    rustix::io::dup3(by, &mut target, rustix::io::DupFlags::CLOEXEC)?;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        rustix::io::dup2(by, &mut target)?;
        rustix::io::fcntl_setfd(&*target, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok(())
}

#[cfg(not(target_vendor = "apple"))]
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pipe::{PipeFlags, pipe_with};
    Ok(pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
}

/// Apple has no `pipe2`: a child spawned between the calls inherits the ends.
#[cfg(target_vendor = "apple")]
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe()?;
    for end in [&reader, &writer] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(end, true)?;
    }
    Ok((reader, writer))
}
