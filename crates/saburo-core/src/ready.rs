//! The ready queue: first in, first out.
//!
//! The batch rule: a turn runs exactly what was ready when it began. The host asks for the
//! length once and pops that many, so what a handle makes ready waits for the next turn, and
//! no handle can starve the descriptors and timers by rescheduling itself.

use std::collections::VecDeque;

use crate::inbox::Shared;

#[derive(Debug)]
pub(crate) struct ReadyQueue<H> {
    queue: VecDeque<H>,
}

impl<H> ReadyQueue<H> {
    pub(crate) fn new() -> Self {
        ReadyQueue { queue: VecDeque::new() }
    }

    #[inline]
    pub(crate) fn push(&mut self, handle: H) {
        self.queue.push_back(handle);
    }

    /// Is there room for one more, or memory to make some? Then the next push does not abort.
    #[inline]
    pub(crate) fn has_room(&mut self) -> bool {
        self.queue.len() < self.queue.capacity() || self.grow()
    }

    /// Out of the way: inlined, it would keep its caller from being.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> bool {
        self.queue.try_reserve(1).is_ok()
    }

    #[inline]
    pub(crate) fn push_front(&mut self, handle: H) {
        self.queue.push_front(handle);
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<H> {
        self.queue.pop_front()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Append what other threads have posted. `spare` is empty before and after.
    #[inline]
    pub(crate) fn append_posts<P: Into<H>>(&mut self, shared: &Shared<P>, spare: &mut Vec<P>) {
        // Asked at every turn, and hardly ever true.
        if !shared.inbox().bell().has_rung() {
            return;
        }
        shared.inbox().drain(spare);
        self.queue.extend(spare.drain(..).map(P::into));
    }

    #[inline]
    pub(crate) fn get(&self, place: usize) -> Option<&H> {
        self.queue.get(place)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &H> {
        self.queue.iter()
    }

    pub(crate) fn take(&mut self) -> impl Iterator<Item = H> + use<H> {
        std::mem::take(&mut self.queue).into_iter()
    }
}
