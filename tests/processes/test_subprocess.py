"""Child processes: their pipes, their signals, what their protocol hears and in which order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import platform
import re
import signal
import sys
import threading
import weakref
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Callable
from typing import Any

import pytest
from support.both_loops import PATIENCE, Kind, children, outcome

Loop = asyncio.AbstractEventLoop
Run = Callable[..., Any]


def as_in(version: tuple[int, int], kind: Kind) -> None:
    """Skips the test for asyncio before the version whose behaviour saburo has everywhere."""
    if not kind.is_saburo and sys.version_info < version:
        pytest.skip("as in asyncio {}.{}".format(*version))


def python(source: str) -> list[str]:
    return [sys.executable, "-I", "-c", source]


class Told(asyncio.SubprocessProtocol):
    """Writes down what it is told."""

    transport: asyncio.SubprocessTransport

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.changed = asyncio.Event()

    def _note(self, *what: Any) -> None:
        self.log.append(what[0] if len(what) == 1 else what)
        self.changed.set()

    async def heard(self, *expected: Any) -> None:
        """Waits until exactly this has been heard since the last time."""
        async with asyncio.timeout(PATIENCE):
            while len(self.log) < len(expected):
                self.changed.clear()
                await self.changed.wait()
        assert self.log == list(expected)
        self.log.clear()

    async def has(self, expected: Any) -> None:
        """Waits until this has been heard among others."""
        async with asyncio.timeout(PATIENCE):
            while expected not in self.log:
                self.changed.clear()
                await self.changed.wait()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._note("made")

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._note("data", fd, data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._note("pipe lost", fd, exc)

    def process_exited(self) -> None:
        self._note("exited", self.transport.get_returncode())

    def connection_lost(self, exc: Exception | None) -> None:
        self._note("lost", exc)

    def pause_writing(self) -> None:
        self._note("pause")

    def resume_writing(self) -> None:
        self._note("resume")


def test_communicate(run: Run) -> None:
    async def main() -> Any:
        process = await asyncio.create_subprocess_shell(
            "cat; echo error >&2; exit 3", stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        return await process.communicate(b"some input"), process.returncode

    assert run(main()) == ((b"some input", b"error\n"), 3)


def test_megabytes_both_ways(run: Run) -> None:
    data = os.urandom(1 << 16) * 128  # 8 MiB, more than fits into anything on the way

    async def main() -> Any:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        return await process.communicate(data)

    out, err = run(main())
    assert out == data
    assert err is None


def test_megabytes_from_both_outputs(run: Run) -> None:
    source = "import os\nfor n in range(64): os.write(1, b'o' * 65536); os.write(2, b'e' * 65536)"

    async def main() -> Any:
        process = await asyncio.create_subprocess_exec(*python(source), stdout=PIPE, stderr=PIPE)
        return await process.communicate()

    out, err = run(main())
    assert out == b"o" * (64 << 16)
    assert err == b"e" * (64 << 16)


def test_lines_back_and_forth(run: Run) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        for n in range(50):
            process.stdin.write(b"%d\n" % n)
            assert await process.stdout.readline() == b"%d\n" % n
        process.stdin.close()
        await process.stdin.wait_closed()
        assert await process.stdout.read() == b""
        assert await process.wait() == 0

    run(main())


def test_a_slow_reader_holds_the_child_back(run: Run) -> None:
    """The child writes 4 MiB, and no more than some of it is kept here before it is asked for."""

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            *python(
                "import os; os.write(2, b'ready'); [os.write(1, bytes(1 << 16)) for _ in range(64)]"
            ),
            stdout=PIPE,
            stderr=PIPE,
            limit=1 << 16,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        await process.stderr.readexactly(5)
        for _ in range(20):
            await asyncio.sleep(0.001)
        kept = len(process.stdout._buffer)  # type: ignore[attr-defined]
        assert kept < 1 << 20
        assert process.returncode is None
        assert len(await process.stdout.read()) == 64 << 16
        assert await process.wait() == 0

    run(main())


def test_five_hundred_at_once(run: Run) -> None:
    async def one(n: int) -> bool:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", f"echo {n}; exit {n % 200}", stdout=PIPE
        )
        out, _ = await process.communicate()
        return out == b"%d\n" % n and process.returncode == n % 200

    async def main() -> None:
        assert all(await asyncio.gather(*(one(n) for n in range(500))))

    run(main())


# --- What the protocol is told. ---


def test_the_protocol_is_told_in_order(run: Run, kind: Kind) -> None:
    """Each step waits for the one before, so there is one order that it can be."""
    source = """if True:
        import os
        os.write(1, os.read(0, 100)); os.write(2, os.read(0, 100)); os.close(1)
        os.read(0, 100); os.close(2); os.read(0, 100)
    """
    as_in((3, 12), kind)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, told = await loop.subprocess_exec(Told, *python(source))
        await told.heard("made")
        assert told.transport is transport
        stdin: Any = transport.get_pipe_transport(0)
        stdin.write(b"one")
        await told.heard(("data", 1, b"one"))
        stdin.write(b"two")
        await told.heard(("data", 2, b"two"), ("pipe lost", 1, None))
        stdin.write(b"go on")
        await told.heard(("pipe lost", 2, None))
        stdin.close()
        await told.heard(("pipe lost", 0, None), ("exited", 0), ("lost", None))
        transport.close()
        assert transport.get_returncode() == 0

    run(main())


def test_the_protocol_is_told_of_an_end_without_pipes(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, told = await loop.subprocess_exec(
            Told, "sh", "-c", "exit 5", stdin=None, stdout=None, stderr=None
        )
        await told.heard("made", ("exited", 5), ("lost", None))
        assert [transport.get_pipe_transport(fd) for fd in range(4)] == [None] * 4
        transport.close()

    run(main())


def test_close_while_running_kills_and_tells(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, told = await loop.subprocess_exec(Told, "sleep", "3600")
        await told.heard("made")
        assert not transport.is_closing()
        transport.close()
        assert transport.is_closing()
        await told.has(("lost", None))
        lost = [("pipe lost", fd, None) for fd in range(3)]
        assert sorted(told.log[:-1], key=repr) == sorted([*lost, ("exited", -9)], key=repr)
        assert told.log[-1] == ("lost", None)
        transport.close()

    run(main())
    assert not caplog.records


def test_writing_more_than_fits_pauses_the_protocol(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, told = await loop.subprocess_exec(
            Told,
            *python("import os, sys; os.read(0, 1); sys.stdin.read()"),
            stdout=None,
            stderr=None,
        )
        await told.heard("made")
        stdin: Any = transport.get_pipe_transport(0)
        stdin.write(bytes(1 << 20))
        await told.heard("pause", "resume")
        stdin.close()
        await told.heard(("pipe lost", 0, None), ("exited", 0), ("lost", None))
        transport.close()

    run(main())


def test_set_protocol_takes_effect_at_once(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, told = await loop.subprocess_exec(Told, "cat", stderr=None)
        await told.heard("made")
        other = Told()
        other.transport = transport
        transport.set_protocol(other)
        assert transport.get_protocol() is other
        stdin: Any = transport.get_pipe_transport(0)
        stdin.write(b"x")
        await other.heard(("data", 1, b"x"))
        transport.close()
        await other.has(("lost", None))
        assert told.log == []

    run(main())


def test_what_the_transport_answers(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, told = await loop.subprocess_exec(Told, "cat", stderr=STDOUT)
        assert isinstance(transport, asyncio.SubprocessTransport)
        popen = transport.get_extra_info("subprocess")
        assert popen.pid == transport.get_pid()
        assert popen.args == ("cat",)
        assert transport.get_extra_info("nothing", 7) == 7
        assert transport.get_returncode() is None
        assert transport.get_protocol() is told
        assert isinstance(transport.get_pipe_transport(0), asyncio.WriteTransport)
        assert isinstance(transport.get_pipe_transport(1), asyncio.ReadTransport)
        assert transport.get_pipe_transport(2) is None
        stdin: Any = transport.get_pipe_transport(0)
        assert stdin.get_extra_info("pipe") is popen.stdin
        shown = repr(transport)
        for fd in (0, 1):
            shown = shown.replace(repr(transport.get_pipe_transport(fd)), "…")
        assert re.fullmatch(rf"<\w+ pid={popen.pid} running stdin=… stdout=…>", shown)
        stdin.close()
        assert await transport._wait() == 0  # type: ignore[attr-defined]
        transport.close()
        assert re.match(rf"<\w+ closed pid={popen.pid} returncode=0", repr(transport))
        assert popen.returncode == 0

    run(main())


# --- Signals. ---


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda process: process.kill(), -signal.SIGKILL),
        (lambda process: process.terminate(), -signal.SIGTERM),
        (lambda process: process.send_signal(signal.SIGUSR1), -signal.SIGUSR1),
        (lambda process: process.send_signal(signal.SIGHUP), -signal.SIGHUP),
    ],
    ids=["kill", "terminate", "SIGUSR1", "SIGHUP"],
)
def test_signals_end_the_child(run: Run, send: Callable[[Any], None], code: int) -> None:
    async def main() -> Any:
        process = await asyncio.create_subprocess_exec("sleep", "3600")
        send(process)
        return await process.wait(), process.returncode

    assert run(main()) == (code, code)


def test_a_child_that_handles_a_signal_goes_on(run: Run) -> None:
    source = """if True:
        import signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        print("ready", flush=True)
        print(signal.sigwait([signal.SIGUSR1]).name, flush=True)
        print(input())
    """

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(*python(source), stdin=PIPE, stdout=PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGUSR1)
        assert await process.stdout.readline() == b"SIGUSR1\n"
        assert (await process.communicate(b"line\n"))[0] == b"line\n"
        assert process.returncode == 0

    run(main())


def test_signals_after_the_end(run: Run, kind: Kind) -> None:
    """Nothing happens while pipes are open, ProcessLookupError afterwards."""
    as_in((3, 14), kind)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        # The grandchild keeps the pipe open after the child.
        transport, told = await loop.subprocess_exec(
            Told, "sh", "-c", "sleep 3600 & echo $!", stdin=None, stderr=None
        )
        assert await transport._wait() == 0  # type: ignore[attr-defined]
        await told.has(("exited", 0))
        while not (said := [what for what in told.log if what[0] == "data"]):
            await asyncio.sleep(0.001)
        transport.send_signal(signal.SIGTERM)
        transport.terminate()
        transport.kill()
        os.kill(int(said[0][2]), signal.SIGKILL)
        await told.has(("lost", None))
        for signalling in (
            lambda: transport.send_signal(signal.SIGTERM),
            transport.terminate,
            transport.kill,
        ):
            assert outcome(signalling) == ("ProcessLookupError", "")
        transport.close()

    run(main())


def test_wait_by_many_and_after_the_end(run: Run) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_shell("read x; exit 4", stdin=PIPE)
        waiting = [asyncio.create_task(process.wait()) for _ in range(5)]
        await asyncio.sleep(0)
        waiting[2].cancel()
        assert process.stdin is not None
        process.stdin.close()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [int, int, asyncio.CancelledError, int, int]
        assert await process.wait() == await process.wait() == process.returncode == 4

    run(main())


def test_wait_does_not_wait_for_pipes(run: Run, kind: Kind) -> None:
    """A grandchild may keep them open for ever."""
    as_in((3, 14), kind)

    async def main() -> None:
        process = await asyncio.create_subprocess_shell("sleep 3600 & echo $!", stdout=PIPE)
        assert process.stdout is not None
        grandchild = int(await process.stdout.readline())
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
        assert not process.stdout.at_eof()
        os.kill(grandchild, signal.SIGKILL)
        assert await process.stdout.read() == b""

    run(main())


# --- Children that close their pipes early. ---


def test_writing_to_a_child_that_has_closed_its_input(run: Run) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_shell(
            "exec 0<&-; echo closed; exec sleep 3600", stdin=PIPE, stdout=PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert await process.stdout.readline() == b"closed\n"
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(100):
                process.stdin.write(bytes(1 << 16))
                await process.stdin.drain()
        assert process.returncode is None
        process.kill()
        assert await process.wait() == -9

    run(main())


def test_communicate_with_a_child_that_does_not_read(run: Run) -> None:
    async def main() -> Any:
        process = await asyncio.create_subprocess_shell(
            "echo enough; exit 6", stdin=PIPE, stdout=PIPE
        )
        return await process.communicate(bytes(8 << 20)), process.returncode

    assert run(main()) == ((b"enough\n", None), 6)


def test_a_child_that_closes_its_outputs_and_goes_on(run: Run) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_shell(
            "exec 1>&- 2>&-; read x; exit 8", stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert await process.stdout.read() == await process.stderr.read() == b""
        assert process.returncode is None
        process.stdin.write(b"go on\n")
        assert await process.wait() == 8

    run(main())


def test_closing_our_end_of_an_output(run: Run) -> None:
    """The child gets SIGPIPE."""

    async def main() -> None:
        process = await asyncio.create_subprocess_exec("yes", stdout=PIPE)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"y\n"
        pipe: Any = process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
        pipe.close()
        assert await process.wait() == -signal.SIGPIPE

    run(main())


# --- What is left, and what is said about it. ---


def test_nothing_is_left_of_many(run: Run) -> None:
    async def main() -> None:
        for n in range(30):
            process = await asyncio.create_subprocess_exec(
                "cat", stdin=PIPE, stdout=PIPE, stderr=PIPE
            )
            if n % 3 == 0:
                await process.communicate(b"x")
            elif n % 3 == 1:
                process.kill()
                await process.wait()
            else:
                process._transport.close()  # type: ignore[attr-defined]
                await process.wait()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        descriptors.append(len(os.listdir("/proc/self/fd")))

    descriptors: list[int] = []
    before = children()
    for _ in range(2):
        run(main())
    assert children() <= before
    assert descriptors[0] == descriptors[1]


def test_a_transport_goes_by_itself_when_all_is_over(run: Run, kind: Kind) -> None:
    """Without the collector: nothing is left in a cycle."""
    as_in((3, 12), kind)

    async def main() -> None:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        assert (await process.communicate(b"x"))[0] == b"x"
        alive: Any = process._transport  # type: ignore[attr-defined]
        transport, popen = weakref.ref(alive), weakref.ref(alive.get_extra_info("subprocess"))
        del process, alive
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert transport() is None
        assert popen() is None

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


def test_a_transport_in_a_cycle_with_its_protocol_is_collected(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, told = await loop.subprocess_exec(Told, "true")
        await told.has(("exited", 0))
        transport.close()
        await told.has(("lost", None))
        told.anchor = [transport, told]  # type: ignore[attr-defined]
        refs: list[Any] = [weakref.ref(transport), weakref.ref(told)]
        del transport, told
        await asyncio.sleep(0)
        # Until 3.11 a thread of asyncio's waits for the child, and has the transport until it ends.
        for thread in threading.enumerate():
            if "waitpid" in thread.name:
                thread.join()
        gc.collect()
        assert [ref() for ref in refs] == [None, None]

    run(main())


def test_a_child_nobody_waited_for_is_killed_and_warned_about(kind: Kind) -> None:
    as_in((3, 14), kind)
    program = kind.run_script(
        """
        import gc, os, warnings
        warnings.simplefilter("always")
        pids = []
        async def main():
            process = await asyncio.create_subprocess_exec("sleep", "3600", stdin=-1, stdout=-1)
            pids.append(process.pid)
        before = len(os.listdir("/proc/self/fd"))
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        gc.collect()
        try:
            assert os.waitstatus_to_exitcode(os.waitpid(*pids, 0)[1]) == -9
        except ChildProcessError:
            pass  # Popen has waited for it as it went
        print(len(os.listdir("/proc/self/fd")) - before)
        """
    )
    # asyncio leaves its pidfd open.
    assert program.stdout.strip() == ("0" if kind.is_saburo else "1"), program.stderr
    said = re.findall(r"ResourceWarning: (unclosed transport|subprocess)", program.stderr)
    assert sorted(said) == ["subprocess", *["unclosed transport"] * 3]
    assert "Traceback" not in program.stderr
    assert "ignored" not in program.stderr


def test_a_loop_closed_right_after_the_kill(kind: Kind) -> None:
    as_in((3, 14), kind)
    program = kind.run_script(
        """
        import gc, warnings
        async def main():
            process = await asyncio.create_subprocess_exec("sleep", "3600", stdin=-1, stdout=-1)
            process.kill()
        warnings.simplefilter("ignore")
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        gc.collect()
        """
    )
    assert (program.returncode, program.stdout, program.stderr) == (0, "", "")


def test_what_is_logged_in_debug_mode(
    run: Run, caplog: pytest.LogCaptureFixture, kind: Kind
) -> None:
    as_in((3, 14), kind)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        process = await asyncio.create_subprocess_exec(
            "cat", "-", stdin=PIPE, stdout=PIPE, stderr=STDOUT
        )
        await process.communicate(b"x")
        transport, _ = await loop.subprocess_shell(
            asyncio.SubprocessProtocol, "sleep 3600", stdin=DEVNULL, stdout=None, stderr=PIPE
        )
        transport.close()
        await transport._wait()  # type: ignore[attr-defined]

    caplog.set_level(logging.DEBUG, "asyncio")
    run(main(), debug=True)
    said = []
    for record in caplog.records:
        message = re.sub(r"pid \d+", "pid …", record.message)
        message = re.sub(r"<\w+ (closed )?pid=.*>", r"<\1process>", message)
        if re.match(r"execute|run shell|process|Close running|<(closed )?process>", message):
            said.append((record.levelname, message))
    assert said == [
        ("DEBUG", "execute program 'cat' stdin=<pipe> stdout=stderr=<pipe>"),
        ("DEBUG", "process 'cat' created: pid …"),
        ("INFO", "execute program 'cat': <process>"),
        ("INFO", "<process> exited with return code 0"),
        ("DEBUG", f"run shell command 'sleep 3600' stdin={DEVNULL} stderr=<pipe>"),
        ("DEBUG", "process 'sleep 3600' created: pid …"),
        ("INFO", "run shell command 'sleep 3600': <process>"),
        ("WARNING", "Close running child process: kill <closed process>"),
        ("INFO", "<closed process> exited with return code -9"),
    ]


def test_a_program_in_debug_mode_complains_of_nothing(kind: Kind) -> None:
    program = kind.run_script(
        """
        async def main():
            process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
            assert await process.communicate(b"x") == (b"x", None)
            process = await asyncio.create_subprocess_shell("exit 3")
            print(await process.wait())
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.get_loop().slow_callback_duration = 60
            runner.run(main())
        """,
        env={**os.environ, "PYTHONASYNCIODEBUG": "1"},
    )
    assert (program.stdout, program.stderr) == ("3\n", "")


@pytest.mark.saburo_only
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc's malloc")
def test_the_memory_of_a_long_output_is_kept_for_the_next(kind: Kind) -> None:
    """Taking it anew from the kernel, page by page, costs as much as everything else."""
    done = kind.run_script(
        """
        from asyncio.subprocess import PIPE
        from resource import RUSAGE_SELF, getrusage

        DATA = bytes(8 << 20)

        async def through_cat():
            process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
            out, _ = await process.communicate(DATA)
            assert out == DATA

        async def main():
            for _ in range(3):
                await through_cat()
            before = getrusage(RUSAGE_SELF).ru_minflt
            for _ in range(4):
                await through_cat()
            print((getrusage(RUSAGE_SELF).ru_minflt - before) // 4)

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        """
    )
    # In pieces and joined it would be 4096 pages.
    assert int(done.stdout) < 1024, done.stderr
