#!/usr/bin/env python3
"""SHA-256 of every file below a folder, in the format of sha256sum.

    python examples/digest.py PATH               # on asyncio
    saburo run examples/digest.py PATH           # the same program on saburo
    python examples/digest.py PATH -o SHA256SUMS && sha256sum --check SHA256SUMS

The rule that makes it right: the report appears whole or not at all. It is written under another
name and renamed in one step, under a shield, so that after Ctrl-C there is either the old report or
the new one.

Exit codes: 0 all files read; 1 some could not be (they are listed on stderr, the others are in the
report); 2 a wrong command line, or a report that cannot be written; 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import multiprocessing
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from typing import Any

Failure = tuple[bytes, str]
"""A path and the reason why it has no line in the report."""

UNREADABLE = (OSError, BrokenExecutor)
"""Errors that leave out one file and not all. A TimeoutError is an OSError, too. A broken executor
means that the system killed a worker process, usually because there was no memory left."""


def main(arguments: list[str] | None = None) -> int:
    options = command_line(arguments)
    try:
        return asyncio.run(digest_tree(options))
    except KeyboardInterrupt:
        say("interrupted")
        return 130


async def digest_tree(options: argparse.Namespace) -> int:
    digester = Digester(options)
    heartbeat = asyncio.create_task(beat(digester, options.heartbeat))
    tasks: list[asyncio.Task[str]] = []
    try:
        survey = await asyncio.to_thread(look_around, options.path, options.output)
        tasks = [asyncio.create_task(digester.digest(*file)) for file in survey.files]
        for done in progress(asyncio.as_completed(tasks), len(tasks), options.progress):
            with contextlib.suppress(*UNREADABLE):  # gather returns it below, in the files' order
                await done
        results = await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        for task in heartbeat, *tasks:
            task.cancel()  # before the workers stop, which would make the tasks fail
        digester.close()

    lines, failures = [], survey.failures
    for (path, _size), result in zip(survey.files, results, strict=True):
        if isinstance(result, UNREADABLE):
            failures.append((path, reason(result)))
        elif isinstance(result, BaseException):
            raise result
        else:
            lines.append(line(result, path))

    try:
        await finish(asyncio.to_thread(write_report, options.output, b"".join(lines)))
    except OSError as error:
        say(f"cannot write the report: {reason(error)}")
        return 2
    list_all("skipped", survey.skipped)
    list_all("unreadable", failures)
    return 1 if failures else 0


async def finish(work: Coroutine[Any, Any, None]) -> None:
    """Waits for work that must not be left half done, also if this task is cancelled."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task  # a second Ctrl-C ends this wait, but not the thread that writes
        raise


async def beat(digester: Digester, seconds: float) -> None:
    """Reports the progress from time to time, also where no progress bar can be shown."""
    while True:
        await asyncio.sleep(seconds)
        say(f"{digester.files} files, {digester.bytes / 1e6:.0f} MB so far")


