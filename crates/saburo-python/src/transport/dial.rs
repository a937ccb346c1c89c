//! Dial: a connection that this side is opening.
//!
//! The dial owns the socket until a transport takes it over; dropping the dial closes the connection. Python
//! sees only a number to watch, which saves a `socket` object per connection.

use std::cell::Cell;
use std::ffi::CStr;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};

use saburo_core::Address;
use saburo_core::net::{self, Dialed};

use crate::event_loop::Loop;
use crate::ffi::{
    Args, Builder, Class, Instance, Obj, Object, Own, Params, Raised, Res, fields, int, is_audited, none,
};

use super::address::{Family, from_python};

/// A connection that is being opened.
pub(crate) struct Dial {
    /// None once the descriptor was taken over or closed.
    descriptor: Cell<Option<OwnedFd>>,
    /// The address of the peer; None for an unspecified address, where the kernel chooses.
    peer: Cell<Option<Address>>,
    /// The peer has not answered yet.
    pending: Cell<bool>,
}

/// `_dial(v6, address)`: None for an address that is not in the plain form that `getaddrinfo()` returns, and
/// where audit hooks must be told of a `socket`.
pub(crate) fn dial(_event_loop: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    const PARAMS: Params<2> =
        Params { function: "_dial", names: ["v6", "address"], required: 2, positional: 2 };
    let [Some(v6), Some(shown)] = args.bind(&PARAMS)? else { unreachable!("both are required") };
    let family = if v6.truth()? { Family::V6 } else { Family::V4 };
    let Some(peer) = from_python(family, shown).filter(|_| !is_audited()) else { return Ok(none()) };
    let (descriptor, pending) = match net::dial(&peer) {
        Ok(Dialed::Connected(descriptor)) => (descriptor, false),
        Ok(Dialed::Pending(descriptor)) => (descriptor, true),
        Ok(Dialed::Failed(error)) => return refused(&error, shown),
        Err(error) => return Err(error.into()),
    };
    let dial: Own<Dial> = Instance::alloc(Dial {
        descriptor: Cell::new(Some(descriptor)),
        peer: Cell::new(Some(peer).filter(is_somebody)),
        pending: Cell::new(pending),
    })?;
    Ok(dial.into_obj())
}

impl Dial {
    /// The socket and the address of its peer, for a transport; None if the socket is gone.
    pub(super) fn take(&self) -> Option<(OwnedFd, Option<Address>)> {
        Some((self.descriptor.take()?, self.peer.take()))
    }

    fn number(&self) -> i64 {
        let descriptor = self.descriptor.take();
        let number = descriptor.as_ref().map_or(-1, |descriptor| descriptor.as_raw_fd().into());
        self.descriptor.set(descriptor);
        number
    }
}

fn is_somebody(address: &Address) -> bool {
    match address {
        Address::V4(address) => !address.ip().is_unspecified(),
        Address::V6(address) => !address.ip().is_unspecified(),
        _ => true,
    }
}

/// `_hear(address)`: the socket has become writable. Raises the peer's error, with `address` in the message.
fn hear(this: &Instance<Dial>, shown: &Object) -> Res<()> {
    match net::take_error(this.number() as i32) {
        Ok(()) => {
            this.pending.set(false);
            Ok(())
        }
        // A spurious wakeup.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
        Err(error) => refused(&error, shown),
    }
}

/// Raises the exception that asyncio raises for `error`.
#[cold]
fn refused<T>(error: &std::io::Error, shown: &Object) -> Res<T> {
    Err(Raised::os_saying(error, &format!("Connect call failed {}", shown.repr()?)))
}

impl Class for Dial {
    fields! {
        class;
        plain { descriptor, peer, pending }
    }

    const NAME: &'static CStr = c"saburo._saburo.Dial";
    const DOC: &'static CStr = c"A connection that create_connection() is opening.

>>> import saburo
>>> saburo._saburo.Dial.__name__
'Dial'";
    const SUBCLASSABLE: bool = false;
    const CONSTRUCTIBLE: bool = false;

    fn describe(builder: Builder<Dial>) -> Builder<Dial> {
        builder
            .noargs(c"fileno", |this| int(this.number()), c"The descriptor, -1 once it is not the dial's.")
            .noargs(
                c"close",
                |this| {
                    drop(this.descriptor.take());
                    Ok(())
                },
                c"Hangs up.",
            )
            .one(
                c"_hear",
                hear,
                c"_hear(address): takes the answer; raises OSError if it is a refusal, about `address`.",
            )
            .getter(c"_pending", |this| this.pending.get(), c"Has the peer not answered yet?")
    }
}
