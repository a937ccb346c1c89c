"""System calls that the loop makes on its own thread, imported from `posix` instead of `os`.

Tools that find blocking calls replace functions of `os`. They let asyncio's own calls pass, by the
names of asyncio's files, but do not know saburo's files, which make the same calls. Functions of
`posix` are not replaced, also when saburo is imported after the tool has started.
"""

from __future__ import annotations

import os.path
import posix
from posix import chmod as chmod
from posix import stat as stat
from posix import unlink as unlink

# None where there is none.
sendfile = getattr(posix, "sendfile", None)

_getcwd = posix.getcwd
_getcwdb = posix.getcwdb


def absolute(path: str | bytes) -> str | bytes:
    """As `os.path.abspath`."""
    if isinstance(path, bytes):
        return os.path.normpath(os.path.join(_getcwdb(), path))
    return os.path.normpath(os.path.join(_getcwd(), path))
