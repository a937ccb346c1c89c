"""Garbage collection is correctness: a cycle through any class and any queue is found and freed."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import os
import socket
import threading
import traceback
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from support.both_loops import PATIENCE, Kind, turn
from support.garbage import dead

pytestmark = pytest.mark.every_task_kind

Loop = asyncio.AbstractEventLoop


class Anchor:
    """Something that holds its loop, and that its loop is going to hold."""

    loop: Any
    other: Any

    def method(self, *_args: Any) -> None:
        pass


async def wait(_anchor: Anchor, future: Any) -> None:
    await future


async def wait_in_finally(anchor: Anchor, future: Any) -> None:
    try:
        await future
    finally:
        anchor.method()


def fired(loop: Loop, put: Callable[[], Any]) -> None:
    put()
    turn(loop)


def task_factory(anchor: Anchor) -> Any:
    def factory(loop: Loop, coroutine: Any, **options: Any) -> Any:
        anchor.method()
        return asyncio.Task(coroutine, loop=loop, **options)

    return factory


def context_with(anchor: Anchor) -> contextvars.Context:
    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
    context = contextvars.copy_context()
    context.run(variable.set, anchor)
    return context


def done_future(loop: Loop, result: Any) -> Any:
    future = loop.create_future()
    future.set_result(result)
    return future


def failed_future(loop: Loop, anchor: Anchor) -> Any:
    future = loop.create_future()
    error = ValueError()
    error.anchor = anchor  # type: ignore[attr-defined]
    future.set_exception(error)
    future.exception()
    return future


def add_callbacks(future: Any, anchor: Anchor, count: int) -> Any:
    for _ in range(count):
        future.add_done_callback(anchor.method)
    return future


def finished_task(loop: Loop, anchor: Anchor) -> Any:
    async def give() -> Anchor:
        return anchor

    task = loop.create_task(give())
    loop.run_until_complete(task)
    return task


def cancelled_handle(handle: Any) -> Any:
    handle.cancel()
    return handle


def waiting_task(loop: Loop, anchor: Anchor) -> Any:
    task = loop.create_task(wait(anchor, loop.create_future()))
    turn(loop)
    return task


Put = Callable[[Loop, Anchor], Any]

# Each puts the anchor where the loop holds it; what it returns is held by the anchor.
PLACES: dict[str, Put] = {
    "ready queue, callback": lambda loop, anchor: loop.call_soon(anchor.method),
    "ready queue, argument": lambda loop, anchor: loop.call_soon(print, anchor),
    "ready queue, many arguments": lambda loop, anchor: loop.call_soon(print, 1, 2, 3, 4, anchor),
    "ready queue, context": lambda loop, anchor: loop.call_soon(
        print, context=context_with(anchor)
    ),
    "ready queue, nobody holds the handle": lambda loop, anchor: bool(
        loop.call_soon(anchor.method)
    ),
    "inbox": lambda loop, anchor: loop.call_soon_threadsafe(anchor.method),
    "inbox, argument": lambda loop, anchor: bool(loop.call_soon_threadsafe(print, anchor)),
    "timers": lambda loop, anchor: loop.call_later(3600, anchor.method),
    "timers, argument": lambda loop, anchor: bool(loop.call_at(1e12, print, anchor)),
    "timers, context": lambda loop, anchor: loop.call_later(
        3600, print, context=context_with(anchor)
    ),
    "timers, cancelled": lambda loop, anchor: cancelled_handle(
        loop.call_later(3600, anchor.method)
    ),
    "readers": lambda loop, anchor: loop.add_reader(anchor.other[0], anchor.method),
    "writers": lambda loop, anchor: loop.add_writer(anchor.other[0], print, anchor),
    "reader and writer": lambda loop, anchor: (
        loop.add_reader(anchor.other[0], anchor.method),
        loop.add_writer(anchor.other[0], anchor.method),
    ),
    "exception handler": lambda loop, anchor: loop.set_exception_handler(anchor.method),
    "task factory": lambda loop, anchor: loop.set_task_factory(task_factory(anchor)),
    "attribute": lambda loop, anchor: setattr(loop, "anchor", anchor),
    "future, loop": lambda loop, anchor: loop.create_future(),
    "future, result": lambda loop, anchor: done_future(loop, anchor),
    "future, exception": failed_future,
    "future, one callback": lambda loop, anchor: add_callbacks(loop.create_future(), anchor, 1),
    "future, many callbacks": lambda loop, anchor: add_callbacks(loop.create_future(), anchor, 5),
    "future, callbacks queued": lambda loop, anchor: add_callbacks(
        done_future(loop, None), anchor, 3
    ),
    "future, attribute of a subclass": lambda loop, anchor: subclassed(loop, anchor),
    "future, iterator": lambda loop, anchor: begun(loop.create_future().__await__()),
    "task, not started": lambda loop, anchor: loop.create_task(wait(anchor, None)),
    "task, nobody holds it": lambda loop, anchor: bool(waiting_task(loop, anchor)),
    "task, waiting": waiting_task,
    "task, waiting for a sleep": lambda loop, anchor: sleeping_task(loop, anchor),
    "task, waiting for a task": lambda loop, anchor: loop.create_task(
        wait(anchor, waiting_task(loop, anchor))
    ),
    "task, waiting for the descriptor": lambda loop, anchor: receiving_task(loop, anchor),
    "task, woken but not stepped": lambda loop, anchor: woken_task(loop, anchor),
    "task, cancelled but not stepped": lambda loop, anchor: cancelled_handle(
        waiting_task(loop, anchor)
    ),
    "task, context": lambda loop, anchor: loop.create_task(
        wait(Anchor(), loop.create_future()), context=context_with(anchor)
    ),
    "task, finished": finished_task,
    "task, callback": lambda loop, anchor: add_callbacks(waiting_task(loop, anchor), anchor, 2),
    "task, attribute": lambda loop, anchor: setattr(waiting_task(loop, anchor), "anchor", anchor),
    "gather": lambda loop, anchor: asyncio.gather(waiting_task(loop, anchor)),
    "async generator": lambda loop, anchor: suspended_generator(loop, anchor),
    "executor": lambda loop, anchor: loop.run_in_executor(Unused(), anchor.method),  # type: ignore[arg-type]
}


def subclassed(loop: Loop, anchor: Anchor) -> Any:
    base = type(loop.create_future())

    class Mine(base):  # type: ignore[misc, valid-type]
        pass

    future = Mine(loop=loop)
    future.anchor = anchor
    loop.future = future  # type: ignore[attr-defined]
    return future


def begun(iterator: Any) -> Any:
    iterator.send(None)
    return iterator


def sleeping_task(loop: Loop, anchor: Anchor) -> Any:
    async def sleep() -> None:
        await asyncio.sleep(3600)
        anchor.method()

    task = loop.create_task(sleep())
    turn(loop)
    return task


def receiving_task(loop: Loop, anchor: Anchor) -> Any:
    async def receive() -> None:
        await loop.sock_recv(anchor.other[0], 1)
        anchor.method()

    task = loop.create_task(receive())
    turn(loop)
    return task


def woken_task(loop: Loop, anchor: Anchor) -> Any:
    future = loop.create_future()
    task = loop.create_task(wait(anchor, future))
    turn(loop)
    future.set_result(None)
    return task


def suspended_generator(loop: Loop, anchor: Anchor) -> Any:
    async def generate() -> Any:
        yield anchor

    generator = generate()
    loop.run_until_complete(anext(generator))
    return generator


class Unused:
    """An executor that never does anything."""

    def submit(self, *_args: Any) -> Any:
        import concurrent.futures

        return concurrent.futures.Future()


@pytest.fixture
def sockets() -> Any:
    pair = socket.socketpair()
    for each in pair:
        each.setblocking(False)
    yield pair
    for each in pair:
        each.close()


@pytest.mark.parametrize("place", PLACES)
def test_a_loop_in_a_cycle_is_collected_with_all_it_holds(
    kind: Kind, place: str, sockets: Any
) -> None:
    """Not even closed: the collector has to see through every queue by itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the unclosed loop says so, rightly
        warnings.simplefilter("ignore", RuntimeWarning)  # a coroutine never started, too
        assert dead(*cycle(kind, place, sockets)), gc.get_referrers
        gc.collect()


