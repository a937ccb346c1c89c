"""The ready queue: what runs in which turn, and what stops it."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import pytest
from support.both_loops import turn

pytestmark = pytest.mark.every_task_kind

Loop = asyncio.AbstractEventLoop


def test_callbacks_run_in_the_order_of_call_soon(loop: Loop) -> None:
    seen: list[int] = []
    for number in range(1000):
        loop.call_soon(seen.append, number)
    turn(loop)
    assert seen == list(range(1000))


def test_nothing_runs_before_the_loop_does(loop: Loop) -> None:
    seen: list[int] = []
    loop.call_soon(seen.append, 1)
    assert seen == []


def test_what_a_callback_schedules_runs_in_the_next_turn(loop: Loop) -> None:
    seen: list[str] = []

    def first() -> None:
        loop.call_soon(seen.append, "third")
        seen.append("first")

    loop.call_soon(first)
    loop.call_soon(seen.append, "second")
    turn(loop)
    assert seen == ["first", "second"]
    turn(loop)
    assert seen == ["first", "second", "third"]


def test_arguments_arrive_as_given(loop: Loop) -> None:
    seen: list[Any] = []
    given: tuple[Any, ...] = (1, [], {"a": 1}, None, ())
    loop.call_soon(lambda *args: seen.extend(args), *given)
    loop.call_soon(lambda *args: seen.append(args))
    turn(loop)
    assert seen == [*given, ()]
    assert seen[1] is given[1]


def test_stop_lets_the_rest_of_the_batch_run(loop: Loop) -> None:
    seen: list[str] = []

    def stop() -> None:
        loop.stop()
        loop.call_soon(seen.append, "next run")

    loop.call_soon(stop)
    loop.call_soon(seen.append, "same batch")
    loop.run_forever()
    assert seen == ["same batch"]
    turn(loop)
    assert seen == ["same batch", "next run"]


def test_stop_before_the_run_gives_one_turn(loop: Loop) -> None:
    seen: list[int] = []

    def again() -> None:
        seen.append(len(seen))
        loop.call_soon(again)

    loop.call_soon(again)
    loop.stop()
    loop.run_forever()
    assert seen == [0]


def test_stop_twice_stops_once(loop: Loop) -> None:
    seen: list[int] = []
    loop.call_soon(loop.stop)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.call_soon(seen.append, 1)
    loop.call_soon(loop.call_soon, loop.stop)
    loop.run_forever()
    assert seen == [1]


def test_a_loop_runs_again_after_a_stop(loop: Loop) -> None:
    for number in range(3):
        assert loop.run_until_complete(asyncio.sleep(0, number)) == number


def test_a_failing_callback_is_reported_and_the_others_run(
    loop: Loop, reports: list[dict[str, Any]]
) -> None:
    seen: list[int] = []
    error = ValueError("no luck")

    def fail() -> None:
        raise error

    handle = loop.call_soon(fail)
    loop.call_soon(seen.append, 1)
    turn(loop)
    assert seen == [1]
    (context,) = reports
    assert context["exception"] is error
    assert context["handle"] is handle
    assert context["message"].startswith("Exception in callback ")
    assert "test_a_failing_callback_is_reported" in context["message"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exit_leaves_the_loop_and_keeps_the_queue(
    loop: Loop, reports: list[dict[str, Any]], error: type[BaseException]
) -> None:
    seen: list[int] = []

    def leave() -> None:
        raise error("now")

    loop.call_soon(leave)
    loop.call_soon(seen.append, 1)
    loop.call_soon(loop.stop)
    with pytest.raises(error, match="now"):
        loop.run_forever()
    assert not loop.is_running()
    assert reports == []
    # asyncio drops nothing, either: what was queued behind the exit runs in the next run.
    loop.run_forever()
    assert seen == [1]


def test_other_base_exceptions_are_reported(loop: Loop, reports: list[dict[str, Any]]) -> None:
    class Odd(BaseException):
        pass

    def fail() -> None:
        raise Odd

    loop.call_soon(fail)
    turn(loop)
    assert isinstance(reports[0]["exception"], Odd)


def test_a_cancelled_error_in_a_callback_is_reported(
    loop: Loop, reports: list[dict[str, Any]]
) -> None:
    def fail() -> None:
        raise asyncio.CancelledError

    loop.call_soon(fail)
    turn(loop)
    assert isinstance(reports[0]["exception"], asyncio.CancelledError)


def test_run_until_complete_returns_or_raises(loop: Loop) -> None:
    async def fail() -> None:
        raise LookupError("not there")

    assert loop.run_until_complete(asyncio.sleep(0, "slept")) == "slept"
    with pytest.raises(LookupError, match="not there"):
        loop.run_until_complete(fail())
    future = loop.create_future()
    loop.call_soon(future.set_result, 3)
    assert loop.run_until_complete(future) == 3
    assert loop.run_until_complete(future) == 3  # also when it is done already


def test_run_until_complete_takes_any_awaitable(loop: Loop) -> None:
    class Awaitable:
        def __await__(self) -> Any:
            yield from asyncio.sleep(0).__await__()
            return "awaited"

    assert loop.run_until_complete(Awaitable()) == "awaited"


def test_a_stop_before_completion_is_an_error(loop: Loop) -> None:
    future = loop.create_future()
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match=r"^Event loop stopped before Future completed\.$"):
        loop.run_until_complete(future)
    future.set_result(1)
    assert loop.run_until_complete(future) == 1


def test_an_exit_out_of_run_until_complete_counts_as_seen(
    loop: Loop, reports: list[dict[str, Any]]
) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        loop.run_until_complete(leave())
    turn(loop)
    assert reports == []


def test_the_running_loop_is_known_inside_and_only_there(loop: Loop) -> None:
    seen: list[Any] = []

    def look() -> None:
        seen.append(asyncio.get_running_loop())
        seen.append(loop.is_running())

    assert not loop.is_running()
    loop.call_soon(look)
    turn(loop)
    assert seen == [loop, True]
    assert not loop.is_running()
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()


def test_closing_drops_what_is_queued(loop: Loop) -> None:
    class Argument:
        pass

    argument = Argument()
    gone = weakref.ref(argument)
    seen: list[Any] = []
    loop.call_soon(seen.append, argument)
    loop.call_later(0, seen.append, argument)
    loop.call_soon_threadsafe(seen.append, argument)
    del argument
    loop.close()
    assert loop.is_closed()
    assert seen == []
    assert gone() is None
    loop.close()  # closing twice is fine


def test_a_loop_can_be_used_as_an_object(loop: Loop) -> None:
    loop.mark = "mine"  # type: ignore[attr-defined]
    assert vars(loop)["mark"] == "mine"
    assert weakref.ref(loop)() is loop
    assert hash(loop) == hash(loop)
    assert loop == loop
    assert isinstance(loop, asyncio.AbstractEventLoop)
    assert "running=False closed=False debug=False" in repr(loop)


def test_a_patched_exception_handler_is_called(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(loop, "call_exception_handler", seen.append)
    loop.call_soon(lambda: 1 / 0)
    turn(loop)
    assert isinstance(seen[0]["exception"], ZeroDivisionError)


def test_other_methods_can_be_patched(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("call_soon", "call_later", "call_at", "time", "create_task", "stop", "close"):
        with monkeypatch.context() as patch:
            patch.setattr(loop, name, lambda: "patched")
            assert getattr(loop, name)() == "patched"
    assert loop.time() > 0


def test_two_loops_do_not_share_a_queue(new_loop: Any) -> None:
    one, two = new_loop(), new_loop()
    seen: list[str] = []
    one.call_soon(seen.append, "one")
    two.call_soon(seen.append, "two")
    turn(two)
    assert seen == ["two"]
    turn(one)
    assert seen == ["two", "one"]
    one.close()
    two.close()


def test_sleep_zero_lets_every_other_task_run_once(loop: Loop) -> None:
    seen: list[str] = []

    async def walk(name: str) -> None:
        for step in range(3):
            seen.append(f"{name}{step}")
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(walk("a"), walk("b"), walk("c"))

    loop.run_until_complete(main())
    assert seen == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


def test_a_wakeup_takes_as_many_turns_as_in_asyncio(loop: Loop) -> None:
    """The turn after set_result is the one that steps the waiting task."""
    seen: list[str] = []
    future = loop.create_future()

    async def wait() -> None:
        await future
        seen.append("woken")

    task = loop.create_task(wait())
    turn(loop)
    future.set_result(None)
    turn(loop)
    assert seen == ["woken"]
    assert task.done()
    turn(loop)


def test_the_order_of_completion_is_that_of_asyncio(loop: Loop) -> None:
    seen: list[str] = []

    async def child(name: str, steps: int) -> str:
        for _ in range(steps):
            await asyncio.sleep(0)
        seen.append(name)
        return name

    async def main() -> None:
        ticks = asyncio.create_task(tick())
        await asyncio.gather(child("b", 2), child("a", 1), child("c", 3))
        seen.append("gathered")
        await asyncio.wait_for(child("w", 1), 10)
        seen.append("waited")
        await asyncio.shield(child("s", 1))
        seen.append("shielded")
        await ticks

    async def tick() -> None:
        for number in range(12):
            seen.append(str(number))
            await asyncio.sleep(0)

    loop.run_until_complete(main())

    reference = asyncio.new_event_loop()
    ours, seen = seen, []
    reference.run_until_complete(main())
    reference.close()
    assert ours == seen
