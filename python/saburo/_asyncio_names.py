"""Methods get the names that they have in asyncio, because warnings are filtered by them.

Examples are "coroutine 'BaseEventLoop.shutdown_asyncgens' was never awaited" and
"BaseEventLoop.create_server() got an unexpected keyword argument ...".
"""

from __future__ import annotations

from types import FunctionType

# The prefix of a method that a native one calls for unusual arguments.
_ANY = "_any_"


def take_names(ours: type, theirs: type) -> None:
    """Gives the functions in the class `ours` the names that they have in `theirs`."""
    for name, function in vars(ours).items():
        if name == "__init__" or not isinstance(function, FunctionType):
            # __init__ takes other arguments than asyncio's, so errors name saburo's class.
            continue
        named = getattr(theirs, name.removeprefix(_ANY), None)
        if isinstance(named, FunctionType):
            function.__name__ = named.__name__
            function.__qualname__ = named.__qualname__
