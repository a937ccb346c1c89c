"""Datagrams arrive whole and in order, and what goes wrong is told once."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import gc
import os
import re
import socket
import sys
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.both_loops import Kind, comparable, run_until, turn
from support.datagrams import Full, Recorder, bare, close, endpoint, takes_empty
from support.network import DerivedSocket
from support.reports import collect_reports
from support.waiting import wait

Run = Callable[..., Any]


# ---- there and back ----


def test_borders_and_order_are_kept(run: Run, kind: Kind) -> None:
    async def main() -> None:
        there, server = await endpoint()
        here, _ = await endpoint(remote_addr=there.get_extra_info("sockname"))
        sent = [b"%03d" % number * (number + 1) for number in range(100)]
        for data in sent:
            here.sendto(data)
        assert [(await wait(server.received.get()))[0] for _ in sent] == sent
        await close(here, there)

    run(main())


def test_an_empty_datagram_is_one(run: Run, kind: Kind) -> None:
    async def main() -> None:
        there, server = await endpoint()
        here, _ = await endpoint(remote_addr=there.get_extra_info("sockname"))
        here.sendto(b"")
        here.sendto(b"not empty")
        if takes_empty(kind):
            assert (await wait(server.received.get()))[0] == b""
        assert (await wait(server.received.get()))[0] == b"not empty"
        await close(here, there)

    run(main())


def test_the_largest_datagram_arrives_and_a_larger_one_is_an_error(run: Run) -> None:
    async def main() -> None:
        there, server = await endpoint()
        here, client = await endpoint()
        to = there.get_extra_info("sockname")
        here.sendto(b"x" * 65507, to)
        assert (await wait(server.received.get()))[0] == b"x" * 65507
        here.sendto(b"x" * 65508, to)
        error = client.errors.get_nowait()
        assert isinstance(error, OSError)
        assert error.errno == errno.EMSGSIZE
        assert str(error) == f"[Errno {errno.EMSGSIZE}] {os.strerror(errno.EMSGSIZE)}"
        here.sendto(b"still there", to)
        assert (await wait(server.received.get()))[0] == b"still there"
        await close(here, there)

    run(main())


@pytest.mark.saburo_only
@pytest.mark.parametrize("whose", [socket.socket, DerivedSocket])
def test_a_peer_without_a_name_gets_what_has_no_address(
    run: Run, whose: type[socket.socket]
) -> None:
    """asyncio asks for the peer's name, finds it empty, and wants an address with each datagram."""

    async def main() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        transport, protocol = await endpoint(sock=whose(fileno=ours.detach()))
        with theirs:
            theirs.send(b"hello")
            assert await wait(protocol.received.get()) == (b"hello", None)
            assert transport.get_extra_info("peername") == ""
            for data in (b"tea", bytearray(b"milk"), b""):
                transport.sendto(data)
                assert theirs.recv(100) == data
            transport.close()
            assert await wait(protocol.lost) is None

    run(main())


