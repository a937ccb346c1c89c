"""install() and uninstall(): every object in its place, and back in it."""

from __future__ import annotations

import asyncio
import asyncio.events
import asyncio.streams
import socket
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from both_loops import TESTS_ON

if TESTS_ON == "asyncio":
    pytest.skip("SABURO_TESTS_ON=asyncio", allow_module_level=True)

import saburo

FUNCTIONS = ["open_connection", "start_server", "open_unix_connection", "start_unix_server"]


def everything() -> dict[str, object]:
    """Whatever asyncio's modules hold, by name."""
    modules = [
        module for name, module in sys.modules.items() if name.partition(".")[0] == "asyncio"
    ]
    return {
        f"{module.__name__}.{name}": value
        for module in modules
        for name, value in vars(module).items()
    }


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
    assert asyncio.new_event_loop is saburo.new_event_loop
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
    assert "new_event_loop" not in vars(policy)
    assert asyncio.get_event_loop_policy() is policy


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
