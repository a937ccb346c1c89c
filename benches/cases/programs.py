"""What people really run, as it comes from the package index; an operation is a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from benches import peers
from benches.cases.clients import host_and_port
from benches.cases.protocols import Connected
from benches.door import Door
from benches.generator import Load
from benches.traffic import KIB, PROGRAMS, Work, at_once, client_case, server_case

HELLO = "hello, world"
JSON = '{"hello":"world"}'


def get(body: str) -> Load:
    return Load("http", connections=50, body=body)


async def run_uvicorn(app: Any, door: Door) -> None:
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    door.spawn(uvicorn.Server(config).serve(sockets=[door.listener()]))


@server_case("uvicorn, bare ASGI", get(HELLO), operations=8_000, group=PROGRAMS, module="uvicorn")
async def uvicorn_bare(door: Door) -> None:
    """uvicorn with httptools and an ASGI function of two sends; 50 connections kept alive."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(HELLO))]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    body = {"type": "http.response.body", "body": HELLO.encode()}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start)
        await send(body)

    await run_uvicorn(app, door)


@server_case("uvicorn + FastAPI", get(JSON), operations=2_000, group=PROGRAMS, module="fastapi")
async def uvicorn_fastapi(door: Door) -> None:
    """A FastAPI route that returns a dictionary, under uvicorn; 50 connections kept alive."""
    import fastapi

    app = fastapi.FastAPI()

    async def root() -> dict[str, str]:
        return {"hello": "world"}

    app.get("/")(root)
    await run_uvicorn(app, door)


@server_case("aiohttp server", get(HELLO), operations=5_000, group=PROGRAMS, module="aiohttp")
async def aiohttp_server(door: Door) -> None:
    """An aiohttp handler that returns a text; 50 connections kept alive."""
    from aiohttp import web

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=HELLO)

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, door.listener()).start()


@client_case(
    "aiohttp client",
    operations=4_000,
    step=50,
    group=PROGRAMS,
    module="aiohttp",
    peer=peers.HTTP,
)
async def aiohttp_client(address: str) -> AsyncIterator[Work]:
    """Fifty tasks that GET with one session, and read the text."""
    import aiohttp

    url = f"http://{address}/"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=50)) as session:

        async def fetch(_: int, share: int) -> int:
            seen = 0
            for _ in range(share):
                async with session.get(url) as response:
                    text = await response.text()
                    seen += response.status == 200 and text == peers.HTTP_BODY
            return seen

        async def work(operations: int) -> int:
            return await at_once(50, operations, fetch)

        yield work


@server_case(
    "httptools server without a framework",
    get(HELLO),
    operations=20_000,
    group=PROGRAMS,
    module="httptools",
)
async def httptools_server(door: Door) -> None:
    """A Protocol that feeds httptools and writes an answer; 50 connections kept alive."""
    import httptools

    headers = f"Content-Type: text/plain\r\nContent-Length: {len(HELLO)}\r\n"
    answer = f"HTTP/1.1 200 OK\r\n{headers}\r\n{HELLO}".encode()

    class Http(Connected, asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.parser = httptools.HttpRequestParser(self)

        def data_received(self, data: bytes) -> None:
            self.parser.feed_data(data)

        def on_url(self, url: bytes) -> None:
            self.url = url

        def on_header(self, name: bytes, value: bytes) -> None:
            pass

        def on_message_complete(self) -> None:
            assert self.url == b"/"
            self.transport.write(answer)

    await door.protocol(Http)


@server_case(
    "websockets echo, 1 KiB",
    Load("websocket", connections=50, size=KIB),
    operations=8_000,
    group=PROGRAMS,
    module="websockets",
)
async def websockets_echo(door: Door) -> None:
    """A websockets server that sends binary messages back, uncompressed; 50 connections."""
    import websockets.asyncio.server as server

    async def echo(connection: server.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    door.keep(await server.serve(echo, sock=door.listener(), compression=None))


@client_case(
    "redis, 50 at once",
    operations=5_000,
    step=100,
    group=PROGRAMS,
    module="redis",
    peer=peers.REDIS,
)
async def redis_50(address: str) -> AsyncIterator[Work]:
    """redis-py, a pool of fifty connections, fifty tasks that SET and GET; each is an operation."""
    import redis.asyncio

    host, port = host_and_port(address)
    client = redis.asyncio.Redis(host=host, port=port, max_connections=50)

    async def talk(number: int, share: int) -> int:
        seen = 0
        key = f"key {number}"
        for turn in range(share // 2):
            seen += await client.set(key, turn) is True
            seen += await client.get(key) == b"%d" % turn
        return seen

    async def work(operations: int) -> int:
        return await at_once(50, operations, talk)

    yield work
    await client.aclose()


@client_case(
    "asyncpg, 10 at once",
    operations=4_000,
    step=10,
    group=PROGRAMS,
    module="asyncpg",
    peer=peers.POSTGRES,
)
async def asyncpg_10(address: str) -> AsyncIterator[Work]:
    """asyncpg, ten connections, ten tasks with a query of one row each."""
    import asyncpg

    host, port = host_and_port(address)
    options = {"host": host, "port": port, "user": "bench", "database": "postgres", "ssl": False}
    connections = [await asyncpg.connect(**options) for _ in range(10)]

    async def query(number: int, share: int) -> int:
        connection = connections[number]
        seen = 0
        for turn in range(share):
            seen += await connection.fetchval("SELECT $1::int + 1", turn) == turn + 1
        return seen

    async def work(operations: int) -> int:
        return await at_once(10, operations, query)

    yield work
    for connection in connections:
        await connection.close()
