//! The life of a transport: it is made, its protocol is told, it closes, its protocol is told once more.
//!
//! Every class of transports has this part and derefs to it. The rule: `connection_lost` is called exactly
//! once, and the descriptor is closed right after it, whatever it has raised.

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

/// Where a transport stands, and who is told.
pub(crate) struct Life {
    /// None once the connection is gone and told so.
    pub(super) event_loop: Slot<Own<Loop>>,
    pub(super) protocol: Slot,
    pub(super) phase: Cell<Phase>,
    /// The number by which the loop's tables know it; -1 before it has one, and once that is known to be
    /// somebody else's. No system call goes by it: whoever owns the descriptor is asked each time.
    pub(super) number: Cell<RawFd>,
    pub(super) watches: Watches,
    /// pause_reading() was called.
    pub(super) paused: Cell<bool>,
    /// What callbacks run in.
    pub(super) context: Slot<Context>,
    /// What the event of room runs in, where that is not the same: a copy of that in which something had to
    /// wait.
    writer_context: Slot<Context>,
    /// Was the context given, for all callbacks? Else the last one runs in that of whoever ends the
    /// connection, as in asyncio.
    pub(super) context_given: Cell<bool>,
    /// Whoever waits for the connection to be made: a future, or the listener that took it.
    pub(super) waiter: Slot,
    /// What ended the connection, until it is told.
    pub(super) cause: Slot,
    /// Writes since the connection was gone.
    lost_writes: Cell<u32>,
}

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
pub(super) enum Phase {
    Open,
    /// close() was called, and there are bytes to send yet.
    Closing,
    /// The protocol is about to be told that the connection is gone.
    Ending,
    /// It has been told, and the descriptor is closed.
    Closed,
}

impl Life {
    pub(super) const fn new() -> Life {
        Life {
            event_loop: Slot::empty(),
            protocol: Slot::empty(),
            phase: Cell::new(Phase::Open),
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
        self.phase.get() != Phase::Open
    }

    /// Is there a descriptor to close yet?
    pub(super) fn is_open(&self) -> bool {
        self.phase.get() != Phase::Closed && self.number.get() >= 0
    }

    /// The descriptor, if `owner` has it still; -1 if not, which the kernel refuses as it refuses a closed
    /// one. None if nobody in Python owns it.
    #[inline]
    pub(super) fn descriptor_of(&self, owner: &Slot<Owner>) -> Option<RawFd> {
        let number = owner.number()?;
        Some(if number == self.number.get() { number } else { -1 })
    }

    /// The owner has closed the descriptor, or passed it on, without a word to us: from now on the loop's
    /// tables know no transport by that number.
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

    /// What its callbacks run in.
    pub(crate) fn context(&self) -> Option<Context> {
        self.context.get()
    }

    /// The loop, as long as the connection is not gone.
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

    /// `descriptor` asks for it.
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

    /// Gives a transport that is being made its loop and its protocol. Callbacks run in a copy of the
    /// caller's context.
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

    /// The protocol that is called from now on, where its class makes no difference to the transport.
    pub(super) fn set_protocol(&self, protocol: &Object) {
        self.protocol.set(Some(protocol.to_obj()));
    }

    /// Runs what an event brings about, in the transport's context. Whatever is raised, except what ends the
    /// run, is reported as of the transport's method `name`.
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

    /// The same for the event of room, which belongs to whoever had to wait for it where the context was not
    /// given.
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

    /// Tells the transport when there is room, and in the caller's context. `descriptor` asks for it, last:
    /// the context before may have been the last to hold something.
    pub(super) fn wait_for_room<T: Watcher>(
        &self,
        event_loop: &Instance<Loop>,
        transport: &Instance<T>,
        descriptor: impl FnOnce() -> RawFd,
    ) -> Res<()> {
        self.writer_context.set(Some(event_loop.contexts().copy_current()?));
        watcher::watch(event_loop, descriptor(), Direction::Write, transport)
    }

    /// The same for the last event, after which nobody needs the context.
    #[inline]
    pub(super) fn within_last(
        &self,
        event_loop: &Instance<Loop>,
        transport: &Object,
        body: impl FnOnce() -> Res<()>,
    ) -> Res<()> {
        let Some(context) = self.context.get() else { return Ok(()) };
        let done = within(event_loop, transport, &names().call_connection_lost, context.clone(), body);
        // `part` has let go of it, but while it was entered it could not be given back.
        aside(|| event_loop.contexts().recycle(context));
        done
    }

    /// Starts reading, unless the protocol did by pausing and resuming, or wants none. `descriptor` asks for
    /// it: the protocol has been called, and may have closed it.
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

    /// Tells the protocol, starts reading, and lets whoever waits for the connection go on: three calls in a
    /// row in asyncio's queue, of which none fails another.
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
            // What is set there stays there, as in a callback of its own.
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
        self.phase.set(Phase::Ending);
        self.cause.set(cause.map(Object::to_obj));
        if !self.context_given.get() {
            let current = event_loop.contexts().copy_current()?;
            if let Some(before) = self.context.replace(Some(current)) {
                event_loop.contexts().recycle(before);
            }
        }
        watcher::tell_later::<Lost, T>(event_loop, transport)
    }

    /// Tells the protocol now. Whoever calls this is within the context, and closes the descriptor next.
    pub(super) fn tell_lost(&self) -> Res<()> {
        let Some(target) = self.protocol.get() else { return Ok(()) };
        let cause = self.cause.take().unwrap_or_else(none);
        target.method(&names().connection_lost, &[&cause]).map(drop)
    }

    /// Something was written that nobody will get; a program that goes on with it is told. How the connection
    /// was lost counts for as many of `losses`.
    #[cold]
    pub(super) fn count_lost_write(&self, losses: u32, words: &str) -> Res<()> {
        if let Some(event_loop) = self.open_loop().filter(|event_loop| event_loop.is_inherited()) {
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

    /// Lets go of the loop and the protocol, once the descriptor is closed.
    pub(super) fn part(&self, event_loop: &Instance<Loop>, transport: &Object) {
        drop(event_loop.transports().leave(self.number.get(), transport));
        if let Some(context) = self.context.take() {
            event_loop.contexts().recycle(context);
        }
        drop((self.protocol.take(), self.event_loop.take(), self.waiter.take(), self.writer_context.take()));
    }

    /// The last reference is gone: has nobody closed it? Then says so, and the caller closes the descriptor.
    #[cold]
    pub(super) fn was_left_open(&self, transport: &Object) -> bool {
        if !self.is_open() {
            return false;
        }
        if let Err(raised) = warn_unclosed(transport) {
            raised.unraisable(transport);
        }
        self.phase.set(Phase::Closed);
        true
    }

    /// In a forked child: the connection is the parent's. The descriptor is as open as the parent's.
    pub(super) fn leave_to_parent(&self) {
        self.phase.set(Phase::Closed);
    }

    /// The words that a repr begins with.
    pub(super) fn words(&self, transport: &Object) -> Res<Vec<String>> {
        let mut words = vec![transport.type_of().attr(&names().dunder_name)?.display()?];
        match self.phase.get() {
            Phase::Open => {}
            Phase::Closed => words.push("closed".to_owned()),
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

/// From so many lost writes on, each is logged; asyncio's number.
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
