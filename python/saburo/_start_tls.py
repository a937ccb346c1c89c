"""start_tls: a connection goes on in TLS."""

from __future__ import annotations

import asyncio

from ._tls import make_ssl_protocol

try:
    import ssl
except ImportError:  # a CPython built without OpenSSL
    ssl = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._loop import Loop


async def start_tls(
    self: Loop,
    transport: asyncio.WriteTransport,
    protocol: asyncio.BaseProtocol,
    sslcontext: ssl.SSLContext,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> asyncio.Transport | None:
    """Turns a connection into one with TLS; returns the transport that `protocol` uses next.

    That is None if the old transport was closed meanwhile; it is not to be used any more.
    `connection_made` is not called again. Over a transport that has TLS already there are two
    layers of it. Times are in seconds.

    Raises TypeError if `sslcontext` is no `ssl.SSLContext` or the transport is of a kind that
    cannot change; `ssl.SSLError` or ConnectionError if the handshake fails, which closes the
    transport, as a cancellation does.

    >>> import asyncio, saburo, ssl
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     transport = asyncio.Transport()
    ...     context = ssl.create_default_context()
    ...     try:
    ...         await loop.start_tls(transport, asyncio.Protocol(), context)
    ...     except TypeError as error:
    ...         return str(error).partition(" at ")[0], str(error).partition("> ")[2]
    >>> saburo.run(main())
    ('transport <asyncio.transports.Transport object', 'is not supported by start_tls()')
    """
    if ssl is None:
        raise RuntimeError("Python ssl module is not available")
    if not isinstance(sslcontext, ssl.SSLContext):
        raise TypeError(
            f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}"
        )
    if not getattr(transport, "_start_tls_compatible", False):
        raise TypeError(f"transport {transport!r} is not supported by start_tls()")
    plain: Any = transport
    if getattr(plain, "_loop", self) is None:
        # Its connection_lost() was called already; asyncio would wait for another for ever.
        return None

    waiter = self.create_future()
    tls = make_ssl_protocol(
        self,
        protocol,
        sslcontext,
        waiter,
        server_side=server_side,
        server_hostname=server_hostname,
        ssl_handshake_timeout=ssl_handshake_timeout,
        ssl_shutdown_timeout=ssl_shutdown_timeout,
        call_connection_made=False,
    )
    # Nothing may be received before `connection_made` below.
    plain.pause_reading()
    if server_side:
        _hand_over_what_was_read(protocol, tls)
    plain.set_protocol(tls)
    made = self.call_soon(tls.connection_made, plain)
    resumed = self.call_soon(plain.resume_reading)
    try:
        await waiter
    except BaseException:
        plain.close()
        made.cancel()
        resumed.cancel()
        # The error's traceback leads to this frame, and the waiter holds the error: a cycle.
        del waiter
        raise
    upgraded: asyncio.Transport | None = tls._app_transport
    return upgraded


def _hand_over_what_was_read(protocol: asyncio.BaseProtocol, tls: Any) -> None:
    """The client's first TLS record may have been received with its last bytes without TLS."""
    if isinstance(protocol, asyncio.StreamReaderProtocol):
        reader: Any = getattr(protocol, "_stream_reader", None)
        if reader is not None and reader._buffer:
            tls._feed_early(reader._buffer)
            reader._buffer.clear()
