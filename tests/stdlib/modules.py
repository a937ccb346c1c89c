"""Which modules of ``test.test_asyncio`` run here, and in which rounds."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "test.test_asyncio"

# The loop under test and its classes.
FULL = "full"
# Our classes on CPython's loops, for programs that bring their own loop.
FOREIGN = "foreign"

RUN: dict[str, tuple[str, ...]] = {
    # The longest first.
    "test_tasks": (FULL, FOREIGN),
    "test_taskgroups": (FULL,),
    "test_futures": (FULL, FOREIGN),
    "test_futures2": (FULL, FOREIGN),
    "test_eager_task_factory": (FULL, FOREIGN),
    "test_free_threading": (FULL,),
    "test_ssl": (FULL,),
    "test_sendfile": (FULL,),
    "test_streams": (FULL, FOREIGN),
    "test_server": (FULL,),
    "test_server_context": (FULL,),
    "test_sslproto": (FULL,),
    "test_buffered_proto": (FULL,),
    "test_graph": (FULL,),
    "test_events": (FULL,),
    "test_base_events": (FULL,),
    "test_unix_events": (FULL,),
    "test_subprocess": (FULL,),
    "test_runners": (FULL,),
    "test_timeouts": (FULL,),
    "test_waitfor": (FULL,),
    "test_locks": (FULL,),
    "test_queues": (FULL,),
    "test_staggered": (FULL,),
    "test_threads": (FULL,),
    "test_context": (FULL,),
    "test_pep492": (FULL,),
    "test_sock_lowlevel": (FULL,),
}


@dataclass(frozen=True)
class Job:
    """One test module in one round, run in a process of its own."""

    module: str
    round: str

    @property
    def label(self) -> str:
        return self.module if self.round == FULL else f"{self.module}@{self.round}"

    @classmethod
    def of_label(cls, label: str) -> Job:
        module, _, round_ = label.partition("@")
        return cls(module, round_ or FULL)


def installed() -> list[str] | None:
    """The test modules this interpreter has, or None if it came without its tests."""
    try:
        spec = importlib.util.find_spec(PACKAGE)
    except ModuleNotFoundError:
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    (folder,) = spec.submodule_search_locations
    return sorted(path.stem for path in Path(folder).glob("test_*.py"))


def jobs() -> Iterator[Job]:
    """Every job for this interpreter, in the order of the table above."""
    present = set(installed() or ())
    for module, rounds in RUN.items():
        if module in present:
            for round_ in rounds:
                yield Job(module, round_)
