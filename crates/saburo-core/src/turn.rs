//! One turn: plan, wait, collect, and the batch the host runs.
//!
//! `Core` belongs to the loop's thread and has no lock. It never calls a handle and never drops
//! one: what it takes out it hands back, because either may run foreign code, which may come
//! back here. While the loop sleeps, the part that sleeps is lent out without any handle in it.

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use crate::clock::{Clock, Time};
use crate::inbox::{Bell, Shared};
use crate::reactor::{Delivery, Direction, Reactor, Registration, WAKER};
use crate::ready::Ready;
use crate::sync::Arc;
use crate::sys::{Events, Interest, Selector, Waker};
use crate::timers::{TimerId, Timers};

/// An event loop without the loop: what is ready, what is due when, which descriptors are
/// watched for whom. Generic over the handle it queues.
///
/// The example on the [crate's page](crate) is a whole loop.
///
/// ```
/// use saburo_core::{Clock, Core};
///
/// let mut core = Core::new(Clock::monotonic())?;
/// core.push("first");
/// core.push("second");
/// for _ in 0..core.begin_batch() {
///     let handle = core.next().unwrap();
///     core.push(handle); // runs in the next turn, not in this one
/// }
/// assert_eq!(core.ready_len(), 2);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Core<H> {
    clock: Clock,
    ready: Ready<H>,
    timers: Timers<H>,
    reactor: Reactor<H>,
    shared: Arc<Shared<H>>,
    /// Signal numbers read from the waker and not taken yet.
    signals: Vec<u8>,
    /// Empty between turns: the inbox's second allocation.
    posts: Vec<H>,
    /// Waits in a row that brought an event for nobody. Reset by one that did not.
    stale_waits: u32,
    /// `None` once closed.
    kernel: Option<Kernel>,
}

/// How long a turn may sleep: the answer of [`Core::plan`].
///
/// ```
/// use saburo_core::{Clock, Core, Time, Timeout};
/// use std::time::Duration;
///
/// let (clock, _) = Clock::manual();
/// let mut core = Core::new(clock)?;
/// assert_eq!(core.plan(None), Timeout::Forever);
/// core.insert_timer(Time::from_secs_f64(2.0), "timer");
/// assert_eq!(core.plan(None), Timeout::Until(Duration::from_secs(2)));
/// core.push("ready");
/// assert_eq!(core.plan(None), Timeout::Now);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Timeout {
    /// Not at all: something is ready, posted or due.
    Now,
    /// Until the next timer is due, that long from now.
    Until(Duration),
    /// Until a descriptor, another thread or a signal has news.
    Forever,
}

