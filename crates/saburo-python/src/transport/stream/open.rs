//! The beginning of a connection: the transport is made, the protocol is told, reading starts.

use std::os::fd::RawFd;

use saburo_core::net;

use crate::event_loop::{Entry, Loop, Ready, keep_memory};
use crate::ffi::{
    Args, Class, Context, In, Instance, Obj, Object, Own, Params, Res, aside, builtin, inside, raise,
};

use super::super::ending::Ending;
use super::super::endpoint::Endpoint;
use super::super::watcher::{self, Opened};
use super::super::{Dial, Listener, clients, listener};
use super::{StreamTransport, set_protocol};

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
    let transport = made(event_loop)?;
    transport.endpoint.add_extra(extra)?;
    set_protocol(&transport, target)?;
    transport.waiter.set(given(waiter));
    let (fd, is_inet) = match sock.cast_exact::<Dial>().map(|dial| dial.take()) {
        Some(Some((descriptor, peer))) => (transport.endpoint.take_over_descriptor(descriptor, peer), true),
        Some(None) => return raise(builtin::value_error(), "Invalid file descriptor: -1"),
        None => (transport.endpoint.take_over(event_loop, sock)?, transport.endpoint.is_inet()),
    };
    transport.number.set(fd);
    if is_inet {
        // A socket that is not TCP refuses this; it has nothing to delay.
        let _ = net::set_nodelay(fd);
    }
    match given(context) {
        Some(context) => {
            transport.context_given.set(true);
            transport.context.set(Some(Context::from_obj(context)));
        }
        None => transport.context.set(Some(event_loop.contexts().copy_current()?)),
    }
    enter_server(&transport, given(server))?;
    enter(event_loop, &transport)?;
    Ok(transport.into_obj())
}

/// A transport for a connection that a listener has accepted. Its protocol is made in the next turn, as in
/// asyncio, where a task begins then.
pub(in crate::transport) fn accepted(
    event_loop: &Instance<Loop>,
    listener: &Instance<Listener>,
    take_over: impl FnOnce(&Endpoint) -> Res<RawFd>,
    context: Context,
) -> Res<()> {
    let transport = made(event_loop)?;
    transport.number.set(take_over(&transport.endpoint)?);
    transport.context_given.set(true);
    transport.context.set(Some(context));
    transport.waiter.set(Some(listener.as_object().to_obj()));
    event_loop.push(Ready::role::<Accepted, _>(transport))
}

/// Marks a transport that is queued to get its protocol.
struct Accepted;

impl Entry for In<Accepted, StreamTransport> {
    fn run(&self, event_loop: &Instance<Loop>) -> Res<()> {
        Loop::leave_task(event_loop)?;
        accept_now(event_loop, self)
    }
}

/// Runs in the next turn: makes the protocol, which is told in the turn after.
fn accept_now(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    let Some(waiter) = this.waiter.take() else { return Ok(()) };
    let listener = waiter.cast_exact::<Listener>().expect("a listener waits for its own connections");
    let failed = match begin(event_loop, this, listener) {
        Ok(()) => return Ok(()),
        Err(raised) if raised.ends_the_run() => Err(raised),
        Err(raised) => Ok(raised.take()),
    };
    // Only the factory has seen the connection; it is closed without telling any protocol.
    let target = this.protocol.take();
    let surroundings = this.context();
    aside(|| StreamTransport::release(event_loop, this))?;
    let exception = failed?;
    match surroundings {
        Some(context) if event_loop.debug() => inside(context.as_object(), || {
            listener::report_failed(event_loop, this.as_object(), target.as_deref(), &exception)
        }),
        _ => Ok(()),
    }
}

fn begin(
    event_loop: &Instance<Loop>,
    this: &Instance<StreamTransport>,
    listener: &Instance<Listener>,
) -> Res<()> {
    let Some(context) = this.context.get() else { return Ok(()) };
    let app = listener.make_protocol(&context)?;
    // An error from here on is reported as an error of this protocol.
    this.protocol.set(Some(app.clone()));
    enter_server(this, listener.server())?;
    set_protocol(this, &*listener.add_tls(&context, app)?)?;
    enter(event_loop, this)
}

/// A transport that the loop does not know yet.
fn made(event_loop: &Instance<Loop>) -> Res<Own<StreamTransport>> {
    let transport = Instance::alloc(StreamTransport::blank())?;
    transport.event_loop.set(Some(event_loop.to_own()));
    Ok(transport)
}

/// Adds the connection to its server.
fn enter_server(this: &StreamTransport, server: Option<Obj>) -> Res<()> {
    if let Some(server) = server {
        clients::enter(&server)?;
        this.server.set(Some(server));
    }
    Ok(())
}

/// Adds the transport to its loop; the protocol is told in the next turn.
fn enter(event_loop: &Instance<Loop>, this: &Instance<StreamTransport>) -> Res<()> {
    keep_memory();
    this.endpoint.enter(this, event_loop, this);
    watcher::tell_later::<Opened, _>(event_loop, this)
}
