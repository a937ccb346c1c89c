//! How many connections a server has.
//!
//! The connections are counted here, so a connection that opens and closes calls no Python code for that. The
//! table of transports knows which connections they are.

use std::cell::Cell;
use std::ffi::CStr;

use crate::ffi::{Builder, Class, Instance, Object, Res, builtin, fields, int, raise};
use crate::names::names;

/// The connections of a server, as a count only.
pub(crate) struct Clients {
    open: Cell<usize>,
    /// The server accepts no more connections.
    closed: Cell<bool>,
}

/// Counts a new connection of `server`.
pub(super) fn enter(server: &Object) -> Res<()> {
    let clients = server.attr(&names().clients)?;
    let Some(clients) = clients.cast_exact::<Clients>() else { return Ok(()) };
    if clients.closed.get() {
        return raise(builtin::assertion_error(), "the server is closed");
    }
    clients.open.set(clients.open.get() + 1);
    Ok(())
}

/// A connection of `server` is over. The server is over too, if this was the last connection of a closed
/// server.
pub(super) fn leave(server: &Object) -> Res<()> {
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
