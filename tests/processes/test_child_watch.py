"""The end of a child: by pidfd or by looking, on any thread, whoever has waited for it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from support.both_loops import PATIENCE, TESTS_ON, Kind
from support.fork import FORK

Loop = asyncio.AbstractEventLoop
Run = Callable[..., Any]

KNOWS_CODES_OF_THE_REAPED = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 15)


@pytest.fixture(params=["pidfd", "polling"])
def watch(kind: Kind, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to learn of an end; on asyncio, its own."""
    way: str = request.param
    if way == "polling":
        if not kind.is_saburo:
            pytest.skip("asyncio has ways of its own")
        from saburo import _pidfd

        monkeypatch.setattr(_pidfd, "open_pidfd", lambda _pid: None)
    return way


class Held:
    """A shell command that waits until it is let go, without a turn of the loop."""

    def __init__(self, command: str) -> None:
        self.command = f"read x; {command}"

    def __enter__(self) -> Held:
        self.reader, self.writer = os.pipe()
        return self

    def __exit__(self, *_exc: object) -> None:
        for descriptor in (self.reader, self.writer):
            if descriptor >= 0:
                os.close(descriptor)

    async def start(self) -> Any:
        """Returns its transport."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.subprocess_shell(
            asyncio.SubprocessProtocol, self.command, stdin=self.reader, stdout=None, stderr=None
        )
        return transport

    def let_go(self) -> None:
        os.close(self.writer)
        self.writer = -1


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_exit_codes(run: Run, watch: str, code: int) -> None:
    async def main() -> Any:
        process = await asyncio.create_subprocess_exec("sh", "-c", f"exit {code}")
        return await process.wait(), process.returncode

    assert run(main()) == (code, code)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR2])
def test_ends_by_signal(run: Run, watch: str, number: signal.Signals) -> None:
    async def main() -> Any:
        process = await asyncio.create_subprocess_exec("sh", "-c", f"kill -{number} $$")
        return await process.wait()

    assert run(main()) == -number


def test_an_end_long_before_anybody_asks(run: Run, watch: str) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("sh", "-c", "exit 9")
        while process.returncode is None:
            await asyncio.sleep(0.001)
        assert await process.wait() == process.returncode == 9

    run(main())


def test_a_child_that_stops_has_not_ended(run: Run, watch: str) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("sleep", "3600")
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert process.returncode is None
        process.send_signal(signal.SIGCONT)
        process.terminate()
        assert await process.wait() == -signal.SIGTERM

    run(main())


def test_a_hundred_ends(run: Run, watch: str) -> None:
    async def one(n: int) -> int:
        process = await asyncio.create_subprocess_exec("sh", "-c", f"exit {n}")
        return await process.wait()

    async def main() -> list[int]:
        return await asyncio.gather(*(one(n) for n in range(100)))

    assert run(main()) == list(range(100))


def test_loops_in_threads(kind: Kind, watch: str) -> None:
    """There is no main thread to help, and no watcher to be attached."""

    async def main(number: int) -> None:
        for n in range(5):
            process = await asyncio.create_subprocess_exec(
                "sh", "-c", f"cat; exit {10 * number + n}", stdin=PIPE, stdout=PIPE
            )
            assert (await process.communicate(b"tea"))[0] == b"tea"
            assert process.returncode == 10 * number + n
        done.append(number)

    def work(number: int) -> None:
        with asyncio.Runner(loop_factory=kind.new_loop) as runner:
            runner.run(main(number))

    done: list[int] = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(done) == [0, 1, 2, 3]


@pytest.mark.saburo_only
def test_no_thread_and_no_handler_of_signals_helps(run: Run) -> None:
    """asyncio of 3.11 has a thread for each child."""

    async def main() -> None:
        before = threading.active_count()
        process = await asyncio.create_subprocess_exec("sleep", "3600")
        assert threading.active_count() == before
        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
        process.kill()
        await process.wait()

    run(main())


def test_other_children_of_the_program_are_left_alone(run: Run, watch: str) -> None:
    async def main() -> None:
        other = subprocess.Popen(["sh", "-c", "exit 5"])
        process = await asyncio.create_subprocess_exec("sh", "-c", "exit 6")
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert await process.wait() == 6
        for _ in range(5):
            await asyncio.sleep(0.001)
        assert os.waitpid(other.pid, os.WNOHANG) == (other.pid, 5 << 8)
        other.returncode = 5

    run(main())


# --- Children that somebody else has waited for. ---


@pytest.mark.saburo_only
def test_a_stranger_waits_for_the_child(
    run: Run, watch: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Newer kernels still know the code, which asyncio does not ask for."""

    async def main() -> Any:
        with Held("exit 9") as held:
            transport = await held.start()
            pid = transport.get_pid()
            held.let_go()
            assert os.waitpid(pid, 0) == (pid, 9 << 8)
            code = await transport._wait()
            transport.close()
            return code, pid

    code, pid = run(main())
    said = [record.message for record in caplog.records]
    if watch == "pidfd" and KNOWS_CODES_OF_THE_REAPED:
        assert code == 9
        assert said == []
    else:
        assert code == 255
        assert said == [
            f"child process pid {pid} exit status already read:  will report returncode 255"
        ]


