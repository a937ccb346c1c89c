"""Debug mode: who blocks, who calls from the wrong thread, who created what never finished."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import signal
import socket
import sys
import textwrap
import threading
import time
import warnings
from typing import Any

import pytest
from support.both_loops import Kind, outcome, run_until, turn

pytestmark = pytest.mark.every_task_kind

Loop = asyncio.AbstractEventLoop


@pytest.fixture
def debug(loop: Loop) -> Loop:
    loop.set_debug(True)
    return loop


def slow(caplog: pytest.LogCaptureFixture, named: str = "") -> list[str]:
    """What was said of slow callbacks with `named` in it. Under load any other may be slow, too."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "asyncio"
        and record.getMessage().startswith("Executing ")
        and named in record.getMessage()
    ]


def test_debug_is_off_unless_somebody_wants_it(loop: Loop) -> None:
    expected = sys.flags.dev_mode
    assert loop.get_debug() is expected
    loop.set_debug(True)
    assert loop.get_debug() is True
    loop.set_debug(False)
    assert loop.get_debug() is False


@pytest.mark.parametrize(
    ("flags", "environment", "expected"),
    [
        ([], {}, "False"),
        ([], {"PYTHONASYNCIODEBUG": "1"}, "True"),
        (["-E"], {"PYTHONASYNCIODEBUG": "1"}, "False"),
        (["-X", "dev"], {}, "True"),
    ],
)
def test_the_environment_and_dev_mode_switch_it_on(
    kind: Kind, flags: list[str], environment: dict[str, str], expected: str
) -> None:
    import os

    program = kind.run_script(
        "loop = new_loop(); print(loop.get_debug()); loop.close()",
        *flags,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONASYNCIODEBUG"}, **environment},
    )
    assert program.stdout == f"{expected}\n", program.stderr


def test_a_slow_callback_is_named(debug: Loop, caplog: pytest.LogCaptureFixture) -> None:
    def blocking() -> None:
        time.sleep(0.02)

    debug.slow_callback_duration = 0.01
    debug.call_soon(blocking)
    debug.call_soon(int)
    turn(debug)
    (message,) = slow(caplog, "blocking()")
    assert re.fullmatch(
        r"Executing <Handle .*blocking\(\) at .*test_debug.py:\d+ "
        r"created at .*test_debug.py:\d+> took \d+\.\d\d\d seconds",
        message,
    )
    assert [r.levelno for r in caplog.records if r.name == "asyncio"][-1] == logging.WARNING


def test_a_slow_step_of_a_task_is_named(debug: Loop, caplog: pytest.LogCaptureFixture) -> None:
    async def blocking() -> None:
        await asyncio.sleep(0)
        time.sleep(0.02)

    debug.slow_callback_duration = 0.01
    debug.run_until_complete(debug.create_task(blocking(), name="culprit"))
    message = slow(caplog, "blocking()")[-1]
    assert re.match(r"Executing <Task .*name='culprit' coro=<.*blocking\(\) ", message)
    assert re.search(r"took \d+\.\d\d\d seconds$", message)


