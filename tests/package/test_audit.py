"""Audit hooks (PEP 578) are told of what a loop does, as by asyncio, and can forbid it."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from support.both_loops import Kind
from support.network import CERTIFICATE

# Before, asyncio gives a child a socket for a pipe.
pytestmark = pytest.mark.as_since(3, 12)

SCRIPT = """
import contextlib, os, re, signal, socket, ssl, sys, tempfile

TOLD = ("socket.", "os.kill", "subprocess.Popen", "open")
log, forbidden = None, None

class Forbidden(Exception):
    pass

def hook(event, args):
    if log is None or not event.startswith(TOLD) or (event == "open" and type(args[0]) is not int):
        return
    shown = ["socket" if isinstance(arg, socket.socket) else repr(arg) for arg in args]
    if event == "open":
        shown[0] = "descriptor"
    if event == "os.kill":
        shown[0] = "pid"
    text = ", ".join(shown).replace(repr(folder)[1:-1], "folder")
    for number, name in ports.items():
        text = re.sub(rf"\\b{number}\\b", name, text)
    log.append(f"{event}({text})")
    if event == forbidden:
        raise Forbidden(event)

class Protocol(asyncio.Protocol):
    def connection_made(self, transport):
        made.append(transport)

class Datagrams(asyncio.DatagramProtocol):
    def error_received(self, exc):
        outcome.append(f"error_received {exc!r}")
    def connection_lost(self, exc):
        outcome.append(f"lost {exc!r}")

@contextlib.asynccontextmanager
async def listening(family=socket.AF_INET):
    with socket.socket(family) as listener:
        listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else f"{folder}/listener")
        listener.listen()
        if family == socket.AF_INET:
            ports[listener.getsockname()[1]] = "port"
        yield listener

@contextlib.asynccontextmanager
async def connecting(make, *to):
    async with listening(socket.AF_UNIX if len(to) == 1 else socket.AF_INET) as listener:
        if len(to) == 2:
            to = (to[0], listener.getsockname()[1])
        async def connect():
            transport, _ = await make(*to)
            transport.abort()
        yield connect

@contextlib.asynccontextmanager
async def with_server(make, **options):
    server = await make(Protocol, *options.pop("args"), **options)
    address = server.sockets[0].getsockname()
    if isinstance(address, tuple):
        ports[address[1]] = "port"
    with socket.socket(server.sockets[0].family) as client:
        async def accept():
            client.connect(address)
            while not made and not outcome:
                await asyncio.sleep(0)
            for transport in made:
                transport.abort()
        async def accept_tls():
            client.connect(address)
            client.setblocking(False)
            while len(log) < 2:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
        yield accept_tls if "ssl" in options else accept
    server.close()

@contextlib.asynccontextmanager
async def serving(make, *args, **options):
    async def serve():
        server = await make(Protocol, *args, **options)
        server.close()
    yield serve

@contextlib.asynccontextmanager
async def with_endpoint(**options):
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, **options)
    with socket.socket(type=socket.SOCK_DGRAM) as there:
        there.bind(("127.0.0.1", 0))
        ports[there.getsockname()[1]] = "port"
        async def send():
            transport.sendto(b"x", there.getsockname())
            transport.sendto(bytearray(b"x"), there.getsockname())
            await asyncio.sleep(0)
        yield send
        transport.abort()

@contextlib.asynccontextmanager
async def with_datagrams():
    here, there = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
    with here, there:
        there.bind(("127.0.0.1", 0))
        ports[there.getsockname()[1]] = "port"
        here.setblocking(False)
        yield lambda: asyncio.get_running_loop().sock_sendto(here, b"x", there.getsockname())

@contextlib.asynccontextmanager
async def making_endpoint(**options):
    async def make():
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Datagrams, **options)
        transport.abort()
    yield make

@contextlib.asynccontextmanager
async def with_socket(call):
    loop = asyncio.get_running_loop()
    async with listening() as listener:
        with socket.socket() as client:
            client.setblocking(False)
            listener.setblocking(False)
            if call == "connect":
                yield lambda: loop.sock_connect(client, listener.getsockname())
            else:
                with contextlib.suppress(BlockingIOError):
                    client.connect(listener.getsockname())
                async def accept():
                    accepted, _ = await loop.sock_accept(listener)
                    accepted.close()
                yield accept

