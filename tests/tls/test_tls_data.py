"""What goes through a connection with TLS: every byte, in order, in records of a sensible size."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from support.both_loops import turn
from support.certificates import certificates
from support.tls_peer import (
    Buffered,
    Peer,
    Recorder,
    both_kinds,
    both_sides,
    both_versions,
    close,
    connect,
)

Run = Callable[..., Any]


NOISE = random.Random("saburo").randbytes(3_000_000)


def records(ciphertext: bytes) -> list[int]:
    """How many bytes each record of application data carries, its cipher's share included."""
    lengths = []
    while ciphertext:
        kind, length = ciphertext[0], int.from_bytes(ciphertext[3:5], "big")
        assert kind in range(20, 24)
        if kind == 23:
            lengths.append(length)
        ciphertext = ciphertext[5 + length :]
    return lengths


async def ciphertext(peer: Peer, count: int) -> bytes:
    """What comes in while `count` bytes of plaintext do."""
    seen = bytearray()
    write = peer.incoming.write

    class Watching:
        """Looks at what is fed."""

        def write(self, data: bytes) -> int:
            seen.extend(data)
            return write(data)

    peer.incoming = Watching()  # type: ignore[assignment]
    await peer.read_exactly(count)
    return bytes(seen)


# ---- both ways ----


@both_kinds
@both_versions
@both_sides
def test_bytes_of_any_number_go_both_ways(
    run: Run, factory: Any, version: ssl.TLSVersion, server_side: bool
) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect(factory, server_side=server_side, version=version)
        total = 0
        for size in (1, 2, 1000, 16_383, 16_384, 16_385, 40_000, 100_000):
            transport.write(NOISE[:size])
            assert await peer.read_exactly(size) == NOISE[:size]
            await peer.write(NOISE[:size])
            total += size
            assert (await protocol.arrived(total))[-size:] == NOISE[:size]
        await close(transport, protocol, peer)

    run(main())


@both_kinds
@both_sides
def test_megabytes_go_both_ways_at_once(run: Run, factory: Any, server_side: bool) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect(factory, server_side=server_side)
        transport.write(NOISE)

        async def send() -> None:
            for start in range(0, len(NOISE), 50_000):
                await peer.write(NOISE[start : start + 50_000])

        sending = asyncio.create_task(send())
        assert await peer.read_exactly(len(NOISE)) == NOISE
        await sending
        assert await protocol.arrived(len(NOISE)) == NOISE
        await close(transport, protocol, peer)

    run(main())


@both_kinds
def test_one_byte_of_ciphertext_at_a_time(run: Run, factory: Any) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect(factory)
        for byte in peer.encrypted(b"first") + peer.encrypted(b"second"):
            await peer.loop.sock_sendall(peer.sock, bytes([byte]))
            await asyncio.sleep(0)
        assert await protocol.arrived(11) == b"firstsecond"
        assert protocol.pieces == [5, 6]
        await close(transport, protocol, peer)

    run(main())


@both_kinds
def test_ciphertext_cut_anywhere(run: Run, factory: Any) -> None:
    async def main() -> None:
        chance = random.Random(15)
        transport, protocol, peer = await connect(factory)
        total = 0
        for _ in range(60):
            sizes = [chance.choice([1, 5, 50, 1000, 16_384]) for _ in range(chance.randrange(1, 4))]
            sent = b"".join(peer.encrypted(NOISE[:size]) for size in sizes)
            total += sum(sizes)
            while sent:
                cut = chance.choice([1, 4, 5, 6, 100, 16_406, 70_000])
                await peer.loop.sock_sendall(peer.sock, sent[:cut])
                sent = sent[cut:]
                await asyncio.sleep(0)
        await protocol.arrived(total)
        assert len(protocol.received) == total
        await close(transport, protocol, peer)

    run(main())


