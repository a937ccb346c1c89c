"""Callbacks that close, stop, cancel and call back into the loop, also from `__del__`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections.abc import Callable
from typing import Any

import pytest
from support.both_loops import Kind, turn

pytestmark = pytest.mark.every_task_kind

Loop = asyncio.AbstractEventLoop


class Last:
    """Runs `words` when the last reference to it goes."""

    def __init__(self, words: Callable[[], Any]) -> None:
        self.words = words

    def __del__(self) -> None:
        self.words()

    def __call__(self, *_args: Any) -> None:
        pass


def test_close_is_refused_inside_and_the_loop_goes_on(loop: Loop) -> None:
    errors: list[str] = []

    def close() -> None:
        try:
            loop.close()
        except RuntimeError as error:
            errors.append(str(error))

    loop.call_soon(close)
    turn(loop)
    assert errors == ["Cannot close a running event loop"]
    assert loop.run_until_complete(asyncio.sleep(0, "usable")) == "usable"


def test_a_nested_run_is_refused_and_the_outer_goes_on(loop: Loop) -> None:
    errors: list[str] = []

    def nest() -> None:
        try:
            loop.run_forever()
        except RuntimeError as error:
            errors.append(str(error))

    loop.call_soon(nest)
    loop.call_soon(loop.stop)  # behind it: the refused run of asyncio 3.13 forgets an earlier stop
    loop.run_forever()
    assert errors == ["This event loop is already running"]
    assert not loop.is_running()


DEEDS: dict[str, Callable[[Loop], Any]] = {
    "call_soon": lambda loop: loop.call_soon(int),
    "call_soon_threadsafe": lambda loop: loop.call_soon_threadsafe(int),
    "call_later": lambda loop: loop.call_later(3600, int),
    "call_later, due": lambda loop: loop.call_later(-1, int),
    "call_later, cancelled": lambda loop: loop.call_later(3600, int).cancel(),
    "stop": lambda loop: loop.stop(),
    "close": lambda loop: None if loop.is_running() else loop.close(),
    "collect": lambda loop: gc.collect(),
    "create_future": lambda loop: loop.create_future().cancel(),
    "all_tasks": lambda loop: asyncio.all_tasks(loop),
    "repr": lambda loop: repr(loop),
    "raise": lambda loop: None,
}


@pytest.fixture(params=DEEDS)
def deed(request: pytest.FixtureRequest) -> Callable[[Loop], Any]:
    found: Callable[[Loop], Any] = DEEDS[request.param]
    return found


def careful(loop: Loop, deed: Callable[[Loop], Any], seen: list[int]) -> Callable[[], None]:
    def words() -> None:
        seen.append(1)
        try:
            deed(loop)
        except RuntimeError as error:
            assert "closed" in str(error)

    return words


def test_a_finalizer_in_a_cancelled_handle_calls_back(
    loop: Loop, deed: Callable[[Loop], Any]
) -> None:
    seen: list[int] = []
    handles = [
        loop.call_soon(Last(careful(loop, deed, seen))),
        loop.call_soon(print, Last(careful(loop, deed, seen))),
        loop.call_later(3600, Last(careful(loop, deed, seen))),
        loop.call_at(1e12, print, Last(careful(loop, deed, seen))),
        loop.call_soon_threadsafe(Last(careful(loop, deed, seen))),
    ]
    for handle in handles:
        handle.cancel()
    handles.clear()
    del handle
    if not loop.is_closed():
        turn(loop, 2)
    gc.collect()
    assert len(seen) == 5


def test_a_finalizer_in_a_callback_that_ran_calls_back(
    loop: Loop, deed: Callable[[Loop], Any]
) -> None:
    seen: list[int] = []
    for _ in range(5):
        loop.call_soon(Last(careful(loop, deed, seen)))
        loop.call_later(-1, Last(careful(loop, deed, seen)))
        loop.call_soon_threadsafe(Last(careful(loop, deed, seen)))
    for _ in range(5):
        if not loop.is_closed():
            turn(loop)
    gc.collect()
    assert len(seen) == 15


def test_finalizers_while_the_loop_closes_call_back(
    kind: Kind, deed: Callable[[Loop], Any]
) -> None:
    """What is queued goes while the loop is half closed: it must answer sensibly."""
    if deed is DEEDS["close"] and not kind.is_saburo:
        pytest.skip("asyncio's close is not re-entrant: it loses its own sockets")
    loop = kind.new_loop()
    seen: list[int] = []
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            loop.call_soon(Last(careful(loop, deed, seen)))
            loop.call_later(3600, Last(careful(loop, deed, seen)))
            loop.call_soon_threadsafe(Last(careful(loop, deed, seen)))
            # A pair for each: what is replaced would be let go of now and not at the end.
            for end in socket.socketpair():
                stack.enter_context(end)
                loop.add_reader(end, Last(careful(loop, deed, seen)))
        loop.close()
        # Collects nothing inside a collection: what is left then goes with the loop itself.
        gc.collect()
        assert loop.is_closed()
        assert len(seen) == 15


def test_finalizers_in_replaced_and_removed_readers_call_back(
    loop: Loop, deed: Callable[[Loop], Any]
) -> None:
    seen: list[int] = []
    one, two = socket.socketpair()
    try:
        for _ in range(3):
            loop.add_reader(one, Last(careful(loop, deed, seen)))
            loop.add_writer(one, Last(careful(loop, deed, seen)))
        loop.remove_reader(one)
        loop.remove_writer(one)
    except RuntimeError as error:
        assert "closed" in str(error)
    gc.collect()
    if not loop.is_closed():
        assert len(seen) == 6
    one.close()
    two.close()


def test_finalizers_in_futures_and_tasks_call_back(loop: Loop, deed: Callable[[Loop], Any]) -> None:
    seen: list[int] = []

    async def hold(last: Last) -> Last:
        await asyncio.sleep(0)
        return last

    future = loop.create_future()
    future.add_done_callback(Last(careful(loop, deed, seen)))
    future.set_result(Last(careful(loop, deed, seen)))
    task = loop.create_task(hold(Last(careful(loop, deed, seen))))
    cancelled = loop.create_task(hold(Last(careful(loop, deed, seen))))
    turn(loop)
    cancelled.cancel()
    turn(loop, 3)
    del future, task, cancelled
    for _ in range(3):
        gc.collect()
    assert len(seen) == 4


def test_a_callback_that_cancels_everything_else(loop: Loop) -> None:
    handles: list[Any] = []
    seen: list[int] = []

    def cancel_all() -> None:
        for handle in handles:
            handle.cancel()
        handles.clear()
        gc.collect()

    loop.call_soon(cancel_all)
    handles.extend(loop.call_soon(seen.append, number) for number in range(100))
    handles.extend(loop.call_later(-1, seen.append, number) for number in range(100))
    handles.extend(loop.call_soon_threadsafe(seen.append, number) for number in range(100))
    turn(loop, 3)
    assert seen == []


def test_a_callback_that_schedules_very_much(loop: Loop) -> None:
    seen: list[int] = []

    def flood() -> None:
        for number in range(10_000):
            loop.call_soon(seen.append, number)

    loop.call_soon(flood)
    turn(loop)
    assert seen == []
    turn(loop)
    assert seen == list(range(10_000))


def test_a_done_callback_that_changes_the_callbacks(loop: Loop) -> None:
    future = loop.create_future()
    seen: list[str] = []

    def first(done: Any) -> None:
        seen.append("first")
        done.remove_done_callback(second)
        done.add_done_callback(third)

    def second(_done: Any) -> None:
        seen.append("second")

    def third(_done: Any) -> None:
        seen.append("third")

    future.add_done_callback(first)
    future.add_done_callback(second)
    future.set_result(None)
    turn(loop, 3)
    assert seen == ["first", "second", "third"]


def test_an_exception_handler_that_calls_back(loop: Loop) -> None:
    seen: list[str] = []

    def handler(loop: Loop, context: dict[str, Any]) -> None:
        seen.append(type(context["exception"]).__name__)
        if len(seen) < 3:
            loop.call_soon(fail)
        else:
            loop.stop()

    def fail() -> None:
        raise LookupError

    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    loop.run_forever()
    assert seen == ["LookupError"] * 3


def test_the_loop_runs_again_inside_a_finalizer_after_a_run(kind: Kind) -> None:
    loop = kind.new_loop()
    other = kind.new_loop()
    seen: list[str] = []
    loop.call_soon(Last(lambda: seen.append(other_runs(other))))
    turn(loop)
    loop.close()
    other.close()
    assert seen in (["result"], ["Cannot run the event loop while another loop is running"])


def other_runs(other: Loop) -> str:
    coroutine = asyncio.sleep(0, "result")
    try:
        return str(other.run_until_complete(coroutine))
    except RuntimeError as error:
        coroutine.close()
        return str(error)


def test_a_coroutine_closed_under_its_task(loop: Loop) -> None:
    future = loop.create_future()

    async def wait() -> None:
        await future

    coroutine = wait()
    task = loop.create_task(coroutine)
    turn(loop)
    coroutine.close()
    future.set_result(None)
    turn(loop, 2)
    assert task.done()
    assert isinstance(task.exception(), RuntimeError)
    assert "cannot reuse already awaited coroutine" in str(task.exception())


def test_a_coroutine_stepped_by_hand_inside_its_task(loop: Loop) -> None:
    errors: list[str] = []

    async def main() -> None:
        task = asyncio.current_task()
        assert task
        coroutine = task.get_coro()
        assert coroutine
        try:
            coroutine.send(None)
        except ValueError as error:
            errors.append(str(error))

    loop.run_until_complete(main())
    assert errors == ["coroutine already executing"]


def test_deep_recursion_inside_a_step_is_an_error_not_a_crash(loop: Loop) -> None:
    async def down() -> None:
        await down()

    with pytest.raises(RecursionError):
        loop.run_until_complete(down())
    assert loop.run_until_complete(asyncio.sleep(0, "fine")) == "fine"


def test_a_long_chain_of_handles_is_freed_without_overflowing_the_stack(kind: Kind) -> None:
    program = kind.run_script(
        """
        loop = new_loop()
        handle = None
        for _ in range(200_000):
            handle = loop.call_later(3600, print, handle)
        del handle
        loop.close()
        """
    )
    assert (program.returncode, program.stderr) == (0, "")


@pytest.mark.saburo_only("up to 3.13 the stack overflows with asyncio's futures")
def test_a_long_chain_of_futures_is_freed_without_overflowing_the_stack(kind: Kind) -> None:
    if not kind.has_native_tasks:
        pytest.skip("these are asyncio's futures")
    program = kind.run_script(
        """
        import weakref
        loop = new_loop()
        future = first = loop.create_future()
        for _ in range(200_000):
            future, last = loop.create_future(), future
            future.set_result(last)
        del last
        seen = weakref.ref(first, lambda _: print("all freed"))
        del first, future
        loop.close()
        """
    )
    assert (program.returncode, program.stdout) == (0, "all freed\n"), program.stderr
