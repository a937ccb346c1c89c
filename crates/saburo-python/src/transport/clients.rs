//! How many connections a server has.
//!
//! They are counted here, so that one that comes and goes calls nothing of Python for that. Which they are,
//! the table of transports knows.

use std::cell::Cell;
use std::ffi::CStr;

use crate::ffi::{Builder, Class, Instance, Object, Res, builtin, fields, int, raise};
use crate::names::names;

/// The connections of a server, by number only.
pub(crate) struct Clients {
    open: Cell<usize>,
    /// The server takes no more.
    closed: Cell<bool>,
}

/// A connection of `server` begins.
pub(super) fn attach(server: &Object) -> Res<()> {
    let clients = server.attr(&names().clients)?;
    let Some(clients) = clients.cast_exact::<Clients>() else { return Ok(()) };
    if clients.closed.get() {
        return raise(builtin::assertion_error(), "the server is closed");
    }
    clients.open.set(clients.open.get() + 1);
    Ok(())
}

/// A connection of `server` is over; so is the server, if it was the last one of a closed server.
pub(super) fn detach(server: &Object) -> Res<()> {
    let clients = server.attr(&names().clients)?;
    let Some(clients) = clients.cast_exact::<Clients>() else { return Ok(()) };
    clients.open.set(clients.open.get().saturating_sub(1));
    if clients.open.get() > 0 || !clients.closed.get() {
        return Ok(());
    }
    server.method(&names().end_if_over, &[]).map(drop)
}

impl Class for Clients {
    fields! {
        class;
        plain { open, closed }
    }

    const NAME: &'static CStr = c"saburo._saburo.Clients";
    const DOC: &'static CStr = c"How many connections a server has.

>>> import saburo
>>> clients = saburo._saburo.Clients()
>>> clients.open, clients.closed
(0, False)";
    const SUBCLASSABLE: bool = false;

    fn describe(builder: Builder<Clients>) -> Builder<Clients> {
        builder
            .getter(c"open", |this: &Instance<Clients>| int(this.open.get() as i64), c"How many are open.")
            .getter(c"closed", |this| this.closed.get(), c"Does the server take no more?")
            .setter(|this, closed| {
                this.closed.set(closed.truth()?);
                Ok(())
            })
    }
}
