//! When the bytes of a stream leave: at the end of the turn, now, or once the kernel has room.
//!
//! What is written in a turn leaves in one system call when the turn is over. This file knows where a stream
//! stands; the host holds the bytes, the list of streams that send at the end of the turn, and the
//! registration that tells of room.

use std::cell::Cell;

/// Where a stream stands with what it has to send. It is one fact: a stream is either listed to send or waits
/// for room.
///
/// ```
/// use saburo_core::{AfterWrite, Outgoing};
///
/// let outgoing = Outgoing::at_end_of_turn();
/// assert_eq!(outgoing.after_write(true), AfterWrite::List);
/// outgoing.list();
/// assert_eq!(outgoing.after_write(true), AfterWrite::Wait); // leaves with the first write
/// outgoing.end_turn();
/// assert!(outgoing.block()); // the kernel took only a part: wait for the event of room
/// assert_eq!(outgoing.after_write(true), AfterWrite::Wait);
/// ```
#[derive(Debug)]
pub struct Outgoing {
    state: Cell<State>,
    /// Every write sends at once, since somebody else may use the descriptor at any time.
    at_once: Cell<bool>,
    /// The kernel has room for all that may be gathered. Asked once between two sends, since nobody else
    /// fills it.
    has_room: Cell<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The next write puts the stream into the list of those that send at the end of the turn.
    Idle,
    /// It is in that list.
    Listed,
    /// It is in that list, and a drain has sent something in this turn.
    Drained,
    /// The kernel has no room: an event tells when it has.
    Blocked,
}

/// What a host does after something was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterWrite {
    /// Nothing: it leaves with what waits already.
    Wait,
    /// Send.
    Send,
    /// List the stream and call [`Outgoing::list`]; send if there is no memory to list it.
    List,
}

impl Outgoing {
    /// A stream whose writes leave together at the end of the turn.
    pub const fn at_end_of_turn() -> Outgoing {
        Outgoing { state: Cell::new(State::Idle), at_once: Cell::new(false), has_room: Cell::new(false) }
    }

    /// A stream whose writes leave at once, as those of pipes and datagrams do.
    pub const fn at_once() -> Outgoing {
        Outgoing { state: Cell::new(State::Idle), at_once: Cell::new(true), has_room: Cell::new(false) }
    }

    /// What to do with what was just written; `may_gather` if it may wait for the end of the turn.
    #[inline]
    pub fn after_write(&self, may_gather: bool) -> AfterWrite {
        match self.state.get() {
            State::Blocked => AfterWrite::Wait,
            _ if !may_gather || self.at_once.get() => AfterWrite::Send,
            State::Idle => AfterWrite::List,
            State::Listed | State::Drained => AfterWrite::Wait,
        }
    }

    /// The host has put the stream into the list of those that send at the end of the turn.
    #[inline]
    pub fn list(&self) {
        self.state.set(State::Listed);
    }

    /// True if something may be waiting for the end of the turn.
    #[inline]
    pub fn is_listed(&self) -> bool {
        matches!(self.state.get(), State::Listed | State::Drained)
    }

    /// A drain sends what waits for the end of the turn. Later drains of the turn may leave it there.
    #[inline]
    pub fn drain(&self) {
        if self.is_listed() {
            self.state.set(State::Drained);
        }
    }

    /// True if a drain has sent something in this turn.
    #[inline]
    pub fn has_drained(&self) -> bool {
        self.state.get() == State::Drained
    }

    /// The turn is over, and the stream is in the list no longer.
    #[inline]
    pub fn end_turn(&self) {
        if self.is_listed() {
            self.state.set(State::Idle);
        }
    }

    /// The kernel has not taken all. True if the host is to ask for the event of room now.
    #[inline]
    pub fn block(&self) -> bool {
        self.state.replace(State::Blocked) != State::Blocked
    }

