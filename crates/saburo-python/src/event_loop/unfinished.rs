//! The table of unfinished tasks: it keeps them alive, and answers `all_tasks()`.
//!
//! A loop of ours holds its tasks strongly until it is closed, in a table in which each task knows its
//! place. Tasks of closed loops, and of other people's, are registered with asyncio, which holds them weakly.

use std::cell::{Cell, RefCell};

use slab::Slab;

use crate::ffi::{Behind, Holds, Obj, Res, Visit};
use crate::names::names;

/// What the table asks of a task.
pub(crate) trait Unfinished {
    /// Shows it to the collector, if it is hidden from it.
    fn reveal(&self);
    /// It has no place in the table any more.
    fn forget_place(&self);
}

/// The unfinished tasks of one loop.
pub(crate) struct UnfinishedTasks {
    tasks: RefCell<Slab<Behind<dyn Unfinished>>>,
    /// How many of them are hidden from the collector: those made while the loop was running, as long as
    /// it is. The loop is in use then, and they with it, so that none of them is garbage.
    hidden: Cell<usize>,
}

impl UnfinishedTasks {
    pub(super) const fn new() -> UnfinishedTasks {
        UnfinishedTasks { tasks: RefCell::new(Slab::new()), hidden: Cell::new(0) }
    }

    /// Enters a task; its place.
    #[inline]
    pub(crate) fn enter(&self, task: Behind<dyn Unfinished>, is_hidden: bool) -> Res<u32> {
        let mut tasks = self.tasks.borrow_mut();
        if tasks.len() == tasks.capacity() {
            reserve(&tasks)?;
        }
        let place = tasks.insert(task);
        if is_hidden {
            self.hidden.set(self.hidden.get() + 1);
        }
        Ok(place as u32)
    }

    /// Takes out the task that has this place, for the caller to let go of.
    #[inline]
    #[must_use = "letting go of it may run code: choose the place"]
    pub(crate) fn leave(&self, place: u32, is_hidden: bool) -> Option<Behind<dyn Unfinished>> {
        if is_hidden {
            // Whoever steps it reveals it, once it is known who else has it.
            self.hidden.set(self.hidden.get().saturating_sub(1));
        }
        self.tasks.borrow_mut().try_remove(place as usize)
    }

    /// Every task in it.
    pub(super) fn snapshot(&self) -> Res<Vec<Obj>> {
        let tasks = self.tasks.borrow();
        let mut copies = Vec::new();
        copies.try_reserve_exact(tasks.len())?;
        copies.extend(tasks.iter().map(|(_, task)| task.as_object().to_obj()));
        Ok(copies)
    }

    /// The run of the loop is over: the collector sees all its tasks from now on.
    pub(super) fn reveal(&self) {
        if self.hidden.take() > 0 {
            self.tasks.borrow().iter().for_each(|(_, task)| task.reveal());
        }
    }

    /// The loop is closed: no task will come to its end any more, and there is nothing to keep one alive for.
    /// asyncio goes on listing those that somebody else has.
    pub(super) fn dismiss(&self) {
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
    pub(super) fn drain(&self) -> Slab<Behind<dyn Unfinished>> {
        let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        tasks.iter().for_each(|(_, task)| task.forget_place());
        tasks
    }
}

impl Holds for UnfinishedTasks {
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

/// Sees to it that the table can grow, which it does by itself: MemoryError if it cannot.
#[cold]
fn reserve(tasks: &Slab<Behind<dyn Unfinished>>) -> Res<()> {
    // A slab has no way to ask; an entry has a tag beside the task.
    let size = 2 * size_of::<Behind<dyn Unfinished>>() * (2 * tasks.capacity()).max(4);
    Ok(Vec::<u8>::new().try_reserve_exact(size)?)
}
