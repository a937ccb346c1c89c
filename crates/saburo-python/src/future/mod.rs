//! Future: a result that is not there yet, and the callbacks to be told of it.
//!
//! The states are asyncio's: pending, then for good either cancelled or finished. Waiters are told
//! through the loop's ready queue, in the order they asked, never from inside `set_result`.

mod awaited_by;
mod awaiter;
mod callbacks;
mod queued;
mod readiness;

use std::cell::Cell;
use std::ffi::CStr;

use crate::callable;
use crate::event_loop::{Direction, Loop};
use crate::ffi::{
    Args, Builder, Class, Context, Dict, Instance, Obj, Object, Own, Owns, Params, Raised, Res, Slot,
    builtin, fields, mapping, none, raise, string,
};
use crate::names::names;

pub(crate) use awaited_by::{add_to_awaited_by, discard_from_awaited_by};
pub(crate) use awaiter::{FutureIter, step_of as step};
pub(crate) use callbacks::{Callback, Callbacks, add_handler_done};
use queued::arrived;
pub(crate) use queued::{failed, returned};
pub(crate) use readiness::{wait_for, wait_on};

/// A result to come.
pub(crate) struct Future {
    /// The loop, if it is one of ours; most steps end in its ready queue.
    native_loop: Slot<Own<Loop>>,
    /// The loop, if it is not saburo's.
    foreign_loop: Slot,
    /// The result or the exception, once finished.
    outcome: Slot,
    callbacks: Callbacks,
    /// Who is recorded to wait for it other than by a callback: one task, or a set of them.
    awaited_by: Slot,
    /// What few futures have; made when first needed.
    rare: Cell<Option<Box<Rare>>>,
    state: Cell<State>,
    /// Between `__await__`'s yield and the task that receives it: "this was a yield from".
    blocking: Cell<bool>,
    /// An exception that no code has asked for yet.
    log_traceback: Cell<bool>,
    /// The finalizer has run.
    finalized: Cell<bool>,
}

/// Where a future stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Pending,
    Cancelled,
    Returned,
    Failed,
}

/// Fields of a future that are seldom set.
#[derive(Default)]
struct Rare {
    cancel_message: Option<Obj>,
    /// The very CancelledError that ended a task, to be raised once to the code that awaits it.
    cancelled_error: Option<Obj>,
    /// The exception's traceback when it was set; raising it again must not make it grow.
    traceback: Option<Obj>,
    source_traceback: Option<Obj>,
}

impl Owns for Rare {
    fields! {
        value;
        objects { cancel_message, cancelled_error, traceback, source_traceback }
    }
}

impl Future {
    /// A pending future of one of our loops.
    #[inline]
    pub(crate) fn of(event_loop: &Instance<Loop>) -> Future {
        Future {
            native_loop: Slot::new(Some(event_loop.to_own())),
            foreign_loop: Slot::empty(),
            outcome: Slot::empty(),
            callbacks: Callbacks::new(),
            awaited_by: Slot::empty(),
            rare: Cell::new(None),
            state: Cell::new(State::Pending),
            blocking: Cell::new(false),
            log_traceback: Cell::new(false),
            finalized: Cell::new(false),
        }
    }

    #[inline]
    pub(crate) fn state(&self) -> State {
        self.state.get()
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.state.get() != State::Pending
    }

    #[inline]
    pub(crate) fn native_loop(&self) -> Option<Own<Loop>> {
        self.native_loop.get()
    }

    /// The loop, saburo's or another; none before `__init__`.
    #[inline]
    pub(crate) fn event_loop(&self) -> Option<Obj> {
        match self.native_loop.get() {
            Some(native) => Some(native.into_obj()),
            None => self.foreign_loop.get(),
        }
    }

    /// True if the future belongs to this loop.
    #[inline]
    pub(crate) fn is_of(&self, event_loop: &Instance<Loop>) -> bool {
        self.native_loop.holds(event_loop.as_object())
    }

    pub(crate) fn belongs_to(&self, event_loop: &Object) -> bool {
        self.native_loop.holds(event_loop) || self.foreign_loop.holds(event_loop)
    }

    #[inline]
    pub(crate) fn blocking(&self) -> &Cell<bool> {
        &self.blocking
    }

