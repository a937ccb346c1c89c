"""What clients talk to: a server that is the same for all loops, on the core of the load."""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benches import folder, generator
from benches.child import Child, Failure
from benches.cores import Core, on

HOST = "127.0.0.1"
SECONDS_TO_START = 30
HTTP_BODY = "hello, world"


@dataclass(frozen=True)
class Peer:
    # Starts it, and gives its address.
    start: Callable[[], AbstractContextManager[str]]
    # What is missing to start it, if anything.
    obstacle: Callable[[], str | None]


def without_load() -> str | None:
    found = shutil.which(generator.program()) is not None
    return None if found else "needs saburo-load, which `make bench` builds"


@contextmanager
def _load_server(*arguments: str) -> Iterator[str]:
    with on(Core.LOAD):
        child = Child([str(generator.program()), *arguments])
    with child:
        yield f"{HOST}:{child.hear(SECONDS_TO_START)['port']}"


@contextmanager
def _redis() -> Iterator[str]:
    """Debian's, without persistence."""
    port = _free_port()
    options = ["--bind", HOST, "--port", str(port), "--save", "", "--dir", str(folder.path())]
    with _running(["redis-server", *options], port):
        yield f"{HOST}:{port}"


@contextmanager
def _postgres() -> Iterator[str]:
    """Debian's, with an empty cluster that is made once in a run."""
    port = _free_port()
    options = {
        "listen_addresses": HOST,
        "port": str(port),
        "unix_socket_directories": "",
        # Nothing is written to disk, and nothing runs in the background.
        "fsync": "off",
        "autovacuum": "off",
    }
    settings = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
    command = [str(_postgres_programs() / "postgres"), "-D", str(_cluster()), *settings]
    with _running(command, port, user=_postgres_user()):
        yield f"{HOST}:{port}"


@contextmanager
def _running(command: Sequence[str], port: int, user: str | None = None) -> Iterator[None]:
    with open(folder.path() / f"{port}.log", "w+b") as log:
        with on(Core.LOAD):
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd="/",
                user=user,
                extra_groups=[] if user else None,
            )
        try:
            if not _accepts(process, port):
                log.seek(0)
                raise Failure(log.read().decode(errors="replace")[-500:])
            yield
        finally:
            # Both servers take it as a fast but orderly shutdown.
            process.send_signal(signal.SIGINT)
            process.wait()


def _accepts(process: subprocess.Popen[bytes], port: int) -> bool:
    end = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
            return True
        time.sleep(0.02)
    return False


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@functools.cache
def _postgres_programs() -> Path:
    """Where its programs are: Debian keeps them off the PATH, one folder for each version."""
    found = shutil.which("postgres")
    if found:
        return Path(found).parent
    return Path(max(glob.glob("/usr/lib/postgresql/*/bin"), default="/usr/bin"))


def _postgres_user() -> str | None:
    """It refuses to run as root."""
    return "postgres" if os.getuid() == 0 else None


def _cluster() -> Path:
    cluster = folder.path() / "postgres"
    if cluster.exists():
        return cluster
    half = cluster.with_suffix(f".{os.getpid()}")
    half.mkdir()
    user = _postgres_user()
    if user is not None:
        os.chown(half, pwd.getpwnam(user).pw_uid, -1)
    subprocess.run(
        [
            _postgres_programs() / "initdb",
            "-D",
            half,
            "-A",
            "trust",
            "-U",
            "bench",
            "-E",
            "UTF8",
            "--no-locale",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd="/",
        user=user,
        extra_groups=[] if user else None,
    )
    half.replace(cluster)
    return cluster


def _without_postgres() -> str | None:
    return None if (_postgres_programs() / "postgres").exists() else "needs PostgreSQL"


def _without_redis() -> str | None:
    return None if shutil.which("redis-server") else "needs redis-server"


ECHO = Peer(lambda: _load_server("serve-echo"), without_load)
"""Sends back what it gets."""

HTTP = Peer(lambda: _load_server("serve-http", "--body", HTTP_BODY), without_load)
"""Answers every GET with HTTP_BODY."""

REDIS = Peer(_redis, _without_redis)

POSTGRES = Peer(_postgres, _without_postgres)
