//! Pace: how often to look at the descriptors while there is work to do.
//!
//! A poll is a system call, and worth more than that where the host lets go of a lock for it. The rule:
//!
//! - With a descriptor registered, poll every turn: what runs expects input to have moved since.
//! - But not in the turn after a sleep that brought something. In it runs what the news have woken, and a
//!   server with few clients would poll twice for each message.
//! - Once [`QUIET_POLLS`] polls in a row have brought nothing, poll every [`TURNS`] turns, and at least about
//!   every [`PATIENCE`], until one brings something.
//! - With nothing registered, poll that seldom from the start.
//! - Where another thread waits for a poll, poll every turn.
//!
//! With nothing to do there is nothing to decide: the loop sleeps in the selector.

use std::time::Duration;

use crate::clock::Time;

#[derive(Debug)]
pub(crate) struct Pace {
    /// Turns since the last poll.
    turns: u32,
    /// Polls in a row that brought nothing while there was work to do.
    quiet: u64,
    /// The last poll slept until it had news.
    slept_for_news: bool,
    /// After how many turns to read the clock next.
    next_look: u32,
    /// When the clock was first read after the last poll.
    first_look: Option<Time>,
}

impl Pace {
    pub(crate) const fn new() -> Pace {
        Pace { turns: 0, quiet: 0, slept_for_news: false, next_look: 1, first_look: None }
    }

    /// Whether this turn is to poll; `now` is asked seldom.
    ///
    /// `watching`: a descriptor is registered. `awaited`: another thread waits for a poll.
    #[inline]
    pub(crate) fn poll_is_due(&mut self, watching: bool, awaited: bool, now: impl FnOnce() -> Time) -> bool {
        if awaited {
            return true;
        }
        if watching && self.quiet < QUIET_POLLS {
            return !std::mem::replace(&mut self.slept_for_news, false);
        }
        self.turns += 1;
        self.turns >= TURNS || self.turns >= self.next_look && self.look(now())
    }

    /// A poll is over. `idle`: there was nothing else to do, so it could sleep. `brought`: it had news.
    #[inline]
    pub(crate) fn polled(&mut self, idle: bool, brought: bool) {
        self.slept_for_news = idle && brought;
        self.quiet = if idle || brought { 0 } else { self.quiet + 1 };
        if self.turns > 0 {
            (self.turns, self.next_look, self.first_look) = (0, 1, None);
        }
    }

    /// Whether it was too long ago; if not, reckons from the pace so far when to read the clock again.
    #[cold]
    fn look(&mut self, now: Time) -> bool {
        let Some(first) = self.first_look else {
            self.first_look = Some(now);
            self.next_look = self.turns + 1;
            return false;
        };
        let elapsed = now.saturating_duration_since(first);
        if elapsed >= PATIENCE {
            return true;
        }
        let per_turn = elapsed / self.turns;
        let left = (PATIENCE - elapsed).as_nanos() / (2 * per_turn.as_nanos()).max(1);
        self.next_look = self.turns + (left as u32).clamp(1, TURNS);
        false
    }
}

const QUIET_POLLS: u64 = 64;
const TURNS: u32 = 61;
const PATIENCE: Duration = Duration::from_micros(100);

#[cfg(test)]
mod tests {
    use super::*;

    /// A loop that always has work to do, and whose turns take some time each.
    struct Busy {
        pace: Pace,
        watching: bool,
        a_turn: Duration,
        now: Time,
        looks: u32,
    }

    impl Busy {
        fn new(watching: bool, a_turn: Duration) -> Busy {
            Busy { pace: Pace::new(), watching, a_turn, now: Time::ZERO, looks: 0 }
        }

        /// Turns up to and with the next that polls.
        fn turns_to_poll(&mut self, awaited: bool) -> u32 {
            for turn in 1.. {
                let (now, looks) = (self.now, &mut self.looks);
                let due = self.pace.poll_is_due(self.watching, awaited, || {
                    *looks += 1;
                    now
                });
                self.now = self.now.saturating_add(self.a_turn);
                if due {
                    return turn;
                }
            }
            unreachable!("it polls in the end")
        }

        /// The same, `polls` times; all of them bring nothing.
        fn quiet_polls(&mut self, polls: usize) -> Vec<u32> {
            std::iter::repeat_with(|| {
                let turns = self.turns_to_poll(false);
                self.pace.polled(false, false);
                turns
            })
            .take(polls)
            .collect()
        }
    }

    const FAST: Duration = Duration::from_nanos(100);
    const SLOW: Duration = Duration::from_micros(30);

    #[test]
    fn with_a_descriptor_it_polls_every_turn() {
        assert_eq!(Busy::new(true, FAST).quiet_polls(10), [1; 10]);
    }

    #[test]
    fn without_one_it_polls_every_61_turns() {
        assert_eq!(Busy::new(false, FAST).quiet_polls(10), [61; 10]);
    }

    #[test]
    fn the_turn_after_a_sleep_that_brought_something_does_not_poll() {
        let mut busy = Busy::new(true, FAST);
        busy.pace.polled(true, true);
        assert_eq!(busy.quiet_polls(3), [2, 1, 1], "and the one after that does");
    }

    #[test]
    fn the_turn_after_a_sleep_that_brought_nothing_polls() {
        let mut busy = Busy::new(true, FAST);
        busy.pace.polled(true, false);
        assert_eq!(busy.quiet_polls(1), [1]);
    }

    #[test]
    fn the_turn_after_news_that_it_did_not_sleep_for_polls() {
        let mut busy = Busy::new(true, FAST);
        busy.pace.polled(false, true);
        assert_eq!(busy.quiet_polls(1), [1]);
    }

    #[test]
    fn after_64_polls_that_brought_nothing_it_polls_every_61_turns() {
        let mut busy = Busy::new(true, FAST);
        assert_eq!(busy.quiet_polls(64), [1; 64]);
        assert_eq!(busy.quiet_polls(5), [61; 5]);
    }

    #[test]
    fn one_poll_that_brings_something_makes_it_poll_every_turn_again() {
        let mut busy = Busy::new(true, FAST);
        busy.quiet_polls(70);
        busy.turns_to_poll(false);
        busy.pace.polled(false, true);
        assert_eq!(busy.quiet_polls(64), [1; 64]);
        assert_eq!(busy.quiet_polls(1), [61]);
    }

    #[test]
    fn a_sleep_makes_it_poll_every_turn_again() {
        let mut busy = Busy::new(true, FAST);
        busy.quiet_polls(70);
        busy.pace.polled(true, false);
        assert_eq!(busy.quiet_polls(2), [1, 1]);
    }

    #[test]
    fn slow_turns_poll_about_every_100_microseconds() {
        let turns = Busy::new(false, SLOW).quiet_polls(20);
        assert!(turns.iter().all(|&turns| (3..=6).contains(&turns)), "{turns:?} turns of 30 µs");
    }

    #[test]
    fn where_a_thread_waits_it_polls_every_turn() {
        let mut busy = Busy::new(false, FAST);
        for _ in 0..100 {
            assert_eq!(busy.turns_to_poll(true), 1);
            busy.pace.polled(false, false);
        }
    }

    #[test]
    fn fast_turns_read_the_clock_twice_between_two_polls() {
        let mut busy = Busy::new(false, FAST);
        busy.quiet_polls(100);
        assert!(busy.looks <= 200, "{} times in 6,100 turns", busy.looks);
    }

    #[test]
    fn polling_every_turn_reads_no_clock() {
        let mut busy = Busy::new(true, FAST);
        busy.quiet_polls(64);
        assert_eq!(busy.looks, 0);
    }
}
