"""fork: the child gets an error or a loop of its own, the parent notices nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from support.both_loops import Kind, finished
from support.fork import FORK


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


LEAVES = {
    "return": 'return "a value"',
    "raise": 'raise ValueError("its own")',
    "sys.exit": "sys.exit(3)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "cancel": "raise asyncio.CancelledError",
    "sleep": "await asyncio.sleep(0.01)",
    "turn": "await asyncio.sleep(0)",
    "wait": "await waiting",
    "read": "await reader.read(1)",
    "drain": "writer.write(bytes(1 << 20)); await writer.drain()",
    "close": "writer.close(); await writer.wait_closed()",
    "stop": "loop.stop(); await waiting",
    "group": """
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0))
    """,
    "timeout": """
            async with asyncio.timeout(1):
                await waiting
    """,
    "server": "server.close(); await server.wait_closed()",
    "run": "return asyncio.Runner(loop_factory=new_loop).run(asyncio.sleep(0, 1))",
    "thread": "await asyncio.to_thread(int)",
}
"""What a child does in the coroutine in which it was forked."""

FAMILY = """
import functools, signal, socket, sys, os, warnings
print = functools.partial(print)
warnings.simplefilter("ignore")  # fork and threads; what a child leaves open
signal.alarm(60)

async def child_work(loop, reader, writer, other, server, waiting, sending):
    LEAVES

async def main():
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    far, far_end = socket.socketpair()
    other, _ = await loop.create_connection(asyncio.Protocol, sock=far)
    waiting = loop.create_future()
    async def other_task():
        try:
            await asyncio.sleep(0.01)
        finally:
            print("other task ends in", "parent" if os.getpid() == parent else "child")
    async def next_in_line():
        print("next in line is", "parent" if os.getpid() == parent else "child")
    tasks = [asyncio.create_task(other_task())]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(next_in_line()))
    loop.add_signal_handler(signal.SIGUSR1, print, "parent got its signal")
    writer.write(b"gathered ")
    other.write(b"as well")
    theirs.send(b"for the parent")
    loop.call_later(0.001, lambda: None)
    pid = os.fork()
    if not pid:
        signal.alarm(20)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        return await child_work(loop, reader, writer, other, server, waiting, far)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print("child ended with", status)
    os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.gather(*tasks)
    assert await reader.readexactly(14) == b"for the parent"
    writer.write(b"and more")
    await writer.drain()
    theirs.setblocking(False)
    sent = theirs.recv(1 << 21)
    print("sent", sent if len(sent) < 100 else sent[:9] + sent[-8:], far_end.recv(100))
    loop.remove_signal_handler(signal.SIGUSR1)
    writer.close(); other.abort(); server.close()
    theirs.close(); far_end.close()
    await asyncio.sleep(0.001)

parent = os.getpid()
loop = new_loop()
try:
    if RUNNER:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            result = runner.run(main())
    else:
        result = loop.run_until_complete(main())
except BaseException as error:
    if os.getpid() == parent:
        raise
    os._exit(OUTCOMES.index(type(error).__name__) + 10)
if os.getpid() != parent:
    os._exit(OUTCOMES.index(str(result)) + 10)
loop.close()
"""

OUTCOMES = [
    "a value", "1", "None", "ValueError", "SystemExit", "KeyboardInterrupt", "CancelledError",
    "RuntimeError", "ExceptionGroup", "BaseExceptionGroup",
]  # fmt: skip
ENDS = {
    "return": ["a value"],
    "raise": ["ValueError"],
    "sys.exit": ["SystemExit"],
    "KeyboardInterrupt": ["KeyboardInterrupt"],
    "cancel": ["CancelledError"],
    "run": ["1"],
    "server": ["None"],
}
"""How the child's run ends; a RuntimeError if it is not said here."""


