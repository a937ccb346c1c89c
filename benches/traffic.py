"""Cases with two processes: a server and its load, or a client and its peer.

What is measured is a process of its own for every sample, so that no sample finds what an earlier
one left behind, with a core of its own. Its peer is on another core, and the same for all loops.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, field, replace
from typing import Any, Self

from benches import peers
from benches.case import CASES, Case, Group, Measure, Sample, head
from benches.child import Child, Failure
from benches.cores import Core, on
from benches.door import Door, Entrance
from benches.generator import Generator, Load
from benches.loops import Contender
from benches.peers import Peer

NETWORK: Group = "network"
TLS: Group = "tls"
PROCESSES: Group = "processes"
PROGRAMS: Group = "programs"

KIB = 1024

SECONDS_TO_START = 60

Serve = Callable[[Door], Coroutine[Any, Any, None]]


class Server(Child):
    """A case's server on a loop, listening."""

    def __init__(self, loop: Contender, case: str) -> None:
        with on(Core.MEASURED):
            super().__init__([sys.executable, "-m", "benches.server", loop.name, case])

    def __enter__(self) -> Self:
        self.address: str = self.hear(SECONDS_TO_START)["address"]
        return self

    @contextmanager
    def responsible(self) -> Iterator[None]:
        """Raises the server's error where clients fail, because it may say why."""
        try:
            yield
        except Failure as failure:
            if self.answers_within(0.5):
                self.hear(0)
            raise Failure(f"{failure} (the server, last: {self.last_words()})") from None

    def cpu(self) -> float:
        """Seconds of processor time, all threads, user and system, so far."""
        # What clock_getcpuclockid(3) computes on Linux: the id of the process's own clock.
        return time.clock_gettime(~self.pid << 3 | 2)

    def memory(self) -> int:
        """Bytes that are resident."""
        with open(f"/proc/{self.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def settle(self, descriptors: int, patience: float = 2) -> None:
        """Wait, up to a limit, until it has closed the connections that its clients have closed."""
        end = time.monotonic() + patience
        while self.descriptors() > descriptors and time.monotonic() < end:
            time.sleep(0.01)


@dataclass(frozen=True)
class ServerCase(Case):
    """The server is measured, by the clock of its process, and `saburo-load` keeps it busy."""

    measures: tuple[Measure, ...] = (Measure.CPU, Measure.WALL)
    serve: Serve = field(kw_only=True)
    load: Load = field(kw_only=True)
    entrance: Entrance = Entrance.TCP
    secure: bool = False
    # Whether a loop that has streams of its own uses them.
    native_streams: bool = True

    def sample(self, loop: Contender, operations: int) -> Sample:
        with (
            self._server(loop) as server,
            self._clients(server, self._warm(operations)) as clients,
            server.responsible(),
        ):
            clients.ready()
            cpu = server.cpu()
            done = clients.run(operations, self.patience)
            cpu = server.cpu() - cpu
        sample = self.verified(done.operations, operations, wall=done.seconds, cpu=cpu)
        return replace(sample, load=done.busy)

    def obstacle(self) -> str | None:
        linux = None if sys.platform.startswith("linux") else "needs Linux"
        return super().obstacle() or linux or peers.without_load()

    def _server(self, loop: Contender) -> Server:
        return Server(loop, self.name)

    def _clients(self, server: Server, warm: int, connections: int | None = None) -> Generator:
        load = self.load if connections is None else replace(self.load, connections=connections)
        return Generator(server.address, load, warm=warm, secure=self.secure)

    def _warm(self, operations: int) -> int:
        """A tenth of the work, and at least one exchange on every connection."""
        least = self.load.connections * self.load.depth
        return max(least, operations // 10 // self.load.depth * self.load.depth)


@dataclass(frozen=True)
class IdleCase(ServerCase):
    """An operation is a connection; its cost is the server's memory while it is idle, after one
    message in each direction."""

    measures: tuple[Measure, ...] = (Measure.MEMORY,)

    def sample(self, loop: Contender, operations: int) -> Sample:
        with self._server(loop) as server:
            few = operations // 10
            before = server.descriptors()
            with self._clients(server, few, connections=few) as clients, server.responsible():
                clients.ready()
            # A loop opens descriptors of its own when it first needs them.
            server.settle(before + 8)
            memory, cpu, wall = server.memory(), server.cpu(), time.perf_counter()
            with (
                self._clients(server, operations, connections=operations) as clients,
                server.responsible(),
            ):
                clients.ready()
                cpu, wall = server.cpu() - cpu, time.perf_counter() - wall
                memory = server.memory() - memory
                # They must all still be there.
                done = clients.run(operations, self.patience)
        sample = self.verified(done.operations, operations, wall=wall, cpu=cpu)
        return replace(sample, memory=memory / operations)


Work = Callable[[int], Coroutine[Any, Any, int]]
"""Does so many operations and returns how many it saw finish."""

Prepare = Callable[[str], AbstractAsyncContextManager[Work]]
"""Connects to the address, and gives the work."""


@dataclass(frozen=True)
class ClientCase(Case):
    """The client is measured, by itself. Without a peer it may use every core."""

    measures: tuple[Measure, ...] = (Measure.CPU, Measure.WALL)
    prepare: Prepare = field(kw_only=True)
    peer: Peer | None = None

    def sample(self, loop: Contender, operations: int) -> Sample:
        with ExitStack() as stack:
            address = stack.enter_context(self.peer.start()) if self.peer else ""
            command = [sys.executable, "-m", "benches.client", loop.name, self.name]
            with on(Core.MEASURED if self.peer else None):
                client = Child([*command, str(operations), address])
            return Sample(**stack.enter_context(client).hear(self.patience))

    def obstacle(self) -> str | None:
        return super().obstacle() or (self.peer.obstacle() if self.peer else None)

    async def timed(self, address: str, operations: int) -> Sample:
        """In the client's process."""
        async with self.prepare(address) as work:
            # A tenth of the work first, for imports, pools and caches.
            await work(max(1, operations // self.step // 10) * self.step)
            wall, cpu = time.perf_counter(), time.process_time()
            result = await work(operations)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return self.verified(result, operations, wall=wall, cpu=cpu)


def server_case(
    title: str,
    load: Load,
    *,
    with_stdlib_streams: bool = False,
    group: Group = NETWORK,
    **options: Any,
) -> Callable[[Serve], Serve]:
    """Register a function that serves at a door; its docstring says what the case measures.

    With `with_stdlib_streams`, register a twin that uses asyncio's streams as they are, also on a
    loop that brings streams of its own.
    """

    def register(serve: Serve) -> Serve:
        kind = IdleCase if Measure.MEMORY in options.get("measures", ()) else ServerCase
        options.setdefault("step", load.depth)
        case = kind(**head(serve, title), group=group, serve=serve, load=load, **options)
        CASES[case.name] = case
        if with_stdlib_streams:
            twin = replace(
                case,
                name=f"{case.name}_stdlib",
                title=f"{title}, asyncio's streams",
                native_streams=False,
            )
            CASES[twin.name] = twin
        return serve

    return register


def client_case(
    title: str, *, group: Group = NETWORK, **options: Any
) -> Callable[[Callable[[str], AsyncIterator[Work]]], None]:
    """Register an async generator function that connects, yields the work, and disconnects."""

    def register(prepare: Callable[[str], AsyncIterator[Work]]) -> None:
        case = ClientCase(
            **head(prepare, title), group=group, prepare=asynccontextmanager(prepare), **options
        )
        CASES[case.name] = case

    return register


async def at_once(
    crowd: int, operations: int, one: Callable[[int, int], Coroutine[Any, Any, int]]
) -> int:
    """Divide the operations among so many tasks; each gets its number and its share."""
    share = operations // crowd
    return sum(await asyncio.gather(*(one(number, share) for number in range(crowd))))
