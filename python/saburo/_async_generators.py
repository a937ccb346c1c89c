"""Asynchronous generators: the loop knows those it has begun, and closes those left behind."""

from __future__ import annotations

import asyncio
import sys
import warnings
import weakref

from ._report import Reporting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Any, TypeAlias

    _Generator: TypeAlias = AsyncGenerator[Any, Any]


class AsyncGenerators(Reporting):
    """The hooks of PEP 525, and shutdown_asyncgens. Semantics: asyncio's."""

    # Begun on this loop and not yet finalized.
    _asyncgens: weakref.WeakSet[_Generator]
    _asyncgens_shutdown_called = False

    async def shutdown_asyncgens(self) -> None:
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

    def _after_fork(self) -> None:
        if self.is_running():
            # Those of a run that is the parent's are the parent's to close.
            self._asyncgens = weakref.WeakSet()
        super()._after_fork()

    def _adopt_asyncgens(self) -> Any:
        """Sets the thread's hooks; returns those that were in place."""
        before = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self._asyncgen_begins, finalizer=self._asyncgen_is_lost)
        return before

    def _asyncgen_begins(self, generator: _Generator) -> None:
        if self._asyncgens_shutdown_called:
            warnings.warn(
                f"asynchronous generator {generator!r} was scheduled after "
                "loop.shutdown_asyncgens() call",
                ResourceWarning,
                stacklevel=1,
                source=self,
            )
        self._asyncgens.add(generator)

    def _asyncgen_is_lost(self, generator: _Generator) -> None:
        # The collector may run on any thread.
        self._asyncgens.discard(generator)
        if not self.is_closed():
            self.call_soon_threadsafe(self.create_task, generator.aclose())
