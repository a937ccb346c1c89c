"""Starting children: every option of Popen, what goes wrong, and starts that are cancelled."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.both_loops import KINDS, PATIENCE, TESTS_ON, Kind, children, outcome

Loop = asyncio.AbstractEventLoop
Run = Callable[..., Any]


def says(source: str) -> list[str]:
    """A child that prints the value of an expression."""
    return [sys.executable, "-I", "-c", f"import os, signal, sys\nprint({source})"]


# Options, and what a child of these options says of itself.
OPTIONS: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "cwd": ({"cwd": "/"}, says("os.getcwd()"), "/"),
    "cwd, a path": ({"cwd": Path("/")}, says("os.getcwd()"), "/"),
    "env": ({"env": {"TEA": "green"}}, says("os.environ['TEA']"), "green"),
    "executable": ({"executable": sys.executable}, ["tea", "-I", "-c", "print(1)"], "1"),
    "start_new_session": (
        {"start_new_session": True},
        says("os.getsid(0) == os.getpid()"),
        "True",
    ),
    "process_group": ({"process_group": 0}, says("os.getpgid(0) == os.getpid()"), "True"),
    "umask": ({"umask": 0o077}, says("oct(os.umask(0))"), "0o77"),
    "preexec_fn": ({"preexec_fn": lambda: os.nice(3)}, says("os.nice(0) >= 3"), "True"),
    "restore_signals": (
        {"restore_signals": False},
        says("signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN"),
        "True",
    ),
    "pipesize": ({"pipesize": 1 << 14}, says("'x' * 20_000"), "x" * 20_000),
    "close_fds": ({"close_fds": False}, says("1"), "1"),
    "stderr into stdout": (
        {"stderr": STDOUT},
        ["sh", "-c", "echo one; echo two >&2"],
        "one\ntwo",
    ),
    "stdin from nowhere": ({"stdin": DEVNULL}, says("repr(sys.stdin.read())"), "''"),
    "user": ({"user": os.getuid()}, says("os.getuid()"), str(os.getuid())),
    "group": ({"group": os.getgid()}, says("os.getgid()"), str(os.getgid())),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_of_popen(run: Run, option: str) -> None:
    options, command, expected = OPTIONS[option]

    async def main() -> Any:
        process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, **options)
        return await process.communicate(), process.returncode

    assert run(main()) == ((expected.encode() + b"\n", None), 0)


def test_descriptors_are_passed_on_and_no_others(run: Run) -> None:
    async def main() -> bytes:
        process = await asyncio.create_subprocess_exec(
            *says("os.listdir('/proc/self/fd')"), stdout=PIPE, pass_fds=[mine]
        )
        out, _ = await process.communicate()
        return out

    mine, other = os.pipe()
    os.set_inheritable(other, True)
    try:
        listed = eval(run(main()))
        # One more for the listing itself.
        assert len(listed) == 5
        assert str(mine) in listed
    finally:
        os.close(mine)
        os.close(other)


def test_files_and_descriptors_as_standard_streams(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"tea\n")

    async def main() -> None:
        with open(tmp_path / "in", "rb") as source, open(tmp_path / "out", "wb") as target:
            process = await asyncio.create_subprocess_shell(
                "cat; cat nothing", stdin=source, stdout=target.fileno(), stderr=target
            )
            assert (process.stdin, process.stdout, process.stderr) == (None, None, None)
            await process.communicate()
            assert process.returncode == 1

    run(main())
    assert (tmp_path / "out").read_bytes().startswith(b"tea\n")


def test_two_children_in_a_row(run: Run) -> None:
    """The pipe between them is not the loop's affair."""

    async def main() -> bytes:
        reader, writer = os.pipe()
        first = await asyncio.create_subprocess_exec("echo", "green tea", stdout=writer)
        os.close(writer)
        second = await asyncio.create_subprocess_exec("tr", "a-z", "A-Z", stdin=reader, stdout=PIPE)
        os.close(reader)
        out, _ = await second.communicate()
        assert await first.wait() == 0
        return out

    assert run(main()) == b"GREEN TEA\n"


def test_programs_and_arguments_of_any_kind(run: Run) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            Path("/bin/echo"), b"bytes", "str", Path("path"), stdout=PIPE
        )
        assert (await process.communicate())[0] == b"bytes str path\n"
        process = await asyncio.create_subprocess_shell(b"echo bytes", stdout=PIPE)
        assert (await process.communicate())[0] == b"bytes\n"

    run(main())


def fails() -> None:
    raise LookupError("before the program")


Start = Callable[[Loop], Any]
P = asyncio.SubprocessProtocol

