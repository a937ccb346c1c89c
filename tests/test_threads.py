"""Other threads: executors, to_thread, call_soon_threadsafe, run_coroutine_threadsafe."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import multiprocessing
import os
import sys
import threading
import time
from typing import Any

import pytest
from both_loops import PATIENCE, Kind, run_until, turn

Loop = asyncio.AbstractEventLoop


def test_an_idle_loop_is_woken_by_another_thread(loop: Loop) -> None:
    threading.Timer(0.01, lambda: loop.call_soon_threadsafe(loop.stop)).start()
    loop.run_forever()


def test_a_post_before_the_run_is_not_lost(loop: Loop) -> None:
    seen: list[int] = []
    thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(seen.append, 1))
    thread.start()
    thread.join()
    turn(loop)
    turn(loop)
    assert seen == [1]


def test_posts_of_one_thread_keep_their_order(loop: Loop) -> None:
    seen: list[tuple[int, int]] = []

    def post(name: int) -> None:
        for number in range(500):
            loop.call_soon_threadsafe(seen.append, (name, number))

    threads = [threading.Thread(target=post, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    run_until(loop, lambda: len(seen) == 2000)
    for thread in threads:
        thread.join()
    for name in range(4):
        assert [number for who, number in seen if who == name] == list(range(500))


def test_posts_from_the_loops_own_thread_join_the_queue_in_order(loop: Loop) -> None:
    seen: list[int] = []
    for number in range(6):
        (loop.call_soon if number % 2 else loop.call_soon_threadsafe)(seen.append, number)
    turn(loop, 2)
    assert seen == list(range(6))


def test_a_posted_handle_can_be_cancelled(loop: Loop) -> None:
    seen: list[int] = []
    handle = loop.call_soon_threadsafe(seen.append, 1)
    handle.cancel()
    turn(loop, 2)
    assert seen == []


def test_a_posted_handle_is_not_cancelled_while_it_runs(kind: Kind, loop: Loop) -> None:
    """After cancel() on another thread the callback does not run, not even its end."""
    if not kind.is_saburo and sys.version_info < (3, 14):
        pytest.skip("asyncio waits from 3.14 on")
    begun, asking = threading.Event(), threading.Event()
    seen: list[str | bool] = []

    def callback() -> None:
        begun.set()
        asking.wait(PATIENCE)
        time.sleep(0.01)  # so that the other thread does ask
        seen.append("callback")

    def ask() -> None:
        handle = loop.call_soon_threadsafe(callback)
        begun.wait(PATIENCE)
        asking.set()
        seen.append(handle.cancelled())
        handle.cancel()
        seen.append(handle.cancelled())
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=ask)
    thread.start()
    loop.run_forever()
    thread.join()
    assert seen == ["callback", False, True]


def test_a_posted_handle_can_cancel_itself(loop: Loop) -> None:
    seen: list[bool] = []

    def callback() -> None:
        handle.cancel()
        seen.append(handle.cancelled())

    handle = loop.call_soon_threadsafe(callback)
    turn(loop, 2)
    assert seen == [True]


def test_posting_to_a_closed_loop_fails(loop: Loop) -> None:
    loop.close()
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.call_soon_threadsafe(print)


def test_threads_racing_with_close_get_an_error_or_nothing(new_loop: Any) -> None:
    for _ in range(20):
        loop = new_loop()
        errors: list[BaseException] = []
        begun = threading.Barrier(3)

        def post(
            loop: Loop = loop,
            begun: threading.Barrier = begun,
            errors: list[BaseException] = errors,
        ) -> None:
            begun.wait()
            try:
                for _ in range(200):
                    loop.call_soon_threadsafe(int)
            except RuntimeError as error:
                errors.append(error)  # noqa: B023  (bound by the except clause)

        threads = [threading.Thread(target=post) for _ in range(2)]
        for thread in threads:
            thread.start()
        begun.wait()
        turn(loop)
        loop.close()
        for thread in threads:
            thread.join()
        assert {str(error) for error in errors} <= {"Event loop is closed"}


def test_to_thread_runs_elsewhere_and_returns(run: Any) -> None:
    async def main() -> None:
        assert await asyncio.to_thread(threading.get_ident) != threading.get_ident()
        assert await asyncio.to_thread(dict, a=1) == {"a": 1}
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)

    run(main())


def test_an_exception_that_cannot_be_a_result_is_still_reported(kind: Kind, run: Any) -> None:
    """StopIteration cannot be set on a future: it becomes a RuntimeError, in asyncio since 3.13."""

    def stop() -> None:
        raise StopIteration(1)

    async def main() -> None:
        with pytest.raises((RuntimeError, TypeError), match="StopIteration"):
            await asyncio.wait_for(asyncio.to_thread(stop), PATIENCE)

    if kind.has_native_tasks or sys.version_info >= (3, 13):
        run(main())


def test_threads_work_while_the_loop_is_busy(run: Any) -> None:
    """A loop that never sleeps must still let go of the GIL often enough."""

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    async def main() -> None:
        busy = asyncio.create_task(spin())
        results = await asyncio.gather(*(asyncio.to_thread(sum, range(100)) for _ in range(50)))
        assert results == [4950] * 50
        busy.cancel()

    run(main())


def test_many_jobs_at_once(run: Any) -> None:
    async def main() -> list[int]:
        return await asyncio.gather(*(asyncio.to_thread(abs, -number) for number in range(2000)))

    assert run(main()) == list(range(2000))


def test_any_executor_will_do(loop: Loop) -> None:
    class Inline(concurrent.futures.Executor):
        def submit(self, call: Any, /, *args: Any, **kwargs: Any) -> Any:
            future: concurrent.futures.Future[Any] = concurrent.futures.Future()
            try:
                future.set_result(call(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)
            return future

    assert loop.run_until_complete(loop.run_in_executor(Inline(), abs, -3)) == 3
    with pytest.raises(ZeroDivisionError):
        loop.run_until_complete(loop.run_in_executor(Inline(), divmod, 1, 0))


def test_a_thread_pool_of_ones_own(loop: Loop) -> None:
    with concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="mine") as pool:
        names = loop.run_until_complete(
            asyncio.gather(*(loop.run_in_executor(pool, name_of_thread) for _ in range(4)))
        )
    assert all(name.startswith("mine") for name in names)


def name_of_thread() -> str:
    return threading.current_thread().name


def test_a_process_pool(loop: Loop) -> None:
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        process = loop.run_until_complete(loop.run_in_executor(pool, os.getpid))
        assert process != os.getpid()
        with pytest.raises(ZeroDivisionError):
            loop.run_until_complete(loop.run_in_executor(pool, divmod, 1, 0))


def test_a_killed_process_breaks_the_pool_and_not_the_loop(loop: Loop) -> None:
    spawn = multiprocessing.get_context("spawn")
    with (
        concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool,
        pytest.raises(concurrent.futures.BrokenExecutor),
    ):
        loop.run_until_complete(loop.run_in_executor(pool, os._exit, 1))
    assert loop.run_until_complete(asyncio.sleep(0, "fine")) == "fine"


def test_a_default_executor_of_ones_own(loop: Loop) -> None:
    pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine")
    loop.set_default_executor(pool)
    name = loop.run_until_complete(loop.run_in_executor(None, name_of_thread))
    assert name.startswith("mine")
    loop.run_until_complete(loop.shutdown_default_executor())
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(print)


def test_only_thread_pools_can_be_the_default(loop: Loop) -> None:
    spawn = multiprocessing.get_context("spawn")
    with (
        concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool,
        pytest.raises(TypeError, match="^executor must be ThreadPoolExecutor instance$"),
    ):
        loop.set_default_executor(pool)


def test_after_its_shutdown_the_default_executor_refuses(loop: Loop) -> None:
    loop.run_until_complete(loop.run_in_executor(None, int))
    loop.run_until_complete(loop.shutdown_default_executor())
    with pytest.raises(RuntimeError, match="^Executor shutdown has been called$"):
        loop.run_in_executor(None, int)
    loop.run_until_complete(loop.shutdown_default_executor())  # twice is fine


def test_shutdown_waits_for_jobs_under_way(loop: Loop) -> None:
    go, seen = threading.Event(), []

    def job() -> None:
        go.wait(PATIENCE)
        seen.append("done")

    loop.run_in_executor(None, job)
    loop.call_later(0.005, go.set)
    loop.run_until_complete(loop.shutdown_default_executor())
    assert seen == ["done"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the timeout is of 3.12")
def test_shutdown_with_a_timeout_gives_up_with_a_warning(kind: Kind, loop: Loop) -> None:
    if not kind.is_saburo and sys.version_info < (3, 13):
        pytest.skip("asyncio 3.12.1 forgets to warn")
    go = threading.Event()
    loop.run_in_executor(None, go.wait, PATIENCE)
    with pytest.warns(RuntimeWarning, match="did not finishing joining its threads within 0.01"):
        loop.run_until_complete(loop.shutdown_default_executor(timeout=0.01))  # type: ignore[call-arg]
    go.set()


def test_cancelling_the_wait_does_not_stop_the_thread(loop: Loop) -> None:
    go, seen = threading.Event(), []

    def job() -> None:
        go.wait(PATIENCE)
        seen.append("done")

    async def main() -> None:
        task = asyncio.create_task(asyncio.to_thread(job))
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go.set()

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    assert seen == ["done"]


def test_a_result_for_a_cancelled_future_is_dropped(loop: Loop, reports: list[Any]) -> None:
    go = threading.Event()
    future = loop.run_in_executor(None, go.wait, PATIENCE)
    turn(loop)
    future.cancel()
    go.set()
    loop.run_until_complete(loop.shutdown_default_executor())
    turn(loop, 2)
    assert reports == []


def test_jobs_that_end_after_the_loop_is_closed_do_no_harm(new_loop: Any) -> None:
    loop, go = new_loop(), threading.Event()
    pool = concurrent.futures.ThreadPoolExecutor(1)
    loop.run_in_executor(pool, go.wait, PATIENCE)
    turn(loop)
    loop.close()
    go.set()
    pool.shutdown()


def test_coroutines_can_be_submitted_from_other_threads(loop: Loop) -> None:
    results: list[Any] = []

    async def work(value: Any) -> Any:
        await asyncio.sleep(0.001)
        if isinstance(value, Exception):
            raise value
        return value

    def submit() -> None:
        future = asyncio.run_coroutine_threadsafe(work("result"), loop)
        results.append(future.result(PATIENCE))
        try:
            asyncio.run_coroutine_threadsafe(work(LookupError()), loop).result(PATIENCE)
        except LookupError:
            results.append("error")
        future = asyncio.run_coroutine_threadsafe(asyncio.sleep(3600), loop)
        results.append(future.cancel())
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=submit)
    thread.start()
    loop.run_forever()
    thread.join()
    turn(loop, 3)
    assert results == ["result", "error", True]
    assert asyncio.all_tasks(loop) == set()


def test_a_loop_may_move_to_another_thread_between_runs(loop: Loop) -> None:
    seen: list[int] = []

    async def look() -> None:
        await asyncio.sleep(0.001)
        seen.append(threading.get_ident())

    thread = threading.Thread(target=loop.run_until_complete, args=(look(),))
    thread.start()
    thread.join()
    loop.run_until_complete(look())
    assert seen[0] != seen[1] == threading.get_ident()


def test_loops_run_side_by_side_in_threads(new_loop: Any) -> None:
    results: list[int] = []

    async def work(number: int) -> int:
        for _ in range(100):
            await asyncio.sleep(0)
        return number + await asyncio.to_thread(abs, -number)

    def run(number: int) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            results.append(runner.run(work(number)))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [number * 2 for number in range(8)]


def test_names_are_resolved(loop: Loop) -> None:
    import socket

    async def main() -> None:
        found = await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        assert found[0][4] == ("127.0.0.1", 80)
        found = await loop.getaddrinfo("::1", "80", type=socket.SOCK_STREAM)
        assert found == socket.getaddrinfo("::1", "80", type=socket.SOCK_STREAM)
        for host, port in (("localhost", None), (None, 0), (b"127.0.0.1", b"22")):
            found = await loop.getaddrinfo(host, port)
            assert found == socket.getaddrinfo(host, port)
        assert (await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST))[0] == "127.0.0.1"
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("no such host.invalid", 80)
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("not-an-address", 80, flags=socket.AI_NUMERICHOST)

    loop.run_until_complete(main())


@pytest.mark.saburo_only
def test_a_full_pool_does_not_keep_literals_waiting(loop: Loop) -> None:
    """asyncio resolves names in the pool that it runs the user's jobs in."""
    go = threading.Event()
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
    blocked = loop.run_in_executor(None, go.wait, PATIENCE)
    found = loop.run_until_complete(asyncio.wait_for(loop.getaddrinfo("127.0.0.1", 1), PATIENCE))
    assert found
    assert not blocked.done()
    go.set()
    loop.run_until_complete(blocked)


def test_a_blocking_call_does_not_block_the_loop(run: Any) -> None:
    async def main() -> int:
        blocking = asyncio.create_task(asyncio.to_thread(time.sleep, 0.05))
        ticks = 0
        while not blocking.done():
            await asyncio.sleep(0.001)
            ticks += 1
        return ticks

    assert run(main()) > 3


def test_partial_and_keyword_calls(loop: Loop) -> None:
    call = functools.partial(int, "ff", base=16)
    assert loop.run_until_complete(loop.run_in_executor(None, call)) == 255


def test_wakeups_from_threads_are_never_lost(loop: Loop) -> None:
    """Ping-pong between the loop and a thread: one lost wake-up, and this hangs."""
    requests: list[asyncio.Future[int]] = []
    ready = threading.Semaphore(0)

    def answer() -> None:
        for number in range(1000):
            ready.acquire()
            loop.call_soon_threadsafe(requests.pop().set_result, number)

    async def main() -> None:
        for number in range(1000):
            future = loop.create_future()
            requests.append(future)
            ready.release()
            assert await future == number

    thread = threading.Thread(target=answer)
    thread.start()
    loop.run_until_complete(main())
    thread.join()
