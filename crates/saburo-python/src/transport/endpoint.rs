//! The socket of a transport: the owner of the descriptor, the addresses of both ends, and the rest that
//! `get_extra_info` answers. These answers are seldom needed, so each is made on first use and then kept.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use saburo_core::{Address, net};

use crate::event_loop::{Loop, Transport, is_free};
use crate::ffi::{
    Args, Behind, Class, Holds, Instance, Obj, Object, Owner, Params, Res, Slot, aside, builtin, fields, int,
    mapping, none, raise,
};
use crate::names::{self, Names, names};

use super::address::{self, Family};
use super::life::{ConnectionState, Life};
use super::stream::StreamTransport;

/// A socket.
pub(super) struct Endpoint {
    /// The descriptor, while no Python object owns it …
    descriptor: Cell<Option<OwnedFd>>,
    /// … and the `socket` that owns it, where there is one.
    socket: Slot<Owner>,
    /// Answers of `get_extra_info` that a program has asked for so far; a dict.
    extra: Slot,
    local: RefCell<Option<Address>>,
    peer: RefCell<Option<Address>>,
}

/// What the kernel knows about the other end of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Peer {
    /// The socket is not connected: each message needs an address.
    None,
    /// A peer without a name, as in a pair of Unix sockets.
    Unnamed,
    Named,
}

impl Endpoint {
    pub(super) const fn new() -> Endpoint {
        Endpoint {
            descriptor: Cell::new(None),
            socket: Slot::empty(),
            extra: Slot::empty(),
            local: RefCell::new(None),
            peer: RefCell::new(None),
        }
    }

    /// Adds answers for `get_extra_info`.
    pub(super) fn add_extra(&self, extra: Option<&Object>) -> Res<()> {
        if let Some(extra) = extra.filter(|extra| !extra.is_none()) {
            let copy = mapping(&[])?;
            copy.method(&names().update, &[extra])?;
            self.extra.set(Some(copy));
        }
        Ok(())
    }

    /// Takes over a Python socket that no transport has yet. Returns its descriptor.
    pub(super) fn take_over(&self, event_loop: &Loop, sock: &Object) -> Res<RawFd> {
        let (owner, fd) = loop {
            let (owner, number) = Owner::of(sock)?;
            let Some(fd) = RawFd::try_from(number).ok().filter(|&fd| fd >= 0) else {
                return raise(builtin::value_error(), &format!("Invalid file descriptor: {number}"));
            };
            if is_free(event_loop, fd, || sock.repr())? {
                break (owner, fd);
            }
        };
        *self.local.borrow_mut() = net::local_address(fd).ok().flatten();
        *self.peer.borrow_mut() = net::peer_address(fd).ok().flatten();
        self.socket.set(Some(owner));
        Ok(fd)
    }

    /// Takes over a descriptor that Python has never seen.
    pub(super) fn take_over_descriptor(&self, descriptor: OwnedFd, peer: Option<Address>) -> RawFd {
        let fd = descriptor.as_raw_fd();
        self.descriptor.set(Some(descriptor));
        *self.peer.borrow_mut() = peer;
        fd
    }

    /// Enters the transport into the loop's table under its descriptor, if it still owns that: Python code
    /// has run since it took the descriptor over.
    pub(super) fn enter<T: Class>(&self, life: &Life, event_loop: &Loop, transport: &Instance<T>)
    where
        Instance<T>: Transport,
    {
        let fd = self.current(life);
        if fd < 0 {
            return;
        }
        let transport = Behind::<dyn Transport>::new(transport.to_own(), |transport| transport);
        event_loop.transports().enter(fd, transport);
    }

    /// The descriptor, as its current owner reports it; -1 if the owner has none or another one. Ask for it
    /// right before each system call, with no Python code in between: Python code that has the `socket` may
    /// close it without telling us, and then the number may belong to another connection.
    #[inline]
    pub(super) fn descriptor(&self, life: &Life, event_loop: &Loop, transport: &Object) -> RawFd {
        let fd = self.current(life);
        if fd < 0 {
            life.give_up(event_loop, transport);
        }
        fd
    }

