//! Descriptors: a handle is registered for a direction, and its token ends that.

use std::os::fd::RawFd;

use super::Core;
use crate::kernel::closed;
use crate::reactor::{Direction, Refused, Registered, Registration};

impl<H, P> Core<H, P> {
    /// Make a handle ready, turn after turn, as long as `fd` can be read (there are bytes, or the
    /// end, or it is broken) or written (there is room, or it is broken). The answer is the token
    /// that [`deregister`](Self::deregister) takes, and the handle this one replaces.
    ///
    /// If the number belongs to another file by now, because the old one was closed without
    /// [`deregister`](Self::deregister), the old registrations of both directions are over, and the
    /// new file gets its own.
    ///
    /// # Errors
    ///
    /// The kernel's: `EPERM` for what is always ready, as a regular file is, `EBADF` for what is
    /// not open; and `NotConnected` if the core is closed. Then nothing has changed, and the handle
    /// comes back.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Direction};
    /// use std::io::Write;
    /// use std::os::fd::AsRawFd;
    ///
    /// let mut core = Core::new(Clock::monotonic())?;
    /// let (reader, mut writer) = std::io::pipe()?;
    /// core.register(reader.as_raw_fd(), Direction::Read, "reader")?;
    /// writer.write_all(b"!")?;
    ///
    /// let mut wait = core.lend_wait();
    /// wait.wait(core.plan(None))?;
    /// core.collect(wait, None)?;
    /// assert_eq!(core.next(), Some("reader"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn register(
        &mut self,
        fd: RawFd,
        direction: Direction,
        handle: H,
    ) -> Result<Registered<H>, Refused<H>> {
        self.watch(fd, direction, false, handle)
    }

    /// The same for one event: the handle moves into the ready queue with it, and the registration is
    /// over.
    ///
    /// For those who wait again and again: half the system calls of
    /// [`register`](Self::register) and [`deregister`](Self::deregister).
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Direction};
    /// # use std::io::Write;
    /// # use std::os::fd::AsRawFd;
    /// let mut core = Core::new(Clock::monotonic())?;
    /// let (reader, mut writer) = std::io::pipe()?;
    /// writer.write_all(b"!")?;
    /// for _ in 0..3 {
    ///     let once = core.register_once(reader.as_raw_fd(), Direction::Read, "once")?;
    ///     let mut wait = core.lend_wait();
    ///     wait.wait(core.plan(None))?;
    ///     core.collect(wait, None)?;
    ///     assert_eq!(core.next(), Some("once"));
    ///     assert_eq!(core.deregister(once.registration), None);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn register_once(
        &mut self,
        fd: RawFd,
        direction: Direction,
        handle: H,
    ) -> Result<Registered<H>, Refused<H>> {
        self.watch(fd, direction, true, handle)
    }

    /// End a registration; its handle. `None` if it is over.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Direction};
    /// # use std::os::fd::AsRawFd;
    /// let mut core = Core::new(Clock::monotonic())?;
    /// let (_reader, writer) = std::io::pipe()?;
    /// let one = core.register(writer.as_raw_fd(), Direction::Write, "one")?;
    /// let another = core.register(writer.as_raw_fd(), Direction::Write, "another")?;
    /// assert_eq!(another.replaced, Some("one"));
    /// assert_eq!(core.deregister(one.registration), None);
    /// assert_eq!(core.deregister(another.registration), Some("another"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn deregister(&mut self, registration: Registration) -> Option<H> {
        let kernel = self.kernel.as_ref()?;
        self.reactor.deregister(&kernel.selector, registration)
    }

    /// Whether a registration goes on.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Direction};
    /// # use std::os::fd::AsRawFd;
    /// let mut core = Core::new(Clock::monotonic())?;
    /// let (reader, _writer) = std::io::pipe()?;
    /// let registration = core.register(reader.as_raw_fd(), Direction::Read, ())?.registration;
    /// assert!(core.is_registered(registration));
    /// core.deregister(registration);
    /// assert!(!core.is_registered(registration));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn is_registered(&self, registration: Registration) -> bool {
        self.reactor.is_registered(registration)
    }

    /// The registration for a direction of a number, for those who have only that.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Direction};
    /// # use std::os::fd::AsRawFd;
    /// let mut core = Core::new(Clock::monotonic())?;
    /// let (reader, _writer) = std::io::pipe()?;
    /// let fd = reader.as_raw_fd();
    /// let registered = core.register(fd, Direction::Read, "me")?;
    /// assert_eq!(core.registration(fd, Direction::Read), Some(registered.registration));
    /// assert_eq!(core.registration(fd, Direction::Write), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn registration(&self, fd: RawFd, direction: Direction) -> Option<Registration> {
        self.reactor.registration(fd, direction)
    }

    /// How many descriptors are registered, the waker not counted.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Direction};
    /// # use std::os::fd::AsRawFd;
    /// let mut core = Core::new(Clock::monotonic())?;
    /// let (reader, _writer) = std::io::pipe()?;
    /// core.register(reader.as_raw_fd(), Direction::Read, ())?;
    /// assert_eq!(core.registered(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn registered(&self) -> usize {
        self.reactor.len()
    }

    fn watch(
        &mut self,
        fd: RawFd,
        direction: Direction,
        once: bool,
        handle: H,
    ) -> Result<Registered<H>, Refused<H>> {
        match &self.kernel {
            Some(kernel) => self.reactor.register(&kernel.selector, fd, direction, once, handle),
            None => Err(Refused { error: closed(), handle }),
        }
    }
}
