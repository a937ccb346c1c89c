"""Which modules of ``test.test_asyncio`` run here, in which rounds, and which are left out.

A module named in neither table is an error, so that a new CPython's new tests are noticed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "test.test_asyncio"

# The loop under test and its classes.
FULL = "saburo"
# Our Future and Task on CPython's loops, for programs that bring their own loop.
FOREIGN = "foreign"

RUN: dict[str, tuple[str, ...]] = {
    "test_futures": (FULL, FOREIGN),
    "test_futures2": (FULL, FOREIGN),
    "test_tasks": (FULL, FOREIGN),
    "test_eager_task_factory": (FULL, FOREIGN),
    "test_free_threading": (FULL,),
    "test_events": (FULL,),
    "test_base_events": (FULL,),
    "test_unix_events": (FULL,),
    "test_runners": (FULL,),
    "test_taskgroups": (FULL,),
    "test_timeouts": (FULL,),
    "test_waitfor": (FULL,),
    "test_locks": (FULL,),
    "test_queues": (FULL,),
    "test_staggered": (FULL,),
    "test_threads": (FULL,),
    "test_context": (FULL,),
    "test_graph": (FULL,),
    "test_pep492": (FULL,),
    "test_sock_lowlevel": (FULL,),
}

LEFT_OUT: dict[str, str] = {
    "test_buffered_proto": "needs transports",
    "test_sendfile": "needs transports",
    "test_server": "needs transports",
    "test_server_context": "needs transports",
    "test_ssl": "needs transports",
    "test_streams": "needs transports",
    "test_subprocess": "needs transports and subprocesses",
    "test_selector_events": "white-box: CPython's selector loop and its transports",
    "test_sslproto": "white-box: CPython's SSL protocol",
    "test_proactor_events": "white-box: CPython's loop for Windows",
    "test_windows_events": "Windows only",
    "test_windows_utils": "Windows only",
    "test_protocols": "no loop: abstract protocol classes",
    "test_transports": "no loop: abstract transport classes",
    "test_tools": "no loop: formats what another process's C tasks are doing",
}

# Classes of modules that do run.
CLASSES_LEFT_OUT: dict[str, str] = {
    "test_events.EPollEventLoopTests": "varies CPython's selector; saburo has none",
    "test_events.PollEventLoopTests": "varies CPython's selector; saburo has none",
    "test_sock_lowlevel.EPollEventLoopTests": "varies CPython's selector; saburo has none",
    "test_sock_lowlevel.PollEventLoopTests": "varies CPython's selector; saburo has none",
    "test_unix_events.UnixReadPipeTransportTests": "white-box: CPython's pipe transport",
    "test_unix_events.UnixWritePipeTransportTests": "white-box: CPython's pipe transport",
    "test_unix_events.AbstractChildWatcherTests": "no loop: CPython's child watchers",
    "test_unix_events.BaseChildWatcherTests": "no loop: CPython's child watchers",
    "test_unix_events.SafeChildWatcherTests": "white-box: CPython's child watchers",
    "test_unix_events.FastChildWatcherTests": "white-box: CPython's child watchers",
    "test_unix_events.PolicyTests": "white-box: CPython's child watchers",
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


def unknown() -> list[str]:
    """Modules of this interpreter that neither table names."""
    return [name for name in installed() or () if name not in RUN and name not in LEFT_OUT]