@contextlib.asynccontextmanager
async def asking(call, *args, **options):
    yield lambda: call(*args, **options)

@contextlib.asynccontextmanager
async def running(*command, **options):
    async def run():
        process = await asyncio.create_subprocess_exec(*command, **options)
        await process.communicate(b"x" if options else None)
    yield run

@contextlib.asynccontextmanager
async def with_child(call):
    process = await asyncio.create_subprocess_exec("/bin/sleep", "1000")
    async def signal_it():
        call(process)
        await process.wait()
    try:
        yield signal_it
    finally:
        os.kill(process.pid, 9) if process.returncode is None else None
        await process.wait()

def cases(loop):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(CERTIFICATE)
    connect = lambda host, port, **options: loop.create_connection(Protocol, host, port, **options)
    by_name = lambda host, port: connect(host, port, family=socket.AF_INET)
    by_race = lambda host, port: connect(host, port, family=socket.AF_INET, happy_eyeballs_delay=9)
    bound = lambda host, port: connect(host, port, local_addr=("127.0.0.1", 0))
    return {
        "connect": lambda: connecting(connect, "127.0.0.1", 0),
        "connect by name": lambda: connecting(by_name, "localhost", 0),
        "connect by race": lambda: connecting(by_race, "localhost", 0),
        "connect bound": lambda: connecting(bound, "127.0.0.1", 0),
        "connect to a path": lambda: connecting(
            lambda path: loop.create_unix_connection(Protocol, path), f"{folder}/listener"
        ),
        "serve": lambda: serving(loop.create_server, "127.0.0.1", 0),
        "serve a path": lambda: serving(loop.create_unix_server, f"{folder}/served"),
        "accept": lambda: with_server(loop.create_server, args=("127.0.0.1", 0)),
        "accept at a path": lambda: with_server(
            loop.create_unix_server, args=(f"{folder}/accepts",)
        ),
        "accept with TLS": lambda: with_server(
            loop.create_server, args=("127.0.0.1", 0), ssl=server
        ),
        "endpoint": lambda: making_endpoint(local_addr=("127.0.0.1", 0)),
        "endpoint connected": lambda: making_endpoint(remote_addr=("127.0.0.1", 9)),
        "sendto": lambda: with_endpoint(local_addr=("127.0.0.1", 0)),
        "sock_sendto": lambda: with_datagrams(),
        "sock_connect": lambda: with_socket("connect"),
        "sock_accept": lambda: with_socket("accept"),
        "getaddrinfo": lambda: asking(loop.getaddrinfo, "127.0.0.1", 80, type=socket.SOCK_STREAM),
        "getaddrinfo of a name": lambda: asking(loop.getaddrinfo, "localhost", 80),
        "getnameinfo": lambda: asking(
            loop.getnameinfo, ("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        ),
        "child": lambda: running("/bin/true"),
        "child with pipes": lambda: running("/bin/cat", stdin=-1, stdout=-1, stderr=-1),
        "kill": lambda: with_child(lambda process: process.kill()),
        "send_signal": lambda: with_child(lambda process: process.send_signal(signal.SIGTERM)),
    }

async def main(name):
    global log
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(
        lambda _loop, context: outcome.append(f"report {context['exception']!r}")
    )
    async with cases(loop)[name]() as call:
        log = []
        try:
            await call()
        except Forbidden as error:
            outcome.append(f"raised {error!r}")
        seen, log = log, None
    await asyncio.sleep(0)
    return seen

sys.addaudithook(hook)
loop = new_loop()
for name, forbidden in WANTED:
    made, outcome, ports = [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        seen = loop.run_until_complete(main(name))
    print(repr((name, forbidden, seen, outcome)))
loop.run_until_complete(loop.shutdown_default_executor())
loop.close()
"""

TCP = "socket.__new__(socket, 2, 1, 6)"
UNIX = "socket.__new__(socket, 1, 1, 0)"
UDP = "socket.__new__(socket, 2, 2, 17)"
CONNECT = "socket.connect(socket, ('127.0.0.1', port))"
SEND = "socket.sendto(socket, ('127.0.0.1', port))"
BIND = "socket.bind(socket, ('127.0.0.1', 0))"
LOOK_UP = "socket.getaddrinfo('localhost', port, 2, 1, 0)"

EVENTS = {
    "connect": [TCP, CONNECT],
    "connect by name": [LOOK_UP, TCP, CONNECT],
    "connect by race": [LOOK_UP, TCP, CONNECT],
    "connect bound": [TCP, BIND, CONNECT],
    "connect to a path": [UNIX, "socket.connect(socket, 'folder/listener')"],
    "serve": [TCP, BIND],
    "serve a path": [UNIX, "socket.bind(socket, 'folder/served')"],
    # The client's, then the server's.
    "accept": [CONNECT, TCP],
    "accept at a path": ["socket.connect(socket, 'folder/accepts')", UNIX],
    "accept with TLS": [CONNECT, TCP],
    "endpoint": [UDP, BIND],
    "endpoint connected": [UDP, "socket.connect(socket, ('127.0.0.1', 9))"],
    "sendto": [SEND, SEND],
    "sock_sendto": [SEND],
    "sock_connect": [CONNECT],
    "sock_accept": ["socket.__new__(socket, 2, 1, 0)"],
    "getaddrinfo": ["socket.getaddrinfo('127.0.0.1', 80, 0, 1, 0)"],
    "getaddrinfo of a name": ["socket.getaddrinfo('localhost', 80, 0, 0, 0)"],
    "getnameinfo": ["socket.getnameinfo(('127.0.0.1', 80))"],
    "child": ["subprocess.Popen('/bin/true', ['/bin/true'], None, None)"],
    "child with pipes": [
        "open(descriptor, 'w', 524865)",
        "open(descriptor, 'r', 524288)",
        "open(descriptor, 'r', 524288)",
        "subprocess.Popen('/bin/cat', ['/bin/cat'], None, None)",
    ],
    "kill": ["os.kill(pid, 9)"],
    "send_signal": ["os.kill(pid, 15)"],
}

FORBIDDEN = {
    ("connect", "socket.__new__"): "raised",
    ("connect", "socket.connect"): "raised",
    ("connect by name", "socket.getaddrinfo"): "raised",
    ("connect by name", "socket.connect"): "raised",
    ("serve", "socket.bind"): "raised",
    ("accept", "socket.__new__"): "report",
    ("endpoint", "socket.bind"): "raised",
    ("endpoint connected", "socket.connect"): "raised",
    ("getaddrinfo", "socket.getaddrinfo"): "raised",
    ("getnameinfo", "socket.getnameinfo"): "raised",
    ("child", "subprocess.Popen"): "raised",
    ("kill", "os.kill"): "raised",
}


def run(kind: Kind, wanted: list[tuple[str, str | None]]) -> list[Any]:
    head = f"CERTIFICATE = {str(CERTIFICATE)!r}\nWANTED = {wanted!r}\n"
    # A hook that forbids an accepted socket leaves asyncio's descriptor to nobody.
    done = kind.run_script(head + SCRIPT, "-W", "ignore")
    assert done.returncode == 0, done.stderr
    return [ast.literal_eval(line) for line in done.stdout.splitlines()]


def test_every_event_is_that_of_asyncio(kind: Kind) -> None:
    seen = run(kind, [(name, None) for name in EVENTS])
    assert {name: events for name, _, events, _ in seen} == EVENTS
    assert all(what == "lost None" for *_, outcome in seen for what in outcome)


def test_a_hook_forbids_what_it_raises_for(kind: Kind) -> None:
    for name, event, _, outcome in run(kind, list(FORBIDDEN)):
        how = FORBIDDEN[name, event]
        assert f"{how} Forbidden({event!r})" in outcome, (name, event, outcome)


def test_a_datagram_that_a_hook_forbids_ends_its_endpoint(kind: Kind) -> None:
    ((_, _, events, outcome),) = run(kind, [("sendto", "socket.sendto")])
    # The endpoint is closing: what follows finds that, or the hook once more.
    assert events[0] == SEND
    assert "report Forbidden('socket.sendto')" in outcome
    assert "lost Forbidden('socket.sendto')" in outcome
