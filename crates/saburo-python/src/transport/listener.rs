//! Listener: accepts connections while some wait, and makes a transport for each.
//!
//! A client's error never ends a listener. When descriptors run out, the listener pauses for a second.

use std::cell::Cell;
use std::ffi::CStr;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use saburo_core::net;

use crate::event_loop::{Direction, Loop};
use crate::ffi::{
    Args, Builder, Class, Context, Instance, Obj, Object, Own, Owner, Params, Raised, Res, Slot, aside,
    fields, inside, int, is_audited, mapping, none, string,
};
use crate::names::{self, names};

use super::endpoint::Endpoint;
use super::watcher::{self, Watcher, Watches};
use super::{failure, stream};

/// A socket that listens.
pub(crate) struct Listener {
    event_loop: Slot<Own<Loop>>,
    socket: Slot<Owner>,
    /// The number under which the loop knows the listener; -1 once the number may belong to another file.
    number: Cell<RawFd>,
    watches: Watches,
    factory: Slot,
    server: Slot,
    /// For TLS: called with the application's protocol, it makes the protocol below that.
    add_tls: Slot,
    /// Each connection runs in a copy of this context.
    context: Slot<Context>,
    /// The most connections to accept for one event.
    backlog: Cell<usize>,
    /// No descriptor was available the last time. This is logged once.
    starved: Cell<bool>,
}

/// Seconds until the listener tries again; asyncio's number.
const RETRY_DELAY: f64 = 1.0;

/// `_listen(sock, protocol_factory, server, backlog, add_tls, context)`
pub(crate) fn listen(event_loop: &Instance<Loop>, args: Args<'_>) -> Res<()> {
    const PARAMS: Params<6> = Params {
        function: "_listen",
        names: ["sock", "protocol_factory", "server", "backlog", "add_tls", "context"],
        required: 6,
        positional: 6,
    };
    let [Some(sock), Some(factory), Some(server), Some(backlog), Some(add_tls), Some(context)] =
        args.bind(&PARAMS)?
    else {
        unreachable!("all are required")
    };
    event_loop.check_usable()?;
    let given = |value: &Object| (!value.is_none()).then(|| value.to_obj());
    let (owner, number) = Owner::of(sock)?;
    let number = RawFd::try_from(number).unwrap_or(-1);
    // Accepted connections inherit this option, however the listening socket was made.
    let _ = net::set_nodelay(number);
    let listener = Instance::alloc(Listener {
        event_loop: Slot::new(Some(event_loop.to_own())),
        socket: Slot::new(Some(owner)),
        number: Cell::new(number),
        watches: Watches::new(),
        factory: Slot::new(Some(factory.to_obj())),
        server: Slot::new(given(server)),
        add_tls: Slot::new(given(add_tls)),
        context: Slot::new(Some(match given(context) {
            Some(context) => Context::from_obj(context),
            None => event_loop.contexts().copy_current()?,
        })),
        backlog: Cell::new(backlog.as_i64()?.max(0) as usize),
        starved: Cell::new(false),
    })?;
    start(event_loop, &listener)?;
    let before = event_loop.listeners().all();
    event_loop.listeners().enter(listener.into_obj());
    // This removes listeners whose socket was closed without telling us.
    before.iter().filter_map(|before| before.cast_exact::<Listener>()).for_each(|before| {
        before.descriptor(event_loop);
    });
    Ok(())
}

fn start(event_loop: &Instance<Loop>, this: &Instance<Listener>) -> Res<()> {
    watcher::watch(event_loop, this.descriptor(event_loop), Direction::Read, this)
}

impl Watcher for Listener {
    fn watches(this: &Instance<Listener>) -> &Watches {
        &this.watches
    }

    /// Connections have come in.
    fn readable(event_loop: &Instance<Loop>, this: &Instance<Listener>) -> Res<()> {
        accept_all(event_loop, this).or_else(|raised| {
            let context = aside(|| this.context_copy())?;
            let (listener, name) = (this.as_object(), &names().accept_connection);
            failure::report_callback(event_loop, raised, listener, name, &[], context)
        })
    }
}

fn accept_all(event_loop: &Instance<Loop>, this: &Instance<Listener>) -> Res<()> {
    for _ in 0..=this.backlog.get() {
        // Stopped since the event came, or by code that an accepted connection has called.
        if !this.watches.go_on(event_loop, Direction::Read) {
            return Ok(());
        }
        let (descriptor, peer) = match net::accept(this.descriptor(event_loop)) {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if net::is_out_of_resources(&error) => return pause(event_loop, this, &error),
            Err(error) => return Err(error.into()),
        };
        this.starved.set(false);
        let Some(context) = this.context.get() else { return Ok(()) };
        let context = event_loop.contexts().copy_of(&context)?;
        if is_audited() || event_loop.debug() {
            let sock = this.python_socket(descriptor)?;
            if event_loop.debug() {
                let peer = peer.as_ref().map_or_else(|| Ok(none()), super::address::to_python)?;
                let server = this.server.get().unwrap_or_else(none);
                event_loop.as_object().method(&names().log_accepted, &[&server, &peer, &sock])?;
            }
            stream::accepted(event_loop, this, |endpoint| endpoint.take_over(event_loop, &sock), context)?;
        } else {
            let take_over = |endpoint: &Endpoint| Ok(endpoint.take_over_descriptor(descriptor, peer));
            stream::accepted(event_loop, this, take_over, context)?;
        }
    }
    Ok(())
}

