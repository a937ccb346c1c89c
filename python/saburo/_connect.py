"""create_connection, create_unix_connection and connect_accepted_socket.

The rule: a socket is the loop's from the call on, also one that was given. If anything goes wrong
before its transport is handed over it is closed: once, by the transport if there is one already,
and by its object, never by its number.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import itertools
import os
import socket

from ._happy_eyeballs import race
from ._report import logger
from ._resolve import addresses
from ._saburo import Dial
from ._sock import _refuse_tls, sock_connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable
    from typing import Any, TypeAlias, TypeVar

    from ._happy_eyeballs import _Outcome
    from ._loop import Loop
    from ._resolve import _AddressInfo

    _ProtocolT = TypeVar("_ProtocolT", bound=asyncio.BaseProtocol)
    _Tls: TypeAlias = bool | ssl_module.SSLContext | None


# As long as it is this one, nobody wants to know of sockets that are made.
_SOCKET = socket.socket


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
    together. A `sock` is the loop's from the call on: it is closed also if the call fails or is
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
        # An empty name, given on purpose, turns the check of the certificate's name off.
        if not host:
            raise ValueError("You must set server_hostname when using ssl without a host")
        server_hostname = host
    _check_tls_times(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
    if sock is not None:
        _refuse_tls(sock)

    if host is not None or port is not None:
        if sock is not None:
            raise ValueError("host/port and sock can not be specified at the same time")
        if interleave is None and happy_eyeballs_delay is not None:
            interleave = 1
        infos = await _known_addresses(self, (host, port), family, proto, flags)
        local_infos = None
        if local_addr is not None:
            local_infos = await _known_addresses(self, local_addr, family, proto, flags)
        if interleave:
            infos = _interleaved(infos, interleave)
        connected = await _connect_to_any(self, infos, local_infos, happy_eyeballs_delay)
        if isinstance(connected, list):
            try:
                raise _failure(connected, all_errors)
            finally:
                # What is raised leads back to here by its traceback.
                del connected
    else:
        if sock is None:
            raise ValueError("host and port was not specified and no sock specified")
        _check_stream(sock)
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
    _check_tls_times(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)

    if path is not None:
        if sock is not None:
            raise ValueError("path and sock can not be specified at the same time")
        connected = await _connect_to_path(self, os.fspath(path))
    else:
        if sock is None:
            raise ValueError("no path and sock were specified")
        _check_unix_stream(sock)
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
    _check_stream(sock)
    _check_tls_times(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
    _refuse_tls(sock)
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


async def _known_addresses(
    loop: Loop, address: Any, family: int, proto: int, flags: int
) -> list[_AddressInfo]:
    infos = await addresses(
        loop, address, family=family, type=socket.SOCK_STREAM, proto=proto, flags=flags
    )
    if not infos:
        raise OSError("getaddrinfo() returned empty list")
    return infos


async def _connect_to_any(
    loop: Loop,
    infos: list[_AddressInfo],
    local_infos: list[_AddressInfo] | None,
    happy_eyeballs_delay: float | None,
) -> _Outcome:
    attempts = (functools.partial(_attempt, loop, info, local_infos) for info in infos)
    if happy_eyeballs_delay is not None:
        return await race(loop, attempts, happy_eyeballs_delay)
    errors: list[OSError] = []
    try:
        for attempt in attempts:
            outcome = await attempt()
            if not isinstance(outcome, list):
                return outcome
            errors += outcome
        return errors
    finally:
        # The errors' tracebacks may lead back to here.
        outcome = errors = []


async def _attempt(
    loop: Loop, info: _AddressInfo, local_infos: list[_AddressInfo] | None
) -> _Outcome:
    """A socket connected to this address, or what went wrong on the way to it.

    What is not an OSError is raised.
    """
    family, type_, proto, _, address = info
    errors: list[OSError] = []
    try:
        if local_infos is None and (dial := _dial_plainly(loop, info)):
            return await _answered(loop, dial, address)
        sock = socket.socket(family=family, type=type_, proto=proto)
    except OSError as error:
        return [error]
    try:
        sock.setblocking(False)
        if local_infos is not None:
            _bind_to_any(sock, family, local_infos, errors)
        await loop.sock_connect(sock, address)
        return sock
    except OSError as error:
        sock.close()
        return [*errors, error]
    except BaseException:
        # What close() has to say matters less than why the socket is closed.
        with contextlib.suppress(OSError):
            sock.close()
        raise
    finally:
        # The errors' tracebacks lead back to here.
        del errors


def _dial_plainly(loop: Loop, info: _AddressInfo) -> Dial | None:
    """A TCP connection without a `socket`, unless somebody has a word in how those are made."""
    family, type_, proto, _, address = info
    if (
        type_ == socket.SOCK_STREAM
        and (proto == 0 or proto == socket.IPPROTO_TCP)
        and (family == socket.AF_INET or family == socket.AF_INET6)
        and socket.socket is _SOCKET
        and getattr(loop.sock_connect, "__func__", None) is sock_connect
    ):
        return loop._dial(family == socket.AF_INET6, address)
    return None


async def _answered(loop: Loop, dial: Dial, address: object) -> Dial:
    try:
        while dial._pending:
            await loop._wait_writable(dial)
            dial._hear(address)
    except BaseException:
        dial.close()
        raise
    return dial


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
        # Also one that was given, as asyncio does; but not under a transport that has it.
        if _is_free(loop, sock):
            sock.close()
        raise
    try:
        await waiter
    except BaseException:
        transport.close()
        # A handshake's error would keep its own waiter.
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


def _check_tls_times(
    ssl: _Tls, handshake_timeout: float | None, shutdown_timeout: float | None
) -> None:
    if handshake_timeout is not None and not ssl:
        raise ValueError("ssl_handshake_timeout is only meaningful with ssl")
    if shutdown_timeout is not None and not ssl:
        raise ValueError("ssl_shutdown_timeout is only meaningful with ssl")


def _check_stream(sock: socket.socket) -> None:
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A Stream Socket was expected, got {sock!r}")


def _check_unix_stream(sock: socket.socket) -> None:
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A UNIX Domain Stream Socket was expected, got {sock!r}")


def _interleaved(infos: list[_AddressInfo], first: int) -> list[_AddressInfo]:
    """The families in turn, `first` addresses of the first one before one of the next."""
    families: dict[int, list[_AddressInfo]] = {}
    for info in infos:
        families.setdefault(info[0], []).append(info)
    queues = list(families.values())
    ahead = max(first - 1, 0)
    head, queues[0] = queues[0][:ahead], queues[0][ahead:]
    turns = itertools.zip_longest(*queues)
    return head + [info for turn in turns for info in turn if info is not None]


def _bind_to_any(
    sock: socket.socket, family: int, local_infos: list[_AddressInfo], errors: list[OSError]
) -> None:
    """Binds to the first local address that is free; raises the last error if none is.

    The others are put to `errors`.
    """
    mine = [info[4] for info in local_infos if info[0] == family]
    if not mine:
        raise OSError(f"no matching local address with {family=} found")
    for address in mine:
        try:
            sock.bind(address)
            return
        except OSError as error:
            text = f"error while attempting to bind on address {address!r}: {str(error).lower()}"
            errors.append(OSError(error.errno, text))
    raise errors.pop()


def _failure(errors: list[OSError], all_errors: bool) -> Exception:
    """What is to be raised for the errors of all attempts."""
    if all_errors:
        return ExceptionGroup("create_connection failed", errors)
    texts = [str(error) for error in errors]
    if len(set(texts)) == 1:
        return errors[0]
    if errors:
        return OSError("Multiple exceptions: {}".format(", ".join(texts)))
    return TimeoutError("create_connection failed")
