//! The table of unfinished tasks: it keeps them alive, and answers `all_tasks()`.
//!
//! A loop of ours holds its tasks strongly until it is closed, in a table in which each task knows its
//! place. Tasks of closed loops, and of other people's, are registered with asyncio, which holds them weakly.

use std::cell::{Cell, RefCell};

use slab::Slab;

use crate::event_loop::Loop;
use crate::ffi::{Holds, Instance, Obj, Own, Res, Visit, aside};
use crate::names::names;

use super::Task;

/// The unfinished tasks of one loop.
pub(crate) struct Registry {
    tasks: RefCell<Slab<Own<Task>>>,
    /// How many of them are hidden from the collector: those made while the loop was running, as long as
    /// it is. The loop is in use then, and they with it, so that none of them is garbage.
    hidden: Cell<usize>,
}

impl Registry {
    pub(crate) const fn new() -> Registry {
        Registry { tasks: RefCell::new(Slab::new()), hidden: Cell::new(0) }
    }

    /// Every task in it.
    pub(crate) fn snapshot(&self) -> Res<Vec<Obj>> {
        let tasks = self.tasks.borrow();
        let mut copies = Vec::new();
        copies.try_reserve_exact(tasks.len())?;
        copies.extend(tasks.iter().map(|(_, task)| task.clone().into_obj()));
        Ok(copies)
    }

    /// The run of the loop is over: the collector sees all its tasks from now on.
    pub(crate) fn reveal(&self) {
        if self.hidden.take() > 0 {
            self.tasks.borrow().iter().for_each(|(_, task)| task.reveal());
        }
    }

    /// The loop is closed: no task will come to its end any more, and there is nothing to keep one alive for.
    /// asyncio goes on listing those that somebody else has.
    pub(crate) fn dismiss(&self) {
        let tasks = self.drain();
        for (_, task) in &tasks {
            // Only all_tasks() would miss it; and a loop may be closed as the interpreter takes asyncio
            // apart.
            if let Err(raised) = names().register_task.call(&[task.as_object()]) {
                raised.swallow();
            }
        }
    }

    /// Takes every task out; the caller lets them go.
    #[must_use]
    pub(crate) fn drain(&self) -> Slab<Own<Task>> {
        let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        tasks.iter().for_each(|(_, task)| task.place.set(None));
        tasks
    }
}

impl Holds for Registry {
    fn visit(&self, visit: &mut Visit<'_>) {
        // Borrowed only between Python calls, and the collector runs inside one.
        if let Ok(tasks) = self.tasks.try_borrow() {
            for (_, task) in tasks.iter() {
                visit.object(task.as_object());
            }
        }
    }

    fn clear(&self) {
        drop(self.drain());
    }
}

/// Lists a task that has just begun.
#[inline]
pub(super) fn enlist(home: Option<&Instance<Loop>>, this: &Instance<Task>) -> Res<()> {
    match home {
        Some(event_loop) => {
            let registry = event_loop.registry();
            let place = {
                let mut tasks = registry.tasks.borrow_mut();
                if tasks.len() == tasks.capacity() {
                    reserve(&tasks)?;
                }
                tasks.insert(this.to_own())
            };
            this.place.set(Some(place as u32));
            if this.is_hidden() {
                registry.hidden.set(registry.hidden.get() + 1);
            }
            Ok(())
        }
        None => names().register_task.call(&[this.as_object()]).map(drop),
    }
}

/// Sees to it that the table can grow, which it does by itself: MemoryError if it cannot.
#[cold]
fn reserve(tasks: &Slab<Own<Task>>) -> Res<()> {
    // A slab has no way to ask; an entry has a tag beside the task.
    let size = 2 * size_of::<Own<Task>>() * (2 * tasks.capacity()).max(4);
    Ok(Vec::<u8>::new().try_reserve_exact(size)?)
}

/// Strikes a task off that has ended.
#[inline]
pub(super) fn strike(home: Option<&Instance<Loop>>, this: &Instance<Task>) -> Res<()> {
    let Some(event_loop) = home else {
        // Also on the way out of what the coroutine raised.
        return aside(|| names().unregister_task.call(&[this.as_object()])).map(drop);
    };
    if let Some(place) = this.place.take() {
        let registry = event_loop.registry();
        if this.is_hidden() {
            // Whoever steps it reveals it, once it is known who else has it.
            registry.hidden.set(registry.hidden.get().saturating_sub(1));
        }
        let kept = registry.tasks.borrow_mut().try_remove(place as usize);
        // Whoever steps the task holds it as well, so this frees nothing yet.
        drop(kept);
    }
    Ok(())
}
