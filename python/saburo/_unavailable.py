"""The methods of asyncio's loop that saburo does not have yet, each saying so by its name."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, NoReturn


def _not_yet(name: str) -> Callable[..., Coroutine[Any, Any, NoReturn]]:
    async def method(self: object, *args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError(f"saburo.Loop.{name}() is not available yet")

    method.__name__ = name
    method.__qualname__ = f"Loop.{name}"
    method.__doc__ = "Not available yet: raises NotImplementedError when awaited."
    return method


class Unavailable:
    """Transports and servers."""

    __slots__ = ()

    create_connection = _not_yet("create_connection")
    create_server = _not_yet("create_server")
    create_unix_connection = _not_yet("create_unix_connection")
    create_unix_server = _not_yet("create_unix_server")
    create_datagram_endpoint = _not_yet("create_datagram_endpoint")
    connect_accepted_socket = _not_yet("connect_accepted_socket")
    start_tls = _not_yet("start_tls")
    sendfile = _not_yet("sendfile")
