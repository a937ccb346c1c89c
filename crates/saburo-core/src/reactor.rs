//! Descriptor table: which handle waits for which descriptor, in which direction.
//!
//! Two tokens keep events and owners right, each an index and a generation. The kernel's changes
//! whenever a slot stands for another file: a stale event finds no registration, and a recycled
//! descriptor gets a new one. So an event can never reach anybody but the handle that asked for
//! it. The owner's, a [`Registration`], changes whenever a handle leaves the table: a stale one
//! removes nothing.
//!
//! Descriptors get recycled because users close them without a word to us. The kernel forgets
//! them silently, and the next file opened has the same number. Every change here is therefore
//! a question to the kernel as well: if it does not know a descriptor that we do, ours is dead.
//!
//! One thing cannot be asked. The kernel goes by number and file, so it takes a number for the
//! registration that we mean if it went from one watched file to another and back again, each
//! time without a word to us, and with duplicates that kept both files open meanwhile. Nobody
//! does that by accident.
//!
//! A registration for one event ends with it: the handle moves out. Those that wait again and
//! again, as for a socket's next bytes, are spared half of the questions: the kernel stops
//! watching such a descriptor by itself once it had its news, and its slot rests, known to the
//! kernel and watched for nothing, until the next one waits.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sys::{Event, Interest, Selector};

/// A direction of a descriptor.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Direction {
    /// There is something to read, or the end.
    Read,
    /// There is room for something to write, or the other end is gone.
    Write,
}

impl Direction {
    /// The other one.
    ///
    /// ```
    /// # use saburo_core::Direction;
    /// assert_eq!(Direction::Read.other(), Direction::Write);
    /// ```
    pub fn other(self) -> Direction {
        match self {
            Direction::Read => Direction::Write,
            Direction::Write => Direction::Read,
        }
    }

    fn interest(self, once: bool) -> Interest {
        let read = self == Direction::Read;
        Interest { read, write: !read, once: once && Selector::HAS_ONCE }
    }
}

/// A handle's registration for one direction of a descriptor: the token by which its owner ends it.
///
/// It names this one registration. Once that is over, because it was removed or replaced, or has
/// had its one event, the token means nothing, also where the descriptor is registered again.
///
/// ```
/// # use saburo_core::{Clock, Core, Direction};
/// # use std::os::fd::AsRawFd;
/// let mut core = Core::new(Clock::monotonic())?;
/// let (reader, _writer) = std::io::pipe()?;
/// let one = core.register(reader.as_raw_fd(), Direction::Read, "one")?.registration;
/// assert_eq!(core.deregister(one), Some("one"));
/// let another = core.register(reader.as_raw_fd(), Direction::Read, "another")?.registration;
/// assert_eq!(core.deregister(one), None);
/// assert!(core.is_registered(another));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Registration(NonZeroU64);

/// What came of registering a handle: its token, and the handles that it has put out.
#[derive(Debug)]
pub struct Registered<H> {
    /// The token that ends the registration.
    pub registration: Registration,
    /// The handle that was registered for this direction of this number before.
    pub replaced: Option<H>,
    /// The handle that was registered for the other direction, where the number belongs to another
    /// file by now: its own was closed without a word to us.
    pub evicted: Option<H>,
}

/// Why a handle was not registered, and the handle.
///
/// ```
/// # use saburo_core::{Clock, Core, Direction};
/// let mut core = Core::new(Clock::monotonic())?;
/// let refused = core.register(-1, Direction::Read, "mine").unwrap_err();
/// assert_eq!(refused.handle, "mine");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Refused<H> {
    /// The kernel's, or `NotConnected` if the core is closed.
    pub error: io::Error,
    /// What was to be registered.
    pub handle: H,
}

impl<H> From<Refused<H>> for io::Error {
    fn from(refused: Refused<H>) -> io::Error {
        refused.error
    }
}

#[derive(Debug)]
pub(crate) struct Reactor<H> {
    /// The slot of each descriptor, `NONE` for those not registered. Grows only for numbers
    /// that the kernel has accepted.
    slot_of: Vec<u32>,
    slots: Vec<Slot<H>>,
    /// Slots whose `fd` is `VACANT`.
    vacant: Vec<u32>,
    /// How many slots rest: the kernel knows their descriptors, and watches them for nothing.
    resting: usize,
    /// Where the generations of a new slot begin.
    first_generation: u32,
}