    /// The same, without telling the loop.
    #[inline]
    fn current(&self, life: &Life) -> RawFd {
        match life.descriptor_of(&self.socket) {
            Some(fd) => fd,
            None => self.native().unwrap_or(-1),
        }
    }

    /// The descriptor, while no Python object owns it.
    #[inline]
    fn native(&self) -> Option<RawFd> {
        let descriptor = self.descriptor.take();
        let number = descriptor.as_ref().map(AsRawFd::as_raw_fd);
        self.descriptor.set(descriptor);
        number
    }

    /// The number now belongs to another file, so other code has closed our descriptor. We must not close it
    /// again.
    #[cold]
    pub(super) fn forget_descriptor(&self, life: &Life) {
        if let Some(descriptor) = self.descriptor.take() {
            let _ = descriptor.into_raw_fd();
            life.number.set(-1);
        }
    }

    /// True for an Internet socket (IPv4 or IPv6).
    pub(super) fn is_inet(&self) -> bool {
        matches!(self.family(), Some(Family::V4 | Family::V6))
    }

    /// `get_extra_info(name, default=None)`
    pub(super) fn get_extra_info(&self, life: &Life, transport: &Object, args: Args<'_>) -> Res<Obj> {
        const PARAMS: Params<2> = Params {
            function: "BaseTransport.get_extra_info",
            names: ["name", "default"],
            required: 1,
            positional: 2,
        };
        let [Some(name), default] = args.bind(&PARAMS)? else { unreachable!("one is required") };
        let default = default.map_or_else(none, Object::to_obj);
        let known = self.known()?;
        if let Some(value) = known.dict_get(name)? {
            return Ok(value);
        }
        let names = names();
        for (key, make) in KNOWN_KEYS {
            let key = key(names);
            if name.is(key) || name.equals(key)? {
                return match make(self, life, transport)? {
                    Some(value) => {
                        known.dict_set(key, &value)?;
                        Ok(value)
                    }
                    // asyncio knows the key, and its answer is None.
                    None => Ok(none()),
                };
            }
        }
        Ok(default)
    }

    /// What the kernel knows about the other end.
    pub(super) fn peer(&self, life: &Life) -> Res<Peer> {
        let key = &names().peername;
        let known = self.known()?;
        let name = match known.contains(key)? {
            true => Some(known.method(&names().get, &[&**key])?),
            false => self.peername(life)?,
        };
        match name {
            Some(name) if name.truth()? => Ok(Peer::Named),
            // The code that made the connection gives None if it does not know the peer.
            Some(name) if !name.is_none() => Ok(Peer::Unnamed),
            _ => Ok(Peer::None),
        }
    }

    /// The family of the socket's address; None for a family that we do not know.
    pub(super) fn family(&self) -> Option<Family> {
        self.local.borrow().as_ref().map(Family::of)
    }

    /// All answers, as a dict.
    pub(super) fn whole(&self, life: &Life, transport: &Object) -> Res<Obj> {
        let known = self.known()?;
        for (key, make) in KNOWN_KEYS {
            let key = key(names());
            if !known.contains(key)? {
                let value = make(self, life, transport)?.unwrap_or_else(none);
                known.dict_set(key, &value)?;
            }
        }
        Ok(known)
    }

    fn known(&self) -> Res<Obj> {
        if let Some(known) = self.extra.get() {
            return Ok(known);
        }
        let made = mapping(&[])?;
        self.extra.set(Some(made.clone()));
        Ok(made)
    }

