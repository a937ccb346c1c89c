//! Scheduling: callbacks, timers, futures and tasks.

use saburo_core::Clock;

use crate::callable;
use crate::ffi::{
    Args, Context, Instance, Obj, Object, Own, Res, builtin, float, no_memory, none, raise, tuple,
};
use crate::handle::{Arguments, Handle, TimerHandle};
use crate::names::names;
use crate::task::{self, TaskOptions, TaskWakeup};

use super::{Loop, Ready, new_future};

pub(super) fn call_soon(this: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    let Some((callback, rest)) = args.positional().split_first() else {
        return args.placed("BaseEventLoop.call_soon", &["callback"], |args| call_soon(this, args));
    };
    if let Some(task) = wakes_own_task(this, callback) {
        this.push(task::wake(task))?;
        return Ok(none());
    }
    if this.debug() {
        this.check_usable()?;
        this.check_thread()?;
        refuse_coroutine("call_soon", callback)?;
    }
    if !callback.is_callable() {
        this.check_usable()?;
        return callable::refuse("call_soon", callback);
    }
    soon(this, callback, rest, args.only_keyword("call_soon", "context")?)
}

pub(super) fn call_soon_threadsafe(this: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    let Some((callback, rest)) = args.positional().split_first() else {
        return args.placed("BaseEventLoop.call_soon_threadsafe", &["callback"], |args| {
            call_soon_threadsafe(this, args)
        });
    };
    if this.debug() {
        this.check_usable()?;
        refuse_coroutine("call_soon_threadsafe", callback)?;
    }
    if !callback.is_callable() {
        this.check_usable()?;
        return callable::refuse("call_soon_threadsafe", callback);
    }
    let context = args.only_keyword("call_soon_threadsafe", "context")?;
    let handle =
        Loop::queue(this, handle(this, callback, rest, context)?, |ready| this.push_from_any_thread(ready))?;
    // In time: the loop cannot have called it, as the interpreter is ours since it was queued.
    handle.share();
    let queued = this.core(|core| core.ready_len()).unwrap_or(0);
    if queued > MANY_QUEUED {
        Loop::let_run(this, queued);
    }
    Ok(handle.into_obj())
}

/// Behind so many calls that wait, another thread's call lets the loop's thread run first. Bursts are
/// shorter. As many are a few milliseconds of a turn.
const MANY_QUEUED: usize = 4096;

#[inline]
fn soon(this: &Instance<Loop>, callback: &Object, args: &[&Object], context: Option<&Object>) -> Res<Obj> {
    Loop::soon(this, handle(this, callback, args, context)?).map(Own::into_obj)
}

impl Loop {
    /// Queues a call for the next turn.
    #[inline]
    pub(crate) fn soon(this: &Instance<Loop>, handle: Handle) -> Res<Own<Handle>> {
        Loop::queue(this, handle, |ready| this.push(ready))
    }

    #[inline]
    fn queue(this: &Instance<Loop>, handle: Handle, push: impl FnOnce(Ready) -> Res<()>) -> Res<Own<Handle>> {
        // In the queue of a running loop, which is itself in use, nothing is garbage: the collector need
        // not look at it there. What is left in the queue when the run ends is revealed then.
        let handle = Instance::alloc_hidden(handle)?;
        if this.debug() {
            handle.set_source_traceback(names().extract_stack.call0()?);
        }
        push(Ready::of(handle.clone()))?;
        // Asked only now that it is in the queue: on another thread than the loop's, the run may have
        // ended while the handle was made.
        if !this.is_running() {
            handle.reveal();
        }
        Ok(handle)
    }
}

#[inline]
fn handle(
    this: &Instance<Loop>,
    callback: &Object,
    args: &[&Object],
    context: Option<&Object>,
) -> Res<Handle> {
    let context = match context {
        Some(context) if !context.is_none() => Context::from_obj(context.to_obj()),
        _ => this.contexts.copy_current()?,
    };
    let args = Arguments::from_slice(args)?;
    Ok(Handle::with(callback.to_obj(), args, context, this.to_own()))
}