impl<H> Core<H> {
    /// A core with a selector and a waker of its own: three descriptors.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let core = Core::<fn()>::new(Clock::monotonic())?;
    /// assert_eq!(core.ready_len() + core.timer_count() + core.registered(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(clock: Clock) -> io::Result<Self> {
        let waker = Arc::new(Waker::new()?);
        let shared = Arc::new(Shared::new(waker.clone()));
        let kernel = Kernel::new(waker)?;
        Ok(Core {
            clock,
            ready: Ready::new(),
            timers: Timers::new(),
            reactor: Reactor::new(),
            shared,
            signals: Vec::new(),
            posts: Vec::new(),
            stale_waits: 0,
            kernel: Some(kernel),
        })
    }

    /// The half that other threads may touch.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let core = Core::new(Clock::monotonic())?;
    /// let shared = core.shared();
    /// std::thread::spawn(move || shared.post("hello")).join().unwrap();
    /// assert_eq!(core.plan(None), saburo_core::Timeout::Now);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shared(&self) -> Arc<Shared<H>> {
        self.shared.clone()
    }

    /// What the clock shows.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Time};
    /// let (clock, hand) = Clock::manual();
    /// let core = Core::<()>::new(clock)?;
    /// hand.set(Time::from_nanos(3));
    /// assert_eq!(core.now(), Time::from_nanos(3));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    // ---- the ready queue ----

    /// Queue a handle behind all others.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// core.push('a');
    /// core.push('b');
    /// assert_eq!(core.next(), Some('a'));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn push(&mut self, handle: H) {
        self.ready.push(handle);
    }

    /// Is there room for one more handle, or memory to make some? If not, the next [`push`](Self::push)
    /// aborts.
    ///
    /// Asked for by itself, so that a handle that is refused need not be handed back.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// assert!(core.has_room());
    /// core.push('a');
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn has_room(&mut self) -> bool {
        self.ready.has_room()
    }

    /// Queue a handle before all others.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// core.push('a');
    /// core.push_front('b');
    /// assert_eq!(core.next(), Some('b'));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn push_front(&mut self, handle: H) {
        self.ready.push_front(handle);
    }

    /// How many handles are ready.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// core.push('a');
    /// assert_eq!(core.ready_len(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// How many handles this turn may run: what is ready now, and not what they make ready.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// core.push(1);
    /// for _ in 0..core.begin_batch() {
    ///     let n = core.next().unwrap();
    ///     core.push(n + 1);
    /// }
    /// assert_eq!(core.next(), Some(2));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn begin_batch(&self) -> usize {
        self.ready.len()
    }

    /// The handle to run next.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// assert_eq!(Core::<()>::new(Clock::monotonic())?.next(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "a queue that refills is no iterator")]
    pub fn next(&mut self) -> Option<H> {
        self.ready.pop()
    }

    /// The handle that stands at this place in the queue, 0 being the next.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// core.push('a');
    /// core.push('b');
    /// assert_eq!(core.peek(1), Some(&'b'));
    /// assert_eq!(core.peek(2), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn peek(&self, place: usize) -> Option<&H> {
        self.ready.get(place)
    }

    // ---- timers ----

    /// Make a handle ready at a moment. Equal moments keep the order of insertion; one for
    /// [`Time::NEVER`] is kept until it is cancelled.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Time};
    /// # use std::time::Duration;
    /// let (clock, hand) = Clock::manual();
    /// let mut core = Core::new(clock)?;
    /// core.insert_timer(Time::from_nanos(20), "late");
    /// core.insert_timer(Time::from_nanos(10), "early");
    /// hand.advance(Duration::from_nanos(10));
    /// core.collect_due(None);
    /// assert_eq!(core.next(), Some("early"));
    /// assert_eq!(core.next(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn insert_timer(&mut self, when: Time, handle: H) -> TimerId {
        self.timers.insert(when, handle)
    }

    /// The same, or the handle again if there is no memory for one more.
    ///
    /// # Errors
    ///
    /// Where memory is out. [`insert_timer`](Self::insert_timer) aborts then.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Time};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// assert!(core.try_insert_timer(Time::NEVER, "much later").is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn try_insert_timer(&mut self, when: Time, handle: H) -> Result<TimerId, H> {
        self.timers.try_insert(when, handle)
    }

    /// Take a timer's handle back. `None` if it has fired or was cancelled before.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Time};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// let id = core.insert_timer(Time::NEVER, "waiting for Godot");
    /// assert_eq!(core.cancel_timer(id), Some("waiting for Godot"));
    /// assert_eq!(core.timer_count(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn cancel_timer(&mut self, id: TimerId) -> Option<H> {
        self.timers.cancel(id)
    }

    /// How many timers have neither fired nor been cancelled.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Time};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// core.insert_timer(Time::ZERO, ());
    /// assert_eq!(core.timer_count(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn timer_count(&self) -> usize {
        self.timers.len()
    }

    /// When the next timer is due; [`Time::NEVER`] if none of those left ever is.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Time};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// assert_eq!(core.next_deadline(), None);
    /// core.insert_timer(Time::from_nanos(5), ());
    /// assert_eq!(core.next_deadline(), Some(Time::from_nanos(5)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.next_deadline()
    }

    // ---- descriptors ----

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

    // ---- the turn ----

    /// Plan: how long this turn may sleep. Reads the clock only if it was not told the time and
    /// there is a timer to compare it with.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Time, Timeout};
    /// let mut core = Core::new(Clock::manual().0)?;
    /// core.insert_timer(Time::from_nanos(10), ());
    /// assert_eq!(core.plan(Some(Time::from_nanos(10))), Timeout::Now);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn plan(&self, now: Option<Time>) -> Timeout {
        if self.ready.len() > 0 || self.shared.bell().has_rung() {
            return Timeout::Now;
        }
        match self.timers.next_deadline() {
            None | Some(Time::NEVER) => Timeout::Forever,
            Some(when) => {
                let now = now.unwrap_or_else(|| self.clock.now());
                if when <= now {
                    return Timeout::Now;
                }
                Timeout::Until(when.saturating_duration_since(now))
            }
        }
    }

    /// The part of the core that sleeps. It holds no handle and is `Send`, so the host can let
    /// go of whatever guards its handles, as Python's interpreter lock does, while it is out.
    /// Meanwhile the core can be used; timers and handles added do not end the sleep, descriptors
    /// do.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Timeout};
    /// let mut core = Core::<()>::new(Clock::monotonic())?;
    /// let mut wait = core.lend_wait();
    /// let wait = std::thread::spawn(move || wait.wait(Timeout::Now).map(|()| wait));
    /// core.collect(wait.join().unwrap()?, None)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn lend_wait(&mut self) -> Wait {
        match &mut self.kernel {
            // One that never came back, because the host was thrown out of its turn, is replaced.
            Some(kernel) => match kernel.wait.take() {
                Some(wait) => wait,
                None => Wait::new(Some((kernel.selector.clone(), kernel.waker.clone())), self.shared.bell()),
            },
            None => Wait::new(None, self.shared.bell()),
        }
    }

    /// Collect: take the wait back, and make ready what was posted, then what the wait brought,
    /// then the timers that are due, which is asyncio's order.
    ///
    /// Without `now` the clock is read, if there is a timer to compare it with. If the core was
    /// closed since the wait was lent, nothing is collected.
    ///
    /// # Errors
    ///
    /// None at present; the host should end its loop if there is one.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Time, Timeout};
    /// let (clock, hand) = Clock::manual();
    /// let mut core = Core::new(clock)?;
    /// core.insert_timer(Time::from_nanos(1), "timer");
    /// core.shared().post("post");
    /// hand.set(Time::from_nanos(1));
    ///
    /// let mut wait = core.lend_wait();
    /// wait.wait(core.plan(None))?;
    /// core.collect(wait, None)?;
    /// assert_eq!(core.next(), Some("post"));
    /// assert_eq!(core.next(), Some("timer"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn collect(&mut self, mut wait: Wait, now: Option<Time>) -> io::Result<()>
    where
        H: Clone,
    {
        let Some(kernel) = &mut self.kernel else {
            return Ok(());
        };
        self.ready.append_posts(&self.shared, &mut self.posts);
        let mut stale = false;
        if wait.is_of(kernel) {
            self.signals.append(&mut wait.signals);
            for event in wait.events.iter().filter(|event| event.token != WAKER) {
                let ready = &mut self.ready;
                let delivery = self.reactor.deliver(event, |handle| ready.push(handle.clone()));
                stale |= delivery == Delivery::Stale;
            }
            // Brought once: a host that collects again without waiting gets nothing.
            wait.events.clear();
            kernel.wait = Some(wait);
        }
        self.expire(now);
        self.renew_if_stale(stale);
        Ok(())
    }

    /// Collect what needs no wait: posts and due timers.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Time};
    /// let mut core = Core::new(Clock::manual().0)?;
    /// core.insert_timer(Time::from_nanos(9), "nine");
    /// core.collect_due(Some(Time::from_nanos(9)));
    /// assert_eq!(core.next(), Some("nine"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn collect_due(&mut self, now: Option<Time>) {
        self.ready.append_posts(&self.shared, &mut self.posts);
        self.expire(now);
    }

    // ---- signals ----

    /// Whether signals have been collected.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// assert!(!Core::<()>::new(Clock::monotonic())?.has_signals());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn has_signals(&self) -> bool {
        !self.signals.is_empty()
    }

    /// The numbers of the signals collected since the last call, in order.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// assert_eq!(Core::<()>::new(Clock::monotonic())?.take_signals(), []);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn take_signals(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.signals)
    }

    /// Where a foreign signal handler writes a signal's number, one byte: what Python's
    /// `signal.set_wakeup_fd` asks for. -1 once closed. The number stays the same across
    /// [`reopen_after_fork`](Self::reopen_after_fork).
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let mut core = Core::<()>::new(Clock::monotonic())?;
    /// assert!(core.waker_fd() >= 0);
    /// core.close();
    /// assert_eq!(core.waker_fd(), -1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn waker_fd(&self) -> RawFd {
        match &self.kernel {
            Some(kernel) => kernel.waker.writer_fd(),
            None => -1,
        }
    }

    // ---- the end, and others' interests ----

    /// Show every handle the core holds to `f`, for a garbage collector's traversal. Those still
    /// in the inbox are left out: they belong to nobody yet.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Time};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// core.push(1);
    /// core.insert_timer(Time::NEVER, 2);
    /// let mut sum = 0;
    /// core.for_each_handle(&mut |n| sum += n);
    /// assert_eq!(sum, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn for_each_handle(&self, f: &mut dyn FnMut(&H)) {
        self.ready.iter().for_each(&mut *f);
        self.timers.iter().for_each(&mut *f);
        self.reactor.iter().for_each(&mut *f);
        // A panic may have left some on their way from the inbox.
        self.posts.iter().for_each(f);
    }

    /// Show every handle of the ready queue to `f`, first in line first.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// core.push(1);
    /// core.push(2);
    /// let mut line = vec![];
    /// core.for_each_ready(&mut |n| line.push(*n));
    /// assert_eq!(line, [1, 2]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn for_each_ready(&self, f: &mut dyn FnMut(&H)) {
        self.ready.iter().for_each(f);
    }

    /// Take every handle out, the inbox's too, and stop watching all descriptors. The caller
    /// drops them when nothing is borrowed any more. No list is made of what may be many: handles are
    /// let go of also where memory is out.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// core.push(1);
    /// core.shared().post(2);
    /// assert!(core.drain().eq([1, 2]));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use = "dropping handles may run foreign code: choose the place"]
    pub fn drain(&mut self) -> impl Iterator<Item = H> + use<H> {
        let selector = self.kernel.as_ref().map(|kernel| &kernel.selector);
        let watching = self.reactor.take(selector);
        let mut posts = std::mem::take(&mut self.posts);
        self.shared.inbox().take(&mut posts);
        self.ready.take().chain(self.timers.take()).chain(watching).chain(posts)
    }

    /// Close the descriptors for good and take every handle out. A wait that is lent out keeps
    /// its own alive until it comes back, and is woken. Closing twice does nothing.
    ///
    /// The user's descriptors are left as they are, and a core inherited across `fork` can be
    /// closed without disturbing the parent's.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// core.push("unfinished");
    /// assert!(core.close().eq(["unfinished"]));
    /// assert!(core.is_closed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use = "dropping handles may run foreign code: choose the place"]
    pub fn close(&mut self) -> impl Iterator<Item = H> + use<H> {
        self.disconnect();
        self.drain()
    }

    /// Whether it has been closed.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// assert!(!Core::<()>::new(Clock::monotonic())?.is_closed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.kernel.is_none()
    }

    /// In a forked child that inherited a core and wants to go on with it: a selector and a
    /// waker of its own, watching the same descriptors. The parent's are let go untouched.
    /// What threads had posted before the fork stays posted. What [`shared`](Self::shared) returned
    /// before is of no use any more.
    ///
    /// # Errors
    ///
    /// The kernel's, if it has no descriptors left; and `NotConnected` if the core is closed.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let mut core = Core::<()>::new(Clock::monotonic())?;
    /// let fd = core.waker_fd();
    /// core.reopen_after_fork()?; // normally in the child
    /// assert_eq!(core.waker_fd(), fd);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reopen_after_fork(&mut self) -> io::Result<()> {
        let Some(kernel) = &mut self.kernel else {
            return Err(closed());
        };
        kernel.waker.reopen()?;
        // The old selector cannot be asked what it still watches: it is the parent's, who may
        // have changed it since, and asking would change it again.
        kernel.renew(&self.reactor, None)?;
        // Whoever was asleep was another thread, and is not here; nor is one that held a lock.
        self.shared = Arc::new(self.shared.after_fork(kernel.waker.clone()));
        Ok(())
    }

    /// In a forked child that inherited a core and has no use for it: it watches nothing and wakes nobody any
    /// more, and its handles are never dropped, since letting go of them would run code that is the parent's
    /// to run.
    ///
    /// No lock is taken: a thread that held one at the fork is not here to release it. The waker's pipe stays
    /// open.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// core.push("the parent's");
    /// core.leave_to_parent(); // normally in the child
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn leave_to_parent(mut self) {
        drop(self.kernel.take());
        std::mem::forget(self);
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

    /// Due timers become ready. Costs nothing without timers.
    #[inline]
    fn expire(&mut self, now: Option<Time>) {
        if self.timers.is_empty() {
            return;
        }
        let now = now.unwrap_or_else(|| self.clock.now());
        self.timers.take_due(now, &mut self.ready);
    }

    /// A new selector once events come again and again for a registration we no longer have.
    ///
    /// It takes a descriptor that was duplicated and then closed under the number we know: the
    /// kernel goes on watching the file behind it, and as it wants the number for an answer,
    /// nothing can take it out of the selector again. A loop would spin. So after some such
    /// waits in a row (a single one is an ordinary race) we ask a new selector.
    #[inline]
    fn renew_if_stale(&mut self, stale: bool) {
        if !stale {
            self.stale_waits = 0;
            return;
        }
        self.stale_waits += 1;
        if self.stale_waits < PATIENCE {
            return;
        }
        if let Some(kernel) = &mut self.kernel {
            // Without a descriptor to spare we go on spinning, and try again at each turn.
            let old = kernel.selector.clone();
            if kernel.renew(&self.reactor, Some(&old)).is_ok() {
                self.stale_waits = 0;
            }
        }
    }

    /// No `epoll_ctl` here: after a fork it would be the parent's.
    fn disconnect(&mut self) {
        self.shared.hang_up();
        if let Some(kernel) = self.kernel.take()
            && kernel.wait.is_none()
        {
            kernel.waker.wake();
        }
    }
}

