"""What the collector was not shown while a loop ran, it sees once that is out of the loop.

A loop hides from the collector what it has in use: unfinished tasks, timers, queued calls. Each
test takes one of them out of the loop by another way while somebody still has it, and puts it into
a cycle. What stays hidden is never freed.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import gc
import os
import signal
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from support.both_loops import Kind, turn

pytestmark = pytest.mark.every_task_kind

Loop = asyncio.AbstractEventLoop


class Owner:
    """Has what has it: a task by an attribute, a handle by its callback."""

    it: Any

    def call(self, *_args: Any) -> None:
        pass

    def fail(self, *_args: Any) -> None:
        raise ValueError

    def interrupt(self, *_args: Any) -> None:
        raise KeyboardInterrupt


class Owners:
    """Makes cycles, and tells whether they were collected."""

    def __init__(self) -> None:
        self.refs: list[weakref.ref[Owner]] = []

    def new(self) -> Owner:
        owner = Owner()
        self.refs.append(weakref.ref(owner))
        return owner

    def of_task(self, task: Any) -> None:
        owner = self.new()
        owner.it, task.owner = task, owner

    def of_report(self, _loop: Loop, context: dict[str, Any]) -> None:
        """An exception handler that keeps what it is told."""
        for key in ("task", "future", "handle"):
            assert gc.is_tracked(context.get(key, self)), key
        owner = self.new()
        owner.it = context
        context["owner"] = owner

    def check(self, at_least: int = 1) -> None:
        for _ in range(3):
            gc.collect()
        assert len(self.refs) >= at_least
        assert [ref() for ref in self.refs if ref() is not None] == []


@pytest.fixture
def owners() -> Owners:
    return Owners()


async def give() -> int:
    return 1


async def fail() -> None:
    raise ValueError


async def fail_later() -> None:
    await asyncio.sleep(0)
    raise ValueError


async def exit_now() -> None:
    raise SystemExit


async def wait_for_ever() -> None:
    await asyncio.get_running_loop().create_future()


# --- Tasks. ---


async def task_that_returned(loop: Loop, owners: Owners) -> None:
    task = loop.create_task(give())
    owners.of_task(task)
    await task


async def task_that_failed(loop: Loop, owners: Owners) -> None:
    task = loop.create_task(fail_later())
    owners.of_task(task)
    await asyncio.wait([task])
    assert task.exception() is not None


async def failed_task_that_nobody_asked(loop: Loop, owners: Owners) -> None:
    owners.of_task(loop.create_task(fail_later()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def forgotten_task_that_failed(loop: Loop, owners: Owners) -> None:
    loop.create_task(fail())
    loop.create_task(fail(), name="named")
    loop.create_task(fail_later())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    assert len(owners.refs) == 3


async def future_that_failed(loop: Loop, owners: Owners) -> None:
    loop.create_future().set_exception(ValueError())
    gc.collect()
    assert len(owners.refs) == 1


async def task_that_was_cancelled(loop: Loop, owners: Owners) -> None:
    task = loop.create_task(wait_for_ever())
    owners.of_task(task)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


async def task_that_was_cancelled_at_once(loop: Loop, owners: Owners) -> None:
    task = loop.create_task(give())
    owners.of_task(task)
    task.cancel()
    await asyncio.wait([task])


async def task_that_ended_as_it_was_the_current_one(loop: Loop, owners: Owners) -> None:
    async def work() -> None:
        task = asyncio.current_task()
        owners.of_task(task)

    loop.create_task(work())
    await asyncio.sleep(0)


async def task_found_among_all(loop: Loop, owners: Owners) -> None:
    loop.create_task(asyncio.sleep(0), name="sought")
    await asyncio.sleep(0)
    for task in asyncio.all_tasks():
        if task.get_name() == "sought":
            owners.of_task(task)
            await task


async def task_given_to_its_callback(loop: Loop, owners: Owners) -> None:
    loop.create_task(give()).add_done_callback(owners.of_task)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def task_woken_by_a_call_outside_of_the_queue(loop: Loop, owners: Owners) -> None:
    """Its awaitable calls the done callbacks at once, as futures of other libraries do."""
    future: concurrent.futures.Future[int] = concurrent.futures.Future()

    class Direct:
        _asyncio_future_blocking = False

        def get_loop(self) -> Loop:
            return loop

        def add_done_callback(self, callback: Any, *, context: Any = None) -> None:
            future.add_done_callback(lambda _future: callback(self))

        def result(self) -> int:
            return future.result()

        def __await__(self) -> Any:
            self._asyncio_future_blocking = True
            yield self
            return self.result()

    async def work() -> Any:
        return await Direct()

    task = loop.create_task(work())
    owners.of_task(task)
    await asyncio.sleep(0)
    me: Any = asyncio.current_task()
    asyncio.tasks._leave_task(loop, me)
    future.set_result(3)
    asyncio.tasks._enter_task(loop, me)
    assert await task == 3


async def task_of_a_subclass(loop: Loop, owners: Owners) -> None:
    class Mine(type(asyncio.current_task())):  # type: ignore[misc]
        pass

    task = Mine(fail_later(), loop=loop)
    owners.of_task(task)
    del task
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def task_whose_start_fails(loop: Loop, owners: Owners) -> None:
    coroutine, unnameable = give(), cast(Any, Unnameable())
    with pytest.raises(TypeError):
        loop.create_task(coroutine, name=unnameable)
    coroutine.close()
    owners.new()


class Unnameable:
    def __str__(self) -> str:
        raise TypeError


# --- Calls and timers. ---


async def call_that_was_made(loop: Loop, owners: Owners) -> None:
    owner = owners.new()
    owner.it = loop.call_soon(owner.call)
    await asyncio.sleep(0)


async def call_that_failed(loop: Loop, owners: Owners) -> None:
    loop.call_soon(owners.new().fail)
    owner = owners.new()
    owner.it = loop.call_soon(owner.fail)
    await asyncio.sleep(0)


async def call_that_was_cancelled(loop: Loop, owners: Owners) -> None:
    handle = loop.call_soon(print, context=contextvars.copy_context())
    owner = owners.new()
    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
    held_by_context(owner, handle, variable)
    handle.cancel()
    await asyncio.sleep(0)


async def call_from_a_thread(loop: Loop, owners: Owners) -> None:
    owner = owners.new()

    def call() -> None:
        owner.it = loop.call_soon_threadsafe(owner.call)

    await loop.run_in_executor(None, call)
    await asyncio.sleep(0)


async def timer_that_fired(loop: Loop, owners: Owners) -> None:
    owner = owners.new()
    owner.it = loop.call_later(0, owner.call)
    done = loop.create_future()
    loop.call_later(0, done.set_result, None)
    await done


async def timer_that_failed(loop: Loop, owners: Owners) -> None:
    loop.call_later(0, owners.new().fail)
    owner = owners.new()
    owner.it = loop.call_later(0, owner.fail)
    done = loop.create_future()
    loop.call_later(0, done.set_result, None)
    await done


async def timer_that_was_cancelled(loop: Loop, owners: Owners) -> None:
    for delay in (0, 3600):
        handle = loop.call_later(delay, print, context=contextvars.copy_context())
        variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
        held_by_context(owners.new(), handle, variable)
        handle.cancel()
    await asyncio.sleep(0)


def held_by_context(owner: Owner, handle: Any, variable: contextvars.ContextVar[Any]) -> None:
    """A cancelled handle has let go of all but its context."""
    owner.it = handle
    handle._context.run(variable.set, owner)


# --- What is left as the run ends. ---


async def task_left_waiting(loop: Loop, owners: Owners) -> None:
    task = loop.create_task(wait_for_ever())
    owners.of_task(task)
    await asyncio.sleep(0)


async def task_left_queued(loop: Loop, owners: Owners) -> None:
    owners.of_task(loop.create_task(wait_for_ever()))


async def call_left_queued(loop: Loop, owners: Owners) -> None:
    for call in (loop.call_soon, loop.call_soon_threadsafe):
        owner = owners.new()
        owner.it = call(owner.call)
    loop.stop()


async def timer_left_queued(loop: Loop, owners: Owners) -> None:
    for delay in (0, 0.001, 3600):
        owner = owners.new()
        owner.it = loop.call_later(delay, owner.call)


async def call_that_interrupts(loop: Loop, owners: Owners) -> None:
    owner = owners.new()
    owner.it = loop.call_soon(owner.interrupt)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def timer_that_interrupts(loop: Loop, owners: Owners) -> None:
    owner = owners.new()
    owner.it = loop.call_later(0, owner.interrupt)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def task_that_exits(loop: Loop, owners: Owners) -> None:
    owners.of_task(loop.create_task(exit_now()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)


WAYS: list[Callable[[Loop, Owners], Awaitable[None]]] = [
    value
    for name, value in list(globals().items())
    if name.startswith(("task_", "call_", "timer_", "future_", "failed_", "forgotten_"))
]


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_cycle_through_what_has_left_the_loop_is_collected(
    kind: Kind, way: Any, debug: bool, owners: Owners
) -> None:
    go(way, kind.new_loop(), debug, owners)
    owners.check()


def go(way: Any, loop: Loop, debug: bool, owners: Owners) -> None:
    loop.set_debug(debug)
    loop.set_exception_handler(owners.of_report)
    task = loop.create_task(way(loop, owners))
    for step in (lambda: loop.run_until_complete(task), task.cancel, lambda: turn(loop, 3)):
        try:
            step()
        except (KeyboardInterrupt, SystemExit, RuntimeError):
            turn(loop, 2)  # what was queued behind it is still made
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert task.cancelled() or task.exception() is None


def test_the_warning_of_a_slow_step_has_words_only(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    """Records are kept by logs, and would keep the task or the handle."""
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    loop.create_task(give())
    loop.call_soon(Owner().call)
    turn(loop, 2)
    records = [record for record in caplog.records if "Executing" in record.getMessage()]
    assert len(records) >= 2
    for record in records:
        assert record.msg == "Executing %s took %.3f seconds"
        assert [type(argument) for argument in record.args or ()] == [str, float]


@pytest.mark.saburo_only
def test_a_step_that_fails_as_such_shows_its_task_to_the_collector(
    loop: Loop, owners: Owners
) -> None:
    """Somebody has finished the task past its coroutine: the exception handler hears of it."""
    loop.set_exception_handler(owners.of_report)

    async def main() -> None:
        future = loop.create_future()

        async def wait() -> None:
            await future

        task = loop.create_task(wait())
        await asyncio.sleep(0)
        type(future).set_result(task, None)
        del task
        future.set_result(None)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    owners.check()


def test_what_the_end_of_a_run_makes_is_collected(kind: Kind, owners: Owners) -> None:
    """The loop is the last to have the variables of the run: a finalizer of theirs queues calls."""
    end_a_run(kind.new_loop(), owners)
    owners.check(2)


def end_a_run(loop: Loop, owners: Owners) -> None:
    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
    outer = contextvars.copy_context()

    class Last:
        def __del__(self) -> None:
            for schedule in (loop.call_soon, lambda call: loop.call_later(3600, call)):
                owner = owners.new()
                owner.it = schedule(owner.call)

    async def main() -> None:
        while outer.get(variable) is not None:
            await loop.run_in_executor(None, os.kill, os.getpid(), signal.SIGUSR1)
        await loop.shutdown_default_executor()

    def run() -> None:
        # A handler runs between two calls of the loop, in the context of the run itself.
        before = signal.signal(signal.SIGUSR1, lambda *_args: variable.set(None))
        try:
            variable.set(Last())
            loop.run_until_complete(main())
        finally:
            signal.signal(signal.SIGUSR1, before)

    outer.run(run)
    loop.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_that_closes_the_loop_collects_what_was_in_it(kind: Kind) -> None:
    script = """
    import gc, os, weakref
    class Owner:
        def call(self): pass
    async def main():
        loop = asyncio.get_running_loop()
        owners = [Owner(), Owner(), Owner()]
        owners[0].it = loop.call_soon(owners[0].call)
        owners[1].it = loop.call_later(3600, owners[1].call)
        owners[2].it = loop.create_task(asyncio.sleep(3600))
        refs = [weakref.ref(owner) for owner in owners]
        child = os.fork()
        if not child:
            code = 1
            try:
                tracked = [gc.is_tracked(owner.it) for owner in owners]
                loop._close() if hasattr(loop, "_close") else loop._ready.clear()
                code = [gc.is_tracked(owner.it) for owner in owners].count(False)
            finally:
                os._exit(code)
        owners[2].it.cancel()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    loop = new_loop()
    loop.run_until_complete(main())
    loop.close()
    """
    done = kind.run_script(script, "-W", "ignore::DeprecationWarning")
    assert (done.stdout, done.stderr) == ("0\n", "")
