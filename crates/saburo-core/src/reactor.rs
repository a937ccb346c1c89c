//! Descriptor table: who waits for which descriptor, in which direction.
//!
//! A token is (index, generation), and the generation changes whenever what a slot stands for
//! does: a stale event finds no registration, and a recycled descriptor gets a new one. So an
//! event can never reach anybody but the handle that asked for it.
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
//! Who waits for news once only, and then again and again, as somebody does who awaits a socket's
//! next bytes, is spared half of the questions: the kernel forgets about such a descriptor by
//! itself once it had its news, and its slot rests until the next one waits.

use std::io;
use std::os::fd::RawFd;

use crate::sys::{Event, Interest, Selector};

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
    /// Handles of registrations that turned out to be dead, or were refused. They are not
    /// dropped here, because dropping one may run foreign code.
    orphans: Vec<H>,
}

/// One registration of a descriptor: another for the same number is not equal to it.
///
/// ```
/// # use saburo_core::{Clock, Core};
/// # use std::os::fd::AsRawFd;
/// let mut core = Core::new(Clock::monotonic())?;
/// let (reader, _writer) = std::io::pipe()?;
/// let fd = reader.as_raw_fd();
/// assert_eq!(core.registration(fd), None);
/// core.set_reader(fd, "one")?;
/// let first = core.registration(fd);
/// core.remove_reader(fd);
/// core.set_reader(fd, "another")?;
/// assert_ne!(core.registration(fd), first);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Registration(u64);

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
        Reactor {
            slot_of: Vec::new(),
            slots: Vec::new(),
            vacant: Vec::new(),
            resting: 0,
            orphans: Vec::new(),
        }
    }

    /// Descriptors that somebody waits for.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.vacant.len() - self.resting
    }

    /// Register `handle` for one direction of `fd`; the handle it replaces. If it is for news `once`, it
    /// may get no more after the first, and is to be removed then.
    ///
    /// On an error nothing has changed, except that a registration which the kernel proved
    /// dead is gone, and `handle` is an orphan.
    pub(crate) fn set(
        &mut self,
        selector: &Selector,
        fd: RawFd,
        direction: Direction,
        once: bool,
        handle: H,
    ) -> io::Result<Option<H>> {
        let once = once && Selector::HAS_ONCE;
        let result = match self.find(fd) {
            None => self.add(selector, fd, direction, once),
            Some(index) => self.extend(selector, index, direction, once),
        };
        match result {
            Ok((index, replaced)) => {
                *self.slots[index as usize].side(direction) = Some(handle);
                Ok(replaced)
            }
            Err(error) => {
                self.refuse(handle);
                Err(error)
            }
        }
    }

    /// Stop watching one direction of `fd`; the handle that was registered for it.
    pub(crate) fn remove(&mut self, selector: &Selector, fd: RawFd, direction: Direction) -> Option<H> {
        let index = self.find(fd)?;
        let slot = &mut self.slots[index as usize];
        let handle = slot.side(direction).take()?;
        if slot.mode == Mode::Spent {
            // The next to wait for it is another registration.
            slot.generation = slot.generation.wrapping_add(1);
            self.resting += 1;
            return Some(handle);
        }
        slot.mode = Mode::Lasting;
        let (token, interest) = (token(index, slot.generation), slot.interest());
        // If the user has closed the descriptor the kernel says so, and has nothing to stop.
        if interest.is_empty() {
            let _ = selector.remove(fd);
            self.release(index);
        } else {
            let _ = selector.modify(fd, token, interest);
        }
        Some(handle)
    }

    pub(crate) fn get(&self, fd: RawFd, direction: Direction) -> Option<&H> {
        let slot = &self.slots[self.find(fd)? as usize];
        match direction {
            Direction::Read => slot.reader.as_ref(),
            Direction::Write => slot.writer.as_ref(),
        }
    }

    /// What `fd` is registered as, until nobody waits for it any more, or the kernel has proved it dead.
    pub(crate) fn registration(&self, fd: RawFd) -> Option<Registration> {
        let index = self.find(fd)?;
        let slot = &self.slots[index as usize];
        (!slot.interest().is_empty()).then(|| Registration(token(index, slot.generation)))
    }

    /// Hand the handles an event is for to `wake`, the reader first.
    #[inline]
    pub(crate) fn deliver(&mut self, event: Event, mut wake: impl FnMut(&H)) -> Delivery {
        let index = event.token as u32;
        let generation = (event.token >> 32) as u32;
        match self.slots.get_mut(index as usize) {
            Some(slot) if slot.generation == generation && slot.fd != VACANT => {
                if slot.mode == Mode::Once {
                    slot.mode = Mode::Spent;
                }
                if let Some(reader) = slot.reader.as_ref().filter(|_| event.readable) {
                    wake(reader);
                }
                if let Some(writer) = slot.writer.as_ref().filter(|_| event.writable) {
                    wake(writer);
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
        let slots = self.slots.iter();
        slots.flat_map(|slot| [&slot.reader, &slot.writer]).flatten().chain(&self.orphans)
    }

    /// Keep a handle that cannot be registered.
    pub(crate) fn refuse(&mut self, handle: H) {
        self.orphans.push(handle);
    }

    pub(crate) fn take_orphans(&mut self) -> Vec<H> {
        std::mem::take(&mut self.orphans)
    }

    /// Every handle, orphans included. With a selector, its descriptors are taken out of it;
    /// without one it is about to be closed, or somebody else's.
    pub(crate) fn take(&mut self, selector: Option<&Selector>) -> Vec<H> {
        for index in 0..self.slots.len() as u32 {
            let slot = &mut self.slots[index as usize];
            if slot.fd == VACANT {
                continue;
            }
            if let Some(selector) = selector {
                let _ = selector.remove(slot.fd);
            }
            self.orphan(index);
            self.release(index);
        }
        self.resting = 0;
        self.take_orphans()
    }

    fn find(&self, fd: RawFd) -> Option<u32> {
        // A negative number is no index.
        let index = *self.slot_of.get(usize::try_from(fd).ok()?)?;
        (index != NONE).then_some(index)
    }

    /// A descriptor's first direction.
    fn add(
        &mut self,
        selector: &Selector,
        fd: RawFd,
        direction: Direction,
        once: bool,
    ) -> io::Result<(u32, Option<H>)> {
        let index = match self.vacant.last() {
            Some(&index) => index,
            None => {
                self.slots.push(Slot {
                    fd: VACANT,
                    generation: 0,
                    mode: Mode::Lasting,
                    reader: None,
                    writer: None,
                });
                let index = self.slots.len() as u32 - 1;
                self.vacant.push(index);
                index
            }
        };
        let token = token(index, self.slots[index as usize].generation);
        let interest = Interest { once, ..direction.interest() };
        match selector.add(fd, token, interest) {
            // The kernel still watches it for a registration that we have given up.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                selector.modify(fd, token, interest)?;
            }
            result => result?,
        }
        let number = fd as usize;
        if number >= self.slot_of.len() {
            self.slot_of.resize(number + 1, NONE);
        }
        self.vacant.pop();
        self.slot_of[number] = index;
        self.slots[index as usize].fd = fd;
        self.slots[index as usize].mode = if once { Mode::Once } else { Mode::Lasting };
        Ok((index, None))
    }

    /// A direction for a descriptor that is registered already, possibly for this one.
    fn extend(
        &mut self,
        selector: &Selector,
        index: u32,
        direction: Direction,
        once: bool,
    ) -> io::Result<(u32, Option<H>)> {
        let slot = &mut self.slots[index as usize];
        let fd = slot.fd;
        let rested = slot.interest().is_empty();
        let both = slot.interest().and(direction);
        // Two directions are watched until nobody wants them, because news of one would end both.
        let once = once && both == direction.interest();
        let interest = Interest { once, ..both };
        // Asked even if the interest stays the same: the answer may be that it was recycled.
        match selector.modify(fd, token(index, slot.generation), interest) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let replaced = slot.side(direction).take();
                self.orphan(index);
                self.resting -= usize::from(rested);
                self.release(index);
                let added = self.add(selector, fd, direction, once);
                match added {
                    Ok((index, _)) => Ok((index, replaced)),
                    Err(error) => {
                        self.orphans.extend(replaced);
                        Err(error)
                    }
                }
            }
            Err(error) => Err(error),
            Ok(()) => {
                self.resting -= usize::from(rested);
                slot.mode = if once { Mode::Once } else { Mode::Lasting };
                Ok((index, slot.side(direction).take()))
            }
        }
    }

    fn orphan(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        self.orphans.extend(slot.reader.take());
        self.orphans.extend(slot.writer.take());
    }

    /// Give back a slot without handles. Its tokens go stale.
    fn release(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        self.slot_of[slot.fd as usize] = NONE;
        slot.fd = VACANT;
        slot.generation = slot.generation.wrapping_add(1);
        self.vacant.push(index);
    }
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl Direction {
    fn interest(self) -> Interest {
        Interest { read: self == Direction::Read, write: self == Direction::Write, once: false }
    }
}

