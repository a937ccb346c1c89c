//! Running: whether a handle that other threads know is being called right now, and by which thread.
//!
//! The rule is that of asyncio since 3.14, kept on every version: after `cancel()` of a handle that
//! `call_soon_threadsafe` returned, the callback does not run. So a thread that cancels, or asks whether the
//! handle is cancelled, waits while another thread is inside the callback. The interpreter lock orders the
//! field; only waiting threads, and a call that ends while one waits, take a lock.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::ffi::{Res, attached_thread, check_signals, detach};

/// The thread that calls a handle's callback, or one of the two values below.
pub(crate) struct Running(Cell<u64>);

/// Only the loop's thread knows the handle: no other thread can ask.
const PRIVATE: u64 = 0;
/// Other threads know the handle; it is not being called. No thread has this number, since it is an address.
const IDLE: u64 = 1;

/// How many threads wait, for any handle.
static WAITING: AtomicUsize = AtomicUsize::new(0);
/// Counts calls that ended while a thread was waiting.
static ENDED: Mutex<u64> = Mutex::new(0);
static BELL: Condvar = Condvar::new();

/// How often a waiting thread checks for signals: Ctrl-C ends the wait.
const SIGNALS_EVERY: Duration = Duration::from_millis(50);

/// In a forked child, which has none of the waiting threads.
pub(crate) fn after_fork() {
    WAITING.store(0, Ordering::Relaxed);
}

impl Running {
    pub(crate) const fn private() -> Running {
        Running(Cell::new(PRIVATE))
    }

    /// From now on other threads know the handle.
    pub(crate) fn share(&self) {
        self.0.set(IDLE);
    }

    #[inline]
    pub(crate) fn is_shared(&self) -> bool {
        self.0.get() != PRIVATE
    }

    /// Marks a shared handle as being called by this thread, until the returned guard is dropped.
    pub(crate) fn begin(&self) -> Res<impl Drop> {
        struct End<'a>(&'a Running, u64);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.0.set(self.1);
                if WAITING.load(Ordering::Relaxed) > 0 {
                    *ended() += 1;
                    BELL.notify_all();
                }
            }
        }
        self.wait()?;
        Ok(End(self, self.0.replace(attached_thread())))
    }

    /// Waits until no other thread is inside the callback.
    #[inline]
    pub(crate) fn wait(&self) -> Res<()> {
        if self.is_elsewhere() { self.wait_for_end() } else { Ok(()) }
    }

    #[inline]
    fn is_elsewhere(&self) -> bool {
        let thread = self.0.get();
        thread > IDLE && thread != attached_thread()
    }

    #[cold]
    fn wait_for_end(&self) -> Res<()> {
        WAITING.fetch_add(1, Ordering::Relaxed);
        let mut signals = Ok(());
        while signals.is_ok() && self.is_elsewhere() {
            // Read while this thread has the interpreter: a call that ends from here on changes the counter.
            let seen = *ended();
            detach(|| {
                let waited = BELL.wait_timeout_while(ended(), SIGNALS_EVERY, |now| *now == seen);
                drop(waited);
            });
            signals = check_signals();
        }
        WAITING.fetch_sub(1, Ordering::Relaxed);
        signals
    }
}

fn ended() -> std::sync::MutexGuard<'static, u64> {
    // The counter is valid even if a thread panicked while holding the lock.
    ENDED.lock().unwrap_or_else(PoisonError::into_inner)
}
