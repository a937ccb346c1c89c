"""`create_unix_server(mode=...)` and `start_unix_server(mode=...)`: who may connect."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.as_since(3, 16)

Run = Callable[..., Any]


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


async def serve(streams: Any, path: Any, **options: Any) -> asyncio.Server:
    """A server that says hello, by way of either function."""
    loop: Any = asyncio.get_running_loop()
    if streams is None:
        return await loop.create_unix_server(Hello, path, **options)  # type: ignore[no-any-return]

    def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    return await streams.start_unix_server(hello, path, **options)  # type: ignore[no-any-return]


class Hello(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


async def heard(path: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    said = await reader.read()
    writer.close()
    await writer.wait_closed()
    return said


@pytest.fixture(params=["loop", "streams"])
def way(request: pytest.FixtureRequest, streams: Any) -> Any:
    """The streams' module, or None for the loop's method."""
    return streams if request.param == "streams" else None


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o770, 0o777])
def test_the_file_has_this_mode_whatever_the_umask(
    run: Run, way: Any, tmp_path: Path, mode: int, mask: int
) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        with umask(mask):
            server = await serve(way, path, mode=mode)
        async with server:
            assert mode_of(path) == mode
            assert await heard(path) == b"hello"
        assert not path.exists()

    run(main())


def test_without_a_mode_it_is_the_umasks(run: Run, way: Any, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        for options in ({}, {"mode": None}):
            with umask(0o026):
                server = await serve(way, path, **options)
            async with server:
                assert mode_of(path) == 0o751

    run(main())


@pytest.mark.parametrize("kind_of_path", [str, os.fsencode, Path])
def test_any_kind_of_path_will_do(
    run: Run, tmp_path: Path, kind_of_path: Callable[[Path], Any]
) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        async with await serve(None, kind_of_path(path), mode=0o640):
            assert mode_of(path) == 0o640

    run(main())


def test_a_socket_left_at_the_path_leaves_its_mode_to_nobody(
    run: Run, way: Any, tmp_path: Path
) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as before:
            before.bind(str(path))
        path.chmod(0o777)
        async with await serve(way, path, mode=0o600):
            assert mode_of(path) == 0o600

    run(main())


def test_a_server_that_does_not_serve_yet_has_its_mode_already(
    run: Run, way: Any, tmp_path: Path
) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        server = await serve(way, path, mode=0o640, start_serving=False)
        async with server:
            assert mode_of(path) == 0o640
            with pytest.raises(ConnectionRefusedError):
                await heard(path)
            await server.start_serving()
            assert mode_of(path) == 0o640
            assert await heard(path) == b"hello"

    run(main())


def test_nobody_connects_before_the_mode_is_set(run: Run, way: Any, tmp_path: Path) -> None:
    """A thread that tries without a pause never gets in while the file has another mode."""
    modes: list[int] = []

    def try_until_connected(path: Path) -> None:
        while True:
            with socket.socket(socket.AF_UNIX) as client:
                try:
                    client.connect(str(path))
                except (FileNotFoundError, ConnectionRefusedError):
                    continue
                modes.append(mode_of(path))
                return

    async def main() -> None:
        for number in range(20):
            path = tmp_path / str(number)
            thread = threading.Thread(target=try_until_connected, args=(path,))
            thread.start()
            server = await serve(way, path, mode=0o640)
            await asyncio.to_thread(thread.join)
            server.close()
            await server.wait_closed()

    run(main())
    assert modes == [0o640] * 20


@pytest.mark.parametrize("mode", ["0o600", 6.0, b"6", [6]])
def test_a_mode_is_a_number(run: Run, way: Any, tmp_path: Path, mode: Any) -> None:
    async def main() -> None:
        with pytest.raises(TypeError):
            await serve(way, tmp_path / "socket", mode=mode)

    run(main())


@pytest.mark.saburo_only
@pytest.mark.parametrize("mode", ["0o600", 1 << 80])
def test_a_mode_that_cannot_be_set_leaves_no_socket(
    run: Run, way: Any, tmp_path: Path, mode: Any
) -> None:
    async def main() -> None:
        with pytest.raises((TypeError, OverflowError)):
            await serve(way, tmp_path / "socket", mode=mode)
        assert os.listdir(tmp_path) == []

    run(main())


@pytest.mark.saburo_only
def test_a_mode_that_is_no_number_leaves_what_was_there(run: Run, way: Any, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as before:
            before.bind(str(path))
        with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
            await serve(way, path, mode="0o600")
        assert path.exists()

    run(main())


def test_an_abstract_socket_has_no_mode(run: Run, way: Any) -> None:
    async def main() -> None:
        name = f"\0saburo-test-{os.getpid()}"
        for path in (name, name.encode()):
            with pytest.raises(ValueError):
                await serve(way, path, mode=0o600)
        async with await serve(way, name, mode=None):
            pass

    run(main())


def test_a_socket_that_is_given_has_its_mode_already(run: Run, way: Any, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        with umask(0o022), socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
            with pytest.raises(ValueError):
                await serve(way, None, sock=sock, mode=0o600)
            assert mode_of(path) == 0o755
            assert sock.fileno() != -1
            async with await serve(way, None, sock=sock):
                assert await heard(path) == b"hello"

    run(main())


@pytest.mark.saburo_only
def test_what_is_wrong_is_said(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="^mode is not supported for abstract Unix sockets$"):
            await serve(None, "\0name", mode=0o600)
        with pytest.raises(ValueError, match="^mode is not supported for abstract Unix sockets$"):
            await serve(None, "", mode=0o600)
        with (
            socket.socket(socket.AF_UNIX) as sock,
            pytest.raises(ValueError, match="^mode and sock can not be specified at the same time"),
        ):
            await serve(None, None, sock=sock, mode=0o600)

    run(main())
