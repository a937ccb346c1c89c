"""install(): saburo under asyncio's own names, and back.

The rule: the replacements work under every loop. Under one that is not saburo's they call asyncio's
own functions, so a program may use several kinds of loops.
"""

from __future__ import annotations

import asyncio
from asyncio import events, streams

from . import _streams
from ._compat import default_policy
from ._loop import Loop
from ._run import new_event_loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType


def install() -> Installation:
    """Puts saburo in the place of asyncio's own functions, for the whole process.

    From now on `asyncio.run`, `asyncio.Runner` and `asyncio.new_event_loop` make saburo loops, and
    `asyncio.open_connection`, `start_server`, `open_unix_connection` and `start_unix_server` make
    saburo's streams on them. Loops that exist, and loops of other kinds, stay as they are. A
    program that chooses its loop, by a `loop_factory` or by an event loop policy of its own, set
    before or after, gets the loop that it has chosen.

    A second call does nothing. `uninstall()` takes it back. In a `with` statement it holds for the
    block, if it did not hold before. For programs only: a library should not do this.

    >>> import asyncio, saburo
    >>> with saburo.install():
    ...     with asyncio.Runner() as runner:
    ...         type(runner.get_loop())
    <class 'saburo.Loop'>
    >>> with asyncio.Runner() as runner:
    ...     isinstance(runner.get_loop(), saburo.Loop)
    False
    """
    return Installation(did=_put_everywhere())


def uninstall() -> None:
    """Puts asyncio's own functions back; without a call of `install` before it does nothing.

    A function that other code has replaced since stays as it is.

    >>> import asyncio, saburo
    >>> theirs = asyncio.open_connection
    >>> installation = saburo.install()
    >>> asyncio.open_connection is theirs
    False
    >>> saburo.uninstall()
    >>> asyncio.open_connection is theirs
    True
    """
    while _replaced:
        _replaced.pop().restore()


class Installation:
    """What `install()` returns: at the end of its `with` block, what that call did is undone."""

    def __init__(self, did: bool) -> None:
        self._did = did

    def __enter__(self) -> None:
        """Nothing to do: `install()` has replaced the functions."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._did:
            uninstall()


class _Replaced:
    """One attribute that was replaced."""

    def __init__(self, owner: object, name: str, ours: object) -> None:
        self.owner = owner
        self.name = name
        self.ours = ours
        self.theirs = vars(owner).get(name, _ABSENT)
        setattr(owner, name, ours)

    def restore(self) -> None:
        if vars(self.owner).get(self.name) is not self.ours:
            return
        if self.theirs is _ABSENT:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.theirs)


_ABSENT = object()
# In the order in which they were replaced; empty while saburo is not installed.
_replaced: list[_Replaced] = []


def _put_everywhere() -> bool:
    if _replaced:
        return False
    _replaced.extend(_Replaced(owner, name, ours) for owner, name, ours in _places())
    return True


def _places() -> Iterator[tuple[object, str, object]]:
    policy = default_policy()
    if policy is None:
        for module in (asyncio, events):
            yield module, "new_event_loop", new_event_loop
    else:
        # All of asyncio's functions that make a loop use this attribute. A policy that a program
        # sets is of another class, or overrides it.
        yield policy, "_loop_factory", Loop
    for name in ("open_connection", "start_server", "open_unix_connection", "start_unix_server"):
        for module in (asyncio, streams):
            yield module, name, getattr(_streams, name)
