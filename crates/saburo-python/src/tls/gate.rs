//! One direction of flow control: closed at the upper mark, open again at the lower one.

use std::cell::Cell;

/// Two marks, and whether whoever fills the buffer has been told to stop.
pub(super) struct Gate {
    /// In bytes. Python's numbers: a program may well say `float("inf")`.
    high: Cell<f64>,
    low: Cell<f64>,
    closed: Cell<bool>,
}

/// What is to be told to whoever fills the buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Signal {
    Pause,
    Resume,
}

impl Gate {
    /// Closes at `high` KiB, opens at a quarter of it.
    pub(super) fn at_kib(high: u32) -> Gate {
        let high = f64::from(high) * 1024.0;
        Gate { high: Cell::new(high), low: Cell::new(high / 4.0), closed: Cell::new(false) }
    }

    pub(super) fn set_marks(&self, high: f64, low: f64) {
        self.high.set(high);
        self.low.set(low);
    }

    pub(super) fn marks(&self) -> (f64, f64) {
        (self.high.get(), self.low.get())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Closes or opens the gate for a buffer of `size` bytes; says so if it does. At the marks themselves
    /// it does, too.
    #[inline]
    pub(super) fn update(&self, size: usize) -> Option<Signal> {
        let size = size as f64;
        if !self.closed.get() && size >= self.high.get() {
            self.closed.set(true);
            Some(Signal::Pause)
        } else if self.closed.get() && size <= self.low.get() {
            self.closed.set(false);
            Some(Signal::Resume)
        } else {
            None
        }
    }
}
