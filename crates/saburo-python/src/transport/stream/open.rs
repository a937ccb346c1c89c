//! The beginning of a connection: the transport is made, the protocol is told, reading starts.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use saburo_core::{Address, net};

use crate::event_loop::{Direction, Loop, free_descriptor};
use crate::ffi::{Args, Context, Instance, Obj, Object, Own, Params, Res, aside, builtin, mapping, raise};
use crate::names::names;

use super::super::{Listener, listener};
use super::{Event, StreamTransport, end, failure, protocol, set_protocol, start_reading, write};

/// `_make_socket_transport(sock, protocol, waiter=None, *, extra=None, server=None, context=None)`
pub(crate) fn connected(event_loop: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    const PARAMS: Params<6> = Params {
        function: "_make_socket_transport",
        names: ["sock", "protocol", "waiter", "extra", "server", "context"],
        required: 2,
        positional: 3,
    };
    let [Some(sock), Some(target), waiter, extra, server, context] = args.bind(&PARAMS)? else {
        unreachable!("two are required")
    };
    event_loop.check_usable()?;
    let given = |value: Option<&Object>| value.filter(|value| !value.is_none()).map(Object::to_obj);
    let Some(fd) = free_descriptor(event_loop, sock)? else {
        return raise(builtin::overflow_error(), "Python int too large to convert to C int");
    };
    let transport = made(event_loop, fd)?;
    transport.socket.set(Some(sock.to_obj()));
    set_protocol(&transport, target)?;
    transport.waiter.set(given(waiter));
    if let Some(extra) = given(extra) {
        let copy = mapping(&[])?;
        copy.method(&names().update, &[&extra])?;
        transport.extra.set(Some(copy));
    }
    *transport.local.borrow_mut() = net::local_address(fd).ok().flatten();
    *transport.peer.borrow_mut() = net::peer_address(fd).ok().flatten();
    if matches!(&*transport.local.borrow(), Some(Address::V4(_) | Address::V6(_))) {
        // Refused by what is no TCP, which has nothing to delay.
        let _ = net::set_nodelay(fd);
    }
    match given(context) {
        Some(context) => {
            transport.context_given.set(true);
            transport.context.set(Some(Context::from_obj(context)));
        }
        None => transport.context.set(Some(event_loop.contexts().copy_current()?)),
    }
    enter(event_loop, &transport, given(server))?;
    Ok(transport.into_obj())
}

/// A transport for a connection that a listener has taken. Its protocol is made in the next turn, as in
/// asyncio, where a task begins then.
pub(in crate::transport) fn accepted(
    event_loop: &Instance<Loop>,
    listener: &Instance<Listener>,
    descriptor: OwnedFd,
    peer: Option<Address>,
    context: Context,
) -> Res<Own<StreamTransport>> {
    let transport = made(event_loop, descriptor.as_raw_fd())?;
    transport.descriptor.set(Some(descriptor));
    *transport.peer.borrow_mut() = peer;
    transport.context_given.set(true);
    transport.context.set(Some(context));
    transport.waiter.set(Some(listener.as_object().to_obj()));
    Ok(transport)
}

/// The turn after: makes the protocol, and lets it be told in the next.
pub(crate) fn accept_now(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    let Some(waiter) = this.waiter.take() else { return Ok(()) };
    let listener = waiter.cast_exact::<Listener>().expect("a listener waits for its own connections");
    let failed = match begin(event_loop, this, listener) {
        Ok(()) => return Ok(()),
        Err(raised) if failure::ends_the_run(&raised) => Err(raised),
        Err(raised) => Ok(raised.take()),
    };
    // Nobody has seen the connection but the factory; it is closed without a word.
    let target = this.protocol.take();
    aside(|| end::discard(event_loop, this))?;
    let exception = failed?;
    if event_loop.debug() {
        let target = target.as_deref();
        listener::report_failed(event_loop, this.as_object(), target, &exception)?;
    }
    Ok(())
}

fn begin(
    event_loop: &Instance<Loop>,
    this: &Instance<StreamTransport>,
    listener: &Instance<Listener>,
) -> Res<()> {
    let Some(context) = this.context.get() else { return Ok(()) };
    let target = listener.make_protocol(&context)?;
    set_protocol(this, &target)?;
    enter(event_loop, this, listener.server())
}

/// A transport that the loop knows nothing of yet.
fn made(event_loop: &Instance<Loop>, fd: RawFd) -> Res<Own<StreamTransport>> {
    use crate::ffi::Class;

    let transport = Instance::alloc(StreamTransport::create())?;
    transport.event_loop.set(Some(event_loop.to_own()));
    transport.fd.set(fd);
    Ok(transport)
}

/// Makes it known to its server and its loop; the protocol is told in the next turn.
fn enter(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>, server: Option<Obj>) -> Res<()> {
    if let Some(server) = server {
        server.method(&names().attach, &[this.as_object()])?;
        this.server.set(Some(server));
    }
    drop(event_loop.transports().enter(this.fd.get(), this.as_object().to_obj()));
    event_loop.tell_later(this.as_object(), Event::Opened)
}

/// Tells the protocol, starts reading, and lets whoever waits for the connection go on: three calls in a
/// row in asyncio's queue.
pub(super) fn opened(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    let waiter = this.waiter.take();
    let (Some(target), Some(context)) = (this.protocol.get(), this.context.get()) else { return Ok(()) };
    let own = match this.context_given.get() {
        true => context,
        // What is set there stays there, as in a callback of its own.
        false => context.copied()?,
    };
    let told = protocol::call(own.as_object(), &target, &names().connection_made, &[this.as_object()]);
    if let Err(raised) = told {
        // A callback that has failed, and no more: the connection goes on.
        failure::report_callback(event_loop, this.as_object(), raised)?;
    }
    // A protocol may have started it itself, by pausing and resuming.
    if this.is_reading() && !event_loop.is_watched_for(this.fd.get(), Direction::Read, this.as_object()) {
        start_reading(event_loop, this)?;
    }
    match waiter {
        Some(waiter) => write::set_result(&waiter),
        None => Ok(()),
    }
}
