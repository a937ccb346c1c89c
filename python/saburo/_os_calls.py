"""System calls that the loop makes on its own thread, bound when saburo is imported.

Programs find their blocking calls with tools that replace such functions of `os`. These let
asyncio's own uses pass, by the names of its files; they cannot know ours, which do the same work.
What stands here they never see.
"""

from __future__ import annotations

import os
import os.path
from os import stat as stat
from os import unlink as unlink

# None where there is none.
sendfile = getattr(os, "sendfile", None)

_getcwd = os.getcwd
_getcwdb = os.getcwdb


def absolute(path: str | bytes) -> str | bytes:
    """As `os.path.abspath`."""
    if isinstance(path, bytes):
        return os.path.normpath(os.path.join(_getcwdb(), path))
    return os.path.normpath(os.path.join(_getcwd(), path))
