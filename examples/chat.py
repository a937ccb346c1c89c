#!/usr/bin/env python3
"""A chat room over websockets: one server and its members.

    pip install websockets
    python examples/chat.py                        # a room, and two in it who talk a little
    python examples/chat.py serve --port 8765      # a room that stays open
    python examples/chat.py join Saburo            # a line is a message, Ctrl-D leaves
    saburo run examples/chat.py serve              # the same program on saburo

The rule that makes it right: no member waits for a slow one. Each has a queue of messages, and a
member whose queue is full is disconnected.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake

BACKLOG = 100
"""Messages that a member may lag behind."""

NAME_TAKEN = 4000
"""Why a connection was closed: the codes from 4000 on are the application's own."""


@dataclass
class Member:
    name: str
    connection: ServerConnection
    outbox: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(BACKLOG))


class Room:
    """The members. All get the same messages in the same order, the sender included."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}

    @contextlib.asynccontextmanager
    async def open(self, host: str, port: int) -> AsyncIterator[str]:
        """Accepts members while the block runs; yields the room's address."""
        async with serve(self.visit, host, port, max_size=1 << 16) as server:
            host, port, *_ = next(iter(server.sockets)).getsockname()
            yield f"ws://{f'[{host}]' if ':' in host else host}:{port}"

    async def visit(self, connection: ServerConnection) -> None:
        """One member, from the first message (the name) to the end of the connection."""
        try:
            name = str(await connection.recv())
        except ConnectionClosed:
            return
        if name in self.members:
            await connection.close(NAME_TAKEN, "that name is taken")
            return
        member = self.members[name] = Member(name, connection)
        self.tell("", f"{name} joined")
        postman = asyncio.create_task(deliver(member))
        try:
            async for text in connection:
                self.tell(name, str(text))
        except ConnectionClosed:  # without a goodbye
            pass
        finally:
            self.part_with(member)
            postman.cancel()
            await asyncio.wait([postman])

    def tell(self, who: str, text: str) -> None:
        """Queues a message for every member, and does not wait. `who` is empty for the room."""
        message = json.dumps({"from": who, "text": text})
        for member in list(self.members.values()):
            try:
                member.outbox.put_nowait(message)
            except asyncio.QueueFull:
                # Not close(): that message would wait behind those that are not read.
                member.connection.transport.abort()
                self.part_with(member)

    def part_with(self, member: Member) -> None:
        if self.members.get(member.name) is member:
            del self.members[member.name]
            self.tell("", f"{member.name} left")


async def deliver(member: Member) -> None:
    """Sends the messages of one member's queue, at the pace of that member."""
    with contextlib.suppress(ConnectionClosed):  # visit() gets it, too
        while True:
            await member.connection.send(await member.outbox.get())


# --- The commands. ---


async def keep_open(options: argparse.Namespace) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Room().open(options.host, options.port) as url:
        print(f"the room is open at {url}", flush=True)
        await stop.wait()
    print("the room is closed", flush=True)
    return 0


async def join(options: argparse.Namespace) -> int:
    try:
        async with connect(options.url) as connection:
            await connection.send(options.name)
            ears = asyncio.create_task(listen(connection))
            mouth = asyncio.create_task(talk(connection))
            await asyncio.wait([ears, mouth], return_when=asyncio.FIRST_COMPLETED)
            await connection.close()  # this ends `ears`
            mouth.cancel()
            await asyncio.wait([ears, mouth])
    except (OSError, InvalidHandshake, ConnectionClosed) as error:
        print(f"chat: cannot join {options.url}: {error}", file=sys.stderr)
        return 1
    if connection.close_code not in (1000, 1001):  # "normal" and "going away"
        why = connection.close_reason or "the connection broke"
        print(f"chat: out of the room: {why}", file=sys.stderr)
        return 1
    return 0


async def show(options: argparse.Namespace) -> int:
    """Two members that answer each other, so that the order of the messages is certain."""
    async with Room().open("127.0.0.1", 0) as url:
        answers = {
            "* Jiro joined": "Hello, Jiro!",
            "<Jiro> Hello! Where is Saburo?": "Gone. He waits least, so he is done first.",
        }
        there = asyncio.Event()
        ichiro = asyncio.create_task(member(url, "Ichiro", answers, "* Jiro left", there))
        await there.wait()
        answers = {"<Ichiro> Hello, Jiro!": "Hello! Where is Saburo?"}
        last = "<Ichiro> Gone. He waits least, so he is done first."
        print("Jiro heard:", *await member(url, "Jiro", answers, last, there), sep="\n    ")
        print("Ichiro heard:", *await ichiro, sep="\n    ")
    return 0


async def member(
    url: str, name: str, answers: dict[str, str], last: str, there: asyncio.Event
) -> list[str]:
    heard = []
    async with connect(url) as connection:
        await connection.send(name)
        async for message in connection:
            there.set()
            heard.append(readable(message))
            if heard[-1] in answers:
                await connection.send(answers[heard[-1]])
            if heard[-1] == last:
                break
    return heard


async def listen(connection: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for message in connection:
            print(readable(message), flush=True)


async def talk(connection: ClientConnection) -> None:
    """Sends what is typed, until Ctrl-D."""
    with contextlib.suppress(ConnectionClosed):
        async for line in typed_lines():
            await connection.send(line)


async def typed_lines() -> AsyncIterator[str]:
    """The lines of stdin, read in a thread because a loop cannot wait for a file.

    The thread is a daemon. One of `asyncio.to_thread` would be joined at the end, and would wait
    for another line of the keyboard.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()

    def put(line: str | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(lines.put_nowait, line)

    def read() -> None:
        for line in sys.stdin:
            put(line)
        put(None)

    threading.Thread(target=read, daemon=True).start()
    while (line := await lines.get()) is not None:
        if text := line.strip():
            yield text


def readable(message: str | bytes) -> str:
    said = json.loads(message)
    return f"<{said['from']}> {said['text']}" if said["from"] else f"* {said['text']}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="chat", description="A chat room over websockets.")
    parser.set_defaults(run=show)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    serving = commands.add_parser("serve", help="open a room")
    serving.add_argument("--host", default="127.0.0.1")
    serving.add_argument("--port", type=int, default=8765, help="0 takes any that is free")
    serving.set_defaults(run=keep_open)
    joining = commands.add_parser("join", help="talk in a room: a line is a message, Ctrl-D leaves")
    joining.add_argument("name", metavar="NAME")
    joining.add_argument("--url", default="ws://127.0.0.1:8765")
    joining.set_defaults(run=join)
    options = parser.parse_args(arguments)
    try:
        code: int = asyncio.run(options.run(options))
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
