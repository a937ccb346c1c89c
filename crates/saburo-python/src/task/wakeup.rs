//! TaskWakeup: a task's next step as a callable.
//!
//! Futures that are not ours call it when they are done, and loops that are not ours call it to step.
//! Our own loop recognises it in `call_soon` and queues the task instead.

use std::cell::Cell;
use std::ffi::CStr;

use crate::ffi::{Builder, Class, Instance, Obj, Object, Own, Res, Slot, fields, none, string};

use super::{Task, step};

/// Wakes or steps its task when called.
pub(crate) struct TaskWakeup {
    task: Slot<Own<Task>>,
    /// A plain step, called without the future that was waited for.
    plain: Cell<bool>,
}

impl TaskWakeup {
    pub(crate) fn of(task: &Instance<Task>) -> Res<Own<TaskWakeup>> {
        Instance::alloc(TaskWakeup { task: Slot::new(Some(task.to_own())), plain: Cell::new(false) })
    }

    pub(super) fn step_of(task: &Instance<Task>) -> Res<Own<TaskWakeup>> {
        Instance::alloc(TaskWakeup { task: Slot::new(Some(task.to_own())), plain: Cell::new(true) })
    }

    /// The task, if `callback` is the wake-up of one.
    #[inline]
    pub(crate) fn task_of(callback: &Object) -> Option<Own<Task>> {
        callback.cast_exact::<TaskWakeup>().and_then(|wakeup| wakeup.task.get())
    }

    pub(crate) fn is_of(&self, task: &Instance<Task>) -> bool {
        self.task.holds(task.as_object())
    }
}

fn call(this: &Instance<TaskWakeup>, args: &Object) -> Res<Obj> {
    let Some(task) = this.task.get() else { return Ok(none()) };
    match args.tuple_item(0) {
        Some(awaited) if !this.plain.get() => step::wake_elsewhere(&task, &awaited)?,
        _ => step::run_elsewhere(&task, task.pending_error.take())?,
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
                |this| this.task.get().map(Own::into_obj),
                c"The task, where debuggers and logs look for it.",
            )
            .getter(
                c"__qualname__",
                |this| string(if this.plain.get() { "Task.task_step" } else { "Task.task_wakeup" }),
                c"What logs and the repr of a future call it.",
            )
    }
}
