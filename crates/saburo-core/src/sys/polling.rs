//! The selector of every other Unix, on the `polling` crate; on Linux under
//! `--cfg saburo_polling`, so that the tests can be run against it here.
//!
//! What it cannot promise is what the kernel does not tell it: with kqueue, `modify` and `add`
//! are the same call, and a recycled descriptor goes unnoticed there.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use polling::{PollMode, Poller};

use super::{Event, Interest, borrow};

#[derive(Clone, Debug)]
pub(crate) struct Selector {
    poller: Arc<Poller>,
}

impl Selector {
    pub(crate) fn new() -> io::Result<Self> {
        let poller = Poller::new()?;
        if !poller.supports_level() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Selector {
            poller: Arc::new(poller),
        })
    }

    pub(crate) fn add(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        borrow(&fd)?;
        // SAFETY: the crate asks for descriptors to be removed before they are closed. Our users
        // may not do so, and it is not needed for memory safety on any Unix it supports: it
        // keeps numbers, and the kernel answers for those that have gone.
        unsafe {
            self.poller
                .add_with_mode(fd, event(token, interest), PollMode::Level)
        }
    }

    pub(crate) fn modify(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.poller
            .modify_with_mode(borrow(&fd)?, event(token, interest), PollMode::Level)
    }

    pub(crate) fn remove(&self, fd: RawFd) -> io::Result<()> {
        self.poller.delete(borrow(&fd)?)
    }

    pub(crate) fn same(&self, other: &Selector) -> bool {
        Arc::ptr_eq(&self.poller, &other.poller)
    }

    /// Dropping a `Poller` unregisters its own descriptors, which after a fork would be done to
    /// the parent's set. Better that the child leaks three descriptors.
    pub(crate) fn abandon(self) {
        std::mem::forget(self);
    }
}

pub(crate) struct Events {
    list: polling::Events,
}

impl Events {
    pub(crate) fn new() -> Self {
        Events {
            list: polling::Events::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    pub(crate) fn wait(&mut self, on: &Selector, timeout: Option<Duration>) -> io::Result<()> {
        self.list.clear();
        on.poller.wait(&mut self.list, timeout).map(drop)
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
