"""Asynchronous generators: the loop lists those that have begun, and closes the unfinished ones."""

from __future__ import annotations

import asyncio
import sys
import warnings
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Any, TypeAlias

    from ._loop import Loop

    _Generator: TypeAlias = AsyncGenerator[Any, Any]


async def shutdown_asyncgens(self: Loop) -> None:
    """Closes every asynchronous generator that has begun and not ended.

    What their `finally` raises goes to the exception handler. Generators that begin later get a
    ResourceWarning. `saburo.run` and `asyncio.Runner` call this.

    >>> import asyncio, saburo
    >>> async def cups():
    ...     try:
    ...         yield 1
    ...     finally:
    ...         print("washed")
    >>> async def main():
    ...     generator = cups()
    ...     await anext(generator)
    ...     await asyncio.get_running_loop().shutdown_asyncgens()
    >>> saburo.run(main())
    washed
    """
    self._asyncgens_shutdown_called = True
    if not self._asyncgens:
        return
    generators = list(self._asyncgens)
    self._asyncgens.clear()
    results = await asyncio.gather(
        *[generator.aclose() for generator in generators], return_exceptions=True
    )
    for generator, result in zip(generators, results, strict=True):
        if isinstance(result, Exception):
            self.call_exception_handler(
                {
                    "message": "an error occurred during closing of "
                    f"asynchronous generator {generator!r}",
                    "exception": result,
                    "asyncgen": generator,
                }
            )


def after_fork(loop: Loop) -> None:
    if loop.is_running():
        # The parent, which runs the loop, closes them.
        loop._asyncgens = weakref.WeakSet()


def set_hooks(loop: Loop) -> Any:
    """Sets the thread's hooks; returns those that were in place."""
    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(
        firstiter=loop._asyncgen_firstiter_hook, finalizer=loop._asyncgen_finalizer_hook
    )
    return before


def asyncgen_firstiter_hook(self: Loop, generator: _Generator) -> None:
    if self._asyncgens_shutdown_called:
        warnings.warn(
            f"asynchronous generator {generator!r} was scheduled after "
            "loop.shutdown_asyncgens() call",
            ResourceWarning,
            stacklevel=1,
            source=self,
        )
    self._asyncgens.add(generator)


def asyncgen_finalizer_hook(self: Loop, generator: _Generator) -> None:
    # The garbage collector calls this on any thread.
    self._asyncgens.discard(generator)
    if not self.is_closed():
        self.call_soon_threadsafe(self.create_task, generator.aclose())