/// The task, if `callback` is the wake-up of one that this loop runs.
#[inline]
fn wakes_own_task(this: &Instance<Loop>, callback: &Object) -> Option<Own<task::Task>> {
    TaskWakeup::task_of(callback)
        .filter(|task| task.native_loop().is_some_and(|own| own.as_object().is(this.as_object())))
}

pub(super) fn call_later(this: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    let &[delay, callback, ref rest @ ..] = args.positional() else {
        return args
            .placed("BaseEventLoop.call_later", &["delay", "callback"], |args| call_later(this, args));
    };
    if delay.is_none() {
        return raise(builtin::type_error(), "delay must not be None");
    }
    let context = args.only_keyword("call_later", "context")?;
    if delay.is_exact_float() || delay.is_int() {
        return at(this, "call_later", now(this) + delay.as_f64()?, None, callback, rest, context);
    }
    // What can be added to a float is a delay: a Fraction, a NumPy scalar.
    let when = float(now(this))?.plus(delay)?;
    at(this, "call_later", when.as_f64()?, Some(&when), callback, rest, context)
}

pub(super) fn call_at(this: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    let &[when, callback, ref rest @ ..] = args.positional() else {
        return args.placed("BaseEventLoop.call_at", &["when", "callback"], |args| call_at(this, args));
    };
    if when.is_none() {
        return raise(builtin::type_error(), "when cannot be None");
    }
    at(this, "call_at", when.as_f64()?, Some(when), callback, rest, args.only_keyword("call_at", "context")?)
}

/// Schedules a call for `when`; `given` is how the caller wrote it, for `TimerHandle.when()`.
fn at(
    this: &Instance<Loop>,
    method: &'static str,
    when: f64,
    given: Option<&Object>,
    callback: &Object,
    args: &[&Object],
    context: Option<&Object>,
) -> Res<Obj> {
    this.check_usable()?;
    let debug = this.debug();
    if debug {
        this.check_thread()?;
        // The name also of a coroutine function that call_later() refuses, as in asyncio.
        refuse_coroutine("call_at", callback)?;
    }
    callable::check(method, callback)?;
    let timer = TimerHandle::with(handle(this, callback, args, context)?, when);
    // As in `soon`.
    let timer = Instance::alloc_hidden(timer)?;
    if let Some(given) = given {
        timer.set_given(given);
    }
    if debug {
        timer.upcast().set_source_traceback(names().extract_stack.call0()?);
    }
    let queued = Ready::of(timer.clone());
    let deadline = TimerHandle::deadline(when);
    let mut sooner = false;
    let id = this.core(|core| {
        sooner = core.next_deadline().is_none_or(|next| deadline < next);
        core.try_insert_timer(deadline, queued)
    });
    match id {
        Some(Ok(id)) => timer.set_timer(id),
        Some(Err(refused)) => {
            timer.reveal();
            drop(refused);
            return no_memory();
        }
        None => {}
    }
    if this.is_running() {
        this.hidden_timers.set(this.hidden_timers.get() + 1);
    } else {
        timer.reveal();
    }
    if sooner {
        // It waits only if another thread does this, against the rules; it still wakes in time.
        this.rouse();
    }
    Ok(timer.into_obj())
}

/// The loop's clock, in seconds.
#[inline]
pub(super) fn now(_this: &Instance<Loop>) -> f64 {
    // Not through the engine: time() of a closed loop still tells the time.
    Clock::monotonic().now().as_secs_f64()
}

pub(super) fn create_future(this: &Instance<Loop>) -> Res<Obj> {
    if this.native_tasks.get() {
        return new_future(this).map(Own::into_obj);
    }
    let names = names();
    names.class_future.call_with_names(&[this.as_object()], Some(&names.kw_loop))
}

