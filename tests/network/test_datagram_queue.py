"""Datagrams that the kernel has no room for wait, in order, and hold the protocol back."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.both_loops import Kind
from support.datagrams import Full, Recorder, close, endpoint, header
from support.reports import collect_reports
from support.waiting import wait

Run = Callable[..., Any]

# asyncio of 3.13 counts headers, and forgets to take them off again: it pauses, and never resumes.
pytestmark = [pytest.mark.saburo_only] if sys.version_info[:2] == (3, 13) else []


def test_what_the_kernel_has_no_room_for_waits_in_order(
    run: Run, kind: Kind, tmp_path: Path
) -> None:
    async def main() -> None:
        each = 100 + header(kind)
        full = Full(tmp_path)
        transport, protocol = await full.open()
        assert transport.get_write_buffer_size() == each
        for _ in range(9):
            full.send()
        assert transport.get_write_buffer_size() == 10 * each
        assert f"write=<polling, bufsize={10 * each}>" in repr(transport)
        assert await full.receive_all() == full.sent
        assert transport.get_write_buffer_size() == 0
        assert "write=<idle, bufsize=0>" in repr(transport)
        assert protocol.calls == ["made"]
        await close(transport)
        full.peer.close()

    run(main())


def test_the_protocol_pauses_above_the_high_mark_and_resumes_at_the_low_one(
    run: Run, kind: Kind, tmp_path: Path
) -> None:
    async def main() -> None:
        each = 100 + header(kind)

        class Watching(Recorder):
            def pause_writing(self) -> None:
                self.calls.append(("pause", self.transport.get_write_buffer_size()))

            def resume_writing(self) -> None:
                self.calls.append(("resume", self.transport.get_write_buffer_size()))

        full = Full(tmp_path, Watching)
        transport, protocol = await full.open(high=5 * each, low=0)
        assert transport.get_write_buffer_limits() == (0, 5 * each)
        for _ in range(4):
            full.send()
        assert protocol.calls == ["made"]
        full.send()
        full.send()
        assert protocol.calls == ["made", ("pause", 6 * each)]
        assert await full.receive_all() == full.sent
        assert protocol.calls == ["made", ("pause", 6 * each), ("resume", 0)]
        with pytest.raises(ValueError, match=r"^high \(1\) must be >= low \(2\) must be >= 0$"):
            transport.set_write_buffer_limits(high=1, low=2)
        await close(transport)
        full.peer.close()

    run(main())


def test_lowering_the_limits_pauses(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        full = Full(tmp_path)
        transport, protocol = await full.open()
        transport.set_write_buffer_limits(high=0)
        assert protocol.calls == ["made", "pause"]
        await full.receive_all()
        assert protocol.calls == ["made", "pause", "resume"]
        await close(transport)
        full.peer.close()

    run(main())


def test_a_buffer_that_changes_after_sendto_was_copied(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        full = Full(tmp_path)
        transport, _ = await full.open()
        for data in (bytearray(b"original"), memoryview(bytearray(b"original"))):
            full.sent.append(b"original")
            transport.sendto(data, full.peer.getsockname())
            data[:] = b"modified"
        full.sent.append(b"ace")
        transport.sendto(memoryview(b"abcdef")[::2], full.peer.getsockname())
        assert await full.receive_all() == full.sent
        await close(transport)
        full.peer.close()

    run(main())


def test_close_sends_everything_first_and_abort_does_not(
    run: Run, kind: Kind, tmp_path: Path
) -> None:
    async def main() -> None:
        for how in ("close", "abort"):
            (tmp_path / how).mkdir()
            full = Full(tmp_path / how)
            transport, protocol = await full.open()
            full.send()
            getattr(transport, how)()
            transport.close()
            assert transport.is_closing()
            assert transport.get_extra_info("socket").fileno() >= 0
            if how == "close":
                full.send()
                assert await full.receive_all() == full.sent
                assert await wait(protocol.lost) is None
            else:
                if kind.is_saburo:  # and from 3.15 on
                    assert transport.get_write_buffer_size() == 0
                assert await wait(protocol.lost) is None
                del full.sent[-2:]
                assert await full.receive_all() == full.sent
            assert protocol.calls == ["made", ("lost", type(None))]
            full.peer.close()

    run(main())


def test_an_error_of_one_that_waited_is_told_and_the_rest_goes_on(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        full = Full(tmp_path)
        transport, protocol = await full.open()
        nowhere = os.fspath(tmp_path / "nowhere")
        transport.sendto(b"lost", nowhere)
        full.send()
        assert await full.receive_all() == full.sent
        assert protocol.calls == ["made", FileNotFoundError]
        await close(transport)
        full.peer.close()

    run(main())


def test_a_mistake_that_waited_ends_the_transport(run: Run, kind: Kind, tmp_path: Path) -> None:
    async def main() -> None:
        reports = collect_reports()
        full = Full(tmp_path)
        transport, protocol = await full.open()
        transport.sendto(b"?", ("no", "path"))
        assert not reports
        assert len([await asyncio.get_running_loop().sock_recv(full.peer, 1000)]) == 1
        assert isinstance(await wait(protocol.lost), TypeError)
        await asyncio.sleep(0.01)
        assert reports[0]["message"] == "Fatal write error on datagram transport"
        if kind.is_saburo:
            # asyncio still waits for room, and then stumbles over its own end.
            assert len(reports) == 1
        full.peer.close()

    run(main())


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_a_failing_throttle_is_reported_and_does_no_harm(
    run: Run, method: str, tmp_path: Path
) -> None:
    async def main() -> None:
        class Failing(Recorder):
            pass

        def fail(self: Failing) -> None:
            raise ValueError(method)

        setattr(Failing, method, fail)
        reports = collect_reports()
        full = Full(tmp_path, Failing)
        transport, _ = await full.open(high=0)
        full.send()
        assert await full.receive_all() == full.sent
        while transport.get_write_buffer_size():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [report["message"] for report in reports] == [f"protocol.{method}() failed"]
        await close(transport)
        full.peer.close()

    run(main())


@pytest.mark.parametrize("how", ["close", "abort", "sendto"])
def test_what_resume_writing_does_counts(run: Run, how: str, tmp_path: Path) -> None:
    async def main() -> None:
        class Resuming(Recorder):
            def resume_writing(self) -> None:
                super().resume_writing()
                if how == "sendto":
                    if self.calls.count("resume") == 1:
                        full.send()
                else:
                    getattr(self.transport, how)()

        full = Full(tmp_path, Resuming)
        transport, protocol = await full.open(high=0)
        received = await full.receive_all()
        if how == "sendto":
            received += await full.receive_all()
            transport.close()
        assert received == full.sent
        await wait(protocol.lost)
        assert protocol.calls[:3] == ["made", "pause", "resume"]
        assert protocol.calls[-1] == ("lost", type(None))
        full.peer.close()

    run(main())


@pytest.mark.parametrize("at", [1, 2])
def test_a_socket_may_end_its_transport_while_it_sends(run: Run, kind: Kind, at: int) -> None:
    class Ending(socket.socket):
        calls = 0
        transport: Any = None

        def sendto(self, *args: Any) -> int:
            self.calls += 1
            if self.calls == at:
                self.transport.abort()
            raise BlockingIOError

    async def main() -> None:
        sock = Ending(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        transport, protocol = await endpoint(sock=sock)
        sock.transport = transport
        transport.sendto(b"x", ("127.0.0.1", 9))
        assert await wait(protocol.lost) is None
        assert protocol.calls == ["made", ("lost", type(None))]
        if kind.is_saburo:
            assert transport.get_write_buffer_size() == 0

    run(main())


@pytest.mark.saburo_only
def test_a_full_receiver_of_an_unconnected_socket_is_not_asked_all_the_time(
    run: Run, tmp_path: Path
) -> None:
    """The kernel says that there is room, which means the sender's own."""

    class Counting(socket.socket):
        attempts = 0

        def sendto(self, *args: Any) -> int:
            Counting.attempts += 1
            return super().sendto(*args)

    async def main() -> list[int]:
        path = str(tmp_path / "peer")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.bind(path)
            peer.setblocking(False)
            sender = Counting(socket.AF_UNIX, socket.SOCK_DGRAM)
            transport, _ = await endpoint(sock=sender)
            sent = 0
            while not transport.get_write_buffer_size():
                transport.sendto(b"%d" % sent, path)
                sent += 1
            before = Counting.attempts
            await asyncio.sleep(0.3)
            # After 1, 2, 4, ... 64 milliseconds, and then every 64.
            assert 1 <= Counting.attempts - before <= 20
            received: list[int] = []
            while len(received) < sent:
                try:
                    received.append(int(peer.recv(100)))
                except BlockingIOError:
                    await asyncio.sleep(0.001)
            assert transport.get_write_buffer_size() == 0
            # One that is closed while it waits sends the rest.
            while not transport.get_write_buffer_size():
                transport.sendto(b"%d" % sent, path)
                sent += 1
            transport.close()
            while len(received) < sent:
                try:
                    received.append(int(peer.recv(100)))
                except BlockingIOError:
                    await asyncio.sleep(0.001)
            return received

    received = run(main())
    assert received == list(range(len(received)))


@pytest.mark.saburo_only
def test_a_receiver_that_goes_while_it_is_full(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "peer")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.bind(path)
            transport, protocol = await endpoint(
                sock=socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            )
            while not transport.get_write_buffer_size():
                transport.sendto(b"tea", path)
            await asyncio.sleep(0.01)
        assert isinstance(await wait(protocol.errors.get()), ConnectionRefusedError)
        assert transport.get_write_buffer_size() == 0
        transport.abort()
        await wait(protocol.lost)

    run(main())
