//! Task: a coroutine that a loop drives, and a future of its result.
//!
//! The loop holds every unfinished task (see `listed`), so none vanishes because nobody kept it. The
//! step itself, where a coroutine runs, is in `step`; this file is the class around it.

mod create;
mod listed;
mod step;

use std::cell::Cell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::coroutine;
use crate::event_loop::Loop;
use crate::ffi::{
    Args, Builder, Class, Context, Dict, Instance, Obj, Object, Own, Params, Raised, Res, Slot, builtin,
    deeper, fields, int, mapping, none, raise, string,
};
use crate::future::{self, Future};
use crate::handle::TaskWakeup;
use crate::names::names;

/// A coroutine being driven.
#[repr(C)]
pub(crate) struct Task {
    future: Future,
    /// The coroutine, until it has ended.
    coro: Slot,
    context: Slot<Context>,
    /// What the task is waiting for.
    waits_for: Slot,
    /// The name, once it was given or asked for.
    name: Slot,
    /// To be thrown into the coroutine at its next step: a misuse of `await` found in the last one.
    pending_error: Slot,
    /// Makes the default name, `Task-<serial>`.
    serial: Cell<u64>,
    cancel_requests: Cell<u32>,
    /// Its place in the loop's table of unfinished tasks.
    place: Cell<Option<u32>>,
    /// Throw CancelledError at the next step.
    must_cancel: Cell<bool>,
    /// Complain if the task is freed before it is done.
    log_destroy_pending: Cell<bool>,
}

/// Counts the tasks of all loops, for their default names. The interpreter lock orders it.
static SERIAL: AtomicU64 = AtomicU64::new(0);

impl Task {
    pub(crate) fn context(&self) -> Option<Context> {
        self.context.get()
    }

    #[inline]
    pub(crate) fn native_loop(&self) -> Option<Own<Loop>> {
        self.future.native_loop()
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.future.is_done()
    }
}

/// What `create_task` was asked for besides the coroutine.
#[derive(Default)]
struct TaskOptions<'a> {
    name: Option<&'a Object>,
    context: Option<&'a Object>,
    eager: bool,
}

/// Makes a task of one of our loops and gets it going.
#[inline]
fn create(event_loop: &Instance<Loop>, coro: &Object, options: &TaskOptions<'_>) -> Res<Own<Task>> {
    if !is_coroutine(coro)? {
        return not_a_coroutine(coro);
    }
    let mut task = Task::blank();
    task.future = Future::of(event_loop);
    // See `UnfinishedTasks`.
    let this = Instance::alloc_hidden(task)?;
    if event_loop.debug() {
        this.future.set_source_traceback(names().extract_stack.call0()?);
    }
    let begun = begin(Some(event_loop), &this, coro, options);
    if begun.is_err() || this.is_done() || !event_loop.is_running() {
        this.reveal();
    }
    begun.map(|()| this)
}

/// The common end of `create` and `__init__`: the future's part is ready.
fn begin(
    home: Option<&Instance<Loop>>,
    this: &Instance<Task>,
    coro: &Object,
    options: &TaskOptions<'_>,
) -> Res<()> {
    let context = match options.context {
        Some(context) => Context::checked(context.to_obj())?,
        None => match home {
            Some(event_loop) => event_loop.contexts().copy_current()?,
            None => Context::copy_current()?,
        },
    };
    this.context.set(Some(context));
    match options.name {
        Some(name) => this.name.set(Some(plain_name(name)?)),
        None => {
            let serial = SERIAL.load(Ordering::Relaxed) + 1;
            SERIAL.store(serial, Ordering::Relaxed);
            this.serial.set(serial);
        }
    }
    this.coro.set(Some(coro.to_obj()));

    if options.eager && loop_is_running(home, this)? {
        return step::start_eagerly(home, this);
    }
    // Listed only once it is queued: a closed loop takes none.
    soon(home, this)?;
    listed::enlist(home, this)
}

fn loop_is_running(home: Option<&Instance<Loop>>, this: &Instance<Task>) -> Res<bool> {
    match home {
        Some(event_loop) => Ok(event_loop.is_running()),
        None => match this.future.event_loop() {
            Some(event_loop) => event_loop.method(&names().is_running, &[])?.truth(),
            None => Ok(false),
        },
    }
}

/// Queues the next step.
#[inline]
fn soon(home: Option<&Instance<Loop>>, this: &Instance<Task>) -> Res<()> {
    match home {
        Some(event_loop) => event_loop.push(step::step_later(this.to_own())),
        None => soon_elsewhere(this),
    }
}

/// On a loop that is not saburo's a step is an ordinary call.
#[cold]
fn soon_elsewhere(this: &Instance<Task>) -> Res<()> {
    let names = names();
    let event_loop = this.future.event_loop().unwrap_or_else(none);
    let step = TaskWakeup::step_of(step::as_sleeper(this))?;
    let context = this.context.get().map_or_else(none, Context::into_obj);
    let args: [&Object; 2] = [step.as_object(), &context];
    event_loop.method_with_names(&names.call_soon, &args, Some(&names.kw_context)).map(drop)
}

