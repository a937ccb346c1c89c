//! The table of unfinished tasks: it keeps them alive, and answers `all_tasks()`.
//!
//! A loop of ours holds its tasks strongly, in a table in which each task knows its place. Tasks of
//! other people's loops are registered with asyncio, which holds them weakly.

use std::cell::RefCell;

use slab::Slab;

use crate::event_loop::Loop;
use crate::ffi::{Instance, Obj, Own, Res, Visit, aside};
use crate::names::names;

use super::Task;

/// The unfinished tasks of one loop.
pub(crate) struct Registry {
    tasks: RefCell<Slab<Own<Task>>>,
}

impl Registry {
    pub(crate) const fn new() -> Registry {
        Registry { tasks: RefCell::new(Slab::new()) }
    }

    /// Every task in it.
    pub(crate) fn snapshot(&self) -> Vec<Obj> {
        self.tasks.borrow().iter().map(|(_, task)| task.clone().into_obj()).collect()
    }

    pub(crate) fn visit(&self, visit: &mut Visit<'_>) {
        // Borrowed only between Python calls, and the collector runs inside one.
        if let Ok(tasks) = self.tasks.try_borrow() {
            for (_, task) in tasks.iter() {
                visit.object(task.as_object());
            }
        }
    }

    /// Takes every task out; the caller lets them go.
    #[must_use]
    pub(crate) fn drain(&self) -> Vec<Own<Task>> {
        let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        tasks.into_iter().map(|(_, task)| task).inspect(|task| task.place.set(None)).collect()
    }
}

/// Lists a task that has just begun.
#[inline]
pub(super) fn enlist(home: Option<&Instance<Loop>>, this: &Instance<Task>) -> Res<()> {
    match home {
        Some(event_loop) => {
            let place = event_loop.registry().tasks.borrow_mut().insert(this.to_own());
            this.place.set(Some(place as u32));
            Ok(())
        }
        None => names().register_task.call(&[this.as_object()]).map(drop),
    }
}

/// Strikes a task off that has ended.
#[inline]
pub(super) fn strike(home: Option<&Instance<Loop>>, this: &Instance<Task>) -> Res<()> {
    let Some(event_loop) = home else {
        // Also on the way out of what the coroutine raised.
        return aside(|| names().unregister_task.call(&[this.as_object()])).map(drop);
    };
    if let Some(place) = this.place.take() {
        let kept = event_loop.registry().tasks.borrow_mut().try_remove(place as usize);
        // Whoever steps the task holds it as well, so this frees nothing yet.
        drop(kept);
    }
    Ok(())
}
