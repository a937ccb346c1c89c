"""When written bytes leave: before anything that could tell that they had not.

saburo sends what is written in a turn together, when the turn is over. asyncio sends with each
call. Each test here would see a difference that a program can see, too.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from support.both_loops import Kind
from support.network import Recorder, client_context, server_context

Run = Callable[..., Any]
SEVERAL = [b"%02d\n" % number for number in range(16)]


async def stream_over(sock: socket.socket, streams: Any, tls: bool = False) -> tuple[Any, Any]:
    """Reader and writer of a connection whose other end does TLS on the same loop, if it does."""
    options: Any = {"ssl": client_context(), "server_hostname": "localhost"} if tls else {}
    reader, writer = await streams.open_connection(sock=sock, **options)
    return reader, writer


async def asyncio_stream_over(sock: socket.socket) -> tuple[Any, Any]:
    """The same with asyncio's own classes, whatever the loop."""
    loop: Any = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, sock=sock)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def arrived(sock: socket.socket) -> bytes:
    """What is there to be read, and stays there. Over loopback it arrives as it is sent."""
    try:
        return sock.recv(1 << 20, socket.MSG_PEEK)
    except BlockingIOError:
        return b""


async def end(writer: Any, *others: socket.socket) -> None:
    writer.transport.abort()
    await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])
    for other in others:
        other.close()


