//! Which task is running, told to asyncio so that `asyncio.current_task()` is right.
//!
//! Up to 3.13 asyncio keeps a dict from loop to task; from 3.14 on the thread itself knows, behind a
//! private function. Between two steps the entry is left as it is and overwritten by the next one;
//! it is taken out before anything else runs, so that no callback ever sees a task that is not running.

use std::cell::Cell;
use std::ptr;

use crate::event_loop::Loop;
#[cfg(Py_3_14)]
use crate::ffi::none;
use crate::ffi::{Instance, Obj, Object, Res};
use crate::names::names;

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
        set(event_loop, task)?;
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
        unset(event_loop.as_object())
    }

    /// A task is about to run inside the one that runs now: sets what is remembered aside.
    pub(crate) fn set_aside(&self) -> Aside {
        Aside(self.entered.replace(ptr::null()))
    }

    /// The inner task is done with, and asyncio has been told of the outer one again.
    pub(crate) fn restore(&self, aside: Aside) {
        self.entered.set(aside.0);
    }
}

/// What was remembered of an outer task.
pub(crate) struct Aside(*const Object);

#[cfg(not(Py_3_14))]
#[inline]
fn set(event_loop: &Object, task: &Object) -> Res<()> {
    names().current_tasks.dict_set(event_loop, task)
}

#[cfg(not(Py_3_14))]
fn unset(event_loop: &Object) -> Res<()> {
    names().current_tasks.dict_remove(event_loop)
}

/// Makes `task` the current one and returns the one before.
#[cfg(not(Py_3_14))]
pub(super) fn swap(event_loop: &Object, task: Option<&Object>) -> Res<Option<Obj>> {
    let tasks = &names().current_tasks;
    let before = tasks.dict_get(event_loop)?;
    match task {
        Some(task) => tasks.dict_set(event_loop, task)?,
        None => tasks.dict_remove(event_loop)?,
    }
    Ok(before)
}

#[cfg(Py_3_14)]
#[inline]
fn set(event_loop: &Object, task: &Object) -> Res<()> {
    names().swap_current_task.call(&[event_loop, task]).map(drop)
}

#[cfg(Py_3_14)]
fn unset(event_loop: &Object) -> Res<()> {
    names().swap_current_task.call(&[event_loop, &none()]).map(drop)
}

/// Makes `task` the current one and returns the one before.
#[cfg(Py_3_14)]
pub(super) fn swap(event_loop: &Object, task: Option<&Object>) -> Res<Option<Obj>> {
    let nothing = none();
    let before = names().swap_current_task.call(&[event_loop, task.unwrap_or(&nothing)])?;
    Ok((!before.is_none()).then_some(before))
}