impl Interest {
    fn is_empty(self) -> bool {
        !self.read && !self.write
    }

    fn and(self, direction: Direction) -> Interest {
        let more = direction.interest();
        Interest { read: self.read || more.read, write: self.write || more.write, once: false }
    }
}

#[derive(Debug)]
struct Slot<H> {
    fd: RawFd,
    /// How often the slot has been released, or begun to rest: what makes old tokens stale.
    generation: u32,
    mode: Mode,
    reader: Option<H>,
    writer: Option<H>,
}

/// How long the kernel watches a slot's descriptor.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Mode {
    /// Until it is told to stop.
    Lasting,
    /// Until it has news.
    Once,
    /// It had news, and does not watch any more.
    Spent,
}

impl<H> Slot<H> {
    /// What the kernel is watching: the directions that somebody waits for.
    fn interest(&self) -> Interest {
        Interest {
            read: self.reader.is_some(),
            write: self.writer.is_some(),
            once: self.mode != Mode::Lasting,
        }
    }

    fn side(&mut self, direction: Direction) -> &mut Option<H> {
        match direction {
            Direction::Read => &mut self.reader,
            Direction::Write => &mut self.writer,
        }
    }
}

fn token(index: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(index)
}

/// The waker's token: of an index that no table will reach, and not `polling`'s reserved one.
pub(crate) const WAKER: u64 = u64::MAX - 1;

