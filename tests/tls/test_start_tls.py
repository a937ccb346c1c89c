"""start_tls: a connection goes on in TLS, or ends."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from support.network import Echo, Recorder, client_context, server_context

Run = Callable[..., Any]


async def plain(kind: type[Recorder] = Recorder) -> tuple[Recorder, Recorder]:
    """A server's end of a connection, and a client's."""
    loop = asyncio.get_running_loop()
    one, two = socket.socketpair()
    _, here = await loop.connect_accepted_socket(kind, one)
    _, there = await loop.create_connection(Recorder, sock=two)
    return here, there


async def upgrade(here: Recorder, there: Recorder) -> None:
    loop = asyncio.get_running_loop()
    here.transport, there.transport = await asyncio.gather(
        loop.start_tls(here.transport, here, server_context(), server_side=True),
        loop.start_tls(there.transport, there, client_context(), server_hostname="localhost"),
    )


async def say(here: Recorder, text: bytes) -> None:
    """Says it to one that echoes, and hears it."""
    here.data.clear()
    here.transport.write(text)
    while here.data != text:
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_connection_goes_on_in_tls(run: Run, layers: int) -> None:
    async def main() -> None:
        here, there = await plain(Echo)
        await say(there, b"in the clear")
        before = there.transport
        for _ in range(layers):
            await upgrade(here, there)
        assert there.transport is not before
        assert there.transport.get_extra_info("cipher")
        assert there.transport.get_protocol() is there
        await say(there, b"in secret")
        assert there.calls == ["made"]
        there.transport.close()
        await asyncio.gather(here.lost, there.lost)

    run(main())


def test_ciphertext_goes_through_a_write_that_was_replaced_on_the_transport(run: Run) -> None:
    async def main() -> None:
        here, there = await plain(Echo)
        below, sizes = there.transport, []
        write = below.write
        below.write = lambda data: (sizes.append(len(data)), write(data))
        await upgrade(here, there)
        handshake = len(sizes)
        assert handshake > 0
        await say(there, b"in secret")
        assert len(sizes) > handshake
        there.transport.close()
        await asyncio.gather(here.lost, there.lost)

    run(main())


def test_a_failed_handshake_ends_the_connection(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        here, there = await plain()
        there.transport.write(b"garbage, and no handshake at all" * 10)
        with pytest.raises(OSError) as caught:  # an SSLError is one
            await loop.start_tls(here.transport, here, server_context(), server_side=True)
        assert type(caught.value).__name__ == "SSLError"
        await there.lost
        assert here.transport.is_closing()

    run(main())


@pytest.mark.parametrize("turns", range(1, 6))
def test_a_cancelled_call_ends_the_connection(run: Run, turns: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        here, there = await plain()
        call = loop.start_tls(here.transport, here, server_context(), server_side=True)
        task = asyncio.ensure_future(call)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert here.transport.is_closing()
        await there.lost

    run(main())


@pytest.mark.as_since(3, 15)
def test_what_a_stream_has_read_too_far_is_part_of_the_handshake(run: Run) -> None:
    """A client may send its first words in TLS right behind its last ones without."""

    async def main() -> None:
        secured = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == b"STARTTLS\n"
            while len(reader._buffer) < 100:  # type: ignore[attr-defined]
                await asyncio.sleep(0)
            await writer.start_tls(server_context())
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            secured.set_result(None)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"STARTTLS\n")
        await writer.start_tls(client_context(), server_hostname="localhost")
        writer.write(b"tea\n")
        assert await reader.readline() == b"tea\n"
        writer.close()
        await writer.wait_closed()
        await secured
        server.close()
        await server.wait_closed()

    run(main())


@pytest.mark.saburo_only
def test_what_is_written_while_something_is_being_encrypted_comes_behind_it(run: Run) -> None:
    """OpenSSL works without the interpreter, and what runs meanwhile can write, as a finalizer may
    on another thread. An SSLObject of one's own does so every time. asyncio fails."""

    interruptions: list[bytes] = []
    there: Any = None

    class Interrupted(ssl.SSLObject):
        def write(self, data: Any) -> int:
            while interruptions:
                there.transport.write(interruptions.pop())
            return super().write(data)

    async def main() -> None:
        nonlocal there
        here, there = await plain()
        context = client_context()
        context.sslobject_class = Interrupted
        loop = asyncio.get_running_loop()
        here.transport, there.transport = await asyncio.gather(
            loop.start_tls(here.transport, here, server_context(), server_side=True),
            loop.start_tls(there.transport, there, context, server_hostname="localhost"),
        )
        there.transport.set_write_buffer_limits(high=0)  # nothing waits for the end of the turn
        interruptions.append(b"b" * 100_000)
        there.transport.write(b"a" * 100_000)
        while len(here.data) < 200_000:
            await asyncio.sleep(0.001)
        assert here.data == b"a" * 100_000 + b"b" * 100_000
        there.transport.close()
        await asyncio.gather(here.lost, there.lost)

    run(main())


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_connection_that_is_closed_meanwhile_gives_no_transport(run: Run, how: str) -> None:
    async def main() -> None:
        here, there = await plain()
        asyncio.get_running_loop().call_soon(getattr(there.transport, how))
        upgraded = await asyncio.get_running_loop().start_tls(
            there.transport, there, client_context(), server_hostname="localhost"
        )
        assert upgraded is None
        await here.lost

    run(main())


@pytest.mark.saburo_only  # asyncio waits for ever
def test_a_connection_that_was_closed_long_ago_gives_no_transport(run: Run) -> None:
    async def main() -> None:
        here, there = await plain()
        there.transport.close()
        await asyncio.gather(here.lost, there.lost)
        upgraded = await asyncio.get_running_loop().start_tls(
            there.transport, there, client_context(), server_hostname="localhost"
        )
        assert upgraded is None

    run(main())


def test_what_tls_is_made_with_is_found_by_the_names_that_others_use(run: Run) -> None:
    async def main() -> None:
        here, there = await plain()
        await upgrade(here, there)
        for end in (here, there):
            context = end.transport._ssl_protocol._sslcontext
            assert context is end.transport.get_extra_info("sslcontext")
        there.transport.close()
        await asyncio.gather(here.lost, there.lost)

    run(main())
