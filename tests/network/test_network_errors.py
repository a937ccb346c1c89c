"""What bad input and bad luck get from connections and servers: asyncio's answers, side by side."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable
from typing import IO, Any

import pytest
from support.both_loops import comparable, outcome
from support.network import client_context, refusing, resolve, server_context

Loop = asyncio.AbstractEventLoop

# Each is called with the loop, in a coroutine that runs on it, and with a stack that is unwound
# afterwards; what it returns is awaited.
Case = Callable[[Any, contextlib.ExitStack], Any]

TLS = {"ssl": True}
DISCARD = "ignore:coroutine .* was never awaited:RuntimeWarning"
# asyncio's pipe transports stumble over attributes they have not set yet.
HALF_MADE = (
    "ignore:Exception ignored .*<function _Unix.*PipeTransport.__del__"
    ":pytest.PytestUnraisableExceptionWarning"
)


def a_stream(stack: contextlib.ExitStack) -> socket.socket:
    one, two = socket.socketpair()
    stack.callback(two.close)
    stack.callback(one.close)
    return one


def a_datagram_socket(stack: contextlib.ExitStack) -> socket.socket:
    return stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))


def an_internet_socket(stack: contextlib.ExitStack) -> socket.socket:
    return stack.enter_context(socket.socket())


def a_tls_socket(stack: contextlib.ExitStack) -> ssl.SSLSocket:
    sock = a_stream(stack)
    wrapped = client_context().wrap_socket(
        sock, server_hostname="localhost", do_handshake_on_connect=False
    )
    return stack.enter_context(wrapped)


def a_file(stack: contextlib.ExitStack) -> IO[bytes]:
    return stack.enter_context(tempfile.TemporaryFile())


def nobody(stack: contextlib.ExitStack) -> tuple[str, int]:
    return stack.enter_context(refusing())


def a_taken_port(stack: contextlib.ExitStack) -> int:
    port: int = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
    return port


def without_addresses(loop: Any) -> Any:
    resolve(loop)
    return loop


P = asyncio.Protocol
D = asyncio.DatagramProtocol


def connect(*args: Any, **options: Any) -> Case:
    return lambda loop, stack: loop.create_connection(P, *args, **options)


def connect_unix(*args: Any, **options: Any) -> Case:
    return lambda loop, stack: loop.create_unix_connection(P, *args, **options)


def serve(*args: Any, **options: Any) -> Case:
    return lambda loop, stack: loop.create_server(P, *args, **options)


def serve_unix(*args: Any, **options: Any) -> Case:
    return lambda loop, stack: loop.create_unix_server(P, *args, **options)


def receive(*args: Any, **options: Any) -> Case:
    return lambda loop, stack: loop.create_datagram_endpoint(D, *args, **options)


CASES: dict[str, Case] = {
    # create_connection: arguments
    "connect()": connect(),
    "connect(host and sock)": lambda loop, stack: loop.create_connection(
        P, "127.0.0.1", 1, sock=a_stream(stack)
    ),
    "connect(port and sock)": lambda loop, stack: loop.create_connection(
        P, None, 1, sock=a_stream(stack)
    ),
    "connect(server_hostname)": connect("127.0.0.1", 1, server_hostname="a.example"),
    "connect(empty server_hostname)": connect("127.0.0.1", 1, server_hostname=""),
    "connect(ssl without host)": connect(None, 1, **TLS),
    "connect(ssl with empty host)": connect("", 1, **TLS),
    "connect(ssl and sock)": lambda loop, stack: loop.create_connection(
        P, sock=a_stream(stack), ssl=True
    ),
    "connect(handshake timeout)": connect("127.0.0.1", 1, ssl_handshake_timeout=1),
    "connect(shutdown timeout)": connect("127.0.0.1", 1, ssl_shutdown_timeout=1),
    "connect(handshake timeout 0)": lambda loop, stack: loop.create_connection(
        P, sock=a_stream(stack), ssl=client_context(), server_hostname="", ssl_handshake_timeout=0
    ),
    "connect(shutdown timeout -1)": lambda loop, stack: loop.create_connection(
        P, sock=a_stream(stack), ssl=client_context(), server_hostname="", ssl_shutdown_timeout=-1
    ),
    "connect(ssl is no context)": lambda loop, stack: loop.create_connection(
        P, sock=a_stream(stack), ssl=42, server_hostname="localhost"
    ),
    "connect(datagram socket)": lambda loop, stack: loop.create_connection(
        P, sock=a_datagram_socket(stack)
    ),
    "connect(TLS socket)": lambda loop, stack: loop.create_connection(P, sock=a_tls_socket(stack)),
    "connect(no socket)": connect(sock=42),
    "connect(no factory)": lambda loop, stack: loop.create_connection(None, sock=a_stream(stack)),
    "connect(unknown)": connect("127.0.0.1", 1, nonsense=1),
    "connect(local_addr is text)": connect("127.0.0.1", 1, local_addr=7),
    "connect(short local_addr)": connect("127.0.0.1", 1, local_addr=("127.0.0.1",)),
    # create_connection: luck
    "connect: refused": lambda loop, stack: loop.create_connection(P, *nobody(stack)),
    "connect: refused, by racing": lambda loop, stack: loop.create_connection(
        P, *nobody(stack), happy_eyeballs_delay=0.1
    ),
    "connect: no such service": connect("127.0.0.1", "no such service"),
    "connect: no such name": connect("name with spaces", 1),
    "connect: wrong family": connect("::1", 1, family=socket.AF_INET),
    "connect: too large a port": connect("127.0.0.1", 65536),
    "connect: negative port": connect("127.0.0.1", -1),
    "connect: bad proto": connect("127.0.0.1", 1, proto=999),
    "connect: empty list": lambda loop, stack: without_addresses(loop).create_connection(
        P, "a.example", 1
    ),
    "connect: empty list here": lambda loop, stack: without_addresses(loop).create_connection(
        P, "127.0.0.1", 1, local_addr=("a.example", 1)
    ),
    "connect: unreachable": connect("::ffff:127.0.0.1%lo", 1),
    "connect: unconnected socket": lambda loop, stack: loop.create_connection(
        P, sock=an_internet_socket(stack)
    ),
    # connect_accepted_socket
    "accepted: datagram socket": lambda loop, stack: loop.connect_accepted_socket(
        P, a_datagram_socket(stack)
    ),
    "accepted: TLS socket": lambda loop, stack: loop.connect_accepted_socket(
        P, a_tls_socket(stack)
    ),
    "accepted: handshake timeout": lambda loop, stack: loop.connect_accepted_socket(
        P, a_stream(stack), ssl_handshake_timeout=1
    ),
    "accepted: shutdown timeout": lambda loop, stack: loop.connect_accepted_socket(
        P, a_stream(stack), ssl_shutdown_timeout=1
    ),
    "accepted: no socket": lambda loop, stack: loop.connect_accepted_socket(P, None),
    # create_unix_connection
    "unix()": connect_unix(),
    "unix(path and sock)": lambda loop, stack: loop.create_unix_connection(
        P, "/nowhere", sock=a_stream(stack)
    ),
    "unix(internet socket)": lambda loop, stack: loop.create_unix_connection(
        P, sock=an_internet_socket(stack)
    ),
    "unix(server_hostname)": connect_unix("/nowhere", server_hostname=""),
    "unix(server_hostname is no text)": connect_unix("/nowhere", server_hostname=42, **TLS),
    "unix(ssl without server_hostname)": connect_unix("/nowhere", **TLS),
    "unix(handshake timeout)": connect_unix("/nowhere", ssl_handshake_timeout=1),
    "unix(shutdown timeout)": connect_unix("/nowhere", ssl_shutdown_timeout=1),
    "unix(path is no path)": connect_unix(42),
    "unix: nobody there": connect_unix("/nowhere"),
    "unix: too long": connect_unix("/" + "x" * 200),
    "unix: with a zero": connect_unix("/a\0b"),
    "unix: no socket": connect_unix("/"),
    # create_server
    "serve()": serve(),
    "serve(host and sock)": lambda loop, stack: loop.create_server(
        P, "127.0.0.1", 0, sock=an_internet_socket(stack)
    ),
    "serve(datagram socket)": lambda loop, stack: loop.create_server(
        P, sock=a_datagram_socket(stack)
    ),
    "serve(TLS socket)": lambda loop, stack: loop.create_server(P, sock=a_tls_socket(stack)),
    "serve(ssl=True)": serve("127.0.0.1", 0, ssl=True),
    "serve(ssl=False)": serve("127.0.0.1", 0, ssl=False),
    "serve(handshake timeout)": serve("127.0.0.1", 0, ssl_handshake_timeout=1),
    "serve(shutdown timeout)": serve("127.0.0.1", 0, ssl_shutdown_timeout=1),
    "serve(unknown)": serve("127.0.0.1", 0, nonsense=1),
    "serve(no hosts)": serve([], 0),
    "serve: no such name": serve("name with spaces", 0),
    "serve: too large a port": serve("127.0.0.1", 65536),
    "serve: no addresses": lambda loop, stack: without_addresses(loop).create_server(
        P, "a.example", 0
    ),
    "serve: a socket that listens to nobody": lambda loop, stack: loop.create_server(
        P, sock=a_stream(stack)
    ),
    # create_unix_server
    "serve unix()": serve_unix(),
    "serve unix(path and sock)": lambda loop, stack: loop.create_unix_server(
        P, "/nowhere", sock=a_stream(stack)
    ),
    "serve unix(internet socket)": lambda loop, stack: loop.create_unix_server(
        P, sock=an_internet_socket(stack)
    ),
    "serve unix(ssl=True)": serve_unix("/nowhere", ssl=True),
    "serve unix(handshake timeout)": serve_unix("/nowhere", ssl_handshake_timeout=1),
    "serve unix(shutdown timeout)": serve_unix("/nowhere", ssl_shutdown_timeout=1),
    "serve unix(path is no path)": serve_unix(42),
    "serve unix: no folder": serve_unix("/nowhere/socket"),
    "serve unix: too long": serve_unix("/" + "x" * 200),
    "serve unix: a folder": serve_unix(tempfile.gettempdir()),
    # create_datagram_endpoint
    "datagram()": receive(),
    "datagram(stream)": lambda loop, stack: loop.create_datagram_endpoint(
        D, sock=an_internet_socket(stack)
    ),
    "datagram(sock and others)": lambda loop, stack: loop.create_datagram_endpoint(
        D,
        ("127.0.0.1", 0),
        ("127.0.0.1", 1),
        family=1,
        proto=2,
        flags=3,
        reuse_port=True,
        allow_broadcast=True,
        sock=a_datagram_socket(stack),
    ),
    "datagram(reuse_address)": lambda loop, stack: outcome(
        lambda: loop.create_datagram_endpoint(D, ("127.0.0.1", 0), reuse_address=True).send(None)
    )[0],
    "datagram(text)": receive("127.0.0.1"),
    "datagram(three parts)": receive(("127.0.0.1", 1, 2)),
    "datagram(path is no text)": receive(b"/nowhere", family=socket.AF_UNIX),
    "datagram: no such name": receive(("name with spaces", 0)),
    "datagram: not ours": receive(("192.0.2.1", 0)),
    "datagram: different families": receive(("127.0.0.1", 0), ("::1", 1)),
    "datagram: nobody at the path": receive(None, "/nowhere", family=socket.AF_UNIX),
    "datagram: no addresses": lambda loop, stack: without_addresses(loop).create_datagram_endpoint(
        D, ("a.example", 0)
    ),
    # Pipes
    "read pipe(None)": lambda loop, stack: loop.connect_read_pipe(P, None),
    "read pipe(file)": lambda loop, stack: loop.connect_read_pipe(P, a_file(stack)),
    "read pipe(object in memory)": lambda loop, stack: loop.connect_read_pipe(P, io.BytesIO()),
    "write pipe(None)": lambda loop, stack: loop.connect_write_pipe(P, None),
    "write pipe(file)": lambda loop, stack: loop.connect_write_pipe(P, a_file(stack)),
    "write pipe(closed)": lambda loop, stack: loop.connect_write_pipe(P, a_closed_pipe()),
    # start_tls and sendfile
    "start_tls(no context)": lambda loop, stack: loop.start_tls(asyncio.Transport(), P(), None),
    "start_tls(strange transport)": lambda loop, stack: loop.start_tls(
        asyncio.Transport(), P(), server_context()
    ),
    "start_tls(None)": lambda loop, stack: loop.start_tls(None, None, None),
    "sendfile(strange transport)": lambda loop, stack: loop.sendfile(Strange(), io.BytesIO()),
    "sendfile(closing transport)": lambda loop, stack: loop.sendfile(Closing(), io.BytesIO()),
}


def a_closed_pipe() -> Any:
    reading, writing = os.pipe()
    os.close(reading)
    pipe = os.fdopen(writing, "wb", 0)
    pipe.close()
    return pipe


class Strange(asyncio.Transport):
    def is_closing(self) -> bool:
        return False


class Closing(asyncio.Transport):
    def is_closing(self) -> bool:
        return True


# Where older versions say something else, or nothing.
CHANGED = {"serve(no hosts)": (3, 13), "datagram(stream)": (3, 13)}


def told(loop: Loop, case: Case) -> tuple[str, str]:
    async def main() -> Any:
        with contextlib.ExitStack() as stack:
            returned = case(loop, stack)
            result = await returned if hasattr(returned, "__await__") else returned
            if isinstance(result, tuple) and hasattr(result[0], "close"):
                result[0].close()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                return type(result[0]).__mro__[-2].__name__
            if hasattr(result, "close"):
                result.close()
                return type(result).__name__
            return result

    try:
        kind, text = outcome(lambda: loop.run_until_complete(main()))
        # Which port it was, and which class has the method, is different each time.
        text = re.sub(r"(?<='127\.0\.0\.1', )\d+", "…", comparable(text))
        return kind, re.sub(r"\b\w+\.(?=\w+\(\) )", "", text)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@pytest.mark.saburo_only
@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings(DISCARD, HALF_MADE)
def test_bad_input_gets_what_asyncio_gives(
    new_loop: Callable[[], Loop], name: str, request: pytest.FixtureRequest
) -> None:
    if sys.version_info < CHANGED.get(name, (3, 0)):
        pytest.skip("asyncio says something else before")
    expected = told(asyncio.new_event_loop(), CASES[name])
    assert told(new_loop(), CASES[name]) == expected
