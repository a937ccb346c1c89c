//! How many clients that begin to speak are answered in one turn.
//!
//! No callback of a loop is as dear as the first step of a server's handshake: a third of a millisecond, and
//! for as long as the client takes to answer, OpenSSL holds 22 KiB more for it. When a crowd comes at once
//! and all of it is answered in one turn, everybody else waits for that, and so much memory is needed for
//! each at the same time; it lies between what stays, and is not given back. So a turn answers a few. The
//! others are left where they are: what nobody reads, the kernel reports again.

use std::cell::Cell;
use std::time::Instant;

/// A loop's count of them.
pub(crate) struct Hellos {
    /// How many this turn has answered.
    answered: Cell<u32>,
    /// When the last turn that put one off began to do so.
    put_off: Cell<Option<Instant>>,
    /// Until then, this turn may answer more than [`FEW`].
    until: Cell<Option<Instant>>,
}

/// In every turn, whatever else there is to do. For each of a crowd of a thousand, four times as many cost
/// 2.5 KiB more, fewer save nothing (2026-11-28).
const FEW: u32 = 16;

impl Hellos {
    pub(crate) const fn new() -> Hellos {
        Hellos { answered: Cell::new(0), put_off: Cell::new(None), until: Cell::new(None) }
    }

    /// The loop has looked for events.
    #[inline]
    pub(crate) fn begin_turn(&self) {
        if self.answered.replace(0) == 0 {
            // Who was put off did not wait.
            self.put_off.set(None);
        }
    }

    /// May another one be answered in this turn?
    ///
    /// Where the callbacks of a turn take long, a few in a turn would be fewer than come. So whoever was put
    /// off may take as long as everybody else has taken since.
    pub(super) fn may_answer(&self, now: impl Fn() -> Instant) -> bool {
        let answered = self.answered.get();
        if answered == 0 {
            let others = self.put_off.take().map(|put_off| (put_off, now()));
            self.until.set(others.map(|(begin, end)| end + (end - begin)));
        }
        if answered >= FEW && self.until.get().is_none_or(|until| now() >= until) {
            if self.put_off.get().is_none() {
                self.put_off.set(Some(now()));
            }
            return false;
        }
        self.answered.set(answered + 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// How many are answered in a turn, at a millisecond each, of a crowd without end.
    fn answered(hellos: &Hellos, time: &Cell<Instant>) -> u32 {
        hellos.begin_turn();
        let mut answered = 0;
        while hellos.may_answer(|| time.get()) {
            answered += 1;
            time.set(time.get() + MILLISECOND);
        }
        // So are those that have come with the last one.
        assert!(!hellos.may_answer(|| time.get()));
        answered
    }

    #[test]
    fn a_turn_answers_a_few() {
        let (hellos, time) = (Hellos::new(), Cell::new(Instant::now()));
        for _ in 0..3 {
            assert_eq!(answered(&hellos, &time), FEW);
        }
    }

    #[test]
    fn long_turns_answer_for_as_long_as_they_do_other_things() {
        let (hellos, time) = (Hellos::new(), Cell::new(Instant::now()));
        answered(&hellos, &time);
        for _ in 0..3 {
            time.set(time.get() + 100 * MILLISECOND);
            assert_eq!(answered(&hellos, &time), 100);
        }
    }

    #[test]
    fn who_was_put_off_and_went_away_leaves_no_time_to_others() {
        let (hellos, time) = (Hellos::new(), Cell::new(Instant::now()));
        answered(&hellos, &time);
        hellos.begin_turn();
        time.set(time.get() + 100 * MILLISECOND);
        assert_eq!(answered(&hellos, &time), FEW);
    }
}
