//! The end of a core, and what a fork or a garbage collector asks of it.

use std::io;

use super::Core;
use crate::kernel::closed;
use crate::sync::Arc;

impl<H, P> Core<H, P> {
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
        self.reactor.iter().for_each(f);
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
    pub fn drain(&mut self) -> impl Iterator<Item = H> + use<H, P>
    where
        P: Into<H>,
    {
        let selector = self.kernel.as_ref().map(|kernel| &kernel.selector);
        let watching = self.reactor.take(selector);
        let mut posts = std::mem::take(&mut self.posts);
        self.shared.inbox().take(&mut posts);
        self.ready.take().chain(self.timers.take()).chain(watching).chain(posts.into_iter().map(P::into))
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
    pub fn close(&mut self) -> impl Iterator<Item = H> + use<H, P>
    where
        P: Into<H>,
    {
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
        // A sleeping thread was another one, and is not in the child; nor is one that held a lock.
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

impl<H, P> Drop for Core<H, P> {
    fn drop(&mut self) {
        self.disconnect();
    }
}

#[cfg(test)]
mod tests {
    use crate::{Clock, Core};

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
}
