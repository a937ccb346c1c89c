//! Flow control: the writer of a buffer pauses at the high mark and goes on at the low one.

use std::cell::Cell;

/// The marks of a buffer, and whether its writer was told to pause.
///
/// Marks and sizes are of one type: `usize` for a transport, `f64` where a program may set a mark of
/// infinity, as asyncio's TLS lets it.
///
/// ```
/// use saburo_core::{Marks, Pause, Signal};
///
/// let marks = Marks::new(64, 16, Pause::Above);
/// assert_eq!(marks.update(64), None);
/// assert_eq!(marks.update(65), Some(Signal::Pause));
/// assert_eq!(marks.update(17), None);
/// assert_eq!(marks.update(16), Some(Signal::Resume));
/// ```
#[derive(Debug)]
pub struct Marks<N: Copy> {
    high: Cell<N>,
    low: Cell<N>,
    pause: Pause,
    /// Told to pause, and not to go on since.
    paused: Cell<bool>,
}

/// Where the writer of the buffer pauses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pause {
    /// Above the high mark: asyncio's transports.
    Above,
    /// At the high mark: asyncio's TLS.
    At,
}

/// What to tell the writer of the buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// Stop.
    Pause,
    /// Go on.
    Resume,
}

impl<N: Copy + PartialOrd> Marks<N> {
    /// Marks of a buffer that has no writer yet.
    pub const fn new(high: N, low: N, pause: Pause) -> Marks<N> {
        Marks { high: Cell::new(high), low: Cell::new(low), pause, paused: Cell::new(false) }
    }

    /// Sets the marks. What they mean for the buffer as it is, the next [`update`](Self::update) says.
    pub fn set(&self, high: N, low: N) {
        self.high.set(high);
        self.low.set(low);
    }

    /// The high mark.
    #[inline]
    pub fn high(&self) -> N {
        self.high.get()
    }

    /// The low mark.
    #[inline]
    pub fn low(&self) -> N {
        self.low.get()
    }

    /// True if the writer of the buffer is paused.
    #[inline]
    pub fn is_paused(&self) -> bool {
        self.paused.get()
    }

    /// What follows of a buffer of this size. The caller passes it on, and tells with
    /// [`obey`](Self::obey) that it has.
    #[inline]
    pub fn signal(&self, size: N) -> Option<Signal> {
        if self.paused.get() {
            (size <= self.low.get()).then_some(Signal::Resume)
        } else {
            let full = match self.pause {
                Pause::Above => size > self.high.get(),
                Pause::At => size >= self.high.get(),
            };
            full.then_some(Signal::Pause)
        }
    }

    /// The signal is passed on.
    #[inline]
    pub fn obey(&self, signal: Signal) {
        self.paused.set(signal == Signal::Pause);
    }

    /// What follows of a buffer of this size, for a caller that will certainly pass it on.
    #[inline]
    pub fn update(&self, size: N) -> Option<Signal> {
        let signal = self.signal(size);
        if let Some(signal) = signal {
            self.obey(signal);
        }
        signal
    }
}

/// Both marks of a buffer from those that were given, by asyncio's rule: a quarter of the high mark is the low
/// one, four times the low mark is the high one, `high` is the high one if neither is given.
///
/// ```
/// use saburo_core::both_marks;
///
/// assert_eq!(both_marks(None, None, 65_536), Ok((65_536, 16_384)));
/// assert_eq!(both_marks(None, Some(10), 65_536), Ok((40, 10)));
/// assert_eq!(both_marks(Some(10), None, 65_536), Ok((10, 2)));
/// ```
///
/// # Errors
///
/// The two, if `high >= low >= 0` is not true of them.
pub fn both_marks(high: Option<i64>, low: Option<i64>, default: i64) -> Result<(i64, i64), (i64, i64)> {
    let high = high.unwrap_or_else(|| low.map_or(default, |low| low.saturating_mul(4)));
    let low = low.unwrap_or(high.div_euclid(4));
    if high >= low && low >= 0 { Ok((high, low)) } else { Err((high, low)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_the_marks_nothing_is_said_twice() {
        let marks = Marks::new(10, 4, Pause::Above);
        let said: Vec<_> = [3, 10, 11, 12, 5, 4, 11, 0].map(|size| marks.update(size)).into();
        let (pause, resume) = (Some(Signal::Pause), Some(Signal::Resume));
        assert_eq!(said, [None, None, pause, None, None, resume, pause, resume]);
    }

    #[test]
    fn tls_pauses_at_the_mark_itself() {
        let marks = Marks::new(10.0, 4.0, Pause::At);
        assert_eq!(marks.update(9.0), None);
        assert_eq!(marks.update(10.0), Some(Signal::Pause));
    }

    #[test]
    fn infinity_never_pauses() {
        let marks = Marks::new(f64::INFINITY, 0.0, Pause::At);
        assert_eq!(marks.update(1e300), None);
    }

    #[test]
    fn a_signal_that_could_not_be_passed_on_is_given_again() {
        let marks = Marks::new(1, 0, Pause::Above);
        assert_eq!(marks.signal(2), Some(Signal::Pause));
        assert_eq!(marks.signal(2), Some(Signal::Pause));
        marks.obey(Signal::Pause);
        assert!(marks.is_paused());
        assert_eq!(marks.signal(2), None);
    }

    #[test]
    fn new_marks_count_from_the_next_update_on() {
        let marks = Marks::new(10, 4, Pause::Above);
        marks.set(1, 0);
        assert_eq!(marks.update(2), Some(Signal::Pause));
        marks.set(10, 4);
        assert_eq!(marks.update(4), Some(Signal::Resume));
        assert_eq!((marks.high(), marks.low()), (10, 4));
    }

    #[test]
    fn marks_that_contradict_each_other_are_handed_back() {
        assert_eq!(both_marks(Some(1), Some(2), 8), Err((1, 2)));
        assert_eq!(both_marks(None, Some(-1), 8), Err((-4, -1)));
        assert_eq!(both_marks(Some(-1), None, 8), Err((-1, -1)));
        assert_eq!(both_marks(Some(0), None, 8), Ok((0, 0)));
        assert_eq!(both_marks(None, Some(i64::MAX), 8), Ok((i64::MAX, i64::MAX)));
    }
}