@pytest.mark.saburo_only
@pytest.mark.every_task_kind
@pytest.mark.parametrize(
    ("leave", "runner"),
    [*((leave, True) for leave in LEAVES), ("return", False), ("raise", False), ("wait", False)],
)
def test_whatever_the_child_does_in_the_coroutine_its_run_ends(
    kind: Kind, leave: str, runner: bool
) -> None:
    """And the parent has its bytes, its signals and its tasks for itself.

    asyncio's child goes on with all of that, beside its parent.
    """
    source = FAMILY.replace("LEAVES", LEAVES[leave].strip())
    source = source.replace("OUTCOMES", repr(OUTCOMES)).replace("RUNNER", repr(runner))
    program = kind.run_script(source)
    assert program.returncode == 0, program.stderr
    assert program.stderr == ""
    lines = program.stdout.splitlines()
    ended = lines.pop(0)
    assert ended.startswith("child ended with ")
    status = int(ended.rpartition(" ")[2])
    assert status >= 10, ended
    assert OUTCOMES[status - 10] in ENDS.get(leave, ["RuntimeError"])
    assert sorted(lines[:3]) == [
        "next in line is parent",
        "other task ends in parent",
        "parent got its signal",
    ]
    assert lines[3:] == ["sent b'gathered and more' b'as well'"]


@pytest.mark.saburo_only
@pytest.mark.parametrize(
    "fork",
    [
        "loop.call_soon(fork)",
        "loop.call_later(0.001, fork)",
        "(loop.add_signal_handler(signal.SIGUSR1, fork), os.kill(os.getpid(), signal.SIGUSR1))",
        "(signal.signal(signal.SIGUSR1, fork), os.kill(os.getpid(), signal.SIGUSR1))",
        "(loop.add_reader(readable, fork), os.write(writable, b'x'))",
        "(theirs.send(b'x'), None)",
        "done.add_done_callback(fork)",
        "pausing()",
    ],
)
def test_a_child_forked_in_any_callback_ends_its_run(kind: Kind, fork: str) -> None:
    program = kind.run_script(
        f"""
        import functools, signal, socket, sys, os, warnings
        print = functools.partial(print, flush=True)
        warnings.simplefilter("ignore")
        signal.alarm(60)
        forked = []
        def fork(*_):
            if forked:
                return
            pid = os.fork()
            forked.append(pid)
            if pid:
                loop.remove_reader(readable)
                print("child ended with", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                loop.call_soon(ended.set_result, None)
            else:
                signal.alarm(20)
        class Receiver(asyncio.Protocol):
            def data_received(self, data):
                fork()
            def pause_writing(self):
                fork()
        async def main():
            global ended
            ended = loop.create_future()
            done = loop.create_future()
            done.set_result(None)
            ours, theirs = socket.socketpair()
            transport, _ = await loop.create_connection(Receiver, sock=ours)
            def pausing():
                transport.set_write_buffer_limits(0)
                loop.call_soon(transport.write, bytes(1 << 20))
            {fork}
            await ended
            transport.abort()
            theirs.close()
            await asyncio.sleep(0.001)
        readable, writable = os.pipe()
        parent = os.getpid()
        loop = new_loop()
        try:
            loop.run_until_complete(main())
        except RuntimeError as error:
            assert os.getpid() != parent
            print(error)
            # From here on the loop is the child's own.
            print(loop.run_until_complete(asyncio.sleep(0.001, "child goes on")))
            os._exit(7)
        loop.close()
        """
    )
    assert program.returncode == 0, program.stderr
    assert program.stdout.splitlines() == [
        "This event loop is running in the parent process; "
        "a forked child must make a loop of its own",
        "child goes on",
        "child ended with 7",
    ]


@pytest.mark.saburo_only  # asyncio's child says goodbye to the peer
def test_a_child_does_not_end_its_parents_tls(kind: Kind) -> None:
    """What closes the child's copy must not tell the peer that the connection ends."""
    lines = run(
        kind,
        f"""
        import socket, ssl
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from support.network import client_context, server_context
        async def main():
            loop = asyncio.get_running_loop()
            async def echo(reader, writer):
                while line := await reader.readline():
                    writer.write(line)
                writer.close()
            server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_context())
            reader, writer = await asyncio.open_connection(
                *server.sockets[0].getsockname(), ssl=client_context(), server_hostname="localhost"
            )
            writer.write(b"hello\\n")
            pid = os.fork()
            if not pid:
                try:
                    writer.close()
                finally:
                    os._exit(0)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            print(await reader.readline())
            writer.write(b"again\\n")
            print(await reader.readline())
            writer.close()
            await writer.wait_closed()
            server.close()
            await asyncio.sleep(0.01)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        """,
    )
    assert lines == ["0", "b'hello\\n'", "b'again\\n'"]


