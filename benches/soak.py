"""`make soak`: whether a server needs no more memory and descriptors after long work.

Three servers under load at once, very many idle connections, very many that come and go; every byte
is checked. A check fails if memory grows that should be flat, if a descriptor stays open, or if a
silent server burns time. The exit code is 0 if none did.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from benches import folder, peers
from benches.child import Failure
from benches.generator import Generator, Load
from benches.loops import CONTENDERS, SUBJECT, Contender
from benches.server import allow_many_descriptors
from benches.traffic import KIB, Server

MIB = KIB * KIB
PATIENCE = 120
OWN = 8
ROUNDS = 16

# Kept connections with whole and with many-piece messages, and visitors, all at the same time.
LOADS = (
    Load("echo", connections=50, size=KIB),
    Load("echo", connections=5, size=300 * KIB),
    Load("visit", connections=5, size=KIB),
)
SERVERS = {"protocol_1k": False, "streams_1k": False, "tls_streams": True}
"""Cases whose servers echo, and whether they speak TLS."""


class Checks:
    """What was checked, as it happens."""

    def __init__(self) -> None:
        self.failed = self.made = 0

    def check(self, right: bool, sentence: str) -> None:
        self.made += 1
        self.failed += not right
        print("ok    " if right else "FAILED", sentence, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.soak", description=__doc__)
    add = parser.add_argument
    add("--loop", default=SUBJECT, choices=list(CONTENDERS), help="whose servers (%(default)s)")
    add("--seconds", type=float, default=120, help="under load (%(default)g)")
    add("--idle", type=int, default=10_000, help="idle connections at once (%(default)s)")
    add("--connections", type=int, default=100_000, help="opened and closed (%(default)s)")
    options = parser.parse_args(arguments)
    missing = peers.without_load()
    if missing is not None:
        print(missing, file=sys.stderr)
        return 2
    allow_many_descriptors()
    loop = CONTENDERS[options.loop]
    checks = Checks()
    with folder.made():
        for part in (
            under_load(checks, loop, options.seconds),
            idle(checks, loop, options.idle),
            come_and_go(checks, loop, options.connections),
        ):
            try:
                for _ in part:
                    pass
            except Failure as failure:
                checks.check(False, str(failure))
    print(
        f"soak on {loop.name}: {checks.made - checks.failed} checks passed, {checks.failed} failed"
    )
    return 1 if checks.failed else 0


def under_load(checks: Checks, loop: Contender, seconds: float) -> Iterator[None]:
    """Memory is flat if the last quarter of the time needs no more than the one before."""
    with ExitStack() as stack:
        servers = {case: stack.enter_context(Server(loop, case)) for case in SERVERS}
        open_before = {case: server.descriptors() for case, server in servers.items()}
        clients = [
            (
                case,
                stack.enter_context(
                    Generator(server.address, load, warm=100, secure=SERVERS[case])
                ),
            )
            for case, server in servers.items()
            for load in LOADS
        ]
        for _, client in clients:
            client.ready()
            client.say(f"seconds {seconds:g}")
        memory: dict[str, list[int]] = {case: [] for case in servers}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for case, server in servers.items():
                memory[case].append(server.memory())
            time.sleep(min(1, seconds / 40))
        seen = dict.fromkeys(servers, 0)
        for case, client in clients:
            with servers[case].responsible():
                seen[case] += client.hear(PATIENCE)["operations"]
            client.close()
        for case, server in servers.items():
            quarter = len(memory[case]) // 4
            before, after = (
                statistics.median(memory[case][-2 * quarter : -quarter]),
                statistics.median(memory[case][-quarter:]),
            )
            checks.check(
                flat(before, after),
                f"{case} under load for {seconds:g} s: {seen[case]:,} messages and visits, "
                f"{grown(before, after)} in the last quarter",
            )
            closed(checks, case, server, open_before[case])
            yield


def idle(checks: Checks, loop: Contender, connections: int) -> Iterator[None]:
    """The memory of a silent connection is freed or used again after its end."""
    load = Load("echo", connections=connections, size=KIB)
    for case in ("protocol_1k", "streams_1k"):
        with Server(loop, case) as server:
            open_before, memory = server.descriptors(), [server.memory()]
            # The allocator's use varies a little from round to round. A leak for each connection
            # would show three times after three rounds, whatever came before.
            for done in range(1, ROUNDS + 1):
                with Generator(server.address, load, warm=connections) as clients:
                    clients.ready()
                    memory.append(server.memory())
                    cpu = server.cpu()
                    time.sleep(1)
                    cpu = server.cpu() - cpu
                    clients.run(connections, PATIENCE)
                server.settle(open_before + OWN, PATIENCE)
                if done >= 7 and flat(*last_threes(memory)):
                    break
            before, after = last_threes(memory)
            each = (memory[1] - memory[0]) / connections
            checks.check(
                flat(before, after),
                f"{case} with {connections:,} idle connections: {each:,.0f} bytes each, "
                f"{grown(before, after)} after three times more",
            )
            checks.check(cpu < 0.01, f"{case} used {cpu * 1000:.2f} ms in a silent second")
            closed(checks, case, server, open_before)
            yield


def come_and_go(checks: Checks, loop: Contender, connections: int) -> Iterator[None]:
    """After the last fifth of the connections memory is what it was after the third."""
    fifth = connections // 5
    for case, secure in SERVERS.items():
        # A handshake takes as long as twenty connections without.
        count = fifth // 20 if secure else fifth
        load = Load("visit", connections=50, size=KIB)
        memory = []
        with Server(loop, case) as server:
            open_before = server.descriptors()
            with Generator(server.address, load, warm=50, secure=secure) as clients:
                clients.ready()
                for _ in range(5):
                    clients.run(count, PATIENCE)
                    memory.append(server.memory())
            closed(checks, case, server, open_before)
        checks.check(
            flat(memory[2], memory[4]),
            f"{case}, {5 * count:,} connections opened and closed: "
            f"{grown(memory[2], memory[4])} in the last two fifths",
        )
        yield


def closed(checks: Checks, case: str, server: Server, before: int) -> None:
    """The loop may have opened some of its own meanwhile, but none for a client."""
    server.settle(before + OWN, PATIENCE)
    now = server.descriptors()
    checks.check(now <= before + OWN, f"{case} has {now} descriptors open, {before} at first")


def last_threes(memory: Sequence[int]) -> tuple[float, float]:
    """The last three measurements, and the three before."""
    return statistics.median(memory[-6:-3]), statistics.median(memory[-3:])


def flat(before: float, after: float) -> bool:
    """Within what the allocator and the collector do by themselves."""
    return after - before <= max(before / 100, MIB / 2)


def grown(before: float, after: float) -> str:
    return f"{after / MIB:.1f} MiB, {(after - before) / KIB:+,.0f} KiB"


if __name__ == "__main__":
    raise SystemExit(main())
