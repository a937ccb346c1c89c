"""Tornado on our loop: its sockets are its own, on `add_reader` and `add_writer`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import ssl
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
from support.both_loops import Kind
from tornado import gen, httpclient, httpserver, iostream, netutil, tcpclient, tcpserver, web
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.websocket import WebSocketHandler, websocket_connect

from .certificates import Certificates
from .conftest import Run

MEGABYTES = os.urandom(5_000_000)
DIGEST = hashlib.sha256(MEGABYTES).hexdigest().encode()
POST: dict[str, Any] = {
    "method": "POST",
    "body": MEGABYTES,
    "headers": {"Content-Type": "application/octet-stream"},
}


class Hello(web.RequestHandler):
    async def get(self) -> None:
        await asyncio.sleep(0)
        self.write({"path": self.request.path})


class Digest(web.RequestHandler):
    async def post(self) -> None:
        self.write(hashlib.sha256(self.request.body).hexdigest())


class Stream(web.RequestHandler):
    async def get(self) -> None:
        for at in range(0, len(MEGABYTES), 50_000):
            self.write(MEGABYTES[at : at + 50_000])
            await self.flush()


class Old(web.RequestHandler):
    @gen.coroutine
    def get(self) -> Any:
        yield gen.sleep(0.001)
        answer = yield IOLoop.current().run_in_executor(None, sum, [1, 2, 3])
        self.write(str(answer))


class Slow(web.RequestHandler):
    """Takes as long as the client has patience."""

    def initialize(self) -> None:
        self.left = asyncio.Event()

    async def get(self) -> None:
        await self.left.wait()

    def on_connection_close(self) -> None:
        self.left.set()


class Echo(WebSocketHandler):
    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        return self.write_message(message, binary=isinstance(message, bytes))


@contextlib.asynccontextmanager
async def served(context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    app = web.Application(
        [
            ("/hello.*", Hello),
            ("/digest", Digest),
            ("/stream", Stream),
            ("/old", Old),
            ("/slow", Slow),
            ("/echo", Echo),
        ],
        log_function=lambda handler: None,
    )
    server = httpserver.HTTPServer(app, ssl_options=context, max_body_size=1 << 30)
    sockets = netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    try:
        yield f"http{'s' if context else ''}://127.0.0.1:{sockets[0].getsockname()[1]}"
    finally:
        server.stop()
        await server.close_all_connections()


@contextlib.contextmanager
def client(**options: Any) -> Any:
    client = httpclient.AsyncHTTPClient(force_instance=True, max_body_size=1 << 30, **options)
    try:
        yield client
    finally:
        client.close()


def test_requests_of_every_kind(run: Run, kind: Kind) -> None:
    async def main() -> None:
        assert IOLoop.current().asyncio_loop is asyncio.get_running_loop()  # type: ignore[attr-defined]
        async with served() as url:
            with client() as ask:
                assert (await ask.fetch(f"{url}/hello")).body == b'{"path": "/hello"}'
                answer = await ask.fetch(f"{url}/digest", **POST)
                assert answer.body == DIGEST
                assert (await ask.fetch(f"{url}/stream")).body == MEGABYTES
                assert (await ask.fetch(f"{url}/old")).body == b"6"
                with pytest.raises(httpclient.HTTPClientError, match="404"):
                    await ask.fetch(f"{url}/nowhere")
                with pytest.raises(httpclient.HTTPClientError, match="Timeout"):
                    await ask.fetch(f"{url}/slow", request_timeout=0.05)
                with pytest.raises(ConnectionRefusedError):
                    await ask.fetch("http://127.0.0.1:1/")

    run(main())


def test_many_requests_at_once(run: Run) -> None:
    async def main() -> None:
        async with served() as url:
            with client(max_clients=20) as ask:
                answers = await asyncio.gather(
                    *(ask.fetch(f"{url}/hello/{number}") for number in range(200))
                )
                expected = [b'{"path": "/hello/%d"}' % number for number in range(200)]
                assert [answer.body for answer in answers] == expected

    run(main())


def test_websockets(run: Run) -> None:
    async def main() -> None:
        async with served() as url:
            ws = await websocket_connect(f"{url}/echo".replace("http", "ws"))
            for message in ("三郎", MEGABYTES[:1_000_000], ""):
                await ws.write_message(message, binary=isinstance(message, bytes))
                assert await ws.read_message() == message
            for number in range(100):
                ws.write_message(str(number))
            assert [await ws.read_message() for _ in range(100)] == [str(n) for n in range(100)]
            ws.close()
            assert await ws.read_message() is None

    run(main())


def test_tls(run: Run, certificates: Certificates) -> None:
    async def main() -> None:
        async with served(certificates.server()) as url:
            with client() as ask:
                context = certificates.client()
                answer = await ask.fetch(f"{url}/digest", **POST, ssl_options=context)
                assert answer.body == DIGEST
                answer = await ask.fetch(f"{url}/stream", ssl_options=context)
                assert answer.body == MEGABYTES
                with pytest.raises(ssl.SSLError, match="certificate verify failed"):
                    await ask.fetch(url, ssl_options=certificates.stranger())

    run(main())


def test_streams_of_its_own(run: Run) -> None:
    class Reverse(tcpserver.TCPServer):
        async def handle_stream(self, stream: iostream.IOStream, address: Any) -> None:
            with contextlib.suppress(iostream.StreamClosedError):
                while True:
                    line = await stream.read_until(b"\n")
                    await stream.write(line[-2::-1] + b"\n")

    async def main() -> None:
        server = Reverse()
        sockets = netutil.bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)

        async def talk(number: int) -> None:
            stream = await tcpclient.TCPClient().connect("127.0.0.1", sockets[0].getsockname()[1])
            for each in range(20):
                line = b"%d %d" % (number, each) * 100
                await stream.write(line + b"\n")
                assert await stream.read_until(b"\n") == line[::-1] + b"\n"
            stream.close()

        await asyncio.gather(*(talk(number) for number in range(50)))
        server.stop()

    run(main())


def test_timers_and_callbacks(run: Run) -> None:
    async def main() -> None:
        loop = IOLoop.current()
        ticks: asyncio.Queue[str] = asyncio.Queue()
        ticker = PeriodicCallback(lambda: ticks.put_nowait("tick"), 1)
        ticker.start()
        assert [await ticks.get() for _ in range(5)] == ["tick"] * 5
        ticker.stop()
        done = asyncio.Event()
        loop.add_timeout(loop.time() + 0.01, loop.add_callback, done.set)
        await done.wait()

    run(main())


def test_a_loop_that_tornado_makes_itself(kind: Kind, tmp_path: Path) -> None:
    """IOLoop() asks asyncio.new_event_loop: `saburo run` is all that a Tornado program needs."""
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio\n"
        "from tornado.ioloop import IOLoop\n"
        "async def main():\n"
        "    print(type(asyncio.get_running_loop()).__module__.partition('.')[0])\n"
        "IOLoop(make_current=False).run_sync(main)\n"
    )
    done = kind.run_program(str(program))
    assert (done.stdout, done.stderr) == (f"{kind.name}\n", "")
