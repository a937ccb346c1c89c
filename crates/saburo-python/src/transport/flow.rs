//! Flow control: a protocol is paused while more waits to be sent than the high-water mark says, and goes on
//! once no more than the low-water mark is left.

use std::cell::Cell;

use crate::event_loop::Loop;
use crate::ffi::{Args, Instance, Obj, Object, Params, Res, Slot, builtin, int, raise, tuple};

use super::protocol;

/// The marks, in bytes, and whether the protocol is paused.
pub(super) struct Flow {
    pub(super) high: Cell<usize>,
    low: Cell<usize>,
    /// pause_writing() was called, and resume_writing() was not.
    paused: Cell<bool>,
}

/// asyncio's marks: pause at 64 KiB, go on at a quarter of it.
const HIGH: usize = 64 * 1024;
const LOW: usize = HIGH / 4;

impl Flow {
    pub(super) const fn new() -> Flow {
        Flow { high: Cell::new(HIGH), low: Cell::new(LOW), paused: Cell::new(false) }
    }

    /// Was the protocol told to pause, and not to go on since?
    pub(super) fn is_paused(&self) -> bool {
        self.paused.get()
    }

    /// Tells the protocol to stop writing, if more than the high-water mark waits.
    #[inline]
    pub(super) fn pause_if_full(
        &self,
        event_loop: &Instance<Loop>,
        transport: &Object,
        protocol: &Slot,
        waiting: usize,
    ) -> Res<()> {
        if waiting <= self.high.get() || self.paused.get() {
            return Ok(());
        }
        let Some(target) = protocol.get() else { return Ok(()) };
        self.paused.set(true);
        protocol::throttle(event_loop, transport, &target, true)
    }

    /// Tells the protocol to go on writing, if no more than the low-water mark waits.
    #[inline]
    pub(super) fn resume_if_drained(
        &self,
        event_loop: &Instance<Loop>,
        transport: &Object,
        protocol: &Slot,
        waiting: usize,
    ) -> Res<()> {
        if !self.paused.get() || waiting > self.low.get() {
            return Ok(());
        }
        let Some(target) = protocol.get() else { return Ok(()) };
        self.paused.set(false);
        protocol::throttle(event_loop, transport, &target, false)
    }

    /// `set_write_buffer_limits(high=None, low=None)`. Whoever calls this pauses the protocol next, if need be.
    pub(super) fn set_limits(&self, args: Args<'_>) -> Res<()> {
        const PARAMS: Params<2> = Params {
            function: "set_write_buffer_limits",
            names: ["high", "low"],
            required: 0,
            positional: 2,
        };
        let [high, low] = args.bind(&PARAMS)?;
        let given = |limit: Option<&Object>| {
            limit.filter(|limit| !limit.is_none()).map(|limit| limit.as_i64()).transpose()
        };
        let (given_high, given_low) = (given(high)?, given(low)?);
        let high = given_high.unwrap_or_else(|| given_low.map_or(HIGH as i64, |low| low.saturating_mul(4)));
        let low = given_low.unwrap_or(high.div_euclid(4));
        if !(high >= low && low >= 0) {
            let message = format!("high ({high}) must be >= low ({low}) must be >= 0");
            return raise(builtin::value_error(), &message);
        }
        self.high.set(high as usize);
        self.low.set(low as usize);
        Ok(())
    }

    /// `(low, high)`
    pub(super) fn limits(&self) -> Res<Obj> {
        tuple([&*int(self.low.get() as i64)?, &*int(self.high.get() as i64)?].into_iter())
    }
}
