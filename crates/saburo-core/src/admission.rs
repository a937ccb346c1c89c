//! How many new TLS clients a server answers in one turn.
//!
//! The first step of a handshake costs a third of a millisecond, more than any other callback of a loop, and
//! OpenSSL holds 22 KiB for the client until it replies. If a turn answered a whole crowd, everybody else would
//! wait, and the memory for all of them would be needed at once; it lies between blocks that stay, so it is not
//! given back. So a turn answers a few clients. The host leaves the others unread, and the kernel reports them
//! again in the next turn.

use std::cell::Cell;

use crate::clock::Time;

/// Counts the clients that a turn answers, and says when it may answer no more.
///
/// ```
/// use saburo_core::{Admission, Time};
///
/// let admission = Admission::new();
/// admission.begin_turn();
/// let answered = (0..1000).filter(|_| admission.may_answer(|| Time::ZERO)).count();
/// assert_eq!(answered, 16);
/// ```
#[derive(Debug)]
pub struct Admission {
    /// How many clients this turn has answered.
    answered: Cell<u32>,
    /// When the last turn that put a client off began to do so.
    put_off: Cell<Option<Time>>,
    /// This turn may answer more than [`FEW`] until then.
    until: Cell<Option<Time>>,
}

/// A turn answers so many, whatever else it has to do. For each client of a crowd of a thousand, four times as
/// many cost 2.5 KiB more, and fewer save nothing (2026-11-28).
const FEW: u32 = 16;

impl Admission {
    /// One that has answered no client.
    pub const fn new() -> Admission {
        Admission { answered: Cell::new(0), put_off: Cell::new(None), until: Cell::new(None) }
    }

    /// The loop has looked for events: the count begins anew.
    #[inline]
    pub fn begin_turn(&self) {
        if self.answered.replace(0) == 0 {
            // The clients that were put off have gone, or the kernel would have reported them.
            self.put_off.set(None);
        }
    }

    /// May this turn answer one more client? If so, that client is counted.
    ///
    /// If the other callbacks of a turn take long, a few clients in a turn would be fewer than arrive. So the
    /// clients that were put off may take as much time as everything else has taken since.
    ///
    /// `now` is called only if a client was put off or is about to be.
    pub fn may_answer(&self, now: impl Fn() -> Time) -> bool {
        let answered = self.answered.get();
        if answered == 0 {
            let others = self.put_off.take().map(|put_off| (put_off, now()));
            self.until
                .set(others.map(|(begin, end)| end.saturating_add(end.saturating_duration_since(begin))));
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

impl Default for Admission {
    fn default() -> Self {
        Admission::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// A turn of a server, a millisecond for each client, with more clients than it can answer.
    fn turn(admission: &Admission, time: &Cell<Time>) -> u32 {
        admission.begin_turn();
        let mut answered = 0;
        while admission.may_answer(|| time.get()) {
            answered += 1;
            pass(time, MILLISECOND);
        }
        // Those that came in the meantime are put off as well.
        assert!(!admission.may_answer(|| time.get()));
        answered
    }

    fn pass(time: &Cell<Time>, span: Duration) {
        time.set(time.get().saturating_add(span));
    }

    #[test]
    fn a_turn_answers_a_few() {
        let (admission, time) = (Admission::new(), Cell::new(Time::ZERO));
        for _ in 0..3 {
            assert_eq!(turn(&admission, &time), FEW);
        }
    }

    #[test]
    fn a_turn_answers_clients_for_as_long_as_the_other_callbacks_took() {
        let (admission, time) = (Admission::new(), Cell::new(Time::ZERO));
        turn(&admission, &time);
        for _ in 0..3 {
            pass(&time, 100 * MILLISECOND);
            assert_eq!(turn(&admission, &time), 100);
        }
    }

    #[test]
    fn a_client_that_leaves_while_it_waits_gives_its_time_to_nobody() {
        let (admission, time) = (Admission::new(), Cell::new(Time::ZERO));
        turn(&admission, &time);
        admission.begin_turn();
        pass(&time, 100 * MILLISECOND);
        assert_eq!(turn(&admission, &time), FEW);
    }

    #[test]
    fn a_turn_that_puts_nobody_off_reads_no_clock() {
        let admission = Admission::new();
        for _ in 0..3 {
            admission.begin_turn();
            for _ in 0..FEW {
                assert!(admission.may_answer(|| unreachable!("nobody was put off")));
            }
        }
    }
}
