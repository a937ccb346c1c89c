"""uvicorn with httptools serves FastAPI: started as people start it, asked from elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from support.both_loops import PATIENCE, Kind
from websockets.asyncio.client import connect as async_connect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from .certificates import Certificates
from .conftest import Start
from .programs import Program, loop_factory, module, python

HERE = Path(__file__).parent
MEGABYTES = os.urandom(10_000_000)


def uvicorn(kind: Kind, *options: str | Path) -> list[str]:
    common = ("--app-dir", HERE, "--no-access-log", "--http", "httptools")
    return module(
        kind,
        "uvicorn",
        "served:app",
        *common,
        "--loop",
        loop_factory(kind),
        "--port",
        "0",
        *options,
    )


def address(program: Program) -> str:
    return program.expect(r"running on (https?://[\d.:]+)")[1]


def host_and_port(url: str) -> tuple[str, int]:
    host, _, port = url.partition("://")[2].partition(":")
    return host, int(port)


def stop(program: Program) -> None:
    """SIGTERM, on which uvicorn tidies up, and then dies of it as whoever sent it expects."""
    assert program.end(signal.SIGTERM) == -signal.SIGTERM
    assert "lifespan ends\n" in program.output
    assert "Finished server process" in program.output
    program.check()


@pytest.fixture
def server(kind: Kind, start: Start) -> Program:
    return start(uvicorn(kind))


@pytest.fixture
def client(server: Program) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address(server), timeout=PATIENCE) as client:
        yield client


def test_the_loop_is_the_one_that_was_named(
    kind: Kind, server: Program, client: httpx.Client
) -> None:
    loop = re.search("lifespan begins on (.*)", server.output)
    assert loop
    assert loop[1].startswith("saburo") == kind.is_saburo
    assert client.get("/").json()["state"] == "state"
    stop(server)


def test_without_a_name_it_is_that_of_saburo_run(kind: Kind, start: Start) -> None:
    program = start(
        python(
            kind,
            *("-m", "uvicorn", "served:app", "--app-dir", HERE, "--loop", "none", "--port", "0"),
        )
    )
    loop = program.expect("lifespan begins on (.*)")
    assert loop[1].startswith("saburo") == kind.is_saburo
    address(program)
    stop(program)


def test_requests_of_every_kind(server: Program, client: httpx.Client) -> None:
    assert client.get("/thread").json() is True
    tea = {"name": "tea", "price": 1.5}
    assert client.post("/items", json=tea).json() == tea
    server.expect("in the background: tea")
    assert client.post("/items", json={"name": "tea"}).status_code == 422
    assert client.get("/nowhere").status_code == 404
    assert client.head("/").status_code == 405
    assert client.get("/stream/100").content == b"".join(b"%09d\n" % n * 1000 for n in range(100))
    stop(server)


def test_an_error_in_the_application_is_an_answer_and_no_more(
    server: Program, client: httpx.Client
) -> None:
    assert client.get("/error").status_code == 500
    # Over another connection: uvicorn closes the one whose request failed.
    assert httpx.get(client.base_url).status_code == 200
    server.expect("LookupError: a bug in the application")
    assert server.end(signal.SIGTERM) == -signal.SIGTERM


def test_a_connection_is_kept_for_the_next_request(server: Program, client: httpx.Client) -> None:
    assert len({client.get("/").json()["port"] for _ in range(20)}) == 1
    assert client.get("/", headers={"Connection": "close"}).headers["connection"] == "close"
    stop(server)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_large_body_is_read_as_it_comes(
    server: Program, client: httpx.Client, chunked: bool
) -> None:
    chunks = (MEGABYTES[at : at + 12_345] for at in range(0, len(MEGABYTES), 12_345))
    answer = client.post("/digest", content=chunks if chunked else MEGABYTES).json()
    assert answer == {"sha256": hashlib.sha256(MEGABYTES).hexdigest(), "size": len(MEGABYTES)}
    stop(server)


def test_pipelined_requests_are_answered_in_their_order(server: Program) -> None:
    with socket.create_connection(host_and_port(address(server))) as connection:
        requests = b"".join(b"GET /stream/%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(20))
        connection.sendall(requests + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 21
    lines = re.findall(rb"^0000000\d\d$", received, re.MULTILINE)
    assert len(lines) == 1000 * sum(range(20))
    assert b'"scheme":"http"' in received
    stop(server)


def test_a_request_that_comes_byte_by_byte(server: Program) -> None:
    with socket.create_connection(host_and_port(address(server))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /thread HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
            connection.sendall(bytes([byte]))
        assert b"".join(iter(lambda: connection.recv(1 << 16), b"")).endswith(b"true")
    stop(server)


def test_the_server_says_when_it_wants_the_body(server: Program) -> None:
    with socket.create_connection(host_and_port(address(server))) as connection:
        connection.sendall(
            b"POST /digest HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n"
            b"Connection: close\r\n\r\n"
        )
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["size"] == 3
    stop(server)


def test_garbage_gets_a_400_and_harms_nobody(server: Program, client: httpx.Client) -> None:
    with socket.create_connection(host_and_port(str(client.base_url).rstrip("/"))) as connection:
        connection.sendall(b"\x16\x03\x01 is how a TLS handshake begins\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert client.get("/").status_code == 200
    stop(server)


def test_the_application_hears_that_a_client_has_left(server: Program) -> None:
    with socket.create_connection(host_and_port(address(server))) as connection:
        connection.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        server.expect("waits until nobody does")
    server.expect("nobody waits any more")
    stop(server)


def test_fifty_clients_at_once(server: Program) -> None:
    url = address(server)

    def ask(number: int) -> int:
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            return sum(client.get("/").status_code == 200 for _ in range(4))

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(ask, range(50))) == [4] * 50
    stop(server)


def test_websockets_with_text_bytes_and_every_goodbye(server: Program) -> None:
    url = f"{address(server)}/echo".replace("http", "ws")
    with connect(url) as ws:
        ws.send("text")
        assert ws.recv() == "text"
        for size in (0, 125, 126, 65_535, 65_536, 1_000_000):
            ws.send(MEGABYTES[:size])
            assert ws.recv() == MEGABYTES[:size]
        for number in range(100):
            ws.send(str(number))
        assert [ws.recv() for _ in range(100)] == [str(number) for number in range(100)]
        assert ws.ping().wait(PATIENCE)
        ws.close(4242)
    server.expect("websocket left with 4242")
    with connect(url) as ws:
        ws.socket.shutdown(socket.SHUT_RDWR)
    server.expect("websocket left with 1006|websocket left with 1005")
    stop(server)


def test_sigterm_lets_a_request_finish(server: Program, client: httpx.Client) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(client.get, "/slow/0.5")
        server.expect("slow begins")
        server.process.send_signal(signal.SIGTERM)
        server.expect("Waiting for connections to close")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(host_and_port(str(client.base_url).rstrip("/")))
        assert answer.result().json() == "at last"
    server.end()
    assert server.output.index("slow ends") < server.output.index("lifespan ends")
    server.check()


def test_sigterm_does_not_wait_for_ever(kind: Kind, start: Start) -> None:
    server = start(uvicorn(kind, "--timeout-graceful-shutdown", "1"))
    with socket.create_connection(host_and_port(address(server))) as connection:
        connection.sendall(b"GET /slow/1000 HTTP/1.1\r\nHost: x\r\n\r\n")
        server.expect("slow begins")
        assert server.end(signal.SIGTERM) == -signal.SIGTERM
    assert "Cancel 1 running task(s), timeout graceful shutdown exceeded" in server.output


def test_sigterm_says_goodbye_to_websockets(server: Program) -> None:
    with connect(f"{address(server)}/echo".replace("http", "ws")) as ws:
        ws.send("hello")
        ws.recv()
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv()
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1012
    server.end()
    server.check()


def test_two_workers_share_a_socket_and_stop_together(kind: Kind, start: Start) -> None:
    program = start(uvicorn(kind, "--workers", "2"))
    url = address(program)
    for _ in range(2):
        program.expect("Application startup complete")

    # Which worker takes a connection is the kernel's affair: ask until both have.
    pids: set[int] = set()
    barrier = threading.Barrier(8)

    def ask() -> int:
        barrier.wait()
        return int(httpx.get(url).json()["pid"])

    with ThreadPoolExecutor(8) as pool:
        for _ in range(200):
            pids.update(pool.map(lambda _: ask(), range(8)))
            if len(pids) == 2:
                break
    assert len(pids) == 2
    assert program.process.pid not in pids
    assert program.end(signal.SIGTERM) in (0, -signal.SIGTERM)
    assert program.output.count("lifespan ends") == 2
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    # The parent, which runs no loop, leaves the socket that it shared out to the interpreter.
    program.check(but_for=r".*unclosed <socket\.socket .*|Exception ignored in: <socket\.socket .*")


def test_tls_and_a_unix_socket(
    kind: Kind, start: Start, certificates: Certificates, tmp_path: Path
) -> None:
    options = ("--ssl-certfile", certificates.cert, "--ssl-keyfile", certificates.key)
    secure = start(uvicorn(kind, *options))
    url = address(secure)
    with httpx.Client(base_url=url, verify=certificates.client()) as client:
        assert {client.get("/").json()["scheme"] for _ in range(5)} == {"https"}
        assert client.post("/digest", content=MEGABYTES).json()["size"] == len(MEGABYTES)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, verify=certificates.stranger())
    assert asyncio.run(echoed(url, certificates, MEGABYTES[:1_000_000])) == MEGABYTES[:1_000_000]
    stop(secure)

    path = tmp_path / "socket"
    local = start(uvicorn(kind, "--uds", path))
    local.expect("running on unix socket")
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://localhost/").json()["state"] == "state"
    stop(local)


async def echoed(url: str, certificates: Certificates, message: bytes) -> str | bytes:
    """What the server says to a message, over TLS.

    One thread, because a client that reads in another one than it writes in loses messages now and
    then: before CPython 3.13 nothing keeps two threads apart that use one SSL object.
    """
    async with async_connect(f"{url}/echo".replace("http", "ws"), ssl=certificates.client()) as ws:
        await ws.send(message)
        return await ws.recv()


def test_a_port_in_use_is_said_and_ends_the_program(kind: Kind, start: Start) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        program = start(uvicorn(kind, "--port", str(taken.getsockname()[1])))
        assert program.end() == 3  # uvicorn's code for a start that failed
    assert "address already in use" in program.output
    program.check()
