"""Redis and PostgreSQL for the tests: on loopback, on free ports, with data nobody wants back.

A server ends with the tests, also with tests that are killed: the kernel sends it SIGTERM when the
thread that started it is gone.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from support.both_loops import PATIENCE

from .certificates import Certificates

HOST = "127.0.0.1"
PASSWORD = "not a secret"


@dataclass
class Redis:
    port: int
    tls_port: int
    path: Path
    """Its Unix socket."""

    @classmethod
    @contextlib.contextmanager
    def started(cls, certificates: Certificates) -> Iterator[Redis]:
        with tempfile.TemporaryDirectory(prefix="saburo-redis-") as folder:
            server = cls(free_port(), free_port(), Path(folder, "socket"))
            settings = {
                "bind": HOST,
                "port": server.port,
                "unixsocket": server.path,
                "dir": folder,
                "save": "",
                "tls-port": server.tls_port,
                "tls-cert-file": certificates.cert,
                "tls-key-file": certificates.key,
                "tls-ca-cert-file": certificates.ca,
                "tls-auth-clients": "no",
            }
            command = [program("redis-server")]
            for name, value in settings.items():
                command += [f"--{name}", str(value)]
            with running(command, Path(folder, "log"), signal.SIGTERM) as process:
                wait_for(process, lambda: answers(server.port), Path(folder, "log"))
                yield server


@dataclass
class PostgreSQL:
    port: int
    folder: Path
    """Where its Unix socket is."""

    user = "saburo"
    password = PASSWORD
    database = "postgres"

    @classmethod
    @contextlib.contextmanager
    def started(cls, certificates: Certificates) -> Iterator[PostgreSQL]:
        binaries = newest_postgresql()
        # Not below pytest's own folder, which nobody else may enter.
        with tempfile.TemporaryDirectory(prefix="saburo-postgresql-") as name:
            folder = Path(name)
            for file, source in (("cert", certificates.cert), ("key", certificates.key)):
                shutil.copy(source, folder / file)
            (folder / "key").chmod(0o600)
            (folder / "password").write_text(PASSWORD)
            become: list[str] = []
            if os.geteuid() == 0:  # it refuses to run as root
                user = pwd.getpwnam("postgres")
                for path in (folder, *folder.iterdir()):
                    os.chown(path, user.pw_uid, user.pw_gid)
                become = ["--reuid", "postgres", "--regid", "postgres", "--init-groups"]
            initdb = [
                *("setpriv", *become, "--", str(binaries / "initdb"), "--no-sync"),
                *("-D", str(folder / "data"), "-U", cls.user, "-E", "UTF8", "--locale", "C.UTF-8"),
                *("--auth", "scram-sha-256", "--pwfile", str(folder / "password")),
            ]
            subprocess.run(initdb, check=True, cwd=folder, stdout=subprocess.DEVNULL)
            server = cls(free_port(), folder)
            settings = {
                "listen_addresses": HOST,
                "port": server.port,
                "unix_socket_directories": folder,
                "ssl": "on",
                "ssl_cert_file": folder / "cert",
                "ssl_key_file": folder / "key",
                "fsync": "off",
            }
            command = [str(binaries / "postgres"), "-D", str(folder / "data")]
            for setting, value in settings.items():
                command += ["-c", f"{setting}={value}"]
            log = folder / "log"
            with running(command, log, signal.SIGINT, become) as process:
                ready = [str(binaries / "pg_isready"), "-q", "-h", HOST, "-p", str(server.port)]
                wait_for(process, lambda: subprocess.run(ready).returncode == 0, log)
                yield server


def newest_postgresql() -> Path:
    """Where PostgreSQL's programs are; Debian keeps them off PATH, a folder for each version."""
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3])
    )
    assert folders, "PostgreSQL is missing: scripts/downstream-servers installs it"
    return folders[-1].parent


def program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is missing: scripts/downstream-servers installs it"
    return found


@contextlib.contextmanager
def running(
    command: list[str], log: Path, farewell: signal.Signals, become: list[str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server until the block ends; `farewell` is the signal by which it ends fast and whole."""
    with open(log, "wb") as output:
        process = subprocess.Popen(
            ["setpriv", *(become or []), "--pdeathsig", "TERM", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
        )
    try:
        yield process
    finally:
        process.send_signal(farewell)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(process: subprocess.Popen[bytes], is_ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_ready():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def answers(port: int) -> bool:
    """Whether something takes connections there."""
    try:
        socket.create_connection((HOST, port)).close()
    except ConnectionRefusedError:
        return False
    return True


def free_port() -> int:
    """A port that nobody listens on; the kernel does not give it away again soon."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