def test_an_address_given_with_a_peer_without_a_name_counts(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as third:
            third.bind(str(tmp_path / "third"))
            transport, protocol = await endpoint(sock=ours)
            transport.sendto(b"tea", str(tmp_path / "third"))
            assert third.recv(100) == b"tea"
            theirs.setblocking(False)
            with pytest.raises(BlockingIOError):
                theirs.recv(100)
            transport.close()
            await wait(protocol.lost)

    run(main())


def test_a_datagram_without_an_address_needs_a_peer(run: Run) -> None:
    async def main() -> None:
        transport, protocol = await endpoint(sock=bare())
        reports = collect_reports()
        transport.sendto(b"no")
        assert isinstance(await wait(protocol.lost), TypeError)
        assert [report["message"] for report in reports] == [
            "Fatal write error on datagram transport"
        ]

    run(main())


# ---- what the network answers ----


def test_nobody_there_is_told_to_the_protocol(run: Run) -> None:
    async def main() -> None:
        with bare() as gone:
            address = gone.getsockname()
        transport, protocol = await endpoint(remote_addr=address)
        transport.sendto(b"anybody?")
        error = await wait(protocol.errors.get())
        assert isinstance(error, ConnectionRefusedError)
        assert not transport.is_closing()
        # The second one is told by the call itself, or by the answer to it.
        with bare(address=address) as back:
            transport.sendto(b"now?")
            while True:
                try:
                    assert back.recv(10) == b"now?"
                    break
                except BlockingIOError:
                    await asyncio.sleep(0.001)
        await close(transport)
        assert protocol.calls == ["made", ConnectionRefusedError, ("lost", type(None))]

    run(main())


def test_an_error_in_datagram_received_is_told_within_it(run: Run) -> None:
    """The protocol is called while it is being called, in the same context."""

    async def main() -> None:
        class Answering(Recorder):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                super().datagram_received(data, addr)
                self.transport.sendto(b"x" * 70_000, addr)

        transport, protocol = await endpoint(Answering)
        with bare() as sock:
            sock.sendto(b"?", transport.get_extra_info("sockname"))
            await wait(protocol.errors.get())
        assert protocol.calls == ["made", b"?", OSError]
        await close(transport)

    run(main())


@pytest.mark.parametrize("method", ["datagram_received", "error_received"])
def test_what_a_callback_raises_is_reported_and_the_transport_goes_on(
    run: Run, method: str
) -> None:
    async def main() -> None:
        class Failing(Recorder):
            failures = 0

        def fail(self: Failing, *args: Any) -> None:
            getattr(Recorder, method)(self, *args)
            self.failures += 1
            if self.failures == 1:
                raise ValueError("once")

        setattr(Failing, method, fail)
        reports = collect_reports()
        with bare() as gone:
            nowhere = gone.getsockname()
        transport, protocol = await endpoint(Failing, remote_addr=nowhere)
        sock = bare(address=nowhere) if method == "datagram_received" else None
        for _ in range(2):
            if sock:
                sock.sendto(b"x", transport.get_extra_info("sockname"))
                await wait(protocol.received.get())
            else:
                transport.sendto(b"x")
                await wait(protocol.errors.get())
        assert [str(report["exception"]) for report in reports] == ["once"]
        assert reports[0]["message"].startswith("Exception in callback")
        assert not transport.is_closing()
        await close(transport)
        if sock:
            sock.close()

    run(main())


@pytest.mark.parametrize("method", ["connection_made", "connection_lost"])
def test_what_the_first_or_last_call_raises_is_reported(run: Run, method: str) -> None:
    async def main() -> None:
        class Failing(Recorder):
            pass

        def fail(self: Failing, *args: Any) -> None:
            getattr(Recorder, method)(self, *args)
            raise ValueError(method)

        setattr(Failing, method, fail)
        reports = collect_reports()
        transport, protocol = await endpoint(Failing)
        with bare() as sock:
            sock.sendto(b"x", transport.get_extra_info("sockname"))
            await wait(protocol.received.get())
        number = transport.get_extra_info("socket").fileno()
        await close(transport)
        assert [str(report["exception"]) for report in reports] == [method]
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)

    run(main())


