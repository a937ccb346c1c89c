"""examples/proxy.py passes every byte on, both ways, TLS on either side, and stops politely."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.both_loops import Kind

from .certificates import Certificates
from .conftest import Start
from .programs import EXAMPLES, Program, python

PROXY = EXAMPLES / "proxy.py"
MEGABYTES = os.urandom(5_000_000)

Handle = Callable[[socket.socket], None]


def to_the_end(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def digest(connection: socket.socket) -> None:
    """Answers with the SHA-256 of all there is up to the end."""
    connection.sendall(hashlib.sha256(to_the_end(connection)).digest())


def echo(connection: socket.socket) -> None:
    while received := connection.recv(1 << 16):
        connection.sendall(received)


def download(connection: socket.socket) -> None:
    connection.sendall(MEGABYTES)


class Target:
    """What the proxy forwards to: a thread for each connection."""

    def __init__(self, handle: Handle, context: ssl.SSLContext | None = None) -> None:
        self.handle = handle
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:{1}".format(*self.listener.getsockname())
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.threads.append(threading.Thread(target=self.serve, args=[connection]))
            self.threads[-1].start()

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
            self.handle(connection)
        connection.close()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join()


@pytest.fixture
def target() -> Iterator[Callable[..., Target]]:
    targets: list[Target] = []

    def make(handle: Handle, context: ssl.SSLContext | None = None) -> Target:
        targets.append(Target(handle, context))
        return targets[-1]

    yield make
    for each in targets:
        each.close()


def client(program: Program, context: ssl.SSLContext | None = None) -> socket.socket:
    """A connection to the proxy."""
    if not (port := re.search(r"listening on 127\.0\.0\.1:(\d+)", program.output)):
        port = program.expect(r"listening on 127\.0\.0\.1:(\d+)")
    connection = socket.create_connection(("127.0.0.1", int(port[1])))
    if context is not None:
        connection = context.wrap_socket(connection, server_hostname="localhost")
    return connection


def stop(program: Program, number: signal.Signals = signal.SIGTERM) -> None:
    assert program.end(number) == 0
    assert program.output.endswith("stopped\n")
    program.check()


def test_megabytes_pass_and_a_half_close_with_them(
    kind: Kind, start: Start, target: Callable[..., Target]
) -> None:
    program = start(python(kind, PROXY, "127.0.0.1:0", target(digest).address))
    with client(program) as connection:
        connection.sendall(MEGABYTES)
        connection.shutdown(socket.SHUT_WR)
        assert to_the_end(connection) == hashlib.sha256(MEGABYTES).digest()
    program.expect(r"127\.0\.0\.1:\d+: 5000000 bytes out, 32 back, \d+\.\d s, closed$")
    stop(program)


@pytest.mark.parametrize("front", [False, True], ids=["TCP", "TLS"])
@pytest.mark.parametrize("behind", [False, True], ids=["to TCP", "to TLS"])
def test_tls_on_either_side(
    kind: Kind,
    start: Start,
    target: Callable[..., Target],
    certificates: Certificates,
    front: bool,
    behind: bool,
) -> None:
    there = target(echo, certificates.server() if behind else None)
    options: list[str | Path] = []
    if front:
        options += ["--cert", certificates.cert, "--key", certificates.key]
    if behind:
        options += ["--ca", certificates.ca]
    program = start(python(kind, PROXY, "127.0.0.1:0", there.address, *options))
    context = certificates.client() if front else None
    with client(program, context) as connection:
        for start_of in range(0, len(MEGABYTES), 100_000):
            sent = MEGABYTES[start_of : start_of + 100_000]
            connection.sendall(sent)
            received = b""
            while len(received) < len(sent):
                received += connection.recv(1 << 16)
            assert received == sent
    program.expect(r"5000000 bytes out, 5000000 back, .* closed$")
    stop(program)


def test_a_fast_sender_waits_for_a_slow_reader(
    kind: Kind, start: Start, target: Callable[..., Target]
) -> None:
    """The target reads nothing: what the proxy takes ends with its own and the kernel's buffers."""
    gate = threading.Event()

    def slow(connection: socket.socket) -> None:
        gate.wait()
        digest(connection)

    program = start(python(kind, PROXY, "127.0.0.1:0", target(slow).address))
    with client(program) as connection:
        connection.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 1 << 30:
                sent += connection.send(MEGABYTES)
        assert sent < 1 << 28
        gate.set()
        connection.settimeout(None)
        connection.shutdown(socket.SHUT_WR)
        assert len(to_the_end(connection)) == 32
    program.expect(rf"{sent} bytes out, 32 back")
    stop(program)


