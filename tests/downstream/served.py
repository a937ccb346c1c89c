"""The FastAPI application that test_uvicorn.py has served; it tells what happens on stdout."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import threading
from collections.abc import AsyncIterator

from fastapi import BackgroundTasks, FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from pydantic import BaseModel


def tell(what: str) -> None:
    print(what, flush=True)


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    tell(f"lifespan begins on {type(asyncio.get_running_loop()).__module__}")
    yield {"from_lifespan": "state"}
    tell("lifespan ends")


app = FastAPI(lifespan=lifespan)


class Item(BaseModel):
    name: str
    price: float


@app.get("/")
async def hello(request: Request) -> dict[str, object]:
    client = request.client
    return {
        "pid": os.getpid(),
        "port": client and client.port,
        "scheme": request.url.scheme,
        "state": request.state.from_lifespan,
    }


@app.get("/thread")
def in_a_thread() -> bool:
    return threading.current_thread() is not threading.main_thread()


@app.post("/items")
async def item(item: Item, background: BackgroundTasks) -> Item:
    background.add_task(tell, f"in the background: {item.name}")
    return item


@app.post("/digest")
async def digest(request: Request) -> dict[str, object]:
    """Of a body that is read as it comes."""
    sha, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        sha.update(chunk)
        size += len(chunk)
    return {"sha256": sha.hexdigest(), "size": size}


@app.get("/stream/{count}")
async def stream(count: int) -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(count):
            yield b"%09d\n" % number * 1000

    return StreamingResponse(chunks())


@app.get("/wait")
async def wait(request: Request) -> None:
    tell("waits until nobody does")
    message = await request.receive()
    while message["type"] != "http.disconnect":
        message = await request.receive()
    tell("nobody waits any more")


@app.get("/slow/{seconds}")
async def slow(seconds: float) -> str:
    tell("slow begins")
    await asyncio.sleep(seconds)
    tell("slow ends")
    return "at last"


@app.get("/error")
async def error() -> None:
    raise LookupError("a bug in the application")


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"])
            if message.get("text") is not None:
                await websocket.send_text(message["text"])
            else:
                await websocket.send_bytes(message["bytes"])
    except WebSocketDisconnect as left:
        tell(f"websocket left with {left.code}")