/// Pauses accepting: the kernel would report the same connection again and again.
#[cold]
fn pause(event_loop: &Instance<Loop>, this: &Instance<Listener>, error: &io::Error) -> Res<()> {
    this.watches.end(event_loop, Direction::Read);
    super::retry_later(event_loop, this.as_object(), RETRY_DELAY)?;
    if this.starved.replace(true) {
        return Ok(());
    }
    let names = names();
    let raised = Raised::os(error);
    let exception = raised.take();
    let Some(owner) = this.socket.get() else { return Ok(()) };
    let socket = names.class_transport_socket.call(&[owner.object()])?;
    let message = string("socket.accept() out of system resource")?;
    let context = mapping(&[
        (&*names.message, &*message),
        (&*names.exception, &*exception),
        (&*names.socket, &*socket),
    ])?;
    let surroundings = this.context_copy()?;
    inside(surroundings.as_object(), || {
        event_loop.as_object().method(&names.call_exception_handler, &[&context]).map(drop)
    })
}

/// `_unlisten(sock)`: stops accepting connections on a listening socket.
pub(super) fn unlisten(event_loop: &Instance<Loop>, socket: &Object) -> Res<()> {
    let listeners = event_loop.listeners().all();
    let mut listeners = listeners.iter().filter_map(|listener| listener.cast_exact::<Listener>());
    if let Some(listener) = listeners.find(|listener| listener.socket.holds(socket)) {
        listener.stop(event_loop);
    }
    Ok(())
}

/// Accepts again, unless the socket was closed meanwhile.
fn retry(this: &Instance<Listener>) -> Res<()> {
    match this.event_loop.get() {
        Some(event_loop) if this.descriptor(&event_loop) >= 0 => start(&event_loop, this),
        _ => Ok(()),
    }
}

/// In debug mode, logs why a connection could not be made.
#[cold]
pub(super) fn report_failed(
    event_loop: &Instance<Loop>,
    transport: &Object,
    target: Option<&Object>,
    exception: &Object,
) -> Res<()> {
    let names = names();
    let message = string("Error on transport creation for incoming connection")?;
    let mut entries: Vec<(&Object, &Object)> =
        vec![(&names.message, &message), (&names.exception, exception)];
    if let Some(target) = target {
        entries.push((&names.protocol, target));
        entries.push((&names.transport, transport));
    }
    event_loop.as_object().method(&names.call_exception_handler, &[&*mapping(&entries)?]).map(drop)
}

impl Instance<Listener> {
    /// The descriptor. Ask for it right before each use; -1 once the socket has been closed or passed on
    /// without telling us, and then the loop watches it no more.
    fn descriptor(&self, event_loop: &Loop) -> RawFd {
        let number = self.number.get();
        if self.socket.number() == Some(number) {
            return number;
        }
        self.stop(event_loop);
        -1
    }

    /// Stops accepting connections.
    fn stop(&self, event_loop: &Loop) {
        self.number.set(-1);
        self.watches.end(event_loop, Direction::Read);
        drop(event_loop.listeners().leave(self.as_object()));
    }
}

impl Listener {
    /// The `socket` of a connection, as this socket's `accept()` would make it. If making it fails, for
    /// example in an audit hook, the connection is closed.
    fn python_socket(&self, descriptor: OwnedFd) -> Res<Obj> {
        let names = names();
        let Some(listening) = self.socket.get() else { return Ok(none()) };
        let [family, kind, proto] = [&names.family, &names.type_, &names.proto];
        let listening = listening.object();
        let (family, kind, proto) = (listening.attr(family)?, listening.attr(kind)?, listening.attr(proto)?);
        let fd = int(i64::from(descriptor.as_raw_fd()))?;
        let sock = names::socket_class_now()?
            .call_with_names(&[&family, &kind, &proto, &fd], Some(&names.kw_fileno))?;
        // The new `socket` owns the descriptor.
        let _ = descriptor.into_raw_fd();
        Ok(sock)
    }

    /// A context for calls outside of any connection: variables set there must not reach later connections.
    fn context_copy(&self) -> Res<Context> {
        self.context.get().map_or_else(Context::copy_current, |context| context.copied())
    }

    /// The protocol of a new connection, made in its context.
    pub(super) fn make_protocol(&self, context: &Context) -> Res<Obj> {
        match self.factory.get() {
            Some(factory) => inside(context.as_object(), || factory.call0()),
            None => Ok(none()),
        }
    }

    /// The transport's protocol: the TLS protocol over `app`, where the connections have TLS; else `app`
    /// itself.
    pub(super) fn add_tls(&self, context: &Context, app: Obj) -> Res<Obj> {
        match self.add_tls.get() {
            Some(add_tls) => inside(context.as_object(), || add_tls.call(&[&app])),
            None => Ok(app),
        }
    }

    pub(super) fn server(&self) -> Option<Obj> {
        self.server.get()
    }
}

impl Class for Listener {
    fields! {
        class;
        objects { event_loop, context, socket, factory, server, add_tls }
        plain { number: Cell::new(-1), watches: Watches::new(), backlog, starved }
    }

    const NAME: &'static CStr = c"saburo._saburo.Listener";
    const DOC: &'static CStr = c"A listening socket, as servers have them.

>>> import saburo
>>> saburo._saburo.Listener.__name__
'Listener'";
    const SUBCLASSABLE: bool = false;
    const CONSTRUCTIBLE: bool = false;

    fn describe(builder: Builder<Listener>) -> Builder<Listener> {
        builder.noargs(c"_retry", retry, c"Takes connections again, after a lack of descriptors.").noargs(
            c"_accept_connection",
            |this| this.event_loop.get().map_or(Ok(()), |event_loop| Listener::readable(&event_loop, this)),
            c"Takes the connections that have come in.",
        )
    }
}
