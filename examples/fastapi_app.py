#!/usr/bin/env python3
"""A vote with a live count: FastAPI with HTTP, a websocket and a lifespan.

    pip install fastapi uvicorn websockets
    python examples/fastapi_app.py                   # on asyncio: http://127.0.0.1:8000
    saburo run examples/fastapi_app.py --port 8000   # the same program on saburo

    # or as servers are usually started; only the loop is named
    uvicorn --app-dir examples --loop saburo:new_event_loop fastapi_app:app

    curl -X POST http://127.0.0.1:8000/votes/tea

The rule that makes it right: a watcher gets the newest count, not every count. A slow one skips
some, and the others do not wait for it.

VOTES_FILE names a file that keeps the votes from one run to the next.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI, HTTPException, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse

CHOICES = ("tea", "coffee", "cocoa")


class Ballot:
    """The votes so far. Used on the loop's thread only; between two awaits nothing else runs, so
    the count needs no lock."""

    def __init__(self) -> None:
        self.votes = Counter(dict.fromkeys(CHOICES, 0))
        self.version = 0
        """One more with each vote. A watcher that has this version is up to date."""
        self.changed = asyncio.Condition()

    async def vote(self, choice: str) -> None:
        self.votes[choice] += 1
        self.version += 1
        async with self.changed:
            self.changed.notify_all()

    async def newer_than(self, version: int) -> tuple[int, dict[str, int]]:
        """Waits for a count that is not `version`, and returns it with its own version."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.version != version)
        return self.version, dict(self.votes)


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    ballot = app.state.ballot = Ballot()
    file = os.environ.get("VOTES_FILE")
    if file is None:
        yield
        return
    await asyncio.to_thread(load, ballot, Path(file))
    stop = asyncio.Event()
    keeper = asyncio.create_task(keep(ballot, Path(file), stop))
    yield
    stop.set()
    await keeper  # it writes the last votes


app = FastAPI(title="What shall we drink?", lifespan=lifespan)


@app.get("/")
async def page() -> HTMLResponse:
    return HTMLResponse(PAGE)


@app.get("/votes")
async def count() -> dict[str, int]:
    ballot: Ballot = app.state.ballot
    return dict(ballot.votes)


@app.post("/votes/{choice}")
async def vote(choice: str) -> dict[str, int]:
    if choice not in CHOICES:
        raise HTTPException(404, f"no such choice: there are {', '.join(CHOICES)}")
    ballot: Ballot = app.state.ballot
    await ballot.vote(choice)
    return dict(ballot.votes)


@app.websocket("/watch")
async def watch(websocket: WebSocket) -> None:
    await websocket.accept()
    sender = asyncio.create_task(send_counts(websocket))
    try:
        # The browser sends nothing, but receiving ends when it disconnects or the server stops.
        async for _ in websocket.iter_text():
            pass
    finally:
        sender.cancel()
        await asyncio.wait([sender])


async def send_counts(websocket: WebSocket) -> None:
    ballot: Ballot = app.state.ballot
    version = -1
    # The browser may disconnect at any time.
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            version, votes = await ballot.newer_than(version)
            await websocket.send_json(votes)


async def keep(ballot: Ballot, file: Path, stop: asyncio.Event) -> None:
    """Writes the count once a second if it has changed, and a last time after `stop`."""
    written = ballot.version
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1)
        if written != ballot.version:
            written, votes = ballot.version, dict(ballot.votes)
            await asyncio.to_thread(save, votes, file)


# --- In a thread, because files may block. ---


def load(ballot: Ballot, file: Path) -> None:
    if file.exists():
        ballot.votes.update(json.loads(file.read_text()))


def save(votes: dict[str, int], file: Path) -> None:
    draft = file.with_name(f".{file.name}.draft")
    draft.write_text(json.dumps(votes))
    draft.replace(file)  # in one step: a reader gets the old count or the new one


PAGE = """\
<!doctype html>
<meta charset="utf-8">
<title>What shall we drink?</title>
<style>
  body { font: 1.2rem system-ui; max-width: 30rem; margin: 3rem auto }
  button { font: inherit; width: 100%; margin: .3rem 0; text-align: left }
  meter { width: 100% }
</style>
<h1>What shall we drink?</h1>
<main></main>
<script>
  const main = document.querySelector("main");
  const socket = new WebSocket(location.href.replace(/^http/, "ws") + "watch");
  socket.onmessage = ({ data }) => {
    const votes = Object.entries(JSON.parse(data));
    const most = Math.max(1, ...votes.map(([, count]) => count));
    main.replaceChildren(...votes.flatMap(([choice, count]) => {
      const button = document.createElement("button");
      button.textContent = `${choice}: ${count}`;
      button.onclick = () => fetch(`votes/${choice}`, { method: "POST" });
      const meter = document.createElement("meter");
      meter.max = most;
      meter.value = count;
      return [button, meter];
    }));
  };
</script>
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="fastapi_app", description="A vote that is watched live.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any that is free")
    options = parser.parse_args()
    # uvicorn.run() would choose the loop by itself. This way it is asyncio's, or saburo's under
    # `saburo run`.
    server = uvicorn.Server(uvicorn.Config(app, host=options.host, port=options.port))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server.serve())


if __name__ == "__main__":
    main()
