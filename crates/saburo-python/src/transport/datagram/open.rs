//! The beginning: a transport for a socket that is bound, connected, or neither.

use crate::event_loop::Loop;
use crate::ffi::{Args, Class, Instance, Obj, Params, Res};
use crate::names::names;

use super::super::watcher::{self, Opened};
use super::DatagramTransport;

/// `_make_datagram_transport(sock, protocol, address=None, waiter=None, extra=None)`
pub(crate) fn endpoint(event_loop: &Instance<Loop>, args: Args<'_>) -> Res<Obj> {
    const PARAMS: Params<5> = Params {
        function: "_make_datagram_transport",
        names: ["sock", "protocol", "address", "waiter", "extra"],
        required: 2,
        positional: 5,
    };
    let [Some(sock), Some(target), address, waiter, extra] = args.bind(&PARAMS)? else {
        unreachable!("two are required")
    };
    event_loop.check_usable()?;
    let transport = Instance::alloc(DatagramTransport::blank())?;
    transport.endpoint.add_extra(extra)?;
    let fd = transport.endpoint.take_over(event_loop, sock)?;
    transport.peer.set(transport.endpoint.peer(&transport)?);
    // A derived class may have its own ways to send and receive.
    let is_plain = sock.type_of().is(&names().class_socket);
    transport.family.set(transport.endpoint.family().filter(|_| is_plain));
    if let Some(address) = address
        && address.truth()?
    {
        transport.address.set(Some(address.to_obj()));
    }
    transport.begin(event_loop, target, waiter)?;
    // From here on the transport owns the socket.
    transport.number.set(fd);
    transport.endpoint.enter(&transport, event_loop, &transport);
    watcher::tell_later::<Opened, _>(event_loop, &*transport)?;
    Ok(transport.into_obj())
}
