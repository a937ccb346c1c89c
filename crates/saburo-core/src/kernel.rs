//! What an open core has of the operating system's: a selector and a waker.

use std::io;

use crate::reactor::{Reactor, WAKER};
use crate::sync::Arc;
use crate::sys::{Interest, Selector, Waker};
use crate::wait::Wait;

/// What an open core has of the operating system's.
pub(crate) struct Kernel {
    pub(crate) selector: Selector,
    pub(crate) waker: Arc<Waker>,
    /// `None` while lent out, and before it was lent for the first time.
    pub(crate) wait: Option<Wait>,
}

impl Kernel {
    pub(crate) fn new(waker: Arc<Waker>) -> io::Result<Self> {
        Ok(Kernel { selector: watch(&waker)?, waker, wait: None })
    }

    /// Exchange the selector for a new one that watches the same. The wait is made anew when it
    /// is next lent, and one that is out now will be recognised as an old one's.
    pub(crate) fn renew<H>(&mut self, reactor: &Reactor<H>, old: Option<&Selector>) -> io::Result<()> {
        let selector = watch(&self.waker)?;
        reactor.register_all(&selector, old);
        self.wait = None;
        self.selector = selector;
        Ok(())
    }
}

fn watch(waker: &Waker) -> io::Result<Selector> {
    let selector = Selector::new()?;
    let interest = Interest { read: true, write: false, once: false };
    selector.add(waker.reader_fd(), WAKER, interest)?;
    Ok(selector)
}

pub(crate) fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the core is closed")
}