/// What became of an event.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Delivery {
    /// Somebody was, or used to be, interested in this very registration.
    Known,
    /// The registration it was meant for is gone.
    Stale,
}

impl<H> Reactor<H> {
    pub(crate) fn new() -> Self {
        // Far from those of other tables: a token of another core, as a forked child has them of its
        // parent's, means nothing here.
        static TABLES: AtomicU32 = AtomicU32::new(0);
        let first_generation = TABLES.fetch_add(1, Ordering::Relaxed).wrapping_mul(SPREAD);
        Reactor { slot_of: Vec::new(), slots: Vec::new(), vacant: Vec::new(), resting: 0, first_generation }
    }

    /// Descriptors that a handle waits for.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.vacant.len() - self.resting
    }

    /// Register `handle` for one direction of `fd`; if `once`, for one event.
    ///
    /// On an error nothing has changed.
    pub(crate) fn register(
        &mut self,
        selector: &Selector,
        fd: RawFd,
        direction: Direction,
        once: bool,
        handle: H,
    ) -> Result<Registered<H>, Refused<H>> {
        let known = self.find(fd);
        let placed = match known {
            None => self.add(selector, fd, direction, once).map(|index| (index, None)),
            Some(index) => self.extend(selector, index, direction, once).map(|evicted| (index, evicted)),
        };
        match placed {
            Ok((index, evicted)) => {
                let side = self.slots[index as usize].side_mut(direction);
                let replaced = side.take();
                side.handle = Some(handle);
                side.once = once;
                let registration = Registration::new(index, direction, side.generation);
                Ok(Registered { registration, replaced, evicted })
            }
            Err(error) => Err(Refused { error, handle }),
        }
    }

    /// End a registration; its handle. `None` if it is over.
    pub(crate) fn deregister(&mut self, selector: &Selector, registration: Registration) -> Option<H> {
        let (index, direction) = registration.place();
        let side = self.slots.get_mut(index as usize)?.side_mut(direction);
        if side.generation != registration.generation() {
            return None;
        }
        let handle = side.take()?;
        self.watch_less(selector, index);
        Some(handle)
    }

    /// The registration for one direction of a number.
    pub(crate) fn registration(&self, fd: RawFd, direction: Direction) -> Option<Registration> {
        let index = self.find(fd)?;
        let side = self.slots[index as usize].side(direction);
        side.handle.as_ref().map(|_| Registration::new(index, direction, side.generation))
    }

    #[inline]
    pub(crate) fn is_registered(&self, registration: Registration) -> bool {
        let (index, direction) = registration.place();
        self.slots.get(index as usize).is_some_and(|slot| {
            let side = slot.side(direction);
            side.generation == registration.generation() && side.handle.is_some()
        })
    }

    /// Hand the handles an event is for to `wake`, the reader first.
    #[inline]
    pub(crate) fn deliver(&mut self, selector: &Selector, event: Event, mut wake: impl FnMut(H)) -> Delivery
    where
        H: Clone,
    {
        let index = event.token as u32;
        let generation = (event.token >> 32) as u32;
        match self.slots.get_mut(index as usize) {
            Some(slot) if slot.generation == generation && slot.fd != VACANT => {
                let read = event.readable && slot.reader.deliver(&mut wake);
                let written = event.writable && slot.writer.deliver(&mut wake);
                if read || written {
                    self.had_its_event(selector, index);
                }
                Delivery::Known
            }
            _ => Delivery::Stale,
        }
    }

    /// Ask a new selector for everything that the old one was watching.
    ///
    /// Given the old one, it is asked about each number first, because one that was recycled
    /// without a word to us is no business of ours: watching it would bring another file's
    /// events to the handle of the one that was closed.
    pub(crate) fn register_all(&self, selector: &Selector, old: Option<&Selector>) {
        for (index, slot) in self.slots.iter().enumerate() {
            // One that rests is asked for again when somebody waits for it.
            if slot.fd == VACANT || slot.interest().is_empty() {
                continue;
            }
            let (token, interest) = (token(index as u32, slot.generation), slot.interest());
            let known = old.is_none_or(|old| old.modify(slot.fd, token, interest).is_ok());
            if known {
                // An error says that this descriptor was closed.
                let _ = selector.add(slot.fd, token, interest);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &H> {
        self.slots.iter().flat_map(|slot| [&slot.reader.handle, &slot.writer.handle]).flatten()
    }

    /// Every handle. With a selector, its descriptors are taken out of it; without one it is about to
    /// be closed, or somebody else's.
    pub(crate) fn take(&mut self, selector: Option<&Selector>) -> Vec<H> {
        let mut handles = Vec::new();
        for index in 0..self.slots.len() as u32 {
            let slot = &mut self.slots[index as usize];
            if slot.fd == VACANT {
                continue;
            }
            if let Some(selector) = selector {
                let _ = selector.remove(slot.fd);
            }
            handles.extend([slot.reader.take(), slot.writer.take()].into_iter().flatten());
            self.release(index);
        }
        self.resting = 0;
        handles
    }

    fn find(&self, fd: RawFd) -> Option<u32> {
        // A negative number is no index.
        let index = *self.slot_of.get(usize::try_from(fd).ok()?)?;
        (index != NONE).then_some(index)
    }

    /// A slot for a descriptor's first direction.
    fn add(&mut self, selector: &Selector, fd: RawFd, direction: Direction, once: bool) -> io::Result<u32> {
        let index = match self.vacant.last() {
            Some(&index) => index,
            None => {
                self.slots.push(Slot::new(self.first_generation));
                let index = self.slots.len() as u32 - 1;
                self.vacant.push(index);
                index
            }
        };
        let slot = &mut self.slots[index as usize];
        let interest = direction.interest(once);
        match selector.add(fd, token(index, slot.generation), interest) {
            // The kernel still watches it for a registration that we have given up.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                selector.modify(fd, token(index, slot.generation), interest)?;
            }
            result => result?,
        }
        slot.fd = fd;
        slot.once = interest.once;
        let number = fd as usize;
        if number >= self.slot_of.len() {
            self.slot_of.resize(number + 1, NONE);
        }
        self.slot_of[number] = index;
        self.vacant.pop();
        Ok(index)
    }

    /// A direction for a descriptor that is registered already, possibly for this one. The handle for the
    /// other one, if the kernel says that the file it waited for is gone.
    fn extend(
        &mut self,
        selector: &Selector,
        index: u32,
        direction: Direction,
        once: bool,
    ) -> io::Result<Option<H>> {
        let slot = &mut self.slots[index as usize];
        let rested = slot.interest().is_empty();
        let alone = slot.side(direction.other()).handle.is_none();
        let wanted = direction.interest(once);
        // Two directions are watched until nobody wants them, because news of one would end both.
        let interest = if alone { wanted } else { BOTH };
        // Asked even if the interest stays the same: the answer may be that it was recycled.
        let (interest, evicted) = match selector.modify(slot.fd, token(index, slot.generation), interest) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let generation = slot.generation.wrapping_add(1);
                selector.add(slot.fd, token(index, generation), wanted)?;
                slot.generation = generation;
                (wanted, slot.side_mut(direction.other()).take())
            }
            Err(error) => return Err(error),
            Ok(()) => (interest, None),
        };
        slot.once = interest.once;
        self.resting -= usize::from(rested);
        Ok(evicted)
    }

    /// A handle that waited for one event has moved out.
    fn had_its_event(&mut self, selector: &Selector, index: u32) {
        let slot = &mut self.slots[index as usize];
        if !slot.once {
            return self.watch_less(selector, index);
        }
        // The kernel has stopped by itself. The next to wait for it is another registration.
        slot.generation = slot.generation.wrapping_add(1);
        self.resting += 1;
    }

    /// A handle has been taken out of a slot that the kernel watches.
    fn watch_less(&mut self, selector: &Selector, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.once = false;
        // If the user has closed the descriptor the kernel says so, and has nothing to stop.
        if slot.interest().is_empty() {
            let _ = selector.remove(slot.fd);
            self.release(index);
        } else {
            let _ = selector.modify(slot.fd, token(index, slot.generation), slot.interest());
        }
    }

    /// Give back a slot without handles. The kernel's tokens for it go stale.
    fn release(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        self.slot_of[slot.fd as usize] = NONE;
        slot.fd = VACANT;
        slot.generation = slot.generation.wrapping_add(1);
        self.vacant.push(index);
    }
}

