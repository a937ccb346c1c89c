//! The loop's side of its thread pool: results come in, and jobs are counted.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use saburo_core::Alarm;

use crate::ffi::{Instance, Own, Owns, Slot, Visit, detach};

use super::{Loop, Ready, RunState};

impl Loop {
    /// The loop's own threads, if there are any and nothing has taken their place: a pool, which the loop
    /// keeps and knows nothing of.
    #[inline]
    pub(crate) fn pool(&self) -> &Slot {
        &self.pool
    }

    /// True if a job of the pool is queued or being run.
    #[inline]
    pub(super) fn has_jobs(&self) -> bool {
        self.jobs.get() > 0
    }

    /// Queues what a worker thread has got for the next turn; drops it if there will be none. The caller
    /// must see to it that the loop wakes up: [`alarm_if_sleeping`](Loop::alarm_if_sleeping).
    pub(crate) fn post(&self, ready: Ready) {
        loop {
            match self.core.borrow_mut().as_mut() {
                Some(core) if self.phase.get() != RunState::OfParent => {
                    if core.has_room() {
                        return core.push(ready);
                    }
                }
                // Let go of only after the borrow.
                _ => break,
            }
            // There is no memory for one more: when the loop has had a turn, there is room.
            let alarm = self.alarm();
            detach(move || {
                if let Some(alarm) = alarm {
                    hand_over(&alarm);
                }
            });
        }
        drop(ready);
    }

    /// Another thread has queued something behind very much: the loop's thread gets the interpreter, if it
    /// waits for it, so that no thread queues faster than it runs. Where each call makes a system call, as in
    /// asyncio, that comes about by itself. It is a short wait, not one for room: what the loop does now may
    /// wait for the caller.
    #[cold]
    pub(crate) fn let_run(this: &Instance<Loop>, queued: usize) {
        let due = match this.thread.get() {
            Some(_) => !this.runs_on_this_thread(),
            // Whoever is going to run the loop may wait for the interpreter, or nobody is.
            None => queued.is_multiple_of(CALLS_BETWEEN),
        };
        if due && let Some(alarm) = this.alarm() {
            detach(move || hand_over(&alarm));
        }
    }

    /// What wakes the loop. It may be rung with the interpreter released.
    pub(crate) fn alarm(&self) -> Option<Arc<Alarm>> {
        if self.phase.get() == RunState::OfParent {
            return None;
        }
        self.core(|core| core.shared().alarm())
    }

    /// The same, if the loop sleeps, or is about to.
    pub(crate) fn alarm_if_sleeping(&self) -> Option<Arc<Alarm>> {
        if self.sleeping.get() { self.alarm() } else { None }
    }
}

/// Where no loop runs, the thread about to run it gets the interpreter once in so many calls.
const CALLS_BETWEEN: usize = 1024;

/// How long a thread waits for the loop to come.
const LONGEST_WAIT: Duration = Duration::from_micros(100);

/// Stays out of the interpreter until the loop has been in, or for a short while. Just letting go is not
/// enough: a thread that comes back at once is faster than a thread that must be woken first, and that thread
/// begins anew to wait for its 5 ms.
pub(crate) fn hand_over(alarm: &Alarm) {
    alarm.ring();
    let released = Instant::now();
    while !alarm.is_heard() && released.elapsed() < LONGEST_WAIT {
        thread::yield_now();
    }
}

/// The loop of a job that is not done, counted for as long as this lives.
pub(crate) struct Outstanding(Own<Loop>);

impl Outstanding {
    #[inline]
    pub(crate) fn on(event_loop: &Instance<Loop>) -> Outstanding {
        event_loop.jobs.set(event_loop.jobs.get() + 1);
        Outstanding(event_loop.to_own())
    }

    /// The job is done; the reference goes on.
    #[inline]
    pub(crate) fn end(self) -> Own<Loop> {
        self.0.clone()
    }
}

impl Owns for Outstanding {
    fn show(&self, visit: &mut Visit<'_>) {
        self.0.show(visit);
    }
}

impl Drop for Outstanding {
    #[inline]
    fn drop(&mut self) {
        // In a forked child the count has begun anew, while the parent's jobs may still go.
        self.0.jobs.set(self.0.jobs.get().saturating_sub(1));
    }
}

/// In a forked child there are no threads of the parent's.
pub(super) fn forget(this: &Instance<Loop>) {
    this.jobs.set(0);
    drop(this.pool.take());
}
