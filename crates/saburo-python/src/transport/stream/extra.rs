//! `get_extra_info`: asked for seldom, so made when asked for and kept.

use saburo_core::net;

use crate::ffi::{Args, Instance, Obj, Object, Params, Res, int, mapping, none};
use crate::names::names;

use super::super::address;
use super::{Phase, StreamTransport};

pub(super) fn get_extra_info(this: &Instance<StreamTransport>, args: Args<'_>) -> Res<Obj> {
    const PARAMS: Params<2> =
        Params { function: "get_extra_info", names: ["name", "default"], required: 1, positional: 2 };
    let [Some(name), default] = args.bind(&PARAMS)? else { unreachable!("one is required") };
    let default = default.map_or_else(none, Object::to_obj);
    let known = known(this)?;
    if !known.contains(name)? {
        let names = names();
        for (own, make) in OWN {
            let own = own(names);
            if name.is(own) || name.equals(own)? {
                return match make(this)? {
                    Some(value) => {
                        known.dict_set(own, &value)?;
                        Ok(value)
                    }
                    // asyncio knows the key, and None is the answer.
                    None => Ok(none()),
                };
            }
        }
    }
    known.method(&names().get, &[name, &default])
}

/// Everything, as a dict.
pub(super) fn whole(this: &Instance<StreamTransport>) -> Res<Obj> {
    let known = known(this)?;
    for (own, make) in OWN {
        let own = own(names());
        if !known.contains(own)? {
            let value = make(this)?.unwrap_or_else(none);
            known.dict_set(own, &value)?;
        }
    }
    Ok(known)
}

type Own =
    (fn(&'static crate::names::Names) -> &'static Obj, fn(&Instance<StreamTransport>) -> Res<Option<Obj>>);

/// What every connection has.
const OWN: [Own; 3] = [
    (|names| &names.socket, transport_socket),
    (|names| &names.sockname, sockname),
    (|names| &names.peername, peername),
];

fn known(this: &StreamTransport) -> Res<Obj> {
    if let Some(known) = this.extra.get() {
        return Ok(known);
    }
    let made = mapping(&[])?;
    this.extra.set(Some(made.clone()));
    Ok(made)
}

fn transport_socket(this: &Instance<StreamTransport>) -> Res<Option<Obj>> {
    match python_socket(this)? {
        Some(socket) => names().class_transport_socket.call(&[&socket]).map(Some),
        None => Ok(None),
    }
}

/// The `socket` that owns the descriptor from now on, as somebody in Python wants to see it.
pub(super) fn python_socket(this: &Instance<StreamTransport>) -> Res<Option<Obj>> {
    if let Some(socket) = this.socket.get() {
        return Ok(Some(socket));
    }
    if this.phase.get() == Phase::Closed || this.fd.get() < 0 {
        return Ok(None);
    }
    let names = names();
    let fd = int(i64::from(this.fd.get()))?;
    let socket = names.class_socket.call_with_names(&[&fd], Some(&names.kw_fileno))?;
    if let Some(descriptor) = this.descriptor.take() {
        // It has a new owner.
        let _ = std::os::fd::IntoRawFd::into_raw_fd(descriptor);
    }
    this.socket.set(Some(socket.clone()));
    Ok(Some(socket))
}

fn sockname(this: &Instance<StreamTransport>) -> Res<Option<Obj>> {
    if this.local.borrow().is_none() && this.phase.get() != Phase::Closed {
        *this.local.borrow_mut() = net::local_address(this.fd.get()).ok().flatten();
    }
    let local = this.local.borrow().clone();
    match local {
        Some(local) => address::to_python(&local).map(Some),
        None => by_python(this, &names().getsockname),
    }
}

fn peername(this: &Instance<StreamTransport>) -> Res<Option<Obj>> {
    let peer = this.peer.borrow().clone();
    match peer {
        Some(peer) => address::to_python(&peer).map(Some),
        None => by_python(this, &names().getpeername),
    }
}

/// For families whose addresses only Python's socket module knows how to write.
fn by_python(this: &Instance<StreamTransport>, method: &Object) -> Res<Option<Obj>> {
    let Some(socket) = python_socket(this)? else { return Ok(None) };
    match socket.method(method, &[]) {
        Ok(address) => Ok(Some(address)),
        Err(raised) if raised.matches(crate::ffi::builtin::os_error()) => {
            raised.swallow();
            Ok(None)
        }
        Err(raised) => Err(raised),
    }
}
