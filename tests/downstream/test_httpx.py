"""httpx's AsyncClient, which stands on anyio, asks a uvicorn that is served on the same loop."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import uvicorn

from .certificates import Certificates
from .conftest import Run

MEGABYTES = os.urandom(5_000_000)
DIGEST = hashlib.sha256(MEGABYTES).hexdigest()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """/digest answers with that of the body, /stream with the megabytes, /never not at all."""
    if scope["path"] == "/never":
        await receive()
        await receive()  # the client's end
        return
    sha, more = hashlib.sha256(), True
    while more:
        message = await receive()
        sha.update(message["body"])
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/stream":
        for at in range(0, len(MEGABYTES), 50_000):
            body = MEGABYTES[at : at + 50_000]
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body"})
    else:
        await send({"type": "http.response.body", "body": sha.hexdigest().encode()})


@contextlib.asynccontextmanager
async def served(certificates: Certificates | None = None) -> AsyncIterator[str]:
    options: dict[str, Any] = {}
    if certificates is not None:
        options = {"ssl_certfile": certificates.cert, "ssl_keyfile": str(certificates.key)}
    config = uvicorn.Config(
        app, port=0, lifespan="off", http="httptools", ws="none", log_level="error", **options
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
        if serving.done():
            serving.result()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http{'s' if certificates else ''}://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


def test_bodies_stream_both_ways(run: Run) -> None:
    async def upload() -> AsyncIterator[bytes]:
        for at in range(0, len(MEGABYTES), 70_000):
            yield MEGABYTES[at : at + 70_000]

    async def main() -> None:
        async with served() as url, httpx.AsyncClient(base_url=url) as client:
            assert (await client.post("/digest", content=MEGABYTES)).text == DIGEST
            assert (await client.post("/digest", content=upload())).text == DIGEST
            sha = hashlib.sha256()
            async with client.stream("GET", "/stream") as response:
                async for chunk in response.aiter_bytes():
                    sha.update(chunk)
            assert sha.hexdigest() == DIGEST

    run(main())


def test_many_requests_share_a_few_connections(run: Run) -> None:
    async def main() -> None:
        limits = httpx.Limits(max_connections=5)
        async with (
            served() as url,
            httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client,
        ):
            requests = [client.post("/digest", content=b"%d" % number) for number in range(200)]
            answers = await asyncio.gather(*requests)
            expected = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(200)]
            assert [answer.text for answer in answers] == expected

    run(main())


def test_time_limits_and_cancellation_close_the_connection(run: Run) -> None:
    async def main() -> None:
        async with served() as url, httpx.AsyncClient(base_url=url) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.get("/never", timeout=0.05)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.get("/never", timeout=None), 0.05)
            async with client.stream("GET", "/stream") as response:
                async for _ in response.aiter_bytes():
                    break  # and leaves the rest
            assert (await client.post("/digest", content=b"")).status_code == 200

    run(main())


def test_tls_and_who_is_trusted(run: Run, certificates: Certificates) -> None:
    async def main() -> None:
        async with served(certificates) as url:
            async with httpx.AsyncClient(base_url=url, verify=certificates.client()) as client:
                assert (await client.post("/digest", content=MEGABYTES)).text == DIGEST
                assert (await client.get("/stream")).content == MEGABYTES
            async with httpx.AsyncClient(base_url=url, verify=certificates.stranger()) as client:
                with pytest.raises(httpx.ConnectError) as refused:
                    await client.get("/stream")
                assert "certificate verify failed" in str(refused.value)
            with pytest.raises(httpx.RemoteProtocolError):
                async with httpx.AsyncClient() as client:
                    await client.get(url.replace("https", "http"))

    run(main())


def test_nobody_there(run: Run) -> None:
    async def main() -> None:
        async with httpx.AsyncClient(verify=ssl.create_default_context()) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get("http://127.0.0.1:1/")
            with pytest.raises(httpx.ConnectError):
                await client.get("http://no-such-name.invalid/")

    run(main())