impl Registration {
    #[inline]
    fn new(index: u32, direction: Direction, generation: u32) -> Registration {
        let write = u64::from(direction == Direction::Write);
        // The lowest bit is always set, so that `Option<Registration>` is no larger.
        Registration(NonZeroU64::MIN | u64::from(generation) << 32 | u64::from(index) << 2 | write << 1)
    }

    #[inline]
    fn place(self) -> (u32, Direction) {
        let side = self.0.get() as u32;
        (side >> 2, if side & 2 == 0 { Direction::Read } else { Direction::Write })
    }

    #[inline]
    fn generation(self) -> u32 {
        (self.0.get() >> 32) as u32
    }
}

impl Interest {
    fn is_empty(self) -> bool {
        !self.read && !self.write
    }
}

const BOTH: Interest = Interest { read: true, write: true, once: false };

#[derive(Debug)]
struct Slot<H> {
    fd: RawFd,
    /// How often the slot has stood for another file, or begun to rest: what makes the kernel's old tokens
    /// stale.
    generation: u32,
    /// The kernel stops watching at the next news by itself. Then only one direction is registered.
    once: bool,
    reader: Side<H>,
    writer: Side<H>,
}

/// One direction of a slot.
#[derive(Debug)]
struct Side<H> {
    handle: Option<H>,
    /// The handle moves out with the next event.
    once: bool,
    /// How often a handle has left: what makes an owner's old token stale.
    generation: u32,
}

