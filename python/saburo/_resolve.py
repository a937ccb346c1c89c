"""getaddrinfo and getnameinfo.

The rule: what libc answers without a lookup is answered at once, on the loop's thread. Lookups are
done in threads that do nothing else (see `_executors`).
"""

from __future__ import annotations

import functools
import socket

from ._executors import check_default_executor, run_in_resolver
from ._report import logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from ._loop import Loop

    # Family, type, protocol, canonical name and socket address, as getaddrinfo() has them.
    _AddressInfo: TypeAlias = tuple[int, int, int, str, Any]

# What getaddrinfo() takes for the two types of socket that it is asked for here.
_PROTOCOLS: dict[int, int] = {
    socket.SOCK_STREAM: socket.IPPROTO_TCP,
    socket.SOCK_DGRAM: socket.IPPROTO_UDP,
}
_NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


async def getaddrinfo(
    self: Loop,
    host: bytes | str | None,
    port: bytes | str | int | None,
    *,
    family: int = 0,
    type: int = 0,
    proto: int = 0,
    flags: int = 0,
) -> list[Any]:
    """`socket.getaddrinfo`, without blocking the loop; the same result and errors.

    IP addresses are answered at once. Names are looked up in threads that do nothing else, so that
    a full default executor does not delay them. Raises `socket.gaierror` for unknown names,
    RuntimeError if the loop is closed or its executor shut down.

    >>> import asyncio, saburo, socket
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     infos = await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    ...     return infos[0][4]
    >>> saburo.run(main())
    ('127.0.0.1', 80)
    """
    look_up = (
        functools.partial(_getaddrinfo_logged, self) if self.get_debug() else socket.getaddrinfo
    )
    if is_numeric(host, port):
        self._check_closed()
        check_default_executor(self)
        return look_up(host, port, family, type, proto, flags)
    return await run_in_resolver(self, look_up, host, port, family, type, proto, flags)


async def getnameinfo(self: Loop, sockaddr: tuple[Any, ...], flags: int = 0) -> tuple[str, str]:
    """`socket.getnameinfo`, without blocking the loop; the same result and errors.

    >>> import asyncio, saburo, socket
    >>> async def main():
    ...     loop = asyncio.get_running_loop()
    ...     numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    ...     return await loop.getnameinfo(("127.0.0.1", 80), numeric)
    >>> saburo.run(main())
    ('127.0.0.1', '80')
    """
    if flags & _NUMERIC == _NUMERIC:
        self._check_closed()
        check_default_executor(self)
        return socket.getnameinfo(sockaddr, flags)
    return await run_in_resolver(self, socket.getnameinfo, sockaddr, flags)


async def socket_address(loop: Loop, sock: socket.socket, family: int, address: Any) -> Any:
    """`address` with its host as an IP address, for a socket of an IP family."""
    host, port = address[:2]
    if ip_family(host) == family and is_numeric(None, port):
        host = _text(host)
        # A zone ("fe80::1%eth0") is turned into a scope id below.
        if "%" not in host:
            return (host, int(port or 0), *address[2:])
    found = await loop.getaddrinfo(host, port, family=family, type=sock.type, proto=sock.proto)
    return found[0][4]


async def addresses(
    loop: Loop,
    address: Any,
    *,
    family: int = 0,
    type: int = socket.SOCK_STREAM,
    proto: int = 0,
    flags: int = 0,
) -> list[_AddressInfo]:
    """`getaddrinfo` of `address`, a host, a port and perhaps more; not called for IP addresses."""
    host, port = address[:2]
    info = _info_of_ip_address(host, port, family, type, proto, address[2:])
    if info is not None:
        return [info]
    return await loop.getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)


def _getaddrinfo_logged(
    loop: Loop, host: Any, port: Any, family: int, type: int, proto: int, flags: int
) -> list[Any]:
    """For debug mode: logs what is looked up, and how long it took. Runs on any thread."""
    options = {"family": family, "type": type, "proto": proto, "flags": flags}
    asked = ", ".join(
        [f"{host}:{port!r}"] + [f"{name}={value!r}" for name, value in options.items() if value]
    )
    logger.debug("Get address info %s", asked)
    started = loop.time()
    found = socket.getaddrinfo(host, port, family, type, proto, flags)
    took = loop.time() - started
    log = logger.info if took >= loop.slow_callback_duration else logger.debug
    log("Getting address info %s took %.3fms: %r", asked, took * 1e3, found)
    return found


def _info_of_ip_address(
    host: Any, port: Any, family: int, type: int, proto: int, rest: tuple[int, ...]
) -> _AddressInfo | None:
    """The one entry that `getaddrinfo` has for an IP address; None if that needs libc."""
    found = ip_family(host)
    if found is None or (family != 0 and family != found):
        return None
    usual = _PROTOCOLS.get(type)
    if usual is None or (proto != 0 and proto not in _PROTOCOLS.values()):
        return None
    try:
        number = 0 if port is None or (isinstance(port, bytes | str) and not port) else int(port)
    except (TypeError, ValueError):
        return None  # the name of a service
    text = _text(host)
    if found == socket.AF_INET:
        return (found, type, usual, "", (text, number))
    # A zone ("fe80::1%eth0") is for libc to turn into a number.
    if "%" in text:
        return None
    flow, scope = (*rest, 0, 0)[:2]
    return (found, type, usual, "", (text, number, flow, scope))


def is_numeric(host: Any, port: Any) -> bool:
    """Can libc answer without a lookup? The host is an address or absent, the port a number."""
    if isinstance(port, bytes | str):
        if port and not (port.isascii() and port.isdigit()):
            return False
    elif not (port is None or isinstance(port, int)):
        return False
    return host is None or ip_family(host) is not None


def ip_family(host: Any) -> int | None:
    """The family of a host that is an IP address; None if it is anything else."""
    host = _text(host)
    return _cached_ip_family(host) if isinstance(host, str) else None


def _ip_family_of_text(host: str) -> int | None:
    if not host.isascii():
        return None
    # The zone of an IPv6 address ("fe80::1%eth0") is no part of the number.
    for family, text in ((socket.AF_INET, host), (socket.AF_INET6, host.partition("%")[0])):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return family
    return None


# A program connects to the same few hosts again and again.
_cached_ip_family = functools.lru_cache(maxsize=1024)(_ip_family_of_text)


def _text(host: Any) -> Any:
    return host.decode("latin-1") if isinstance(host, bytes | bytearray) else host
