//! Scheduling: `call_soon`, `call_soon_threadsafe`, `call_later` and `call_at`.

use saburo_core::Clock;

use crate::callable;
use crate::event_loop::{Loop, Ready};
use crate::ffi::{Args, Context, Instance, Obj, Object, Own, Res, builtin, float, no_memory, none, raise};
use crate::names::names;

use super::{Arguments, Handle, TaskWakeup, TimerHandle};

pub(super) fn call_soon(this: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    let Some((callback, rest)) = args.positional().split_first() else {
        return args.placed("BaseEventLoop.call_soon", &["callback"], |args| call_soon(this, args));
    };
    if let Some(wake) = TaskWakeup::entry(this, callback) {
        this.push(wake)?;
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
        queue(this, handle(this, callback, rest, context)?, |ready| this.push_from_any_thread(ready))?;
    // In time: the loop cannot have called it, as the interpreter is ours since it was queued.
    handle.share();
    let queued = this.queued();
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
    push(this, handle(this, callback, args, context)?).map(Own::into_obj)
}

/// Queues a call for the next turn.
#[inline]
pub(crate) fn push(this: &Instance<Loop>, handle: Handle) -> Res<Own<Handle>> {
    queue(this, handle, |ready| this.push(ready))
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

#[inline]
fn handle(
    this: &Instance<Loop>,
    callback: &Object,
    args: &[&Object],
    context: Option<&Object>,
) -> Res<Handle> {
    let context = match context {
        Some(context) if !context.is_none() => Context::from_obj(context.to_obj()),
        _ => this.contexts().copy_current()?,
    };
    let args = Arguments::from_slice(args)?;
    Ok(Handle::with(callback.to_obj(), args, context, this.to_own()))
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
    match this.push_at(TimerHandle::deadline(when), Ready::of(timer.clone())) {
        Ok(Some(id)) => timer.set_timer(id),
        Ok(None) => {}
        Err(refused) => {
            timer.reveal();
            drop(refused);
            return no_memory();
        }
    }
    if this.is_running() {
        this.hidden_timer_entered();
    } else {
        timer.reveal();
    }
    Ok(timer.into_obj())
}

/// The loop's clock, in seconds.
#[inline]
pub(super) fn now(_this: &Instance<Loop>) -> f64 {
    // Not through the engine: time() of a closed loop still tells the time.
    Clock::monotonic().now().as_secs_f64()
}

/// In debug mode: a function that would only make a coroutine is refused where it is scheduled.
#[cold]
fn refuse_coroutine(method: &str, callback: &Object) -> Res<()> {
    if callback.is_callable() && names().is_coroutine_function.call(&[callback])?.truth()? {
        return raise(builtin::type_error(), &format!("coroutines cannot be used with {method}()"));
    }
    Ok(())
}
