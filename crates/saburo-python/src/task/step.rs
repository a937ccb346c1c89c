//! One step of a task: resume the coroutine, then act on what it did.
//!
//! This is the only place where a coroutine runs. A step borrows nothing across it: the coroutine may
//! cancel, finish or drop anything, its own task included.

use crate::event_loop::{Entry, Loop, Ready, swap_current};
use crate::ffi::{
    Behind, Context, In, Instance, Obj, Object, Own, Raised, Res, Sent, aside, builtin, inside, mapping,
    none, raise, send, string, throw,
};
use crate::future::{self, Callback, Future, State};
use crate::handle::{Sleeper, TaskWakeup};
use crate::names::names;

use super::{Task, listed};

/// Queued for a step.
struct Step;

/// Queued for a step with the outcome of what it waited for.
struct Wake;

/// What is queued for a step of a task.
#[inline]
pub(super) fn step_later(task: Own<Task>) -> Ready {
    Ready::role::<Step, Task>(task)
}

/// What is queued for a task when what it waits for is done.
#[inline]
fn wake(task: Own<Task>) -> Ready {
    Ready::role::<Wake, Task>(task)
}

impl Entry for In<Step, Task> {
    #[inline]
    fn run(&self, event_loop: &Instance<Loop>) -> Res<()> {
        let error = self.pending_error.take();
        run(event_loop, self, error)
    }

    fn reveal(&self) {
        Instance::reveal(self);
    }
}

impl Entry for In<Wake, Task> {
    #[inline]
    fn run(&self, event_loop: &Instance<Loop>) -> Res<()> {
        let error = match self.waits_for.get() {
            Some(awaited) => outcome_error(&awaited),
            None => None,
        };
        run(event_loop, self, error)
    }

    fn reveal(&self) {
        Instance::reveal(self);
    }

    fn as_callback(&self) -> Res<Option<(Obj, Obj)>> {
        let wakeup = TaskWakeup::of(as_sleeper(self))?;
        Ok(Some((wakeup.into_obj(), self.context().map_or_else(none, Context::into_obj))))
    }
}

impl Sleeper for Instance<Task> {
    fn runs_on(&self, event_loop: &Instance<Loop>) -> bool {
        self.future.is_of(event_loop)
    }

    fn wake_later(&self) -> Ready {
        wake(self.to_own())
    }

    fn wake(&self, awaited: &Object) -> Res<()> {
        run_elsewhere(self, outcome_error(awaited))
    }

    fn step(&self) -> Res<()> {
        run_elsewhere(self, self.pending_error.take())
    }
}

/// The task, for the code that wakes it.
pub(super) fn as_sleeper(this: &Instance<Task>) -> Behind<dyn Sleeper> {
    Behind::<dyn Sleeper>::new(this.to_own(), |this| this)
}

/// A queued step of a task on its own loop, inside its context.
#[inline]
fn run(event_loop: &Instance<Loop>, this: &Instance<Task>, error: Option<Obj>) -> Res<()> {
    let Some(context) = this.context.get() else { return Ok(()) };
    event_loop.current().enter(event_loop.as_object(), this.as_object())?;
    let done = inside(context.as_object(), || step(Some(event_loop), this, error));
    if this.is_done() {
        if this.references() <= 2 {
            // Ours and the entry's: it goes now, with its result, and no task is running meanwhile. A failure
            // that no code awaits is reported then.
            aside(|| event_loop.current().leave(event_loop))?;
        }
        if !this.is_private() {
            // Other code keeps it, and the loop does no more. Otherwise it goes now, and is revealed if its
            // finalizer has something to say.
            this.reveal();
        }
    }
    done.or_else(|raised| report(this, raised))
}

/// A step that failed as such, whatever its coroutine did: the loop's exception handler is told.
///
/// KeyboardInterrupt and SystemExit are raised instead: they are meant for the code that runs the loop.
#[cold]
fn report(this: &Instance<Task>, raised: Raised) -> Res<()> {
    let in_child = this.native_loop().is_some_and(|event_loop| event_loop.is_of_parent());
    // In a child that was forked in this step, what failed is to tell others of its end; so does the run.
    if raised.ends_the_run() || in_child {
        return Err(raised);
    }
    let exception = raised.take();
    // The handler may keep it, and it may have left the loop.
    this.reveal();
    let names = names();
    let message = string("Exception in callback Task.task_step()")?;
    let context = mapping(&[
        (&names.message, &message),
        (&names.exception, &exception),
        (&names.task, this.as_object()),
    ])?;
    let event_loop = this.future.event_loop().unwrap_or_else(none);
    event_loop.method(&names.call_exception_handler, &[&context]).map(drop)
}

/// A step that is an ordinary call, on a loop that is not ours or by a future that calls whoever waits
/// for it itself: the context has been entered already, or is the caller's affair.
fn run_elsewhere(this: &Instance<Task>, error: Option<Obj>) -> Res<()> {
    let event_loop = this.future.event_loop().unwrap_or_else(none);
    let before = swap_current(&event_loop, Some(this.as_object()))?;
    let done = step(this.native_loop().as_deref(), this, error);
    if this.is_done() {
        // A loop of ours holds it no longer.
        this.reveal();
    }
    aside(|| swap_current(&event_loop, before.as_deref()))?;
    done
}

