"""Fixtures of the behaviour tests, and the rules every one of them is held to.

A test that asks for `kind`, `new_loop`, `loop`, `streams` or `run` runs once per loop. Modules
marked `every_task_kind` run a third time, on a saburo loop that makes the standard library's tasks.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest
from support.both_loops import KINDS, PATIENCE, TESTS_ON, Kind, StartScript, children

HERE = Path(__file__).parent
HELD = tuple(folder for folder in HERE.iterdir() if folder.is_dir() and folder.name != "stdlib")
"""The folders whose tests are held to the rules. CPython's own have other ones."""

collect_ignore = ["downstream"]
"""Needs servers and other people's packages: `make test-downstream` asks for it by name."""

STUCK_AFTER = 180.0

COLLECTS_OFTEN = os.environ.get("SABURO_TESTS_COLLECT") == "often"
"""Collect garbage every few objects, so that the collector sees whatever it can in every state."""

_stderr = -1
failed = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    global _stderr
    _stderr = os.dup(2)  # pytest is about to capture descriptor 2
    resource_tracker.ensure_running()  # multiprocessing's own, one per process: no test's leak
    # A shell that runs us in the background has Ctrl-C ignored, and our programs would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers", "every_task_kind: also run on a saburo loop with the standard library's tasks"
    )
    config.addinivalue_line("markers", "saburo_only: says where saburo differs from asyncio")
    config.addinivalue_line(
        "markers", "as_since(major, minor): saburo does as asyncio from that version of Python on"
    )
    config.addinivalue_line(
        "markers", "many_objects: not with a collection every few objects (SABURO_TESTS_COLLECT)"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent in HELD:
            # Any warning is a failure: an unclosed loop or socket, a coroutine never awaited.
            item.add_marker(pytest.mark.filterwarnings("error"), append=False)


def pytest_collection_finish() -> None:
    # Each test collects garbage: what pytest itself has piled up so far is not looked at again.
    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" not in metafunc.fixturenames:
        return
    kinds = KINDS if metafunc.definition.get_closest_marker("every_task_kind") else KINDS[:2]
    if metafunc.definition.get_closest_marker("saburo_only"):
        kinds = [kind for kind in kinds if kind.is_saburo]
    newer = metafunc.definition.get_closest_marker("as_since")
    if newer is not None and sys.version_info < newer.args:
        kinds = [kind for kind in kinds if kind.is_saburo]
    if TESTS_ON == "saburo":
        kinds = [kind for kind in kinds if kind.is_saburo]
    not_built = pytest.mark.skip(reason="SABURO_TESTS_ON=asyncio")
    metafunc.parametrize(
        "kind",
        [
            pytest.param(
                kind,
                id=kind.name,
                marks=[not_built] if kind.is_saburo and TESTS_ON == "asyncio" else [],
            )
            for kind in kinds
        ],
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    if report.failed:
        item.stash[failed] = True
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    thresholds = gc.get_threshold()
    # With very many objects, collections would take minutes.
    if COLLECTS_OFTEN and item.get_closest_marker("many_objects") is None:
        gc.set_threshold(2, 3, 1000)
    try:
        return (yield)
    finally:
        gc.set_threshold(*thresholds)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves a descriptor, a thread, a child, a hook or a running loop to the next one."""
    if request.path.parent not in HELD:
        yield
        return
    descriptors, threads = open_descriptors(), set(threading.enumerate())
    processes = children()
    faulthandler.dump_traceback_later(STUCK_AFTER, exit=True, file=_stderr)
    yield
    faulthandler.cancel_dump_traceback_later()
    if request.node.stash.get(failed, False):
        return  # its traceback still holds what it did not get to close
    gc.collect()
    # What is left is pytest's own; looked at again and again, it took most of the time of a run.
    gc.freeze()
    for thread in set(threading.enumerate()) - threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), f"{thread} is left"
    new = {d: target for d, target in open_descriptors().items() if descriptors.get(d) != target}
    assert not new, f"descriptors are left: {new}"
    assert children() <= processes, "child processes are left"
    assert asyncio._get_running_loop() is None
    assert signal.set_wakeup_fd(-1) == -1
    assert sys.get_asyncgen_hooks() == (None, None)
    assert sys.get_coroutine_origin_tracking_depth() == 0


def open_descriptors() -> dict[str, str]:
    found = {}
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found[descriptor] = os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:  # the one that listed the folder
            continue
    return found


@pytest.fixture
def new_loop(kind: Kind) -> Callable[[], asyncio.AbstractEventLoop]:
    return kind.new_loop


@pytest.fixture
def loop(kind: Kind) -> Iterator[asyncio.AbstractEventLoop]:
    """A fresh loop, closed after the test; no thread's current loop."""
    loop = kind.new_loop()
    yield loop
    if not loop.is_closed():
        loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.fixture
def streams(kind: Kind) -> Any:
    """The module that has StreamReader, open_connection and the like: asyncio or saburo."""
    return kind.streams


@pytest.fixture
def run(kind: Kind) -> Callable[[Awaitable[Any]], Any]:
    """Runs a coroutine as `asyncio.run` does, on a fresh loop of this kind."""

    def run(main: Any, *, debug: bool | None = None) -> Any:
        with asyncio.Runner(loop_factory=kind.new_loop, debug=debug) as runner:
            return runner.run(main)

    return run


@pytest.fixture
def reports(loop: asyncio.AbstractEventLoop) -> list[dict[str, Any]]:
    """The contexts that reached the loop's exception handler, in order."""
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: contexts.append(context))
    return contexts


@pytest.fixture
def start_script(kind: Kind) -> Iterator[StartScript]:
    """`Kind.start_script`, with an end to what it started, also if the test fails before."""
    programs = []

    def start(source: str, *flags: str) -> subprocess.Popen[str]:
        programs.append(kind.start_script(source, *flags))
        return programs[-1]

    yield start
    for program in programs:
        if program.poll() is None:
            program.kill()
            program.communicate()
