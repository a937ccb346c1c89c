"""Descriptors without streams: the loop's `sock_` methods, readers, datagrams, pipes and files."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile

from benches.cases.sockets import DatagramEcho
from benches.count.workload import workload
from benches.count.workloads.ends import KIB, Counter, connected


@workload(300, 1_300)
async def sock_echo(operations: int) -> int:
    """1 KiB there and back by `sock_sendall` and `sock_recv`, a task at each end."""
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()

    async def serve() -> None:
        while data := await loop.sock_recv(there, 2 * KIB):
            await loop.sock_sendall(there, data)

    message = bytes(KIB)
    seen = 0
    with here, there:
        here.setblocking(False)
        there.setblocking(False)
        server = asyncio.create_task(serve())
        for _ in range(operations):
            await loop.sock_sendall(here, message)
            seen += len(await loop.sock_recv(here, 2 * KIB)) == KIB
        here.shutdown(socket.SHUT_WR)
        await server
    return seen


@workload(300, 1_300)
async def add_reader(operations: int) -> int:
    """A reader added, called once and removed."""
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    seen = 0

    def read() -> None:
        nonlocal seen
        seen += 1
        loop.remove_reader(here)

    with here, there:
        here.setblocking(False)
        there.send(b"x")
        for _ in range(operations):
            loop.add_reader(here, read)
            before = seen
            while seen == before:  # noqa: ASYNC110 (as benches/cases)
                await asyncio.sleep(0)
    return seen


class DatagramCounter(asyncio.DatagramProtocol):
    arrived: asyncio.Future[None]

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.arrived.set_result(None)


@workload(300, 1_300)
async def datagram_echo(operations: int) -> int:
    """A datagram of 1 KiB there and back on UDP, one end connected to the other."""
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(DatagramEcho, local_addr=("127.0.0.1", 0))
    transport, client = await loop.create_datagram_endpoint(
        DatagramCounter, remote_addr=server.get_extra_info("sockname")
    )
    message = bytes(KIB)
    seen = 0
    for _ in range(operations):
        client.arrived = loop.create_future()
        transport.sendto(message)
        await client.arrived
        seen += 1
    transport.close()
    server.close()
    await asyncio.sleep(0)
    return seen


@workload(300, 1_300)
async def pipe(operations: int) -> int:
    """1 KiB through a pipe, a transport at each end."""
    loop = asyncio.get_running_loop()
    ends = os.pipe()
    out, into = (os.fdopen(end, mode, 0) for end, mode in zip(ends, ("rb", "wb"), strict=True))
    reading, reader = await loop.connect_read_pipe(Counter, out)
    writing, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, into)
    message = bytes(KIB)
    seen = 0
    for _ in range(operations):
        writing.write(message)
        await reader.arrived(KIB)
        seen += 1
    writing.close()
    reading.close()
    await asyncio.sleep(0)
    return seen


@workload(100, 400)
async def sendfile(operations: int) -> int:
    """`loop.sendfile` of a file of 4 KiB to a transport."""
    loop = asyncio.get_running_loop()
    receiver = Counter()
    seen = 0
    with tempfile.TemporaryFile() as file:
        file.write(bytes(4 * KIB))
        file.flush()
        async with connected(lambda: receiver) as client:
            for _ in range(operations):
                seen += await loop.sendfile(client.transport, file, 0, 4 * KIB) == 4 * KIB
                await receiver.arrived(4 * KIB)
    return seen
