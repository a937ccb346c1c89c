"""The socket of a connection, as `get_extra_info("socket")` returns it.

The rule: what a program does with the socket happens after what it has written to the transport. A
transport sends the writes of a turn together, so each method here that could show the difference
sends them first. Once the program has the descriptor itself, every write is sent at once.
"""

from __future__ import annotations

import weakref
from asyncio import trsock

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from ._saburo import _SelectorSocketTransport

# The slot of asyncio's class that holds the socket; in this class `_sock` is a property.
_slot: Any = trsock.TransportSocket._sock  # type: ignore[attr-defined]


class TransportSocket(trsock.TransportSocket):
    """An `asyncio.trsock.TransportSocket` that keeps the order of what is sent."""

    __slots__ = ("_transport",)

    def __init__(self, sock: socket.socket, transport: _SelectorSocketTransport) -> None:
        _slot.__set__(self, sock)
        # A weak reference, because the transport refers to this object.
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
        return self._after_sending().getsockopt(*args, **options)

    def setsockopt(self, *args: Any, **options: Any) -> None:
        self._after_sending().setsockopt(*args, **options)

    def shutdown(self, how: int) -> None:
        self._after_sending().shutdown(how)

    def fileno(self) -> int:
        return self._handed_out().fileno()

    def dup(self) -> socket.socket:
        return self._handed_out().dup()

    @property
    def _sock(self) -> socket.socket:
        return self._handed_out()

    def _after_sending(self) -> socket.socket:
        transport = self._transport()
        if transport is not None:
            transport._send_gathered()
        return _socket(self)

    def _handed_out(self) -> socket.socket:
        transport = self._transport()
        if transport is not None:
            transport._stop_gathering()
        return _socket(self)


def _socket(transport_socket: TransportSocket) -> socket.socket:
    found: socket.socket = _slot.__get__(transport_socket)
    return found