@pytest.mark.saburo_only
@pytest.mark.parametrize("on_a_thread", [False, True])
def test_popen_itself_waits_for_the_child(run: Run, watch: str, on_a_thread: bool) -> None:
    """asyncio says 255 then."""

    async def main() -> None:
        with Held("exit 9") as held:
            transport = await held.start()
            popen = transport.get_extra_info("subprocess")
            codes: list[int] = []
            thread = threading.Thread(target=lambda: codes.append(popen.wait()))
            if on_a_thread:
                thread.start()
            held.let_go()
            if not on_a_thread:
                codes.append(popen.wait())
            assert await transport._wait() == transport.get_returncode() == 9
            if on_a_thread:
                thread.join(PATIENCE)
            assert codes == [popen.returncode] == [9]
            transport.close()

    run(main())


@pytest.mark.saburo_only
def test_close_after_the_end_and_before_it_is_known(
    run: Run, watch: str, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio's close() takes the code away from its own watcher, which then says 255."""

    async def main() -> None:
        with Held("exit 9") as held:
            transport = await held.start()
            held.let_go()
            os.waitid(os.P_PID, transport.get_pid(), os.WEXITED | os.WNOWAIT)
            transport.close()
            assert await transport._wait() == 9

    run(main())
    assert not caplog.records


@pytest.mark.saburo_only
def test_a_program_that_ignores_its_children(kind: Kind) -> None:
    """The kernel waits for them itself then. The code may be lost, the end is not."""
    program = kind.run_script(
        """
        import logging, signal
        logging.getLogger("asyncio").disabled = True
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        async def main():
            codes = set()
            for _ in range(20):
                process = await asyncio.create_subprocess_exec("sh", "-c", "exit 9")
                codes.add(await process.wait())
            print(codes <= {9, 255})
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        """
    )
    assert (program.stdout, program.stderr) == ("True\n", "")


# --- Numbers that go to another process. ---


@pytest.mark.saburo_only
def test_a_recycled_number_is_not_signalled(run: Run) -> None:
    """The child is gone, a stranger has waited for it, and another process has its number."""
    counter = Path("/proc/sys/kernel/ns_last_pid")
    if not os.access(counter, os.W_OK):
        pytest.skip("needs to choose the number of a process")

    async def main() -> bool:
        with Held("exit") as held:
            transport = await held.start()
            pid = transport.get_pid()
            held.let_go()
            os.waitpid(pid, 0)
            try:
                counter.write_text(str(pid - 1))
            except PermissionError:
                pytest.skip("needs to choose the number of a process")
            with subprocess.Popen(["sleep", "3600"]) as victim:
                try:
                    transport.kill()
                    transport.send_signal(signal.SIGTERM)
                    transport.close()
                    assert victim.poll() is None
                finally:
                    victim.kill()
            await transport._wait()
            return bool(victim.pid == pid)

    assert any(run(main()) for _ in range(50))


# --- Polling, where there are no pidfds. ---


@pytest.fixture
def polling(monkeypatch: pytest.MonkeyPatch) -> None:
    from saburo import _pidfd

    monkeypatch.setattr(_pidfd, "open_pidfd", lambda _pid: None)


@pytest.mark.saburo_only
@pytest.mark.usefixtures("polling")
def test_polling_gives_the_signal_back(run: Run) -> None:
    async def main() -> None:
        first = await asyncio.create_subprocess_exec("sleep", "3600")
        second = await asyncio.create_subprocess_exec("sh", "-c", "exit 3")
        assert signal.getsignal(signal.SIGCHLD) is not signal.SIG_DFL
        assert await second.wait() == 3
        assert signal.getsignal(signal.SIGCHLD) is not signal.SIG_DFL
        first.kill()
        await first.wait()
        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL

    run(main())


@pytest.mark.saburo_only
@pytest.mark.usefixtures("polling")
@pytest.mark.parametrize("when", ["before", "after"])
def test_polling_leaves_the_programs_own_handler_alone(run: Run, when: str) -> None:
    seen: list[int] = []

    def install() -> Any:
        signal.signal(signal.SIGCHLD, lambda number, _frame: seen.append(number))
        return signal.getsignal(signal.SIGCHLD)

    async def main() -> None:
        mine = install() if when == "before" else None
        process = await asyncio.create_subprocess_exec("sh", "-c", "read x; exit 3", stdin=PIPE)
        mine = mine or install()
        assert process.stdin is not None
        process.stdin.close()
        assert await process.wait() == 3
        assert signal.getsignal(signal.SIGCHLD) is mine
        assert seen

    try:
        run(main())
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@pytest.mark.saburo_only
@pytest.mark.usefixtures("polling")
def test_polling_leaves_the_loops_other_handler_alone(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        seen = asyncio.Event()
        process = await asyncio.create_subprocess_exec("sh", "-c", "read x; exit 3", stdin=PIPE)
        loop.add_signal_handler(signal.SIGCHLD, seen.set)
        assert process.stdin is not None
        process.stdin.close()
        assert await process.wait() == 3
        await asyncio.wait_for(seen.wait(), PATIENCE)
        assert loop.remove_signal_handler(signal.SIGCHLD)

    run(main())


@pytest.mark.saburo_only
def test_out_of_descriptors_for_a_pidfd(kind: Kind) -> None:
    """asyncio raises OSError, with the child running."""
    program = kind.run_script(
        """
        import os, resource, subprocess
        from saburo._child_watch import watch_child
        async def main():
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            # Popen needs two of its own for a moment; all of the rest are taken away from under it.
            def fill():
                try:
                    while True:
                        taken.append(os.dup(0))
                except OSError:
                    pass
            taken = []
            used = max(map(int, os.listdir("/proc/self/fd")))
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + 10, hard))
            process = subprocess.Popen(["sh", "-c", "exit 3"])
            fill()
            codes = []
            loop = asyncio.get_running_loop()
            ended = asyncio.Event()
            watch_child(loop, process, lambda code: (codes.append(code), ended.set()))
            await ended.wait()
            for fd in taken:
                os.close(fd)
            print(codes)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        """
    )
    assert (program.stdout, program.stderr) == ("[3]\n", "")


# --- Loops that are closed, and processes that are forked. ---


@pytest.mark.saburo_only
def test_closing_the_loop_with_children(kind: Kind, watch: str) -> None:
    """One that has ended leaves no zombie; one that runs is the holder's, who can still end it."""
    loop = kind.new_loop()

    async def main() -> Any:
        runs, _ = await loop.subprocess_exec(
            asyncio.SubprocessProtocol, "sleep", "3600", stdin=None, stdout=None, stderr=None
        )
        with Held("exit 3") as held:
            ended = await held.start()
            held.let_go()
            os.waitid(os.P_PID, ended.get_pid(), os.WEXITED | os.WNOWAIT)
        return ended, runs

    ended, runs = loop.run_until_complete(main())
    loop.close()
    assert ended.get_extra_info("subprocess").returncode == 3
    with pytest.raises(ChildProcessError):
        os.waitpid(ended.get_pid(), os.WNOHANG)
    ended.close()
    popen = runs.get_extra_info("subprocess")
    assert popen.poll() is None
    runs.send_signal(signal.SIGTERM)
    assert popen.wait() == -signal.SIGTERM
    runs.close()


def forked(kind: Kind, source: str) -> list[str]:
    program = kind.run_script(dedent(FORK) + dedent(source))
    assert program.returncode == 0, program.stderr
    assert program.stderr == ""
    return program.stdout.splitlines()


@pytest.mark.saburo_only
@pytest.mark.parametrize("by", ["pidfd", "polling"])
def test_a_forked_process_leaves_the_children_of_its_parent_alone(kind: Kind, by: str) -> None:
    """asyncio's kills them when it lets go of its copies."""
    lines = forked(
        kind,
        f"""
        import gc, signal, warnings
        from saburo import _pidfd
        if {by == "polling"}:
            _pidfd.open_pidfd = lambda pid: None
        async def main():
            global transport
            loop = asyncio.get_running_loop()
            transport, _ = await loop.subprocess_exec(asyncio.SubprocessProtocol, "cat")
            pid = transport.get_pid()
            def child():
                global transport
                warnings.simplefilter("ignore")
                try:
                    transport.kill()
                except ProcessLookupError:
                    print("no child of mine")
                transport.__del__()
                del transport
                gc.collect()
            assert in_child(child) == 0
            assert os.waitpid(pid, os.WNOHANG) == (0, 0)
            transport.get_pipe_transport(0).close()
            print(await transport._wait())
            transport.close()
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        """,
    )
    assert lines == ["no child of mine", "0"]


def test_a_forked_process_has_children_of_its_own(kind: Kind) -> None:
    if not kind.is_saburo and sys.version_info < (3, 12):
        pytest.skip("as in asyncio 3.12")
    lines = forked(
        kind,
        """
        async def start(code):
            process = await asyncio.create_subprocess_shell(f"echo tea; exit {code}", stdout=-1)
            return await process.communicate(), process.returncode
        def child():
            with asyncio.Runner(loop_factory=new_loop) as runner:
                print(runner.run(start(3)))
        async def main():
            process = await asyncio.create_subprocess_exec("cat", stdin=-1)
            assert in_child(child) == 0
            process.stdin.close()
            print(await process.wait())
            print(await start(4))
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        """,
    )
    assert lines == ["((b'tea\\n', None), 3)", "0", "((b'tea\\n', None), 4)"]


@pytest.mark.saburo_only
@pytest.mark.parametrize("by", ["pidfd", "polling"])
def test_an_idle_loop_goes_on_in_a_forked_process_without_the_children(kind: Kind, by: str) -> None:
    lines = forked(
        kind,
        f"""
        from saburo import _pidfd
        if {by == "polling"}:
            _pidfd.open_pidfd = lambda pid: None
        loop = new_loop()
        async def start():
            return await asyncio.create_subprocess_exec("sh", "-c", "read x; exit 3", stdin=-1)
        process = loop.run_until_complete(start())
        def child():
            loop.run_until_complete(asyncio.sleep(0.05))
            print(process.returncode, process._transport.get_extra_info("subprocess").returncode)
            other = loop.run_until_complete(start())
            other.stdin.close()
            print(loop.run_until_complete(other.wait()))
        assert in_child(child) == 0
        process.stdin.close()
        print(loop.run_until_complete(process.wait()))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        """,
    )
    assert lines == ["None None", "3", "3"]


@pytest.mark.skipif(TESTS_ON == "asyncio", reason="SABURO_TESTS_ON=asyncio")
def test_what_the_kernel_says_of_a_process_that_is_gone() -> None:
    from saburo import _pidfd

    process = subprocess.Popen(["sh", "-c", "exit 9"])
    pidfd = _pidfd.open_pidfd(process.pid)
    if pidfd is None:
        pytest.skip("no pidfds here")
    try:
        assert _pidfd.status_of_reaped(pidfd) in (None, 9 << 8)
        process.wait()
        expected = 9 << 8 if KNOWS_CODES_OF_THE_REAPED else None
        assert _pidfd.status_of_reaped(pidfd) == expected
        with pytest.raises(ProcessLookupError):
            _pidfd.send_signal(pidfd, signal.SIGTERM)
    finally:
        os.close(pidfd)
