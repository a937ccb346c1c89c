"""Tracebacks of programs that `saburo run` runs, without saburo's own frames.

An error of a program passes through frames of saburo's twice: those of the command that runs the
program, and those of the loop between `asyncio.run` and the coroutine. They say nothing about the
program. The last frames of an error that saburo itself raises are kept.
"""

from __future__ import annotations

import itertools
import os
import sys
from types import TracebackType

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_IMPORTING = "<frozen importlib"


def show_without_our_frames(error: BaseException) -> None:
    """Makes the interpreter show `error`, when it ends the process, without saburo's frames.

    To be called where the error is caught. The sys.excepthook that the program has set is called.
    """
    trace = error.__traceback__
    while trace is not None and _file(trace).startswith((_OURS, _IMPORTING)):
        trace = trace.tb_next
    if trace is None and not isinstance(error, (SyntaxError, RuntimeError)):
        # It did not reach the program, whose file is not at fault: an error of saburo's own.
        return
    hook = getattr(sys, "excepthook", None)
    if hook is None:
        # The program has deleted it, which the interpreter reports.
        return

    def show(kind: type[BaseException], raised: BaseException, _: TracebackType | None) -> None:
        # For this error only: `python -i` may show others later, and nothing may keep the error's
        # frames until the interpreter ends, because finalizers may need stdout.
        sys.excepthook = hook
        # On its way to the interpreter `raised` has got more frames.
        raised.__traceback__ = trace
        _tidy(raised)
        hook(kind, raised, raised.__traceback__)

    sys.excepthook = show


def _tidy(error: BaseException) -> None:
    """Removes saburo's frames from an error, its causes and its contexts."""
    seen: set[int] = set()
    left = [error]
    while left:
        error = left.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        error.__traceback__ = _without_our_frames(error.__traceback__)
        inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        left += [e for e in (error.__cause__, error.__context__, *inner) if e is not None]


def _without_our_frames(trace: TracebackType | None) -> TracebackType | None:
    frames: list[TracebackType] = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    raised_by_us = len(frames)
    while raised_by_us and _file(frames[raised_by_us - 1]).startswith(_OURS):
        raised_by_us -= 1
    kept = [t for t in frames[:raised_by_us] if not _file(t).startswith(_OURS)]
    kept += frames[raised_by_us:]
    for outer, inner in itertools.pairwise(kept):
        outer.tb_next = inner
    return kept[0] if kept else None


def _file(trace: TracebackType) -> str:
    return trace.tb_frame.f_code.co_filename
