"""Other threads: executors, to_thread, call_soon_threadsafe, run_coroutine_threadsafe."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import gc
import multiprocessing
import os
import threading
import time
import types
import weakref
from typing import Any

import pytest
from support.both_loops import PATIENCE, WRAPS_STOP_ITERATION, Kind, run_until, turn

Loop = asyncio.AbstractEventLoop

_HONOURS_THE_TIMEOUT = (
    "timeouts" in asyncio.BaseEventLoop.shutdown_default_executor.__code__.co_names
)


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


@pytest.mark.saburo_only  # asyncio's calls are slower, but have no bound
@pytest.mark.parametrize("through", ["call_soon_threadsafe", "run_coroutine_threadsafe"])
@pytest.mark.parametrize("producers", [1, 4, 8])
def test_a_flood_of_posts_leaves_the_loop_its_turns(
    loop: Loop, producers: int, through: str
) -> None:
    posted = [0] * producers
    ran = 0
    backlog = 0
    stopped = threading.Event()

    def count() -> None:
        nonlocal ran, backlog
        ran += 1
        backlog = max(backlog, sum(posted) - ran)

    async def counting() -> None:
        count()

    def flood(index: int) -> None:
        # An end in any case: without the bound memory would be the only one.
        while not stopped.is_set() and posted[index] < 400_000 // producers:
            if through == "call_soon_threadsafe":
                loop.call_soon_threadsafe(count)
            else:
                asyncio.run_coroutine_threadsafe(counting(), loop)
            posted[index] += 1

    async def main() -> None:
        for thread in threads:
            thread.start()
        for _ in range(5):
            await asyncio.sleep(0.02)
        stopped.set()
        for thread in threads:
            thread.join()
        while ran < sum(posted):
            await asyncio.sleep(0)

    threads = [threading.Thread(target=flood, args=(index,)) for index in range(producers)]
    loop.run_until_complete(asyncio.wait_for(main(), 2 * PATIENCE))
    # However long it took, and however many took part.
    assert backlog < 20_000


def test_more_than_a_flood_can_be_posted_before_the_run(loop: Loop) -> None:
    seen: list[int] = []
    thread = threading.Thread(
        target=lambda: [loop.call_soon_threadsafe(seen.append, number) for number in range(20_000)]
    )
    thread.start()
    thread.join()
    run_until(loop, lambda: len(seen) == 20_000)
    assert seen == list(range(20_000))


def test_a_posted_handle_can_be_cancelled(loop: Loop) -> None:
    seen: list[int] = []
    handle = loop.call_soon_threadsafe(seen.append, 1)
    handle.cancel()
    turn(loop, 2)
    assert seen == []


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
    """StopIteration cannot be set on a future: it becomes a RuntimeError."""

    def stop() -> None:
        raise StopIteration(1)

    async def main() -> None:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.wait_for(asyncio.to_thread(stop), PATIENCE)

    if kind.is_saburo or WRAPS_STOP_ITERATION:
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


def test_shutdown_with_a_timeout_gives_up_with_a_warning(kind: Kind, loop: Loop) -> None:
    if not (kind.is_saburo or _HONOURS_THE_TIMEOUT):
        pytest.skip(
            "asyncio has the timeout since 3.12, and honours it since a release after 3.12.1"
        )
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


def test_a_job_cancelled_before_it_begins_is_never_called(loop: Loop) -> None:
    """Every thread is taken; what waits behind them is cancelled."""
    go, seen = threading.Event(), list[str]()
    taken = [loop.run_in_executor(None, go.wait, PATIENCE) for _ in range(most_threads())]
    waiting = loop.run_in_executor(None, seen.append, "called")
    waiting.cancel()
    turn(loop, 3)
    go.set()
    loop.run_until_complete(asyncio.gather(*taken))
    loop.run_until_complete(loop.run_in_executor(None, int))
    assert seen == []
    assert waiting.cancelled()


def most_threads() -> int:
    count = getattr(os, "process_cpu_count", os.cpu_count)
    return min(32, (count() or 1) + 4)


def test_threads_are_made_only_when_none_is_idle(loop: Loop) -> None:
    for _ in range(20):
        loop.run_until_complete(loop.run_in_executor(None, int))
    assert len(workers()) <= 3  # one, unless it was slow to come back
    go = threading.Event()
    jobs = [loop.run_in_executor(None, go.wait, PATIENCE) for _ in range(2 * most_threads())]
    assert len(workers()) == most_threads()
    assert workers() == {f"asyncio_{number}" for number in range(most_threads())}
    assert not any(t.daemon for t in threading.enumerate() if t.name.startswith("asyncio_"))
    go.set()
    loop.run_until_complete(asyncio.gather(*jobs))
    assert len(workers()) == most_threads()
    loop.run_until_complete(loop.shutdown_default_executor())
    assert workers() == set()


def workers() -> set[str]:
    return {t.name for t in threading.enumerate() if t.name.startswith("asyncio_")}


def test_jobs_run_beside_each_other(loop: Loop) -> None:
    together = threading.Barrier(most_threads())
    jobs = [loop.run_in_executor(None, together.wait, PATIENCE) for _ in range(together.parties)]
    assert sorted(loop.run_until_complete(asyncio.gather(*jobs))) == list(range(together.parties))


def test_callbacks_run_on_the_loops_thread_in_order_of_completion(loop: Loop) -> None:
    gates = [threading.Event() for _ in range(4)]
    seen: list[tuple[int, int]] = []

    def job(number: int) -> int:
        gates[number].wait(PATIENCE)
        return number

    def done(future: asyncio.Future[int]) -> None:
        seen.append((future.result(), threading.get_ident()))
        if len(seen) < 4:
            gates[[2, 0, 3, 1][len(seen)]].set()

    futures = [loop.run_in_executor(None, job, number) for number in range(4)]
    for future in futures:
        future.add_done_callback(done)
    gates[2].set()
    loop.run_until_complete(asyncio.gather(*futures))
    assert seen == [(number, threading.get_ident()) for number in (2, 0, 3, 1)]


@pytest.mark.saburo_only
def test_a_future_is_not_done_before_the_loops_next_turn(loop: Loop) -> None:
    """Nothing of a loop changes behind the back of a callback, as it may in asyncio 3.15."""
    ended = threading.Event()

    async def main() -> None:
        future = loop.run_in_executor(None, ended.set)
        assert ended.wait(PATIENCE)
        for _ in range(1000):
            assert not future.done()
        await future

    loop.run_until_complete(main())


def test_context_travels_and_does_not_come_back(run: Any) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")

    def job() -> str:
        before = variable.get()
        variable.set("changed")
        return before

    async def main() -> None:
        variable.set("main's")
        for _ in range(3):
            assert await asyncio.to_thread(job) == "main's"
        assert variable.get() == "main's"

    run(main())


@pytest.mark.saburo_only
def test_context_travels_into_run_in_executor_too(loop: Loop) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")
    variable.set("caller's")
    try:
        assert loop.run_until_complete(loop.run_in_executor(None, variable.get)) == "caller's"
    finally:
        variable.set("default")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, LookupError])
def test_whatever_a_job_raises_ends_up_in_the_future(
    loop: Loop, error: type[BaseException]
) -> None:
    def fail() -> None:
        raise error("from the job")

    future = loop.run_in_executor(None, fail)
    run_until(loop, future.done)
    raised = future.exception()
    assert type(raised) is error
    assert raised.args == ("from the job",)
    assert raised.__traceback__ is not None
    functions = []
    traceback: types.TracebackType | None = raised.__traceback__
    while traceback is not None:
        functions.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert functions[-1] == "fail"
    assert loop.run_until_complete(loop.run_in_executor(None, int)) == 0


def test_errors_of_concurrent_futures_become_asyncios(loop: Loop) -> None:
    def fail(error: BaseException) -> None:
        raise error

    future = loop.run_in_executor(None, fail, concurrent.futures.InvalidStateError("x"))
    with pytest.raises(asyncio.InvalidStateError, match="^x$"):
        loop.run_until_complete(future)
    cancelled = concurrent.futures.CancelledError("y")
    with pytest.raises(asyncio.CancelledError, match="^y$"):
        loop.run_until_complete(loop.run_in_executor(None, fail, cancelled))


def test_an_error_that_nobody_asks_for_is_reported(loop: Loop, reports: list[Any]) -> None:
    future = loop.run_in_executor(None, divmod, 1, 0)
    run_until(loop, future.done)
    del future
    gc.collect()
    assert [report["message"] for report in reports] == ["Future exception was never retrieved"]


class Held:
    """Something to hold on to that can be watched going."""


def test_idle_threads_hold_nothing(loop: Loop) -> None:
    def give(held: Held) -> Held:
        return held

    def fail(held: Held) -> None:
        raise LookupError(held)

    for function in (give, fail):
        held = Held()
        alive = weakref.ref(held)
        future = loop.run_in_executor(None, function, held)
        del held
        run_until(loop, future.done)
        future.exception()
        del future
        for _ in range(1000):  # asyncio's threads and loop let go a little later
            turn(loop)
            gc.collect()
            if alive() is None:
                break
            time.sleep(0.001)
        assert alive() is None


def test_jobs_that_were_taken_are_done_after_close(new_loop: Any) -> None:
    loop, go, seen = new_loop(), threading.Event(), list[Any]()
    threads = set(threading.enumerate())
    taken = [loop.run_in_executor(None, go.wait, PATIENCE) for _ in range(most_threads())]
    future = loop.run_in_executor(None, seen.append, "done")
    loop.close()
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.run_in_executor(None, int)
    go.set()
    for thread in set(threading.enumerate()) - threads:
        thread.join()
    assert seen == ["done"]
    assert not future.done()
    assert not any(job.done() for job in taken)


def test_a_default_executor_set_later_takes_the_place_of_the_pool(loop: Loop) -> None:
    go = threading.Event()
    before = loop.run_in_executor(None, go.wait, PATIENCE)
    pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine")
    loop.set_default_executor(pool)
    assert loop.run_until_complete(loop.run_in_executor(None, name_of_thread)).startswith("mine")
    go.set()
    assert loop.run_until_complete(before) is True


def test_arguments_may_be_given_by_name(loop: Loop) -> None:
    call: Any = loop.run_in_executor
    assert loop.run_until_complete(call(executor=None, func=int)) == 0
    assert loop.run_until_complete(call(None, func=int)) == 0
    for arguments, named in (((), {}), ((None,), {}), ((None, int), {"key": 1})):
        with pytest.raises(TypeError):
            call(*arguments, **named)


@pytest.mark.parametrize("kind_of_job", ["not callable", "coroutine", "coroutine function"])
def test_debug_mode_refuses_what_a_thread_cannot_call(loop: Loop, kind_of_job: str) -> None:
    async def coroutine_function() -> None: ...

    loop.set_debug(True)
    coroutine = coroutine_function()
    job: Any = {
        "not callable": 42,
        "coroutine": coroutine,
        "coroutine function": coroutine_function,
    }[kind_of_job]
    with pytest.raises(TypeError, match=r"run_in_executor\(\)"):
        loop.run_in_executor(None, job)
    coroutine.close()


def test_jobs_run_in_debug_mode(loop: Loop, reports: list[Any]) -> None:
    loop.set_debug(True)
    seen: list[Any] = []
    future = loop.run_in_executor(None, int)
    future.add_done_callback(seen.append)
    run_until(loop, lambda: bool(seen))
    assert seen == [future]
    assert future.result() == 0
    assert reports == []


def test_what_is_not_callable_is_a_type_error(loop: Loop) -> None:
    job: Any = 42
    # saburo says so where it is given.
    with pytest.raises(TypeError, match=r"not callable|a callable object was expected"):
        loop.run_until_complete(loop.run_in_executor(None, job))


def test_trace_functions_see_the_jobs(loop: Loop) -> None:
    seen: list[str] = []

    def profile(frame: Any, event: str, _argument: Any) -> None:
        seen.append(frame.f_code.co_name)

    threading.setprofile(profile)
    try:
        loop.run_until_complete(loop.run_in_executor(None, name_of_thread))
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        threading.setprofile(None)
    assert "name_of_thread" in seen


@pytest.mark.saburo_only
def test_calls_that_run_no_python_let_the_loop_in(loop: Loop) -> None:
    """They never meet the interpreter's switch interval."""
    data, turns = b"x" * 200_000, 0

    async def main() -> None:
        nonlocal turns
        jobs = asyncio.gather(*(loop.run_in_executor(None, data.count, b"y") for _ in range(20000)))
        while not jobs.done():
            turns += 1
            await asyncio.sleep(0.0005)
        await jobs

    loop.run_until_complete(main())
    assert turns > 1


