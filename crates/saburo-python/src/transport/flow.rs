//! Flow control: a protocol is paused while more bytes wait to be sent than the high-water mark allows, and
//! resumes once no more than the low-water mark is left.

use std::cell::Cell;

use saburo_core::{Marks, Pause, Signal, both_marks};

use crate::event_loop::Loop;
use crate::ffi::{Args, Instance, Obj, Object, Params, Res, Slot, builtin, int, none, raise, tuple};
use crate::names;

use super::protocol;

/// The marks, in bytes, and whether the protocol is paused: after `pause_writing()` and before
/// `resume_writing()`.
pub(super) struct Flow {
    marks: Marks<usize>,
    /// Gathered bytes wait for the end of the turn while there are no more than this.
    batch: Cell<usize>,
}

/// asyncio's marks: pause at 64 KiB, resume at a quarter of it.
const HIGH: usize = 64 * 1024;
const LOW: usize = HIGH / 4;
/// How many bytes small writes may gather if the program has not set the marks and the kernel has room. Each
/// system call ends with a packet of a few bytes after the full ones. With the high-water mark as the limit,
/// a program that writes 64 KiB at a time makes calls of twice that: programs that drain after each write
/// then cost a third more. Twice this value did not help (measured 2026-11-28).
const BATCH: usize = 4 * HIGH;

impl Flow {
    pub(super) const fn new() -> Flow {
        Flow { marks: Marks::new(HIGH, LOW, Pause::Above), batch: Cell::new(BATCH) }
    }

    /// True after the protocol was told to pause, until it is told to resume.
    pub(super) fn is_paused(&self) -> bool {
        self.marks.is_paused()
    }

    /// The high-water mark: a call that writes more bytes than this sends them at once.
    #[inline]
    pub(super) fn high(&self) -> usize {
        self.marks.high()
    }

    /// True if the bytes of one call may wait for the end of the turn, together with the bytes that wait
    /// already. Above the high-water mark they may wait only if the kernel has room, so that a protocol that
    /// should pause does not continue. A large write does not wait: its bytes are in the CPU caches now, and
    /// its memory becomes free for the next connection.
    #[inline]
    pub(super) fn may_gather(
        &self,
        written: usize,
        waiting: usize,
        has_room: impl FnOnce(usize) -> bool,
    ) -> bool {
        let high = self.high();
        written <= high && (waiting <= high || (waiting <= self.batch.get() && has_room(self.batch.get())))
    }

    /// Tells the protocol to stop writing, if more bytes wait than the high-water mark.
    #[inline]
    pub(super) fn pause_if_full(
        &self,
        event_loop: &Instance<Loop>,
        transport: &Object,
        protocol: &Slot,
        waiting: usize,
    ) -> Res<()> {
        if self.marks.signal(waiting) != Some(Signal::Pause) {
            return Ok(());
        }
        let Some(target) = protocol.get() else { return Ok(()) };
        self.marks.obey(Signal::Pause);
        protocol::throttle(event_loop, transport, &target, true)
    }

    /// Tells the protocol to resume writing, if no more bytes wait than the low-water mark.
    #[inline]
    pub(super) fn resume_if_drained(
        &self,
        event_loop: &Instance<Loop>,
        transport: &Object,
        protocol: &Slot,
        waiting: usize,
    ) -> Res<()> {
        if self.marks.signal(waiting) != Some(Signal::Resume) {
            return Ok(());
        }
        let Some(target) = protocol.get() else { return Ok(()) };
        self.marks.obey(Signal::Resume);
        protocol::throttle(event_loop, transport, &target, false)
    }

    /// `set_write_buffer_limits(high=None, low=None)`. The caller then pauses the protocol if necessary.
    pub(super) fn set_limits(&self, args: Args<'_>) -> Res<()> {
        const PARAMS: Params<2> = Params {
            function: "_FlowControlMixin.set_write_buffer_limits",
            names: ["high", "low"],
            required: 0,
            positional: 2,
        };
        let [high, low] = args.bind(&PARAMS)?;
        let (Some(given_high), Some(given_low)) = (small(high), small(low)) else {
            return self.set_any(high, low);
        };
        match both_marks(given_high, given_low, HIGH as i64) {
            Ok((high, low)) => {
                self.set(high, low);
                Ok(())
            }
            Err((high, low)) => {
                let message = format!("high ({high}) must be >= low ({low}) must be >= 0");
                raise(builtin::value_error(), &message)
            }
        }
    }

    /// The same for any object that compares with numbers. A mark counts whole bytes; a mark beyond the
    /// largest possible size is no mark.
    #[cold]
    fn set_any(&self, high: Option<&Object>, low: Option<&Object>) -> Res<()> {
        let (high, low) = any_marks(high, low, HIGH as i64 / 1024)?;
        self.set(whole(&high)?, whole(&low)?);
        Ok(())
    }

    /// A mark that a program sets is strict: bytes above it are sent at once.
    fn set(&self, high: i64, low: i64) {
        self.marks.set(high as usize, low as usize);
        self.batch.set(high as usize);
    }

    /// `(low, high)`
    pub(super) fn limits(&self) -> Res<Obj> {
        tuple([&*int(self.marks.low() as i64)?, &*int(self.marks.high() as i64)?].into_iter())
    }
}

/// Both marks from those given, which may be any objects that compare with numbers: `both_marks` in Python.
/// `kib` is the high mark if neither is given.
#[cold]
pub(crate) fn any_marks(high: Option<&Object>, low: Option<&Object>, kib: i64) -> Res<(Obj, Obj)> {
    let none = none();
    let both = names::flow_marks()?.call(&[high.unwrap_or(&none), low.unwrap_or(&none), &*int(kib)?])?;
    match (both.tuple_item(0), both.tuple_item(1)) {
        (Some(high), Some(low)) => Ok((high, low)),
        _ => raise(builtin::type_error(), "two marks were expected"),
    }
}

/// A limit in its usual form: None, or an int of ordinary size. Returns nothing for any other object.
fn small(limit: Option<&Object>) -> Option<Option<i64>> {
    match limit {
        Some(limit) if limit.is_int() => match limit.as_i64() {
            Ok(limit) => Some(Some(limit)),
            Err(raised) => {
                raised.swallow();
                None
            }
        },
        Some(limit) if !limit.is_none() => None,
        _ => Some(None),
    }
}

/// A mark that is not negative, in whole bytes.
fn whole(mark: &Object) -> Res<i64> {
    match small(Some(mark)) {
        Some(Some(bytes)) => Ok(bytes),
        _ if mark.is_int() => Ok(i64::MAX),
        _ => mark.as_f64().map(|bytes| bytes as i64),
    }
}
