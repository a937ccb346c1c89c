"""install() and uninstall(): every object in its place, and back in it."""

from __future__ import annotations

import asyncio
import asyncio.events
import asyncio.streams
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.both_loops import PATIENCE, TESTS_ON

if TESTS_ON == "asyncio":
    pytest.skip("SABURO_TESTS_ON=asyncio", allow_module_level=True)

import saburo

FUNCTIONS = ["open_connection", "start_server", "open_unix_connection", "start_unix_server"]


def everything() -> dict[str, object]:
    """Whatever asyncio's modules hold, and the classes in them, by name."""
    found: dict[str, object] = {}
    for name in [name for name in sys.modules if name.partition(".")[0] == "asyncio"]:
        for attribute, value in vars(sys.modules[name]).items():
            found[f"{name}.{attribute}"] = value
            if isinstance(value, type) and value.__module__ == name:
                parts = vars(value).items()
                found.update((f"{name}.{value.__name__}.{part}", held) for part, held in parts)
    return found


def changed(before: dict[str, object]) -> set[str]:
    after = everything()
    assert after.keys() == before.keys()
    return {name for name, value in after.items() if value is not before[name]}


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Nothing stays installed, and nothing of asyncio's is changed, whatever a test does."""
    asyncio.new_event_loop().close()  # what asyncio makes when it is first asked is there
    saburo.new_event_loop().close()  # and what changes with the first loop has changed
    before = everything()
    yield
    saburo.uninstall()
    assert changed(before) == set()


PLACES = {f"{module}.{name}" for module in ("asyncio", "asyncio.streams") for name in FUNCTIONS}
if sys.version_info < (3, 16):
    PLACES.add("asyncio.unix_events._UnixDefaultEventLoopPolicy._loop_factory")
else:
    PLACES |= {"asyncio.new_event_loop", "asyncio.events.new_event_loop"}


def test_importing_saburo_has_replaced_nothing() -> None:
    assert asyncio.open_connection is not saburo.open_connection
    assert asyncio.open_connection.__module__ == "asyncio.streams"


def test_the_functions_are_replaced_and_nothing_else() -> None:
    before = everything()
    saburo.install()
    assert changed(before) == PLACES
    for name in FUNCTIONS:
        assert getattr(asyncio, name) is getattr(saburo, name)
        assert getattr(asyncio.streams, name) is getattr(saburo, name)
    saburo.uninstall()
    assert changed(before) == set()


def test_installing_twice_is_installing_once() -> None:
    before = everything()
    saburo.install()
    saburo.install()
    assert changed(before) == PLACES
    saburo.uninstall()
    assert changed(before) == set()
    saburo.uninstall()
    assert changed(before) == set()


def test_it_holds_for_a_block() -> None:
    before = everything()
    with saburo.install():
        assert changed(before) == PLACES
    assert changed(before) == set()
    with pytest.raises(LookupError), saburo.install():
        raise LookupError
    assert changed(before) == set()


def test_blocks_nest() -> None:
    before = everything()
    with saburo.install():
        with saburo.install():
            assert changed(before) == PLACES
        assert changed(before) == PLACES
    assert changed(before) == set()
    saburo.install()
    with saburo.install():
        pass
    assert changed(before) == PLACES


def test_a_block_inside_of_which_it_is_taken_back() -> None:
    before = everything()
    with saburo.install():
        saburo.uninstall()
        assert changed(before) == set()
    assert changed(before) == set()


def test_what_somebody_else_has_replaced_since_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrapper() -> None:
        pass

    with saburo.install():
        monkeypatch.setattr(asyncio, "open_connection", wrapper)
    assert asyncio.open_connection is wrapper  # type: ignore[comparison-overlap]
    assert asyncio.streams.open_connection is not saburo.open_connection
    monkeypatch.undo()
    # What the fixture of pytest has put back is what was there when it was replaced: ours.
    assert asyncio.open_connection is saburo.open_connection
    vars(asyncio)["open_connection"] = asyncio.streams.open_connection


async def kind_of_loop() -> str:
    return type(asyncio.get_running_loop()).__module__