    #[inline]
    pub(crate) fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }

    /// Records that the exception was retrieved.
    #[inline]
    pub(crate) fn notice(&self) {
        self.log_traceback.set(false);
    }

    fn rare<R>(&self, body: impl FnOnce(&mut Rare) -> R) -> R {
        // The box is out of its field meanwhile; `body` must not call Python, and drops nothing.
        let mut rare = self.rare.take().unwrap_or_default();
        let result = body(&mut rare);
        self.rare.set(Some(rare));
        result
    }

    fn rare_opt(&self, body: impl FnOnce(&mut Rare) -> Option<Obj>) -> Option<Obj> {
        let mut rare = self.rare.take()?;
        let result = body(&mut rare);
        self.rare.set(Some(rare));
        result
    }

    pub(crate) fn set_cancel_message(&self, message: Option<Obj>) {
        if message.is_none() && self.rare_opt(|rare| rare.cancel_message.clone()).is_none() {
            return;
        }
        drop(self.rare(|rare| std::mem::replace(&mut rare.cancel_message, message)));
    }

    pub(crate) fn cancel_message(&self) -> Option<Obj> {
        self.rare_opt(|rare| rare.cancel_message.clone())
    }

    pub(crate) fn set_cancelled_error(&self, error: Obj) {
        drop(self.rare(|rare| rare.cancelled_error.replace(error)));
    }

    pub(crate) fn set_source_traceback(&self, traceback: Obj) {
        drop(self.rare(|rare| rare.source_traceback.replace(traceback)));
    }

    pub(crate) fn source_traceback(&self) -> Option<Obj> {
        self.rare_opt(|rare| rare.source_traceback.clone())
    }

    /// The CancelledError to raise: the one that ended a task the first time, then one with the message.
    pub(crate) fn cancelled_error(&self) -> Res<Obj> {
        if let Some(error) = self.rare_opt(|rare| rare.cancelled_error.take()) {
            return Ok(error);
        }
        let class = &names().cancelled_error;
        match self.cancel_message() {
            Some(message) if !message.is_none() => class.call(&[&message]),
            _ => class.call0(),
        }
    }

    /// What waiting for it gives, or raises.
    #[inline]
    pub(crate) fn result(&self) -> Res<Obj> {
        match self.state.get() {
            State::Returned => {
                self.notice();
                Ok(self.outcome.get().unwrap_or_else(none))
            }
            _ => self.no_result(),
        }
    }

    #[cold]
    fn no_result(&self) -> Res<Obj> {
        match self.state.get() {
            State::Pending => raise(&names().invalid_state_error, "Result is not set."),
            State::Cancelled => {
                self.notice();
                Err(Raised::raising(&*self.cancelled_error()?))
            }
            State::Returned | State::Failed => Err(Raised::raising(&*self.failure()?)),
        }
    }

    /// The exception of a future that has failed, to be raised to each waiter: with the traceback it
    /// had when the future failed, or that of each who has caught it before would be part of it.
    pub(crate) fn failure(&self) -> Res<Obj> {
        self.notice();
        let exception = self.outcome.get().expect("a failed future holds its exception");
        exception.set_traceback(self.rare_opt(|rare| rare.traceback.clone()).as_deref())?;
        Ok(exception)
    }

    /// The exception, None if there is none. It is only looked at: other code may be handling it now,
    /// whose traceback it has.
    pub(crate) fn exception(&self) -> Res<Option<Obj>> {
        match self.state.get() {
            State::Pending => raise(&names().invalid_state_error, "Exception is not set."),
            State::Cancelled => {
                self.notice();
                Err(Raised::raising(&*self.cancelled_error()?))
            }
            State::Returned => {
                self.notice();
                Ok(None)
            }
            State::Failed => {
                self.notice();
                Ok(self.outcome.get())
            }
        }
    }

    fn check_initialized(&self) -> Res<()> {
        if self.native_loop.is_set() || self.foreign_loop.is_set() {
            return Ok(());
        }
        raise(builtin::runtime_error(), "Future object is not initialized.")
    }
}

/// Finishes with a result and queues the callbacks.
#[inline]
pub(crate) fn resolve(this: &Instance<Future>, value: Obj) -> Res<()> {
    if this.is_done() {
        return raise(&names().invalid_state_error, "invalid state");
    }
    let before = this.outcome.replace(Some(value));
    this.state.set(State::Returned);
    let told = callbacks::schedule(this);
    drop(before);
    told
}

