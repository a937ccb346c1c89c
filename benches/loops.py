"""The event loops that are compared. A loop takes part when its module can be imported."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@dataclass(frozen=True)
class Contender:
    """One loop implementation, named after the module of its `new_event_loop`."""

    name: str
    # How often the loop asks the kernel for events while callbacks are ready. Asking less is faster
    # and makes sockets wait, so figures are published with it.
    polls: str

    def installed(self) -> bool:
        return importlib.util.find_spec(self.name) is not None

    def factory(self) -> LoopFactory:
        """Import the loop's module; in a process of its own, because some of them patch asyncio."""
        factory: LoopFactory = importlib.import_module(self.name).new_event_loop
        return factory

    def version(self) -> str:
        if self.name in sys.stdlib_module_names:
            return "standard library"
        try:
            return importlib.metadata.version(self.name)
        except importlib.metadata.PackageNotFoundError:  # a checkout on PYTHONPATH
            return str(getattr(importlib.import_module(self.name), "__version__", "unknown"))


SUBJECT = "saburo"
"""The loop the verdicts are about; every other one is a rival."""

YARDSTICK = "uvloop"
"""The loop whose figures are 1."""

EVERY_TURN = "every turn"

# Counted with strace on 2026-11-25 (uvloop 0.23.0, rloop 0.5.0, rsloop 0.1.66, zuvloop 0.0.17),
# CPython 3.14.10, in 10,000 turns of `await asyncio.sleep(0)`, without and with a socket
# registered; saburo's is from its design, and the counts agree.
CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("asyncio", polls=EVERY_TURN),
        Contender("uvloop", polls=EVERY_TURN),
        Contender(
            SUBJECT,
            polls="every turn while a thread-pool job is out, or a descriptor is registered that "
            "had news in the last 64 polls, but for the turn after a sleep; else every 61 turns "
            "and at least about every 100 µs",
        ),
        Contender("rloop", polls="about 15 times in 10,000 turns, sockets or not"),
        Contender("rsloop", polls="about 15 times in 10,000 turns, sockets or not"),
        Contender("zuvloop", polls="about 140 times in 10,000 turns, sockets or not"),
    )
}