def test_asyncio_runs_programs_on_saburo() -> None:
    with saburo.install():
        assert asyncio.run(kind_of_loop()) == "saburo"
        with asyncio.Runner() as runner:
            assert runner.run(kind_of_loop()) == "saburo"
        loop = asyncio.new_event_loop()
        assert isinstance(loop, saburo.Loop)
        loop.close()
    assert asyncio.run(kind_of_loop()).startswith("asyncio")


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="get_event_loop() makes no loops any more")
def test_get_event_loop_makes_a_saburo_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = asyncio.DefaultEventLoopPolicy()
    monkeypatch.setattr(asyncio.events, "_event_loop_policy", policy)
    with saburo.install(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        loop = asyncio.get_event_loop()
    assert isinstance(loop, saburo.Loop)
    loop.close()
    assert asyncio.get_event_loop_policy() is policy


POLICIES = """
import asyncio, sys, threading, warnings

class Made(asyncio.SelectorEventLoop):
    pass

def policy_classes():
    with warnings.catch_warnings():
        # From 3.14 on, naming a policy warns.
        warnings.simplefilter("ignore", DeprecationWarning)
        Default, Abstract = asyncio.DefaultEventLoopPolicy, asyncio.AbstractEventLoopPolicy

    class ByMethod(Default):
        def new_event_loop(self):
            return Made()

    class ByFactory(Default):
        _loop_factory = Made

    class ByFactoryOfItsOwn(Default.__base__):
        def _loop_factory(self):
            return Made()

    class FromNothing(Abstract):
        def get_event_loop(self):
            raise RuntimeError
        def set_event_loop(self, loop):
            pass
        def new_event_loop(self):
            return Made()

    class OfThreads(Default):
        # It says which thread may have a loop, and nothing of its kind.
        def get_event_loop(self):
            try:
                return super().get_event_loop()
            except RuntimeError:
                self.set_event_loop(self.new_event_loop())
                return super().get_event_loop()

    class Adjusting(Default):
        def new_event_loop(self):
            loop = super().new_event_loop()
            loop.slow_callback_duration = 9
            return loop

    return locals()

Policies = policy_classes()

def use(name):
    policy = Policies[name]() if name else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(policy)

def kinds():
    seen = []
    async def note():
        seen.append(type(asyncio.get_running_loop()).__name__)
    asyncio.run(note())
    with asyncio.Runner() as runner:
        runner.run(note())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(note())
    loop.close()
    thread = threading.Thread(target=lambda: asyncio.run(note()))
    thread.start()
    thread.join()
    if len(set(seen)) == 1:
        return seen[0]
    return seen
"""

SAYING = ["ByMethod", "ByFactory", "ByFactoryOfItsOwn", "FromNothing"]
NOT_SAYING = ["", "Default", "OfThreads", "Adjusting"]

with_policies = pytest.mark.skipif(
    sys.version_info >= (3, 16), reason="there are no policies any more"
)


def printed(source: str) -> list[str]:
    # A DeprecationWarning of ours would be an error.
    command = [sys.executable, "-W", "error", "-c", POLICIES + source]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@with_policies
@pytest.mark.parametrize("name", SAYING + NOT_SAYING)
def test_a_policy_is_asked_whenever_it_was_set(name: str) -> None:
    expected = "Made" if name in SAYING else "Loop"
    source = f"""
import saburo
use({name!r})
saburo.install()
print(kinds())
use({name!r})
print(kinds())
use("")
print(kinds())
saburo.uninstall()
print(kinds())
"""
    assert printed(source) == [expected, expected, "Loop", asyncio.SelectorEventLoop.__name__]


@with_policies
def test_a_policy_that_adjusts_the_default_loop_adjusts_ours() -> None:
    source = """
import saburo
saburo.install()
use("Adjusting")
loop = asyncio.new_event_loop()
print(type(loop).__name__, loop.slow_callback_duration)
loop.close()
"""
    assert printed(source) == ["Loop", "9.0"]


@with_policies
def test_a_policy_is_asked_under_saburo_run(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    calls = "\n".join(f"use({name!r}); print(kinds())" for name in SAYING + NOT_SAYING)
    program.write_text(f"{POLICIES}\nprint(kinds())\n{calls}\n")
    command = [sys.executable, "-W", "error", "-m", "saburo", "run", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    said, default = ["Made"] * len(SAYING), ["Loop"] * len(NOT_SAYING)
    assert done.stdout.split() == ["Loop", *said, *default]


# Python 3.16 has no policies. Until there is one to run on, the newest we have is made to look like
# it before saburo is imported: by its number, and without the names.
WITHOUT_POLICIES = """
import asyncio, sys
from asyncio import events, unix_events
sys.version_info = (3, 16, 0, "final", 0)
for module in (asyncio, events, unix_events):
    for name in [name for name in vars(module) if "olicy" in name]:
        delattr(module, name)
del asyncio.__getattr__

import saburo
try:
    saburo.EventLoopPolicy
except AttributeError as error:
    print(error)
from saburo import *
import saburo._policy
named = {*dir(saburo), *saburo.__all__, *dir(saburo._policy), *globals()}
print([name for name in named if name.endswith("olicy") and name != "_policy"])

async def kind():
    return type(asyncio.get_running_loop()).__name__
print(saburo.run(kind()))
with saburo.install():
    loop = asyncio.new_event_loop()
    print(type(loop).__name__, events.new_event_loop is asyncio.new_event_loop)
    loop.close()
print(asyncio.new_event_loop.__module__)
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="too far from 3.16")
def test_where_asyncio_has_no_policies_there_is_none() -> None:
    command = [sys.executable, "-W", "error", "-c", WITHOUT_POLICIES]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "module 'saburo' has no attribute 'EventLoopPolicy'",
        "[]",
        "Loop",
        "Loop True",
        "asyncio.events",
    ]


def test_a_loop_factory_is_asked() -> None:
    class Made(asyncio.SelectorEventLoop):
        pass

    async def kind() -> type:
        return type(asyncio.get_running_loop())

    with saburo.install():
        with asyncio.Runner(loop_factory=Made) as runner:
            assert runner.run(kind()) is Made
        with asyncio.Runner(loop_factory=None) as runner:
            assert runner.run(kind()) is saburo.Loop


def test_the_current_loop_is_kept() -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        with saburo.install():
            assert asyncio.get_event_loop() is loop
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def talk() -> tuple[Any, Any]:
    """Uses both ends of a connection by asyncio's own names; returns the classes of the readers."""
    classes: list[Any] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        classes.append(type(reader))
        writer.write((await reader.readline()).upper())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        classes.append(type(reader))
        writer.write(b"hello\n")
        assert await reader.read() == b"HELLO\n"
        writer.close()
        await writer.wait_closed()
    return tuple(classes)


async def talk_unix(path: str) -> Any:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()

    async with await asyncio.start_unix_server(answer, path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello\n")
        assert await reader.read() == b"HELLO\n"
        writer.close()
        await writer.wait_closed()
    return type(reader)


@pytest.mark.parametrize("installed", [False, True])
def test_streams_are_ours_on_a_loop_of_ours(installed: bool, tmp_path: Any) -> None:
    reader = saburo.StreamReader if installed else asyncio.StreamReader
    if installed:
        saburo.install()
    assert saburo.run(talk()) == (reader, reader)
    assert saburo.run(talk_unix(str(tmp_path / "socket"))) is reader


def test_streams_are_asyncios_on_a_loop_of_asyncios(tmp_path: Any) -> None:
    with saburo.install():
        reader = asyncio.StreamReader
        for main in (talk, lambda: talk_unix(str(tmp_path / "socket"))):
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                assert runner.run(main()) in (reader, (reader, reader))


def test_our_own_names_are_asyncios_on_a_loop_of_asyncios() -> None:
    async def main() -> None:
        here, there = socket.socketpair()
        with there:
            reader, writer = await saburo.open_connection(sock=here)
            assert type(reader) is asyncio.StreamReader
            assert type(writer) is asyncio.StreamWriter
            writer.close()
            await writer.wait_closed()

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(main())


def test_what_makes_a_reader_itself_gets_asyncios() -> None:
    async def main() -> None:
        assert type(asyncio.StreamReader()) is asyncio.StreamReader
        assert asyncio.streams.StreamReader is asyncio.StreamReader

    with saburo.install():
        asyncio.run(main())
