"""The event loops that are compared. A loop takes part when its module can be imported."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@dataclass(frozen=True)
class Contender:
    """One loop implementation, named after the module that holds its `new_event_loop`."""

    name: str

    def installed(self) -> bool:
        return importlib.util.find_spec(self.name) is not None

    def factory(self) -> LoopFactory:
        """Import the loop's module, which must happen in a process of its own: some patch asyncio."""
        factory: LoopFactory = importlib.import_module(self.name).new_event_loop
        return factory

    def version(self) -> str:
        try:
            return importlib.metadata.version(self.name)
        except importlib.metadata.PackageNotFoundError:
            return "standard library"


SUBJECT = "saburo"
"""The loop the verdicts are about; every other one but the yardstick counts as a rival."""

CONTENDERS = {
    name: Contender(name) for name in ("asyncio", "uvloop", SUBJECT, "rloop", "rsloop", "zuvloop")
}
