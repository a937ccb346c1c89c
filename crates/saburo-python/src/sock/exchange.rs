//! The body of a coroutine that receives or sends: tries, and waits until it is worth trying again.

use crate::coroutine::{self, Body, Next, Resumed, emptied};
use crate::event_loop::{Direction, Loop};
use crate::ffi::{Holds, Instance, Obj, Object, Own, Res, Slot, aside, fields};
use crate::future::{self, Future};

/// The operation that is tried.
pub(super) trait Operation: Holds + 'static {
    /// The name of the coroutine.
    const QUALNAME: &'static str;
    /// The event to wait for before the next try.
    const DIRECTION: Direction;

    /// Tries once and returns the result; None if the kernel says "not yet".
    fn attempt(&self, event_loop: &Instance<Loop>, sock: &Object) -> Res<Option<Obj>>;
}

struct Exchange<O> {
    event_loop: Slot<Own<Loop>>,
    sock: Slot,
    operation: O,
    /// The future that the coroutine awaits until the descriptor is ready.
    waiter: Slot<Own<Future>>,
}

/// The coroutine of one call.
pub(super) fn start<O: Operation>(event_loop: &Instance<Loop>, sock: &Object, operation: O) -> Res<Obj> {
    let body = Exchange {
        event_loop: Slot::new(Some(event_loop.to_own())),
        sock: Slot::new(Some(sock.to_obj())),
        operation,
        waiter: Slot::empty(),
    };
    coroutine::start(body, event_loop.debug())
}

impl<O: Operation> Body for Exchange<O> {
    fn qualname(&self) -> &'static str {
        O::QUALNAME
    }

    fn go_on(&self, resumed: Resumed) -> Res<Next> {
        let (Some(event_loop), Some(sock)) = (self.event_loop.get(), self.sock.get()) else {
            return emptied();
        };
        if let Resumed::Awaited(outcome) = resumed {
            let waiter = self.waiter.take();
            if let Some(waiter) = waiter.filter(|waiter| !waiter.is_done()) {
                // An exception was thrown into the wait: the descriptor is not watched for this coroutine any
                // more.
                aside(|| future::cancel(&waiter, None))?;
            }
            outcome?;
        }
        if let Some(answer) = self.operation.attempt(&event_loop, &sock)? {
            return Ok(Next::Return(answer));
        }
        let waiter = future::wait_for(&event_loop, O::DIRECTION, &sock)?;
        self.waiter.set(Some(waiter.clone()));
        Ok(Next::Await(waiter.into_obj()))
    }
}

impl<O: Operation> Holds for Exchange<O> {
    fields! {
        part;
        objects { event_loop, sock, operation, waiter }
    }
}
