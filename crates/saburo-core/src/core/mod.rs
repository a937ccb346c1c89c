//! The core: an event loop without the loop, in one file per subject.
//!
//! `Core` belongs to the loop's thread and has no lock. It never calls a handle and never drops
//! one: what it takes out it hands back, because either may run foreign code, which may come
//! back here. While the loop sleeps, the part that sleeps is lent out without any handle in it.

mod descriptors;
mod end;
mod queue;
mod timers;
mod turn;

use std::fmt;
use std::io;

use crate::clock::{Clock, Time};
use crate::inbox::Shared;
use crate::kernel::Kernel;
use crate::pace::Pace;
use crate::reactor::Reactor;
use crate::ready::ReadyQueue;
use crate::sync::Arc;
use crate::sys::Waker;
use crate::timers::Timers;

/// An event loop without the loop: what is ready, what is due when, which descriptors are
/// watched for whom.
///
/// Generic over the handle `H` that it queues, and over what other threads [post](Shared::post), which becomes
/// a handle when it is collected. The threads' is `P: Send + Into<H>`, so that a handle need not be `Send`; a
/// core from [`new`](Core::new) has one type for both.
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
pub struct Core<H, P = H> {
    clock: Clock,
    ready: ReadyQueue<H>,
    timers: Timers<H>,
    reactor: Reactor<H>,
    shared: Arc<Shared<P>>,
    /// Signal numbers read from the waker and not taken yet.
    signals: Vec<u8>,
    /// Empty between turns: the inbox's second allocation.
    posts: Vec<P>,
    pace: Pace,
    /// How many handles were ready when the wait was lent.
    ready_before: usize,
    /// Waits in a row that brought an event for no handle. Reset by one that did not.
    stale_waits: u32,
    /// `None` once closed.
    kernel: Option<Kernel>,
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
        Core::with_posts(clock)
    }
}

impl<H, P> Core<H, P> {
    /// The same, with a type of its own for what other threads post.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// use std::rc::Rc;
    ///
    /// struct Handle(Rc<str>);
    ///
    /// impl From<String> for Handle {
    ///     fn from(text: String) -> Handle {
    ///         Handle(text.into())
    ///     }
    /// }
    ///
    /// let mut core = Core::<Handle, String>::with_posts(Clock::monotonic())?;
    /// let shared = core.shared();
    /// std::thread::spawn(move || shared.post("from afar".to_owned())).join().unwrap();
    /// core.collect_due(None);
    /// assert_eq!(&*core.next().unwrap().0, "from afar");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_posts(clock: Clock) -> io::Result<Self> {
        let waker = Arc::new(Waker::new()?);
        let shared = Arc::new(Shared::new(waker.clone()));
        let kernel = Kernel::new(waker)?;
        Ok(Core {
            clock,
            ready: ReadyQueue::new(),
            timers: Timers::new(),
            reactor: Reactor::new(),
            shared,
            signals: Vec::new(),
            posts: Vec::new(),
            pace: Pace::new(),
            ready_before: 0,
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
    pub fn shared(&self) -> Arc<Shared<P>> {
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
}

impl<H, P> fmt::Debug for Core<H, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("ready", &self.ready.len())
            .field("timers", &self.timers.len())
            .field("registered", &self.reactor.len())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
