//! The ready queue.

use super::Core;

impl<H, P> Core<H, P> {
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
}
