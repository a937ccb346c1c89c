//! The loop's side of its transports: which descriptors are watched for them, and what waits to be sent.

use std::os::fd::RawFd;
use std::sync::Once;

use saburo_core::{Admission, Core, Direction, Registration};

use crate::ffi::{Builder, Instance, Raised, Res, aside, int};

use super::watch;
use super::{Listeners, Loop, Ready, RunState, Transports};

impl Loop {
    #[inline]
    pub(crate) fn transports(&self) -> &Transports {
        &self.transports
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.phase.get() == RunState::Closed
    }

    /// Queues this whenever the descriptor is ready. `keep` gets the token that ends it.
    pub(crate) fn watch(
        &self,
        fd: RawFd,
        direction: Direction,
        ready: Ready,
        keep: impl FnOnce(Registration),
    ) -> Res<()> {
        watch::register(self, Core::register, fd, direction, ready, keep)
    }

    /// The same for one event.
    pub(crate) fn watch_once(
        &self,
        fd: RawFd,
        direction: Direction,
        ready: Ready,
        keep: impl FnOnce(Registration),
    ) -> Res<()> {
        watch::register(self, Core::register_once, fd, direction, ready, keep)
    }

    /// Ends a watch, unless it is over. What is queued already is told.
    pub(crate) fn unwatch(&self, registration: Registration) {
        let removed = self.core(|core| core.deregister(registration));
        // Let go of only now, with the engine no longer borrowed.
        drop(removed);
    }

    /// True if a watch goes on: false once another watch has taken the descriptor.
    #[inline]
    pub(crate) fn is_watched(&self, registration: Registration) -> bool {
        self.core(|core| core.is_registered(registration)).unwrap_or(false)
    }

    #[inline]
    pub(crate) fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Whether the descriptor is watched, for reading and for writing.
    pub(crate) fn watched(&self, fd: RawFd) -> (bool, bool) {
        let is_watched = |direction| self.core(|core| core.registration(fd, direction).is_some());
        (is_watched(Direction::Read).unwrap_or(false), is_watched(Direction::Write).unwrap_or(false))
    }

    /// Queues something for the next turn; in a forked child, whose parent has the loop, nothing.
    #[inline]
    pub(crate) fn push_unless_of_parent(&self, ready: Ready) -> Res<()> {
        self.push(ready).or_else(|raised| self.unless_of_parent(raised))
    }

    #[cold]
    fn unless_of_parent(&self, raised: Raised) -> Res<()> {
        if !self.is_of_parent() {
            return Err(raised);
        }
        raised.swallow();
        Ok(())
    }

    /// Is this a forked child, and its parent running the loop?
    #[inline]
    pub(crate) fn is_of_parent(&self) -> bool {
        self.phase.get() == RunState::OfParent
    }

    /// Is there nothing to run but what is running? Then the next turn would only look for events.
    #[inline]
    pub(crate) fn is_otherwise_idle(&self) -> bool {
        !self.stopping.get() && !self.has_jobs() && self.core(|core| core.ready_len() == 0).unwrap_or(false)
    }

    /// Will what is gathered now be sent at the end of a turn under way? Not if nobody runs the loop, or
    /// if another thread calls, against the rules, while it sleeps.
    #[inline]
    pub(crate) fn gathers(&self) -> bool {
        self.is_running() && !self.sleeping.get()
    }

    /// Has this sent at the end of the turn. No, where there is no memory to remember it: it is to be sent now.
    #[inline]
    pub(crate) fn send_later(&self, unsent: impl FnOnce() -> Ready) -> bool {
        let mut list = self.unsent.borrow_mut();
        if list.len() == list.capacity() && list.try_reserve(1).is_err() {
            return false;
        }
        list.push(unsent());
        true
    }

    /// How many new TLS clients are answered in this turn.
    #[inline]
    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Room for what the kernel brings. It comes back by [`put_buffer`](Loop::put_buffer).
    #[inline]
    pub(crate) fn take_buffer(&self) -> Res<Box<[u8]>> {
        match self.buffer.take() {
            Some(buffer) => Ok(buffer),
            None => new_buffer(),
        }
    }

    #[inline]
    pub(crate) fn put_buffer(&self, buffer: Box<[u8]>) {
        self.buffer.set(Some(buffer));
    }