def test_records_that_arrive_together_are_handed_over_together(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        sent = b"".join(peer.encrypted(piece) for piece in (b"a", b"bc", NOISE[:20_000], b"d"))
        await peer.loop.sock_sendall(peer.sock, sent)
        await protocol.arrived(20_004)
        assert protocol.pieces == [20_004]
        await close(transport, protocol, peer)

    run(main())


def test_an_application_that_never_reads_a_piece_is_not_asked_again(run: Run) -> None:
    """Half a record brings nothing, and no turn is spent on it."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        transport, protocol, peer = await connect(Buffered)
        protocol.hints.clear()
        sent = peer.encrypted(b"x" * 5000)
        await loop.sock_sendall(peer.sock, sent[:4000])
        for _ in range(20):
            await asyncio.sleep(0)
        await loop.sock_sendall(peer.sock, sent[4000:])
        await protocol.arrived(5000)
        assert protocol.pieces == [1000] * 5
        await close(transport, protocol, peer)

    run(main())


@both_sides
def test_tls_1_3_changes_its_keys(run: Run, server_side: bool) -> None:
    """After enough records, or asked by the peer: nobody notices."""

    async def main() -> None:
        transport, protocol, peer = await connect(server_side=server_side)
        for index in range(300):
            transport.write(b"%d" % index)
            await peer.read()
        await close(transport, protocol, peer)

    run(main())


# ---- what leaves, and when ----


@pytest.mark.saburo_only
def test_what_is_written_in_a_turn_is_one_record(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        for index in range(100):
            transport.write(b"%02d" % index)
        transport.writelines([b"a", bytearray(b"b"), memoryview(b"cd")])
        expected = b"".join(b"%02d" % index for index in range(100)) + b"abcd"
        (length,) = records(await ciphertext(peer, len(expected)))
        assert length < len(expected) + 40
        await close(transport, protocol, peer)

    run(main())


@pytest.mark.saburo_only
def test_what_data_received_writes_is_one_record(run: Run) -> None:
    class Answering(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(b"a header, ")
            self.transport.write(b"and a body")

    async def main() -> None:
        transport, protocol, peer = await connect(Answering)
        await peer.write(b"?")
        assert len(records(await ciphertext(peer, 20))) == 1
        await close(transport, protocol, peer)

    run(main())


def test_large_writes_fill_records(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        transport.write(NOISE[:100_000])
        lengths = records(await ciphertext(peer, 100_000))
        assert len(lengths) == 7  # ceil(100,000 / 16 KiB)
        await close(transport, protocol, peer)

    run(main())


@pytest.mark.saburo_only
def test_small_writes_behind_each_other_fill_records(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        for start in range(0, 50_000, 50):
            transport.write(NOISE[start : start + 50])
        lengths = records(await ciphertext(peer, 50_000))
        assert len(lengths) == 4
        await close(transport, protocol, peer)

    run(main())


@pytest.mark.parametrize("size", [10, 20_000, 1_000_000])
def test_what_may_change_is_written_as_it_was(run: Run, size: int) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        reading = asyncio.create_task(peer.read_exactly(3 * size))
        for _ in range(3):
            data = bytearray(NOISE[:size])
            transport.write(data)
            data[:] = bytes(size)
            data.clear()
        assert await reading == NOISE[:size] * 3
        data = bytearray(NOISE[:size])
        reading = asyncio.create_task(peer.read_exactly(2 * size))
        transport.write(memoryview(data))
        transport.writelines([memoryview(NOISE)[:size]])
        assert await reading == NOISE[:size] * 2
        data.clear()
        await close(transport, protocol, peer)

    run(main())


def test_what_is_no_bytes_is_refused(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        for wrong in ("text", 1, None, [b"x"]):
            with pytest.raises(TypeError) as caught:
                transport.write(wrong)
            assert str(caught.value) == (
                f"data: expecting a bytes-like instance, got {type(wrong).__name__}"
            )
        for empty in (b"", bytearray(), memoryview(b"")):
            transport.write(empty)
        with pytest.raises(TypeError):
            transport.writelines(1)
        transport.writelines([])
        transport.write(b"still there")
        assert await peer.read_exactly(11) == b"still there"
        await close(transport, protocol, peer)

    run(main())


def test_writelines_of_what_is_no_bytes_ends_the_connection(run: Run) -> None:
    async def main() -> list[Any]:
        reports: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: reports.append(context)
        )
        transport, protocol, peer = await connect()
        transport.writelines([b"good", "bad"])
        error = await protocol.lost
        assert isinstance(error, TypeError)
        peer.close()
        return reports

    (report,) = run(main())
    assert report["message"] == "Fatal error on SSL protocol"
    assert str(report["exception"]) == "a bytes-like object is required, not 'str'"
    assert set(report) == {"message", "exception", "transport", "protocol"}


def test_the_write_end_cannot_be_closed_alone(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        assert transport.can_write_eof() is False
        with pytest.raises(NotImplementedError) as caught:
            transport.write_eof()
        assert caught.value.args == ()
        await close(transport, protocol, peer)

    run(main())


# ---- flow control ----


async def fill(transport: Any, protocol: Recorder, chunk: bytes = NOISE[:65_536]) -> int:
    """Writes until the transport says stop; how much that was."""
    written = 0
    while "pause" not in protocol.calls:
        transport.write(chunk)
        written += len(chunk)
        await asyncio.sleep(0)
    return written


def test_a_protocol_is_paused_and_goes_on(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        assert transport.get_write_buffer_limits() == (128 * 1024, 512 * 1024)
        written = await fill(transport, protocol)
        assert protocol.calls == ["made", "pause"]
        assert transport._protocol_paused
        assert transport.get_write_buffer_size() >= 512 * 1024
        await peer.read_exactly(written)
        while protocol.calls[-1] != "resume":
            await asyncio.sleep(0)
        assert protocol.calls == ["made", "pause", "resume"]
        assert not transport._protocol_paused
        assert transport.get_write_buffer_size() == 0
        await close(transport, protocol, peer)

    run(main())


def test_the_marks_of_writing_can_be_set(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        transport.set_write_buffer_limits(high=1000, low=100)
        assert transport.get_write_buffer_limits() == (100, 1000)
        transport.set_write_buffer_limits(low=100)
        assert transport.get_write_buffer_limits() == (100, 400)
        transport.set_write_buffer_limits(high=float("inf"), low=0)
        assert transport.get_write_buffer_limits() == (0, float("inf"))
        transport.set_write_buffer_limits()
        assert transport.get_write_buffer_limits() == (128 * 1024, 512 * 1024)
        with pytest.raises(ValueError, match=r"^high \(1\) must be >= low \(2\) must be >= 0$"):
            transport.set_write_buffer_limits(high=1, low=2)
        with pytest.raises(ValueError, match=r"^high \(-4\) must be >= low \(-1\) must be >= 0$"):
            transport.set_read_buffer_limits(low=-1)
        await close(transport, protocol, peer)

    run(main())


def test_a_mark_of_zero_pauses_at_once(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        transport.set_write_buffer_limits(high=0)
        assert protocol.calls == ["made", "pause"]
        await close(transport, protocol, peer)

    run(main())


def test_errors_in_pausing_are_reported_and_do_no_harm(run: Run) -> None:
    class Failing(Recorder):
        def pause_writing(self) -> None:
            super().pause_writing()
            raise LookupError("pause")

        def resume_writing(self) -> None:
            super().resume_writing()
            raise LookupError("resume")

    async def main() -> list[Any]:
        reports: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: reports.append(context)
        )
        transport, protocol, peer = await connect(Failing)
        written = await fill(transport, protocol)
        await peer.read_exactly(written)
        while protocol.calls[-1] != "resume":
            await asyncio.sleep(0)
        assert [report["transport"] for report in reports] == [transport] * 2
        await close(transport, protocol, peer)
        return reports

    pause, resume = run(main())
    assert pause["message"] == "protocol.pause_writing() failed"
    assert resume["message"] == "protocol.resume_writing() failed"
    assert set(pause) == {"message", "exception", "transport", "protocol"}


@both_kinds
def test_nothing_arrives_while_reading_is_paused(run: Run, factory: Any) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect(factory)
        assert transport.is_reading()
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        await peer.write(b"waiting")
        while transport.get_read_buffer_size() == 0:
            await asyncio.sleep(0)
        assert protocol.calls == ["made"]
        transport.resume_reading()
        transport.resume_reading()
        assert transport.is_reading()
        assert protocol.calls == ["made"]  # not before the next turn
        assert await protocol.arrived(7) == b"waiting"
        assert transport.get_read_buffer_size() == 0
        await close(transport, protocol, peer)

    run(main())


@both_kinds
def test_a_peer_is_held_back_while_reading_is_paused(run: Run, factory: Any) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect(factory)
        assert transport.get_read_buffer_limits() == (64 * 1024, 256 * 1024)
        transport.pause_reading()
        sending = asyncio.create_task(peer.write(NOISE))
        below = transport.get_extra_info("socket")
        while transport.get_read_buffer_size() < 256 * 1024:
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert transport.get_read_buffer_size() < 1024 * 1024
        assert not sending.done()
        transport.resume_reading()
        await sending
        assert await protocol.arrived(len(NOISE)) == NOISE
        assert below.fileno() >= 0
        await close(transport, protocol, peer)

    run(main())


@both_kinds
def test_a_protocol_may_pause_at_every_piece(run: Run, factory: Any) -> None:
    class Pausing(factory):  # type: ignore[misc]
        def got(self, data: bytes) -> None:
            super().got(data)
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(0.0001, self.transport.resume_reading)

    async def main() -> None:
        transport, protocol, peer = await connect(Pausing)
        data = NOISE[: 40_000 if factory is Buffered else 1_000_000]
        sending = asyncio.create_task(peer.write(data))
        assert await protocol.arrived(len(data)) == data
        await sending
        await close(transport, protocol, peer)

    run(main())


def test_a_buffer_may_be_changed_for_each_piece(run: Run) -> None:
    class Changing(Buffered):
        def get_buffer(self, sizehint: int) -> memoryview:
            self.size = self.size * 7 % 5003 + 1
            self.buffer = bytearray(self.size)
            return memoryview(self.buffer)

    async def main() -> None:
        transport, protocol, peer = await connect(Changing)
        await peer.write(NOISE[:200_000])
        assert await protocol.arrived(200_000) == NOISE[:200_000]
        await close(transport, protocol, peer)

    run(main())


BAD_BUFFERS: dict[str, tuple[Any, str]] = {
    "none": (None, "TypeError"),
    "read-only": (b"x" * 100, "BufferError|TypeError"),
}


@pytest.mark.parametrize("which", BAD_BUFFERS)
def test_a_bad_buffer_ends_the_connection(run: Run, which: str) -> None:
    buffer, expected = BAD_BUFFERS[which]

    class Bad(Buffered):
        """At first a good one: asyncio asks before anything is there."""

        bad = False

        def get_buffer(self, sizehint: int) -> Any:
            return buffer if self.bad else super().get_buffer(sizehint)

    async def main() -> list[Any]:
        reports: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: reports.append(context)
        )
        _, protocol, peer = await connect(Bad)
        protocol.bad = True
        await peer.write(b"x")
        error = await protocol.lost
        assert type(error).__name__ in expected.split("|")
        peer.close()
        return reports

    (report,) = run(main())
    assert report["message"] == "Fatal error on SSL protocol"


def test_an_error_in_data_received_ends_the_connection(run: Run) -> None:
    class Failing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(b"last words")
            raise LookupError("no")

    async def main() -> list[Any]:
        reports: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: reports.append(context)
        )
        _, protocol, peer = await connect(Failing)
        await peer.write(b"x")
        # What it had written before has left.
        assert await peer.read_exactly(10) == b"last words"
        error = await protocol.lost
        assert isinstance(error, LookupError)
        assert protocol.calls == ["made", "data", ("lost", "LookupError")]
        assert await peer.is_closed()
        peer.close()
        return reports

    (report,) = run(main())
    assert report["message"] == "Fatal error on SSL protocol"
    assert isinstance(report["exception"], LookupError)


def test_a_protocol_may_be_replaced(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect()
        other = Buffered()
        transport.set_protocol(other)
        assert transport.get_protocol() is other
        await peer.write(NOISE[:5000])
        await other.arrived(5000)
        assert protocol.calls == ["made"]
        transport.set_protocol(protocol)
        await peer.write(b"x")
        await protocol.arrived(1)
        transport.abort()
        await protocol.lost
        assert transport.get_protocol() is None
        peer.close()

    run(main())


def test_garbage_instead_of_a_record_ends_the_connection(run: Run) -> None:
    for garbage in (
        b"please corrupt this",
        b"\x17\x03\x03\x00\x20" + bytes(32),
        b"\x17\x03\x03\xff\xff",
    ):

        async def main(garbage: bytes = garbage) -> None:
            transport, protocol, peer = await connect()
            await peer.loop.sock_sendall(peer.sock, garbage)
            error = await protocol.lost
            assert isinstance(error, ssl.SSLError)
            assert protocol.calls == ["made", ("lost", "SSLError")]
            assert transport.is_closing()
            peer.close()

        run(main())


# ---- turns ----


def test_nothing_keeps_an_idle_connection_busy(loop: Any) -> None:
    """Neither half a record, nor a full buffer, nor a peer that does not read costs turns."""
    transport, protocol, peer = loop.run_until_complete(connect(Buffered))

    def calls() -> int:
        """How many callbacks are queued while nothing happens."""
        count = 0
        call_soon = loop.call_soon

        def counting(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            return call_soon(*args, **kwargs)

        loop.call_later(0.03, loop.stop)
        loop.call_soon = counting
        try:
            loop.run_forever()
        finally:
            del loop.call_soon
        return count

    peer.sock.send(peer.encrypted(b"x" * 5000)[:3000])
    turn(loop, 3)
    assert calls() == 0
    loop.run_until_complete(fill(transport, protocol))
    turn(loop, 3)
    assert calls() == 0
    loop.run_until_complete(close(transport, protocol, peer))


class Exclusive(ssl.SSLObject):
    """Lets somebody write while it reads."""

    meanwhile: Any = None
    reading = False
    written_while_reading = 0

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        self.reading = True
        if self.meanwhile is not None:
            call, self.meanwhile = self.meanwhile, None
            call()
        try:
            return super().read(len, buffer) if buffer is not None else super().read(len)
        finally:
            self.reading = False

    def write(self, data: Any) -> int:
        self.written_while_reading += self.reading
        return super().write(data)


@pytest.mark.saburo_only
@both_kinds
def test_what_is_written_while_openssl_reads_is_encrypted_after(run: Run, factory: Any) -> None:
    """On asyncio a thread that breaks the rules is in OpenSSL at the same time."""

    async def main() -> None:
        context = certificates().client()
        context.sslobject_class = Exclusive
        transport, protocol, peer = await connect(factory, context=context)
        tls = transport.get_extra_info("ssl_object")
        tls.meanwhile = lambda: transport.write(NOISE[:100_000])
        await peer.write(b"question")
        assert await peer.read_exactly(100_000) == NOISE[:100_000]
        assert await protocol.arrived(8) == b"question"
        assert tls.meanwhile is None
        assert tls.written_while_reading == 0
        await close(transport, protocol, peer)

    run(main())