const NONE: u32 = u32::MAX;
const VACANT: RawFd = -1;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use super::*;
    use crate::sys::Events;

    /// How many events reach a handle, and how many are for nobody.
    fn turn(reactor: &mut Reactor<()>, selector: &Selector) -> (usize, usize) {
        let (mut events, mut woken, mut stale) = (Events::new(), 0, 0);
        events.wait(selector, Some(Duration::ZERO)).unwrap();
        for event in events.iter() {
            stale += usize::from(reactor.deliver(event, |()| woken += 1) == Delivery::Stale);
        }
        (woken, stale)
    }

    #[test]
    fn a_new_selector_does_not_go_on_watching_what_has_had_its_news() {
        let (old, mut reactor) = (Selector::new().unwrap(), Reactor::new());
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"!").unwrap();
        reactor.set(&old, reader.as_raw_fd(), Direction::Read, true, ()).unwrap();
        assert_eq!(turn(&mut reactor, &old), (1, 0));

        let new = Selector::new().unwrap();
        reactor.register_all(&new, Some(&old));
        assert_eq!(reactor.remove(&new, reader.as_raw_fd(), Direction::Read), Some(()));
        // It may be told once more, to nobody.
        turn(&mut reactor, &new);
        assert_eq!(turn(&mut reactor, &new), (0, 0));
    }
}
