"""saburo: asyncio rebuilt in Rust.

Programs that say `import asyncio` run unchanged on saburo's event loop: through
`saburo.run(main())`, `asyncio.Runner(loop_factory=saburo.new_event_loop)` or the command
`saburo run app.py`. Importing saburo patches nothing; `saburo.install()` does.

>>> import asyncio, saburo
>>> async def main():
...     await asyncio.sleep(0.01)
...     return "hello"
>>> saburo.run(main())
'hello'
"""

from __future__ import annotations

import sys

# Before asyncio is imported, because this refuses sub-interpreters: up to Python 3.11 the C module
# of asyncio is shared by all interpreters.
from . import _saburo as _saburo
from ._install import install, uninstall
from ._loop import Loop
from ._run import new_event_loop, run
from ._saburo import (
    Future,
    Handle,
    InternalError,
    StreamReader,
    StreamReaderProtocol,
    StreamWriter,
    Task,
    TimerHandle,
    __version__,
)
from ._server import Server
from ._streams import open_connection, open_unix_connection, start_server, start_unix_server

# In every file instead of typing.TYPE_CHECKING: importing `typing` takes longer than importing all
# of saburo, and asyncio does not import it. Type checkers know the name.
TYPE_CHECKING = False

__all__ = (
    "Future",
    "Handle",
    "InternalError",
    "Loop",
    "Server",
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "Task",
    "TimerHandle",
    "__version__",
    "install",
    "new_event_loop",
    "open_connection",
    "open_unix_connection",
    "run",
    "start_server",
    "start_unix_server",
    "uninstall",
)

if sys.version_info < (3, 16):
    if TYPE_CHECKING:
        from ._policy import EventLoopPolicy as EventLoopPolicy
    else:

        def __getattr__(name: str) -> object:
            # Not in __all__ and not imported above: from Python 3.14 on, naming a policy warns.
            if name == "EventLoopPolicy":
                from ._policy import policy_class

                return policy_class()
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
