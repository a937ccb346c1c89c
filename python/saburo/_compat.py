"""Where the standard libraries of Python 3.11 to 3.15 differ.

Other files do not ask for the version, except `_all_tasks.py`, which looks into asyncio, and
`__init__.py` and `_policy.py`, for the one name that ends with 3.16.
"""

from __future__ import annotations

import inspect
import sys
from asyncio import coroutines, events, unix_events
from importlib.machinery import ModuleSpec

# The old asyncio.coroutine decorator set it; some libraries still mark their wrappers with it.
_coroutine_mark: object = getattr(coroutines, "_is_coroutine", None)


def is_coroutine_function(function: object) -> bool:
    """`asyncio.iscoroutinefunction`, which Python 3.14 deprecates."""
    if inspect.iscoroutinefunction(function):
        return True
    mark = getattr(function, "_is_coroutine", None)
    return mark is not None and mark is _coroutine_mark


def debug_by_default() -> bool:
    """Whether asyncio's own loops start in debug mode: PYTHONASYNCIODEBUG or `-X dev`."""
    asked: bool = vars(coroutines)["_is_debug_mode"]()
    return asked


def default_policy() -> type | None:
    """The class of asyncio's default policy; None from 3.16 on, which has no policies.

    Its public name gives a DeprecationWarning from 3.14 on.
    """
    return vars(unix_events).get("_UnixDefaultEventLoopPolicy")


def main_names(spec: ModuleSpec | None) -> dict[str, object]:
    """The names in `__main__` that only some versions put there; `spec` is None for a file."""
    names: dict[str, object] = {}
    if sys.version_info < (3, 14):
        names["__annotations__"] = {}
    if sys.version_info < (3, 15):
        names["__cached__"] = None if spec is None else spec.cached
    return names


def reset_after_fork() -> None:
    """In a forked child, forgets the parent's running loop. Python does it from 3.12 on."""
    if sys.version_info < (3, 12):
        events._set_running_loop(None)