impl<H> Drop for Core<H> {
    fn drop(&mut self) {
        self.disconnect();
    }
}

impl<H> fmt::Debug for Core<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("ready", &self.ready.len())
            .field("timers", &self.timers.len())
            .field("registered", &self.reactor.len())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// The part of a core that sleeps, lent by [`Core::lend_wait`] and given back to
/// [`Core::collect`].
///
/// ```
/// use saburo_core::{Clock, Core, Timeout};
/// use std::time::Duration;
///
/// let mut core = Core::<()>::new(Clock::monotonic())?;
/// let mut wait = core.lend_wait();
/// wait.wait(Timeout::Until(Duration::from_micros(50)))?;
/// core.collect(wait, None)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Wait {
    /// Kept here too, so that a core may be closed while somebody sleeps. `None` if it was
    /// closed before.
    kernel: Option<(Selector, Arc<Waker>)>,
    bell: Arc<Bell>,
    events: Events,
    /// Signal numbers that came through the waker.
    signals: Vec<u8>,
}

impl Wait {
    /// Wait: the only blocking call. Returns when a descriptor has news, when it is woken, when
    /// a signal handler has run, or when the time is up, and never early in any other case; but
    /// after a day at the latest.
    ///
    /// # Errors
    ///
    /// The kernel's, which should not happen.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Timeout};
    /// let mut core = Core::<()>::new(Clock::monotonic())?;
    /// core.shared().wake();
    /// let mut wait = core.lend_wait();
    /// wait.wait(Timeout::Forever)?; // not that long: it was woken before it fell asleep
    /// core.collect(wait, None)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait(&mut self, timeout: Timeout) -> io::Result<()> {
        self.events.clear();
        let Some((selector, waker)) = &self.kernel else {
            return Ok(());
        };
        let result = sleep(&mut self.events, selector, &self.bell, timeout);
        // Emptied here and not when it is collected, because the host may have to wait for its lock before
        // that, and whoever rang holds it for some moments more: they are better spent on this.
        if self.events.iter().any(|event| event.token == WAKER) {
            waker.drain(&mut self.signals);
        }
        result
    }

    fn new(kernel: Option<(Selector, Arc<Waker>)>, bell: &Arc<Bell>) -> Self {
        Wait { kernel, bell: bell.clone(), events: Events::new(), signals: Vec::new() }
    }

    /// Whether this was lent by the kernel state we have now.
    fn is_of(&self, kernel: &Kernel) -> bool {
        match &self.kernel {
            Some((selector, _)) => selector.same(&kernel.selector),
            None => false,
        }
    }
}

