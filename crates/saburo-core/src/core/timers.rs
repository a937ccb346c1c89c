//! Timers.

use super::Core;
use crate::clock::Time;
use crate::timers::TimerId;

impl<H, P> Core<H, P> {
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
    /// let id = core.insert_timer(Time::NEVER, "far away");
    /// assert_eq!(core.cancel_timer(id), Some("far away"));
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
}