/// Finishes with an exception instance and queues the callbacks.
pub(crate) fn fail(this: &Instance<Future>, exception: Obj) -> Res<()> {
    if this.is_done() {
        return raise(&names().invalid_state_error, "invalid state");
    }
    if let Some(traceback) = exception.traceback() {
        drop(this.rare(|rare| rare.traceback.replace(traceback)));
    }
    this.outcome.set(Some(exception));
    this.state.set(State::Failed);
    let told = callbacks::schedule(this);
    this.log_traceback.set(true);
    told
}

/// Finishes with what a user gives for an exception, and queues the callbacks.
pub(crate) fn set_exception(this: &Instance<Future>, given: &Object) -> Res<()> {
    if this.is_done() {
        return raise(&names().invalid_state_error, "invalid state");
    }
    fail(this, exception_instance(given)?)
}

/// Cancels a pending future and queues the callbacks; False if it was done before.
pub(crate) fn cancel(this: &Instance<Future>, message: Option<Obj>) -> Res<bool> {
    this.notice();
    if this.is_done() {
        return Ok(false);
    }
    this.set_cancel_message(message);
    this.state.set(State::Cancelled);
    callbacks::schedule(this)?;
    Ok(true)
}

/// Brings what a user passed to `set_exception` into shape: an instance, and never StopIteration.
fn exception_instance(given: &Object) -> Res<Obj> {
    let exception = if given.is_exception_class() { given.call0()? } else { given.to_obj() };
    if !exception.is_exception() {
        return raise(builtin::type_error(), "invalid exception object");
    }
    if exception.is_instance(builtin::stop_iteration())? {
        // Raised into a coroutine, it would look like its return.
        let text = "StopIteration interacts badly with generators and cannot be raised into a Future";
        let error = builtin::runtime_error().call(&[&*string(text)?])?;
        error.set_attr(&names().dunder_cause, &exception)?;
        error.set_attr(&names().dunder_context, &exception)?;
        return Ok(error);
    }
    Ok(exception)
}

/// `Future(*, loop=None)`.
pub(crate) fn init(this: &Instance<Future>, event_loop: Option<&Object>) -> Res<()> {
    if this.native_loop.is_set() || this.foreign_loop.is_set() {
        // The newest asyncio's rule: starting over would leave those who wait for it behind.
        let class = this.as_object().type_of().attr(&names().dunder_name)?.display()?;
        return raise(builtin::runtime_error(), &format!("{class} object is already initialized"));
    }
    let event_loop = match event_loop {
        Some(event_loop) if !event_loop.is_none() => event_loop.to_obj(),
        _ => names().get_event_loop.call0()?,
    };
    match event_loop.cast::<Loop>() {
        Some(native) => {
            this.native_loop.set(Some(native.to_own()));
            if native.debug() {
                this.set_source_traceback(names().extract_stack.call0()?);
            }
        }
        None => {
            this.foreign_loop.set(Some(event_loop.clone()));
            if event_loop.method(&names().get_debug, &[])?.truth()? {
                this.set_source_traceback(names().extract_stack.call0()?);
            }
        }
    }
    Ok(())
}

fn init_args(this: &Instance<Future>, args: Args<'_>) -> Res<()> {
    const PARAMS: Params<1> = Params { function: "Future", names: ["loop"], required: 0, positional: 0 };
    let [event_loop] = args.bind(&PARAMS)?;
    init(this, event_loop)
}

/// Reports an exception that no code asked for, now that none can any more.
pub(crate) fn report_unretrieved(this: &Instance<Future>) {
    this.finalized.set(true);
    if !this.log_traceback.replace(false) {
        return;
    }
    let report = || -> Res<()> {
        let names = names();
        let (Some(event_loop), Some(exception)) = (this.event_loop(), this.outcome.get()) else {
            return Ok(());
        };
        let class = this.as_object().type_of().attr(&names.dunder_name)?.display()?;
        let message = string(&format!("{class} exception was never retrieved"))?;
        let mut entries: Vec<(&Object, &Object)> = vec![
            (&names.message, &message),
            (&names.exception, &exception),
            (&names.future, this.as_object()),
        ];
        let traceback = this.source_traceback();
        if let Some(traceback) = &traceback {
            entries.push((&names.source_traceback, traceback));
        }
        let context = mapping(&entries)?;
        event_loop.method(&names.call_exception_handler, &[&context]).map(drop)
    };
    if let Err(raised) = report() {
        raised.unraisable(this.as_object());
    }
}