    /// A stream of so many bytes has ended, and the next may be as long: its memory is not to go back to the
    /// kernel in between.
    #[inline]
    pub(crate) fn expect_as_much(&self, received: usize) {
        if received > self.expected.get() {
            self.expected.set(received);
            teach_malloc(received);
        }
    }
}

#[cold]
fn new_buffer() -> Res<Box<[u8]>> {
    keep_memory();
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(BUFFER)?;
    buffer.resize(BUFFER, 0);
    Ok(buffer.into_boxed_slice())
}

/// Has the allocator keep the memory of messages for the next ones. Called before the first.
pub(crate) fn keep_memory() {
    // What it keeps unasked, 128 KiB, is half a brk() per echo of 100 KiB, a fifth of all that it costs
    // (measured 2026-11-25).
    static ONCE: Once = Once::new();
    ONCE.call_once(|| let_malloc_keep(KEPT_ANYWAY));
}

/// A reader to the end has the stream twice for a moment, in pieces and joined.
///
/// What glibc would learn by itself, as the joined bytes are freed, is to keep exactly that, and a little
/// more is in use: so it would give everything back, and every stream would take it anew, page by page. That
/// was half the time of 16 MiB through `cat` (measured 2026-11-28). A quarter more is enough.
#[cold]
fn teach_malloc(received: usize) {
    if received <= LARGEST_KEPT {
        let_malloc_keep(received + received / 4);
    }
}

/// Lets glibc keep twice `size` bytes that are free at the end of its heap, instead of giving them back to
/// the kernel at once. It adapts to the largest block that was ever freed, of up to 32 MiB; nobody touches
/// this one, so it costs a mapping. To other allocators it means nothing.
fn let_malloc_keep(size: usize) {
    let mut block = Vec::<u8>::new();
    // Under a limit there may be no such block; then it learns nothing.
    let _ = block.try_reserve_exact(size);
    drop(std::hint::black_box(block));
}

/// The longest stream whose memory is kept for the next: glibc keeps two and a half times as much, and never
/// more than 64 MiB.
const LARGEST_KEPT: usize = 24 << 20;

/// As long a stream is no reason to keep more.
pub(super) const KEPT_ANYWAY: usize = 1 << 20;

/// As much as asyncio asks for at once. Kept, because a fresh one for each call is mapped and unmapped.
pub(crate) const BUFFER: usize = 256 * 1024;

/// Sends what transports have gathered in this turn. All of it, whatever one of them raises.
#[inline]
pub(super) fn send_unsent(this: &Instance<Loop>) -> Res<()> {
    if this.unsent.borrow().is_empty() { Ok(()) } else { run_unsent(this) }
}

fn run_unsent(this: &Instance<Loop>) -> Res<()> {
    let mut done: Res<()> = Ok(());
    let mut batch = Vec::new();
    loop {
        // Emptied by the round before: its memory serves the next turn.
        std::mem::swap(&mut batch, &mut *this.unsent.borrow_mut());
        if batch.is_empty() {
            return done;
        }
        for unsent in &batch {
            done = match done {
                Ok(()) => unsent.run(this),
                Err(raised) => {
                    aside(|| {
                        if let Err(other) = unsent.run(this) {
                            Raised::unraisable(other, unsent.as_object());
                        }
                    });
                    Err(raised)
                }
            };
        }
        batch.clear();
    }
}

/// In a forked child: the transports are the parent's, with what they have not sent yet.
pub(super) fn leave_to_parent(this: &Loop) -> Res<()> {
    let (transports, unsent) = (this.transports.take(), this.unsent.take());
    let left = transports.iter().flatten().try_for_each(|transport| transport.leave_to_parent());
    std::mem::forget((transports, this.listeners.take(), unsent));
    left
}

/// The loop is taken apart: transports that are left are nobody's.
pub(super) fn abandon(this: &Loop) {
    let unsent = std::mem::take(&mut *this.unsent.borrow_mut());
    drop((this.transports.take(), this.listeners.take(), unsent));
    this.buffer.set(None);
}

pub(super) fn describe(builder: Builder<Loop>) -> Builder<Loop> {
    builder
        .noargs(c"_send_gathered", send_unsent, c"Sends now what was written to transports in this turn.")
        .one(
            c"_ensure_fd_no_transport",
            watch::ensure_free,
            c"_ensure_fd_no_transport(fd): RuntimeError if a transport has the descriptor, ValueError if it is none.",
        )
        .noargs(
            c"_open_transports",
            |this| int(this.transports.len() as i64),
            c"How many transports are open.",
        )
}
