"""Connections with TLS and the collector: cycles are found, nothing is kept, nothing leaks."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import sys
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from support.both_loops import Kind
from support.certificates import certificates
from support.garbage import dead
from support.tls_peer import Buffered, Recorder, begin, close, connect
from test_tls_data import NOISE, fill

Run = Callable[..., Any]

STAGES = ["made", "handshaking", "open", "backlog", "reading paused", "half a record", "closing"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("close_loop", [True, False], ids=["closed", "forgotten"])
def test_a_loop_in_a_cycle_through_a_connection(kind: Kind, stage: str, close_loop: bool) -> None:
    """A protocol that knows its loop, which knows the connection: all of it goes."""
    loop = kind.new_loop()
    loop.set_exception_handler(lambda _loop, _context: None)
    refs: list[weakref.ref[Any]] = []
    peers = []

    class Anchored(Recorder):
        loop: Any

        def __init__(self) -> None:
            super().__init__()
            self.loop = asyncio.get_running_loop()
            refs.append(weakref.ref(self))

    async def main() -> None:
        if stage in ("made", "handshaking"):
            begun, peer = begin(Anchored)
            peers.append(peer)
            for _ in range(1 if stage == "made" else 5):
                await asyncio.sleep(0)
            begun.cancel()  # the connection is at this stage still
            return
        transport, protocol, peer = await connect(Anchored)
        peers.append(peer)
        transport.protocol = protocol
        refs.append(weakref.ref(transport))
        if stage == "backlog":
            await fill(transport, protocol)
        elif stage == "reading paused":
            transport.pause_reading()
            peer.sock.send(peer.encrypted(b"x" * 1000))
        elif stage == "half a record":
            peer.sock.send(peer.encrypted(b"x" * 1000)[:500])
        elif stage == "closing":
            transport.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    with warnings.catch_warnings():
        # Rightly: nobody has closed the transport, the socket or the loop.
        warnings.simplefilter("ignore", ResourceWarning)
        loop.run_until_complete(main())
        for peer in peers:
            peer.ours = None  # type: ignore[assignment]
            peer.close()
            del peer.loop
        if close_loop:
            loop.close()
        refs.append(weakref.ref(loop))
        del loop
        assert dead(*refs)


def test_a_closed_connection_goes_without_the_collector(run: Run) -> None:
    async def main() -> None:
        gc.disable()
        try:
            transport, protocol, peer = await connect()
            await asyncio.sleep(0)
            refs = [weakref.ref(transport), weakref.ref(transport._ssl_protocol)]
            transport.write(b"x" * 100)
            await peer.read()
            transport.close()
            await peer.read_all()
            await peer.unwrap()
            await protocol.lost
            await asyncio.sleep(0)
            del transport, protocol.transport
            assert [ref() for ref in refs] == [None, None]
        finally:
            gc.enable()
        peer.close()

    run(main())


@pytest.mark.saburo_only  # and asyncio of the newest releases
def test_a_failed_handshake_leaves_no_cycle(run: Run) -> None:
    async def main() -> None:
        context = certificates().client(trusting=certificates().stranger)
        ref = weakref.ref(context)
        begun, peer = begin(context=context)
        del context
        results = await asyncio.gather(begun, peer.handshake(), return_exceptions=True)
        assert isinstance(results[0], ssl.SSLError)
        peer.close()
        gc.disable()
        try:
            del begun, results
            for _ in range(3):
                await asyncio.sleep(0)
            assert ref() is None
        finally:
            gc.enable()

    run(main())


def test_a_connection_shows_what_it_holds(run: Run) -> None:
    async def main() -> None:
        context = certificates().client()
        transport, protocol, peer = await connect(context=context)
        tls = transport._ssl_protocol
        assert gc.is_tracked(transport)
        assert gc.is_tracked(tls)
        shown = gc.get_referents(tls)
        if hasattr(tls, "__dict__"):
            shown = list(vars(tls).values()) + list(vars(tls)["_extra"].values())
        for held in (
            asyncio.get_running_loop(),
            protocol,
            transport,
            context,
            transport.get_extra_info("ssl_object"),
            transport.get_extra_info("peercert"),
            tls._transport,
        ):
            assert any(each is held for each in shown), held
        await close(transport, protocol, peer)
        shown = gc.get_referents(tls)
        assert not any(each is protocol or each is transport for each in shown)

    run(main())


WITNESS: Any = type("Witness", (), {})()


@pytest.mark.saburo_only  # where references are counted; asyncio's are Python's
def test_nothing_leaks(run: Run) -> None:
    async def one(factory: Any, how: str) -> None:
        class Holding(factory):  # type: ignore[misc]
            witness = WITNESS

            def got(self, data: bytes) -> None:
                super().got(data)
                self.held = WITNESS

        transport, protocol, peer = await connect(Holding)
        transport.witness = WITNESS
        for size in (10, 40_000):
            transport.write(NOISE[:size])
            transport.write(memoryview(NOISE)[:size])
            await peer.read_exactly(2 * size)
            await peer.write(NOISE[:size])
        await protocol.arrived(40_010)
        for name in ("peercert", "cipher", "compression", "ssl_object", "socket", "nothing"):
            transport.get_extra_info(name)
        transport.set_write_buffer_limits(high=10)
        transport.get_write_buffer_limits()
        transport.pause_reading()
        transport.resume_reading()
        if how == "close":
            transport.close()
            await peer.read_all()
            await peer.unwrap()
        elif how == "garbage":
            peer.sock.send(b"this is no record of TLS")
        elif how == "leave":
            peer.close()
        else:
            transport.abort()
        await protocol.lost
        peer.close()

    async def main() -> tuple[int, int]:
        async def round_() -> None:
            for factory in (Recorder, Buffered):
                for how in ("close", "garbage", "leave", "abort"):
                    await one(factory, how)
            gc.collect()

        for _ in range(3):
            await round_()
        before = sys.getrefcount(WITNESS), len(gc.get_objects()), sys.getrefcount(None)
        for _ in range(5):
            await round_()
        after = sys.getrefcount(WITNESS), len(gc.get_objects()), sys.getrefcount(None)
        assert after[0] == before[0]
        assert abs(after[2] - before[2]) < 50
        return before[1], after[1]

    before, after = run(main())
    assert after - before < 50


def test_collecting_at_any_moment_is_harmless(run: Run) -> None:
    async def main() -> None:
        before = gc.get_threshold()
        gc.set_threshold(1, 1, 1)
        try:
            for factory in (Recorder, Buffered):
                transport, protocol, peer = await connect(factory)
                transport.write(NOISE[:20_000])
                await peer.write(NOISE[:20_000])
                await peer.read_exactly(20_000)
                await protocol.arrived(20_000)
                transport.close()
                await peer.read_all()
                await peer.unwrap()
                await protocol.lost
                peer.close()
        finally:
            gc.set_threshold(*before)

    run(main())


@pytest.mark.saburo_only
def test_a_protocol_of_tls_that_was_never_begun(run: Run) -> None:
    """Made without its arguments, or called out of order: an error, and no more."""
    import saburo

    async def main() -> None:
        made: Any = saburo._saburo.SSLProtocol.__new__(saburo._saburo.SSLProtocol)
        calls: list[Callable[[], object]] = [
            lambda: made.connection_made(asyncio.Transport()),
            made.eof_received,
            lambda: made._feed_early(b"x"),
        ]
        for call in calls:
            with pytest.raises(RuntimeError, match="__init__"):
                call()
        made.data_received(b"x")
        made.pause_writing()
        made.resume_writing()
        made.connection_lost(None)
        made._check_handshake_timeout()
        made._check_shutdown_timeout()
        made._do_read()
        made._resume()
        assert made._app_transport is None
        assert made._get_extra_info("socket", 1) == 1
        with pytest.raises(TypeError):
            type(made)()
        with pytest.raises(TypeError, match="cannot create"):
            saburo._saburo._SSLProtocolTransport()

    run(main())


def test_it_survives_a_socket_that_is_closed_behind_its_back(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        transport.write(b"x" * 1000)
        await protocol.lost
        peer.close()

    run(main())