/// `create_task(coro, *, name=None, context=None, **kwargs)`
pub(super) fn create_task(this: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    this.check_usable()?;
    let names = names();
    let &[coro] = args.positional() else {
        return create_task_unusually(this, args);
    };
    let factory = this.task_factory.get();
    let eager_factory = factory.as_ref().is_some_and(|factory| names.is_eager_factory(factory));
    match factory {
        Some(factory) if !(eager_factory && this.native_tasks.get()) => {
            return by_factory(this, &factory, coro, args);
        }
        None if !this.native_tasks.get() => return by_asyncio(this, coro, args),
        _ => {}
    }
    let mut options = TaskOptions { eager: eager_factory, ..TaskOptions::default() };
    for (keyword, value) in args.keywords() {
        if keyword.is(&names.name) {
            options.name = (!value.is_none()).then_some(value);
        } else if keyword.is(&names.context) {
            options.context = (!value.is_none()).then_some(value);
        } else if keyword.is(&names.eager_start) {
            // None means the default: what the factory says.
            if !value.is_none() {
                options.eager = value.truth()?;
            }
        } else {
            let keyword = keyword.display()?;
            return raise(
                builtin::type_error(),
                &format!("create_task() got an unexpected keyword argument '{keyword}'"),
            );
        }
    }
    task::create(this, coro, &options).map(Own::into_obj)
}

/// The factory gets every keyword, on every version: the newest asyncio's rule.
fn by_factory(this: &Instance<Loop>, factory: &Object, coro: &Object, args: Args<'_>) -> Res<Obj> {
    let names = names();
    if cfg!(Py_3_14) {
        let all: Vec<&Object> = [this.as_object()].into_iter().chain(args.all().iter().copied()).collect();
        return factory.call_with_names(&all, args.names());
    }
    // Factories written for these versions take no name: it is set on what they return.
    let mut passed: Vec<&Object> = vec![this.as_object(), coro];
    let mut keywords = Vec::new();
    let mut name = None;
    for (keyword, value) in args.keywords() {
        if keyword.is(&names.name) {
            name = (!value.is_none()).then_some(value);
        } else if !(keyword.is(&names.context) && value.is_none()) {
            keywords.push(keyword);
            passed.push(value);
        }
    }
    let keywords = tuple(keywords.into_iter())?;
    let task = factory.call_with_names(&passed, Some(&keywords))?;
    if let (Some(name), Some(set_name)) = (name, task.attr_opt(&names.set_name)?) {
        set_name.call(&[name])?;
    }
    Ok(task)
}

/// `Loop(tasks="stdlib")`: asyncio's own Task.
fn by_asyncio(this: &Instance<Loop>, coro: &Object, args: Args<'_>) -> Res<Obj> {
    let names = names();
    let mut keywords: Vec<&Object> = vec![&names.loop_];
    let mut passed: Vec<&Object> = vec![coro, this.as_object()];
    for (keyword, value) in args.keywords() {
        keywords.push(keyword);
        passed.push(value);
    }
    let keywords = tuple(keywords.into_iter())?;
    names.class_task.call_with_names(&passed, Some(&keywords))
}

#[cold]
fn create_task_unusually(this: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    match args.positional().len() {
        0 => args.placed("BaseEventLoop.create_task", &["coro"], |args| create_task(this, args)),
        // Counted with self, as Python counts.
        given => raise(
            builtin::type_error(),
            &format!("BaseEventLoop.create_task() takes 2 positional arguments but {} were given", given + 1),
        ),
    }
}

/// In debug mode: a function that would only make a coroutine is refused where it is scheduled.
#[cold]
fn refuse_coroutine(method: &str, callback: &Object) -> Res<()> {
    if callback.is_callable() && names().is_coroutine_function.call(&[callback])?.truth()? {
        return raise(builtin::type_error(), &format!("coroutines cannot be used with {method}()"));
    }
    Ok(())
}
