"""aiohttp's client talks to aiohttp's server, on one loop: bodies, sockets, TLS and bad luck."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from support.both_loops import PATIENCE

from .certificates import Certificates
from .conftest import Run

MEGABYTES = os.urandom(5_000_000)
DIGEST = hashlib.sha256(MEGABYTES).hexdigest()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def served(
    routes: Mapping[str, Handler], context: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[str]:
    """Serves the routes, for every method; yields the address."""
    app = web.Application(client_max_size=1 << 30)
    for path, handler in routes.items():
        app.router.add_route("*", path, handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, **options)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        scheme = "https" if context else "http"
        yield f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def hello(request: web.Request) -> web.Response:
    assert request.transport
    return web.json_response({"peer": request.transport.get_extra_info("peername")[1]})


async def digest(request: web.Request) -> web.Response:
    sha = hashlib.sha256()
    async for chunk in request.content.iter_any():
        sha.update(chunk)
    return web.Response(text=sha.hexdigest())


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for at in range(0, len(MEGABYTES), 30_000):
        await response.write(MEGABYTES[at : at + 30_000])
    await response.write_eof()
    return response


async def echo(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(max_msg_size=1 << 24)
    await ws.prepare(request)
    async for message in ws:
        if message.type is aiohttp.WSMsgType.TEXT:
            if message.data == "close":
                await ws.close(code=4001, message=b"as you wish")
            else:
                await ws.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await ws.send_bytes(message.data)
    return ws


def test_a_connection_is_kept_and_many_share_a_few(run: Run) -> None:
    async def main() -> None:
        connector = aiohttp.TCPConnector(limit=5)
        async with (
            served({"/": hello}) as url,
            aiohttp.ClientSession(connector=connector) as client,
        ):

            async def peer() -> int:
                async with client.get(url) as response:
                    port: int = (await response.json())["peer"]
                    return port

            assert len({await peer() for _ in range(10)}) == 1
            peers = await asyncio.gather(*(peer() for _ in range(200)))
            assert len(set(peers)) == 5

    run(main())


def test_bodies_stream_both_ways(run: Run) -> None:
    async def upload() -> AsyncIterator[bytes]:
        for at in range(0, len(MEGABYTES), 70_000):
            yield MEGABYTES[at : at + 70_000]

    async def main() -> None:
        async with served({"/digest": digest, "/stream": stream}) as url:
            async with aiohttp.ClientSession(url) as client:
                async with client.post("/digest", data=upload()) as response:
                    assert await response.text() == DIGEST
                async with client.post("/digest", data=io.BytesIO(MEGABYTES)) as response:
                    assert await response.text() == DIGEST
                sha = hashlib.sha256()
                async with client.get("/stream") as response:
                    async for chunk in response.content.iter_chunked(100_000):
                        sha.update(chunk)
                assert sha.hexdigest() == DIGEST

    run(main())


def test_forms_cookies_redirects_and_compression(run: Run) -> None:
    async def form(request: web.Request) -> web.Response:
        fields = await request.post()
        file = fields["file"]
        assert isinstance(file, web.FileField)
        name, sha = str(fields["name"]), hashlib.sha256(file.file.read())
        response = web.Response(text=f"{name} {sha.hexdigest()}")
        file.file.close()
        response.set_cookie("flavour", "vanilla")
        return response

    async def away(request: web.Request) -> web.Response:
        raise web.HTTPFound("/large")

    async def large(request: web.Request) -> web.Response:
        response = web.Response(text=request.cookies["flavour"] * 100_000)
        response.enable_compression()
        return response

    async def main() -> None:
        async with served({"/form": form, "/away": away, "/large": large}) as url:
            jar = aiohttp.CookieJar(unsafe=True)  # cookies of an address without a name
            async with aiohttp.ClientSession(url, cookie_jar=jar) as client:
                data = aiohttp.FormData({"name": "三郎"})
                data.add_field("file", io.BytesIO(MEGABYTES), filename="megabytes")
                async with client.post("/form", data=data) as response:
                    assert await response.text() == f"三郎 {DIGEST}"
                async with client.get("/away") as response:
                    assert response.headers["Content-Encoding"] in ("gzip", "deflate")
                    assert await response.text() == "vanilla" * 100_000
                    assert [step.status for step in response.history] == [302]

    run(main())


def test_files_are_sent_by_the_kernel(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(MEGABYTES)

    async def send(request: web.Request) -> web.FileResponse:
        return web.FileResponse(file)

    async def main() -> None:
        async with served({"/": send}) as url, aiohttp.ClientSession(url) as client:
            async with client.get("/") as response:
                assert await response.read() == MEGABYTES
            async with client.get("/", headers={"Range": "bytes=1000000-1999999"}) as response:
                assert response.status == 206
                assert await response.read() == MEGABYTES[1_000_000:2_000_000]

    run(main())


def test_websockets(run: Run) -> None:
    async def main() -> None:
        async with served({"/": echo}) as url, aiohttp.ClientSession(url) as client:
            async with client.ws_connect("/", max_msg_size=1 << 24) as ws:
                await ws.send_str("text")
                assert await ws.receive_str() == "text"
                await ws.send_bytes(MEGABYTES)
                assert await ws.receive_bytes() == MEGABYTES
                for number in range(100):
                    await ws.send_str(str(number))
                assert [await ws.receive_str() for _ in range(100)] == [str(n) for n in range(100)]
                await ws.send_str("close")
                assert (await ws.receive()).type is aiohttp.WSMsgType.CLOSE
                assert ws.close_code == 4001

            async with client.ws_connect("/", heartbeat=0.01, autoping=False) as ws:
                ws._pong_heartbeat = PATIENCE  # half a heartbeat else, which is a measure of speed
                for _ in range(3):
                    assert (await ws.receive()).type is aiohttp.WSMsgType.PONG
                assert not ws.closed

            async def talk(number: int) -> str:
                async with client.ws_connect("/", compress=15) as ws:
                    await ws.send_str(f"hello {number} " * 1000)
                    text: str = await ws.receive_str()
                    return text

            heard = await asyncio.gather(*(talk(number) for number in range(50)))
            assert heard == [f"hello {number} " * 1000 for number in range(50)]

    run(main())


def test_tls_and_who_is_trusted(run: Run, certificates: Certificates) -> None:
    async def who(request: web.Request) -> web.Response:
        assert request.transport
        certificate = request.transport.get_extra_info("peercert")
        return web.json_response(certificate["subjectAltName"])

    async def main() -> None:
        handlers = {"/who": who, "/digest": digest, "/stream": stream, "/ws": echo}
        async with served(handlers, certificates.server(ask_client=True)) as url:
            context = certificates.client(with_certificate=True)
            connector = aiohttp.TCPConnector(ssl=context)
            async with aiohttp.ClientSession(url, connector=connector) as client:
                async with client.get("/who") as response:
                    assert await response.json() == [["email", "saburo@example.org"]]
                async with client.post("/digest", data=io.BytesIO(MEGABYTES)) as response:
                    assert await response.text() == DIGEST
                async with client.get("/stream") as response:
                    assert await response.read() == MEGABYTES
                async with client.ws_connect("/ws") as ws:
                    await ws.send_bytes(MEGABYTES[:1_000_000])
                    assert await ws.receive_bytes() == MEGABYTES[:1_000_000]
        async with served({"/": hello}, certificates.server()) as url:
            async with aiohttp.ClientSession(url) as client:
                with pytest.raises(aiohttp.ClientConnectorCertificateError):
                    await client.get("/", ssl=certificates.stranger())
                async with client.get("/", ssl=False) as response:
                    assert response.status == 200

    run(main())


def test_files_over_tls(run: Run, certificates: Certificates, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(MEGABYTES)

    async def send(request: web.Request) -> web.FileResponse:
        return web.FileResponse(file)

    async def main() -> None:
        async with served({"/": send}, certificates.server()) as url:
            async with aiohttp.ClientSession(url) as client:
                async with client.get("/", ssl=certificates.client()) as response:
                    assert await response.read() == MEGABYTES

    run(main())


def test_time_limits(run: Run) -> None:
    async def never(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x")
        await asyncio.Event().wait()
        raise AssertionError

    async def main() -> None:
        handlers = {"/never": never, "/half": half, "/": hello}
        async with (
            served(handlers, handler_cancellation=True) as url,
            aiohttp.ClientSession(url) as client,
        ):
            for limit in (
                aiohttp.ClientTimeout(total=0.05),
                aiohttp.ClientTimeout(sock_read=0.05),
            ):
                with pytest.raises(TimeoutError):
                    await client.get("/never", timeout=limit)
                async with client.get("/half", timeout=limit) as response:
                    with pytest.raises(TimeoutError):
                        await response.read()
            async with client.get("/") as response:
                assert response.status == 200

    run(main())


def test_a_client_that_leaves_cancels_the_handler(run: Run) -> None:
    async def main() -> None:
        begun, cancelled = asyncio.Event(), asyncio.Event()

        async def handler(request: web.Request) -> web.Response:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise
            raise AssertionError

        async with served({"/": handler}, handler_cancellation=True) as url:
            async with aiohttp.ClientSession(url) as client:
                request = asyncio.create_task(client.get("/"))
                await begun.wait()
                request.cancel()
                await cancelled.wait()
                with pytest.raises(asyncio.CancelledError):
                    await request

    run(main())


def test_a_client_that_leaves_in_the_middle_of_a_stream(run: Run) -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def endless(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                while True:
                    await response.write(MEGABYTES)
            except ConnectionError:
                ended.set()
            return response

        async with served({"/": endless}) as url, aiohttp.ClientSession(url) as client:
            async with client.get("/") as response:
                assert await response.content.readexactly(100_000) == MEGABYTES[:100_000]
            await ended.wait()

    run(main())


def test_a_server_that_hangs_up_is_an_error_and_a_kept_connection_a_retry(run: Run) -> None:
    async def main() -> None:
        async def hang_up(request: web.Request) -> web.Response:
            assert request.transport
            request.transport.abort()
            return web.Response()

        async def cut(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b"x" * 10)
            assert request.transport
            request.transport.close()
            return response

        async with served(
            {"/": hello, "/hang": hang_up, "/cut": cut}, keepalive_timeout=0.1
        ) as url:
            async with aiohttp.ClientSession(url) as client:
                with pytest.raises(aiohttp.ServerDisconnectedError):
                    await client.get("/hang")
                async with client.get("/cut") as response:
                    with pytest.raises(aiohttp.ClientPayloadError):
                        await response.read()
                peers = set()
                for _ in range(2):
                    async with client.get("/") as response:
                        peers.add((await response.json())["peer"])
                    await asyncio.sleep(0.3)  # the server closes what is idle for so long
                assert len(peers) == 2

    run(main())


def test_nobody_there_and_no_such_name(run: Run) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as client:
            with pytest.raises(aiohttp.ClientConnectorError) as refused:
                await client.get("http://127.0.0.1:1/")
            assert isinstance(refused.value.os_error, ConnectionRefusedError)
            with pytest.raises(aiohttp.ClientConnectorDNSError):
                await client.get("http://no-such-name.invalid/")
            async with served({"/": hello}) as url:
                port = url.rpartition(":")[2]
                async with client.get(f"http://localhost:{port}/") as response:
                    assert response.status == 200

    run(main())


def test_unix_sockets(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "socket")
        app = web.Application()
        app.router.add_post("/", digest)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.UnixSite(runner, path).start()
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as client:
            async with client.post("http://localhost/", data=io.BytesIO(MEGABYTES)) as response:
                assert await response.text() == DIGEST
        await runner.cleanup()

    run(main())


def test_shutting_down_waits_for_the_requests_under_way(run: Run) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        async def slow(request: web.Request) -> web.Response:
            begun.set()
            await asyncio.sleep(0.2)
            return web.Response(text="done")

        async with aiohttp.ClientSession() as client:
            async with served({"/": slow}) as url:
                answer = asyncio.create_task(client.get(url))
                await begun.wait()
            async with await answer as response:
                assert await response.text() == "done"
            with pytest.raises(aiohttp.ClientConnectorError):
                await client.get(url)

    run(main())


def test_tls_through_a_proxy_tunnel(run: Run, certificates: Certificates) -> None:
    """CONNECT: the client upgrades a connection that it has talked over in the clear."""

    async def main() -> None:
        tunnels = 0

        async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal tunnels
            tunnels += 1
            method, target, _ = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)
            assert method == b"CONNECT"
            host, port = target.decode().split(":")
            there, back = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

            async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                with contextlib.suppress(ConnectionError):
                    while data := await source.read(1 << 16):
                        sink.write(data)
                        await sink.drain()
                sink.close()

            await asyncio.gather(pump(reader, back), pump(there, writer))
            await asyncio.gather(writer.wait_closed(), back.wait_closed(), return_exceptions=True)

        proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
        async with proxy, served({"/": digest}, certificates.server()) as url:
            address = "http://127.0.0.1:{1}".format(*proxy.sockets[0].getsockname())
            async with aiohttp.ClientSession(url, proxy=address) as client:
                for _ in range(2):
                    async with client.post(
                        "/", data=io.BytesIO(MEGABYTES), ssl=certificates.client()
                    ) as response:
                        assert await response.text() == DIGEST
        assert tunnels >= 1

    run(main())
