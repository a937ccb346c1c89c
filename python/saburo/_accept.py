"""Accepting connections: what Python does of it. It tells the engine to listen.

The engine makes the transports. For a server with TLS it asks for the protocol that stands between
a transport and the application's protocol.
"""

from __future__ import annotations

import asyncio
import functools

from ._tls import make_ssl_protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable
    from contextvars import Context
    from typing import Any, TypeAlias

    from ._loop import Loop
    from ._saburo import SSLProtocol
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
    add_tls = None
    if sslcontext is not None:
        add_tls = functools.partial(
            _add_tls, self, sslcontext, ssl_handshake_timeout, ssl_shutdown_timeout
        )
    self._listen(sock, protocol_factory, server, backlog, add_tls, context)


def stop_serving(self: Loop, sock: socket.socket) -> None:
    """Accepts no more, and closes the socket."""
    self._unlisten(sock)
    sock.close()


def _add_tls(
    loop: Loop,
    sslcontext: ssl.SSLContext,
    handshake_timeout: float | None,
    shutdown_timeout: float | None,
    protocol: asyncio.BaseProtocol,
) -> SSLProtocol:
    """What speaks TLS for `protocol` on a connection that has come in."""
    waiter: asyncio.Future[None] = loop.create_future()
    tls = make_ssl_protocol(
        loop,
        protocol,
        sslcontext,
        waiter,
        server_side=True,
        ssl_handshake_timeout=handshake_timeout,
        ssl_shutdown_timeout=shutdown_timeout,
    )
    transport = tls._app_transport
    assert transport is not None
    waiter.add_done_callback(functools.partial(_handshake_is_over, loop, protocol, transport))
    return tls


def _handshake_is_over(
    loop: Loop,
    protocol: asyncio.BaseProtocol,
    transport: asyncio.Transport,
    waiter: asyncio.Future[None],
) -> None:
    error = None if waiter.cancelled() else waiter.exception()
    if error is None:
        return
    transport.close()
    # Clients' errors are of interest in debug mode only, as in asyncio.
    if loop.get_debug():
        context: dict[str, Any] = {
            "message": "Error on transport creation for incoming connection",
            "exception": error,
            "protocol": protocol,
            "transport": transport,
        }
        loop.call_exception_handler(context)
