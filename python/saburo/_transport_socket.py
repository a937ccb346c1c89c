"""The socket of a connection, as `get_extra_info("socket")` gives it.

The rule: what the program does with the socket comes behind what it has written to the transport.
A transport sends the writes of a turn together, so each method here that could tell sends them
first; and once the descriptor itself was given away, every write is sent at once.
"""

from __future__ import annotations

import weakref
from asyncio import trsock

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from ._saburo import _SelectorSocketTransport

# Where asyncio's class keeps the socket: here the name `_sock` gives it away.
_kept: Any = trsock.TransportSocket._sock  # type: ignore[attr-defined]


class TransportSocket(trsock.TransportSocket):
    """An `asyncio.trsock.TransportSocket` that keeps the order of what is sent."""

    __slots__ = ("_transport",)

    def __init__(self, sock: socket.socket, transport: _SelectorSocketTransport) -> None:
        _kept.__set__(self, sock)
        # The transport holds this object.
        self._transport = weakref.ref(transport)

    @property
    def family(self) -> int:
        return _socket(self).family

    @property
    def type(self) -> int:
        return _socket(self).type

    @property
    def proto(self) -> int:
        return _socket(self).proto

    def __repr__(self) -> str:
        return repr(trsock.TransportSocket(_socket(self)))

    def getpeername(self) -> Any:
        return _socket(self).getpeername()

    def getsockname(self) -> Any:
        return _socket(self).getsockname()

    def get_inheritable(self) -> bool:
        return _socket(self).get_inheritable()

    def getsockopt(self, *args: Any, **options: Any) -> Any:
        return self._behind_what_was_written().getsockopt(*args, **options)

    def setsockopt(self, *args: Any, **options: Any) -> None:
        self._behind_what_was_written().setsockopt(*args, **options)

    def shutdown(self, how: int) -> None:
        self._behind_what_was_written().shutdown(how)

    def fileno(self) -> int:
        return self._given_away().fileno()

    def dup(self) -> socket.socket:
        return self._given_away().dup()

    @property
    def _sock(self) -> socket.socket:
        return self._given_away()

    def _behind_what_was_written(self) -> socket.socket:
        transport = self._transport()
        if transport is not None:
            transport._send_gathered()
        return _socket(self)

    def _given_away(self) -> socket.socket:
        transport = self._transport()
        if transport is not None:
            transport._stop_gathering()
        return _socket(self)


def _socket(transport_socket: TransportSocket) -> socket.socket:
    kept: socket.socket = _kept.__get__(transport_socket)
    return kept