#[inline]
fn is_coroutine(coro: &Object) -> Res<bool> {
    if coro.is_exact_coroutine() || coroutine::is_native(coro) {
        return Ok(true);
    }
    names().is_coroutine.call(&[coro])?.truth()
}

#[cold]
fn not_a_coroutine<T>(coro: &Object) -> Res<T> {
    raise(builtin::type_error(), &format!("a coroutine was expected, got {}", coro.repr()?))
}

/// A task's name is a str; anything else is asked for its `str()`.
fn plain_name(name: &Object) -> Res<Obj> {
    if name.is_exact_str() { Ok(name.to_obj()) } else { names().str_class.call(&[name]) }
}

fn name(this: &Instance<Task>) -> Res<Obj> {
    if let Some(name) = this.name.get() {
        return Ok(name);
    }
    let name = string(&format!("Task-{}", this.serial.get()))?;
    this.name.set(Some(name.clone()));
    Ok(name)
}

/// Asks the task to stop: CancelledError is thrown into its coroutine at the next chance.
pub(crate) fn cancel(this: &Instance<Task>, message: Option<Obj>) -> Res<bool> {
    this.future.notice();
    if this.is_done() {
        return Ok(false);
    }
    this.cancel_requests.set(this.cancel_requests.get() + 1);
    if let Some(waits_for) = this.waits_for.get()
        && cancel_awaited(&waits_for, message.as_deref())?
    {
        // The task wakes up with the CancelledError of what it waits for.
        return Ok(true);
    }
    // It is about to run: the step that is queued throws.
    this.must_cancel.set(true);
    this.future.set_cancel_message(message);
    Ok(true)
}

/// Cancels what a task waits for, through the method others may have overridden.
fn cancel_awaited(awaited: &Object, message: Option<&Object>) -> Res<bool> {
    if let Some(future) = awaited.cast_exact::<Future>() {
        return future::cancel(future, message.map(Object::to_obj));
    }
    if let Some(task) = awaited.cast_exact::<Task>() {
        // Tasks may wait for each other in a circle.
        return deeper(|| cancel(task, message.map(Object::to_obj)));
    }
    let names = names();
    let none = none();
    let message = message.unwrap_or(&none);
    awaited.method_with_names(&names.cancel, &[message], Some(&names.kw_msg))?.truth()
}

fn uncancel(this: &Instance<Task>) -> Res<Obj> {
    let left = this.cancel_requests.get().saturating_sub(1);
    if left == 0 && this.cancel_requests.get() > 0 && cfg!(Py_3_13) {
        // Since 3.13 taking back the last request also calls off a CancelledError not yet thrown.
        this.must_cancel.set(false);
    }
    this.cancel_requests.set(left);
    int(i64::from(left))
}

fn init(this: &Instance<Task>, args: Args<'_>) -> Res<()> {
    const PARAMS: Params<5> = Params {
        function: "Task",
        names: ["coro", "loop", "name", "context", "eager_start"],
        required: 1,
        positional: 1,
    };
    let [coro, event_loop, name, context, eager] = args.bind(&PARAMS)?;
    let coro = coro.expect("bind() has checked what is required");
    future::init(this.upcast(), event_loop)?;
    if !is_coroutine(coro)? {
        // Nothing to complain about later: there never was a task.
        this.log_destroy_pending.set(false);
        return not_a_coroutine(coro);
    }
    let options = TaskOptions {
        name: name.filter(|name| !name.is_none()),
        context: context.filter(|context| !context.is_none()),
        eager: match eager {
            Some(eager) => eager.truth()?,
            None => false,
        },
    };
    begin(this.native_loop().as_deref(), this, coro, &options)
}