@pytest.mark.parametrize("place", PLACES)
def test_a_closed_loop_in_a_cycle_is_collected(kind: Kind, place: str, sockets: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert dead(*cycle(kind, place, sockets, close=True))
        gc.collect()


def cycle(kind: Kind, place: str, sockets: Any, *, close: bool = False) -> list[Any]:
    loop = kind.new_loop()
    loop.set_exception_handler(lambda _loop, _context: None)  # pending tasks are destroyed here
    anchor = Anchor()
    anchor.loop = loop
    anchor.other = sockets
    held = PLACES[place](loop, anchor)
    anchor.other = [sockets, held]
    if close:
        loop.close()
    return [weakref.ref(loop), weakref.ref(anchor)]


@pytest.mark.saburo_only
def test_a_loop_with_a_running_child_is_collected(kind: Kind) -> None:
    """The child is killed, and its transport says that nobody has closed it. asyncio loses the
    pidfd, and up to 3.13 closes pipes by means of the loop that is gone."""

    class Protocol(asyncio.SubprocessProtocol):
        transport: Any
        loop: Any

    def cycle() -> tuple[int, list[Any]]:
        loop = kind.new_loop()
        protocol = Protocol()
        transport, _ = loop.run_until_complete(
            loop.subprocess_exec(lambda: protocol, "sleep", "3600")
        )
        protocol.transport, protocol.loop = transport, loop
        refs: list[Any] = [weakref.ref(loop), weakref.ref(transport), weakref.ref(protocol)]
        return transport.get_pid(), refs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        pid, refs = cycle()
        assert dead(*refs)
    with contextlib.suppress(ChildProcessError):  # Popen has waited for it
        assert os.waitpid(pid, 0) == (pid, 9)


# --- Cycles while the loop lives on. ---


def test_a_future_in_a_cycle_with_its_callback(loop: Loop) -> None:
    anchor = Anchor()
    anchor.other = loop.create_future()
    anchor.other.add_done_callback(anchor.method)
    refs = [weakref.ref(anchor), weakref.ref(anchor.other)]
    del anchor
    assert dead(*refs)


def test_a_future_that_is_its_own_result(loop: Loop) -> None:
    future = loop.create_future()
    future.set_result([future])
    ref = weakref.ref(future)
    del future
    assert dead(ref)


def test_a_future_in_a_cycle_with_its_exception(loop: Loop) -> None:
    def make() -> Any:
        future = loop.create_future()
        error = ValueError()
        error.future = future  # type: ignore[attr-defined]
        future.set_exception(error)
        try:
            future.result()
        except ValueError:
            pass  # the traceback now holds this frame, which holds the future
        return weakref.ref(future)

    assert dead(make())


def test_a_handle_in_a_cycle_with_its_callback(loop: Loop) -> None:
    anchors = [Anchor() for _ in range(4)]
    anchors[0].other = loop.call_soon(anchors[0].method)
    anchors[1].other = loop.call_later(-1, anchors[1].method)
    anchors[2].other = loop.call_later(3600, anchors[2].method)
    anchors[2].other.cancel()
    anchors[3].other = loop.call_soon_threadsafe(anchors[3].method)
    refs = [weakref.ref(anchor) for anchor in anchors]
    refs += [weakref.ref(anchor.other) for anchor in anchors]
    del anchors
    turn(loop, 3)
    assert dead(*refs)


def test_a_finished_task_in_a_cycle(loop: Loop) -> None:
    async def work(anchor: Anchor) -> Anchor:
        anchor.other = asyncio.current_task()
        await asyncio.sleep(0)
        return anchor

    anchor = Anchor()
    loop.run_until_complete(work(anchor))
    refs = [weakref.ref(anchor), weakref.ref(anchor.other)]
    del anchor
    assert dead(*refs)


def test_a_failed_task_in_a_cycle_with_its_traceback(loop: Loop) -> None:
    async def fail(anchor: Anchor) -> None:
        anchor.other = asyncio.current_task()
        anchor.loop = anchor
        raise LookupError

    anchor = Anchor()
    with pytest.raises(LookupError):
        loop.run_until_complete(fail(anchor))
    refs = [weakref.ref(anchor), weakref.ref(anchor.other)]
    del anchor
    assert dead(*refs)


def test_a_cancelled_task_in_a_cycle(loop: Loop) -> None:
    anchor = Anchor()
    anchor.other = loop.create_task(wait(anchor, loop.create_future()))
    turn(loop)
    anchor.other.cancel()
    turn(loop, 2)
    assert anchor.other.cancelled()
    refs = [weakref.ref(anchor), weakref.ref(anchor.other)]
    del anchor
    assert dead(*refs)


def test_removed_readers_and_writers_let_go(loop: Loop, sockets: Any) -> None:
    anchor = Anchor()
    anchor.other = (loop, sockets)
    loop.add_reader(sockets[0], anchor.method)
    loop.add_writer(sockets[0], anchor.method)
    loop.remove_reader(sockets[0])
    loop.remove_writer(sockets[0])
    ref = weakref.ref(anchor)
    del anchor
    assert dead(ref)


def test_the_results_of_threads_are_not_kept(loop: Loop) -> None:
    loop.run_until_complete(loop.run_in_executor(None, int))  # the pool is there
    anchor = loop.run_until_complete(loop.run_in_executor(None, Anchor))
    ref = weakref.ref(anchor)
    del anchor
    # A worker of ThreadPoolExecutor may keep its last item until it gets the next one.
    loop.run_until_complete(loop.run_in_executor(None, int))
    loop.run_until_complete(loop.shutdown_default_executor())
    assert dead(ref)


def test_results_are_not_kept_by_whoever_stepped_last(loop: Loop) -> None:
    """A freed slot, a free list or a 'last result' must not hold what was in it."""

    async def make() -> Anchor:
        await asyncio.sleep(0)
        return Anchor()

    for _ in range(3):
        ref = weakref.ref(loop.run_until_complete(make()))
        assert dead(ref)
        future = loop.create_future()
        future.set_result(Anchor())
        ref = weakref.ref(future.result())
        del future
        assert ref() is None


# --- What the collector is shown. ---


def referents(thing: Any) -> list[Any]:
    """All that `thing` holds, through the containers it keeps it in."""
    found: list[Any] = []
    for each in gc.get_referents(thing):
        found.append(each)
        if isinstance(each, (tuple, list, dict)):
            found.extend(gc.get_referents(each))
            for inner in gc.get_referents(each):
                if isinstance(inner, tuple):
                    found.extend(inner)
    return found


def shown(thing: Any, what: Any) -> bool:
    return any(each is what for each in referents(thing))


def test_a_handle_shows_what_it_holds(loop: Loop) -> None:
    def callback(*_args: Any) -> None:
        pass

    argument, context = Anchor(), contextvars.copy_context()
    for handle in (
        loop.call_soon(callback, argument, context=context),
        loop.call_later(3600, callback, argument, context=context),
        loop.call_soon_threadsafe(callback, argument, context=context),
    ):
        assert gc.is_tracked(handle)
        for what in (callback, argument, context):
            assert shown(handle, what)
        handle.cancel()
        for what in (callback, argument):
            assert not shown(handle, what)


def test_a_future_shows_what_it_holds(loop: Loop) -> None:
    result, callbacks = Anchor(), [Anchor() for _ in range(3)]
    future = loop.create_future()
    assert gc.is_tracked(future)
    assert shown(future, loop)
    for callback in callbacks:
        future.add_done_callback(callback.method)
    future.set_result(result)
    assert shown(future, result)
    error = ValueError()
    failed = loop.create_future()
    failed.set_exception(error)
    assert shown(failed, error)
    assert failed.exception()


def test_a_task_shows_what_it_holds(loop: Loop) -> None:
    anchor, context = Anchor(), contextvars.copy_context()
    coroutine = wait(anchor, loop.create_future())
    task = loop.create_task(coroutine, context=context)
    assert gc.is_tracked(task)
    for what in (coroutine, context, loop):
        assert shown(task, what)
    turn(loop)
    assert shown(task, coroutine)
    task.cancel()
    turn(loop, 2)


def test_collecting_at_any_moment_is_harmless(loop: Loop) -> None:
    """With a collection at nearly every allocation, whatever half-made object there is."""

    async def work(number: int) -> int:
        future = loop.create_future()
        loop.call_later(0, future.set_result, number)
        task = asyncio.create_task(asyncio.sleep(0, number))
        await asyncio.wait_for(asyncio.shield(task), 10)
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        return await future  # type: ignore[no-any-return]

    async def main() -> list[int]:
        return await asyncio.gather(*(work(number) for number in range(20)))

    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        assert loop.run_until_complete(main()) == list(range(20))
    finally:
        gc.set_threshold(*before)


def test_descriptors_of_a_forgotten_loop_are_closed(kind: Kind) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(5):
            loop = kind.new_loop()
            turn(loop)
            loop.call_later(3600, loop.stop)
            del loop
            gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.saburo_only
def test_jobs_that_no_thread_will_do_are_collected(loop: Loop) -> None:
    import saburo

    class Unmanned(saburo._saburo.Pool):
        def _start_thread(self, _number: int) -> None:
            pass

    anchor: Any = Anchor()
    alive = weakref.ref(anchor)
    anchor.pool = Unmanned(1)
    for arguments in ((), (anchor,), (1, anchor), (1, 2, anchor)):
        job = context_with(anchor).run(anchor.pool._submit, loop, anchor.method, *arguments)
        job.anchor = anchor
    del anchor, job, arguments
    gc.collect()
    assert alive() is None


# What a running loop is asked to do, and a cycle comes of it. The engine hides from the collector
# what waits in a running loop, so each of these has to be seen once the run is over.
async def later(loop: Loop, anchor: Any) -> None:
    anchor.handle = loop.call_later(3600, anchor.method)


async def later_and_run(loop: Loop, anchor: Any) -> None:
    anchor.handle = loop.call_later(0, anchor.method)
    while anchor.handle._scheduled:
        await asyncio.sleep(0)


async def later_and_cancelled(loop: Loop, anchor: Any) -> None:
    anchor.handle = context_with(anchor).run(loop.call_later, 3600, anchor.method)
    anchor.handle.cancel()


async def soon(loop: Loop, anchor: Any) -> None:
    anchor.handle = loop.call_soon(anchor.method)


async def soon_and_run(loop: Loop, anchor: Any) -> None:
    anchor.handle = loop.call_soon(anchor.method)
    await asyncio.sleep(0)


async def soon_and_failed(loop: Loop, anchor: Any) -> None:
    def fail() -> None:
        raise LookupError(anchor)

    loop.set_exception_handler(lambda _loop, context: setattr(anchor, "context", context))
    loop.call_soon(fail)
    await asyncio.sleep(0)


async def waiting(loop: Loop, anchor: Any) -> None:
    async def wait() -> None:
        anchor.task = asyncio.current_task()
        await loop.create_future()

    asyncio.create_task(wait())  # the loop keeps it
    await asyncio.sleep(0)
    anchor.task._log_destroy_pending = False


async def done(loop: Loop, anchor: Any) -> None:
    async def give() -> Any:
        return anchor

    anchor.task = asyncio.create_task(give())
    await anchor.task


async def found_by_its_callback(loop: Loop, anchor: Any) -> None:
    async def give() -> Any:
        return anchor

    asyncio.create_task(give()).add_done_callback(lambda task: setattr(anchor, "task", task))
    for _ in range(3):
        await asyncio.sleep(0)


async def failed(loop: Loop, anchor: Any) -> None:
    async def fail() -> None:
        raise LookupError(anchor)

    anchor.task = asyncio.create_task(fail())
    with contextlib.suppress(LookupError):
        await anchor.task


async def called_back(loop: Loop, anchor: Any) -> None:
    anchor.future = loop.create_future()
    anchor.future.add_done_callback(anchor.method)
    anchor.future.set_result(anchor)


RUNNING = [
    later,
    later_and_run,
    later_and_cancelled,
    soon,
    soon_and_run,
    soon_and_failed,
    waiting,
    done,
    found_by_its_callback,
    failed,
    called_back,
]


@pytest.mark.parametrize("close", [True, False], ids=["closed", "forgotten"])
@pytest.mark.parametrize("work", RUNNING, ids=lambda work: work.__name__)
def test_a_cycle_made_while_the_loop_runs_is_collected(kind: Kind, work: Any, close: bool) -> None:
    loop = kind.new_loop()
    anchor: Any = Anchor()
    alive = [weakref.ref(loop), weakref.ref(anchor)]
    loop.run_until_complete(work(loop, anchor))
    if close:
        loop.close()
    del loop, anchor
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
        gc.collect()
    assert dead(*alive)


def test_a_handle_posted_while_the_run_ends_is_known_to_the_collector(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In debug mode Python runs while a handle is made, and the run may end meanwhile."""
    handles: list[asyncio.Handle] = []
    ended = threading.Event()
    walk_stack = traceback.walk_stack

    def wait_for_the_end(frame: Any) -> Any:
        if threading.current_thread() is poster:
            threading.Thread(target=loop.call_soon_threadsafe, args=(loop.stop,)).start()
            ended.wait(PATIENCE)
        return walk_stack(frame)

    def post() -> None:
        handles.append(loop.call_soon_threadsafe(int))

    poster = threading.Thread(target=post)
    monkeypatch.setattr(traceback, "walk_stack", wait_for_the_end)
    loop.set_debug(True)
    loop.call_soon(poster.start)
    loop.run_forever()
    ended.set()
    poster.join()
    assert gc.is_tracked(handles[0])