/// The exception to throw into a task that waited for this, if waiting for it raises one.
///
/// The future's own exception is thrown where it can be told, so that hand-written awaitables see a
/// `throw` as they do under asyncio.
#[inline]
fn outcome_error(awaited: &Object) -> Option<Obj> {
    let known = awaited.cast_exact::<Future>().or_else(|| awaited.cast_exact::<Task>().map(Instance::upcast));
    if let Some(future) = known {
        return match future.state() {
            State::Returned | State::Pending => None,
            // Thrown, not raised: an exception that the loop's caller is handling is no context of it.
            State::Failed => Some(future.failure().unwrap_or_else(Raised::take)),
            State::Cancelled => future.result().err().map(Raised::take),
        };
    }
    awaited.method(&names().result, &[]).err().map(Raised::take)
}

/// The first step of an eager task, run by its creator. While it runs the task is listed like any
/// other, and stays so if it goes on. One that cannot begin is in no list.
pub(super) fn start_eagerly(home: Option<&Instance<Loop>>, this: &Instance<Task>) -> Res<()> {
    let Some(context) = this.context.get() else { return Ok(()) };
    let event_loop = match home {
        Some(native) => native.as_object().to_obj(),
        None => this.future.event_loop().unwrap_or_else(none),
    };
    check_runs_here(home, &event_loop)?;
    let outer = home.map(|native| native.current().suspend());
    let mut begun = false;
    let done = swap_current(&event_loop, Some(this.as_object())).and_then(|before| {
        let done = inside(context.as_object(), || {
            listed::enlist(home, this)?;
            begun = true;
            step(home, this, None)
        });
        aside(|| swap_current(&event_loop, before.as_deref()))?;
        done
    });
    if let (Some(native), Some(outer)) = (home, outer) {
        native.current().restore(outer);
    }
    if !begun {
        // The creator is told; there is nothing to complain about later.
        this.log_destroy_pending.set(false);
    }
    if this.is_done() {
        // It holds nothing any more, and must not keep its coroutine's frame alive.
        this.coro.set(None);
    }
    done
}

/// An eager task runs where its loop does. On another thread it would take the place of the task that runs
/// there.
fn check_runs_here(home: Option<&Instance<Loop>>, event_loop: &Object) -> Res<()> {
    let runs_here = match home {
        Some(native) => native.runs_on_this_thread(),
        None => names().asyncio.method(&names().get_running_loop, &[])?.is(event_loop),
    };
    if runs_here {
        return Ok(());
    }
    raise(builtin::runtime_error(), &format!("loop {} is not the running loop", event_loop.repr()?))
}

/// Resumes the coroutine once. `home` is the task's loop, if it is one of ours.
#[inline]
fn step(home: Option<&Instance<Loop>>, this: &Instance<Task>, error: Option<Obj>) -> Res<()> {
    if this.is_done() {
        // Other code has finished the task, past the coroutine.
        listed::strike(home, this)?;
        return already_done(this, error);
    }
    let error = if this.must_cancel.get() { Some(cancellation(this, error)?) } else { error };
    // Let go of what was awaited only after the step: its last reference may be this one.
    let awaited = this.waits_for.take();
    let Some(coro) = this.coro.get() else {
        return raise(builtin::runtime_error(), "uninitialized Task object");
    };
    let sent = match &error {
        None => send(&coro),
        Some(error) => throw(&coro, &names().throw, error),
    };
    drop(awaited);
    match sent {
        Ok(Sent::Yielded(yielded)) => wait_for(home, this, yielded),
        Ok(Sent::Returned(value)) => returned(home, this, value),
        Err(raised) => failed(home, this, raised),
    }
}

#[cold]
fn already_done(this: &Instance<Task>, error: Option<Obj>) -> Res<()> {
    let exception = error.map_or_else(|| Ok("None".to_owned()), |error| error.repr())?;
    let task = this.as_object().repr()?;
    raise(&names().invalid_state_error, &format!("__step(): already done: {task} {exception}"))
}

/// The error to throw into a task that is to be cancelled: the one on its way if that is a cancellation.
#[cold]
fn cancellation(this: &Instance<Task>, error: Option<Obj>) -> Res<Obj> {
    this.must_cancel.set(false);
    match error {
        Some(error) if error.is_instance(&names().cancelled_error)? => Ok(error),
        _ => this.future.cancelled_error(),
    }
}

#[inline]
fn returned(home: Option<&Instance<Loop>>, this: &Instance<Task>, value: Obj) -> Res<()> {
    listed::strike(home, this)?;
    if this.must_cancel.replace(false) {
        // Cancelled in its last step: the request wins over the result.
        let message = this.future.cancel_message();
        return future::cancel(this.upcast(), message).map(drop);
    }
    future::resolve(this.upcast(), value)
}

