"""The parent's end of `saburo-load`, the program in benches/load that stands opposite the loops."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benches import folder
from benches.child import Child, Failure
from benches.cores import Core, on

CERTIFICATE = Path(__file__).with_name("localhost.pem")
SECONDS_TO_START = 60


def program() -> Path:
    """`make bench` builds it into the environment of the interpreter."""
    named = os.environ.get("SABURO_LOAD")
    return Path(named) if named else Path(sys.executable).with_name("saburo-load")


@dataclass(frozen=True)
class Load:
    """What clients do; the program's own help says what the modes are."""

    mode: str
    connections: int = 1
    size: int = 0
    depth: int = 1
    times: int = 1
    body: str = ""

    def options(self) -> list[str]:
        options = {
            "connections": self.connections,
            "size": self.size,
            "depth": self.depth,
            "times": self.times,
            "body": self.body,
        }
        if self.mode in ("download", "upload"):
            options["pattern"] = str(folder.pattern())
        return [text for name, value in options.items() for text in (f"--{name}", str(value))]


class Done(NamedTuple):
    """How many operations finished in how many seconds, and how busy the clients were (0 to 1)."""

    operations: int
    seconds: float
    busy: float


class Generator(Child):
    """Clients that are connected, warm, and wait."""

    def __init__(self, address: str, load: Load, *, warm: int, secure: bool = False) -> None:
        command = [str(program()), load.mode, address, *load.options(), "--warm", str(warm)]
        if secure:
            command += ["--certificate", str(CERTIFICATE)]
        with on(Core.LOAD):
            super().__init__(command)

    def hear(self, seconds: float) -> dict[str, Any]:
        answer = super().hear(seconds)
        if "wrong" in answer:
            raise Failure(answer["wrong"])
        return answer

    def ready(self) -> None:
        """Wait until every connection is made, and the first operations are over."""
        self.hear(SECONDS_TO_START)

    def run(self, operations: int, patience: float) -> Done:
        self.say(f"operations {operations}")
        return Done(**self.hear(patience))
