"""blockbuster makes blocking calls inside a running loop an error.

asyncio's own it knows by the names of its files. Of saburo's it sees two, for which
docs/compatibility.md has a line each.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster, BlockingError, blockbuster_ctx
from support.both_loops import Kind

from .conftest import Run

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"


@pytest.fixture
def detector() -> Iterator[BlockBuster]:
    with blockbuster_ctx() as detector:
        yield detector


def take_advice(detector: BlockBuster) -> None:
    """Runs the lines that the page on compatibility gives."""
    lines = re.findall(r"`(detector\.functions\[[^`]*)`", PAGE.read_text())
    assert len(lines) == 2
    for line in lines:
        eval(line, {"detector": detector})


async def start_a_child() -> bytes:
    child = await asyncio.create_subprocess_exec(
        "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate(b"green tea")
    return output


def test_it_detects(run: Run, detector: BlockBuster) -> None:
    async def main() -> None:
        with pytest.raises(BlockingError):
            time.sleep(0)

    run(main())


def test_what_the_loop_does_itself_passes(run: Run, kind: Kind, detector: BlockBuster) -> None:
    take_advice(detector)

    async def greet(_: Any, writer: Any) -> None:
        writer.write(b"hello")
        writer.close()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await asyncio.to_thread(str, 1) == "1"
        assert await loop.getaddrinfo("localhost", 80)
        server = await kind.streams.start_server(greet, "127.0.0.1", 0)
        reader, writer = await kind.streams.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b"hello"
        writer.close()
        server.close()
        told = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, told.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await told.wait()
        loop.remove_signal_handler(signal.SIGUSR1)
        await loop.shutdown_default_executor()

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")

        async def unix() -> None:
            async with await kind.streams.start_unix_server(greet, path):
                reader, writer = await kind.streams.open_unix_connection(path)
                assert await reader.read() == b"hello"
                writer.close()

        run(main())
        run(unix())


def test_a_child_starts_with_the_advice_of_the_page(run: Run, detector: BlockBuster) -> None:
    take_advice(detector)
    assert run(start_a_child()) == b"green tea"
