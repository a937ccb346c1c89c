"""Put the implementation under test where CPython's tests look for it.

The tests are parametrised over two implementations of Future and Task, the C one and the Python
one, and find the C one at ``asyncio.futures._CFuture`` and ``asyncio.tasks._CTask``. Before a test
module is imported our classes take these places, so that every test class meant for the
accelerated implementation, its subclasses and its mixtures with the Python one run on ours. The
loop takes the places from which tests make loops: the classes of the ``asyncio`` namespace, the
default policy, and ``test_utils.TestLoop``.

All of this happens in the worker's process only.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import types
import unittest
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .modules import PACKAGE
from .touch import WatchedLoop, touch, watch_module_attribute, watch_test_case
from .virtual_time import VirtualTimeLoop


@dataclass(frozen=True)
class Implementation:
    """What is under test, in the shapes CPython's tests ask for."""

    name: str
    version: str
    future: type
    task: type
    loop: type
    base_loop: type
    base_selector_loop: type
    test_loop: type
    # Handle classes that tests may construct, or None where they are the standard library's own.
    handles: tuple[type, type] | None
    # What tells the accelerated futures who waits for them, by the names tests know it by.
    waiters: dict[str, Callable[[Any, Any], None]]
    # Streams: the classes, and the functions that make them, by the names they have in asyncio.
    streams: dict[str, object]
    # The package whose modules are to share names with asyncio's, or None where it is asyncio.
    package: str | None


def under_test() -> str:
    """``saburo``, or ``asyncio`` when SABURO_STDLIB_ON says so."""
    name = os.environ.get("SABURO_STDLIB_ON", "saburo")
    if name not in ("saburo", "asyncio"):
        raise SystemExit(f"SABURO_STDLIB_ON is {name!r}; it can be saburo or asyncio")
    return name


STREAMS = (
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "open_connection",
    "open_unix_connection",
    "start_server",
    "start_unix_server",
)


class ReadyQueue:
    """What a test finds at ``loop._ready``: the native queue cannot be looked into.

    Tests ask ``while loop._ready: run_briefly(loop)`` to let everything queued happen, so the
    answer is yes this many times, then once no. ``len`` is asked only right after such a run.
    """

    _SETTLING_TURNS = 10

    def __init__(self) -> None:
        self._turns_left = self._SETTLING_TURNS

    def __bool__(self) -> bool:
        self._turns_left = (self._turns_left or self._SETTLING_TURNS + 1) - 1
        return self._turns_left > 0

    def __len__(self) -> int:
        return 0


def saburo_implementation() -> Implementation:
    import saburo

    class Loop(WatchedLoop, saburo.Loop):
        """saburo's loop; a selector given to it is CPython's affair and ignored."""

        def __init__(self, selector: object = None, **options: Any) -> None:
            super().__init__(**options)

        def _run(self) -> None:
            touch.of_loop()
            super()._run()

        def _run_once(self) -> None:
            """One turn that does not block: what a stop before the run comes to."""
            saburo.Loop.stop(self)
            Loop._run(self)

    class TestLoop(VirtualTimeLoop, Loop):  # type: ignore[misc]  # the timers are asyncio's
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._ready = ReadyQueue()

        def _nonblocking_turn(self) -> None:
            Loop._run_once(self)

        def _run_once(self) -> None:
            self._turn()

        def _run(self) -> None:
            while True:
                self._turn()
                if self._stop_wanted:
                    return

    return Implementation(
        name="saburo",
        version=saburo.__version__,
        future=saburo.Future,
        task=saburo.Task,
        loop=Loop,
        base_loop=Loop,
        base_selector_loop=Loop,
        test_loop=TestLoop,
        handles=(saburo.Handle, saburo.TimerHandle),
        waiters={
            f"_c_{name}": getattr(saburo._saburo, name)
            for name in ("future_add_to_awaited_by", "future_discard_from_awaited_by")
        },
        streams={name: getattr(saburo, name) for name in STREAMS},
        package="saburo",
    )


