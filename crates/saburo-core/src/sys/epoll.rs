//! The selector of Linux.
//!
//! Level-triggered, because `add_reader` promises it: a reader that leaves bytes behind is
//! called again. An entry's user data is a token of the reactor's, never a pointer.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{Event, Interest, borrow};

/// Closing a descriptor of the set inherited across `fork` leaves the parent's, and what it
/// watches, alone: nothing to do here.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    epoll: Arc<OwnedFd>,
}

impl Selector {
    pub(crate) const HAS_ONCE: bool = true;

    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Selector { epoll: Arc::new(epoll) })
    }

    pub(crate) fn add(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        let data = EventData::new_u64(token);
        Ok(epoll::add(&self.epoll, borrow(&fd)?, data, flags(interest))?)
    }

    pub(crate) fn modify(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        let data = EventData::new_u64(token);
        Ok(epoll::modify(&self.epoll, borrow(&fd)?, data, flags(interest))?)
    }

    pub(crate) fn remove(&self, fd: RawFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, borrow(&fd)?)?)
    }

    pub(crate) fn same(&self, other: &Selector) -> bool {
        Arc::ptr_eq(&self.epoll, &other.epoll)
    }
}

pub(crate) struct Events {
    list: Vec<epoll::Event>,
}

// SAFETY: an `epoll::Event` is not `Send` because its user data may be a pointer. Ours is
// always an integer: `Selector::add` and `modify` are the only places that set it.
unsafe impl Send for Events {}
// SAFETY: as above; and a shared reference only reads.
unsafe impl Sync for Events {}

impl Events {
    pub(crate) fn new() -> Self {
        Events { list: Vec::with_capacity(FEW) }
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    pub(crate) fn wait(&mut self, on: &Selector, timeout: Option<Duration>) -> io::Result<()> {
        self.list.clear();
        match self.wait_once(on, timeout) {
            Err(Errno::INTR) => {}
            result => result?,
        }
        // A full buffer means that there was more. The kernel gives the rest next time, but a
        // turn should see all descriptors that are ready, as asyncio's does.
        let found = self.list.len();
        if found == self.list.capacity() && found < MANY {
            self.list.reserve(found);
        }
        Ok(())
    }

    fn wait_once(&mut self, on: &Selector, timeout: Option<Duration>) -> rustix::io::Result<()> {
        let mut timeout = timeout.map(timespec);
        if let Some(precise) = timeout
            && precise.tv_nsec % MILLI != 0
            && precise.tv_sec == 0
            && precise.tv_nsec < COARSE
        {
            // epoll_wait counts in milliseconds, up to a whole one late: too coarse for a short
            // sleep. ppoll on the set has nanoseconds. (epoll_pwait2 has, too, but not before
            // Linux 5.11.)
            let mut set = [PollFd::new(&on.epoll, PollFlags::IN)];
            if poll(&mut set, Some(&precise))? == 0 {
                return Ok(());
            }
            timeout = Some(Timespec { tv_sec: 0, tv_nsec: 0 });
        }
        // rustix rounds up to the next millisecond: a timer is never polled for too early.
        epoll::wait(&on.epoll, spare_capacity(&mut self.list), timeout.as_ref())?;
        Ok(())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        self.list.iter().map(|event| {
            let flags = event.flags;
            Event {
                token: event.data.u64(),
                readable: flags.intersects(EventFlags::OUT.complement()),
                writable: flags.intersects(EventFlags::IN.complement()),
            }
        })
    }
}

fn flags(interest: Interest) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, interest.read);
    flags.set(EventFlags::OUT, interest.write);
    flags.set(EventFlags::ONESHOT, interest.once);
    flags
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        // `Wait` caps timeouts far below this type's range.
        tv_sec: duration.as_secs() as i64,
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

const FEW: usize = 64;
const MANY: usize = 16_384;
const MILLI: i64 = 1_000_000;
/// From here on a millisecond is less than a tenth.
const COARSE: i64 = 10 * MILLI;
