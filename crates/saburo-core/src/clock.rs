//! Time as a number, and the two clocks that hand it out.
//!
//! Time is an argument: nothing below the turn reads a clock, so whatever happens at a
//! moment can be tested at that moment, without waiting for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment: nanoseconds since the clock's epoch, 292 years before and after it.
///
/// ```
/// use saburo_core::Time;
/// use std::time::Duration;
///
/// let noon = Time::from_secs_f64(43_200.0);
/// let later = noon.saturating_add(Duration::from_millis(5));
/// assert_eq!(later.saturating_duration_since(noon), Duration::from_millis(5));
/// assert!(noon < later && later < Time::NEVER);
/// ```
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Time(i64);

impl Time {
    /// The clock's epoch.
    ///
    /// ```
    /// # use saburo_core::Time;
    /// assert_eq!(Time::ZERO.as_nanos(), 0);
    /// ```
    pub const ZERO: Time = Time(0);

    /// Later than every moment a clock can show. A timer set for it is kept but never due.
    ///
    /// ```
    /// # use saburo_core::Time;
    /// assert_eq!(Time::from_secs_f64(f64::INFINITY), Time::NEVER);
    /// ```
    pub const NEVER: Time = Time(i64::MAX);

    /// The moment so many nanoseconds after the epoch; [`Time::NEVER`] from 292 years on.
    ///
    /// ```
    /// # use saburo_core::Time;
    /// assert_eq!(Time::from_nanos(1_500_000_000).as_secs_f64(), 1.5);
    /// ```
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Self {
        if nanos > i64::MAX as u64 { Time::NEVER } else { Time(nanos as i64) }
    }

    /// Nanoseconds since the epoch, negative before it.
    ///
    /// ```
    /// # use saburo_core::Time;
    /// assert_eq!(Time::from_secs_f64(2e-9).as_nanos(), 2);
    /// ```
    #[inline]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Its place among all moments, for keys that are compared as one unsigned number.
    #[inline]
    pub(crate) const fn rank(self) -> u64 {
        // The sign bit turned over: the negative half comes first.
        self.0 as u64 ^ 1 << 63
    }

    /// The moment so many seconds after the epoch, to the nearest nanosecond.
    ///
    /// Saturates: what is too large, and infinity, is [`Time::NEVER`]; NaN is [`Time::ZERO`].
    ///
    /// ```
    /// # use saburo_core::Time;
    /// assert_eq!(Time::from_secs_f64(-1.0).as_nanos(), -1_000_000_000);
    /// assert_eq!(Time::from_secs_f64(f64::NAN), Time::ZERO);
    /// assert_eq!(Time::from_secs_f64(1e300), Time::NEVER);
    /// ```
    #[inline]
    pub fn from_secs_f64(secs: f64) -> Self {
        // Whole seconds and the rest apart: in one product the rounding of a late moment, some
        // half nanosecond, would be added to that of the sum. The casts are the saturation, for
        // Rust defines them for huge and NaN values; and a half added before one rounds without
        // a library call.
        let whole = secs as i64;
        let rest = ((secs - whole as f64) * 1e9 + 0.5_f64.copysign(secs)) as i64;
        Time(whole.saturating_mul(1_000_000_000).saturating_add(rest))
    }

    /// Seconds since the epoch; infinity for [`Time::NEVER`].
    ///
    /// For the first 2²³ seconds, 97 days, there and back again is the same nanosecond; from
    /// there on neighbours in `f64` are two nanoseconds and more apart.
    ///
    /// ```
    /// # use saburo_core::Time;
    /// assert_eq!(Time::from_nanos(250_000_000).as_secs_f64(), 0.25);
    /// assert_eq!(Time::NEVER.as_secs_f64(), f64::INFINITY);
    /// ```
    #[inline]
    pub fn as_secs_f64(self) -> f64 {
        if self == Time::NEVER {
            return f64::INFINITY;
        }
        self.0 as f64 / 1e9
    }

    /// This moment and a while, at most [`Time::NEVER`].
    ///
    /// ```
    /// # use saburo_core::Time;
    /// # use std::time::Duration;
    /// assert_eq!(Time::ZERO.saturating_add(Duration::from_secs(1)), Time::from_nanos(1_000_000_000));
    /// assert_eq!(Time::ZERO.saturating_add(Duration::MAX), Time::NEVER);
    /// ```
    #[inline]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Time(self.0.saturating_add(nanos))
    }

    /// How long after `earlier` this is; zero if it is not.
    ///
    /// ```
    /// # use saburo_core::Time;
    /// # use std::time::Duration;
    /// assert_eq!(Time::ZERO.saturating_duration_since(Time::NEVER), Duration::ZERO);
    /// ```
    #[inline]
    pub fn saturating_duration_since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

/// Where a [`Core`](crate::Core) reads the time: the machine's clock, or one set by hand.
///
/// ```
/// use saburo_core::Clock;
///
/// let clock = Clock::monotonic();
/// let then = clock.now();
/// assert!(clock.now() >= then);
/// ```
#[derive(Clone, Debug)]
pub struct Clock(Kind);

impl Clock {
    /// The machine's clock that never goes back: `CLOCK_MONOTONIC`, which on Linux is also
    /// what Python's `time.monotonic()` reads, so the two can be compared.
    ///
    /// ```
    /// assert!(saburo_core::Clock::monotonic().now() > saburo_core::Time::ZERO);
    /// ```
    pub fn monotonic() -> Self {
        Clock(Kind::Monotonic)
    }

