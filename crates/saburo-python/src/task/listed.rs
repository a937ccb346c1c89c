//! Whether a task is listed among the unfinished ones: by its loop, or by asyncio.

use crate::event_loop::{Loop, Unfinished};
use crate::ffi::{Behind, Instance, Res, aside};
use crate::names::names;

use super::Task;

impl Unfinished for Instance<Task> {
    fn reveal(&self) {
        Instance::reveal(self);
    }

    fn forget_place(&self) {
        self.place.set(None);
    }
}

/// Lists a task that has just begun.
#[inline]
pub(super) fn enlist(home: Option<&Instance<Loop>>, this: &Instance<Task>) -> Res<()> {
    match home {
        Some(event_loop) => {
            let entry = Behind::<dyn Unfinished>::new(this.to_own(), |this| this);
            let place = event_loop.unfinished().enter(entry, this.is_hidden())?;
            this.place.set(Some(place));
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
        let kept = event_loop.unfinished().leave(place, this.is_hidden());
        // The stepping code holds the task as well, so this frees nothing yet.
        drop(kept);
    }
    Ok(())
}
