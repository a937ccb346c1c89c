//! Signals, for hosts without a signal handler of their own.
//!
//! A handler may do next to nothing, so it writes the signal's number to the waker's pipe and
//! returns; the loop reads it when it collects, and there it is an event like any other.

use std::ffi::c_int;
use std::io;
use std::sync::Arc;

use crate::inbox::Shared;
use crate::sys::{SignalHandler, Waker};

/// The signals a core listens to. Dropping it stops the listening; with no other listener, the
/// signals are then ignored rather than given back their default action, because the registry
/// keeps its handler installed.
///
/// ```
/// use saburo_core::{Clock, Core, Signals};
///
/// let mut core = Core::<()>::new(Clock::monotonic())?;
/// let mut signals = Signals::new(&core.shared())?;
/// let usr1 = rustix::process::Signal::USR1;
/// signals.register(usr1.as_raw())?;
///
/// rustix::process::kill_process(rustix::process::getpid(), usr1)?;
/// while !core.has_signals() {
///     let timeout = core.plan(None);
///     let mut wait = core.lend_wait();
///     wait.wait(timeout)?;
///     core.collect(wait, None)?;
/// }
/// assert_eq!(core.take_signals(), [usr1.as_raw() as u8]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Signals {
    waker: Arc<Waker>,
    /// One per signal, so that registering twice does not deliver twice.
    handlers: Vec<(c_int, SignalHandler)>,
}

impl Signals {
    /// Signals for the core behind `shared`; an error if it is closed.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Signals};
    /// let mut core = Core::<()>::new(Clock::monotonic())?;
    /// assert!(Signals::new(&core.shared()).is_ok());
    /// core.close();
    /// assert!(Signals::new(&core.shared()).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new<P>(shared: &Shared<P>) -> io::Result<Self> {
        let waker = shared.waker().ok_or_else(crate::kernel::closed)?;
        Ok(Signals { waker, handlers: Vec::new() })
    }

    /// Listen to a signal. `InvalidInput` for those that cannot be caught (SIGKILL, SIGSTOP),
    /// that cannot be survived (SIGSEGV, SIGFPE, SIGILL), and for what is no signal.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Signals};
    /// # let core = Core::<()>::new(Clock::monotonic())?;
    /// let mut signals = Signals::new(&core.shared())?;
    /// let refused = signals.register(9).unwrap_err();
    /// assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn register(&mut self, signum: c_int) -> io::Result<()> {
        if self.handlers.iter().any(|(known, _)| *known == signum) {
            return Ok(());
        }
        let handler = SignalHandler::install(signum, self.waker.clone())?;
        self.handlers.push((signum, handler));
        Ok(())
    }

    /// Stop listening to a signal. False if there was no listener.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core, Signals};
    /// # let core = Core::<()>::new(Clock::monotonic())?;
    /// let mut signals = Signals::new(&core.shared())?;
    /// signals.register(10)?;
    /// assert!(signals.unregister(10));
    /// assert!(!signals.unregister(10));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unregister(&mut self, signum: c_int) -> bool {
        let before = self.handlers.len();
        self.handlers.retain(|(known, _)| *known != signum);
        self.handlers.len() < before
    }
}