fn sleep(events: &mut Events, selector: &Selector, bell: &Bell, timeout: Timeout) -> io::Result<()> {
    if timeout == Timeout::Now || !bell.fall_asleep() {
        return events.wait(selector, Some(Duration::ZERO));
    }
    let timeout = match timeout {
        Timeout::Until(duration) => duration.min(LONGEST),
        _ => LONGEST,
    };
    let result = events.wait(selector, Some(timeout));
    bell.wake_up();
    result
}

impl Drop for Wait {
    /// One that never came back, or to the wrong core, leaves the signals it has read to the next.
    fn drop(&mut self) {
        if let Some((_, waker)) = &self.kernel {
            self.signals.iter().for_each(|&signal| waker.write(signal));
        }
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").finish_non_exhaustive()
    }
}

/// What an open core has of the operating system's.
struct Kernel {
    selector: Selector,
    waker: Arc<Waker>,
    /// `None` while lent out, and before it was lent for the first time.
    wait: Option<Wait>,
}

impl Kernel {
    fn new(waker: Arc<Waker>) -> io::Result<Self> {
        Ok(Kernel { selector: watch(&waker)?, waker, wait: None })
    }

    /// Exchange the selector for a new one that watches the same. The wait is made anew when it
    /// is next lent, and one that is out now will be recognised as an old one's.
    fn renew<H>(&mut self, reactor: &Reactor<H>, old: Option<&Selector>) -> io::Result<()> {
        let selector = watch(&self.waker)?;
        reactor.register_all(&selector, old);
        self.wait = None;
        self.selector = selector;
        Ok(())
    }
}

