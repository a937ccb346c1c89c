"""TLS: arguments, the default context, and what is logged.

The connection itself is native: `_saburo.SSLProtocol`, which calls the functions below that begin
with log, warn and report. The rule: no record that is sent or received is a call of this file.
"""

from __future__ import annotations

import asyncio
from asyncio import constants

from . import _saburo
from ._report import logger

try:
    import ssl
except ImportError:  # an interpreter without it; asyncio goes without it, too
    ssl = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from contextvars import Context
    from typing import Any, TypeAlias

    from ._loop import Loop
    from ._saburo import Dial
    from ._server import Server

    _Waiter: TypeAlias = asyncio.Future[None] | None


def make_ssl_transport(
    self: Loop,
    rawsock: socket.socket | Dial,
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
    """A transport with TLS over a connected stream socket.

    Schedules the handshake; `waiter` gets its result, or the error, when that is over.
    """
    self._ensure_fd_no_transport(rawsock)
    tls = make_ssl_protocol(
        self,
        protocol,
        sslcontext,
        waiter,
        server_side=server_side,
        server_hostname=server_hostname,
        ssl_handshake_timeout=ssl_handshake_timeout,
        ssl_shutdown_timeout=ssl_shutdown_timeout,
        call_connection_made=call_connection_made,
    )
    transport = tls._app_transport
    assert transport is not None
    self._make_socket_transport(rawsock, tls, None, extra=extra, server=server, context=context)
    return transport


def make_ssl_protocol(
    loop: Loop,
    protocol: asyncio.BaseProtocol,
    sslcontext: ssl.SSLContext | None,
    waiter: _Waiter,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    call_connection_made: bool = True,
) -> _saburo.SSLProtocol:
    """The TLS between a transport, whose protocol it is, and the program's `protocol`.

    A client's `sslcontext` of None is a default one. Raises ValueError for a server without a
    context and for time limits that are not positive, and what `sslcontext.wrap_bio` raises.
    """
    if ssl is None:
        raise RuntimeError("stdlib ssl module not available")
    handshake_timeout = _positive(
        "ssl_handshake_timeout", ssl_handshake_timeout, constants.SSL_HANDSHAKE_TIMEOUT
    )
    shutdown_timeout = _positive(
        "ssl_shutdown_timeout", ssl_shutdown_timeout, constants.SSL_SHUTDOWN_TIMEOUT
    )
    return _saburo.SSLProtocol(
        loop,
        protocol,
        sslcontext or _default_context(server_side, server_hostname),
        waiter,
        server_side,
        None if server_side else server_hostname or None,
        call_connection_made,
        handshake_timeout,
        shutdown_timeout,
    )


def _positive(name: str, seconds: float | None, default: float) -> float:
    if seconds is None:
        return default
    if seconds <= 0:
        raise ValueError(f"{name} should be a positive number, got {seconds}")
    return seconds


def _default_context(server_side: bool, server_hostname: str | None) -> ssl.SSLContext:
    if server_side:
        raise ValueError("Server side SSL needs a valid SSLContext")
    context = ssl.create_default_context()
    if not server_hostname:
        context.check_hostname = False
    return context


def flow_marks(high: float | None, low: float | None, kib: int) -> tuple[float, float]:
    """The upper and the lower mark of a buffer; `kib` is the upper one if neither is given."""
    if high is None:
        high = kib * 1024 if low is None else 4 * low
    if low is None:
        low = high // 4
    if not high >= low >= 0:
        raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
    return high, low


def log_handshake(protocol: object) -> None:
    logger.debug("%r starts SSL handshake", protocol)


def log_handshake_done(protocol: object, milliseconds: float) -> None:
    logger.debug("%r: SSL handshake took %.1f ms", protocol, milliseconds)


def log_eof(protocol: object) -> None:
    logger.debug("%r received EOF", protocol)


def warn_closed() -> None:
    logger.warning("SSL connection is closed")


def warn_keep_open() -> None:
    logger.warning("returning true from eof_received() has no effect when using ssl")


def report_fatal(
    loop: asyncio.AbstractEventLoop,
    protocol: object,
    transport: object,
    error: BaseException,
    message: str,
) -> None:
    """Errors of the network are logged in debug mode only; other errors are bugs in a program."""
    if isinstance(error, OSError):
        if loop.get_debug():
            logger.debug("%r: %s", protocol, message, exc_info=error)
    elif not isinstance(error, asyncio.CancelledError):
        context: dict[str, Any] = {
            "message": message,
            "exception": error,
            "transport": transport,
            "protocol": protocol,
        }
        loop.call_exception_handler(context)
