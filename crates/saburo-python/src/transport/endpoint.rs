//! A socket in a transport's hands: who owns its descriptor, where its two ends are, and what else is known
//! of it. Asked for seldom, so made when asked for and kept.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use saburo_core::{Address, net};

use crate::event_loop::{Direction, Loop};
use crate::ffi::{
    Args, Instance, Obj, Object, Params, Res, Slot, SocketLayout, Visit, builtin, int, mapping, none, raise,
};
use crate::names::{Names, names};

use super::address::{self, Family};
use super::life::{Life, Phase};

/// A socket.
pub(super) struct Endpoint {
    /// The descriptor while nobody in Python has it …
    descriptor: Cell<Option<OwnedFd>>,
    /// … and the `socket` that owns it, where there is one.
    socket: Slot,
    /// Answers of `get_extra_info`, as far as anybody has asked; a dict.
    extra: Slot,
    local: RefCell<Option<Address>>,
    peer: RefCell<Option<Address>>,
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

    /// What else is known of it, for `get_extra_info`.
    pub(super) fn add_extra(&self, extra: Option<&Object>) -> Res<()> {
        if let Some(extra) = extra.filter(|extra| !extra.is_none()) {
            let copy = mapping(&[])?;
            copy.method(&names().update, &[extra])?;
            self.extra.set(Some(copy));
        }
        Ok(())
    }

    /// Takes over a Python socket; its descriptor.
    pub(super) fn take_over(&self, sock: &Object) -> Res<RawFd> {
        let fd = sock.method(&names().fileno, &[])?.as_i64()?;
        let Some(fd) = RawFd::try_from(fd).ok().filter(|&fd| fd >= 0) else {
            return raise(builtin::value_error(), &format!("Invalid file descriptor: {fd}"));
        };
        *self.local.borrow_mut() = net::local_address(fd).ok().flatten();
        *self.peer.borrow_mut() = net::peer_address(fd).ok().flatten();
        self.socket.set(Some(sock.to_obj()));
        Ok(fd)
    }

    /// Takes over a descriptor that Python has never seen.
    pub(super) fn take_over_descriptor(&self, descriptor: OwnedFd, peer: Option<Address>) -> RawFd {
        let fd = descriptor.as_raw_fd();
        self.descriptor.set(Some(descriptor));
        *self.peer.borrow_mut() = peer;
        fd
    }

    /// Gives up the descriptor's number if it is not the socket's any more: somebody else has the `socket`
    /// too, and has closed it without a word to us. The number means nothing then, or another connection.
    /// Asked before anything is done with it.
    #[inline]
    pub(super) fn check(&self, life: &Life, event_loop: &Loop, transport: &Object) {
        if let Some(socket) = self.socket.get()
            // The slot's reference, and the one in hand.
            && socket.references() > 2
            && !has(&socket, life.fd.get())
        {
            give_up(life, event_loop, transport);
        }
    }

    /// Is it a socket of the Internet's?
    pub(super) fn is_inet(&self) -> bool {
        matches!(self.family(), Some(Family::V4 | Family::V6))
    }

    /// `get_extra_info(name, default=None)`
    pub(super) fn get_extra_info(&self, life: &Life, args: Args<'_>) -> Res<Obj> {
        const PARAMS: Params<2> =
            Params { function: "get_extra_info", names: ["name", "default"], required: 1, positional: 2 };
        let [Some(name), default] = args.bind(&PARAMS)? else { unreachable!("one is required") };
        let default = default.map_or_else(none, Object::to_obj);
        let known = self.known()?;
        if let Some(value) = known.dict_get(name)? {
            return Ok(value);
        }
        let names = names();
        for (own, make) in OWN {
            let own = own(names);
            if name.is(own) || name.equals(own)? {
                return match make(self, life)? {
                    Some(value) => {
                        known.dict_set(own, &value)?;
                        Ok(value)
                    }
                    // asyncio knows the key, and None is the answer.
                    None => Ok(none()),
                };
            }
        }
        Ok(default)
    }

    /// Does the kernel know where all goes that is sent? Where the other end has no name, as in a pair of Unix
    /// sockets, asyncio says no.
    pub(super) fn has_peer(&self, life: &Life) -> Res<bool> {
        let key = &names().peername;
        let known = self.known()?;
        if known.contains(key)? {
            return known.method(&names().get, &[&**key])?.truth();
        }
        self.peername(life)?.map_or(Ok(false), |peer| peer.truth())
    }

