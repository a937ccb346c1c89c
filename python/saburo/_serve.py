"""create_server and create_unix_server: sockets are bound, and a Server made of them.

The rule: either the caller gets a server, or every socket that was made here is closed.
Semantics: asyncio of Python 3.16, on every version.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import operator
import os
import socket
from collections.abc import Iterable

from . import _saburo
from ._arguments import check_stream, check_tls_times, check_unix_stream, refuse_tls_socket
from ._report import logger
from ._resolve import addresses
from ._server import Server
from ._socket_file import SocketFile, is_in_file_system, remove_stale_socket, set_mode

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    from ._loop import Loop
    from ._resolve import _AddressInfo

    _Tls: TypeAlias = bool | ssl_module.SSLContext | None
    _ProtocolFactory: TypeAlias = Callable[[], asyncio.BaseProtocol]


async def create_server(
    self: Loop,
    protocol_factory: _ProtocolFactory,
    host: str | Sequence[str] | None = None,
    port: int | str | None = None,
    *,
    family: int = socket.AF_UNSPEC,
    flags: int = socket.AI_PASSIVE,
    sock: socket.socket | None = None,
    backlog: int = 100,
    ssl: _Tls = None,
    reuse_address: bool | None = None,
    reuse_port: bool | None = None,
    keep_alive: bool | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    start_serving: bool = True,
) -> Server:
    """Listens on `port` at every address of `host`, or takes the bound socket `sock`.

    `host` may be several; None or "" stands for all interfaces. Port 0 lets the system choose
    one, for each address anew. `reuse_address` is on unless it is False. With `ssl` the
    connections are TLS. Without `start_serving` the server does not listen until
    `Server.start_serving` or `serve_forever` is called. Times are in seconds.

    Raises OSError if an address cannot be bound, `socket.gaierror` for an unknown host, and
    ValueError or TypeError for arguments that do not go together.

    >>> import asyncio, saburo
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     hosts = ["127.0.0.1", "127.0.0.2"]
    ...     async with await loop.create_server(asyncio.Protocol, hosts, 0) as server:
    ...         return [sock.getsockname()[0] for sock in server.sockets]
    >>> saburo.run(main())
    ['127.0.0.1', '127.0.0.2']
    """
    if isinstance(ssl, bool):
        raise TypeError("ssl argument must be an SSLContext or None")
    check_tls_times(ssl is not None, ssl_handshake_timeout, ssl_shutdown_timeout)
    if sock is not None:
        refuse_tls_socket(sock)

    with contextlib.ExitStack() as made_here:
        if host is not None or port is not None:
            if sock is not None:
                raise ValueError("host/port and sock can not be specified at the same time")
            infos = await _infos_of_hosts(self, _hosts(host), port, family, flags)
            sockets = _bound_sockets(
                self,
                infos,
                made_here,
                reuse_address=reuse_address is None or reuse_address,
                reuse_port=bool(reuse_port),
                keep_alive=bool(keep_alive),
            )
        else:
            if sock is None:
                raise ValueError("Neither host/port nor sock were specified")
            check_stream(sock)
            sockets = [sock]
        for each in sockets:
            each.setblocking(False)
        _saburo.check_callable("create_server", protocol_factory)
        server = Server(
            self,
            sockets,
            protocol_factory,
            ssl,
            backlog,
            ssl_handshake_timeout,
            ssl_shutdown_timeout,
        )
        if start_serving:
            await _start(self, server, is_given=sock is not None)
        made_here.pop_all()
    if self.get_debug():
        logger.info("%r is serving", server)
    return server


async def create_unix_server(
    self: Loop,
    protocol_factory: _ProtocolFactory,
    path: str | bytes | os.PathLike[str] | None = None,
    *,
    sock: socket.socket | None = None,
    backlog: int = 100,
    ssl: _Tls = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    start_serving: bool = True,
    cleanup_socket: bool = True,
    mode: int | None = None,
) -> Server:
    """Listens on a Unix socket bound to `path`, or takes the bound socket `sock`.

    A socket that is left at `path` is replaced; anything else there is an OSError. With
    `cleanup_socket` the socket is removed from the file system when the server is closed. `mode`
    is the permissions of the socket's file, as `os.chmod` takes them; nobody can connect before
    they are set, and the process's umask does not count. It is not for a `sock`, nor for an
    abstract socket, which has no file. Otherwise as `create_server`.

    >>> import asyncio, os, saburo, tempfile
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     with tempfile.TemporaryDirectory() as folder:
    ...         path = os.path.join(folder, "socket")
    ...         async with await loop.create_unix_server(asyncio.Protocol, path):
    ...             print(os.listdir(folder))
    ...         print(os.listdir(folder))
    >>> saburo.run(main())
    ['socket']
    []
    """
    if isinstance(ssl, bool):
        raise TypeError("ssl argument must be an SSLContext or None")
    check_tls_times(ssl, ssl_handshake_timeout, ssl_shutdown_timeout)

    with contextlib.ExitStack() as made_here:
        if path is not None:
            if sock is not None:
                raise ValueError("path and sock can not be specified at the same time")
            bound = _bound_unix_socket(os.fspath(path), mode, made_here)
        else:
            if sock is None:
                raise ValueError("path was not specified, and no sock specified")
            if mode is not None:
                raise ValueError("mode and sock can not be specified at the same time")
            check_unix_stream(sock)
            bound = sock
        bound.setblocking(False)
        _saburo.check_callable("create_unix_server", protocol_factory)
        server = Server(
            self,
            [bound],
            protocol_factory,
            ssl,
            backlog,
            ssl_handshake_timeout,
            ssl_shutdown_timeout,
        )
        if cleanup_socket and is_in_file_system(name := bound.getsockname()):
            with contextlib.suppress(FileNotFoundError):
                server._socket_file = SocketFile(name, self)
        if start_serving:
            await _start(self, server, is_given=sock is not None)
        made_here.pop_all()
    return server


async def _start(loop: Loop, server: Server, *, is_given: bool) -> None:
    try:
        # Before the start and not after it as in asyncio: a cancellation leaves nothing listening.
        await asyncio.sleep(0)
        server._start_serving()
    except BaseException:
        if not is_given:
            server.close()
        raise


async def _infos_of_hosts(
    loop: Loop, hosts: Iterable[str | None], port: Any, family: int, flags: int
) -> list[_AddressInfo]:
    """The addresses of all hosts, each once, in the order of the hosts."""

    async def of_host(host: str | None) -> list[_AddressInfo]:
        infos = await addresses(loop, (host, port), family=family, flags=flags)
        if not infos:
            raise OSError(f"getaddrinfo({host!r}) returned empty list")
        return infos

    found = await asyncio.gather(*map(of_host, hosts))
    return list(dict.fromkeys(itertools.chain.from_iterable(found)))


def _bound_sockets(
    loop: Loop,
    infos: list[_AddressInfo],
    made_here: contextlib.ExitStack,
    *,
    reuse_address: bool,
    reuse_port: bool,
    keep_alive: bool,
) -> list[socket.socket]:
    """A socket for each address of a family that this system has."""
    sockets = []
    for family, type_, proto, _, address in infos:
        try:
            sock = socket.socket(family, type_, proto)
        except OSError:
            if loop.get_debug():
                logger.warning(
                    "create_server() failed to create socket.socket(%r, %r, %r)",
                    family,
                    type_,
                    proto,
                    exc_info=True,
                )
            continue
        made_here.callback(sock.close)
        if reuse_address:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Linux refuses it for other families from 6.12.9 on.
        if reuse_port and family in (socket.AF_INET, socket.AF_INET6):
            share_port(sock)
        if keep_alive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if family == socket.AF_INET6:
            # Else the socket for IPv4 could not be bound to the same port.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            sock.bind(address)
        except OSError as error:
            text = f"error while attempting to bind on address {address!r}: {str(error).lower()}"
            if error.errno != errno.EADDRNOTAVAIL:
                raise OSError(error.errno, text) from None
            # The family is probably disabled.
            sock.close()
            if loop.get_debug():
                logger.warning(text)
            continue
        sockets.append(sock)
    if not sockets:
        raise OSError(f"could not bind on any address out of {[info[4] for info in infos]!r}")
    return sockets


def share_port(sock: socket.socket) -> None:
    """SO_REUSEPORT; raises ValueError where there is none."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ValueError("reuse_port not supported by socket module")
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        raise ValueError(
            "reuse_port not supported by socket module, SO_REUSEPORT defined but not implemented."
        ) from None


def _hosts(host: Any) -> Iterable[Any]:
    if host == "":
        return [None]
    if isinstance(host, str) or not isinstance(host, Iterable):
        return [host]
    return host


def _bound_unix_socket(
    path: str | bytes, mode: int | None, made_here: contextlib.ExitStack
) -> socket.socket:
    has_file = is_in_file_system(path)
    if mode is not None:
        if not has_file:
            raise ValueError("mode is not supported for abstract Unix sockets")
        mode = operator.index(mode)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made_here.callback(sock.close)
    if has_file:
        remove_stale_socket(path)
    try:
        sock.bind(path)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            text = f"Address {path!r} is already in use"
            raise OSError(errno.EADDRINUSE, text) from None
        raise
    if mode is not None:
        # It does not listen yet, so nobody has connected.
        set_mode(path, mode)
    return sock
