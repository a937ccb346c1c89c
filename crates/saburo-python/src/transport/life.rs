//! The life of a transport: it is made, its protocol is told, it closes, its protocol is told again.
//!
//! Every class of transports contains a `Life` and derefs to it. The rule: `connection_lost` is called
//! exactly once, and the descriptor is closed right after it, whatever exception it has raised.

use std::cell::Cell;
use std::os::fd::RawFd;

use crate::event_loop::{Direction, Loop};
use crate::ffi::{
    Context, Holds, Instance, Object, Own, Owner, Res, Slot, aside, builtin, fields, inside, none, string,
};
use crate::future::{self, Future};
use crate::names::names;

use super::watcher::{self, Lost, Watcher, Watches};
use super::{failure, protocol};

/// The state of a transport, with its loop and its protocol.
pub(crate) struct Life {
    /// None once the connection is gone and the protocol was told.
    pub(super) event_loop: Slot<Own<Loop>>,
    pub(super) protocol: Slot,
    pub(super) phase: Cell<ConnectionState>,
    /// The number under which the loop's tables know the transport; -1 before it has one, and once we know
    /// that the number may belong to another file. No system call uses it: the owner of the descriptor is
    /// asked each time.
    pub(super) number: Cell<RawFd>,
    pub(super) watches: Watches,
    /// pause_reading() was called.
    pub(super) paused: Cell<bool>,
    /// The context that callbacks run in.
    pub(super) context: Slot<Context>,
    /// The context for the event "writable", where it differs: a copy of the context in which a write had to
    /// wait.
    writer_context: Slot<Context>,
    /// True if the program gave a context for all callbacks. Otherwise, as in asyncio, the last callback runs
    /// in the context of the code that ends the connection.
    pub(super) context_given: Cell<bool>,
    /// The waiter for the connection to be made: a future, or the listener that accepted it.
    pub(super) waiter: Slot,
    /// The exception that ended the connection, until the protocol is told.
    pub(super) cause: Slot,
    /// The number of writes since the connection was gone.
    lost_writes: Cell<u32>,
}

/// The state of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
pub(super) enum ConnectionState {
    Open,
    /// close() was called, and there are still bytes to send.
    Closing,
    /// The protocol is about to be told that the connection is gone.
    Ending,
    /// The protocol has been told, and the descriptor is closed.
    Closed,
}