#[cold]
fn failed(home: Option<&Instance<Loop>>, this: &Instance<Task>, raised: Raised) -> Res<()> {
    aside(|| listed::strike(home, this))?;
    if raised.matches(&names().cancelled_error) {
        // The error itself is what awaiters get; the message of the request has done its part.
        this.future.set_cancelled_error(raised.take());
        return future::cancel(this.upcast(), None).map(drop);
    }
    let ends_the_run = raised.ends_the_run();
    let exception = raised.take();
    let told = future::fail(this.upcast(), exception.clone());
    if !ends_the_run {
        return told;
    }
    // Ctrl-C and exit end the task and also the run of the loop, whoever could be told of it.
    if let Err(other) = told {
        other.swallow();
    }
    Err(Raised::with(exception))
}

/// Acts on what the coroutine waits for.
#[inline]
fn wait_for(home: Option<&Instance<Loop>>, this: &Instance<Task>, yielded: Obj) -> Res<()> {
    if yielded.is_none() {
        // A bare yield, `sleep(0)`: go on in the next turn.
        return super::soon(home, this);
    }
    let Some(event_loop) = home else { return wait_for_other(this, &yielded) };
    match yielded.into_exact::<Future>() {
        Ok(future) => wait_for_ours(event_loop, this, &future),
        Err(other) => match other.into_exact::<Task>() {
            Ok(task) if !task.as_object().is(this.as_object()) => {
                wait_for_ours(event_loop, this, task.upcast())
            }
            Ok(task) => wait_for_other(this, &task.into_obj()),
            Err(other) => wait_for_other(this, &other),
        },
    }
}

/// A future of exactly our class: no attribute is looked up.
#[inline]
fn wait_for_ours(event_loop: &Instance<Loop>, this: &Instance<Task>, future: &Instance<Future>) -> Res<()> {
    if !future.is_of(event_loop) || !future.blocking().get() {
        return wait_for_other(this, future.as_object());
    }
    future.blocking().set(false);
    if future.is_done() {
        event_loop.push(wake(this.to_own()))?;
    } else {
        future.callbacks().push(Callback::Wake(wake(this.to_own())))?;
    }
    this.waits_for.set(Some(future.as_object().to_obj()));
    cancel_if_asked(this, future.as_object())
}

/// A cancellation asked for during the step goes to what the task now waits for.
#[inline]
fn cancel_if_asked(this: &Instance<Task>, awaited: &Object) -> Res<()> {
    if this.must_cancel.get() {
        let message = this.future.cancel_message();
        if super::cancel_awaited(awaited, message.as_deref())? {
            this.must_cancel.set(false);
        }
    }
    Ok(())
}

/// Anything else: asyncio's generic protocol, or a mistake to tell the coroutine about.
#[cold]
fn wait_for_other(this: &Instance<Task>, yielded: &Object) -> Res<()> {
    let names = names();
    if yielded.is(this.as_object()) {
        return mistake(this, |task, _| format!("Task cannot await on itself: {task}"), yielded);
    }
    let blocking = match yielded.attr_opt(&names.asyncio_future_blocking)? {
        Some(blocking) if !blocking.is_none() => blocking.truth()?,
        _ if yielded.is_generator() => {
            return mistake(
                this,
                |task, it| {
                    format!("yield was used instead of yield from for generator in task {task} with {it}")
                },
                yielded,
            );
        }
        _ => return mistake(this, |_, it| format!("Task got bad yield: {it}"), yielded),
    };
    if !same_loop(this, yielded)? {
        return mistake(
            this,
            |task, it| format!("Task {task} got Future {it} attached to a different loop"),
            yielded,
        );
    }
    if !blocking {
        return mistake(
            this,
            |task, it| format!("yield was used instead of yield from in task {task} with {it}"),
            yielded,
        );
    }
    yielded.set_attr(&names.asyncio_future_blocking, &names.false_)?;
    let wakeup = TaskWakeup::of(as_sleeper(this))?;
    let context = this.context.get().map_or_else(none, Context::into_obj);
    let args: [&Object; 2] = [wakeup.as_object(), &context];
    yielded.method_with_names(&names.add_done_callback, &args, Some(&names.kw_context))?;
    this.waits_for.set(Some(yielded.to_obj()));
    cancel_if_asked(this, yielded)
}

fn same_loop(this: &Instance<Task>, awaited: &Object) -> Res<bool> {
    let names = names();
    // Futures older than get_loop() only have the attribute.
    let theirs = match awaited.attr_opt(&names.get_loop)? {
        Some(get_loop) => get_loop.call0()?,
        None => awaited.attr(&names.private_loop)?,
    };
    Ok(this.future.belongs_to(&theirs))
}

/// Throws a RuntimeError about what was awaited into the coroutine, at its next step.
fn mistake(this: &Instance<Task>, words: impl FnOnce(&str, &str) -> String, yielded: &Object) -> Res<()> {
    let text = words(&this.as_object().repr()?, &yielded.repr()?);
    let text = string(&text)?;
    this.pending_error.set(Some(builtin::runtime_error().call(&[&text])?));
    super::soon(this.native_loop().as_deref(), this)
}
