//! TaskWakeup: a task's next step as a callable.
//!
//! Futures that are not ours call it when they are done, and loops that are not ours call it to step.
//! Our own loop recognises it in `call_soon` and queues the task instead.

use std::cell::Cell;
use std::ffi::CStr;

use crate::event_loop::{Loop, Ready};
use crate::ffi::{Behind, Builder, Class, Instance, Obj, Object, Own, Res, Slot, fields, none, string};

/// A task, to what wakes it.
pub(crate) trait Sleeper {
    /// True if the sleeper runs on this loop.
    fn runs_on(&self, event_loop: &Instance<Loop>) -> bool;
    /// What is queued to wake it there.
    fn wake_later(&self) -> Ready;
    /// Wakes it with what it has waited for, as an ordinary call.
    fn wake(&self, awaited: &Object) -> Res<()>;
    /// Steps it, as an ordinary call.
    fn step(&self) -> Res<()>;
}

/// Wakes or steps its task when called.
pub(crate) struct TaskWakeup {
    task: Slot<Behind<dyn Sleeper>>,
    /// A plain step, called without the future that was waited for.
    plain: Cell<bool>,
}

impl TaskWakeup {
    pub(crate) fn of(task: Behind<dyn Sleeper>) -> Res<Own<TaskWakeup>> {
        Instance::alloc(TaskWakeup { task: Slot::new(Some(task)), plain: Cell::new(false) })
    }

    pub(crate) fn step_of(task: Behind<dyn Sleeper>) -> Res<Own<TaskWakeup>> {
        Instance::alloc(TaskWakeup { task: Slot::new(Some(task)), plain: Cell::new(true) })
    }

    /// The task, if `callback` is the wake-up of one.
    #[inline]
    pub(crate) fn task_of(callback: &Object) -> Option<Behind<dyn Sleeper>> {
        callback.cast_exact::<TaskWakeup>().and_then(|wakeup| wakeup.task.get())
    }

    /// What is queued in its place, if `callback` is the wake-up of a task that this loop runs.
    #[inline]
    pub(crate) fn entry(event_loop: &Instance<Loop>, callback: &Object) -> Option<Ready> {
        TaskWakeup::task_of(callback).filter(|task| task.runs_on(event_loop)).map(|task| task.wake_later())
    }

    pub(crate) fn is_of(&self, task: &Object) -> bool {
        self.task.holds(task)
    }
}

fn call(this: &Instance<TaskWakeup>, args: &Object) -> Res<Obj> {
    let Some(task) = this.task.get() else { return Ok(none()) };
    match args.tuple_item(0) {
        Some(awaited) if !this.plain.get() => task.wake(&awaited)?,
        _ => task.step()?,
    }
    Ok(none())
}

impl Class for TaskWakeup {
    fields! {
        class;
        objects { task }
        plain { plain }
    }

    const NAME: &'static CStr = c"saburo.TaskWakeup";
    const DOC: &'static CStr = c"A task's next step, as a callable.";
    const SUBCLASSABLE: bool = false;
    const CONSTRUCTIBLE: bool = false;

    fn describe(builder: Builder<TaskWakeup>) -> Builder<TaskWakeup> {
        builder
            .called(call)
            .getter(
                c"__self__",
                |this| this.task.get().map(Behind::into_obj),
                c"The task, where debuggers and logs look for it.",
            )
            .getter(
                c"__qualname__",
                |this| string(if this.plain.get() { "Task.task_step" } else { "Task.task_wakeup" }),
                c"What logs and the repr of a future call it.",
            )
    }
}
