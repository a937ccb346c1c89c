"""The folder of a run: what its processes share, and leave behind.

The first process makes it, names it in the environment, and deletes it; the others find it there.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "SABURO_BENCH_FOLDER"

MIB = 1 << 20
FILE_SIZE = 16 * MIB


@contextmanager
def made() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="saburo-bench-") as name:
        # A database server may run as another user, which needs to pass through it.
        os.chmod(name, 0o711)
        os.environ[VARIABLE] = name
        try:
            yield Path(name)
        finally:
            del os.environ[VARIABLE]


def path() -> Path:
    return Path(os.environ[VARIABLE])


def pattern() -> Path:
    """A file with the bytes that bulk transfers repeat: 1 MiB without any pattern of its own."""
    return _once("pattern", lambda: random.Random("saburo").randbytes(MIB))


def large_file() -> Path:
    """A file with the same bytes again and again."""
    return _once("large-file", lambda: pattern().read_bytes() * (FILE_SIZE // MIB))


def _once(name: str, contents: Callable[[], bytes]) -> Path:
    file = path() / name
    if not file.exists():
        half = file.with_suffix(f".{os.getpid()}")
        half.write_bytes(contents())
        half.replace(file)
    return file