def test_an_interrupt_in_a_callback_ends_the_run_and_nothing_is_lost(
    loop: asyncio.AbstractEventLoop,
) -> None:
    class Interrupting(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            if data == b"2":
                raise KeyboardInterrupt

    transport, protocol = loop.run_until_complete(endpoint(Interrupting))
    with bare() as sock:
        for data in (b"1", b"2", b"3", b"4"):
            sock.sendto(data, transport.get_extra_info("sockname"))
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert protocol.calls == ["made", b"1", b"2"]
        run_until(loop, lambda: len(protocol.calls) == 5)
    loop.run_until_complete(close(transport))


# ---- reading ----


@pytest.mark.as_since(3, 11, 4)
def test_pausing_keeps_what_arrives_for_later(run: Run) -> None:
    async def main() -> None:
        transport, protocol = await endpoint()
        assert transport.is_reading()
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        with bare() as sock:
            for data in (b"1", b"2"):
                sock.sendto(data, transport.get_extra_info("sockname"))
            await asyncio.sleep(0.01)
            assert protocol.calls == ["made"]
            transport.resume_reading()
            transport.resume_reading()
            for data in (b"1", b"2"):
                assert (await wait(protocol.received.get()))[0] == data
        await close(transport)
        assert not transport.is_reading()
        transport.pause_reading()
        transport.resume_reading()

    run(main())


@pytest.mark.as_since(3, 11, 4)
@pytest.mark.parametrize("how", ["pause_reading", "close", "abort"])
def test_it_holds_at_once_in_a_callback(run: Run, how: str) -> None:
    async def main() -> None:
        class OneOnly(Recorder):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                super().datagram_received(data, addr)
                getattr(self.transport, how)()

        transport, protocol = await endpoint(OneOnly)
        with bare() as sock:
            for data in (b"1", b"2", b"3"):
                sock.sendto(data, transport.get_extra_info("sockname"))
            await wait(protocol.received.get())
            await asyncio.sleep(0.01)
            assert protocol.calls[:2] == ["made", b"1"]
            assert b"2" not in protocol.calls
        await close(transport)

    run(main())


@pytest.mark.as_since(3, 11, 4)
def test_what_a_callback_schedules_comes_before_the_next_datagram(run: Run) -> None:
    async def main() -> None:
        class Scheduling(Recorder):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                self.calls.append(data)
                asyncio.get_running_loop().call_soon(self.calls.append, f"after {data.decode()}")

        transport, protocol = await endpoint(Scheduling)
        transport.pause_reading()
        with bare() as sock:
            for data in (b"1", b"2", b"3"):
                sock.sendto(data, transport.get_extra_info("sockname"))
        transport.resume_reading()
        while len(protocol.calls) < 7:
            await asyncio.sleep(0.001)
        expected = ["made", b"1", "after 1", b"2", "after 2", b"3", "after 3"]
        assert protocol.calls == expected
        await close(transport)

    run(main())


def test_stop_in_a_callback_ends_the_turn(loop: asyncio.AbstractEventLoop) -> None:
    class Stopping(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.calls.append(data)
            loop.stop()

    transport, protocol = loop.run_until_complete(endpoint(Stopping))
    with bare() as sock:
        for data in (b"1", b"2", b"3"):
            sock.sendto(data, transport.get_extra_info("sockname"))
        for expected in (b"1", b"2", b"3"):
            loop.run_forever()
            assert protocol.calls[-1] == expected
    loop.run_until_complete(close(transport))


@pytest.mark.saburo_only
def test_datagrams_that_wait_cost_few_turns(loop: asyncio.AbstractEventLoop) -> None:
    class Counting(asyncio.DatagramProtocol):
        received = 0

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.received += 1
            if self.received == 64:
                loop.stop()

    turns: list[None] = []
    always, readable = socket.socketpair()
    readable.send(b"x")
    # Called in each turn, and before the transport is, because it was readable before.
    loop.add_reader(always, turns.append, None)
    turn(loop)
    transport, protocol = loop.run_until_complete(endpoint(Counting))
    with bare() as sock:
        for _ in range(64):
            sock.sendto(b"x", transport.get_extra_info("sockname"))
    turns.clear()
    loop.run_forever()
    assert protocol.received == 64
    assert len(turns) <= 8
    loop.remove_reader(always)
    always.close()
    readable.close()
    loop.run_until_complete(close(transport))


# ---- the end ----


def test_closing_in_every_callback(run: Run) -> None:
    async def main() -> None:
        for method in ("connection_made", "datagram_received", "error_received", "connection_lost"):
            for how in ("close", "abort"):

                class Closing(Recorder):
                    pass

                def call(self: Any, *args: Any, method: str = method, how: str = how) -> None:
                    getattr(Recorder, method)(self, *args)
                    getattr(self.transport, how)()

                setattr(Closing, method, call)
                with bare() as other:
                    transport, protocol = await endpoint(Closing, remote_addr=other.getsockname())
                    other.sendto(b"x", transport.get_extra_info("sockname"))
                    if method == "datagram_received":
                        await wait(protocol.received.get())
                if method == "error_received":
                    await wait(protocol.received.get())
                    transport.sendto(b"x")
                if method == "connection_lost":
                    transport.close()
                assert await wait(protocol.lost) is None
                assert protocol.calls[0] == "made"
                assert protocol.calls[-1] == ("lost", type(None))
                assert repr(transport).split()[1] == "closed"

    run(main())


def test_between_close_and_the_last_call_the_socket_is_open(run: Run) -> None:
    """An endpoint without a destination of its own still sends; one with a destination does not."""

    async def main() -> None:
        there, server = await endpoint()
        to = there.get_extra_info("sockname")
        here, _ = await endpoint()
        connected, _ = await endpoint(remote_addr=to)
        for transport in (here, connected):
            transport.close()
            transport.sendto(b"one" if transport is here else b"none", to)
        here.sendto(b"two", to)
        for expected in (b"one", b"two"):
            assert (await wait(server.received.get()))[0] == expected
        await close(there)

    run(main())


@pytest.mark.saburo_only
def test_what_is_sent_after_the_end_is_lost_and_logged(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio logs it of a connected one; of another it raises an AttributeError about None."""

    async def main() -> None:
        for option, port in (("remote_addr", 9), ("local_addr", 0)):
            caplog.clear()
            transport, protocol = await endpoint(**{option: ("127.0.0.1", port)})
            transport.close()
            await wait(protocol.lost)
            for _ in range(4):
                transport.sendto(b"x", ("127.0.0.1", 9))
            assert not caplog.records
            transport.sendto(b"x", ("127.0.0.1", 9))
            assert [record.getMessage() for record in caplog.records] == [
                "socket.send() raised exception."
            ]

    run(main())


def test_sending_in_vain_is_logged(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        transport, protocol = await endpoint(remote_addr=("127.0.0.1", 9))
        transport.abort()
        for _ in range(4):
            transport.sendto(b"x")
        assert not caplog.records
        transport.sendto(b"x")
        assert caplog.records[0].getMessage() == "socket.send() raised exception."
        assert await wait(protocol.lost) is None

    run(main())


# ---- what it is, and what it says of itself ----


@pytest.mark.as_since(3, 11, 4)
def test_it_is_an_asyncio_transport(run: Run, kind: Kind) -> None:
    async def main() -> None:
        transport, protocol = await endpoint()
        assert isinstance(transport, asyncio.BaseTransport)
        assert isinstance(transport, asyncio.Transport)
        if kind.is_saburo or sys.version_info >= (3, 12):
            assert isinstance(transport, asyncio.DatagramTransport)
        assert transport.get_protocol() is protocol
        other = Recorder()
        transport.set_protocol(other)
        assert transport.get_protocol() is other
        with bare() as sock:
            sock.sendto(b"x", transport.get_extra_info("sockname"))
            await wait(other.received.get())
        with pytest.raises(NotImplementedError):
            transport.write(b"x")
        number = transport.get_extra_info("socket").fileno()
        shown = re.sub(r"^<\S+", "<…", repr(transport))
        assert shown == f"<… fd={number} read=polling write=<idle, bufsize=0>>"
        transport.pause_reading()
        transport.close()
        shown = re.sub(r"^<\S+", "<…", repr(transport))
        assert shown == f"<… closing fd={number} read=idle write=<idle, bufsize=0>>"
        assert await wait(other.lost) is None
        assert re.sub(r"^<\S+", "<…", repr(transport)) == f"<… closed fd={number}>"

    run(main())


def test_extra_info(run: Run) -> None:
    async def main() -> None:
        there, _ = await endpoint()
        here, _ = await endpoint(remote_addr=there.get_extra_info("sockname"))
        sock = here.get_extra_info("socket")
        assert type(sock).__name__ == "TransportSocket"
        assert here.get_extra_info("sockname") == sock.getsockname()
        assert here.get_extra_info("peername") == there.get_extra_info("sockname")
        assert there.get_extra_info("peername", "default") is None
        assert there.get_extra_info("colour") is None
        assert there.get_extra_info("colour", "blue") == "blue"
        name = here.get_extra_info("sockname")
        await close(here, there)
        assert here.get_extra_info("sockname") == name

    run(main())


def test_the_descriptor_is_for_the_transport_alone(run: Run, kind: Kind) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        sock = bare()
        transport, _ = await endpoint(sock=sock)
        message = re.escape(f"File descriptor {sock.fileno()!r} is used by transport {transport!r}")
        for method in ("add_reader", "remove_reader", "add_writer", "remove_writer"):
            args = [print] if method.startswith("add") else []
            with pytest.raises(RuntimeError, match=message):
                getattr(loop, method)(sock.fileno(), *args)
        with pytest.raises(RuntimeError, match="is used by transport"):
            await loop.sock_recvfrom(sock, 10)
        if kind.is_saburo or sys.version_info >= (3, 12):
            with pytest.raises(RuntimeError, match="is used by transport"):
                await endpoint(sock=sock)
        await close(transport)

    run(main())


def test_callbacks_run_in_the_context_it_was_made_in(run: Run) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def main() -> None:
        class Looking(Recorder):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                self.seen = [variable.get()]
                variable.set("lost")

            def datagram_received(self, data: bytes, addr: Any) -> None:
                self.seen.append(variable.get())
                variable.set("between datagrams")
                super().datagram_received(data, addr)

            def connection_lost(self, exc: Exception | None) -> None:
                self.seen.append(variable.get())
                super().connection_lost(exc)

        variable.set("made")
        transport, protocol = await endpoint(Looking)
        variable.set("closing")
        with bare() as sock:
            for _ in range(2):
                sock.sendto(b"x", transport.get_extra_info("sockname"))
                await wait(protocol.received.get())
        transport.close()
        await wait(protocol.lost)
        assert protocol.seen == ["made", "made", "between datagrams", "closing"]

    run(main())


@pytest.mark.as_since(3, 11, 4)
@pytest.mark.parametrize("debug", [False, True])
def test_debug_mode_says_the_same(run: Run, caplog: pytest.LogCaptureFixture, debug: bool) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_debug(debug)
        caplog.set_level("DEBUG", "asyncio")
        transport, protocol = await endpoint(local_addr=("127.0.0.1", 0))
        with bare() as sock:
            for _ in range(3):
                sock.sendto(b"x", transport.get_extra_info("sockname"))
            for _ in range(3):
                await wait(protocol.received.get())
        transport.pause_reading()
        transport.resume_reading()
        words = [comparable(record.getMessage()) for record in caplog.records]
        said = [line.split(">> ", 1)[-1] for line in words if "reading" in line]
        assert said == (["pauses reading", "resumes reading"] if debug else [])
        await close(transport)

    run(main())


# ---- nothing is left ----


def test_one_that_is_forgotten_says_so_and_closes_its_socket(
    loop: asyncio.AbstractEventLoop,
) -> None:
    transport, protocol = loop.run_until_complete(endpoint())
    number = transport.get_extra_info("socket").fileno()
    shown = re.sub(r"^<\S+", "", repr(transport)).partition(" read=")[0]
    loop.close()
    del transport, protocol
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    messages = [str(w.message) for w in caught if "unclosed transport" in str(w.message)]
    assert len(messages) == 1
    assert shown in messages[0]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_an_ended_one_is_freed_without_the_collector(run: Run) -> None:
    async def main() -> None:
        gc.disable()
        try:
            transport, protocol = await endpoint()
            await close(transport)
            gone = weakref.ref(transport)
            protocol.transport = None
            del transport, protocol
            assert gone() is None
        finally:
            gc.enable()

    run(main())


def test_a_cycle_through_an_open_one_and_its_loop_is_collected(
    new_loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    class Marker(str):
        """An address that only Python's sockets can read, and that refers to anything."""

    loop = new_loop()
    full = Full(tmp_path)
    transport, protocol = loop.run_until_complete(full.open())
    address = Marker(full.peer.getsockname())
    address.transport = transport  # type: ignore[attr-defined]
    transport.sendto(b"waits", address)
    protocol.loop = loop
    gone = [weakref.ref(thing) for thing in (loop, transport, protocol, address)]
    full.peer.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        loop.close()
        del loop, transport, protocol, address, full
        gc.collect()
    assert [ref() for ref in gone] == [None] * 4


def test_bytes_reach_the_endpoint_they_were_meant_for(run: Run) -> None:
    """Descriptors are closed and opened anew as fast as they can be, with events under way."""

    async def main() -> None:
        with bare() as sock:
            for round_ in range(100):
                transports = []
                for number in range(4):
                    transport, protocol = await endpoint()
                    transports.append((transport, protocol, b"%d-%d" % (round_, number)))
                for transport, _, mark in transports:
                    sock.sendto(mark, transport.get_extra_info("sockname"))
                # Its event may be on its way: nobody else gets it.
                transports[round_ % 4][0].abort()
                replaced, other = await endpoint()
                for index, (transport, protocol, mark) in enumerate(transports):
                    if index != round_ % 4:
                        assert (await wait(protocol.received.get()))[0] == mark
                    transport.close()
                replaced.close()
                await asyncio.sleep(0)
                assert other.received.empty()
                for _, protocol, mark in transports:
                    assert {call for call in protocol.calls if isinstance(call, bytes)} <= {mark}

    run(main())