ERRORS: dict[str, Start] = {
    "no such program": lambda _: asyncio.create_subprocess_exec("/no/such/program"),
    "no such program in the path": lambda _: asyncio.create_subprocess_exec("no-such-program"),
    "no such program, pipes": lambda _: asyncio.create_subprocess_exec(
        "/no/such/program", stdin=PIPE, stdout=PIPE, stderr=PIPE
    ),
    "no such folder": lambda _: asyncio.create_subprocess_exec("true", cwd="/no/such/folder"),
    "no program": lambda _: asyncio.create_subprocess_exec("/etc/passwd"),
    "a folder": lambda _: asyncio.create_subprocess_exec("/"),
    "empty": lambda _: asyncio.create_subprocess_exec(""),
    "preexec_fn raises": lambda _: asyncio.create_subprocess_exec(
        "true", stdin=PIPE, stdout=PIPE, preexec_fn=fails
    ),
    "null character": lambda _: asyncio.create_subprocess_exec("true", "a\0b", stdin=PIPE),
    "number": lambda _: asyncio.create_subprocess_exec("true", 1),  # type: ignore[arg-type]
    "None": lambda _: asyncio.create_subprocess_exec(None),  # type: ignore[arg-type]
    "env of numbers": lambda _: asyncio.create_subprocess_exec("true", env={"A": 1}),  # type: ignore[arg-type]
    "unknown option": lambda _: asyncio.create_subprocess_exec("true", tea="green"),  # type: ignore[call-arg]
    "unknown user": lambda _: asyncio.create_subprocess_exec("true", user="no-such-user"),
    "Windows": lambda _: asyncio.create_subprocess_exec("true", creationflags=1),
    "closed stream": lambda _: asyncio.create_subprocess_exec("true", stdin=10_000),
    "negative stream": lambda _: asyncio.create_subprocess_exec("true", stdin=-7, stdout=PIPE),
    "text stream": lambda _: asyncio.create_subprocess_exec("true", stdin="in"),  # type: ignore[arg-type]
    "stdout=STDOUT": lambda _: asyncio.create_subprocess_exec("true", stdout=STDOUT),
    "shell, no string": lambda loop: loop.subprocess_shell(P, ["true"]),  # type: ignore[arg-type]
    "shell, null character": lambda _: asyncio.create_subprocess_shell("true\0"),
    "shell=False": lambda loop: loop.subprocess_shell(P, "true", shell=False),  # type: ignore[arg-type]
    "shell=True": lambda loop: loop.subprocess_exec(P, "true", shell=True),  # type: ignore[arg-type]
    "universal_newlines": lambda loop: loop.subprocess_exec(P, "true", universal_newlines=True),  # type: ignore[arg-type]
    "bufsize": lambda loop: loop.subprocess_exec(P, "true", bufsize=1),  # type: ignore[arg-type]
    "text": lambda loop: loop.subprocess_exec(P, "true", text=True),
    "encoding": lambda loop: loop.subprocess_exec(P, "true", encoding="utf-8"),  # type: ignore[arg-type]
    "errors": lambda loop: loop.subprocess_exec(P, "true", errors="strict"),  # type: ignore[arg-type]
    "shell, universal_newlines": lambda loop: loop.subprocess_shell(
        P,
        "true",
        universal_newlines=True,  # type: ignore[arg-type]
    ),
    "shell, everything": lambda loop: loop.subprocess_shell(
        P,
        "true",
        universal_newlines=True,  # type: ignore[arg-type]
        shell=False,  # type: ignore[arg-type]
        bufsize=1,  # type: ignore[arg-type]
        text=True,  # type: ignore[arg-type]
    ),
    "no factory": lambda loop: loop.subprocess_exec(None, "true"),  # type: ignore[arg-type]
    "factory fails": lambda loop: loop.subprocess_exec(fails, "true"),
}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.skipif(TESTS_ON == "asyncio", reason="SABURO_TESTS_ON=asyncio")
def test_what_goes_wrong_is_asyncios_error(error: str) -> None:
    """Side by side. The fixture sees to it that no descriptor is left, and no child is."""
    seen = []
    before = children()
    for kind in KINDS[:2]:

        async def main() -> Any:
            return await ERRORS[error](asyncio.get_running_loop())

        with asyncio.Runner(loop_factory=kind.new_loop) as runner:
            came_to = outcome(lambda main=main, runner=runner: runner.run(main()))  # type: ignore[misc]
        seen.append(came_to)
        assert children() <= before
    assert seen[0] == seen[1]
    assert seen[0][0] != "returned"