    /// How the addresses of its family are written; None for one that we do not know.
    pub(super) fn family(&self) -> Option<Family> {
        self.local.borrow().as_ref().map(Family::of)
    }

    /// Everything, as a dict.
    pub(super) fn whole(&self, life: &Life) -> Res<Obj> {
        let known = self.known()?;
        for (own, make) in OWN {
            let own = own(names());
            if !known.contains(own)? {
                let value = make(self, life)?.unwrap_or_else(none);
                known.dict_set(own, &value)?;
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

    /// The `socket` that owns the descriptor from now on, as somebody in Python wants to see it.
    pub(super) fn python_socket(&self, life: &Life) -> Res<Option<Obj>> {
        if let Some(socket) = self.socket.get() {
            return Ok(Some(socket));
        }
        if life.phase.get() == Phase::Closed || life.fd.get() < 0 {
            return Ok(None);
        }
        let names = names();
        let fd = int(i64::from(life.fd.get()))?;
        let socket = names.class_socket.call_with_names(&[&fd], Some(&names.kw_fileno))?;
        if let Some(descriptor) = self.descriptor.take() {
            // It has a new owner.
            let _ = descriptor.into_raw_fd();
        }
        self.socket.set(Some(socket.clone()));
        Ok(Some(socket))
    }

    /// Gives the socket back to its owner, who will close it. Called when the connection is ending.
    pub(super) fn leave(&self, life: &Life, event_loop: &Instance<Loop>, transport: &Object) {
        drop(event_loop.transports().leave(life.fd.replace(-1), transport));
        drop(self.socket.take());
    }

    /// Closes the descriptor: once, by whoever owns it. The loop has stopped watching it before.
    pub(super) fn close(&self, life: &Life) -> Res<()> {
        if self.local.borrow().is_none() {
            // Whoever asks later for the address of this end gets it as before.
            *self.local.borrow_mut() = net::local_address(life.fd.get()).ok().flatten();
        }
        drop(self.descriptor.take());
        match self.socket.take() {
            Some(socket) => socket.method(&names().close, &[]).map(drop),
            None => Ok(()),
        }
    }

    fn transport_socket(&self, life: &Life) -> Res<Option<Obj>> {
        match self.python_socket(life)? {
            Some(socket) => names().class_transport_socket.call(&[&socket]).map(Some),
            None => Ok(None),
        }
    }

    fn sockname(&self, life: &Life) -> Res<Option<Obj>> {
        if self.local.borrow().is_none() && life.phase.get() != Phase::Closed {
            *self.local.borrow_mut() = net::local_address(life.fd.get()).ok().flatten();
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

    /// For families whose addresses only Python's socket module knows how to write.
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

    pub(super) fn visit(&self, visit: &mut Visit<'_>) {
        self.socket.visit(visit);
        self.extra.visit(visit);
    }

    pub(super) fn clear(&self) {
        drop((self.socket.take(), self.extra.take()));
    }
}

/// Is this the socket's descriptor?
#[inline]
fn has(socket: &Object, fd: RawFd) -> bool {
    match SocketLayout::of(&names().class_socket).and_then(|layout| layout.descriptor(socket)) {
        Some(descriptor) => descriptor == fd,
        None => says_it_has(socket, fd),
    }
}

/// The same of one that we cannot look into.
#[cold]
fn says_it_has(socket: &Object, fd: RawFd) -> bool {
    match socket.method(&names().fileno, &[]).and_then(|number| number.as_i64()) {
        Ok(number) => number == i64::from(fd),
        Err(raised) => {
            raised.swallow();
            false
        }
    }
}

#[cold]
fn give_up(life: &Life, event_loop: &Loop, transport: &Object) {
    let fd = life.fd.get();
    event_loop.unwatch_transport(fd, Direction::Read, transport);
    event_loop.unwatch_transport(fd, Direction::Write, transport);
    life.fd.set(-1);
    drop(event_loop.transports().leave(fd, transport));
}

type Own = (fn(&'static Names) -> &'static Obj, fn(&Endpoint, &Life) -> Res<Option<Obj>>);

/// What every socket has.
const OWN: [Own; 3] = [
    (|names| &names.socket, Endpoint::transport_socket),
    (|names| &names.sockname, Endpoint::sockname),
    (|names| &names.peername, Endpoint::peername),
];
