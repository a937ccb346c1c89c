"""Fixtures of the downstream tests: programs, certificates, servers, and a stricter `run`."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from support.both_loops import PATIENCE, Kind

from .certificates import Certificates
from .programs import Program
from .servers import PostgreSQL, Redis

Start = Callable[..., Program]
Run = Callable[[Awaitable[Any]], Any]


@pytest.fixture
def run(kind: Kind) -> Run:
    """`asyncio.run` on a loop of this kind, which in the end must be left with nothing to do.

    No task may be left behind, nothing may reach the exception handler, and what is collected
    afterwards must not warn that it was never closed.
    """

    def run(main: Awaitable[Any]) -> Any:
        reports: list[dict[str, Any]] = []

        async def watched() -> Any:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _loop, context: reports.append(context))
            result = await main
            if left := asyncio.all_tasks() - {asyncio.current_task()}:
                # Some libraries say goodbye in tasks that end by themselves.
                _, left = await asyncio.wait(left, timeout=PATIENCE)
                assert not left, left
            return result

        with asyncio.Runner(loop_factory=kind.new_loop) as runner:
            result = runner.run(watched())
        gc.collect()
        assert not reports
        return result

    return run


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts programs, and ends those that the test did not."""
    programs: list[Program] = []

    def start(command: list[str], **environment: str) -> Program:
        programs.append(Program(command, environment))
        return programs[-1]

    yield start
    for program in programs:
        program.kill()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def redis_server(certificates: Certificates) -> Iterator[Redis]:
    with Redis.started(certificates) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql(certificates: Certificates) -> Iterator[PostgreSQL]:
    with PostgreSQL.started(certificates) as server:
        yield server