@pytest.mark.parametrize("pipes", [(), (0,), (1,), (0, 1), (0, 1, 2)], ids=repr)
def test_a_start_takes_as_many_turns_as_in_asyncio(run: Run, pipes: tuple[int, ...]) -> None:
    """One for the task that connects, two for each pipe, one to tell."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1
            handles.append(loop.call_soon(turn))

        handles = [loop.call_soon(turn)]
        stdin, stdout, stderr = (PIPE if fd in pipes else None for fd in range(3))
        process = await asyncio.create_subprocess_exec(
            "sleep", "3600", stdin=stdin, stdout=stdout, stderr=stderr
        )
        handles[-1].cancel()
        process.kill()
        await process.wait()
        return turns

    assert run(main()) == 2 + 2 * len(pipes)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
def test_children_of_eager_tasks(run: Run) -> None:
    async def main() -> None:
        if sys.version_info >= (3, 12):
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        process = await asyncio.create_subprocess_shell("exit 3")
        assert await process.wait() == 3
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        assert (await process.communicate(b"tea"))[0] == b"tea"

    run(main())


@pytest.mark.parametrize("pipes", [None, PIPE], ids=["no pipes", "pipes"])
@pytest.mark.parametrize("turns", range(9))
def test_a_start_that_is_cancelled(run: Run, kind: Kind, turns: int, pipes: int | None) -> None:
    """At any moment: the child is dead and waited for before the cancelled task ends."""

    before = children()

    async def main() -> None:
        start = asyncio.create_task(
            asyncio.create_subprocess_exec("sleep", "3600", stdin=pipes, stdout=pipes, stderr=pipes)
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        start.cancel()
        try:
            process = await asyncio.wait_for(start, PATIENCE)
        except asyncio.CancelledError:
            assert children() <= before
        else:
            process.kill()
            await process.wait()
        for _ in range(3):
            await asyncio.sleep(0)

    run(main())


@pytest.mark.saburo_only
def test_a_cancelled_start_whose_child_left_a_grandchild(run: Run, tmp_path: Path) -> None:
    """It keeps the pipes open; our ends are closed all the same."""
    told = tmp_path / "told"

    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = len(os.listdir("/proc/self/fd"))
        command = f"sleep 3600 & echo $! > {told}.tmp; mv {told}.tmp {told}; read x"
        start = asyncio.create_task(loop.subprocess_shell(P, command))
        await asyncio.sleep(0)
        while not told.exists():
            pass  # not a turn: the start is to be in the middle
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(os.listdir("/proc/self/fd")) == before
        os.kill(int(told.read_text()), signal.SIGKILL)

    run(main())


@pytest.mark.saburo_only
def test_a_start_given_up_with_its_loop(kind: Kind) -> None:
    """The coroutine is closed. asyncio's begins to wait, which it must not."""
    program = kind.run_script(
        """
        import gc, os, warnings
        warnings.simplefilter("ignore")
        loop = new_loop()
        loop.set_exception_handler(lambda loop, context: None)
        async def main():
            await loop.subprocess_exec(asyncio.SubprocessProtocol, "sleep", "3600")
        task = loop.create_task(main())
        loop.call_soon(loop.stop)
        loop.run_forever()
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            pid = int(file.read())
        loop.close()
        del task, loop  # a loop keeps its unfinished tasks, also when it is closed
        gc.collect()
        try:
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        except ChildProcessError:
            print(-9)
        """
    )
    assert (program.stdout, program.stderr) == ("-9\n", "")


@pytest.mark.parametrize("connect", ["connect_read_pipe", "connect_write_pipe"])
@pytest.mark.parametrize("error", [LookupError, asyncio.CancelledError])
def test_a_pipe_that_cannot_be_connected(
    run: Run, kind: Kind, connect: str, error: type[BaseException]
) -> None:
    """The child is killed, every pipe closed, and the error raised."""
    if not kind.is_saburo and sys.version_info < (3, 14):
        pytest.skip("as in asyncio 3.14")

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()

        async def failing(*_args: Any) -> None:
            raise error

        setattr(loop, connect, failing)
        before, processes = len(os.listdir("/proc/self/fd")), children()
        with pytest.raises(error):
            await asyncio.create_subprocess_exec(
                "sleep", "3600", stdin=PIPE, stdout=PIPE, stderr=PIPE
            )
        assert children() <= processes
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(os.listdir("/proc/self/fd")) == before

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 11, 4), reason="Popen itself leaves a pipe behind")
def test_no_descriptors_left_for_pipes(kind: Kind) -> None:
    """OSError, and nothing is left behind; there is room for the child again afterwards."""
    program = kind.run_script(
        """
        import errno, os, resource
        async def main():
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            used = max(map(int, os.listdir("/proc/self/fd")))
            for spare in range(1, 12):
                before = os.listdir("/proc/self/fd")
                resource.setrlimit(resource.RLIMIT_NOFILE, (used + spare, hard))
                try:
                    process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
                except OSError as error:
                    assert error.errno == errno.EMFILE, error
                else:
                    assert await process.communicate(b"x") == (b"x", None)
                    assert process.returncode == 0
                    del process
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
                assert os.listdir("/proc/self/fd") == before
            print("done")
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        """
    )
    if kind.is_saburo:
        assert (program.stdout, program.stderr) == ("done\n", "")


@pytest.mark.saburo_only  # asyncio waits for ever where the child has ended before it looks
def test_a_protocol_that_is_none_fails_the_start(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, _context: None)
        with pytest.raises(AttributeError, match="connection_made"):
            async with asyncio.timeout(PATIENCE):
                await loop.subprocess_exec(object, "true")  # type: ignore[type-var]

    run(main())
