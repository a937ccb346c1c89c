"""Sockets without streams: the loop's `sock_` methods, and datagrams."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from benches.door import Door, Entrance
from benches.generator import Load
from benches.traffic import KIB, server_case


@server_case(
    "sock_recv + sock_sendall, 1 KiB", Load("echo", connections=10, size=KIB), operations=20_000
)
async def sock_1k(door: Door) -> None:
    """Ten connections, messages of 1 KiB, on plain sockets; a task for each connection."""
    loop = asyncio.get_running_loop()

    async def serve(connection: socket.socket) -> None:
        with connection:
            while data := await loop.sock_recv(connection, 64 * KIB):
                await loop.sock_sendall(connection, data)

    async def accept(listener: socket.socket) -> None:
        while True:
            connection, _ = await loop.sock_accept(listener)
            connection.setblocking(False)
            door.spawn(serve(connection))

    door.spawn(accept(door.listener()))


class DatagramEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # By its word: uvloop's transports, for one, are no asyncio.DatagramTransport.
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


@server_case(
    "UDP echo, 1 KiB",
    Load("echo", connections=10, size=KIB),
    operations=30_000,
    entrance=Entrance.UDP,
)
async def udp_1k(door: Door) -> None:
    """Ten sockets, datagrams of 1 KiB."""
    await door.protocol(DatagramEcho)
