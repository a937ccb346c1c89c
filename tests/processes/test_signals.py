"""Signals and Ctrl-C: from idle and busy loops, and while nobody runs the loop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import threading
from typing import Any

import pytest
from support.both_loops import PATIENCE, Kind, StartScript, run_until, turn
from support.signals import press_ctrl_c, wait_until_asleep

Loop = asyncio.AbstractEventLoop


def wait_until_ready(program: subprocess.Popen[str]) -> None:
    assert program.stdout
    assert program.stdout.readline() == "ready\n", program.communicate()[1]


@pytest.mark.parametrize(
    "waiting",
    [
        "await asyncio.sleep(3600)",
        "await asyncio.get_running_loop().create_future()",
        "while True: await asyncio.sleep(0)",
        "await asyncio.gather(*(asyncio.sleep(3600) for _ in range(100)))",
        "await asyncio.to_thread(__import__('time').sleep, 0.3); await asyncio.sleep(3600)",
    ],
    ids=["idle", "no timer", "busy", "many", "thread"],
)
def test_ctrl_c_cancels_the_main_task_of_a_run(
    start_script: StartScript, kind: Kind, waiting: str
) -> None:
    program = start_script(
        f"""
        async def main():
            print("ready")
            try:
                {waiting}
            finally:
                print("tidied up")
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(main())
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    wait_until_ready(program)
    if "while True" in waiting:
        program.send_signal(signal.SIGINT)
    else:
        press_ctrl_c(program, kind)
    assert program.communicate(timeout=PATIENCE) == ("tidied up\ninterrupted\n", "")
    assert program.returncode == 0


@pytest.mark.parametrize(
    "busy",
    ["", "loop.call_soon(again)", "loop.call_soon(again); loop.add_reader(0, again)"],
    ids=["idle", "busy", "with a descriptor"],
)
@pytest.mark.saburo_only  # a busy loop of asyncio 3.14 was once left as if it still ran
def test_ctrl_c_leaves_run_forever_and_the_loop_stays_usable(
    start_script: StartScript, busy: str
) -> None:
    program = start_script(
        f"""
        loop = new_loop()
        def again():
            loop.call_soon(again)
        {busy}
        loop.call_soon(print, "ready")
        try:
            loop.run_forever()
        except KeyboardInterrupt:
            print("interrupted")
        print(loop.is_running(), loop.run_until_complete(asyncio.sleep(0.001, "usable")))
        loop.remove_reader(0)
        loop.close()
        """
    )
    wait_until_ready(program)
    program.send_signal(signal.SIGINT)
    assert program.communicate(timeout=PATIENCE) == ("interrupted\nFalse usable\n", "")


def test_ctrl_c_in_a_callback_leaves_from_within_it(start_script: StartScript) -> None:
    program = start_script(
        """
        import time
        loop = new_loop()
        def block():
            try:
                print("ready")
                time.sleep(3600)
            except KeyboardInterrupt:
                print("in the callback")
                raise
        loop.call_soon(block)
        loop.call_soon(print, "the rest of the queue")
        try:
            loop.run_forever()
        except KeyboardInterrupt:
            print("interrupted")
        loop.stop(); loop.run_forever()
        loop.close()
        """
    )
    wait_until_ready(program)
    wait_until_asleep(program)  # a signal just before does not end `time.sleep`, whatever the loop
    program.send_signal(signal.SIGINT)
    output, errors = program.communicate(timeout=PATIENCE)
    assert output == "in the callback\ninterrupted\nthe rest of the queue\n"
    assert errors == ""