/// `add_done_callback(callback, *, context=None)`.
fn add_done_callback(this: &Instance<Future>, args: Args<'_>) -> Res<()> {
    let &[callback] = args.positional() else {
        return raise(
            builtin::type_error(),
            &format!(
                "add_done_callback() takes exactly 1 positional argument ({} given)",
                args.positional().len()
            ),
        );
    };
    this.check_initialized()?;
    callable::check("add_done_callback", callback)?;
    let context = match args.only_keyword("add_done_callback", "context")? {
        Some(context) if !context.is_none() => Context::from_obj(context.to_obj()),
        _ => match this.native_loop() {
            Some(event_loop) => event_loop.contexts().copy_current()?,
            None => Context::copy_current()?,
        },
    };
    callbacks::add(this, callback.to_obj(), context)
}

impl Class for Future {
    fields! {
        class, dict Dict;
        objects { native_loop, foreign_loop, outcome, callbacks: Callbacks::new(), awaited_by, rare }
        plain { state: Cell::new(State::Pending), blocking, log_traceback, finalized }
    }

    const NAME: &'static CStr = c"saburo.Future";
    const DOC: &'static CStr = c"Future(*, loop=None)
--

A result that is not there yet.

Await it, or add a callback; somebody else calls `set_result`, `set_exception` or `cancel`. It belongs
to the thread of its loop: from other threads use `loop.call_soon_threadsafe(future.set_result, x)`.
`isinstance(future, asyncio.Future)` is true. Semantics: asyncio.Future.

>>> import saburo
>>> loop = saburo.new_event_loop()
>>> future = loop.create_future()
>>> handle = loop.call_soon(future.set_result, 42)
>>> loop.run_until_complete(future)
42
>>> loop.close()";
    const REUSED: bool = true;
    const FINALIZES: bool = true;

    #[inline]
    fn was_finalized(&self) -> bool {
        self.finalized.get()
    }

    #[inline]
    fn wants_finalizer(&self) -> bool {
        self.log_traceback.get()
    }

    fn finalize(this: &Instance<Future>) {
        report_unretrieved(this);
    }

    fn describe(builder: Builder<Future>) -> Builder<Future> {
        let builder = builder
            .generic()
            .init(init_args)
            .noargs(
                c"result",
                |this| this.result(),
                c"The result; raises the exception, CancelledError, or InvalidStateError while it is pending.",
            )
            .noargs(
                c"exception",
                |this| this.exception(),
                c"The exception or None; raises CancelledError, or InvalidStateError while it is pending.",
            )
            .one(
                c"set_result",
                |this, value| this.check_initialized().and_then(|()| resolve(this, value.to_obj())),
                c"set_result(result): finishes with a result; InvalidStateError if the future is done already.",
            )
            .one(
                c"set_exception",
                |this, given| this.check_initialized().and_then(|()| set_exception(this, given)),
                c"set_exception(exception): finishes with an exception; InvalidStateError if the future is done already.",
            )
            .many(
                c"add_done_callback",
                add_done_callback,
                c"add_done_callback(fn, /, *, context=None): calls fn(future) from the loop once the future is done, or soon if it is.",
            )
            .one(
                c"remove_done_callback",
                |this, callback| this.check_initialized().and_then(|()| callbacks::remove(this, callback)),
                c"remove_done_callback(fn): takes back every callback equal to this one, and returns how many there were.",
            )
            .many(
                c"cancel",
                |this, args| {
                    this.check_initialized()?;
                    cancel(this, cancel_argument(args)?)
                },
                c"cancel(msg=None): cancels a pending future; returns False if it was done already.",
            )
            .noargs(c"cancelled", |this| this.state.get() == State::Cancelled, c"Was it cancelled?")
            .noargs(c"done", |this| this.is_done(), c"Is it cancelled or finished?")
            .noargs(
                c"get_loop",
                |this| this.check_initialized().map(|()| this.event_loop()),
                c"The event loop it belongs to.",
            )
            .noargs(
                c"_make_cancelled_error",
                |this| this.cancelled_error(),
                c"The CancelledError that awaiting it raises.",
            )
            .awaits(awaiter::await_)
            .iter(awaiter::await_)
            .repr(|this| names().future_repr.call(&[this.as_object()]));
        describe_internals(builder)
    }
}

