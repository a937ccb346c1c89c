"""Accepting connections: what Python does of it. Without TLS it only tells the engine to listen.

With TLS the engine hands over each socket, and the transport is made here.
"""

from __future__ import annotations

import asyncio
import functools
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from contextvars import Context
    from typing import Any, TypeAlias

    from ._loop import Loop
    from ._server import Server

    _ProtocolFactory: TypeAlias = Callable[[], asyncio.BaseProtocol]


def start_serving(
    self: Loop,
    protocol_factory: _ProtocolFactory,
    sock: socket.socket,
    sslcontext: ssl.SSLContext | None = None,
    server: Server | None = None,
    backlog: int = 100,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    context: Context | None = None,
) -> None:
    """Accepts connections of a listening socket, each in a copy of `context`."""
    accept_tls = None
    if sslcontext is not None:
        make_transport = functools.partial(
            self._make_ssl_transport,
            sslcontext=sslcontext,
            server_side=True,
            server=server,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        accept_tls = functools.partial(_accept_tls, self, protocol_factory, make_transport)
    self._listen(sock, protocol_factory, server, backlog, accept_tls, context)


def stop_serving(self: Loop, sock: socket.socket) -> None:
    """Accepts no more, and closes the socket."""
    self._unlisten(sock)
    sock.close()


def _accept_tls(
    loop: Loop,
    protocol_factory: _ProtocolFactory,
    make_transport: Callable[..., asyncio.Transport],
    sock: socket.socket,
    peer: Any,
    context: Context,
) -> None:
    """A connection was accepted that begins with a handshake."""
    loop.call_soon(
        _begin_tls, loop, protocol_factory, make_transport, sock, peer, context, context=context
    )


def _begin_tls(
    loop: Loop,
    protocol_factory: _ProtocolFactory,
    make_transport: Callable[..., asyncio.Transport],
    sock: socket.socket,
    peer: Any,
    context: Context,
) -> None:
    protocol: asyncio.BaseProtocol | None = None
    waiter: asyncio.Future[None] = loop.create_future()
    try:
        protocol = protocol_factory()
        transport = make_transport(
            sock, protocol, waiter=waiter, extra={"peername": peer}, context=context
        )
    except BaseException as error:
        sock.close()
        if isinstance(error, SystemExit | KeyboardInterrupt):
            raise
        _report_accepted(loop, error, protocol, None)
    else:
        waiter.add_done_callback(functools.partial(_tls_has_begun, loop, protocol, transport))


def _tls_has_begun(
    loop: Loop,
    protocol: asyncio.BaseProtocol,
    transport: asyncio.Transport,
    waiter: asyncio.Future[None],
) -> None:
    error = None if waiter.cancelled() else waiter.exception()
    if error is not None:
        transport.close()
        _report_accepted(loop, error, protocol, transport)


def _report_accepted(
    loop: Loop,
    exc: BaseException,
    protocol: asyncio.BaseProtocol | None,
    transport: asyncio.Transport | None,
) -> None:
    """Errors of clients are reported in debug mode only, as in asyncio."""
    if not loop.get_debug():
        return
    context: dict[str, Any] = {
        "message": "Error on transport creation for incoming connection",
        "exception": exc,
    }
    if protocol is not None:
        context["protocol"] = protocol
    if transport is not None:
        context["transport"] = transport
    loop.call_exception_handler(context)
