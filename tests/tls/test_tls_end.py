"""How a connection with TLS ends: cleanly or not, from either side, at every stage."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import ssl
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from support.tls_peer import (
    Buffered,
    Peer,
    Recorder,
    begin,
    both_kinds,
    both_sides,
    both_versions,
    close,
    connect,
)
from test_tls_data import NOISE, fill

Run = Callable[..., Any]


# ---- clean ----


@both_versions
@both_sides
def test_close_waits_for_the_peers_goodbye(
    run: Run, version: ssl.TLSVersion, server_side: bool
) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect(server_side=server_side, version=version)
        transport.write(b"last words")
        transport.close()
        assert transport.is_closing()
        assert await peer.read_exactly(10) == b"last words"
        assert await peer.read() == b""
        for _ in range(5):
            await asyncio.sleep(0)
        assert protocol.calls == ["made"]
        await peer.unwrap()
        assert await protocol.lost is None
        assert protocol.calls == ["made", "eof", ("lost", None)]
        assert await peer.is_closed()
        peer.close()

    run(main())


@both_versions
@both_sides
def test_the_peers_goodbye_is_answered(
    run: Run, version: ssl.TLSVersion, server_side: bool
) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect(server_side=server_side, version=version)
        sent = peer.encrypted(b"last words") + peer.goodbye()
        await peer.loop.sock_sendall(peer.sock, sent)
        assert await protocol.lost is None
        assert protocol.calls == ["made", "data", "eof", ("lost", None)]
        assert protocol.received == b"last words"
        await peer.unwrap()
        assert await peer.is_closed()
        peer.close()
        assert transport.is_closing()

    run(main())


def test_a_goodbye_reaches_a_buffered_protocol_behind_its_data(run: Run) -> None:
    async def main() -> None:
        _, protocol, peer = await connect(Buffered)
        sent = peer.encrypted(NOISE[:4500]) + peer.goodbye()
        await peer.loop.sock_sendall(peer.sock, sent)
        assert await protocol.lost is None
        assert protocol.calls == ["made", "data", "eof", ("lost", None)]
        assert protocol.received == NOISE[:4500]
        peer.close()

    run(main())


def test_both_say_goodbye_at_once(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        sent = peer.goodbye()
        transport.close()
        await peer.loop.sock_sendall(peer.sock, sent)
        assert await protocol.lost is None
        assert protocol.calls == ["made", "eof", ("lost", None)]
        await peer.unwrap()
        peer.close()

    run(main())


def test_everything_written_arrives_before_the_goodbye(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        written = await fill(transport, protocol)
        transport.write(b"the end")
        transport.close()
        whole = await peer.read_all()
        assert len(whole) == written + 7
        assert whole.endswith(b"the end")
        await peer.unwrap()
        assert await protocol.lost is None
        peer.close()

    run(main())


def test_what_is_written_behind_close_is_dropped(run: Run, caplog: Any) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        transport.close()
        for _ in range(7):
            transport.write(b"dropped")
            transport.writelines([b"dropped"])
        assert await peer.read_all() == b""
        await peer.unwrap()
        await protocol.lost
        peer.close()

    run(main())
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["SSL connection is closed"] * 9  # 14, of which five pass in silence


def test_data_behind_close_is_still_handed_over(run: Run) -> None:
    """What the peer had sent before it heard of the end."""

    async def main() -> None:
        transport, protocol, peer = await connect()
        await peer.write(b"on its way")
        transport.close()
        assert protocol.calls == ["made"]
        error = await protocol.lost
        # OpenSSL does not like data behind its own goodbye.
        assert error is None or isinstance(error, ssl.SSLError)
        peer.close()

    run(main())


def test_close_within_data_received(run: Run) -> None:
    class Closing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(b"answer")
            self.transport.close()

    async def main() -> None:
        _, protocol, peer = await connect(Closing)
        await peer.write(b"question")
        assert await peer.read_all() == b"answer"
        await peer.unwrap()
        assert await protocol.lost is None
        assert protocol.calls == ["made", "data", "eof", ("lost", None)]
        peer.close()

    run(main())


def test_close_and_abort_within_connection_made(run: Run) -> None:
    async def main() -> None:
        for how in ("close", "abort"):

            class Leaving(Recorder):
                def connection_made(self, transport: Any) -> None:
                    super().connection_made(transport)
                    transport.write(b"hello")
                    getattr(transport, how)()  # noqa: B023

            begun, peer = begin(Leaving)
            # Of an abort it hears while it sends its tickets.
            await asyncio.gather(peer.handshake(), return_exceptions=True)
            _, protocol = await begun
            if how == "close":
                assert await peer.read_all() == b"hello"
                await peer.unwrap()
            assert await protocol.lost is None
            assert protocol.calls[-1] == ("lost", None)
            peer.close()

    run(main())


@pytest.mark.as_since(3, 11, 4)
def test_close_again_changes_nothing(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        transport.close()
        assert transport.is_closing()
        await peer.read_all()
        await peer.unwrap()
        await protocol.lost
        transport.close()
        transport.close()
        transport.abort()
        assert transport.is_closing()
        peer.close()

    run(main())


@pytest.mark.saburo_only  # asyncio's has no answers from the second close() on
def test_a_transport_that_was_closed_twice_answers_as_long_as_there_is_a_connection(
    run: Run,
) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        transport.close()
        transport.close()
        assert transport._ssl_protocol is None
        assert transport.get_protocol() is protocol
        assert transport.get_extra_info("ssl_object") is not None
        assert transport.get_extra_info("socket").fileno() >= 0
        transport.write(b"dropped")
        transport.abort()
        await protocol.lost
        gc.collect()
        assert transport.get_extra_info("ssl_object", "default") == "default"
        assert transport.get_protocol() is None
        assert transport.get_write_buffer_size() == transport.get_read_buffer_size() == 0
        transport.write(b"dropped")
        transport.writelines([b"dropped"])
        transport.pause_reading()
        transport.resume_reading()
        transport.set_write_buffer_limits()
        transport.close()
        transport.abort()
        assert transport.is_closing()
        peer.close()

    run(main())


def test_eof_received_that_wants_to_stay_open_is_told_that_it_cannot(run: Run, caplog: Any) -> None:
    class Staying(Recorder):
        def eof_received(self) -> bool:
            super().eof_received()
            return True

    async def main() -> None:
        _, protocol, peer = await connect(Staying)
        await peer.loop.sock_sendall(peer.sock, peer.goodbye())
        assert await protocol.lost is None
        assert protocol.calls == ["made", "eof", ("lost", None)]
        peer.close()

    run(main())
    (record,) = caplog.records
    assert record.getMessage() == "returning true from eof_received() has no effect when using ssl"


def test_an_error_in_eof_received_ends_the_connection(run: Run) -> None:
    class Failing(Recorder):
        def eof_received(self) -> bool | None:
            super().eof_received()
            raise LookupError("no")

    async def main() -> list[Any]:
        reports: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: reports.append(context)
        )
        _, protocol, peer = await connect(Failing)
        await peer.loop.sock_sendall(peer.sock, peer.goodbye())
        error = await protocol.lost
        assert isinstance(error, LookupError)
        assert protocol.calls == ["made", "eof", ("lost", "LookupError")]
        peer.close()
        return reports

    (report,) = run(main())
    assert report["message"] == "Error calling eof_received()"


# ---- unclean ----


@both_kinds
@both_sides
def test_a_peer_that_leaves_without_goodbye(run: Run, factory: Any, server_side: bool) -> None:
    async def main() -> None:
        # In TLS 1.3 there would be tickets that nobody has read, and the kernel would reset.
        _, protocol, peer = await connect(
            factory, server_side=server_side, version=ssl.TLSVersion.TLSv1_2
        )
        await peer.write(b"last words")
        peer.close()
        assert await protocol.lost is None
        assert protocol.calls == ["made", "data", "eof", ("lost", None)]

    run(main())


@pytest.mark.saburo_only  # 3.13.0 goes on closing for ever
def test_a_peer_that_half_closes_gets_what_was_written(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        written = await fill(transport, protocol)
        peer.sock.shutdown(socket.SHUT_WR)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(await peer.read_exactly(written)) == written
        assert await protocol.lost is None
        peer.close()

    run(main())


def test_a_peer_that_half_closes_while_reading_is_paused(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        transport.pause_reading()
        await peer.write(b"kept")
        peer.sock.shutdown(socket.SHUT_WR)
        for _ in range(10):
            await asyncio.sleep(0)
        assert protocol.calls == ["made"]
        transport.resume_reading()
        assert await protocol.lost is None
        assert protocol.calls == ["made", "data", "eof", ("lost", None)]
        assert protocol.received == b"kept"
        peer.close()

    run(main())


def test_a_peer_that_resets(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        protocols: list[Recorder] = []

        def factory() -> Recorder:
            protocols.append(Recorder())
            return protocols[-1]

        from support.certificates import certificates

        server = await loop.create_server(factory, "127.0.0.1", 0, ssl=certificates().server())
        sock = socket.create_connection(server.sockets[0].getsockname())
        peer = Peer(sock, certificates().client(), server_side=False)
        await peer.handshake()
        await peer.write(b"x")
        while not protocols or not protocols[0].received:
            await asyncio.sleep(0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
        error = await protocols[0].lost
        assert isinstance(error, ConnectionResetError)
        assert protocols[0].calls == ["made", "data", ("lost", "ConnectionResetError")]
        server.close()
        await server.wait_closed()

    run(main())


def test_half_a_record_and_the_end(run: Run) -> None:
    async def main() -> None:
        _, protocol, peer = await connect()
        await peer.loop.sock_sendall(peer.sock, peer.encrypted(b"x" * 100)[:50])
        peer.close()
        assert await protocol.lost is None
        assert protocol.calls == ["made", "eof", ("lost", None)]

    run(main())


@both_kinds
def test_abort_drops_the_connection_at_once(run: Run, factory: Any) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect(factory)
        await fill(transport, protocol)
        transport.abort()
        assert transport.is_closing()
        assert await protocol.lost is None
        assert protocol.calls == ["made", "pause", ("lost", None)]
        with pytest.raises((EOFError, ConnectionError)):
            while True:
                await peer.read()
        peer.close()

    run(main())


def test_what_was_written_before_abort_has_left(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        transport.write(b"last words")
        transport.abort()
        assert await peer.read_exactly(10) == b"last words"
        assert await protocol.lost is None
        peer.close()

    run(main())


def test_abort_within_data_received(run: Run) -> None:
    class Aborting(Recorder):
        def got(self, data: bytes) -> None:
            super().got(data)
            self.transport.abort()

    async def main() -> None:
        for factory in (Aborting, type("BufferedAborting", (Aborting, Buffered), {})):
            _, protocol, peer = await connect(factory)
            await peer.write(NOISE[:100_000])
            assert await protocol.lost is None
            assert protocol.calls == ["made", "data", ("lost", None)]
            peer.close()

    run(main())


@pytest.mark.saburo_only  # and asyncio from 3.12 on
def test_force_close_tells_why(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        transport._force_close(LookupError("because"))
        assert isinstance(await protocol.lost, LookupError)
        peer.close()

    run(main())


# ---- time limits ----


def test_a_peer_that_never_says_goodbye_is_not_waited_for(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect(ssl_shutdown_timeout=0.05)
        transport.close()
        assert await peer.read_all() == b""
        error = await protocol.lost
        assert type(error) is TimeoutError
        assert str(error) == "SSL shutdown timed out"
        assert protocol.calls == ["made", ("lost", "TimeoutError")]
        peer.close()

    run(main())


@pytest.mark.parametrize("close_first", [True, False], ids=["closed", "open"])
@pytest.mark.saburo_only  # and asyncio of the newest releases of 3.14 and later
def test_a_peer_that_does_not_read_is_not_waited_for(run: Run, close_first: bool) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect(ssl_shutdown_timeout=0.05)
        await fill(transport, protocol)
        if close_first:
            transport.close()
        peer.sock.shutdown(socket.SHUT_WR)
        error = await protocol.lost
        assert type(error) is TimeoutError
        assert str(error) == "SSL shutdown timed out"
        peer.close()

    run(main())


def test_a_clean_end_leaves_no_timer(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect(ssl_shutdown_timeout=3600)
        context = weakref.ref(transport.get_extra_info("sslcontext"))
        transport.close()
        await peer.read_all()
        await peer.unwrap()
        await protocol.lost
        peer.close()
        del transport, protocol, peer
        for _ in range(3):
            await asyncio.sleep(0)
        gc.collect()
        assert context() is None

    run(main())


# ---- nobody closed it ----


def test_a_transport_nobody_closed_says_so(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        await asyncio.sleep(0)  # who has waited for the handshake lets go of it
        lower = transport._ssl_protocol._transport
        ref = weakref.ref(transport)
        # The loop forgets the connection below without a word, as it does when it is closed itself.
        lower.set_protocol(asyncio.Protocol())
        del transport, protocol.transport
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            gc.collect()
        assert ref() is None
        (warning,) = caught
        assert warning.category is ResourceWarning
        assert str(warning.message) == ("unclosed transport <asyncio._SSLProtocolTransport object>")
        lower.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        peer.close()

    run(main())


def test_a_transport_whose_connection_is_lost_says_nothing(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        peer.close()
        await protocol.lost
        del transport, protocol, peer
        gc.collect()

    run(main())


def test_in_debug_mode_the_end_of_the_stream_is_logged(run: Run, caplog: Any) -> None:
    async def main() -> None:
        _, protocol, peer = await connect()
        peer.close()
        await protocol.lost

    with caplog.at_level(logging.DEBUG, "asyncio"):
        run(main(), debug=True)
    messages = [record.getMessage() for record in caplog.records]
    # Of the connection, and of TLS above it.
    assert len([message for message in messages if message.endswith(" received EOF")]) == 2


def test_in_debug_mode_an_error_of_tls_is_logged(run: Run, caplog: Any) -> None:
    async def main() -> None:
        _, protocol, peer = await connect()
        await peer.loop.sock_sendall(peer.sock, b"please corrupt this")
        await protocol.lost
        peer.close()

    with caplog.at_level(logging.DEBUG, "asyncio"):
        run(main(), debug=True)
    (record,) = (r for r in caplog.records if "Fatal error on SSL protocol" in r.getMessage())
    assert record.levelno == logging.DEBUG
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ssl.SSLError)


# ---- the pair of them ----


@both_kinds
def test_a_thousand_turns_of_life_and_death(run: Run, factory: Any) -> None:
    """Whatever happens in whatever order: connection_lost once, and nothing afterwards."""
    import random

    chance = random.Random(51)

    async def one(steps: list[str]) -> None:
        begun, peer = begin(factory, ssl_shutdown_timeout=0.2)
        (transport, protocol), _ = await asyncio.gather(begun, peer.handshake())
        for step in steps:
            try:
                match step:
                    case "write":
                        transport.write(NOISE[: chance.randrange(1, 40_000)])
                    case "peer writes" if not peer.tls.pending():
                        await peer.write(NOISE[: chance.randrange(1, 4000)])
                    case "pause":
                        transport.pause_reading()
                    case "resume":
                        transport.resume_reading()
                    case "turn":
                        await asyncio.sleep(0)
                    case "close" | "abort" if not transport.is_closing():
                        getattr(transport, step)()
                    case "peer says goodbye":
                        await peer.loop.sock_sendall(peer.sock, peer.goodbye())
                    case "peer half-closes":
                        peer.sock.shutdown(socket.SHUT_WR)
            except (OSError, ssl.SSLError):
                pass  # the connection is gone already, which is fine
        transport.resume_reading()
        if not transport.is_closing():
            transport.close()
        peer.close()
        await protocol.lost
        for _ in range(3):
            await asyncio.sleep(0)
        names = [call if isinstance(call, str) else call[0] for call in protocol.calls]
        assert names[0] == "made"
        assert names[-1] == "lost"
        assert names.count("lost") == 1
        assert names.count("eof") <= 1
        assert "data" not in names[names.index("eof") :] if "eof" in names else True

    async def main() -> None:
        choices = [
            "write",
            "peer writes",
            "pause",
            "resume",
            "turn",
            "turn",
            "close",
            "abort",
            "peer says goodbye",
            "peer half-closes",
        ]
        for _ in range(60):
            await one(chance.choices(choices, k=chance.randrange(1, 10)))

    run(main())


def test_the_helpers_close(run: Run) -> None:
    async def main() -> None:
        await close(*await connect())

    run(main())
