"""Errors that no caller sees go to a loop's exception handler, slow callbacks to the log.

The logger and the texts are asyncio's, because programs and people look for them.
"""

from __future__ import annotations

import asyncio
import logging
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from ._loop import Loop

    _Context: TypeAlias = dict[str, Any]
    _Handler: TypeAlias = Callable[[asyncio.AbstractEventLoop, _Context], object]

logger = logging.getLogger("asyncio")


def set_exception_handler(self: Loop, handler: _Handler | None) -> None:
    """Makes `call_exception_handler` call `handler(loop, context)`; None restores the default.

    Raises TypeError if `handler` is neither callable nor None.

    >>> import saburo
    >>> loop = saburo.new_event_loop()
    >>> loop.set_exception_handler(lambda loop, context: print(context["message"]))
    >>> loop.call_exception_handler({"message": "the tea is cold"})
    the tea is cold
    >>> loop.close()
    """
    if handler is not None and not callable(handler):
        raise TypeError(f"A callable object or None is expected, got {handler!r}")
    self._exception_handler = handler


def get_exception_handler(self: Loop) -> _Handler | None:
    """The exception handler, None if the default one is in use.

    >>> import saburo
    >>> loop = saburo.new_event_loop()
    >>> loop.get_exception_handler() is None
    True
    >>> loop.close()
    """
    return self._exception_handler


def default_exception_handler(self: Loop, context: _Context) -> None:
    """Logs the context at level ERROR on the logger "asyncio".

    The message comes first, then the other keys in alphabetical order, one a line; the
    exception is logged with its traceback. A handler of your own may call this.

    >>> import logging, saburo
    >>> logging.getLogger("asyncio").disabled = True
    >>> loop = saburo.new_event_loop()
    >>> loop.default_exception_handler({"message": "a cup fell", "task": None})
    >>> loop.close()
    >>> logging.getLogger("asyncio").disabled = False
    """
    lines = [context.get("message") or "Unhandled exception in event loop"]
    if "source_traceback" not in context:
        # In debug mode the callback that is running may know where it was scheduled.
        running = getattr(self, "_current_handle", None)
        scheduled_at = getattr(running, "_source_traceback", None)
        if scheduled_at:
            context["handle_traceback"] = scheduled_at
    details = sorted(key for key in context if key not in ("message", "exception"))
    lines += [f"{key}: {_describe(key, context[key])}" for key in details]
    error = context.get("exception")
    exc_info = (type(error), error, error.__traceback__) if error is not None else False
    logger.error("\n".join(lines), exc_info=exc_info)


def call_exception_handler(self: Loop, context: _Context) -> None:
    """Reports something that went wrong and that no caller will see.

    `context` is a dict with "message" and, where they apply, "exception", "future", "task",
    "handle", "protocol", "transport", "socket", "asyncgen", "source_traceback" and
    "handle_traceback". The handler runs in the contextvars context of the task, future or
    handle concerned. What a handler raises is logged; KeyboardInterrupt and SystemExit pass.

    >>> import saburo
    >>> loop = saburo.new_event_loop()
    >>> loop.set_exception_handler(lambda loop, context: print(sorted(context)))
    >>> loop.call_exception_handler({"message": "lost", "exception": OSError("gone")})
    ['exception', 'message']
    >>> loop.close()
    """
    handler = self._exception_handler
    if handler is None:
        try:
            self.default_exception_handler(context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            logger.error("Exception in default exception handler", exc_info=True)
        return
    try:
        surroundings = _context_of(context)
        if surroundings is None:
            handler(self, context)
        else:
            surroundings.run(handler, self, context)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        _handler_failed(self, error, context)


def _handler_failed(loop: Loop, error: BaseException, context: _Context) -> None:
    try:
        loop.default_exception_handler(
            {
                "message": "Unhandled error in exception handler",
                "exception": error,
                "context": context,
            }
        )
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException:
        logger.error(
            "Exception in default exception handler while handling an unexpected error "
            "in custom exception handler",
            exc_info=True,
        )


def report_slow(self: Loop, subject: object, seconds: float) -> None:
    # For a step of a task, the task says more than the handle that ran it.
    owner = getattr(getattr(subject, "_callback", None), "__self__", None)
    shown = owner if isinstance(owner, asyncio.Task) else subject
    # Its repr, because a log may keep the record, and with it the object.
    logger.warning("Executing %s took %.3f seconds", repr(shown), seconds)


def _describe(key: str, value: Any) -> str:
    if key == "source_traceback":
        kind = "Object"
    elif key == "handle_traceback":
        kind = "Handle"
    else:
        return repr(value)
    return f"{kind} created at (most recent call last):\n" + _stack(value)


def _stack(frames: traceback.StackSummary) -> str:
    return "".join(traceback.format_list(frames)).rstrip()


def _context_of(context: _Context) -> Any:
    """The contextvars context a report belongs to, if its subject has one."""
    for key in ("task", "future", "handle"):
        thing = context.get(key)
        if thing is not None:
            get_context = getattr(thing, "get_context", None)
            found = get_context() if get_context is not None else None
            return found if hasattr(found, "run") else None
    return None