fn report_destroyed(this: &Instance<Task>) {
    let report = || -> Res<()> {
        let names = names();
        let Some(event_loop) = this.future.event_loop() else { return Ok(()) };
        let message = string("Task was destroyed but it is pending!")?;
        let mut entries: Vec<(&Object, &Object)> =
            vec![(&names.task, this.as_object()), (&names.message, &message)];
        let traceback = this.future.source_traceback();
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

impl Class for Task {
    fields! {
        class extends Future in future, dict Dict;
        objects { coro, context, waits_for, name, pending_error }
        plain { serial, cancel_requests, place, must_cancel, log_destroy_pending: Cell::new(true) }
    }

    const NAME: &'static CStr = c"saburo.Task";
    const DOC: &'static CStr = c"Task(coro, *, loop=None, name=None, context=None, eager_start=False)
--

A coroutine that a loop runs, and a future of its result.

Its loop keeps it until it is done, whether or not you do. Belongs to its loop's thread.
`isinstance(task, asyncio.Task)` is true. Semantics: asyncio.Task.

>>> import asyncio, saburo
>>> async def main():
...     task = asyncio.create_task(asyncio.sleep(0, 'done'))
...     return await task
>>> saburo.run(main())
'done'";
    const REUSED: bool = true;
    const FINALIZES: bool = true;

    #[inline]
    fn was_finalized(&self) -> bool {
        self.future.was_finalized()
    }

    #[inline]
    fn wants_finalizer(&self) -> bool {
        self.future.wants_finalizer() || !self.future.is_done()
    }

    fn finalize(this: &Instance<Task>) {
        if !this.is_done() && this.log_destroy_pending.get() && this.coro.is_set() {
            report_destroyed(this);
        }
        future::report_unretrieved(this.upcast());
    }

    #[inline]
    fn depart(&self) {
        if let (Some(context), Some(native)) = (self.context.take(), self.native_loop()) {
            native.contexts().recycle(context);
        }
    }

    fn describe(builder: Builder<Task>) -> Builder<Task> {
        let builder = builder
            .generic()
            .init(init)
            .many(
                c"cancel",
                |this, args| cancel(this, future::cancel_argument(args)?),
                c"cancel(msg=None): asks the task to stop by throwing CancelledError into it; False if it is done already.",
            )
            .noargs(
                c"cancelling",
                |this| int(i64::from(this.cancel_requests.get())),
                c"How many cancellations were asked for, less those taken back.",
            )
            .noargs(c"uncancel", uncancel, c"Takes back one cancellation; returns how many are left.")
            .one(
                c"set_result",
                |_, _| -> Res<()> {
                    raise(builtin::runtime_error(), "Task does not support set_result operation")
                },
                c"set_result(result): a task's result comes from its coroutine: RuntimeError.",
            )
            .one(
                c"set_exception",
                |_, _| -> Res<()> {
                    raise(builtin::runtime_error(), "Task does not support set_exception operation")
                },
                c"set_exception(exception): a task's exception comes from its coroutine: RuntimeError.",
            )
            .noargs(c"get_coro", |this| this.coro.get(), c"The coroutine, None once it has ended eagerly.")
            .noargs(
                c"get_context",
                |this| this.context.get().map(Context::into_obj),
                c"The contextvars.Context the task runs in.",
            )
            .noargs(c"get_name", name, c"The task's name, a str.")
            .one(
                c"set_name",
                |this, name| {
                    this.name.set(Some(plain_name(name)?));
                    Ok::<(), Raised>(())
                },
                c"set_name(value): gives the task a name; anything but a str is converted.",
            )
            .many(
                c"get_stack",
                |this, args| {
                    const PARAMS: Params<1> =
                        Params { function: "get_stack", names: ["limit"], required: 0, positional: 0 };
                    let [limit] = args.bind(&PARAMS)?;
                    names().task_get_stack.call(&[this.as_object(), limit.unwrap_or(&none())])
                },
                c"get_stack(*, limit=None): the frames of the coroutine, or of the traceback once it has failed; at most `limit`.",
            )
            .many(
                c"print_stack",
                |this, args| {
                    const PARAMS: Params<2> = Params {
                        function: "print_stack",
                        names: ["limit", "file"],
                        required: 0,
                        positional: 0,
                    };
                    let [limit, file] = args.bind(&PARAMS)?;
                    let nothing = none();
                    let args = [this.as_object(), limit.unwrap_or(&nothing), file.unwrap_or(&nothing)];
                    names().task_print_stack.call(&args)
                },
                c"print_stack(*, limit=None, file=None): prints get_stack() to `file`, sys.stderr by default.",
            )
            .repr(|this| names().task_repr.call(&[this.as_object()]));
        describe_internals(builder)
    }
}

/// What asyncio's own modules, debuggers and reprs look at.
fn describe_internals(builder: Builder<Task>) -> Builder<Task> {
    builder
        .reported_class(
            |_| &names().class_task,
            c"asyncio.Task, for isinstance; of a derived class that class.",
        )
        .getter(c"_coro", |this| this.coro.get(), c"The coroutine.")
        .getter(c"_fut_waiter", |this| this.waits_for.get(), c"What the task is waiting for.")
        .getter(c"_must_cancel", |this| this.must_cancel.get(), c"Will the next step throw CancelledError?")
        .getter(
            c"_num_cancels_requested",
            |this| int(i64::from(this.cancel_requests.get())),
            c"How many cancellations were asked for.",
        )
        .getter(
            c"_log_destroy_pending",
            |this| this.log_destroy_pending.get(),
            c"Complain if the task is freed while it is pending?",
        )
        .setter(|this, value| {
            this.log_destroy_pending.set(value.truth()?);
            Ok(())
        })
}

/// What a loop has for its tasks.
pub(crate) fn describe_loop(builder: Builder<Loop>) -> Builder<Loop> {
    builder.many(
        c"create_task",
        create::create_task,
        c"create_task(coro, *, name=None, context=None, **kwargs): runs the coroutine as a Task.",
    )
}
