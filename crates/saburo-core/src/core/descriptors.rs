//! Descriptors.

use std::io;
use std::os::fd::RawFd;

use super::Core;
use crate::kernel::closed;
use crate::reactor::{Direction, Registration};

impl<H> Core<H> {
    /// Make a handle ready, turn after turn, as long as `fd` is readable (or at its end, or
    /// broken). The answer is the handle this one replaces.
    ///
    /// If the number belongs to another file by now, because the old one was closed without
    /// [`remove_reader`](Self::remove_reader), the old registration goes, writer included, and
    /// the new file gets its own.
    ///
    /// On an error nothing is registered that was not before. Handles that have no place to go
    /// back to, `handle` after an error among them, wait for [`take_orphans`](Self::take_orphans).
    ///
    /// # Errors
    ///
    /// The kernel's: `EPERM` for what is always ready, as a regular file is, `EBADF` for what is
    /// not open; and `NotConnected` if the core is closed.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// use std::io::Write;
    /// use std::os::fd::AsRawFd;
    ///
    /// let mut core = Core::new(Clock::monotonic())?;
    /// let (reader, mut writer) = std::io::pipe()?;
    /// core.set_reader(reader.as_raw_fd(), "reader")?;
    /// writer.write_all(b"!")?;
    ///
    /// let mut wait = core.lend_wait();
    /// wait.wait(core.plan(None))?;
    /// core.collect(wait, None)?;
    /// assert_eq!(core.next(), Some("reader"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_reader(&mut self, fd: RawFd, handle: H) -> io::Result<Option<H>> {
        self.set(fd, Direction::Read, false, handle)
    }

    /// Make a handle ready, turn after turn, as long as `fd` takes bytes (or is broken).
    /// Otherwise as [`set_reader`](Self::set_reader).
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// # use std::os::fd::AsRawFd;
    /// let mut core = Core::new(Clock::monotonic())?;
    /// let (_reader, writer) = std::io::pipe()?;
    /// core.set_writer(writer.as_raw_fd(), "one")?;
    /// assert_eq!(core.set_writer(writer.as_raw_fd(), "another")?, Some("one"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_writer(&mut self, fd: RawFd, handle: H) -> io::Result<Option<H>> {
        self.set(fd, Direction::Write, false, handle)
    }

    /// Make a handle ready once `fd` is readable. After that it stays registered, and should be removed,
    /// which costs no system call then; whether it is made ready again meanwhile depends on the system.
    ///
    /// For those who wait again and again: half the system calls of
    /// [`set_reader`](Self::set_reader) and [`remove_reader`](Self::remove_reader), and otherwise the same.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// # use std::io::Write;
    /// # use std::os::fd::AsRawFd;
    /// let mut core = Core::new(Clock::monotonic())?;
    /// let (reader, mut writer) = std::io::pipe()?;
    /// writer.write_all(b"!")?;
    /// for _ in 0..3 {
    ///     core.set_reader_once(reader.as_raw_fd(), "once")?;
    ///     let mut wait = core.lend_wait();
    ///     wait.wait(core.plan(None))?;
    ///     core.collect(wait, None)?;
    ///     assert_eq!(core.next(), Some("once"));
    ///     assert_eq!(core.remove_reader(reader.as_raw_fd()), Some("once"));
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_reader_once(&mut self, fd: RawFd, handle: H) -> io::Result<Option<H>> {
        self.set(fd, Direction::Read, true, handle)
    }

    /// Make a handle ready once `fd` takes bytes; otherwise as
    /// [`set_reader_once`](Self::set_reader_once).
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// # use std::os::fd::AsRawFd;
    /// let mut core = Core::new(Clock::monotonic())?;
    /// let (_reader, writer) = std::io::pipe()?;
    /// core.set_writer_once(writer.as_raw_fd(), "once")?;
    /// assert_eq!(core.remove_writer(writer.as_raw_fd()), Some("once"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_writer_once(&mut self, fd: RawFd, handle: H) -> io::Result<Option<H>> {
        self.set(fd, Direction::Write, true, handle)
    }

    /// Stop watching whether `fd` is readable; the handle that waited for it.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// # use std::os::fd::AsRawFd;
    /// let mut core = Core::new(Clock::monotonic())?;
    /// let (reader, _writer) = std::io::pipe()?;
    /// core.set_reader(reader.as_raw_fd(), "reader")?;
    /// assert_eq!(core.remove_reader(reader.as_raw_fd()), Some("reader"));
    /// assert_eq!(core.remove_reader(reader.as_raw_fd()), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn remove_reader(&mut self, fd: RawFd) -> Option<H> {
        let kernel = self.kernel.as_ref()?;
        self.reactor.remove(&kernel.selector, fd, Direction::Read)
    }

    /// Stop watching whether `fd` is writable; the handle that waited for it.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let mut core = Core::<()>::new(Clock::monotonic())?;
    /// assert_eq!(core.remove_writer(1), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn remove_writer(&mut self, fd: RawFd) -> Option<H> {
        let kernel = self.kernel.as_ref()?;
        self.reactor.remove(&kernel.selector, fd, Direction::Write)
    }

    /// Who waits for `fd` to be readable.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// # use std::os::fd::AsRawFd;
    /// let mut core = Core::new(Clock::monotonic())?;
    /// let (reader, _writer) = std::io::pipe()?;
    /// core.set_reader(reader.as_raw_fd(), "me")?;
    /// assert_eq!(core.reader(reader.as_raw_fd()), Some(&"me"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reader(&self, fd: RawFd) -> Option<&H> {
        self.reactor.get(fd, Direction::Read)
    }

    /// Who waits for `fd` to be writable.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// assert_eq!(Core::<()>::new(Clock::monotonic())?.writer(1), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn writer(&self, fd: RawFd) -> Option<&H> {
        self.reactor.get(fd, Direction::Write)
    }

    /// What `fd` is registered as, if anybody waits for it. See [`Registration`].
    pub fn registration(&self, fd: RawFd) -> Option<Registration> {
        self.reactor.registration(fd)
    }

    /// How many descriptors are registered, the waker not counted.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// # use std::os::fd::AsRawFd;
    /// let mut core = Core::new(Clock::monotonic())?;
    /// let (reader, _writer) = std::io::pipe()?;
    /// core.set_reader(reader.as_raw_fd(), ())?;
    /// assert_eq!(core.registered(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn registered(&self) -> usize {
        self.reactor.len()
    }

    /// Handles that the core gave up without anybody to give them to: of registrations whose
    /// descriptor turned out to be closed, or that were refused. Only `set_reader` and
    /// `set_writer` make any.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// assert!(core.set_reader(-1, "nobody's").is_err());
    /// assert_eq!(core.take_orphans(), ["nobody's"]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn take_orphans(&mut self) -> Vec<H> {
        self.reactor.take_orphans()
    }

    fn set(&mut self, fd: RawFd, direction: Direction, once: bool, handle: H) -> io::Result<Option<H>> {
        match &self.kernel {
            Some(kernel) => self.reactor.set(&kernel.selector, fd, direction, once, handle),
            None => {
                self.reactor.refuse(handle);
                Err(closed())
            }
        }
    }
}
