"""Context variables: who copies which context, and when."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from support.both_loops import Kind, run_until, turn

pytestmark = pytest.mark.every_task_kind

Loop = asyncio.AbstractEventLoop

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


@pytest.fixture(autouse=True)
def reset() -> Iterator[None]:
    token = variable.set("none")
    yield
    variable.reset(token)


def test_a_callback_runs_in_a_copy_of_the_schedulers_context(loop: Loop) -> None:
    seen: list[str] = []

    def callback(value: str) -> None:
        seen.append(variable.get())
        variable.set(value)

    variable.set("one")
    loop.call_soon(callback, "lost")
    variable.set("two")
    loop.call_soon(callback, "lost")
    loop.call_later(-1, callback, "lost")
    loop.call_soon_threadsafe(callback, "lost")
    variable.set("three")
    turn(loop)
    assert sorted(seen) == ["one", "two", "two", "two"]
    assert variable.get() == "three"


def test_a_given_context_is_used_and_changed(loop: Loop) -> None:
    seen: list[str] = []

    def callback(value: str) -> None:
        seen.append(variable.get())
        variable.set(value)

    context = contextvars.copy_context()
    loop.call_soon(callback, "first", context=context)
    loop.call_soon(callback, "second", context=context)
    loop.call_soon_threadsafe(callback, "third", context=context)
    turn(loop)
    loop.call_later(-1, callback, "fourth", context=context)
    turn(loop)
    loop.call_at(0, callback, "fifth", context=context)
    turn(loop)
    assert seen == ["none", "first", "second", "third", "fourth"]
    assert context[variable] == "fifth"
    assert variable.get() == "none"


def test_consecutive_callbacks_of_different_contexts_do_not_mix(loop: Loop) -> None:
    contexts = []
    for number in range(50):
        context = contextvars.copy_context()
        context.run(variable.set, str(number))
        contexts.append(context)
    seen: list[str] = []
    for context in contexts:
        for _ in range(2):
            loop.call_soon(lambda: seen.append(variable.get()), context=context)
    turn(loop)
    assert seen == [str(number // 2) for number in range(100)]


def test_a_task_has_a_copy_of_its_own(loop: Loop) -> None:
    async def child() -> str:
        before = variable.get()
        variable.set("child's")
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return f"{before} {variable.get()}"

    async def main() -> None:
        variable.set("parent's")
        task = asyncio.create_task(child())
        variable.set("changed")
        assert await task == "parent's child's"
        assert variable.get() == "changed"
        assert await child() == "changed child's"
        assert variable.get() == "child's"

    loop.run_until_complete(main())
    assert variable.get() == "none"


def test_every_step_of_a_task_runs_in_its_context(loop: Loop) -> None:
    async def walk(name: str) -> None:
        variable.set(name)
        for _ in range(5):
            await asyncio.sleep(0)
            assert variable.get() == name

    async def main() -> None:
        await asyncio.gather(*(walk(f"walker {number}") for number in range(20)))

    loop.run_until_complete(main())


def test_a_task_can_be_given_a_context_to_share(loop: Loop) -> None:
    context = contextvars.copy_context()

    async def set_to(value: str) -> None:
        variable.set(value)
        await asyncio.sleep(0)

    loop.run_until_complete(loop.create_task(set_to("one"), context=context))
    assert context[variable] == "one"

    async def main() -> None:
        await asyncio.create_task(set_to("two"), context=context)
        assert context[variable] == "two"

    loop.run_until_complete(main())


def test_a_context_survives_an_error_in_the_callback(
    loop: Loop, reports: list[dict[str, Any]]
) -> None:
    context = contextvars.copy_context()
    seen: list[str] = []

    def fail() -> None:
        variable.set("failed")
        raise ValueError

    def leave() -> None:
        raise SystemExit

    loop.call_soon(fail, context=context)
    loop.call_soon(leave, context=context)
    loop.call_soon(lambda: seen.append(variable.get()), context=context)
    with pytest.raises(SystemExit):
        loop.run_forever()
    turn(loop)
    assert seen == ["failed"]
    assert len(reports) == 1
    assert variable.get() == "none"


def test_a_context_that_is_entered_already_is_reported(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    context = contextvars.copy_context()
    loop.call_soon(print, "never printed", context=context)
    context.run(turn, loop)
    assert "cannot enter context" in caplog.text


def test_threads_get_the_context_with_to_thread(loop: Loop) -> None:
    def look() -> str:
        value = variable.get()
        variable.set("changed in the thread")
        return value

    async def main() -> None:
        variable.set("caller's")
        assert await asyncio.to_thread(look) == "caller's"
        assert variable.get() == "caller's"

    loop.run_until_complete(main())


def test_readers_and_signal_handlers_run_in_the_context_of_their_registration(
    loop: Loop,
) -> None:
    import os
    import signal

    seen: list[str] = []
    reader, writer = os.pipe()
    variable.set("registered")
    loop.add_reader(reader, lambda: (seen.append(variable.get()), loop.remove_reader(reader)))
    loop.add_signal_handler(signal.SIGUSR1, lambda: seen.append(variable.get()))
    variable.set("later")
    os.write(writer, b"x")
    signal.raise_signal(signal.SIGUSR1)
    run_until(loop, lambda: len(seen) == 2)
    assert seen == ["registered", "registered"]
    loop.remove_signal_handler(signal.SIGUSR1)
    os.close(reader)
    os.close(writer)


def test_the_exception_handler_runs_in_the_context_of_what_failed(kind: Kind, loop: Loop) -> None:
    """As in 3.12 and later; earlier versions of asyncio run it wherever the error was found."""
    seen: list[str] = []
    loop.set_exception_handler(lambda _loop, _context: seen.append(variable.get()))

    async def main() -> None:
        def fail() -> None:
            variable.set("failing")
            raise ValueError

        asyncio.get_running_loop().call_soon(fail)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    is_older = not kind.is_saburo and sys.version_info < (3, 12)
    assert seen == ["none" if is_older else "failing"]


def test_no_callback_sees_what_another_has_set(loop: Loop) -> None:
    """Contexts that nobody has any more may be used again, but only as good as new."""
    seen: list[str] = []

    def change(name: str) -> None:
        seen.append(variable.get())
        variable.set(name)

    async def work(name: str) -> None:
        change(name)
        await asyncio.sleep(0)
        seen.append(variable.get())

    async def main() -> None:
        for _ in range(3):
            for name in "abc":
                loop.call_soon(change, name)
                loop.call_later(0, change, name)
                future = loop.create_future()
                future.add_done_callback(lambda _done: change("done"))
                future.add_done_callback(change)  # type: ignore[arg-type]
                future.remove_done_callback(change)  # type: ignore[arg-type]
                future.set_result(None)
            await asyncio.gather(*(work(name) for name in "xyz"))
            assert set(seen) == {"none", "x", "y", "z"}
            seen.clear()
        variable.set("main")
        loop.call_soon(change, "a")
        await asyncio.gather(work("w"), asyncio.sleep(0))
        assert seen == ["main", "main", "w"]

    loop.run_until_complete(main())


def test_a_context_that_somebody_keeps_is_his_alone(loop: Loop) -> None:
    async def main() -> None:
        task: Any = asyncio.current_task()
        kept = [task.get_context()]
        handle = loop.call_soon(variable.set, "kept")
        kept.append(handle._context)  # type: ignore[attr-defined]
        del handle
        await asyncio.sleep(0)
        for _ in range(5):
            loop.call_soon(variable.set, "other")
            await asyncio.sleep(0)
        assert kept[1][variable] == "kept"
        assert variable not in kept[0] or kept[0][variable] != "other"

    if sys.version_info >= (3, 12):
        loop.run_until_complete(main())


def test_variables_do_not_outlive_those_who_use_them(loop: Loop) -> None:
    class Thing:
        pass

    holder: contextvars.ContextVar[Thing] = contextvars.ContextVar("holder")
    alive: list[weakref.ref[Thing]] = []

    async def use() -> None:
        thing = Thing()
        alive.append(weakref.ref(thing))
        holder.set(thing)
        loop.call_soon(int)
        await asyncio.sleep(0)

    async def main() -> None:
        for _ in range(3):
            await asyncio.create_task(use())
        loop.call_soon(int)
        await asyncio.sleep(0)
        gc.collect()
        assert [ref() for ref in alive] == [None] * 3

    loop.run_until_complete(main())


def test_a_context_that_went_with_garbage_is_whole_or_never_used_again(loop: Loop) -> None:
    """Collecting a cycle of tasks and handles, their contexts among it, empties what it finds."""

    class Cycle:
        task: asyncio.Task[Any]
        handle: asyncio.Handle

    async def give(value: Any) -> Any:
        return value

    seen: list[int] = []

    async def main() -> None:
        gc.disable()
        try:
            for _ in range(20):
                cycle = Cycle()
                cycle.task = loop.create_task(give(cycle))
                cycle.handle = loop.call_soon(int)
                await cycle.task
            del cycle
            gc.collect()
        finally:
            gc.enable()
        for _ in range(60):
            loop.call_soon(lambda: seen.append(len(contextvars.copy_context())))
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert len(seen) == 60
