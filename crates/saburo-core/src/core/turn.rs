//! One turn: plan, wait, collect, and the batch the host runs.

use std::io;
use std::os::fd::RawFd;

use super::Core;
use crate::clock::Time;
use crate::reactor::{Delivery, WAKER};
use crate::wait::{Timeout, Wait};

impl<H, P> Core<H, P> {
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

    /// Whether this turn is to wait, if only to look at the descriptors without sleeping, or may go on to the
    /// batch after [`collect_due`](Self::collect_due). Always if nothing is ready; otherwise as often as it is
    /// worth its system call, see the [crate's page](crate#how-often-to-poll). To be asked once a turn.
    ///
    /// `awaited`: another thread waits for the host to wait, as one of Python's does for the interpreter lock.
    ///
    /// ```
    /// # use saburo_core::{Clock, Core};
    /// let mut core = Core::new(Clock::monotonic())?;
    /// assert!(core.poll_is_due(false));
    /// core.push("ready");
    /// assert!(!core.poll_is_due(false), "and no descriptor is registered");
    /// assert!(core.poll_is_due(true));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn poll_is_due(&mut self, awaited: bool) -> bool {
        let watching = self.reactor.len() > 0;
        self.ready.len() == 0 || self.pace.poll_is_due(watching, awaited, || self.clock.now())
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
        self.ready_before = self.ready.len();
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
        P: Into<H>,
    {
        let Some(kernel) = &mut self.kernel else {
            return Ok(());
        };
        self.ready.append_posts(&self.shared, &mut self.posts);
        let mut stale = false;
        if wait.is_of(&kernel.selector) {
            self.signals.append(&mut wait.signals);
            for event in wait.events.iter().filter(|event| event.token != WAKER) {
                let ready = &mut self.ready;
                let delivery = self.reactor.deliver(&kernel.selector, event, |handle| ready.push(handle));
                stale |= delivery == Delivery::Stale;
            }
            // Brought once: a host that collects again without waiting gets nothing.
            wait.events.clear();
            kernel.wait = Some(wait);
        }
        self.expire(now);
        self.pace.polled(self.ready_before == 0, self.ready.len() > self.ready_before);
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
    pub fn collect_due(&mut self, now: Option<Time>)
    where
        P: Into<H>,
    {
        self.ready.append_posts(&self.shared, &mut self.posts);
        self.expire(now);
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
}

/// Waits in a row with stale events before the selector is replaced.
const PATIENCE: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, Direction};
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
        let stale = core.register(fd, Direction::Read, "stale").unwrap().registration;
        drop(reader);
        assert_eq!(core.deregister(stale), Some("stale"));
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
        let honest = core.register(reader.as_raw_fd(), Direction::Read, "honest").unwrap().registration;
        let _duplicate = closed_but_duplicated(&mut core);
        for _ in 0..PATIENCE {
            turn(&mut core);
        }
        writer.write_all(b"!").unwrap();
        turn(&mut core);
        assert_eq!(core.next(), Some("honest"));
        assert_eq!(core.deregister(honest), Some("honest"));

        assert!(core.shared.bell().fall_asleep());
        core.shared().wake();
        assert_eq!(turn(&mut core), 1, "the waker is watched as well");
    }

    #[test]
    fn a_wait_from_before_the_new_selector_brings_nothing() {
        let mut core = Core::new(Clock::manual().0).unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        core.register(reader.as_raw_fd(), Direction::Read, "reader").unwrap();
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
