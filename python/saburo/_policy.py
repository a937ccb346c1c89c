"""EventLoopPolicy, for programs that still choose their loop through asyncio's policies.

Loaded only when asked for. Python 3.14 deprecates policies and 3.16 removes them: from then on
there is nothing in this file.
"""

from __future__ import annotations

import asyncio
import sys
import warnings

from ._loop import Loop

TYPE_CHECKING = False

if sys.version_info < (3, 16):
    if TYPE_CHECKING or sys.version_info < (3, 14):
        _Base = asyncio.DefaultEventLoopPolicy
    else:
        # The public name would warn on import; the warning belongs to programs that name ours.
        from asyncio.events import _BaseDefaultEventLoopPolicy as _Base

    class EventLoopPolicy(_Base):
        """A policy whose `new_event_loop()` makes a `saburo.Loop`; otherwise asyncio's default one.

        Deprecated on Python 3.14 and later, absent from 3.16 on: prefer `saburo.run()` or
        `asyncio.Runner(loop_factory=saburo.new_event_loop)`. Semantics: asyncio's default policy.

        >>> import asyncio, saburo, warnings
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore", DeprecationWarning)
        ...     asyncio.set_event_loop_policy(saburo.EventLoopPolicy())
        ...     loop = asyncio.new_event_loop()
        ...     asyncio.set_event_loop_policy(None)
        >>> type(loop)
        <class 'saburo.Loop'>
        >>> loop.close()
        """

        __module__ = "saburo"

        def new_event_loop(self) -> Loop:
            """Makes a new, idle `saburo.Loop`; it does not become the current one."""
            return Loop()

    def policy_class() -> type[EventLoopPolicy]:
        """The class, with the warning its base would give."""
        if sys.version_info >= (3, 14):
            warnings.warn(
                "'saburo.EventLoopPolicy' is deprecated and slated for removal in Python 3.16",
                DeprecationWarning,
                stacklevel=3,
            )
        return EventLoopPolicy