class Digester:
    """Digests up to `options.jobs` files at a time: small ones in threads, big ones in processes.

    hashlib releases the GIL, so threads would do for both. With a pool of their own, files of many
    gigabytes take no threads from the small ones.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.files = 0
        self.bytes = 0
        self.limit = asyncio.Semaphore(options.jobs)
        # As many threads as files at a time: the time limit must not include waiting for a thread.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(options.jobs))
        # Not fork: a lock that a thread holds at the fork would never be released in the child.
        spawn = multiprocessing.get_context("spawn")
        self.stop = spawn.Event()
        self.pool = ProcessPoolExecutor(
            options.processes, mp_context=spawn, initializer=enter_worker, initargs=(self.stop,)
        )
        share_stop(self.stop)

    async def digest(self, path: bytes, size: int) -> str:
        async with self.limit:
            seconds = self.options.timeout
            deadline = time.monotonic() + seconds
            if size >= self.options.big:
                loop = asyncio.get_running_loop()
                job: Any = loop.run_in_executor(self.pool, hash_file, path, deadline)
            else:
                job = asyncio.to_thread(hash_file, path, deadline)
            try:
                return await asyncio.wait_for(job, seconds)
            except TimeoutError:
                raise TimeoutError(f"not read within {seconds:g} s") from None
            finally:
                self.files += 1
                self.bytes += size

    def close(self) -> None:
        self.stop.set()  # otherwise Ctrl-C would wait until the files in work are read
        self.pool.shutdown(cancel_futures=True)


# --- In worker threads and processes, without a loop. ---

CHUNK = 1 << 20
_stop: Event


def share_stop(stop: Event) -> None:
    global _stop
    _stop = stop


def enter_worker(stop: Event) -> None:
    share_stop(stop)
    # Ctrl-C reaches the whole process group; the parent alone handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def hash_file(path: bytes, deadline: float) -> str:
    """The hex digest of a regular file; OSError if it cannot be read before `deadline`.

    A thread cannot be cancelled from outside, so this looks at the clock and at `_stop` by itself.
    """
    # The file may have been replaced since the survey: with O_NONBLOCK a FIFO does not block, and
    # with O_NOFOLLOW a link is not followed out of the tree.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("no longer a regular file")
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(CHUNK))
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            if _stop.is_set():
                raise InterruptedError("stopped")
            if time.monotonic() > deadline:
                raise TimeoutError
        return digest.hexdigest()


@dataclass
class Survey:
    """The files below a path, each list sorted by the bytes of the paths."""

    files: list[tuple[bytes, int]] = field(default_factory=list)
    skipped: list[Failure] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def look_around(root: bytes, report: bytes | None) -> Survey:
    """Paths are bytes everywhere, because a file name need not be text in any encoding."""
    survey = Survey()
    own = None if report is None else os.path.realpath(report)
    folders: list[bytes] = []

    def note(path: bytes, status: os.stat_result) -> None:
        if stat.S_ISDIR(status.st_mode):
            folders.append(path)
        elif not stat.S_ISREG(status.st_mode):
            survey.skipped.append((path, kind(status.st_mode)))
        elif os.path.realpath(path) == own:
            survey.skipped.append((path, "the report itself"))
        else:
            survey.files.append((path, status.st_size))

    note(root, os.stat(root))  # a link named on the command line is followed, no other is
    while folders and not _stop.is_set():
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    try:
                        note(entry.path, entry.stat(follow_symlinks=False))
                    except OSError as error:
                        survey.failures.append((entry.path, reason(error)))
        except OSError as error:
            survey.failures.append((folder, reason(error)))
    for found in (survey.files, survey.skipped, survey.failures):
        found.sort()
    return survey


def kind(mode: int) -> str:
    kinds = {
        stat.S_IFLNK: "symbolic link",
        stat.S_IFIFO: "FIFO",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "character device",
        stat.S_IFBLK: "block device",
    }
    return kinds.get(stat.S_IFMT(mode), "not a regular file")


def write_report(path: bytes | None, report: bytes) -> None:
    if path is None:
        write_all(sys.stdout.fileno(), report)
        return
    path = os.path.realpath(path)
    if os.path.exists(path) and not os.path.isfile(path):
        # A device such as /dev/null: renaming a file to its name would destroy it.
        with open(path, "wb", buffering=0) as special:
            write_all(special.fileno(), report)
        return
    folder, name = os.path.split(path)
    draft = os.path.join(folder, b".%b.%d.draft" % (name, os.getpid()))
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            write_all(descriptor, report)
            os.fsync(descriptor)  # a crash must not leave the new name with no content
        finally:
            os.close(descriptor)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def write_all(descriptor: int, report: bytes) -> None:
    rest = memoryview(report)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


# --- Input and output. ---


def line(digest: str, path: bytes) -> bytes:
    """One line of the report; line breaks in a name are escaped as by sha256sum."""
    escaped = path.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    mark = b"\\" if escaped != path else b""
    return b"%b%b  %b\n" % (mark, digest.encode(), escaped)


def reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def list_all(title: str, entries: list[Failure]) -> None:
    for path, why in entries:
        # `ascii`, because a file name may contain control sequences of the terminal.
        say(f"{title}: {ascii(os.fsdecode(path))[1:-1]}: {why}")


def say(message: str) -> None:
    if "tqdm" in sys.modules:  # it can write above its own bar
        sys.modules["tqdm"].tqdm.write(f"digest: {message}", file=sys.stderr)
    else:
        print(f"digest: {message}", file=sys.stderr, flush=True)


def progress(steps: Iterator[Any], total: int, wanted: bool | None) -> Iterable[Any]:
    """The steps with a progress bar; by default only if stderr is a terminal."""
    if wanted is False:
        return steps
    try:
        from tqdm import tqdm
    except ImportError:
        if wanted or sys.stderr.isatty():
            say("no progress bar: tqdm is not installed (pip install tqdm)")
        return steps
    disable = None if wanted is None else False
    bar: Iterable[Any] = tqdm(steps, total=total, unit="file", file=sys.stderr, disable=disable)
    return bar


def command_line(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="digest",
        description="SHA-256 of every file below PATH, as sha256sum prints and checks it.",
    )
    parser.add_argument("path", type=os.fsencode, metavar="PATH", help="a folder, or one file")
    parser.add_argument(
        "-o", "--output", type=os.fsencode, metavar="FILE", help="the report (default: stdout)"
    )
    parser.add_argument(
        "-j", "--jobs", type=positive(int), default=16, metavar="N", help="files at a time (16)"
    )
    parser.add_argument(
        "--processes",
        type=positive(int),
        default=min(4, os.cpu_count() or 1),
        metavar="N",
        help="processes for big files",
    )
    parser.add_argument(
        "--big",
        type=positive(int),
        default=64 << 20,
        metavar="BYTES",
        help="the size from which a file is big (64 MiB)",
    )
    parser.add_argument(
        "--timeout",
        type=positive(float),
        default=600.0,
        metavar="SECONDS",
        help="time limit for one file (600)",
    )
    parser.add_argument(
        "--heartbeat",
        type=positive(float),
        default=10.0,
        metavar="SECONDS",
        help="tell how far we are every so often (10)",
    )
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="a progress bar (default: if stderr is a terminal)",
    )
    options = parser.parse_args(arguments)

    # Checked now, and not after an hour of reading.
    if not os.path.exists(options.path):
        parser.error(f"no such file or folder: {os.fsdecode(options.path)!a}")
    if options.output is not None:
        path = os.path.realpath(options.output)
        # write_report needs its folder to be writable, or the device itself.
        device = os.path.exists(path) and not os.path.isfile(path)
        if os.path.isdir(path) or not os.access(path if device else os.path.dirname(path), os.W_OK):
            parser.error(f"cannot write to {os.fsdecode(options.output)!a}")
    return options


def positive(number: type[int] | type[float]) -> Callable[[str], float]:
    def convert(text: str) -> float:
        value = number(text)
        if not value > 0:
            raise ValueError
        return value

    convert.__name__ = f"positive {number.__name__}"  # argparse names it in its message
    return convert


if __name__ == "__main__":
    sys.exit(main())
