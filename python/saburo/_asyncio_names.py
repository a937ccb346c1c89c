"""asyncio's names for methods of ours: filters of warnings, tests and people go by them.

"coroutine 'BaseEventLoop.shutdown_asyncgens' was never awaited" is hidden by that name, and a call
with a wrong keyword is told so by "BaseEventLoop.create_server() got an unexpected keyword ...".
"""

from __future__ import annotations

from types import FunctionType

# Begins the name of the Python half of a native method.
_HALF = "_any_"


def take_names(ours: type, theirs: type) -> None:
    """Gives the functions in the class `ours` the names that they have in `theirs`."""
    for name, function in vars(ours).items():
        if name == "__init__" or not isinstance(function, FunctionType):
            # The arguments of __init__ are ours, and so is the name in "got an unexpected keyword".
            continue
        named = getattr(theirs, name.removeprefix(_HALF), None)
        if isinstance(named, FunctionType):
            function.__name__ = named.__name__
            function.__qualname__ = named.__qualname__