@pytest.mark.saburo_only  # asyncio's child removes it
def test_a_child_does_not_remove_its_parents_socket(kind: Kind, tmp_path: Path) -> None:
    lines = run(
        kind,
        f"""
        path = {os.fspath(tmp_path / "socket")!r}
        async def main():
            server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), path)
            assert in_child(server.close) == 0
            reader, writer = await asyncio.open_unix_connection(path)
            print(await reader.read())
            writer.close()
            server.close()
            await asyncio.sleep(0.01)
            print(os.path.exists(path))
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        """,
    )
    assert lines == ["b''", "False"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("where", ["coroutine", "thread", "executor"])
def test_multiprocessing_from_inside_a_run(
    kind: Kind, tmp_path: Path, method: str, where: str
) -> None:
    """The child's target runs a loop of its own, and the parent's connection loses no byte."""
    if (kind.name, method, where) == ("asyncio", "fork", "thread"):
        pytest.skip("asyncio's child ends with an error")
    program = tmp_path / "program.py"
    program.write_text(
        kind.script(
            """
            import concurrent.futures, multiprocessing, signal, socket, sys, warnings
            warnings.simplefilter("ignore")  # fork and threads
            def work(connection):
                signal.alarm(30)
                loop = new_loop()
                async def main():
                    return await asyncio.to_thread(sum, [1, 2])
                connection.send(loop.run_until_complete(main()))
                loop.run_until_complete(loop.shutdown_default_executor())
                loop.close()
                connection.close()
            def start(method):
                context = multiprocessing.get_context(method)
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=work, args=(sender,))
                process.start()
                sender.close()
                print(receiver.recv())
                receiver.close()
                process.join()
                print("exit code", process.exitcode)
                process.close()
            def use_pool(method):
                context = multiprocessing.get_context(method)
                return concurrent.futures.ProcessPoolExecutor(1, mp_context=context)
            async def main(method, where):
                loop = asyncio.get_running_loop()
                ours, theirs = socket.socketpair()
                transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
                transport.write(b"once")
                if where == "coroutine":
                    start(method)
                elif where == "thread":
                    await asyncio.to_thread(start, method)
                else:
                    with use_pool(method) as pool:
                        print(await loop.run_in_executor(pool, sum, [1, 2]))
                        print("exit code 0")
                await asyncio.sleep(0)
                print(theirs.recv(100))
                transport.abort()
                theirs.close()
            if __name__ == "__main__":
                signal.alarm(60)
                with asyncio.Runner(loop_factory=new_loop) as runner:
                    runner.run(main(*sys.argv[1:]))
            """
        )
    )
    done = finished([sys.executable, str(program), method, where], {})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["3", "exit code 0", "b'once'"], done.stderr


@pytest.mark.saburo_only  # asyncio's child does not always end (3.14)
@pytest.mark.parametrize("how", ["os.forkpty", "pty.fork"])
def test_a_child_with_a_terminal_of_its_own(kind: Kind, how: str) -> None:
    lines = run(
        kind,
        f"""
        import pty, warnings
        warnings.simplefilter("ignore")
        async def main():
            pid, terminal = {how}()
            if not pid:
                os.write(1, b"from the child")
                sys.exit(3)
            said = b""
            while len(said) < len(b"from the child"):
                said += os.read(terminal, 100)
            print(said)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            os.close(terminal)
            await asyncio.sleep(0.001)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        """,
    )
    assert lines == ["b'from the child'", "3"]


@pytest.mark.saburo_only
def test_a_daemon_made_in_a_coroutine_is_told_that_the_loop_was_its_parents(kind: Kind) -> None:
    """asyncio's goes on with an epoll set that it shares with whatever its parent left."""
    program = kind.run_script(
        """
        import os, signal
        readable, writable = os.pipe()
        async def main():
            if os.fork():
                os._exit(0)
            os.setsid()
            if os.fork():
                os._exit(0)
            signal.alarm(20)
            await asyncio.sleep(0)
        if os.fork():
            os.close(writable)
            print(os.read(readable, 1000).decode(), flush=True)
            os._exit(0)
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(main())
        except RuntimeError as error:
            os.write(writable, str(error).encode())
        """
    )
    assert program.stdout.startswith("This event loop is running in the parent process"), (
        program.stderr
    )
