"""pytest-asyncio and anyio's plugin run other people's tests on saburo, by their own hooks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from support.both_loops import PATIENCE, Kind

from .programs import TROUBLE


def pytest_passes(folder: Path, kind: Kind, conftest: str, tests: str, *options: str) -> str:
    head = f"import asyncio, {'saburo' if kind.is_saburo else 'asyncio'}\n"
    factory = f"new_loop = lambda: {kind.factory}\n"
    (folder / "conftest.py").write_text(head + factory + dedent(conftest))
    (folder / "test_it.py").write_text(f"import asyncio\nKIND = {kind.name!r}\n" + dedent(tests))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "-v", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE * 2,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not TROUBLE.search(done.stdout + done.stderr)
    return done.stdout


def test_pytest_asyncio(kind: Kind, tmp_path: Path) -> None:
    output = pytest_passes(
        tmp_path,
        kind,
        """
        def pytest_asyncio_loop_factories(config, item):
            return {"chosen": new_loop}
        """,
        """
        import pytest, pytest_asyncio

        def on_the_right_loop():
            module = type(asyncio.get_running_loop()).__module__
            return module.startswith("saburo") == (KIND == "saburo")

        @pytest_asyncio.fixture
        async def server():
            async def echo(reader, writer):
                writer.write(await reader.read())
                writer.close()
                await writer.wait_closed()
            assert on_the_right_loop()
            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            async with server:
                yield server.sockets[0].getsockname()

        @pytest_asyncio.fixture(loop_scope="module", scope="module")
        async def shared():
            assert on_the_right_loop()
            yield asyncio.get_running_loop()

        @pytest.mark.asyncio
        async def test_a_fixture_serves(server):
            assert on_the_right_loop()
            reader, writer = await asyncio.open_connection(*server)
            writer.write(b"hello")
            writer.write_eof()
            assert await reader.read() == b"hello"
            writer.close()
            await writer.wait_closed()

        @pytest.mark.asyncio(loop_scope="module")
        @pytest.mark.parametrize("number", range(3))
        async def test_a_loop_is_shared(shared, number):
            assert asyncio.get_running_loop() is shared

        @pytest.mark.asyncio
        async def test_a_task_left_behind_is_cancelled():
            asyncio.create_task(asyncio.sleep(1000))
        """,
        "-o",
        "asyncio_default_fixture_loop_scope=function",
        "-p",
        "no:anyio",
    )
    assert "5 passed" in output


def test_anyio(kind: Kind, tmp_path: Path) -> None:
    output = pytest_passes(
        tmp_path,
        kind,
        """
        import pytest

        @pytest.fixture(scope="module")
        def anyio_backend():
            return "asyncio", {"loop_factory": new_loop}
        """,
        """
        import anyio, pytest

        pytestmark = pytest.mark.anyio

        def on_the_right_loop():
            module = type(asyncio.get_running_loop()).__module__
            return module.startswith("saburo") == (KIND == "saburo")

        @pytest.fixture(scope="module")
        async def shared():
            assert on_the_right_loop()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.sleep_forever)
                yield asyncio.get_running_loop()
                tasks.cancel_scope.cancel()

        @pytest.fixture
        async def value(shared):
            await anyio.sleep(0.001)
            return 42

        @pytest.mark.parametrize("number", range(3))
        async def test_fixtures(shared, value, number):
            assert on_the_right_loop()
            assert asyncio.get_running_loop() is shared
            assert value == 42
            with anyio.move_on_after(0.01) as scope:
                await anyio.sleep_forever()
            assert scope.cancelled_caught

        async def test_a_failure_in_a_task_is_the_tests():
            async def fail():
                raise LookupError
            with pytest.raises(ExceptionGroup):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(fail)
        """,
        "-p",
        "no:asyncio",
    )
    assert "4 passed" in output
