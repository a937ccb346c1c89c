"""fork: the child gets an error or a loop of its own, the parent notices nothing."""

from __future__ import annotations

from textwrap import dedent

import pytest
from both_loops import Kind

FORK = """
import os, sys
def in_child(work):
    # Runs work in a forked child; what it printed, and how it ended.
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}")
        sys.stdout.flush()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


def run(kind: Kind, source: str) -> list[str]:
    program = kind.run_script(dedent(FORK) + dedent(source))
    assert program.returncode == 0, program.stderr
    assert program.stderr == ""
    return program.stdout.splitlines()


def test_there_is_no_running_loop_in_the_child(kind: Kind) -> None:
    lines = run(
        kind,
        """
        async def main():
            assert in_child(asyncio.get_running_loop) == 0
            await asyncio.sleep(0.001)
            print("parent goes on")
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        """,
    )
    assert lines == ["RuntimeError: no running event loop", "parent goes on"]


@pytest.mark.saburo_only
@pytest.mark.parametrize(
    "touch",
    [
        "loop.call_soon(print)",
        "loop.call_later(1, print)",
        "loop.call_soon_threadsafe(print)",
        "loop.add_reader(0, print)",
        "loop.remove_reader(reader)",
        "loop.run_forever()",
    ],
)
def test_the_child_cannot_touch_the_parents_running_loop(kind: Kind, touch: str) -> None:
    """asyncio lets the child change the epoll set that it shares with its parent."""
    lines = run(
        kind,
        f"""
        async def main():
            loop = asyncio.get_running_loop()
            reader, writer = os.pipe()
            seen = asyncio.Event()
            loop.add_reader(reader, seen.set)
            assert in_child(lambda: {touch}) == 0
            os.write(writer, b"x")
            await asyncio.wait_for(seen.wait(), 20)
            loop.remove_reader(reader)
            os.close(reader); os.close(writer)
            print("parent was woken")
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        """,
    )
    assert len(lines) == 2
    assert lines[0].startswith("RuntimeError: ")
    assert lines[1] == "parent was woken"


def test_the_child_may_run_a_loop_of_its_own(kind: Kind) -> None:
    lines = run(
        kind,
        """
        def child():
            loop = new_loop()
            print(loop.run_until_complete(asyncio.sleep(0.001, "child's loop")))
            loop.close()
        async def main():
            assert in_child(child) == 0
            await asyncio.sleep(0.001)
            print("parent goes on")
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        """,
    )
    assert lines == ["child's loop", "parent goes on"]


def test_a_child_that_closes_the_inherited_loop_does_not_disturb_the_parent(kind: Kind) -> None:
    lines = run(
        kind,
        """
        loop = new_loop()
        reader, writer = os.pipe()
        seen = []
        loop.add_reader(reader, lambda: (seen.append(os.read(reader, 1)), loop.stop()))
        def child():
            loop._ = None
            print("child")
        assert in_child(child) == 0
        os.write(writer, b"x")
        loop.run_forever()
        print(seen)
        loop.remove_reader(reader)
        loop.close()
        os.close(reader); os.close(writer)
        """,
    )
    assert lines == ["child", "[b'x']"]


def test_multiprocessing_by_fork_works_around_a_loop_that_is_not_running(kind: Kind) -> None:
    lines = run(
        kind,
        """
        import multiprocessing
        def work(queue):
            loop = new_loop()
            queue.put(loop.run_until_complete(asyncio.sleep(0, "from the child")))
            loop.close()
        loop = new_loop()
        loop.run_until_complete(asyncio.sleep(0))
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        process = context.Process(target=work, args=(queue,))
        process.start()
        print(queue.get())
        process.join()
        print(loop.run_until_complete(asyncio.sleep(0.001, "parent goes on")))
        loop.close()
        queue.close()
        """,
    )
    assert lines == ["from the child", "parent goes on"]


def test_a_child_that_exits_runs_nothing_of_the_parents(kind: Kind) -> None:
    lines = run(
        kind,
        """
        async def main():
            async def other():
                try:
                    await asyncio.sleep(0.01)
                finally:
                    print("other task ends")
            task = asyncio.create_task(other())
            await asyncio.sleep(0)
            assert in_child(lambda: print("child")) == 0
            await task
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        """,
    )
    assert lines == ["child", "other task ends"]


def test_signals_to_the_child_do_not_wake_the_parent(kind: Kind) -> None:
    lines = run(
        kind,
        """
        import signal
        async def main():
            loop = asyncio.get_running_loop()
            seen = []
            loop.add_signal_handler(signal.SIGUSR1, seen.append, 1)
            def child():
                signal.signal(signal.SIGUSR1, lambda *_: None)
                signal.set_wakeup_fd(-1)
                signal.raise_signal(signal.SIGUSR1)
            assert in_child(child) == 0
            await asyncio.sleep(0.01)
            print(seen)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        """,
    )
    assert lines == ["[]"]


@pytest.mark.saburo_only
def test_the_child_of_an_idle_loop_gets_threads_of_its_own(kind: Kind) -> None:
    """asyncio's child waits for ever for threads that only its parent has."""
    lines = run(
        kind,
        """
        import warnings
        warnings.simplefilter("ignore")  # fork and threads
        loop = new_loop()
        async def use():
            names = await asyncio.gather(*(asyncio.to_thread(str, n) for n in range(20)))
            found = await loop.getaddrinfo("localhost", 1)
            return len(names), bool(found)
        print(loop.run_until_complete(use()))
        def child():
            print(loop.run_until_complete(use()))
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
        assert in_child(child) == 0
        print(loop.run_until_complete(use()))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        """,
    )
    assert lines == ["(20, True)"] * 3


@pytest.mark.saburo_only
def test_a_child_forked_by_a_job_does_no_other_jobs(kind: Kind) -> None:
    """It has a copy of the queue, and of the thread that works it off."""
    lines = run(
        kind,
        """
        import signal, warnings
        warnings.simplefilter("ignore")  # fork and threads
        signal.alarm(30)
        async def main():
            loop = asyncio.get_running_loop()
            begun = []
            def fork():
                pid = os.fork()
                if not pid:
                    signal.alarm(30)
                    # Goes on as a worker: ends as a thread and so, in a child, as a process.
                    return "child"
                os.waitpid(pid, 0)
                return "parent"
            jobs = [loop.run_in_executor(None, fork)]
            note = lambda: begun.append(os.getpid())
            jobs += [loop.run_in_executor(None, note) for _ in range(500)]
            print((await asyncio.gather(*jobs))[0], len(begun), set(begun) == {os.getpid()})
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        """,
    )
    assert lines == ["parent 500 True"]


def test_a_child_exits_without_the_parents_threads(kind: Kind) -> None:
    lines = run(
        kind,
        """
        import signal, threading, warnings
        warnings.simplefilter("ignore")  # fork and threads, and the child's loop left open
        loop = new_loop()
        go = threading.Event()
        jobs = [loop.run_in_executor(None, go.wait, 20) for _ in range(50)]
        loop.run_until_complete(asyncio.sleep(0.01))
        pid = os.fork()
        if not pid:
            signal.alarm(30)
            sys.exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        go.set()
        async def ends():
            return all(await asyncio.gather(*jobs))
        print(loop.run_until_complete(ends()))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        """,
    )
    assert lines == ["7", "True"]