@pytest.mark.parametrize("classes", ["the loop's", "asyncio's"])
def test_what_was_drained_has_left(run: Run, kind: Kind, classes: str) -> None:
    """A handler that says something, drains and then computes is heard, however often it does."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        if classes == "asyncio's":
            _, writer = await asyncio_stream_over(ours)
        else:
            _, writer = await stream_over(ours, kind.streams)
        for number in range(1, 6):
            writer.write(b"working ")
            writer.write(b"on it\n")
            await writer.drain()
            assert arrived(theirs) == b"working on it\n" * number
        await end(writer, theirs)

    run(main())


@pytest.mark.parametrize("classes", ["the loop's", "asyncio's"])
def test_what_was_drained_of_an_answer_has_left(run: Run, kind: Kind, classes: str) -> None:
    """As above, on a connection that a server took."""
    streams: Any = asyncio if classes == "asyncio's" else kind.streams

    async def main() -> None:
        seen = []
        ended = asyncio.Event()

        async def answer(reader: Any, writer: Any) -> None:
            await reader.readline()
            for word in (b"working\n", b"still\n", b"done\n"):
                writer.write(word)
                await writer.drain()
                seen.append(arrived(client))
            writer.close()
            ended.set()

        server = await streams.start_server(answer, "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        client.sendall(b"please\n")
        client.setblocking(False)
        await ended.wait()
        assert seen == [b"working\n", b"working\nstill\n", b"working\nstill\ndone\n"]
        server.close()
        await server.wait_closed()
        client.close()

    run(main())


@pytest.mark.parametrize("classes", ["the loop's", "asyncio's"])
def test_what_was_drained_over_tls_has_left(run: Run, kind: Kind, classes: str) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        accepting = asyncio.ensure_future(
            loop.connect_accepted_socket(Recorder, theirs, ssl=server_context())
        )
        if classes == "asyncio's":
            reader = asyncio.StreamReader(loop=loop)
            protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
            transport, _ = await loop.create_connection(
                lambda: protocol, sock=ours, ssl=client_context(), server_hostname="localhost"
            )
            writer: Any = asyncio.StreamWriter(transport, protocol, reader, loop)
        else:
            _, writer = await stream_over(ours, kind.streams, tls=True)
        _, there = await accepting
        there.transport.pause_reading()
        before = len(arrived(theirs))
        for _ in range(3):
            writer.write(b"working")
            await writer.drain()
            now = len(arrived(theirs))
            assert now > before
            before = now
        writer.write(b"working")
        assert writer.transport.get_write_buffer_size() == 0
        assert len(arrived(theirs)) > before
        there.transport.abort()
        await there.lost
        await end(writer)

    run(main())


@pytest.mark.saburo_only
@pytest.mark.parametrize("classes", ["the loop's", "asyncio's"])
def test_answers_to_what_has_arrived_together_leave_together(
    run: Run, kind: Kind, classes: str
) -> None:
    """The first drain of a turn sends, and the last, since by then nothing is left to answer."""
    streams: Any = asyncio if classes == "asyncio's" else kind.streams

    async def main() -> None:
        seen = []
        ended = asyncio.Event()

        async def answer(reader: Any, writer: Any) -> None:
            for _ in SEVERAL:
                writer.write(await reader.readline())
                await writer.drain()
                seen.append(arrived(client).count(b"\n"))
            writer.close()
            ended.set()

        server = await streams.start_server(answer, "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        client.sendall(b"".join(SEVERAL))
        client.setblocking(False)
        await ended.wait()
        assert seen == [1] * 15 + [16]
        assert client.recv(1000) == b"".join(SEVERAL)
        server.close()
        await server.wait_closed()
        client.close()

    run(main())


@pytest.mark.parametrize("drained", [False, True])
@pytest.mark.parametrize("tls", [False, True])
def test_shutting_the_socket_down_comes_after_what_was_written(
    run: Run, kind: Kind, drained: bool, tls: bool
) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        if tls:
            accepting = asyncio.ensure_future(
                loop.connect_accepted_socket(Recorder, theirs, ssl=server_context())
            )
        else:
            accepting = asyncio.ensure_future(loop.create_connection(Recorder, sock=theirs))
        _, writer = await stream_over(ours, kind.streams, tls=tls)
        _, there = await accepting
        writer.write(b"request")
        if drained:
            await writer.drain()
        writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
        await there.lost
        assert there.data == b"request"
        await end(writer)

    run(main())


def give_number(sock: Any) -> int:
    number: int = sock.fileno()
    return os.dup(number)


def give_duplicate(sock: Any) -> int:
    duplicate: int = sock.dup().detach()
    return duplicate


def give_socket(sock: Any) -> int:
    return os.dup(sock._sock.fileno())


@pytest.mark.parametrize("give", [give_number, give_duplicate, give_socket])
def test_whoever_has_the_descriptor_writes_behind_the_transport(
    run: Run, give: Callable[[Any], int]
) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        transport, protocol = await asyncio.get_running_loop().create_connection(
            Recorder, sock=ours
        )
        transport.write(b"1")
        descriptor = give(transport.get_extra_info("socket"))
        for word in (b"23", b"45", b"67"):
            os.write(descriptor, word[:1])
            transport.write(word[1:])
        subprocess.run(  # noqa: ASYNC221
            [sys.executable, "-Sc", "print('8', end='')"], check=True, stdout=descriptor
        )
        theirs.setblocking(False)
        assert theirs.recv(100) == b"12345678"
        os.close(descriptor)
        transport.abort()
        await protocol.lost
        theirs.close()

    run(main())


def test_a_child_writes_to_the_socket_behind_the_transport(run: Run) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        transport, protocol = await asyncio.get_running_loop().create_connection(
            Recorder, sock=ours
        )
        transport.write(b"first, ")
        subprocess.run(  # noqa: ASYNC221
            [sys.executable, "-Sc", "print('then', end='')"],
            check=True,
            stdout=transport.get_extra_info("socket"),
        )
        theirs.setblocking(False)
        assert theirs.recv(100) == b"first, then"
        transport.abort()
        await protocol.lost
        theirs.close()

    run(main())


def test_options_are_set_after_what_was_written(run: Run) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        transport, protocol = await asyncio.get_running_loop().create_connection(
            Recorder, sock=ours
        )
        sock = transport.get_extra_info("socket")
        transport.write(b"a")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        assert arrived(theirs) == b"a"
        transport.write(b"b")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        assert arrived(theirs) == b"ab"
        transport.abort()
        await protocol.lost
        theirs.close()

    run(main())


@pytest.mark.saburo_only
def test_servers_that_look_at_the_socket_go_on_gathering(run: Run) -> None:
    """They ask for names and set options once; a client of aiohttp asks is_closing() each time."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        theirs.setblocking(False)
        waiter = loop.create_future()
        protocol = Recorder()
        transport = loop._make_socket_transport(ours, protocol, waiter)
        await waiter
        sock = transport.get_extra_info("socket")
        assert (sock.family, sock.type) == (socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        assert isinstance(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), int)
        for word in (b"one ", b"message"):
            assert not transport.is_closing()
            assert sock.getsockname() == sock.getpeername() == ""
            assert "TransportSocket" in repr(sock)
            assert "fd=" in repr(transport)
            assert not sock.get_inheritable()
            assert sock.proto == 0
            transport.write(word)
        await asyncio.sleep(0)
        assert theirs.recv(100) == b"one message"
        transport.abort()
        await protocol.lost
        theirs.close()

    run(main())


