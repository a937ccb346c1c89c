"""create_datagram_endpoint.

The rule: a socket made here is closed if anything fails. One that was given is closed by its
transport, from the moment there is one.
"""

from __future__ import annotations

import asyncio
import socket

from ._report import logger
from ._resolve import addresses
from ._serve import share_port
from ._socket_file import is_in_file_system, remove_stale_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias, TypeVar

    from ._loop import Loop

    _ProtocolT = TypeVar("_ProtocolT", bound=asyncio.BaseProtocol)
    _Address: TypeAlias = tuple[str, int] | str | None
    # Family and protocol, and the local and the remote socket address.
    _Choice: TypeAlias = tuple[int, int, Any, Any]


async def create_datagram_endpoint(
    self: Loop,
    protocol_factory: Callable[[], _ProtocolT],
    local_addr: _Address = None,
    remote_addr: _Address = None,
    *,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    reuse_address: bool | None = None,
    reuse_port: bool | None = None,
    allow_broadcast: bool | None = None,
    sock: socket.socket | None = None,
) -> tuple[asyncio.DatagramTransport, _ProtocolT]:
    """A datagram transport bound to `local_addr`, connected to `remote_addr`, or over `sock`.

    With `allow_broadcast` the remote address is where datagrams go, but the socket is not
    connected to it. For family AF_UNIX the addresses are paths, and a socket left at
    `local_addr` is replaced.

    Raises the first OSError if no address will do, `socket.gaierror` for an unknown host, and
    ValueError or TypeError for arguments that do not go together.

    >>> import asyncio, saburo
    >>> class Echo(asyncio.DatagramProtocol):
    ...     def connection_made(self, transport):
    ...         self.transport = transport
    ...     def datagram_received(self, data, sender):
    ...         self.transport.sendto(data, sender)
    >>> class Asking(asyncio.DatagramProtocol):
    ...     def connection_made(self, transport):
    ...         self.answer = asyncio.get_running_loop().create_future()
    ...         transport.sendto(b"tea?")
    ...     def datagram_received(self, data, sender):
    ...         self.answer.set_result(data)
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     there, _ = await loop.create_datagram_endpoint(Echo, ("127.0.0.1", 0))
    ...     address = there.get_extra_info("sockname")
    ...     here, asking = await loop.create_datagram_endpoint(Asking, remote_addr=address)
    ...     answer = await asking.answer
    ...     here.close()
    ...     there.close()
    ...     return answer
    >>> saburo.run(main())
    b'tea?'
    """
    if reuse_address is not None:
        # Only AbstractEventLoop still has it: other processes could read from a shared UDP port.
        raise TypeError(
            "create_datagram_endpoint() got an unexpected keyword argument 'reuse_address'"
        )
    if sock is not None:
        if sock.type == socket.SOCK_STREAM:
            raise ValueError(f"A datagram socket was expected, got {sock!r}")
        options = {
            "local_addr": local_addr,
            "remote_addr": remote_addr,
            "family": family,
            "proto": proto,
            "flags": flags,
            "reuse_port": reuse_port,
            "allow_broadcast": allow_broadcast,
        }
        if any(options.values()):
            named = ", ".join(f"{name}={value}" for name, value in options.items() if value)
            raise ValueError(
                f"socket modifier keyword arguments can not be used when sock is specified. "
                f"({named})"
            )
        sock.setblocking(False)
        endpoint, destination = sock, None
    else:
        choices = await _choices(self, local_addr, remote_addr, family, proto, flags)
        endpoint, destination = await _first_endpoint(
            self,
            choices,
            bind=bool(local_addr),
            connect=bool(remote_addr) and not allow_broadcast,
            reuse_port=bool(reuse_port),
            allow_broadcast=bool(allow_broadcast),
        )
    try:
        protocol = protocol_factory()
        waiter = self.create_future()
        transport = self._make_datagram_transport(endpoint, protocol, destination, waiter)
    except BaseException:
        if sock is None:
            endpoint.close()
        raise
    if self.get_debug():
        log = logger.info if local_addr else logger.debug
        local = [("local_addr", local_addr)] if local_addr else []
        shown = " ".join(f"{n}={v!r}" for n, v in [*local, ("remote_addr", remote_addr)])
        log("Datagram endpoint %s created: (%r, %r)", shown, transport, protocol)
    try:
        await waiter
    except BaseException:
        transport.close()
        raise
    return transport, protocol


async def _choices(
    loop: Loop, local: Any, remote: Any, family: int, proto: int, flags: int
) -> list[_Choice]:
    """The families and addresses to be tried, in this order."""
    if not local and not remote:
        if family == 0:
            raise ValueError("unexpected address family")
        return [(family, proto, None, None)]
    if family == socket.AF_UNIX:
        for path in (local, remote):
            if path is not None and not isinstance(path, str):
                raise TypeError("string is expected")
        if local and is_in_file_system(local):
            remove_stale_socket(local)
        return [(family, proto, local, remote)]
    # Both addresses have to be of the same family.
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for role, address in (("local", local), ("remote", remote)):
        if address is None:
            continue
        if not (isinstance(address, tuple) and len(address) == 2):
            raise TypeError("2-tuple is expected")
        infos = await addresses(
            loop, address, family=family, type=socket.SOCK_DGRAM, proto=proto, flags=flags
        )
        if not infos:
            raise OSError("getaddrinfo() returned empty list")
        for info_family, _, info_proto, _, resolved in infos:
            found.setdefault((info_family, info_proto), {})[role] = resolved
    choices = [
        (*key, roles.get("local"), roles.get("remote"))
        for key, roles in found.items()
        if not (local and "local" not in roles) and not (remote and "remote" not in roles)
    ]
    if not choices:
        raise ValueError("can not get address information")
    return choices


async def _first_endpoint(
    loop: Loop,
    choices: list[_Choice],
    *,
    bind: bool,
    connect: bool,
    reuse_port: bool,
    allow_broadcast: bool,
) -> tuple[socket.socket, Any]:
    """A socket for the first choice that works, and where its datagrams go."""
    first_error: OSError | None = None
    for family, proto, local, remote in choices:
        try:
            sock = socket.socket(family=family, type=socket.SOCK_DGRAM, proto=proto)
            try:
                if reuse_port:
                    share_port(sock)
                if allow_broadcast:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                sock.setblocking(False)
                if bind:
                    sock.bind(local)
                if connect:
                    await loop.sock_connect(sock, remote)
                return sock, remote
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            first_error = first_error or error
    assert first_error is not None
    try:
        raise first_error
    finally:
        # Its traceback leads back to here.
        del first_error
