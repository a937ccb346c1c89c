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
    """Subprocesses."""

    __slots__ = ()

    subprocess_exec = _not_yet("subprocess_exec")
    subprocess_shell = _not_yet("subprocess_shell")