def test_a_program_ends_only_when_its_jobs_are_done(kind: Kind) -> None:
    program = kind.run_script(
        """
        import sys, threading
        loop = new_loop()
        go = threading.Event()
        def job(number):
            go.wait(20)
            sys.stdout.write(f"job {number}\\n")
        for number in range(50):
            loop.run_in_executor(None, job, number)
        loop.close()
        threading.Timer(0.05, go.set).start()
        print("end of the program")
        """
    )
    assert program.returncode == 0, program.stderr
    assert program.stderr == ""
    lines = program.stdout.splitlines()
    assert lines[0] == "end of the program"
    assert sorted(lines[1:]) == sorted(f"job {number}" for number in range(50))


def test_a_program_may_end_with_a_pool_that_nobody_shut_down(kind: Kind) -> None:
    program = kind.run_script(
        """
        loop = new_loop()
        print(loop.run_until_complete(loop.run_in_executor(None, sum, [1, 2])))
        loop._keep = loop
        import sys, warnings
        warnings.simplefilter("ignore")
        """
    )
    assert program.returncode == 0, program.stderr
    assert program.stdout == "3\n"


def test_a_job_outlives_the_daemon_thread_that_asked_for_it(kind: Kind) -> None:
    program = kind.run_script(
        """
        import threading, time
        begun = threading.Event()
        def job():
            begun.set()
            time.sleep(0.05)
            print("job is done")
        def run():
            loop = new_loop()
            loop.run_in_executor(None, job)
            loop.close()
            time.sleep(20)
        threading.Thread(target=run, daemon=True).start()
        begun.wait()
        """
    )
    assert program.returncode == 0, program.stderr
    assert (program.stdout, program.stderr) == ("job is done\n", "")


