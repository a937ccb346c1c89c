"""Reference leaks: do it many times, and count."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest
from support.both_loops import PATIENCE, streams_of, turn

pytestmark = pytest.mark.every_task_kind

Loop = asyncio.AbstractEventLoop

TIMES = 200


class Witness:
    """Passed through everything; its reference count must not change."""


witness: Any = Witness()


async def give(value: Any) -> Any:
    return value


async def give_later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


async def fail(value: Any) -> None:
    raise LookupError(value)


def callback(*_args: Any) -> None:
    pass


def call_soon(loop: Loop) -> None:
    loop.call_soon(callback, witness)
    loop.call_soon_threadsafe(callback, witness, 1, 2)
    loop.call_later(-1, callback, witness)
    loop.call_soon(callback, witness).cancel()
    loop.call_later(3600, callback, witness).cancel()
    turn(loop, 2)


def failing_callback(loop: Loop) -> None:
    def fail(_witness: Any) -> None:
        raise LookupError(_witness)

    loop.call_soon(fail, witness)
    turn(loop)


def futures(loop: Loop) -> None:
    future = loop.create_future()
    future.add_done_callback(callback)
    future.add_done_callback(lambda _done: witness)
    future.add_done_callback(callback)
    future.remove_done_callback(callback)
    future.set_result(witness)
    turn(loop)
    assert future.result() is witness
    repr(future)
    failed = loop.create_future()
    failed.set_exception(LookupError(witness))
    for _ in range(2):
        with pytest.raises(LookupError):
            failed.result()
    cancelled = loop.create_future()
    cancelled.cancel(witness)
    with pytest.raises(asyncio.CancelledError):
        cancelled.result()
    with pytest.raises(asyncio.InvalidStateError):
        cancelled.set_result(witness)


def unretrieved(loop: Loop) -> None:
    loop.create_future().set_exception(LookupError(witness))
    loop.create_task(fail(witness))
    turn(loop, 2)


def tasks(loop: Loop) -> None:
    async def main() -> None:
        assert await asyncio.create_task(give(witness)) is witness
        assert await asyncio.create_task(give_later(witness), name="named") is witness
        task = asyncio.create_task(fail(witness))
        with pytest.raises(LookupError):
            await task
        repr(task)
        task.get_stack()
        task.get_name()
        if sys.version_info >= (3, 13):
            task.get_coro()  # 3.12.1 crashes here if the task is asyncio's own and was eager
        asyncio.current_task()
        asyncio.all_tasks()

    loop.run_until_complete(main())


def cancelled_tasks(loop: Loop) -> None:
    async def main() -> None:
        for turns in range(3):
            task = asyncio.create_task(give_later(loop.create_future()))
            task2 = asyncio.create_task(wait(loop.create_future(), witness))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel(witness)
            task2.cancel(witness)
            await asyncio.gather(task, task2, return_exceptions=True)

    loop.run_until_complete(main())


async def wait(future: Any, _witness: Any) -> None:
    await future


def combinators(loop: Loop) -> None:
    async def main() -> None:
        await asyncio.gather(give(witness), give_later(witness))
        await asyncio.gather(fail(witness), give_later(witness), return_exceptions=True)
        with pytest.raises(LookupError):
            await asyncio.gather(fail(witness), give(witness))
        await asyncio.wait_for(give_later(witness), 10)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait(loop.create_future(), witness), 0)
        await asyncio.shield(give_later(witness))
        for ready in asyncio.as_completed([give(witness), give_later(witness)]):
            await ready
        async with asyncio.TaskGroup() as group:
            group.create_task(give_later(witness))
        await asyncio.wait([asyncio.create_task(give(witness))])
        async with asyncio.timeout(10):
            await give_later(witness)

    loop.run_until_complete(main())


def bad_yields(loop: Loop) -> None:
    import types

    @types.coroutine
    def bad(what: Any) -> Any:
        yield what

    async def main() -> None:
        for what in (witness, loop.create_future(), give):
            with pytest.raises(RuntimeError):
                await bad(what)

    loop.run_until_complete(main())


def wrong_calls(loop: Loop) -> None:
    for call in (
        lambda: loop.create_task(witness),
        lambda: loop.call_later(witness, callback),
        lambda: loop.call_soon(callback, nonsense=witness),  # type: ignore[call-arg]
        lambda: loop.add_reader(witness, callback),
        lambda: loop.set_task_factory(witness),
        lambda: loop.create_future().set_exception(witness),
    ):
        with pytest.raises((TypeError, ValueError)):
            call()


def threads(loop: Loop) -> None:
    async def main() -> None:
        assert await asyncio.to_thread(lambda value: value, witness) is witness

    loop.run_until_complete(main())


def sockets(loop: Loop) -> None:
    one, two = socket.socketpair()
    for each in (one, two):
        each.setblocking(False)

    async def main() -> None:
        loop.add_reader(one, callback, witness)
        loop.add_writer(one, callback, witness)
        loop.add_reader(one, callback, witness, 2)
        await asyncio.sleep(0)
        loop.remove_writer(one)
        loop.remove_reader(one)
        receiving = asyncio.create_task(loop.sock_recv(one, 10))
        await asyncio.sleep(0)
        await loop.sock_sendall(two, b"x")
        await receiving
        cancelled = asyncio.create_task(loop.sock_recv(one, 10))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])

    loop.run_until_complete(main())
    one.close()
    two.close()


def readers(loop: Loop) -> None:
    async def main() -> None:
        reader = streams_of(loop).StreamReader(loop=loop)
        reader.witness = witness
        reader.feed_data(b"one\ntwo;")
        assert await reader.readline() == b"one\n"
        assert await reader.readuntil(b";") == b"two;"
        for read in (reader.read, reader.readline, reader.readexactly):
            task = asyncio.create_task(read(*([9] if read != reader.readline else [])))
            await asyncio.sleep(0)
            repr(reader)
            reader.feed_data(b"12345678\n")
            assert len(await task) == 9
        for _ in range(2):
            task = asyncio.create_task(reader.readexactly(9))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        reader.readline().close()
        reader._buffer.extend(b"unread")
        reader.feed_eof()
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.readexactly(9)
        reader.set_exception(LookupError(witness))
        with pytest.raises(LookupError):
            await reader.read()

    loop.run_until_complete(main())


def connections(loop: Loop) -> None:
    streams = streams_of(loop)

    async def echo(reader: Any, writer: Any) -> None:
        writer.witness = witness
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    async def main() -> None:
        async with await streams.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await streams.open_connection(*server.sockets[0].getsockname())
            writer.witness = witness
            writer.write(b"line\n")
            assert await reader.read() == b"line\n"
            writer.close()
            await writer.wait_closed()
        await asyncio.sleep(0)

    loop.run_until_complete(main())


class WithWitness(asyncio.SubprocessProtocol):
    def __init__(self, ended: asyncio.Event) -> None:
        self.witness = witness
        self.ended = ended

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


def subprocesses(loop: Loop) -> None:
    async def main() -> None:
        ended = asyncio.Event()
        transport, _ = await loop.subprocess_exec(lambda: WithWitness(ended), "true")
        await ended.wait()
        transport.close()
        process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
        assert (await process.communicate(b"x"))[0] == b"x"
        ended.clear()
        transport, _ = await loop.subprocess_exec(lambda: WithWitness(ended), "cat")
        transport.close()
        await ended.wait()
        with pytest.raises(FileNotFoundError):
            await loop.subprocess_exec(lambda: WithWitness(ended), "/no/such/program")
        start = asyncio.create_task(loop.subprocess_exec(lambda: WithWitness(ended), "cat"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ended.clear()
        start.cancel()
        await asyncio.wait([start])
        await ended.wait()

    loop.run_until_complete(main())


def generators(loop: Loop) -> None:
    async def generate() -> Any:
        yield witness

    async def main() -> None:
        async for _ in generate():
            break
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    loop.run_until_complete(main())


def factories(loop: Loop) -> None:
    def factory(loop: Loop, coroutine: Any, **options: Any) -> Any:
        return asyncio.Task(coroutine, loop=loop, **options)

    loop.set_task_factory(factory)
    loop.run_until_complete(loop.create_task(give_later(witness), name="x"))
    loop.set_task_factory(None)
    if sys.version_info >= (3, 12):
        loop.set_task_factory(asyncio.eager_task_factory)
        tasks(loop)
        loop.set_task_factory(None)


def handlers(loop: Loop) -> None:
    def handler(_loop: Loop, _context: Any) -> None:
        pass

    old = loop.get_exception_handler()
    loop.set_exception_handler(handler)
    loop.call_exception_handler({"message": "x", "witness": witness})
    loop.set_exception_handler(old)
    loop.set_debug(True)
    loop.call_soon(callback, witness)
    loop.run_until_complete(give_later(witness))
    loop.set_debug(False)
    repr(loop)


def exits(loop: Loop) -> None:
    async def leave(_witness: Any) -> None:
        raise SystemExit(_witness)

    with pytest.raises(SystemExit):
        loop.run_until_complete(leave(witness))


WORK: list[Callable[[Loop], None]] = [
    call_soon,
    failing_callback,
    futures,
    unretrieved,
    tasks,
    cancelled_tasks,
    combinators,
    bad_yields,
    wrong_calls,
    threads,
    sockets,
    readers,
    connections,
    subprocesses,
    generators,
    factories,
    handlers,
    exits,
]


def settle(loop: Loop) -> tuple[int, int, int]:
    turn(loop, 5)
    for _ in range(3):
        gc.collect()
    return len(gc.get_objects()), sys.getrefcount(witness), sys.getrefcount(loop)


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
def test_doing_it_again_leaves_nothing_more(loop: Loop, work: Callable[[Loop], None]) -> None:
    loop.set_exception_handler(lambda _loop, _context: None)
    if isinstance(loop, asyncio.BaseEventLoop):
        # How many threads CPython's pool starts is chance, and each is some objects more.
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
    for _ in range(TIMES // 4):  # caches and free lists fill
        work(loop)
    before = settle(loop)
    for _ in range(TIMES):
        work(loop)
    after = settle(loop)
    deadline = loop.time() + PATIENCE
    while (after[1] > before[1] or after[2] > before[2]) and loop.time() < deadline:
        # A thread of a pool lets go of its job only after the result has left.
        after = settle(loop)
    assert after[1] <= before[1], "references to the witness"
    assert after[2] <= before[2], "references to the loop"
    assert after[0] - before[0] < TIMES // 4, "objects"


def test_loops_come_and_go(new_loop: Any) -> None:
    def once() -> None:
        loop = new_loop()
        loop.call_soon(callback, witness)
        loop.call_later(3600, callback, witness)
        loop.run_until_complete(give_later(witness))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.call_soon(callback, witness)
        loop.close()

    def count() -> tuple[int, int]:
        gc.collect()
        gc.collect()
        return len(gc.get_objects()), sys.getrefcount(witness)

    for _ in range(20):
        once()
    before = count()
    for _ in range(100):
        once()
    after = count()
    assert after[1] == before[1]
    assert after[0] - before[0] < 50


def test_closing_a_loop_makes_nothing_that_stays(new_loop: Any) -> None:
    """Test suites look for leaks by comparing what there is before and after a loop's work."""
    loop = new_loop()
    loop.run_until_complete(give_later(witness))
    gc.collect()
    before = gc.get_objects()
    loop.close()
    after = gc.get_objects()
    known = {id(each) for each in [*before, before, after]}
    assert [each for each in after if id(each) not in known] == []


@pytest.mark.parametrize("work", [call_soon, tasks, combinators, cancelled_tasks, sockets, readers])
def test_memory_does_not_grow(loop: Loop, work: Callable[[Loop], None]) -> None:
    """Also what the collector cannot see: names, buffers, slots of queues."""
    loop.set_exception_handler(lambda _loop, _context: None)

    def resident() -> int:
        gc.collect()
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * 4096

    def many() -> None:
        for _ in range(1000):
            work(loop)

    many()
    before = resident()
    sizes = []
    for _ in range(3):
        many()
        sizes.append(resident() - before)
    # A leak of one small object per round of work would be some 200 kB by now, and steady.
    assert sizes[2] < 4_000_000 or sizes[2] - sizes[1] < 500_000