    /// A clock that stands still, and the hand that moves it. For tests.
    ///
    /// ```
    /// use saburo_core::Clock;
    /// use std::time::Duration;
    ///
    /// let (clock, hand) = Clock::manual();
    /// hand.advance(Duration::from_secs(3600));
    /// assert_eq!(clock.now().as_secs_f64(), 3600.0);
    /// ```
    pub fn manual() -> (Self, ManualClock) {
        let hand = ManualClock { nanos: Arc::new(AtomicI64::new(0)) };
        (Clock(Kind::Manual(hand.clone())), hand)
    }

    /// What the clock shows.
    ///
    /// ```
    /// let (clock, _hand) = saburo_core::Clock::manual();
    /// assert_eq!(clock.now(), saburo_core::Time::ZERO);
    /// ```
    #[inline]
    pub fn now(&self) -> Time {
        match &self.0 {
            Kind::Monotonic => {
                let now = clock_gettime(ClockId::Monotonic);
                Time(now.tv_sec * 1_000_000_000 + now.tv_nsec)
            }
            Kind::Manual(hand) => Time(hand.nanos.load(Ordering::Relaxed)),
        }
    }
}

/// The hand of a manual clock: see [`Clock::manual`]. Clones move the same clock.
///
/// ```
/// use saburo_core::{Clock, Time};
///
/// let (clock, hand) = Clock::manual();
/// hand.set(Time::from_nanos(7));
/// assert_eq!(clock.now(), Time::from_nanos(7));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    nanos: Arc<AtomicI64>,
}

impl ManualClock {
    /// Move the clock on by a while.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let (clock, hand) = saburo_core::Clock::manual();
    /// hand.advance(Duration::from_nanos(2));
    /// hand.advance(Duration::from_nanos(3));
    /// assert_eq!(clock.now().as_nanos(), 5);
    /// ```
    pub fn advance(&self, by: Duration) {
        let now = Time(self.nanos.load(Ordering::Relaxed));
        self.set(now.saturating_add(by));
    }

    /// Put the clock to a moment, earlier ones included.
    ///
    /// ```
    /// # use saburo_core::{Clock, Time};
    /// let (clock, hand) = Clock::manual();
    /// hand.set(Time::from_secs_f64(9.0));
    /// assert_eq!(clock.now().as_secs_f64(), 9.0);
    /// ```
    pub fn set(&self, to: Time) {
        self.nanos.store(to.0, Ordering::Relaxed);
    }
}

#[derive(Clone, Debug)]
enum Kind {
    Monotonic,
    Manual(ManualClock),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_survive_the_way_there_and_back() {
        const SECOND: u64 = 1_000_000_000;
        // Around each power of two, where the distance between neighbours in f64 doubles.
        for power in 0..=23 {
            for nanos in 0..1000 {
                let after = Time::from_nanos((SECOND << power) - 1 - nanos * 7);
                assert_eq!(Time::from_secs_f64(after.as_secs_f64()), after);
            }
        }
        for nanos in [0, 1, SECOND / 2, SECOND + 1, (1 << 52) + 1] {
            let time = Time::from_nanos(nanos);
            assert_eq!(Time::from_secs_f64(time.as_secs_f64()), time);
        }
        assert_eq!(
            Time::from_secs_f64(Time::NEVER.as_secs_f64()),
            Time::NEVER,
            "infinity is never, both ways"
        );
    }

    #[test]
    fn seconds_beyond_the_digits_of_f64_are_off_by_their_distance_at_most() {
        for nanos in [8_999_999_999_999_999, 1 << 55, i64::MAX / 3] {
            let time = Time(nanos);
            let back = Time::from_secs_f64(time.as_secs_f64()).as_nanos();
            let distance = time.as_secs_f64().next_up() - time.as_secs_f64();
            assert!(back.abs_diff(nanos) as f64 <= distance * 1e9, "{nanos} came back as {back}");
        }
    }

    #[test]
    fn moments_before_the_epoch_keep_their_order() {
        let moments = [f64::NEG_INFINITY, -1e300, -5.5, -5.0, -1e-9, 0.0, 1e-9, 5.0].map(Time::from_secs_f64);
        assert!(moments.is_sorted());
        assert!(moments.map(Time::rank).is_sorted());
        assert_eq!(moments[2].as_nanos(), -5_500_000_000);
        assert_eq!(moments[2].as_secs_f64(), -5.5);
        assert_eq!(Time(7).saturating_duration_since(Time(-5)), Duration::from_nanos(12));
        assert_eq!(Time(-5).saturating_duration_since(Time(7)), Duration::ZERO);
        assert_eq!(Time::NEVER.saturating_duration_since(moments[0]), Duration::from_nanos(i64::MAX as u64));
    }

    #[test]
    fn seconds_out_of_range_saturate() {
        assert_eq!(Time::from_secs_f64(f64::NEG_INFINITY), Time(i64::MIN));
        assert_eq!(Time::from_secs_f64(-0.0), Time::ZERO);
        assert_eq!(Time::from_secs_f64(f64::MIN_POSITIVE), Time::ZERO);
        assert_eq!(Time::from_secs_f64(f64::MAX), Time::NEVER);
        assert_eq!(Time::from_secs_f64(1.9e10), Time::NEVER);
    }

    #[test]
    fn the_monotonic_clock_does_not_go_back() {
        let clock = Clock::monotonic();
        let mut last = clock.now();
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last, "{now:?} came after {last:?}");
            last = now;
        }
    }
}
