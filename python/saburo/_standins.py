"""Stand-ins: asyncio's own TLS behind the loop's private makers, until a native one comes.

The makers have asyncio's names and signatures, those of Python 3.15 on every version. The rule:
whoever sets up a connection knows the makers and nothing of what is behind them, so that each
stand-in can go when its native class has come.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import sslproto

from ._report import Reporting

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from contextvars import Context
    from typing import Any, TypeAlias

    from _typeshed import FileDescriptorLike

    from ._server import Server

    _ProtocolFactory: TypeAlias = Callable[[], asyncio.BaseProtocol]
    _Waiter: TypeAlias = asyncio.Future[None] | None


class StandIns(Reporting):
    """The makers of transports, and who uses which descriptor."""

    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext | None,
        waiter: _Waiter = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: Server | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        call_connection_made: bool = True,
        context: Context | None = None,
    ) -> asyncio.Transport:
        """The same with TLS; `waiter` gets its result, or the error, after the handshake."""
        self._ensure_fd_no_transport(rawsock)
        tls = self._make_ssl_protocol(
            protocol,
            sslcontext,
            waiter,
            server_side=server_side,
            server_hostname=server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
            call_connection_made=call_connection_made,
        )
        self._make_socket_transport(rawsock, tls, None, extra=extra, server=server, context=context)
        transport: asyncio.Transport = tls._app_transport
        return transport

    def _make_ssl_protocol(
        self,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext | None,
        waiter: _Waiter,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        call_connection_made: bool = True,
    ) -> Any:
        """What speaks TLS between a transport, whose protocol it is, and `protocol`."""
        return sslproto.SSLProtocol(
            self,  # type: ignore[arg-type]  # every instance is a saburo.Loop
            protocol,
            sslcontext,  # type: ignore[arg-type]  # None: a default one is made
            waiter,  # type: ignore[arg-type]
            server_side,
            server_hostname,
            call_connection_made,
            ssl_handshake_timeout=ssl_handshake_timeout,  # type: ignore[arg-type]
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )

    def _leave_socket(self, sock: socket.socket) -> None:
        """Ends the transport over `sock`, which stays open: it is its owner's again."""
        transport = self._transport_of(sock.fileno())
        if transport is not None:
            transport._leave_socket()

    def _ensure_fd_no_transport(self, fd: FileDescriptorLike) -> None:
        """Raises RuntimeError if a transport uses the descriptor, ValueError if it is none."""
        if isinstance(fd, int):
            number = fd
        else:
            try:
                number = int(fd.fileno())
            except (AttributeError, TypeError, ValueError):
                raise ValueError(f"Invalid file object: {fd!r}") from None
        transport = self._transport_of(number)
        if transport is not None and not transport.is_closing():
            raise RuntimeError(f"File descriptor {fd!r} is used by transport {transport!r}")
