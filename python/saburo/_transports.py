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
from ._tls import TransportLayerSecurity

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from contextvars import Context
    from typing import Any, TypeAlias

    from ._server import Server

    _ProtocolFactory: TypeAlias = Callable[[], asyncio.BaseProtocol]


class Transports(TransportLayerSecurity):
    """Listening, and the loop's reports about its transports."""

    def _start_serving(
        self,
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
            accept_tls = functools.partial(self._accept_tls, protocol_factory, make_transport)
        self._listen(sock, protocol_factory, server, backlog, accept_tls, context)

    def _stop_serving(self, sock: socket.socket) -> None:
        """Accepts no more, and closes the socket."""
        self._unlisten(sock)
        sock.close()

    def _accept_tls(
        self,
        protocol_factory: _ProtocolFactory,
        make_transport: Callable[..., asyncio.Transport],
        sock: socket.socket,
        peer: Any,
        context: Context,
    ) -> None:
        """A connection has come in whose first bytes are to be a handshake."""
        self.call_soon(
            self._begin_tls, protocol_factory, make_transport, sock, peer, context, context=context
        )

    def _begin_tls(
        self,
        protocol_factory: _ProtocolFactory,
        make_transport: Callable[..., asyncio.Transport],
        sock: socket.socket,
        peer: Any,
        context: Context,
    ) -> None:
        protocol: asyncio.BaseProtocol | None = None
        waiter: asyncio.Future[None] = self.create_future()
        try:
            protocol = protocol_factory()
            transport = make_transport(
                sock, protocol, waiter=waiter, extra={"peername": peer}, context=context
            )
        except BaseException as error:
            sock.close()
            if isinstance(error, SystemExit | KeyboardInterrupt):
                raise
            self._report_accepted(error, protocol, None)
        else:
            waiter.add_done_callback(functools.partial(self._tls_has_begun, protocol, transport))

    def _tls_has_begun(
        self,
        protocol: asyncio.BaseProtocol,
        transport: asyncio.Transport,
        waiter: asyncio.Future[None],
    ) -> None:
        error = None if waiter.cancelled() else waiter.exception()
        if error is not None:
            transport.close()
            self._report_accepted(error, protocol, transport)

    def _report_accepted(
        self,
        exc: BaseException,
        protocol: asyncio.BaseProtocol | None,
        transport: asyncio.Transport | None,
    ) -> None:
        """Clients' errors are of interest in debug mode only, as in asyncio."""
        if not self.get_debug():
            return
        context: dict[str, Any] = {
            "message": "Error on transport creation for incoming connection",
            "exception": exc,
        }
        if protocol is not None:
            context["protocol"] = protocol
        if transport is not None:
            context["transport"] = transport
        self.call_exception_handler(context)

    def _report_transport(
        self, transport: asyncio.Transport, exc: BaseException, message: str
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

    def _report_read_pipe(self, transport: asyncio.ReadTransport, exc: OSError) -> None:
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

    def _report_throttle(
        self,
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

    def _log_accepted(self, server: object, peer: object, sock: object) -> None:
        logger.debug("%r got a new connection from %r: %r", server, peer, sock)

    def _log_closed_by_peer(self, transport: object) -> None:
        logger.info("%r was closed by peer", transport)

    def _debug_transport(self, transport: object, words: str) -> None:
        logger.debug("%r %s", transport, words)