fn watch(waker: &Waker) -> io::Result<Selector> {
    let selector = Selector::new()?;
    let interest = Interest { read: true, write: false, once: false };
    selector.add(waker.reader_fd(), WAKER, interest)?;
    Ok(selector)
}

pub(crate) fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the core is closed")
}

/// A wait beyond a day ends after one: some systems take no more, and nobody will notice.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Waits in a row with stale events before the selector is replaced.
const PATIENCE: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    fn turn(core: &mut Core<&'static str>) -> usize {
        let mut wait = core.lend_wait();
        wait.wait(Timeout::Now).unwrap();
        let news = wait.events.iter().count();
        core.collect(wait, None).unwrap();
        news
    }

    /// A descriptor with a byte to read that the kernel watches and that nobody can name any
    /// more: the duplicate keeps the file behind it alive.
    fn closed_but_duplicated(core: &mut Core<&'static str>) -> std::io::PipeReader {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"!").unwrap();
        let duplicate = reader.try_clone().unwrap();
        let fd = reader.as_raw_fd();
        core.set_reader(fd, "stale").unwrap();
        drop(reader);
        assert_eq!(core.remove_reader(fd), Some("stale"));
        duplicate
    }

    #[test]
    fn stale_events_come_for_a_while_reach_nobody_and_end() {
        let mut core = Core::new(Clock::manual().0).unwrap();
        let _duplicate = closed_but_duplicated(&mut core);
        for _ in 0..PATIENCE {
            assert_eq!(turn(&mut core), 1, "the kernel has not forgotten it");
        }
        assert_eq!(turn(&mut core), 0, "the new selector has never heard of it");
        assert_eq!(core.ready_len(), 0);
    }

    #[test]
    fn what_is_registered_stays_so_in_the_new_selector() {
        let mut core = Core::new(Clock::manual().0).unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        core.set_reader(reader.as_raw_fd(), "honest").unwrap();
        let _duplicate = closed_but_duplicated(&mut core);
        for _ in 0..PATIENCE {
            turn(&mut core);
        }
        writer.write_all(b"!").unwrap();
        turn(&mut core);
        assert_eq!(core.next(), Some("honest"));
        assert_eq!(core.remove_reader(reader.as_raw_fd()), Some("honest"));

        assert!(core.shared.bell().fall_asleep());
        core.shared().wake();
        assert_eq!(turn(&mut core), 1, "the waker is watched as well");
    }

    #[test]
    fn closing_wakes_whoever_has_the_wait() {
        let mut core = Core::<()>::new(Clock::manual().0).unwrap();
        let wait = core.lend_wait();
        assert!(wait.bell.fall_asleep());
        drop(core.close());
        let (_, waker) = wait.kernel.as_ref().unwrap();
        assert_eq!(waker.pending(), 1);
    }

    #[test]
    fn a_core_reopened_while_a_thread_held_a_lock_has_free_ones() {
        let mut core = Core::new(Clock::manual().0).unwrap();
        let parents = core.shared();
        parents.post("posted before");
        // As a thread has them that wakes the loop while another one forks.
        let held = parents.hold_alarm();
        core.reopen_after_fork().unwrap();
        core.collect_due(None);
        assert_eq!(core.next(), Some("posted before"));
        assert!(core.shared.bell().fall_asleep());
        core.shared().wake();
        drop(core.close());
        drop(held);
    }

    #[test]
    fn a_core_reopened_while_the_parent_slept_is_awake_and_can_sleep() {
        let mut core = Core::<()>::new(Clock::manual().0).unwrap();
        assert!(core.shared.bell().fall_asleep());
        core.reopen_after_fork().unwrap();
        assert!(core.shared.bell().fall_asleep(), "no longer asleep, and free to be again");
    }

    #[test]
    fn a_wait_from_before_the_exorcism_brings_nothing() {
        let mut core = Core::new(Clock::manual().0).unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        core.set_reader(reader.as_raw_fd(), "reader").unwrap();
        writer.write_all(b"!").unwrap();
        let mut old = core.lend_wait();
        old.wait(Timeout::Now).unwrap();
        let _duplicate = closed_but_duplicated(&mut core);
        for _ in 0..PATIENCE {
            turn(&mut core);
        }
        core.ready.take().for_each(drop);
        core.collect(old, None).unwrap();
        assert_eq!(core.ready_len(), 0, "what it saw was the old selector's");
        turn(&mut core);
        assert_eq!(core.next(), Some("reader"), "and the new one sees it as well");
    }
}