impl Life {
    pub(super) const fn new() -> Life {
        Life {
            event_loop: Slot::empty(),
            protocol: Slot::empty(),
            phase: Cell::new(ConnectionState::Open),
            number: Cell::new(-1),
            watches: Watches::new(),
            paused: Cell::new(false),
            context: Slot::empty(),
            writer_context: Slot::empty(),
            context_given: Cell::new(false),
            waiter: Slot::empty(),
            cause: Slot::empty(),
            lost_writes: Cell::new(0),
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.phase.get() != ConnectionState::Open
    }

    /// True while the descriptor is not closed yet.
    pub(super) fn is_open(&self) -> bool {
        self.phase.get() != ConnectionState::Closed && self.number.get() >= 0
    }

    /// The descriptor, if `owner` still has it; -1 if not, which the kernel refuses like a closed one. None
    /// if no Python object owns the descriptor.
    #[inline]
    pub(super) fn descriptor_of(&self, owner: &Slot<Owner>) -> Option<RawFd> {
        let number = owner.number()?;
        Some(if number == self.number.get() { number } else { -1 })
    }

    /// The owner has closed the descriptor, or passed it on, without telling us: from now on the loop's
    /// tables have no transport under that number.
    #[cold]
    pub(super) fn give_up(&self, event_loop: &Loop, transport: &Object) {
        let number = self.number.replace(-1);
        self.watches.end(event_loop, Direction::Read);
        self.watches.end(event_loop, Direction::Write);
        drop(event_loop.transports().leave(number, transport));
    }

    pub(super) fn is_reading(&self) -> bool {
        !self.is_closing() && !self.paused.get()
    }

    /// The context that the callbacks run in.
    pub(crate) fn context(&self) -> Option<Context> {
        self.context.get()
    }

    /// The loop, while the connection is not gone.
    pub(crate) fn open_loop(&self) -> Option<Own<Loop>> {
        self.event_loop.get()
    }

    pub(super) fn pause_reading(&self, transport: &Object) -> Res<()> {
        if !self.is_reading() {
            return Ok(());
        }
        self.paused.set(true);
        let Some(event_loop) = self.open_loop() else { return Ok(()) };
        self.watches.end(&event_loop, Direction::Read);
        failure::debug(&event_loop, transport, "pauses reading")
    }

    /// `descriptor` returns the descriptor.
    pub(super) fn resume_reading<T: Watcher>(
        &self,
        transport: &Instance<T>,
        descriptor: impl FnOnce(&Instance<Loop>) -> RawFd,
    ) -> Res<()> {
        if self.is_closing() || !self.paused.get() {
            return Ok(());
        }
        self.paused.set(false);
        let Some(event_loop) = self.open_loop() else { return Ok(()) };
        watcher::watch(&event_loop, descriptor(&event_loop), Direction::Read, transport)?;
        failure::debug(&event_loop, transport.as_object(), "resumes reading")
    }

    /// Gives a new transport its loop and its protocol. Callbacks run in a copy of the caller's context.
    pub(super) fn begin(
        &self,
        event_loop: &Instance<Loop>,
        protocol: &Object,
        waiter: Option<&Object>,
    ) -> Res<()> {
        self.event_loop.set(Some(event_loop.to_own()));
        self.protocol.set(Some(protocol.to_obj()));
        self.waiter.set(waiter.filter(|waiter| !waiter.is_none()).map(Object::to_obj));
        self.context.set(Some(event_loop.contexts().copy_current()?));
        Ok(())
    }

    /// Sets the protocol to call from now on, where its class makes no difference to the transport.
    pub(super) fn set_protocol(&self, protocol: &Object) {
        self.protocol.set(Some(protocol.to_obj()));
    }

    /// Runs the reaction to an event in the transport's context. An exception is reported as one of the
    /// transport's method `name`, unless it ends the run.
    #[inline]
    pub(super) fn within(
        &self,
        event_loop: &Instance<Loop>,
        transport: &Object,
        name: &Object,
        body: impl FnOnce() -> Res<()>,
    ) -> Res<()> {
        match self.context.get() {
            Some(context) => within(event_loop, transport, name, context, body),
            None => Ok(()),
        }
    }

    /// The same for the event "writable". It runs in the context of the write that had to wait, if the
    /// program gave no context.
    pub(super) fn within_writer(
        &self,
        event_loop: &Instance<Loop>,
        transport: &Object,
        body: impl FnOnce() -> Res<()>,
    ) -> Res<()> {
        match self.writer_context.get().or_else(|| self.context.get()) {
            Some(context) => within(event_loop, transport, &names().write_ready, context, body),
            None => Ok(()),
        }
    }

    /// Watches for room to write, and runs the event in the caller's context. `descriptor` is called last:
    /// dropping the previous context may drop the last reference to an object and run its code.
    pub(super) fn wait_for_room<T: Watcher>(
        &self,
        event_loop: &Instance<Loop>,
        transport: &Instance<T>,
        descriptor: impl FnOnce() -> RawFd,
    ) -> Res<()> {
        self.writer_context.set(Some(event_loop.contexts().copy_current()?));
        watcher::watch(event_loop, descriptor(), Direction::Write, transport)
    }

    /// The same for the last event. Afterwards the context is not needed any more.
    #[inline]
    pub(super) fn within_last(
        &self,
        event_loop: &Instance<Loop>,
        transport: &Object,
        body: impl FnOnce() -> Res<()>,
    ) -> Res<()> {
        let Some(context) = self.context.get() else { return Ok(()) };
        let done = within(event_loop, transport, &names().call_connection_lost, context.clone(), body);
        // `part` has dropped the context, but a context that is entered cannot be recycled.
        aside(|| event_loop.contexts().recycle(context));
        done
    }

    /// Starts reading, unless the protocol has paused reading, or has started it by pausing and resuming.
    /// `descriptor` returns the descriptor: the protocol has been called, and may have closed it.
    pub(super) fn start_reading<T: Watcher>(
        &self,
        event_loop: &Instance<Loop>,
        transport: &Instance<T>,
        descriptor: impl FnOnce() -> RawFd,
    ) -> Res<()> {
        if self.is_reading() && !self.watches.go_on(event_loop, Direction::Read) {
            return watcher::watch(event_loop, descriptor(), Direction::Read, transport);
        }
        Ok(())
    }

    /// Tells the protocol, starts reading, and wakes the waiter for the connection. In asyncio these are
    /// three calls in a row in the queue, and none of them stops the next by failing.
    pub(super) fn opened(
        &self,
        event_loop: &Instance<Loop>,
        transport: &Object,
        start: impl FnOnce() -> Res<()>,
    ) -> Res<()> {
        let waiter = self.waiter.take();
        let (Some(target), Some(context)) = (self.protocol.get(), self.context.get()) else {
            return Ok(());
        };
        let own = match self.context_given.get() {
            true => context,
            // Context variables set there stay there, as in a callback with its own context.
            false => event_loop.contexts().copy_of(&context)?,
        };
        let name = &names().connection_made;
        let told = match protocol::call(own.as_object(), &target, name, &[transport]) {
            Ok(_) => {
                event_loop.contexts().recycle(own);
                Ok(())
            }
            Err(raised) => failure::report_callback(event_loop, raised, &target, name, &[transport], own),
        };
        let started = aside(|| {
            start().or_else(|raised| {
                let context = self.context.get().map_or_else(Context::copy_current, Ok)?;
                failure::report_callback(event_loop, raised, transport, &names().read_ready, &[], context)
            })
        });
        let woken = aside(|| waiter.map_or(Ok(()), |waiter| set_result(&waiter)));
        told.and(started).and(woken)
    }

    /// The protocol will be told in the next turn that the connection is gone.
    pub(super) fn schedule_lost<T: Watcher>(
        &self,
        event_loop: &Instance<Loop>,
        transport: &Instance<T>,
        cause: Option<&Object>,
    ) -> Res<()> {
        self.phase.set(ConnectionState::Ending);
        self.cause.set(cause.map(Object::to_obj));
        if !self.context_given.get() {
            let current = event_loop.contexts().copy_current()?;
            if let Some(before) = self.context.replace(Some(current)) {
                event_loop.contexts().recycle(before);
            }
        }
        watcher::tell_later::<Lost, T>(event_loop, transport)
    }

    /// Tells the protocol now. The caller has entered the context, and closes the descriptor next.
    pub(super) fn tell_lost(&self) -> Res<()> {
        let Some(target) = self.protocol.get() else { return Ok(()) };
        let cause = self.cause.take().unwrap_or_else(none);
        target.method(&names().connection_lost, &[&cause]).map(drop)
    }

    /// Counts a write that cannot be sent, and warns a program that continues to write. The way the
    /// connection was lost counts as `losses` such writes.
    #[cold]
    pub(super) fn count_lost_write(&self, losses: u32, words: &str) -> Res<()> {
        if let Some(event_loop) = self.open_loop().filter(|event_loop| event_loop.is_of_parent()) {
            return event_loop.check_usable();
        }
        let before = self.lost_writes.get();
        self.lost_writes.set(before.saturating_add(1));
        if before.saturating_add(losses) >= LOGGED_FROM {
            let names = names();
            names.logger.method(&names.warning, &[&*string(words)?])?;
        }
        Ok(())
    }

    /// Drops the loop and the protocol, once the descriptor is closed.
    pub(super) fn part(&self, event_loop: &Instance<Loop>, transport: &Object) {
        drop(event_loop.transports().leave(self.number.get(), transport));
        if let Some(context) = self.context.take() {
            event_loop.contexts().recycle(context);
        }
        drop((self.protocol.take(), self.event_loop.take(), self.waiter.take(), self.writer_context.take()));
    }

    /// The last reference is gone. If the transport is still open, this warns and returns true, and the
    /// caller closes the descriptor.
    #[cold]
    pub(super) fn was_left_open(&self, transport: &Object) -> bool {
        if !self.is_open() {
            return false;
        }
        if let Err(raised) = warn_unclosed(transport) {
            raised.unraisable(transport);
        }
        self.phase.set(ConnectionState::Closed);
        true
    }

    /// In a forked child the connection belongs to the parent. The child's descriptor is as open as the
    /// parent's.
    pub(super) fn leave_to_parent(&self) {
        self.phase.set(ConnectionState::Closed);
    }

    /// The first words of a repr.
    pub(super) fn words(&self, transport: &Object) -> Res<Vec<String>> {
        let mut words = vec![transport.type_of().attr(&names().dunder_name)?.display()?];
        match self.phase.get() {
            ConnectionState::Open => {}
            ConnectionState::Closed => words.push("closed".to_owned()),
            _ => words.push("closing".to_owned()),
        }
        words.push(format!("fd={}", self.number.get()));
        Ok(words)
    }
}

impl Holds for Life {
    fields! {
        part;
        objects { event_loop, context, writer_context, protocol, waiter, cause }
        plain { phase, number, watches, paused, context_given, lost_writes }
    }
}

#[inline]
fn within(
    event_loop: &Instance<Loop>,
    transport: &Object,
    name: &Object,
    context: Context,
    body: impl FnOnce() -> Res<()>,
) -> Res<()> {
    let Err(raised) = inside(context.as_object(), body) else { return Ok(()) };
    failure::report_callback(event_loop, raised, transport, name, &[], context)
}

/// From this many lost writes on, each is logged; asyncio's number.
const LOGGED_FROM: u32 = 5;

/// A word for whether the loop watches a descriptor, in a repr.
pub(super) fn watched_word(watched: bool) -> &'static str {
    if watched { "polling" } else { "idle" }
}

fn warn_unclosed(transport: &Object) -> Res<()> {
    let names = names();
    let message = string(&format!("unclosed transport {}", transport.repr()?))?;
    let args = [&*message, builtin::resource_warning(), transport];
    names.warn.call_with_names(&args, Some(&names.kw_source)).map(drop)
}

/// `future.set_result(None)`, unless it is done.
pub(super) fn set_result(waiter: &Object) -> Res<()> {
    if let Some(native) = waiter.cast::<Future>() {
        return if native.is_done() { Ok(()) } else { future::resolve(native, none()) };
    }
    if waiter.method(&names().cancelled, &[])?.truth()? {
        return Ok(());
    }
    waiter.method(&names().set_result, &[&none()]).map(drop)
}
