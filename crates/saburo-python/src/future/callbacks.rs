//! The callbacks to be told when a future is done.
//!
//! Nearly every future has one waiter, so the first stands in the future itself. A Python callback becomes
//! a handle only when it is scheduled: `asyncio.wait` adds and takes back more than are ever called.

use std::cell::Cell;

use crate::event_loop::{Ready, Registration};
use crate::ffi::{Behind, Context, Holds, Instance, Obj, Object, Owns, Res, Visit, fields, int, list, tuple};
use crate::handle::{self, Arguments, Handle, TaskWakeup};
use crate::names::names;

use super::Future;

/// One that waits for a future.
#[derive(Clone)]
pub(crate) enum Callback {
    /// A function, and the context to call it in.
    Call(Obj, Context),
    /// A stream's protocol, whose `_handler_done` is called in the context. It is bound when the time comes:
    /// until then each connection would have one more object.
    HandlerDone(Obj, Context),
    /// A task of the same loop that awaits the future, as it is queued to be woken.
    Wake(Ready),
    /// The watch of a descriptor, which ends with the future.
    Unwatch(Registration),
}

/// The waiters of a future, in the order they asked.
pub(crate) struct Callbacks {
    first: Cell<Option<Callback>>,
    #[expect(clippy::box_collection, reason = "two words less in every future; few have a second waiter")]
    more: Cell<Option<Box<Vec<Callback>>>>,
}

impl Callbacks {
    pub(crate) const fn new() -> Callbacks {
        Callbacks { first: Cell::new(None), more: Cell::new(None) }
    }

    #[inline]
    pub(crate) fn push(&self, callback: Callback) -> Res<()> {
        // The two fields are one queue: `first` is only free when `more` is empty.
        match self.first.take() {
            None => match self.more.take() {
                None => self.first.set(Some(callback)),
                Some(more) => return self.push_more(more, callback),
            },
            Some(first) => {
                self.first.set(Some(first));
                return self.push_more(self.more.take().unwrap_or_default(), callback);
            }
        }
        Ok(())
    }

    #[inline]
    #[expect(clippy::box_collection, reason = "as the field")]
    fn push_more(&self, mut more: Box<Vec<Callback>>, callback: Callback) -> Res<()> {
        if more.len() == more.capacity()
            && let Err(full) = more.try_reserve(1)
        {
            self.more.set(Some(more).filter(|more| !more.is_empty()));
            // Let go of only now that the list is whole again.
            drop(callback);
            return Err(full.into());
        }
        more.push(callback);
        self.more.set(Some(more));
        Ok(())
    }

    /// Copies, in order.
    fn snapshot(&self) -> Res<Vec<Callback>> {
        let first = self.first.take();
        let more = self.more.take();
        let mut copies = Vec::new();
        let reserved = copies.try_reserve_exact(1 + more.as_ref().map_or(0, |more| more.len()));
        if reserved.is_ok() {
            copies.extend(first.iter().chain(more.iter().flat_map(|more| more.iter())).cloned());
        }
        self.first.set(first);
        self.more.set(more);
        reserved?;
        Ok(copies)
    }

    /// The way Python sees them: a list of (callback, context), None without any.
    pub(crate) fn list(&self) -> Res<Option<Obj>> {
        let mut pairs = Vec::new();
        for callback in &self.snapshot()? {
            if let Some((function, context)) = callback.parts()? {
                pairs.push(tuple([&*function, &*context].into_iter())?);
            }
        }
        if pairs.is_empty() {
            return Ok(None);
        }
        list(pairs.into_iter()).map(Some)
    }
}

impl Holds for Callbacks {
    fields! {
        part;
        objects { first, more }
    }
}

impl Owns for Callback {
    fn show(&self, visit: &mut Visit<'_>) {
        match self {
            Callback::Call(object, context) | Callback::HandlerDone(object, context) => {
                visit.object(object);
                visit.object(context.as_object());
            }
            Callback::Wake(task) => visit.object(task.as_object()),
            Callback::Unwatch(_) => {}
        }
    }
}

impl Callback {
    /// Is it this very entry? A function that was added twice has a context of its own each time.
    fn is(&self, entry: &Callback) -> bool {
        match (self, entry) {
            (Callback::Call(object, context), Callback::Call(entry, theirs))
            | (Callback::HandlerDone(object, context), Callback::HandlerDone(entry, theirs)) => {
                object.is(entry) && context.as_object().is(theirs.as_object())
            }
            (Callback::Wake(task), Callback::Wake(entry)) => task.as_object().is(entry.as_object()),
            _ => false,
        }
    }

    /// The function and the context it runs in, where there is a function.
    fn parts(&self) -> Res<Option<(Obj, Obj)>> {
        Ok(match self {
            Callback::Call(function, context) => Some((function.clone(), context.clone().into_obj())),
            Callback::HandlerDone(protocol, context) => {
                Some((protocol.attr(&names().handler_done)?, context.clone().into_obj()))
            }
            Callback::Wake(task) => task.as_callback()?,
            Callback::Unwatch(_) => None,
        })
    }
}

/// Adds a function; if the future is done it is called soon.
pub(super) fn add(this: &Instance<Future>, function: Obj, context: Context) -> Res<()> {
    enter(this, Callback::Call(function, context))
}