def test_a_second_ctrl_c_is_immediate(start_script: StartScript, kind: Kind) -> None:
    program = start_script(
        """
        async def main():
            print("ready")
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                print("refused")
            await asyncio.sleep(3600)
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(main())
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    wait_until_ready(program)
    press_ctrl_c(program, kind)
    assert program.stdout
    assert program.stdout.readline() == "refused\n"
    press_ctrl_c(program, kind)
    assert program.communicate(timeout=PATIENCE) == ("interrupted\n", "")


def test_a_handler_runs_in_the_loop(loop: Loop) -> None:
    seen: list[Any] = []

    def handle(*args: Any) -> None:
        seen.append((args, asyncio.get_running_loop() is loop))

    loop.add_signal_handler(signal.SIGUSR1, handle, 1, "two")
    os.kill(os.getpid(), signal.SIGUSR1)
    run_until(loop, lambda: bool(seen))
    assert seen == [((1, "two"), True)]
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert loop.remove_signal_handler(signal.SIGUSR1) is False
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_a_later_handler_replaces_the_earlier_one(loop: Loop) -> None:
    seen: list[int] = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, 1)
    loop.add_signal_handler(signal.SIGUSR1, seen.append, 2)
    signal.raise_signal(signal.SIGUSR1)
    run_until(loop, lambda: bool(seen))
    assert seen == [2]
    loop.remove_signal_handler(signal.SIGUSR1)


def test_an_idle_loop_is_woken_by_a_signal(loop: Loop) -> None:
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    timer = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    loop.run_forever()
    timer.join()
    loop.remove_signal_handler(signal.SIGUSR1)


def test_signals_that_arrive_while_nobody_runs_the_loop_are_not_lost(loop: Loop) -> None:
    seen: list[str] = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, "before the first run")
    signal.raise_signal(signal.SIGUSR1)
    turn(loop)
    run_until(loop, lambda: len(seen) == 1)
    signal.raise_signal(signal.SIGUSR1)
    assert len(seen) == 1
    run_until(loop, lambda: len(seen) == 2)
    loop.remove_signal_handler(signal.SIGUSR1)


def test_several_signals_reach_their_handlers(loop: Loop) -> None:
    seen: list[int] = []
    numbers = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGHUP]
    for number in numbers:
        loop.add_signal_handler(number, seen.append, int(number))
    for number in numbers:
        signal.raise_signal(number)
    run_until(loop, lambda: len(seen) == len(numbers))
    assert sorted(seen) == sorted(numbers)
    for number in numbers:
        loop.remove_signal_handler(number)


def test_a_handler_may_remove_itself_and_a_failing_one_is_reported(
    loop: Loop, reports: list[dict[str, Any]]
) -> None:
    def once() -> None:
        loop.remove_signal_handler(signal.SIGUSR1)
        raise LookupError

    loop.add_signal_handler(signal.SIGUSR1, once)
    signal.raise_signal(signal.SIGUSR1)
    run_until(loop, lambda: bool(reports))
    assert isinstance(reports[0]["exception"], LookupError)


def test_closing_the_loop_removes_its_handlers(new_loop: Any) -> None:
    loop = new_loop()
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1


def test_a_run_without_handlers_leaves_signals_to_who_listens_for_them(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        told: list[int] = []
        loop.add_reader(ours, lambda: told.extend(ours.recv(100)))
        before = signal.signal(signal.SIGUSR1, lambda number, frame: None)
        signal.set_wakeup_fd(theirs.fileno())
        try:
            loop.call_soon(signal.raise_signal, signal.SIGUSR1)
            run_until(loop, lambda: bool(told))
            assert told == [signal.SIGUSR1]
            assert signal.set_wakeup_fd(-1) == theirs.fileno()
        finally:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGUSR1, before)
        loop.remove_reader(ours)


def test_sigint_can_be_handled_instead_of_raised(loop: Loop) -> None:
    seen: list[int] = []
    loop.add_signal_handler(signal.SIGINT, seen.append, 1)
    signal.raise_signal(signal.SIGINT)
    run_until(loop, lambda: bool(seen))
    loop.remove_signal_handler(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_system_calls_are_restarted_under_a_handler(kind: Kind) -> None:
    program = kind.run_script(
        """
        import os, signal, threading, time
        loop = new_loop()
        seen = []
        loop.add_signal_handler(signal.SIGUSR1, seen.append, 1)
        reader, writer = os.pipe()
        main = threading.main_thread().ident
        def later():
            time.sleep(0.02)
            signal.pthread_kill(main, signal.SIGUSR1)
            time.sleep(0.02)
            os.write(writer, b"data")
        threading.Thread(target=later).start()
        print(os.read(reader, 10))
        loop.call_later(0.005, loop.stop)
        loop.run_forever()
        print(seen)
        loop.close()
        """
    )
    assert program.stdout == "b'data'\n[1]\n", program.stderr


def test_python_handlers_of_others_run_promptly_while_the_loop_idles(
    start_script: StartScript, kind: Kind
) -> None:
    """signal.signal without the loop: an idle loop must wake to let Python run the handler."""
    program = start_script(
        """
        import signal
        loop = new_loop()
        def handler(number, frame):
            print("handled")
            loop.call_soon_threadsafe(loop.stop)
        signal.signal(signal.SIGINT, handler)
        loop.call_soon(print, "ready")
        loop.run_forever()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        """
    )
    wait_until_ready(program)
    press_ctrl_c(program, kind)
    assert program.communicate(timeout=PATIENCE) == ("handled\n", "")


def test_a_handler_outside_the_main_thread_is_refused(new_loop: Any) -> None:
    errors: list[str] = []

    def work() -> None:
        loop = new_loop()
        try:
            loop.add_signal_handler(signal.SIGUSR1, print)
        except Exception as error:
            errors.append(type(error).__name__)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == ["RuntimeError"]


def test_many_signals_at_once_are_all_handled(loop: Loop) -> None:
    seen: list[int] = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, 1)
    for _ in range(100):
        signal.raise_signal(signal.SIGUSR1)
    run_until(loop, lambda: len(seen) == 100)
    loop.remove_signal_handler(signal.SIGUSR1)


@pytest.mark.saburo_only
def test_a_flood_of_signals_is_no_error(loop: Loop) -> None:
    """asyncio's pipe overflows after some hundreds, with a traceback for each that is lost."""
    seen: list[int] = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, 1)
    for _ in range(100_000):
        signal.raise_signal(signal.SIGUSR1)
    run_until(loop, lambda: bool(seen))
    turn(loop, 3)
    loop.remove_signal_handler(signal.SIGUSR1)
    assert 1 <= len(seen) <= 100_000