def test_the_socket_looks_and_refuses_as_asyncios(run: Run) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        transport, protocol = await asyncio.get_running_loop().create_connection(
            Recorder, sock=ours
        )
        sock = transport.get_extra_info("socket")
        assert isinstance(sock, asyncio.trsock.TransportSocket)
        assert repr(sock) == repr(asyncio.trsock.TransportSocket(ours))
        assert sock.gettimeout() == 0
        with pytest.raises(ValueError, match="cannot be blocking"):
            sock.setblocking(True)
        with pytest.raises(TypeError, match="Cannot serialize"):
            sock.__getstate__()
        for name in ("close", "send", "recv", "detach", "connect", "listen"):
            assert not hasattr(sock, name)
        transport.abort()
        await protocol.lost
        assert "fd=-1" in repr(sock)
        assert sock.fileno() == -1
        theirs.close()

    run(main())


@pytest.mark.parametrize("classes", ["the loop's", "asyncio's"])
def test_a_peer_that_is_gone_is_noticed_by_the_first_drain(
    run: Run, kind: Kind, classes: str
) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
        theirs.close()
        if classes == "asyncio's":
            _, writer = await asyncio_stream_over(ours)
        else:
            _, writer = await stream_over(ours, kind.streams)
        writer.write(b"x")
        await writer.drain()
        # The peer answers by a reset.
        while not has_error(ours):
            await asyncio.sleep(0)
        others: list[str] = []
        asyncio.get_running_loop().call_soon(others.append, "had a turn")
        with pytest.raises(ConnectionResetError):
            for _ in range(3):
                writer.write(b"x" * 10)
                await writer.drain()
        assert others == ["had a turn"]
        await end(writer)

    run(main())


def has_error(sock: socket.socket) -> bool:
    """Has the connection been reset? Asked without taking the error away."""
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    return sock.fileno() < 0 or bool(poll.poll(0))


def test_a_protocol_is_told_what_comes_of_its_own_writes(run: Run) -> None:
    """What was written before another protocol takes over has been sent by then."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        transport, protocol = await asyncio.get_running_loop().create_connection(
            Recorder, sock=ours
        )
        transport.write(b"mine")
        transport.set_protocol(Recorder())
        assert arrived(theirs) == b"mine"
        transport.set_protocol(protocol)
        transport.abort()
        await protocol.lost
        theirs.close()

    run(main())


@pytest.mark.parametrize("how", ["SystemExit", "KeyboardInterrupt", "ValueError"])
def test_however_a_run_ends_what_was_written_leaves(kind: Kind, how: str) -> None:
    ends = {
        "SystemExit": "sys.exit(0)",
        "KeyboardInterrupt": "raise KeyboardInterrupt",
        "ValueError": "raise ValueError",
    }
    program = kind.run_script(
        f"""
        import socket, sys
        ours, theirs = socket.socketpair()
        async def main():
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            transport.write(b"last words")
            {ends[how]}
        loop = new_loop()
        try:
            loop.run_until_complete(main())
        except BaseException as error:
            print(type(error).__name__)
        print(theirs.recv(100))
        theirs.close()
        sys.stdout.flush()
        import os
        os._exit(0)
        """
    )
    assert program.stdout.splitlines() == [how, "b'last words'"], program.stderr
