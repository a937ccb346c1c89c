"""run() and new_event_loop(): how a program starts on saburo."""

from __future__ import annotations

import asyncio
import inspect

from ._loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any, TypeVar

    _T = TypeVar("_T")


def run(
    main: Awaitable[_T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> _T:
    """Runs a coroutine, or another awaitable, to its end on a new loop and returns its result.

    Afterwards the tasks that are left are cancelled and awaited, asynchronous generators closed,
    the default executor joined (for at most 300 seconds; on Python 3.11 without a limit) and the
    loop closed. The first Ctrl-C cancels `main`, a second one interrupts at once; both end in
    KeyboardInterrupt.

    `debug` switches debug mode on or off; None leaves it to PYTHONASYNCIODEBUG and `-X dev`.
    `loop_factory` makes the loop; None means `saburo.new_event_loop`.

    Raises what `main` raises; TypeError if it is not awaitable; RuntimeError if a loop is running
    on this thread. May be called on any thread. Semantics: `asyncio.run` of Python 3.14, whichever
    Python this is.

    >>> import asyncio, saburo
    >>> async def main():
    ...     return await asyncio.sleep(0.01, "done")
    >>> saburo.run(main())
    'done'
    """
    if asyncio._get_running_loop() is not None:
        # asyncio's text, which people search for.
        raise RuntimeError("asyncio.run() cannot be called from a running event loop")
    factory = new_event_loop if loop_factory is None else loop_factory
    with asyncio.Runner(debug=debug, loop_factory=factory) as runner:
        return runner.run(_as_coroutine(main))


def new_event_loop() -> Loop:
    """Makes a new, idle `saburo.Loop`; it does not become the current one.

    The caller closes it. May be called on any thread. Raises OSError if the process is out of
    descriptors.

    >>> import asyncio, saburo
    >>> with asyncio.Runner(loop_factory=saburo.new_event_loop) as runner:
    ...     runner.run(asyncio.sleep(0.01, "done"))
    'done'
    """
    return Loop()


def _as_coroutine(main: Awaitable[_T]) -> Coroutine[Any, Any, _T]:
    if asyncio.iscoroutine(main):
        return main
    if not inspect.isawaitable(main):
        raise TypeError("An asyncio.Future, a coroutine or an awaitable is required")

    async def wait() -> _T:
        return await main

    return wait()
