"""The result of a call, given where a function was expected: refused at once, with what to write.

asyncio takes it, and fails later to call it, in the loop or in a thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import os
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.both_loops import Kind, turn

Loop = Any
Run = Callable[..., Any]

GIVEN = "tea"


def heavy(what: str = GIVEN) -> str:
    """What should have been passed; its result is passed instead."""
    return what


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


CALLS: dict[str, tuple[Callable[[Loop, Any, tuple[int, int]], Any], str]] = {
    "call_soon": (lambda loop, f, _: loop.call_soon(f), "f, x"),
    "call_soon_threadsafe": (lambda loop, f, _: loop.call_soon_threadsafe(f), "f, x"),
    "call_later": (lambda loop, f, _: loop.call_later(0, f), "delay, f, x"),
    "call_at": (lambda loop, f, _: loop.call_at(0, f), "when, f, x"),
    "add_reader": (lambda loop, f, pipe: loop.add_reader(pipe[0], f), "fd, f, x"),
    "add_writer": (lambda loop, f, pipe: loop.add_writer(pipe[1], f), "fd, f, x"),
    "add_signal_handler": (
        lambda loop, f, _: loop.add_signal_handler(signal.SIGUSR1, f),
        "sig, f, x",
    ),
    "add_done_callback": (lambda loop, f, _: loop.create_future().add_done_callback(f), "f"),
    "run_in_executor": (lambda loop, f, _: loop.run_in_executor(None, f), "executor, f, x"),
}


@pytest.mark.saburo_only
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_it_is_refused_at_the_call(
    loop: Loop, pipe: tuple[int, int], name: str, debug: bool
) -> None:
    loop.set_debug(debug)
    call, right = CALLS[name]
    wrong = re.sub(r"\bf(, x)?$", "f(x)", right)
    for given in (heavy(), None, 42):
        with pytest.raises(TypeError) as caught:
            call(loop, given, pipe)
        assert str(caught.value) == (
            f"a callable object was expected by {name}(), got {given!r}: write {name}({right}), "
            f"not {name}({wrong}), which passes what f has returned"
        )
    turn(loop, 3)


@pytest.mark.parametrize("name", CALLS)
def test_what_can_be_called_is_taken(loop: Loop, pipe: tuple[int, int], name: str) -> None:
    class WithCall:
        def __call__(self, *_: object) -> None:
            pass

    call, _ = CALLS[name]
    for function in (heavy, WithCall(), functools.partial(heavy), str, print, "".join):
        made = call(loop, function, pipe)
        if name == "run_in_executor" or made is not None:
            made.cancel()
    loop.remove_reader(pipe[0])
    loop.remove_writer(pipe[1])
    loop.remove_signal_handler(signal.SIGUSR1)
    turn(loop)


@pytest.mark.saburo_only
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("executor", [None, "of the program", "of a call"])
def test_to_thread_tells_it_of_itself(run: Run, debug: bool, executor: str | None) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        if executor == "of the program":
            loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
        await asyncio.to_thread(heavy)
        for given in (heavy(), None):
            expected = (
                rf"^a callable object was expected by to_thread\(\), got {given!r}: "
                r"write to_thread\(f, x\), not to_thread\(f\(x\)\), which passes"
            )
            with pytest.raises(TypeError, match=expected):
                await asyncio.to_thread(given, "x")  # type: ignore[arg-type]
        if executor == "of a call":
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                with pytest.raises(TypeError, match=r"run_in_executor\(executor, f, x\)"):
                    await loop.run_in_executor(pool, heavy())  # type: ignore[arg-type]
                assert await loop.run_in_executor(pool, heavy) == GIVEN

    run(main(), debug=debug)


def test_partials_that_look_like_to_threads_run(run: Run) -> None:
    class Runner:
        def run(self, what: str) -> str:
            return what

    async def main() -> None:
        loop = asyncio.get_running_loop()
        run_in = contextvars.copy_context().run
        assert await loop.run_in_executor(None, functools.partial(heavy, "x")) == "x"
        assert await loop.run_in_executor(None, functools.partial(Runner().run, "x")) == "x"
        assert await loop.run_in_executor(None, functools.partial(run_in, heavy, "x")) == "x"
        assert await loop.run_in_executor(None, functools.partial(heavy)) == GIVEN

    run(main())


@pytest.mark.saburo_only
def test_a_coroutine_is_told_where_it_belongs(loop: Loop) -> None:
    async def work() -> None: ...

    coroutine = work()
    for call, advice in {
        loop.call_soon: "call_soon(): await it, or run it with create_task()",
        loop.call_soon_threadsafe: "call_soon_threadsafe(): run it with "
        "asyncio.run_coroutine_threadsafe()",
        functools.partial(loop.run_in_executor, None): "run_in_executor(): await it, or run it "
        "with create_task()",
    }.items():
        with pytest.raises(TypeError) as caught:
            call(coroutine)
        assert str(caught.value) == f"coroutines cannot be used with {advice}"
    coroutine.close()


@pytest.mark.saburo_only
def test_a_server_wants_what_makes_its_protocols(run: Run, kind: Kind, tmp_path: Any) -> None:
    async def greet(_reader: Any, writer: Any) -> None:
        writer.close()

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        protocol = asyncio.Protocol()
        advice = "pass what makes a protocol, such as its class, not a protocol"
        with pytest.raises(TypeError, match=rf"by create_server\(\), got .*: {advice}"):
            await loop.create_server(protocol, "127.0.0.1", 0)
        with pytest.raises(TypeError, match=rf"by create_unix_server\(\), got .*: {advice}"):
            await loop.create_unix_server(protocol, str(tmp_path / "socket"))
        coroutine = greet(None, None)
        for start, where in (
            (kind.streams.start_server, ("127.0.0.1", 0)),
            (kind.streams.start_unix_server, (str(tmp_path / "other"),)),
        ):
            advice = rf"write {start.__name__}\(f\), not {start.__name__}\(f\(x\)\)"
            with pytest.raises(TypeError, match=advice):
                await start(coroutine, *where)
        coroutine.close()

    run(main())


@pytest.mark.saburo_only
def test_a_closed_loop_says_that_it_is_closed(loop: Loop) -> None:
    loop.close()
    for call in (loop.call_soon, loop.call_soon_threadsafe):
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            call(heavy())


@pytest.mark.saburo_only
def test_of_much_only_the_beginning_is_shown(loop: Loop) -> None:
    with pytest.raises(TypeError) as caught:
        loop.call_soon("x" * 1_000_000)
    assert len(str(caught.value)) < 500
