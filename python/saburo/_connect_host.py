"""A connection to one of the addresses of a host: tried in turn, or beside each other.

The rule: a socket that does not become the connection is closed by the attempt that made it.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import socket

from ._happy_eyeballs import race
from ._resolve import addresses
from ._saburo import Dial
from ._sock import sock_connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._happy_eyeballs import _Outcome
    from ._loop import Loop
    from ._resolve import _AddressInfo

# As long as `socket.socket` is this class, no program has replaced it to learn of new sockets.
_SOCKET = socket.socket


async def connect_to_host(
    loop: Loop,
    host: str | None,
    port: int | str | None,
    *,
    family: int,
    proto: int,
    flags: int,
    local_addr: tuple[str, int] | None,
    happy_eyeballs_delay: float | None,
    interleave: int | None,
    all_errors: bool,
) -> socket.socket | Dial:
    """The socket of a connection; the arguments are those of `create_connection`."""
    infos = await _known_addresses(loop, (host, port), family, proto, flags)
    local_infos = None
    if local_addr is not None:
        local_infos = await _known_addresses(loop, local_addr, family, proto, flags)
    if interleave is None and happy_eyeballs_delay is not None:
        interleave = 1
    if interleave:
        infos = _interleaved(infos, interleave)
    attempts = (functools.partial(_attempt, loop, info, local_infos) for info in infos)
    errors: list[OSError] = []
    try:
        if happy_eyeballs_delay is not None:
            outcome = await race(loop, attempts, happy_eyeballs_delay)
            if not isinstance(outcome, list):
                return outcome
            errors = outcome
        else:
            for attempt in attempts:
                outcome = await attempt()
                if not isinstance(outcome, list):
                    return outcome
                errors += outcome
        raise _failure(errors, all_errors)
    finally:
        # The tracebacks of the errors lead back to here.
        outcome = errors = []


async def _known_addresses(
    loop: Loop, address: Any, family: int, proto: int, flags: int
) -> list[_AddressInfo]:
    infos = await addresses(
        loop, address, family=family, type=socket.SOCK_STREAM, proto=proto, flags=flags
    )
    if not infos:
        raise OSError("getaddrinfo() returned empty list")
    return infos


async def _attempt(
    loop: Loop, info: _AddressInfo, local_infos: list[_AddressInfo] | None
) -> _Outcome:
    """A socket connected to this address, or the OSErrors that prevented it.

    Other exceptions are raised.
    """
    family, type_, proto, _, address = info
    errors: list[OSError] = []
    try:
        if local_infos is None and (dial := _begin_without_socket(loop, info)):
            return await _connected(loop, dial, address)
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
        # The first error is raised, not one of close().
        with contextlib.suppress(OSError):
            sock.close()
        raise
    finally:
        # The errors' tracebacks lead back to here.
        del errors


def _begin_without_socket(loop: Loop, info: _AddressInfo) -> Dial | None:
    """Begins a TCP connection without a `socket` object.

    Returns None where that cannot be, or where the program has replaced what would be called.
    """
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


async def _connected(loop: Loop, dial: Dial, address: object) -> Dial:
    try:
        while dial._pending:
            await loop._wait_writable(dial)
            dial._hear(address)
    except BaseException:
        dial.close()
        raise
    return dial


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

    The errors of the others are added to `errors`.
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
