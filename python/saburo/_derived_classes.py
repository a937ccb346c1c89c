"""`__class__` of an instance of a class that a program derives from a native one.

`isinstance(task, asyncio.Task)` asks for `task.__class__`. A native task answers with asyncio's
class, but for a class of the program that would be wrong: `self.__class__.LIMIT` and
`self.__class__()` mean that class. It cannot derive from asyncio's, whose memory layout is another.
So the answer is a stand-in: a class that derives from asyncio's, has no instances, and passes
everything on to the program's class: attributes, calls, comparisons.
"""

from __future__ import annotations

import copyreg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# The attribute of a class that holds its stand-in, so that both are freed together.
_STAND_IN = "_saburo_stand_in"


def stand_in_for(behind: type, theirs: type) -> type:
    """The stand-in of a class derived from a native one, which `isinstance` takes for `theirs`."""
    stand_in: type | None = type.__getattribute__(behind, "__dict__").get(_STAND_IN)
    if stand_in is None:
        stand_in = _StandIn("stand-in", (theirs,), {"__slots__": (), "_behind": behind})
        type.__setattr__(behind, _STAND_IN, stand_in)
    return stand_in


class _StandIn(type):
    def __getattribute__(cls, name: str) -> Any:
        return getattr(_behind(cls), name)

    def __setattr__(cls, name: str, value: Any) -> None:
        setattr(_behind(cls), name, value)

    def __delattr__(cls, name: str) -> None:
        delattr(_behind(cls), name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _behind(cls)(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _behind(cls))

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(_behind(subclass), _behind(cls))

    def __eq__(cls, other: object) -> bool:
        return _behind(cls) is (_behind(other) if type(other) is _StandIn else other)

    def __hash__(cls) -> int:
        return hash(_behind(cls))

    def __repr__(cls) -> str:
        return repr(_behind(cls))

    def __dir__(cls) -> Iterable[str]:
        return dir(_behind(cls))


def _behind(cls: Any) -> Any:
    """The program's class of a stand-in; any other class itself."""
    return type.__getattribute__(cls, "_behind") if type(cls) is _StandIn else cls


def _pickled(cls: type) -> tuple[Any, ...]:
    return _behind, (_behind(cls),)


copyreg.pickle(_StandIn, _pickled)
