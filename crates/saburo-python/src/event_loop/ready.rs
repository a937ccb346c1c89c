//! What stands in the ready queue: an instance and what is to be done with it, in 16 bytes.
//!
//! The loop knows no more of it than the trait [`Entry`]. What there is to do (call a handle, step a task,
//! finish a future, tell a transport) is said by the rooms above, each of its own classes.

use crate::ffi::{Behind, Class, In, Instance, Obj, Own, Res};

use super::Loop;

/// Something to do in the next turn, or whenever a descriptor is ready.
pub(crate) trait Entry {
    /// Does it. Whatever is raised ends the run; all else has been reported.
    fn run(&self, event_loop: &Instance<Loop>) -> Res<()>;

    /// Shows the instance to the collector, if it is hidden from it.
    fn reveal(&self) {}

    /// The function and the context by which Python sees it among the callbacks of a future, where it may be
    /// one of them.
    fn as_callback(&self) -> Res<Option<(Obj, Obj)>> {
        Ok(None)
    }

    /// The watch of a descriptor that was to bring it about has been replaced or removed: cancels it, also
    /// where it is queued already. Was it waiting?
    fn cancel(&self) -> Res<bool> {
        Ok(false)
    }
}

/// An entry of the queue.
pub(crate) type Ready = Behind<dyn Entry>;

const _: () = assert!(size_of::<Option<Ready>>() == 16);

impl Ready {
    /// What an instance of this class is queued for.
    #[inline]
    pub(crate) fn of<T: Class>(own: Own<T>) -> Ready
    where
        Instance<T>: Entry,
    {
        Behind::<dyn Entry>::new(own, |this| this)
    }

    /// The same where there are several things to do with one.
    #[inline]
    pub(crate) fn role<Role: 'static, T: Class>(own: Own<T>) -> Ready
    where
        In<Role, T>: Entry,
    {
        Behind::<dyn Entry>::new(own, |this| this.in_role::<Role>())
    }
}