def asyncio_implementation() -> Implementation:
    class BaseLoop(WatchedLoop, asyncio.BaseEventLoop):
        def _run_once(self) -> None:
            touch.of_loop()
            super()._run_once()  # type: ignore[misc]

    class BaseSelectorLoop(BaseLoop, asyncio.selector_events.BaseSelectorEventLoop):
        pass

    class Loop(BaseLoop, asyncio.SelectorEventLoop):
        pass

    class TestLoop(VirtualTimeLoop, Loop):  # type: ignore[misc]  # the timers are asyncio's
        def _nonblocking_turn(self) -> None:
            self._stopping = True
            Loop._run_once(self)
            self._stopping = self._stop_wanted

        def _run_once(self) -> None:
            self._turn()

    return Implementation(
        name="asyncio",
        version=".".join(map(str, sys.version_info[:3])),
        future=asyncio.Future,
        task=asyncio.Task,
        loop=Loop,
        base_loop=BaseLoop,
        base_selector_loop=BaseSelectorLoop,
        test_loop=TestLoop,
        handles=None,
        waiters={},
        streams={},
        package=None,
    )


IMPLEMENTATIONS: dict[str, Callable[[], Implementation]] = {
    "saburo": saburo_implementation,
    "asyncio": asyncio_implementation,
}


def install_classes(implementation: Implementation) -> None:
    """Take the places of the C Future and Task with what belongs to them, and of streams."""
    watch_module_attribute(asyncio.futures, "_CFuture", implementation.future)
    watch_module_attribute(asyncio.tasks, "_CTask", implementation.task)
    for name, function in implementation.waiters.items():
        if hasattr(asyncio.futures, name):  # from 3.14 on
            setattr(asyncio.futures, name, function)
    for name, ours in implementation.streams.items():
        # Where tests look. asyncio.subprocess goes on taking its own from asyncio.streams.
        watch_module_attribute(asyncio, name, ours)


def install_loop(implementation: Implementation) -> None:
    """Take the places from which tests, `asyncio.run` and `asyncio.Runner` get their loops."""
    utils = importlib.import_module(f"{PACKAGE}.utils")
    # The default policy's class is asked, so that this holds after a test has reset the policy.
    # From 3.14 on its name has an underscore more.
    policies = vars(asyncio.unix_events)
    policy = policies.get("_DefaultEventLoopPolicy") or policies["_UnixDefaultEventLoopPolicy"]
    places: list[tuple[object, str, type]] = [
        (policy, "_loop_factory", implementation.loop),
        (asyncio, "SelectorEventLoop", implementation.loop),
        (asyncio, "EventLoop", implementation.loop),
        (asyncio, "BaseEventLoop", implementation.base_loop),
        (asyncio.base_events, "BaseEventLoop", implementation.base_loop),
        (asyncio.selector_events, "BaseSelectorEventLoop", implementation.base_selector_loop),
        (utils, "TestLoop", implementation.test_loop),
    ]
    for place, name, loop in places:
        if hasattr(place, name):  # asyncio.EventLoop is there from 3.13 on
            setattr(place, name, loop)
    if implementation.handles is not None:
        # Only the names tests construct handles by: the standard library uses asyncio.events'.
        watch_module_attribute(asyncio, "Handle", implementation.handles[0])
        watch_module_attribute(asyncio, "TimerHandle", implementation.handles[1])


# Where tests put mocks in place of what the module uses, by the names they do it at.
SHARED_NAMES: dict[str, tuple[str, ...]] = {
    "asyncio.base_events": ("logger", "socket"),
    "asyncio.unix_events": ("socket",),
}


def share_names(package: str) -> None:
    """Let `package` use what tests put at the names above, as the modules there do."""
    for module_name, names in SHARED_NAMES.items():
        module = importlib.import_module(module_name)
        properties = {name: _shared(package, name) for name in names}
        module.__class__ = type(module.__name__, (type(module),), properties)


def _shared(package: str, name: str) -> property:
    def look_up(module: types.ModuleType) -> object:
        return vars(module)[name]

    def put(module: types.ModuleType, value: object) -> None:
        vars(module)[name] = value
        for other, ours in list(sys.modules.items()):
            if other.partition(".")[0] == package and name in vars(ours):
                vars(ours)[name] = value

    return property(look_up, put)


def watch_tests(module: types.ModuleType, implementation: Implementation) -> None:
    """Record which tests of an imported module ask for the classes under test."""
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, unittest.TestCase):
            watch_test_case(value, (implementation.future, implementation.task))
