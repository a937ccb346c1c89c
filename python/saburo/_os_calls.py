"""System calls that the loop makes on its own thread, taken from where `os` has them from.

Programs find their blocking calls with tools that replace such functions of `os`. These let
asyncio's own uses pass, by the names of its files; they cannot know ours, which do the same work.
What stands here they never see, also where saburo is imported after they have begun.
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
