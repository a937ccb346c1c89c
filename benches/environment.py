"""Where and on what a run was made: without it a figure says nothing."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benches.loops import CONTENDERS
from benches.worker import Greeting


@dataclass(frozen=True)
class Environment:
    """Taken before the first sample."""

    date: str
    machine: str
    kernel: str
    python: str
    build: str
    checkout: str
    load: str
    loops: dict[str, Greeting]

    def lines(self) -> list[tuple[str, str]]:
        """The header of a report: what, and its text."""
        return [
            ("date", self.date),
            ("machine", self.machine),
            ("kernel", self.kernel),
            ("load before", self.load),
            ("Python", self.python),
            ("Python's build", self.build),
            ("checkout", self.checkout),
            *(
                (name, greeting.version + _replaced(greeting))
                for name, greeting in self.loops.items()
            ),
            *((f"{name} polls", CONTENDERS[name].polls) for name in self.loops),
        ]


def observe(loops: Mapping[str, Greeting]) -> Environment:
    return Environment(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=_machine(),
        kernel=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        build=_build(),
        checkout=_checkout(),
        load="{:.2f} {:.2f} {:.2f}".format(*os.getloadavg()),
        loops=dict(loops),
    )


def python_name() -> str:
    """The interpreter in a file name: `cpython3.14`, `cpython3.14t` without the GIL."""
    free_threaded = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    return "{}{}.{}{}".format(sys.implementation.name, *sys.version_info[:2], free_threaded)


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{_processor()}, {cores} cores, {memory:.0f} GiB, {platform.machine()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown processor")


def _build() -> str:
    """How the interpreter was compiled, as far as it tells: a distribution may have used profiles
    and link-time optimisation in a way that does not show here."""
    variables = sysconfig.get_config_vars()
    names = ("CONFIG_ARGS", "PY_CFLAGS", "PY_CFLAGS_NODIST")
    flags = " ".join(str(variables.get(name, "")) for name in names).replace("'", "").split()
    levels = [flag for flag in flags if flag.startswith("-O")]
    telling = ("--enable-optimizations", "--with-lto", "-fprofile-use", "-flto")
    stated = [flag for flag in flags if flag.startswith(telling)]
    parts = [platform.python_compiler(), *levels[-1:], *dict.fromkeys(stated)]
    if not stated:
        parts.append("neither PGO nor LTO stated")
    jit = getattr(sys, "_jit", None)
    if jit is not None:
        parts.append(f"JIT {'on' if jit.is_enabled() else 'off'}")
    if variables.get("Py_GIL_DISABLED"):
        parts.append("free-threaded")
    if hasattr(sys, "gettotalrefcount"):
        parts.append("DEBUG BUILD")
    return ", ".join(parts)


def _checkout() -> str:
    """The commit, from git, or where git is not installed from the files it keeps."""

    def git(*command: str) -> str:
        run = subprocess.run(("git", *command), capture_output=True, text=True, check=True)
        return run.stdout.strip()

    try:
        changed = git("status", "--short", "--untracked-files=no")
        return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
    except (FileNotFoundError, subprocess.CalledProcessError):
        pass
    try:
        head = Path(".git/HEAD").read_text().strip()
        kind, _, reference = head.rpartition(" ")
        commit = Path(".git", reference).read_text().strip() if kind else head
        return f"{commit[:7]}, perhaps with changes"
    except OSError:
        return "unknown"


def _replaced(greeting: Greeting) -> str:
    """Loops that change asyncio itself do not run the same code as the others."""
    if not greeting.replaced:
        return ""
    return ", replaces " + ", ".join(greeting.replaced)