def test_a_hundred_connections_at_once(
    kind: Kind, start: Start, target: Callable[..., Target]
) -> None:
    program = start(python(kind, PROXY, "127.0.0.1:0", target(echo).address))
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(client(program)) for _ in range(100)]
        for number, connection in enumerate(connections):
            connection.sendall(b"%d" % number)
        for number, connection in enumerate(connections):
            assert connection.recv(100) == b"%d" % number
    for _ in range(100):
        program.expect("closed$")
    stop(program)


def test_a_target_that_is_not_there_is_told_of(kind: Kind, start: Start) -> None:
    program = start(python(kind, PROXY, "127.0.0.1:0", "127.0.0.1:1"))
    with client(program) as connection:
        assert connection.recv(1) == b""
    program.expect(r"0 bytes out, 0 back, .*, cannot connect: .*(refused|failed)")
    stop(program)


def test_a_certificate_of_a_stranger_is_refused(
    kind: Kind, start: Start, target: Callable[..., Target], certificates: Certificates
) -> None:
    there = target(echo, certificates.server())
    program = start(
        python(kind, PROXY, "127.0.0.1:0", there.address, "--ca", certificates.strangers_ca)
    )
    with client(program) as connection:
        assert connection.recv(1) == b""
    program.expect("cannot connect: .*certificate")
    stop(program)


def test_garbage_for_a_handshake_harms_nobody_else(
    kind: Kind, start: Start, target: Callable[..., Target], certificates: Certificates
) -> None:
    options = ("--cert", certificates.cert, "--key", certificates.key)
    program = start(python(kind, PROXY, "127.0.0.1:0", target(echo).address, *options))
    with client(program) as garbage, client(program, certificates.client()) as connection:
        garbage.sendall(b"GET / HTTP/1.1\r\n\r\n")
        connection.sendall(b"hello")
        assert connection.recv(100) == b"hello"
        to_the_end(garbage)  # an alert, or nothing
    program.expect(r"closed$")
    stop(program)


def test_a_reset_of_one_side_is_the_end_of_the_other(
    kind: Kind, start: Start, target: Callable[..., Target]
) -> None:
    def reset(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    program = start(python(kind, PROXY, "127.0.0.1:0", target(reset).address))
    with client(program) as connection:
        connection.sendall(b"?")
        assert connection.recv(1) == b""
    program.expect("broken: Connection reset by peer$")
    stop(program)


def test_an_idle_connection_ends(kind: Kind, start: Start, target: Callable[..., Target]) -> None:
    there = target(echo)
    program = start(python(kind, PROXY, "127.0.0.1:0", there.address, "--idle", "0.3"))
    with client(program) as connection:
        connection.sendall(b"once")
        assert to_the_end(connection) == b"once"
    program.expect("4 bytes out, 4 back, .* idle$")
    stop(program)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_open_connections_may_finish_after_a_signal(
    kind: Kind, start: Start, target: Callable[..., Target], number: signal.Signals
) -> None:
    program = start(python(kind, PROXY, "127.0.0.1:0", target(echo).address))
    with client(program) as connection:
        connection.sendall(b"before")
        assert connection.recv(100) == b"before"
        program.process.send_signal(number)
        program.expect("stopping: 1 open")
        with pytest.raises(ConnectionRefusedError):
            client(program)
        connection.sendall(b"after")
        assert connection.recv(100) == b"after"
    assert program.end() == 0
    assert "11 bytes out, 11 back" in program.output
    program.check()


def test_the_grace_ends(kind: Kind, start: Start, target: Callable[..., Target]) -> None:
    there = target(echo)
    program = start(python(kind, PROXY, "127.0.0.1:0", there.address, "--grace", "0.1"))
    with client(program) as connection:
        connection.sendall(b"hello")
        assert connection.recv(100) == b"hello"
        stop(program)
        assert connection.recv(1) == b""
    assert "5 bytes out, 5 back" in program.output
    assert ", stopped\n" in program.output


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["here", "there"],
        [":99999", ":1"],
        [":0", ":1", "--key", "key.pem"],
        [":0", ":1", "--cert", "/no/such/file"],
    ],
    ids=["nothing", "no ports", "no such port", "no certificate", "missing certificate"],
)
def test_a_wrong_command_line_ends_with_code_2(
    kind: Kind, start: Start, arguments: list[str]
) -> None:
    program = start(python(kind, PROXY, *arguments))
    assert program.end() == 2
    assert "proxy: error: " in program.output
    assert "Traceback" not in program.output


def test_an_address_in_use_is_said_in_one_line(
    kind: Kind, start: Start, target: Callable[..., Target]
) -> None:
    there = target(echo)
    program = start(python(kind, PROXY, there.address, ":1"))
    assert program.end() == 2
    (line,) = program.output.splitlines()
    assert line.startswith(f"proxy: cannot listen on {there.address}: ")
