//! The part of a core that sleeps.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::inbox::Bell;
use crate::reactor::WAKER;
use crate::sync::Arc;
use crate::sys::{Events, Selector, Waker};

/// How long a turn may sleep: the answer of [`Core::plan`](crate::Core::plan).
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

/// The part of a core that sleeps, lent by [`Core::lend_wait`](crate::Core::lend_wait) and given back to
/// [`Core::collect`](crate::Core::collect).
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
    /// Kept here too, so that a core may be closed while a thread sleeps. `None` if it was
    /// closed before.
    pub(crate) kernel: Option<(Selector, Arc<Waker>)>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) events: Events,
    /// Signal numbers that came through the waker.
    pub(crate) signals: Vec<u8>,
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

    pub(crate) fn new(kernel: Option<(Selector, Arc<Waker>)>, bell: &Arc<Bell>) -> Self {
        Wait { kernel, bell: bell.clone(), events: Events::new(), signals: Vec::new() }
    }

    /// Whether this was lent while the core had this selector.
    pub(crate) fn is_of(&self, selector: &Selector) -> bool {
        match &self.kernel {
            Some((own, _)) => own.same(selector),
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

/// A wait beyond a day ends after one: some systems take no more, and nobody will notice.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
