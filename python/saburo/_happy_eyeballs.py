"""Happy eyeballs (RFC 8305): attempts that start one after another, of which the first wins.

The rule: when the race is over, however it came to that, no attempt runs any more and no socket is
left open but the winner's.
"""

from __future__ import annotations

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any, TypeAlias

    from ._saburo import Dial

    # What is connected, or what went wrong on the way to it.
    _Outcome: TypeAlias = socket.socket | Dial | list[OSError]
    _Attempt: TypeAlias = Callable[[], Coroutine[Any, Any, _Outcome]]
    _Task: TypeAlias = asyncio.Task[_Outcome]


async def race(
    loop: asyncio.AbstractEventLoop, attempts: Iterable[_Attempt], delay: float
) -> _Outcome:
    """The first socket that an attempt comes to, or the errors of all of them, in their order.

    The next attempt starts when the one before has failed, or `delay` seconds after it started.
    Anything but an OSError that goes wrong in one of them ends the race and is raised.
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
        # The traceback of what is raised leads back to here.
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
            # In the order of their start: two may have won in the same turn.
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
                _close_late(task)
        else:
            task.cancel()
            # A callback, which is called also if the wait below is cancelled.
            task.add_done_callback(_close_late)
            running.append(task)
    if running:
        await asyncio.wait(running)


def _close_late(task: _Task) -> None:
    if not task.cancelled() and task.exception() is None:
        outcome = task.result()
        if not isinstance(outcome, list):
            outcome.close()


def _errors(task: _Task) -> list[OSError]:
    outcome = task.result()
    return outcome if isinstance(outcome, list) else []
