"""The cold side of a loop's native transports: listening, and what is said of what goes wrong.

The transports themselves are native (`_saburo._SelectorSocketTransport` and its like), and so is
accepting; Python is asked where TLS begins, where something fails, and in debug mode.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import socket

from ._report import logger

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
    """A connection has come in whose first bytes are to be a handshake."""
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
    """Clients' errors are of interest in debug mode only, as in asyncio."""
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


def report_transport(
    self: Loop, transport: asyncio.Transport, exc: BaseException, message: str
) -> None:
    """A connection ends because of `exc`: the network's fault, or the program's."""
    if isinstance(exc, OSError):
        if self.get_debug():
            logger.debug("%r: %s", transport, message, exc_info=exc)
        return
    self.call_exception_handler(
        {
            "message": message,
            "exception": exc,
            "transport": transport,
            "protocol": transport.get_protocol(),
        }
    )


def report_read_pipe(self: Loop, transport: asyncio.ReadTransport, exc: OSError) -> None:
    """Reading has failed. A terminal whose other end is closed answers so, too."""
    message = "Fatal read error on pipe transport"
    if exc.errno == errno.EIO:
        if self.get_debug():
            logger.debug("%r: %s", transport, message, exc_info=exc)
        return
    self.call_exception_handler(
        {
            "message": message,
            "exception": exc,
            "transport": transport,
            "protocol": transport.get_protocol(),
        }
    )


def report_throttle(
    self: Loop,
    transport: asyncio.Transport,
    protocol: asyncio.BaseProtocol,
    exc: BaseException,
    method: str,
) -> None:
    """`pause_writing` or `resume_writing` has raised."""
    self.call_exception_handler(
        {
            "message": f"protocol.{method}() failed",
            "exception": exc,
            "transport": transport,
            "protocol": protocol,
        }
    )


def log_accepted(self: Loop, server: object, peer: object, sock: object) -> None:
    logger.debug("%r got a new connection from %r: %r", server, peer, sock)


def log_closed_by_peer(self: Loop, transport: object) -> None:
    logger.info("%r was closed by peer", transport)


def debug_transport(self: Loop, transport: object, words: str) -> None:
    logger.debug("%r %s", transport, words)
