"""Tracebacks of the programs that `saburo run` runs: what they would be without us.

A program's error goes through frames of ours twice: below it, the command that runs the program,
and in its midst, the loop between `asyncio.run` and the coroutine. Neither tells its author
anything.
What is raised by saburo itself keeps its last frames.
"""

from __future__ import annotations

import itertools
import os
import sys
from types import TracebackType

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_IMPORTING = "<frozen importlib"


def show_without_us(error: BaseException) -> None:
    """Makes the interpreter show `error`, when it ends the process, without frames of ours.

    To be called where the error is caught; the program's own sys.excepthook is kept.
    """
    trace = error.__traceback__
    while trace is not None and _file(trace).startswith((_OURS, _IMPORTING)):
        trace = trace.tb_next
    if trace is None and not isinstance(error, (SyntaxError, RuntimeError)):
        # Never reached the program, and no fault of its file: an error of ours, to be shown whole.
        return
    hook = getattr(sys, "excepthook", None)
    if hook is None:
        # The program has deleted it, and the interpreter has words for that.
        return

    def show(kind: type[BaseException], raised: BaseException, _: TracebackType | None) -> None:
        # For this error alone: `python -i` shows others after it, and what the error's frames hold
        # is to go with it, while there is still a stdout for finalizers.
        sys.excepthook = hook
        # By now `raised` has gathered the frames of everything down to the interpreter's.
        raised.__traceback__ = trace
        _tidy(raised)
        hook(kind, raised, raised.__traceback__)

    sys.excepthook = show


def _tidy(error: BaseException) -> None:
    """Takes our frames out of an error and of those it came from."""
    seen: set[int] = set()
    left = [error]
    while left:
        error = left.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        error.__traceback__ = _without_us(error.__traceback__)
        inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        left += [e for e in (error.__cause__, error.__context__, *inner) if e is not None]


def _without_us(trace: TracebackType | None) -> TracebackType | None:
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