impl<H> Slot<H> {
    fn new(generation: u32) -> Self {
        let [reader, writer] = [(); 2].map(|()| Side { handle: None, once: false, generation });
        Slot { fd: VACANT, generation, once: false, reader, writer }
    }

    /// What the kernel is to watch: the directions that a handle waits for.
    fn interest(&self) -> Interest {
        Interest { read: self.reader.handle.is_some(), write: self.writer.handle.is_some(), once: self.once }
    }

    #[inline]
    fn side(&self, direction: Direction) -> &Side<H> {
        match direction {
            Direction::Read => &self.reader,
            Direction::Write => &self.writer,
        }
    }

    #[inline]
    fn side_mut(&mut self, direction: Direction) -> &mut Side<H> {
        match direction {
            Direction::Read => &mut self.reader,
            Direction::Write => &mut self.writer,
        }
    }
}

impl<H> Side<H> {
    #[inline]
    fn take(&mut self) -> Option<H> {
        let handle = self.handle.take()?;
        self.generation = self.generation.wrapping_add(1);
        Some(handle)
    }

    /// Whether the handle has moved out to `wake`, which gets a copy of those that stay.
    #[inline]
    fn deliver(&mut self, wake: &mut impl FnMut(H)) -> bool
    where
        H: Clone,
    {
        if self.once {
            let handle = self.take();
            let moved = handle.is_some();
            handle.into_iter().for_each(wake);
            return moved;
        }
        self.handle.iter().cloned().for_each(wake);
        false
    }
}

fn token(index: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(index)
}

/// The waker's token: of an index that no table will reach, and not `polling`'s reserved one.
pub(crate) const WAKER: u64 = u64::MAX - 1;

const NONE: u32 = u32::MAX;
const VACANT: RawFd = -1;
/// Odd, so that of 2^32 tables no two begin alike, and large, so that few begin near each other.
const SPREAD: u32 = 0x9E37_79B1;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use super::*;
    use crate::sys::Events;

    /// How many events reach a handle, and how many reach none.
    fn turn(reactor: &mut Reactor<()>, selector: &Selector) -> (usize, usize) {
        let (mut events, mut woken, mut stale) = (Events::new(), 0, 0);
        events.wait(selector, Some(Duration::ZERO)).unwrap();
        for event in events.iter() {
            stale += usize::from(reactor.deliver(selector, event, |()| woken += 1) == Delivery::Stale);
        }
        (woken, stale)
    }

    #[test]
    fn a_new_selector_does_not_go_on_watching_what_has_had_its_news() {
        let (old, mut reactor) = (Selector::new().unwrap(), Reactor::new());
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"!").unwrap();
        let fd = reader.as_raw_fd();
        assert!(reactor.register(&old, fd, Direction::Read, true, ()).is_ok());
        assert_eq!(turn(&mut reactor, &old), (1, 0));

        let new = Selector::new().unwrap();
        reactor.register_all(&new, Some(&old));
        assert_eq!(turn(&mut reactor, &new), (0, 0));
        assert!(reactor.register(&new, fd, Direction::Read, true, ()).is_ok());
        assert_eq!(turn(&mut reactor, &new), (1, 0));
    }
}