    /// Makes the `socket` that owns the descriptor from now on, because Python code asked to see it.
    pub(super) fn python_socket(&self, life: &Life) -> Res<Option<Obj>> {
        if let Some(owner) = self.socket.get() {
            return Ok(Some(owner.into_object()));
        }
        let Some(fd) = self.native().filter(|_| life.phase.get() != ConnectionState::Closed) else {
            return Ok(None);
        };
        let names = names();
        let class = &names.class_socket;
        let socket = class.attr(&names.dunder_new)?.call(&[class])?;
        let number = int(i64::from(fd))?;
        let made = socket.attr(&names.dunder_init)?.call_with_names(&[&number], Some(&names.kw_fileno));
        let (owner, taken) = aside(|| Owner::of(&socket))?;
        // Python code has run. It may have closed the connection, or asked for the socket as well.
        if made.is_ok() && taken == i64::from(fd) && self.native() == Some(fd) {
            let _ = self.descriptor.take().map(IntoRawFd::into_raw_fd);
            self.socket.set(Some(owner));
            return Ok(Some(socket));
        }
        if taken >= 0 {
            // Otherwise this socket would close a descriptor that it does not own.
            aside(|| socket.method(&names.detach, &[]))?;
        }
        made?;
        Ok(self.socket.get().map(Owner::into_object))
    }

    /// Closes the descriptor once, through its owner. The loop has stopped watching it before.
    pub(super) fn close(&self, life: &Life) -> Res<()> {
        if self.local.borrow().is_none() {
            // Code that asks for the local address later gets the same answer as before.
            *self.local.borrow_mut() = net::local_address(self.current(life)).ok().flatten();
        }
        drop(self.descriptor.take());
        match self.socket.take() {
            Some(owner) => owner.object().method(&names().close, &[]).map(drop),
            None => Ok(()),
        }
    }

    fn transport_socket(&self, life: &Life, transport: &Object) -> Res<Option<Obj>> {
        let Some(socket) = self.python_socket(life)? else { return Ok(None) };
        if transport.cast_exact::<StreamTransport>().is_none() {
            return names().class_transport_socket.call(&[&socket]).map(Some);
        }
        // A socket object that knows about bytes that were written and not sent yet.
        names::transport_socket()?.call(&[&*socket, transport]).map(Some)
    }

    fn sockname(&self, life: &Life) -> Res<Option<Obj>> {
        if self.local.borrow().is_none() && life.phase.get() != ConnectionState::Closed {
            *self.local.borrow_mut() = net::local_address(self.current(life)).ok().flatten();
        }
        let local = self.local.borrow().clone();
        match local {
            Some(local) => address::to_python(&local).map(Some),
            None => self.by_python(life, &names().getsockname),
        }
    }

    fn peername(&self, life: &Life) -> Res<Option<Obj>> {
        let peer = self.peer.borrow().clone();
        match peer {
            Some(peer) => address::to_python(&peer).map(Some),
            None => self.by_python(life, &names().getpeername),
        }
    }

    /// For families whose addresses only Python's `socket` module can write.
    fn by_python(&self, life: &Life, method: &Object) -> Res<Option<Obj>> {
        let Some(socket) = self.python_socket(life)? else { return Ok(None) };
        match socket.method(method, &[]) {
            Ok(address) => Ok(Some(address)),
            Err(raised) if raised.matches(builtin::os_error()) => {
                raised.swallow();
                Ok(None)
            }
            Err(raised) => Err(raised),
        }
    }
}

impl Holds for Endpoint {
    fields! {
        part;
        objects { socket, extra }
        plain { descriptor, local, peer }
    }
}

type KnownKey = (fn(&'static Names) -> &'static Obj, fn(&Endpoint, &Life, &Object) -> Res<Option<Obj>>);

/// What every socket has.
const KNOWN_KEYS: [KnownKey; 3] = [
    (|names| &names.socket, Endpoint::transport_socket),
    (|names| &names.sockname, |endpoint, life, _| endpoint.sockname(life)),
    (|names| &names.peername, |endpoint, life, _| endpoint.peername(life)),
];