/// Adds the `_handler_done` of a stream's protocol.
pub(crate) fn add_handler_done(this: &Instance<Future>, protocol: Obj, context: Context) -> Res<()> {
    enter(this, Callback::HandlerDone(protocol, context))
}

fn enter(this: &Instance<Future>, callback: Callback) -> Res<()> {
    if this.is_done() {
        return tell(this, callback);
    }
    this.callbacks.push(callback)
}

/// Takes back every function equal to this one.
pub(super) fn remove(this: &Instance<Future>, function: &Object) -> Res<Obj> {
    if let Some(removed) = remove_only(this, function) {
        return int(removed);
    }
    let mut removed = 0;
    for callback in this.callbacks.snapshot()? {
        let is_equal = match &callback {
            // Comparing runs any code; the list may look different afterwards.
            Callback::Call(candidate, _) => candidate.equals(function)?,
            Callback::HandlerDone(protocol, _) => protocol.attr(&names().handler_done)?.equals(function)?,
            // Only the wake-up object of that very task is equal to a waiting task.
            Callback::Wake(task) => {
                function.cast_exact::<TaskWakeup>().is_some_and(|wakeup| wakeup.is_of(task.as_object()))
            }
            Callback::Unwatch(_) => false,
        };
        if is_equal && take_out(this, &callback) {
            removed += 1;
        }
    }
    int(removed)
}

/// The usual case, without copies and without comparing: there are no callbacks, or just this function.
#[inline]
fn remove_only(this: &Instance<Future>, function: &Object) -> Option<i64> {
    let callbacks = &this.callbacks;
    let first = callbacks.first.take();
    let more = callbacks.more.take();
    match (&first, &more) {
        (None, None) => Some(0),
        (Some(Callback::Call(only, context)), None) if only.is(function) => {
            let context = context.clone();
            // Let go of with the future whole: it may be the last reference.
            drop(first);
            if let Some(event_loop) = this.native_loop.get() {
                event_loop.contexts().recycle(context);
            }
            Some(1)
        }
        _ => {
            callbacks.first.set(first);
            callbacks.more.set(more);
            None
        }
    }
}

/// Removes this one entry if it is still there.
fn take_out(this: &Instance<Future>, entry: &Callback) -> bool {
    let callbacks = &this.callbacks;
    let first = callbacks.first.take();
    if first.as_ref().is_some_and(|first| first.is(entry)) {
        // The next in line moves up, so that `first` stays the oldest.
        if let Some(mut more) = callbacks.more.take() {
            callbacks.first.set(Some(more.remove(0)));
            if !more.is_empty() {
                callbacks.more.set(Some(more));
            }
        }
        drop(first);
        return true;
    }
    callbacks.first.set(first);
    let Some(mut more) = callbacks.more.take() else { return false };
    let found = more.iter().position(|callback| callback.is(entry));
    let taken = found.map(|index| more.remove(index));
    if !more.is_empty() {
        callbacks.more.set(Some(more));
    }
    // Dropped last: it may run code that looks at the callbacks.
    taken.is_some()
}

/// Tells every callback, through the ready queue.
#[inline]
pub(super) fn schedule(this: &Instance<Future>) -> Res<()> {
    let Some(first) = this.callbacks.first.take() else { return Ok(()) };
    let more = this.callbacks.more.take();
    tell(this, first)?;
    if let Some(more) = more {
        for callback in *more {
            tell(this, callback)?;
        }
    }
    Ok(())
}

#[inline]
fn tell(this: &Instance<Future>, callback: Callback) -> Res<()> {
    let Some(event_loop) = this.native_loop.get() else { return tell_foreign(this, &callback) };
    match callback {
        Callback::Wake(task) => event_loop.push(task),
        Callback::Unwatch(registration) => {
            event_loop.unwatch(registration);
            Ok(())
        }
        Callback::HandlerDone(protocol, context) => {
            tell(this, Callback::Call(protocol.attr(&names().handler_done)?, context))
        }
        Callback::Call(function, context) => {
            // A task that awaits through the generic protocol registered its wake-up object.
            if let Some(wake) = TaskWakeup::entry(&event_loop, &function) {
                return event_loop.push(wake);
            }
            let args = Arguments::One(this.as_object().to_obj());
            handle::push(&event_loop, Handle::with(function, args, context, event_loop.clone())).map(drop)
        }
    }
}

/// A loop that is not saburo's: `loop.call_soon(callback, future, context=context)`.
#[cold]
fn tell_foreign(this: &Instance<Future>, callback: &Callback) -> Res<()> {
    let Some(event_loop) = this.event_loop() else { return Ok(()) };
    let Some((function, context)) = callback.parts()? else { return Ok(()) };
    let names = names();
    let args: [&Object; 3] = [&function, this.as_object(), &context];
    event_loop.method_with_names(&names.call_soon, &args, Some(&names.kw_context)).map(drop)
}

/// The tasks among the waiters.
pub(super) fn waiting_tasks(this: &Instance<Future>) -> Res<Vec<Obj>> {
    let tasks = this.callbacks.snapshot()?.into_iter().filter_map(|callback| match callback {
        Callback::Wake(task) => Some(task.into_obj()),
        Callback::Unwatch(_) | Callback::HandlerDone(..) => None,
        Callback::Call(function, _) => TaskWakeup::task_of(&function).map(Behind::into_obj),
    });
    Ok(tasks.collect())
}
