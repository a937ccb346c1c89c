"""Happy eyeballs (RFC 8305): attempts that start one after another, of which the first wins.

The rule: when the race is over, also by an error or a cancellation, no attempt is running, and no
socket is open but the winner's.
"""

from __future__ import annotations

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any, TypeAlias

    from ._saburo import Dial

    # What is connected, or the errors that prevented it.
    _Outcome: TypeAlias = socket.socket | Dial | list[OSError]
    _Attempt: TypeAlias = Callable[[], Coroutine[Any, Any, _Outcome]]
    _Task: TypeAlias = asyncio.Task[_Outcome]


async def race(
    loop: asyncio.AbstractEventLoop, attempts: Iterable[_Attempt], delay: float
) -> _Outcome:
    """The socket of the first attempt that succeeds, or the errors of all attempts, in their order.

    The next attempt starts when the one before has failed, or `delay` seconds after it started.
    An exception that an attempt raises ends the race and is raised.
    """
    started: list[_Task] = []
    try:
        winner = await _winner(loop, attempts, delay, started)
        await _end_others(started, winner)
        if winner is not None:
            return winner.result()
        return [error for task in started for error in _errors(task)]
    except BaseException:
        await _end_others(started, None)
        raise
    finally:
        # The traceback of the error leads back to here.
        del started


async def _winner(
    loop: asyncio.AbstractEventLoop,
    attempts: Iterable[_Attempt],
    delay: float,
    started: list[_Task],
) -> _Task | None:
    waiting = iter(attempts)
    running: set[_Task] = set()
    while True:
        latest = deadline = None
        attempt = next(waiting, None)
        if attempt is not None:
            latest = loop.create_task(attempt())
            started.append(latest)
            running.add(latest)
            deadline = loop.time() + delay
        elif not running:
            return None
        while running:
            timeout = None if deadline is None else deadline - loop.time()
            done, _ = await asyncio.wait(
                running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            running -= done
            # Two may have succeeded in the same turn: the one that started first wins.
            for task in started:
                if task in done and not isinstance(task.result(), list):
                    return task
            if latest in done or not done:
                break


async def _end_others(started: list[_Task], winner: _Task | None) -> None:
    running = []
    for task in started:
        if task.done():
            if task is not winner:
                _close_outcome(task)
        else:
            task.cancel()
            # By a callback, because the wait below may be cancelled.
            task.add_done_callback(_close_outcome)
            running.append(task)
    if running:
        await asyncio.wait(running)


def _close_outcome(task: _Task) -> None:
    if not task.cancelled() and task.exception() is None:
        outcome = task.result()
        if not isinstance(outcome, list):
            outcome.close()


def _errors(task: _Task) -> list[OSError]:
    outcome = task.result()
    return outcome if isinstance(outcome, list) else []