/// The message of `cancel(msg=None)`.
pub(crate) fn cancel_argument(args: Args<'_>) -> Res<Option<Obj>> {
    const PARAMS: Params<1> = Params { function: "cancel", names: ["msg"], required: 0, positional: 1 };
    let [message] = args.bind(&PARAMS)?;
    Ok(message.filter(|message| !message.is_none()).map(Object::to_obj))
}

/// What asyncio's own modules, debuggers and reprs look at.
fn describe_internals(builder: Builder<Future>) -> Builder<Future> {
    builder
        .reported_class(
            |_| &names().class_future,
            c"asyncio.Future, for isinstance; of a derived class that class.",
        )
        .getter(c"_loop", |this| this.event_loop(), c"The event loop.")
        .getter(
            c"_state",
            |this| {
                string(match this.state.get() {
                    State::Pending => "PENDING",
                    State::Cancelled => "CANCELLED",
                    State::Returned | State::Failed => "FINISHED",
                })
            },
            c"PENDING, CANCELLED or FINISHED.",
        )
        .getter(
            c"_result",
            |this| if this.state.get() == State::Returned { this.outcome.get() } else { None },
            c"The result, None without one.",
        )
        .getter(
            c"_exception",
            |this| if this.state.get() == State::Failed { this.outcome.get() } else { None },
            c"The exception, None without one.",
        )
        .getter(c"_callbacks", |this| this.callbacks.list(), c"Pairs of callback and context, or None.")
        .getter(
            c"_asyncio_future_blocking",
            |this| this.blocking.get(),
            c"Marks a future that was reached by await rather than by a bare yield.",
        )
        .setter(|this, value| {
            this.blocking.set(value.truth()?);
            Ok(())
        })
        .getter(
            c"_log_traceback",
            |this| this.log_traceback.get(),
            c"Is there an exception nobody has asked for?",
        )
        .setter(|this, value| {
            if value.truth()? {
                return raise(builtin::value_error(), "_log_traceback can only be set to False");
            }
            this.notice();
            Ok(())
        })
        .getter(c"_cancel_message", |this| this.cancel_message(), c"The message of the last cancel().")
        .setter(|this, value| {
            this.set_cancel_message((!value.is_none()).then(|| value.to_obj()));
            Ok(())
        })
        .getter(c"_source_traceback", |this| this.source_traceback(), c"Where it was made, in debug mode.")
        .getter(
            c"_asyncio_awaited_by",
            awaited_by::awaited_by,
            c"The set of tasks that await it, None if there is none.",
        )
}

/// A pending future of a loop of ours.
pub(crate) fn new_future(event_loop: &Instance<Loop>) -> Res<Own<Future>> {
    let future = Instance::alloc(Future::of(event_loop))?;
    if event_loop.debug() {
        future.set_source_traceback(names().extract_stack.call0()?);
    }
    Ok(future)
}

/// `loop.create_future()`
fn create_future(event_loop: &Instance<Loop>) -> Res<Obj> {
    if event_loop.has_native_tasks() {
        return new_future(event_loop).map(Own::into_obj);
    }
    let names = names();
    names.class_future.call_with_names(&[event_loop.as_object()], Some(&names.kw_loop))
}

/// What a loop has for its futures.
pub(crate) fn describe_loop(builder: Builder<Loop>) -> Builder<Loop> {
    builder
        .noargs(c"create_future", create_future, c"A pending Future of this loop.")
        .one(
            c"_wait_readable",
            |this, fd| wait_for(this, Direction::Read, fd).map(Own::into_obj),
            c"A future done when fd is readable; it stops watching as soon as it is done or cancelled.",
        )
        .one(
            c"_wait_writable",
            |this, fd| wait_for(this, Direction::Write, fd).map(Own::into_obj),
            c"A future done when fd is writable; it stops watching as soon as it is done or cancelled.",
        )
}