def test_a_daemon_thread_inside_a_callback_or_task_does_not_break_the_end_of_the_program(
    kind: Kind,
) -> None:
    # Up to 3.13 the interpreter's end unwinds such a thread's stack.
    program = kind.run_script(
        """
        import threading, time
        begun = threading.Barrier(4)
        def call_back(loop):
            time.sleep(0.01)
            loop.call_soon(call_back, loop)
        async def work():
            begun.wait()
            while True:
                time.sleep(0.01)
                await asyncio.sleep(0)
        def run(first):
            loop = new_loop()
            loop.call_soon(*first(loop))
            loop.run_forever()
        for first in (
            lambda loop: (lambda: (begun.wait(), call_back(loop)),),
            lambda loop: (loop.create_task, work()),
            lambda loop: (lambda *_: (begun.wait(), call_back(loop)), 1, 2, 3),
        ):
            threading.Thread(target=run, args=(first,), daemon=True).start()
        begun.wait()
        class Slow:
            # Lets the threads come for the interpreter while it goes down.
            def __del__(self, sleep=time.sleep):
                sleep(0.1)
        import sys
        sys.slow = Slow()
        """
    )
    assert (program.returncode, program.stderr) == (0, "")


def test_a_thread_that_cannot_be_made_is_an_error_and_no_job(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            loop.run_in_executor(None, seen.append, 1)
    assert loop.run_until_complete(loop.run_in_executor(None, int)) == 0
    if "saburo" in type(loop).__module__:  # asyncio has kept the job
        assert seen == []


def test_pools_come_and_go_with_their_loops(new_loop: Any) -> None:
    async def main() -> list[int]:
        return await asyncio.gather(*(asyncio.to_thread(abs, number) for number in range(30)))

    def live() -> None:
        for _ in range(5):
            with asyncio.Runner(loop_factory=new_loop) as runner:
                assert runner.run(main()) == list(range(30))

    threads = [threading.Thread(target=live) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


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
