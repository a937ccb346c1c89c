"""Detectors of blocking calls replace functions of `os` while a loop runs.

What the loop itself does with a socket's file, or with a file that it sends, is no finding of
theirs.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.both_loops import TESTS_ON, Kind

if TESTS_ON == "asyncio":
    pytest.skip("such tools know asyncio's files by name", allow_module_level=True)

Run = Callable[..., Any]

WATCHED = ["stat", "unlink", "remove", "getcwd", "getcwdb", "sendfile", "listdir", "access"]

# asyncio calls them, and is let pass by the names of its files.
pytestmark = pytest.mark.saburo_only


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("saburo")  # before the detector comes, as in programs
    for name in WATCHED:
        genuine = getattr(os, name)

        def refuse(*args: Any, _name: str = name, _genuine: Any = genuine, **options: Any) -> Any:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                return _genuine(*args, **options)
            raise AssertionError(f"blocking call to os.{_name}")

        monkeypatch.setattr(os, name, refuse)


@pytest.mark.usefixtures("detector")
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("in_bytes", [True, False])
def test_a_unix_server(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, relative: bool, in_bytes: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path: Any = "socket" if relative else str(tmp_path / "socket")
    if in_bytes:
        path = os.fsencode(path)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(asyncio.Protocol, path)
        server.close()
        await server.wait_closed()

    run(main())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("detector")
def test_a_datagram_endpoint_in_place_of_an_old_one(run: Run, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
        stale.bind(path)

    async def main() -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, path, family=socket.AF_UNIX
        )
        transport.close()

    run(main())


@pytest.mark.usefixtures("detector")
def test_a_file_is_sent(run: Run, kind: Kind) -> None:
    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        one, two = socket.socketpair()
        with one, two:
            one.setblocking(False)
            two.setblocking(False)
            assert await loop.sock_sendfile(one, file, fallback=False) == 9
            transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, one.dup())
            assert await loop.sendfile(transport, file, fallback=False) == 9
            transport.close()
            return await loop.sock_recv(two, 100)

    with tempfile.TemporaryFile() as file:
        file.write(b"green tea")
        file.flush()
        assert run(main()) == b"green tea" * 2


def test_what_is_imported_late_is_not_the_detectors() -> None:
    source = """
        import os, sys, tempfile
        assert "saburo" not in sys.modules
        for name in ("stat", "unlink", "getcwd"):
            def refuse(*args, _name=name, _genuine=getattr(os, name), **options):
                if asyncio._get_running_loop() is not None:
                    raise AssertionError(_name)
                return _genuine(*args, **options)
            setattr(os, name, refuse)
        async def main(loop):
            server = await loop.create_unix_server(asyncio.Protocol, "socket")
            server.close()
            await server.wait_closed()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            import saburo
            loop = saburo.new_event_loop()
            loop.run_until_complete(main(loop))
            loop.close()
        print("done")
    """
    asyncios = Kind("asyncio", "asyncio.new_event_loop()")  # whose scripts import nothing else
    done = asyncios.run_script(source)
    assert done.stdout == "done\n", done.stderr
