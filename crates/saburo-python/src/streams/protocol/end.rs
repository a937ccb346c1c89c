//! The end of a stream's connection, and the future that is done by then.

use std::cell::Cell;

use crate::ffi::{Holds, Obj, Object, Res, Slot, builtin, fields, raise};

use crate::streams::waiter;

#[derive(Default)]
pub(super) struct End {
    is_lost: Cell<bool>,
    /// The exception that ended the connection.
    error: Slot,
    /// Done when the connection is lost. Made on first use.
    closed: Slot,
}

impl End {
    #[inline]
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.get()
    }

    /// The connection is lost.
    pub(super) fn lose(&self, error: Option<&Object>) -> Res<()> {
        if self.is_lost.get() {
            return Ok(());
        }
        if let Some(error) = error
            && !error.is_exception()
            && !error.is_exception_class()
        {
            // asyncio makes the future in advance, and it raises this. We make the future only when a caller
            // waits.
            return raise(builtin::type_error(), "invalid exception object");
        }
        self.is_lost.set(true);
        self.error.set(error.map(Object::to_obj));
        match self.closed.get() {
            Some(closed) if !waiter::is_done(&closed)? => settle(&closed, error),
            _ => Ok(()),
        }
    }

    /// The future that is done when the connection is lost, on `event_loop`.
    pub(super) fn closed(&self, event_loop: &Object) -> Res<Obj> {
        if let Some(closed) = self.closed.get() {
            return Ok(closed);
        }
        let closed = waiter::make(event_loop)?;
        if self.is_lost.get() {
            settle(&closed, self.error.get().as_deref())?;
        }
        self.closed.set(Some(closed.clone()));
        Ok(closed)
    }
}

impl Holds for End {
    fields! {
        part;
        objects { error, closed }
        plain { is_lost }
    }
}

fn settle(closed: &Object, error: Option<&Object>) -> Res<()> {
    match error {
        None => waiter::wake(closed),
        Some(error) => {
            waiter::fail(closed, error)?;
            // Many programs never ask for the exception.
            waiter::notice(closed)
        }
    }
}