def test_nothing_is_named_without_debug_mode_or_below_the_limit(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.slow_callback_duration = 0.001
    loop.call_soon(time.sleep, 0.003)
    turn(loop)
    loop.set_debug(True)
    loop.slow_callback_duration = 60
    loop.call_soon(time.sleep, 0.003)
    turn(loop)
    assert slow(caplog) == []


def test_the_limit_starts_at_a_tenth_of_a_second(loop: Loop) -> None:
    assert loop.slow_callback_duration == 0.1


def test_calls_from_the_wrong_thread_are_refused(debug: Loop) -> None:
    message = "Non-thread-safe operation invoked on an event loop other than the current one"

    async def main() -> list[tuple[str, str]]:
        calls = [
            lambda: debug.call_soon(print),
            lambda: debug.call_later(1, print),
            lambda: debug.call_at(1, print),
        ]
        return await asyncio.to_thread(lambda: [outcome(call) for call in calls])

    assert debug.run_until_complete(main()) == [("RuntimeError", message)] * 3


def test_call_soon_threadsafe_is_welcome_from_anywhere(debug: Loop) -> None:
    async def main() -> None:
        event = asyncio.Event()
        await asyncio.to_thread(debug.call_soon_threadsafe, event.set)
        await event.wait()

    debug.run_until_complete(main())


def test_a_loop_that_does_not_run_may_be_filled_from_any_thread(debug: Loop) -> None:
    seen: list[int] = []
    thread = threading.Thread(target=debug.call_soon, args=(seen.append, 1))
    thread.start()
    thread.join()
    turn(debug)
    assert seen == [1]


def test_non_callable_callbacks_are_refused(debug: Loop) -> None:
    async def coroutine_function() -> None:
        pass

    coroutine = coroutine_function()
    for name, call in {
        "call_soon": lambda what: debug.call_soon(what),
        "call_later": lambda what: debug.call_later(1, what),
        "call_at": lambda what: debug.call_at(1, what),
        "call_soon_threadsafe": lambda what: debug.call_soon_threadsafe(what),
    }.items():
        # asyncio says call_at() of both; where saburo adds what to write, it names the right one.
        shown = "call_(later|at)" if name == "call_later" else name
        for wrong in (coroutine_function, coroutine):
            with pytest.raises(TypeError, match=rf"coroutines cannot be used with {shown}\(\)"):
                call(wrong)  # type: ignore[no-untyped-call]
        with pytest.raises(TypeError, match=rf"a callable object was expected by {shown}\(\)"):
            call(42)  # type: ignore[no-untyped-call]
    coroutine.close()


def test_a_failing_callbacks_report_tells_where_it_was_scheduled(
    debug: Loop, reports: list[dict[str, Any]]
) -> None:
    debug.call_soon(lambda: 1 / 0)
    turn(debug)
    (context,) = reports
    names = [frame.name for frame in context["source_traceback"]]
    assert names[-1] == "test_a_failing_callbacks_report_tells_where_it_was_scheduled"


@pytest.mark.parametrize("what", ["reader", "writer", "signal"])
def test_what_is_called_many_times_tells_where_it_was_added(
    debug: Loop, reports: list[dict[str, Any]], what: str
) -> None:
    ours, theirs = socket.socketpair()
    number = signal.SIGUSR1 if what == "signal" else ours

    def fail() -> None:
        getattr(debug, "remove_signal_handler" if what == "signal" else f"remove_{what}")(number)
        raise LookupError

    with ours, theirs:
        getattr(debug, "add_signal_handler" if what == "signal" else f"add_{what}")(number, fail)
        theirs.send(b"news")
        if what == "signal":
            signal.raise_signal(signal.SIGUSR1)
        run_until(debug, lambda: bool(reports))
    (context,) = reports
    names = [frame.name for frame in context["source_traceback"]]
    # asyncio's last frames are its own add_reader and _add_reader.
    assert "test_what_is_called_many_times_tells_where_it_was_added" in names[-3:]


def test_an_unretrieved_exception_tells_where_the_future_was_made(
    debug: Loop, reports: list[dict[str, Any]]
) -> None:
    future = debug.create_future()
    future.set_exception(ValueError())
    del future
    gc.collect()
    (context,) = reports
    names = [frame.name for frame in context["source_traceback"]]
    # asyncio's last frame is its own create_future.
    assert "test_an_unretrieved_exception_tells_where_the_future_was_made" in names[-2:]


def test_the_default_handler_logs_all_of_it(debug: Loop, caplog: pytest.LogCaptureFixture) -> None:
    debug.call_soon(lambda: 1 / 0)
    turn(debug)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.name == "asyncio"
    message = record.getMessage()
    assert message.startswith("Exception in callback ")
    assert "\nhandle: <Handle " in message
    assert "source_traceback: Object created at (most recent call last):" in message
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError


def test_the_origin_of_a_coroutine_never_awaited_is_told(debug: Loop) -> None:
    async def forgotten() -> None:
        pass

    def forget() -> None:
        forgotten()  # type: ignore[unused-coroutine]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        debug.call_soon(forget)
        turn(debug)
        gc.collect()
    (warning,) = [each for each in caught if issubclass(each.category, RuntimeWarning)]
    assert "was never awaited\nCoroutine created at (most recent call last)" in str(warning.message)
    assert "in forget" in str(warning.message)


def test_origin_tracking_is_on_only_while_the_debugged_loop_runs(loop: Loop) -> None:
    seen: list[int] = []

    def look() -> None:
        seen.append(sys.get_coroutine_origin_tracking_depth())

    loop.call_soon(look)
    turn(loop)
    loop.set_debug(True)
    assert sys.get_coroutine_origin_tracking_depth() == 0
    loop.call_soon(look)
    turn(loop)
    loop.call_soon(loop.set_debug, False)
    loop.call_soon(look)
    turn(loop)
    turn(loop)
    assert seen[0] == 0
    assert seen[1] > 0
    assert sys.get_coroutine_origin_tracking_depth() == 0


def test_set_debug_in_a_running_loop_takes_effect_soon(loop: Loop) -> None:
    async def main() -> None:
        loop.set_debug(True)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sys.get_coroutine_origin_tracking_depth() > 0
        with pytest.raises(TypeError):
            loop.call_soon(42)  # type: ignore[arg-type]
        loop.set_debug(False)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sys.get_coroutine_origin_tracking_depth() == 0

    loop.run_until_complete(main())


def test_a_slow_poll_is_nobodys_fault(debug: Loop, caplog: pytest.LogCaptureFixture) -> None:
    debug.slow_callback_duration = 0.3
    debug.run_until_complete(asyncio.sleep(0.4))
    assert slow(caplog) == []


def test_an_unclosed_loop_warns(kind: Kind) -> None:
    loop = kind.new_loop()
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop
        gc.collect()
    gc.collect()


def test_a_loop_that_nobody_closes_is_closed_when_the_interpreter_ends(kind: Kind) -> None:
    # A transport in a cycle with its loop, so that both are found when modules are gone.
    script = """
        import asyncio, socket

        loop = new_loop()
        here, there = socket.socketpair()

        async def main():
            global reader, writer, task
            reader, writer = await asyncio.open_connection(sock=here)
            task = asyncio.create_task(asyncio.sleep(100))

        loop.run_until_complete(main())
    """
    finished = kind.run_script(textwrap.dedent(script), "-X", "dev", "-W", "ignore")
    assert finished.returncode == 0
    if kind.is_saburo:  # asyncio's close() fails there, too, on some versions
        assert "in close" not in finished.stderr


def test_run_in_debug_mode(run: Any) -> None:
    async def main() -> tuple[bool, int]:
        return asyncio.get_running_loop().get_debug(), sys.get_coroutine_origin_tracking_depth()

    enabled, depth = run(main(), debug=True)
    assert enabled
    assert depth > 0


def test_a_servers_new_connections_are_logged(
    debug: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> tuple[object, str]:
        taken = debug.create_future()

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                taken.set_result(transport)

        server = await debug.create_server(Protocol, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            address = client.getsockname()
            (await taken).abort()
        shown = repr(server)
        server.close()
        await server.wait_closed()
        return address, shown

    caplog.set_level(logging.DEBUG, "asyncio")
    address, server = debug.run_until_complete(main())
    # As it was logged: what it shows has been closed since.
    (line,) = [record.message for record in caplog.records if " got a new " in record.msg]
    assert line.startswith(f"{server} got a new connection from {address!r}: <socket.socket ")
    assert f"raddr={address!r}" in line
