"""create_connection, create_unix_connection and connect_accepted_socket.

The rule: from the call on the loop owns the socket, also one that was given. If anything fails
before the transport is returned, the socket is closed once: by its transport if there is one, else
by its object, never by its number.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import socket

from ._arguments import check_stream, check_tls_times, check_unix_stream, refuse_tls_socket
from ._connect_host import connect_to_host
from ._report import logger
from ._saburo import Dial

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable
    from typing import TypeAlias, TypeVar

    from ._loop import Loop

    _ProtocolT = TypeVar("_ProtocolT", bound=asyncio.BaseProtocol)
    _Tls: TypeAlias = bool | ssl_module.SSLContext | None


async def create_connection(
    self: Loop,
    protocol_factory: Callable[[], _ProtocolT],
    host: str | None = None,
    port: int | str | None = None,
    *,
    ssl: _Tls = None,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    sock: socket.socket | None = None,
    local_addr: tuple[str, int] | None = None,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    happy_eyeballs_delay: float | None = None,
    interleave: int | None = None,
    all_errors: bool = False,
) -> tuple[asyncio.Transport, _ProtocolT]:
    """Connects to `host` and `port`, or takes `sock`, which is connected; with TLS if `ssl`.

    Returns the transport and the protocol that `protocol_factory()` made, whose
    `connection_made` has been called. The addresses of a host are tried in turn; with
    `happy_eyeballs_delay`, in seconds, the next one beside those that have not answered by
    then. `interleave` is how many addresses of the first family come before one of the other.
    Times are in seconds.

    Raises the OSError of the attempt, or one that holds the texts of all; with `all_errors` an
    ExceptionGroup of them. Raises `socket.gaierror` for an unknown host, `ssl.SSLError` or
    ConnectionError for a failed handshake, and ValueError for arguments that do not go
    together. The loop owns `sock` from the call on: it is closed also if the call fails or is
    cancelled.

    >>> import asyncio, saburo
    >>> class Greeter(asyncio.Protocol):
    ...     def connection_made(self, transport):
    ...         transport.write(b"tea is ready")
    ...         transport.close()
    >>> class Guest(asyncio.Protocol):
    ...     def connection_made(self, transport):
    ...         self.heard = asyncio.get_running_loop().create_future()
    ...     def data_received(self, data):
    ...         self.heard.set_result(data)
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     async with await loop.create_server(Greeter, "127.0.0.1", 0) as server:
    ...         address = server.sockets[0].getsockname()
    ...         transport, guest = await loop.create_connection(Guest, *address)
    ...         heard = await guest.heard
    ...         transport.close()
    ...         return heard
    >>> saburo.run(main())
    b'tea is ready'
    """
    if server_hostname is not None and not ssl:
        raise ValueError("server_hostname is only meaningful with ssl")
    if server_hostname is None and ssl:
        # The caller may give an empty name, which turns off the check of the certificate's name.
        if not host:
            raise ValueError("You must set server_hostname when using ssl without a host")
        server_hostname = host
    check_tls_times(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
    if sock is not None:
        refuse_tls_socket(sock)

    if host is not None or port is not None:
        if sock is not None:
            raise ValueError("host/port and sock can not be specified at the same time")
        connected: socket.socket | Dial = await connect_to_host(
            self,
            host,
            port,
            family=family,
            proto=proto,
            flags=flags,
            local_addr=local_addr,
            happy_eyeballs_delay=happy_eyeballs_delay,
            interleave=interleave,
            all_errors=all_errors,
        )
    else:
        if sock is None:
            raise ValueError("host and port was not specified and no sock specified")
        check_stream(sock)
        connected = sock

    transport, protocol = await _make_connection(
        self,
        connected,
        protocol_factory,
        ssl,
        server_hostname,
        ssl_handshake_timeout=ssl_handshake_timeout,
        ssl_shutdown_timeout=ssl_shutdown_timeout,
    )
    if self.get_debug():
        logger.debug(
            "%r connected to %s:%r: (%r, %r)",
            transport.get_extra_info("socket"),
            host,
            port,
            transport,
            protocol,
        )
    return transport, protocol


async def create_unix_connection(
    self: Loop,
    protocol_factory: Callable[[], _ProtocolT],
    path: str | bytes | os.PathLike[str] | None = None,
    *,
    ssl: _Tls = None,
    sock: socket.socket | None = None,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> tuple[asyncio.Transport, _ProtocolT]:
    """Connects to the Unix socket at `path`, or takes `sock`; as `create_connection` does.

    Raises the OSError of the attempt and ValueError for arguments that do not go together.
    With `ssl` there must be a `server_hostname`, which may be empty.

    >>> import asyncio, os, saburo, tempfile
    >>> class Greeter(asyncio.Protocol):
    ...     def connection_made(self, transport):
    ...         transport.close()
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     with tempfile.TemporaryDirectory() as folder:
    ...         path = os.path.join(folder, "socket")
    ...         async with await loop.create_unix_server(Greeter, path):
    ...             transport, _ = await loop.create_unix_connection(asyncio.Protocol, path)
    ...             transport.close()
    ...             return os.path.basename(transport.get_extra_info("peername"))
    >>> saburo.run(main())
    'socket'
    """
    assert server_hostname is None or isinstance(server_hostname, str)
    if ssl and server_hostname is None:
        raise ValueError("you have to pass server_hostname when using ssl")
    if not ssl and server_hostname is not None:
        raise ValueError("server_hostname is only meaningful with ssl")
    check_tls_times(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)

    if path is not None:
        if sock is not None:
            raise ValueError("path and sock can not be specified at the same time")
        connected = await _connect_to_path(self, os.fspath(path))
    else:
        if sock is None:
            raise ValueError("no path and sock were specified")
        check_unix_stream(sock)
        connected = sock
    return await _make_connection(
        self,
        connected,
        protocol_factory,
        ssl,
        server_hostname,
        ssl_handshake_timeout=ssl_handshake_timeout,
        ssl_shutdown_timeout=ssl_shutdown_timeout,
    )


async def connect_accepted_socket(
    self: Loop,
    protocol_factory: Callable[[], _ProtocolT],
    sock: socket.socket,
    *,
    ssl: _Tls = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> tuple[asyncio.Transport, _ProtocolT]:
    """Takes a connection that was accepted elsewhere; with `ssl`, as its server.

    Raises ValueError for a socket that is no stream and for arguments that do not go together.
    `sock` is closed if the call fails later, or is cancelled.

    >>> import asyncio, saburo, socket
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     here, there = socket.socketpair()
    ...     with there:
    ...         transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, here)
    ...         transport.write(b"tea")
    ...         transport.close()
    ...         await asyncio.sleep(0)
    ...         return there.recv(10)
    >>> saburo.run(main())
    b'tea'
    """
    check_stream(sock)
    check_tls_times(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
    refuse_tls_socket(sock)
    transport, protocol = await _make_connection(
        self,
        sock,
        protocol_factory,
        ssl,
        "",
        server_side=True,
        ssl_handshake_timeout=ssl_handshake_timeout,
        ssl_shutdown_timeout=ssl_shutdown_timeout,
    )
    if self.get_debug():
        handled = transport.get_extra_info("socket")
        logger.debug("%r handled: (%r, %r)", handled, transport, protocol)
    return transport, protocol


async def _connect_to_path(loop: Loop, path: str | bytes) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, path)
    except BaseException:
        sock.close()
        raise
    return sock


async def _make_connection(
    loop: Loop,
    sock: socket.socket | Dial,
    protocol_factory: Callable[[], _ProtocolT],
    ssl: _Tls,
    server_hostname: str | None,
    *,
    server_side: bool = False,
    ssl_handshake_timeout: float | None,
    ssl_shutdown_timeout: float | None,
) -> tuple[asyncio.Transport, _ProtocolT]:
    """A transport over `sock` and its protocol, once they are connected."""
    context = contextvars.copy_context()
    try:
        if not isinstance(sock, Dial):
            sock.setblocking(False)
        protocol = protocol_factory()
        waiter = loop.create_future()
        if ssl:
            transport = loop._make_ssl_transport(
                sock,
                protocol,
                None if isinstance(ssl, bool) else ssl,
                waiter,
                server_side=server_side,
                server_hostname=server_hostname,
                ssl_handshake_timeout=ssl_handshake_timeout,
                ssl_shutdown_timeout=ssl_shutdown_timeout,
                context=context,
            )
        else:
            transport = loop._make_socket_transport(sock, protocol, waiter, context=context)
    except BaseException:
        # Also one that was given, as asyncio does, but not one that another transport uses.
        if _is_free(loop, sock):
            sock.close()
        raise
    try:
        await waiter
    except BaseException:
        transport.close()
        # The error's traceback leads to this frame, and the waiter holds the error: a cycle.
        del waiter
        raise
    return transport, protocol


def _is_free(loop: Loop, sock: socket.socket | Dial) -> bool:
    try:
        loop._ensure_fd_no_transport(sock)
    except RuntimeError:
        return False
    except ValueError:
        pass  # no descriptor, no transport
    return True
