//! The selector of every other Unix, on the `polling` crate; on Linux under
//! `--cfg saburo_polling`, so that the tests can be run against it here.
//!
//! What it cannot promise is what the kernel does not tell it: with kqueue, `modify` and `add`
//! are the same call, and a recycled descriptor goes unnoticed there. And the crate goes on
//! waiting when a signal handler has run; one that wants the loop has to write to its waker.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use polling::{PollMode, Poller};

use super::{Event, Interest, borrow};

#[derive(Clone, Debug)]
pub(crate) struct Selector {
    set: Arc<Set>,
}

impl Selector {
    /// The crate could, but not with each kernel keep a descriptor that is watched for nothing.
    pub(crate) const HAS_ONCE: bool = false;

    pub(crate) fn new() -> io::Result<Self> {
        let poller = Poller::new()?;
        if !poller.supports_level() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Selector { set: Arc::new(Set { poller: ManuallyDrop::new(poller), owner: std::process::id() }) })
    }

    pub(crate) fn add(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        borrow(&fd)?;
        // SAFETY: the crate asks for descriptors to be removed before they are closed. Our users
        // may not do so, and it is not needed for memory safety on any Unix it supports: it
        // keeps numbers, and the kernel answers for those that have gone.
        unsafe { self.set.poller.add_with_mode(fd, event(token, interest), PollMode::Level) }
    }

    pub(crate) fn modify(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.set.poller.modify_with_mode(borrow(&fd)?, event(token, interest), PollMode::Level)
    }

    pub(crate) fn remove(&self, fd: RawFd) -> io::Result<()> {
        self.set.poller.delete(borrow(&fd)?)
    }

    pub(crate) fn same(&self, other: &Selector) -> bool {
        Arc::ptr_eq(&self.set, &other.set)
    }
}

#[derive(Debug)]
struct Set {
    poller: ManuallyDrop<Poller>,
    /// The process that made it. A child inherits the number of an epoll, and of a kqueue not
    /// even that.
    owner: u32,
}

impl Drop for Set {
    /// Dropping a `Poller` takes its own descriptors out of the set, which in a forked child
    /// would break the parent's. Better that the child leaks three descriptors.
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            // SAFETY: this is the only place that drops it, and it runs once.
            unsafe { ManuallyDrop::drop(&mut self.poller) }
        }
    }
}

pub(crate) struct Events {
    list: polling::Events,
}

impl Events {
    pub(crate) fn new() -> Self {
        Events { list: polling::Events::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    pub(crate) fn wait(&mut self, on: &Selector, timeout: Option<Duration>) -> io::Result<()> {
        self.list.clear();
        on.set.poller.wait(&mut self.list, timeout).map(drop)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        self.list.iter().map(|event| Event {
            token: event.key as u64,
            readable: event.readable,
            writable: event.writable,
        })
    }
}

fn event(token: u64, interest: Interest) -> polling::Event {
    polling::Event::new(token as usize, interest.read, interest.write)
}

/// A token is an index and a generation, 32 bits each, and the crate's key a `usize`.
const _: () = assert!(usize::BITS >= 64, "the portable selector needs 64-bit keys");