    /// The kernel has room, or the stream is over. True if it was blocked.
    #[inline]
    pub fn unblock(&self) -> bool {
        let blocked = self.is_blocked();
        if blocked {
            self.state.set(State::Idle);
        }
        blocked
    }

    /// True if the stream waits for the event of room.
    #[inline]
    pub fn is_blocked(&self) -> bool {
        self.state.get() == State::Blocked
    }

    /// From now on every write sends at once.
    pub fn stop_gathering(&self) {
        self.at_once.set(true);
    }

    /// True if every write sends at once.
    #[inline]
    pub fn sends_at_once(&self) -> bool {
        self.at_once.get()
    }

    /// Has the kernel room for all that may be gathered? `ask` is called once between two sends.
    #[inline]
    pub fn has_room(&self, ask: impl FnOnce() -> bool) -> bool {
        if !self.has_room.get() {
            self.has_room.set(ask());
        }
        self.has_room.get()
    }

    /// Something is sent: how much room is left is to be asked again.
    #[inline]
    pub fn send(&self) {
        self.has_room.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_write_of_a_turn_lists_the_stream_and_the_others_leave_with_it() {
        let outgoing = Outgoing::at_end_of_turn();
        for _ in 0..3 {
            assert_eq!(outgoing.after_write(true), AfterWrite::List);
            outgoing.list();
            assert_eq!(outgoing.after_write(true), AfterWrite::Wait);
            assert!(outgoing.is_listed());
            outgoing.end_turn();
            assert!(!outgoing.is_listed());
        }
    }

    #[test]
    fn what_may_not_gather_is_sent_unless_the_kernel_has_no_room() {
        let outgoing = Outgoing::at_end_of_turn();
        assert_eq!(outgoing.after_write(false), AfterWrite::Send);
        outgoing.list();
        assert_eq!(outgoing.after_write(false), AfterWrite::Send);
        outgoing.block();
        assert_eq!(outgoing.after_write(false), AfterWrite::Wait);
    }

    #[test]
    fn the_event_of_room_is_asked_for_once() {
        let outgoing = Outgoing::at_once();
        assert!(outgoing.block());
        assert!(!outgoing.block());
        assert!(outgoing.unblock());
        assert!(!outgoing.unblock());
        assert!(outgoing.block());
    }

    #[test]
    fn the_end_of_the_turn_leaves_a_blocked_stream_blocked() {
        let outgoing = Outgoing::at_end_of_turn();
        outgoing.list();
        assert!(outgoing.block());
        outgoing.end_turn();
        assert!(outgoing.is_blocked());
        assert_eq!(outgoing.after_write(true), AfterWrite::Wait);
    }

    #[test]
    fn a_drain_is_remembered_until_the_turn_is_over() {
        let outgoing = Outgoing::at_end_of_turn();
        outgoing.drain();
        assert!(!outgoing.has_drained(), "nothing was listed");
        outgoing.list();
        outgoing.drain();
        assert!(outgoing.has_drained() && outgoing.is_listed());
        outgoing.end_turn();
        assert!(!outgoing.has_drained());
    }

    #[test]
    fn a_stream_that_stopped_gathering_never_gathers_again() {
        let outgoing = Outgoing::at_end_of_turn();
        outgoing.stop_gathering();
        assert_eq!(outgoing.after_write(true), AfterWrite::Send);
        outgoing.block();
        outgoing.unblock();
        outgoing.end_turn();
        assert_eq!(outgoing.after_write(true), AfterWrite::Send);
        assert!(outgoing.sends_at_once());
    }

    #[test]
    fn room_is_asked_for_once_between_two_sends() {
        let outgoing = Outgoing::at_end_of_turn();
        assert!(!outgoing.has_room(|| false));
        assert!(outgoing.has_room(|| true));
        assert!(outgoing.has_room(|| unreachable!("asked before")));
        outgoing.send();
        assert!(!outgoing.has_room(|| false));
    }
}
