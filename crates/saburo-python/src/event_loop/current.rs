//! Which task is running, told to asyncio so that `asyncio.current_task()` is right.
//!
//! Up to 3.13 asyncio keeps a dict from loop to task; from 3.14 on the thread itself knows. Between two
//! steps the entry is left as it is and overwritten by the next one; it is taken out before anything else
//! runs, so that no callback ever sees a task that is not running.

use std::cell::Cell;
use std::ptr;

use crate::ffi::{Instance, Obj, Object, Res};
use crate::names::names;

use super::Loop;

/// What a loop remembers of the entry it has made.
pub(crate) struct Current {
    /// The task that asyncio has been told of, by address; null if none. Never followed: asyncio holds
    /// the task for as long as the entry stands.
    entered: Cell<*const Object>,
}

impl Current {
    pub(crate) const fn new() -> Current {
        Current { entered: Cell::new(ptr::null()) }
    }

    /// `task` is about to be stepped.
    #[inline]
    pub(crate) fn enter(&self, event_loop: &Object, task: &Object) -> Res<()> {
        if ptr::eq(self.entered.get(), task) {
            return Ok(());
        }
        entry::set(event_loop, task)?;
        self.entered.set(task);
        Ok(())
    }

    /// Something other than a step is about to run, or nothing for a while.
    #[inline]
    pub(crate) fn leave(&self, event_loop: &Instance<Loop>) -> Res<()> {
        if self.entered.get().is_null() {
            return Ok(());
        }
        self.entered.set(ptr::null());
        entry::unset(event_loop.as_object())
    }

    /// A task is about to run inside the one that runs now: what is remembered of the outer one is suspended.
    pub(crate) fn suspend(&self) -> Suspended {
        Suspended(self.entered.replace(ptr::null()))
    }

    /// The inner task is done with, and asyncio has been told of the outer one again.
    pub(crate) fn restore(&self, suspended: Suspended) {
        self.entered.set(suspended.0);
    }
}

/// Makes `task` the current one and returns the one before.
pub(crate) fn swap_current(event_loop: &Object, task: Option<&Object>) -> Res<Option<Obj>> {
    entry::swap(event_loop, task)
}

/// To be called when the module is imported.
pub(crate) fn load_current() -> Res<()> {
    entry::load()
}

/// What was remembered of an outer task.
pub(crate) struct Suspended(*const Object);

#[cfg(not(Py_3_14))]
mod entry {
    //! A dict from loop to task.

    use super::{Obj, Object, Res, names};

    pub(super) fn load() -> Res<()> {
        Ok(())
    }

    #[inline]
    pub(super) fn set(event_loop: &Object, task: &Object) -> Res<()> {
        names().current_tasks.dict_set(event_loop, task)
    }

    pub(super) fn unset(event_loop: &Object) -> Res<()> {
        names().current_tasks.dict_remove(event_loop)
    }

    pub(super) fn swap(event_loop: &Object, task: Option<&Object>) -> Res<Option<Obj>> {
        let before = names().current_tasks.dict_get(event_loop)?;
        match task {
            Some(task) => set(event_loop, task)?,
            None => unset(event_loop)?,
        }
        Ok(before)
    }
}

#[cfg(Py_3_14)]
mod entry {
    //! A field of the thread.

    use crate::ffi::{Global, RunningTask, none};

    use super::{Obj, Object, Res, names};

    /// None where it was not found: asyncio's function is called instead.
    static FIELD: Global<Option<RunningTask>> = Global::new();

    /// Looks for the field, on the main thread while no loop runs there.
    pub(super) fn load() -> Res<()> {
        if FIELD.get().is_some() {
            return Ok(());
        }
        let names = names();
        let main_thread = names.main_thread.call0()?.attr(&names.ident)?;
        let this_thread = names.get_thread_ident.call0()?;
        if !main_thread.equals(&this_thread)?
            || !names.asyncio.method(&names.get_running_loop, &[])?.is_none()
        {
            return Ok(());
        }
        let set_running_loop = &names.set_running_loop;
        // Any object will do for a loop.
        let event_loop = set_running_loop;
        set_running_loop.call(&[event_loop])?;
        let found = RunningTask::find(event_loop, |task| by_function(event_loop, task).map(drop));
        set_running_loop.call(&[&*none()])?;
        FIELD.set(found?);
        Ok(())
    }

    #[inline]
    fn field() -> Option<&'static RunningTask> {
        FIELD.get().and_then(Option::as_ref)
    }

    #[inline]
    pub(super) fn set(event_loop: &Object, task: &Object) -> Res<()> {
        swap(event_loop, Some(task)).map(drop)
    }

    #[inline]
    pub(super) fn unset(event_loop: &Object) -> Res<()> {
        swap(event_loop, None).map(drop)
    }

    #[inline]
    pub(super) fn swap(event_loop: &Object, task: Option<&Object>) -> Res<Option<Obj>> {
        match field() {
            Some(field) => Ok(field.replace(task.map(Object::to_obj))),
            None => by_function(event_loop, task),
        }
    }

    #[cold]
    fn by_function(event_loop: &Object, task: Option<&Object>) -> Res<Option<Obj>> {
        let nothing = none();
        let before = names().swap_current_task.call(&[event_loop, task.unwrap_or(&nothing)])?;
        Ok((!before.is_none()).then_some(before))
    }
}
