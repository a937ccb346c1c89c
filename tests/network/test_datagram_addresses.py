"""Addresses of datagrams: written and read as Python's own sockets do it."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.datagrams import Recorder, bare, close, endpoint
from support.reports import collect_reports
from support.waiting import wait

Run = Callable[..., Any]


@pytest.fixture(params=["IPv4", "IPv6", "path", "abstract"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], socket.socket]]:
    """Makes bound sockets of a family."""
    made: list[socket.socket] = []

    def make() -> socket.socket:
        number = len(made)
        match request.param:
            case "IPv4":
                made.append(bare())
            case "IPv6":
                try:
                    made.append(bare(socket.AF_INET6, ("::1", 0)))
                except OSError as error:
                    pytest.skip(f"no IPv6 here: {error}")
            case "path":
                made.append(bare(socket.AF_UNIX, os.fspath(tmp_path / f"sök{number}")))
            case _:
                if sys.platform != "linux":
                    pytest.skip("names outside of the file system are Linux's")
                name = b"\0saburo\0test-%d-%d" % (os.getpid(), number)
                made.append(bare(socket.AF_UNIX, name))
        return made[-1]

    yield make
    for sock in made:
        sock.close()


def test_datagrams_come_back_to_their_sender(run: Run, place: Callable[[], socket.socket]) -> None:
    class Echo(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            self.transport.sendto(data, addr)

    async def main() -> None:
        there, server = await endpoint(Echo, sock=place())
        here, client = await endpoint(sock=place())
        address = here.get_extra_info("sockname")
        to = there.get_extra_info("sockname")
        for data in (b"tea", bytearray(b"for"), memoryview(b"-two-")[1:-1], b"x" * 2000):
            here.sendto(data, to)
            assert await wait(server.received.get()) == (bytes(data), address)
            assert await wait(client.received.get()) == (bytes(data), to)
        assert server.calls[0] == client.calls[0] == "made"
        await close(here, there)
        assert server.calls[-1] == client.calls[-1] == ("lost", type(None))

    run(main())


def test_each_of_several_clients_is_answered(run: Run, place: Callable[[], socket.socket]) -> None:
    async def main() -> None:
        there, server = await endpoint(sock=place())
        clients = [place() for _ in range(3)]
        to = there.get_extra_info("sockname")
        # Some write twice in a row, and none is answered before another one has written.
        writers = [clients[number] for number in (0, 0, 1, 0, 2, 2, 1, 1, 0)]
        for number, client in enumerate(writers):
            client.sendto(b"%d" % number, to)
        seen = [await wait(server.received.get()) for _ in writers]
        assert [addr for _, addr in seen] == [client.getsockname() for client in writers]
        for data, addr in [*seen, *reversed(seen)]:
            there.sendto(data, addr)
        loop: Any = asyncio.get_running_loop()
        for number, client in enumerate(writers):
            assert await wait(loop.sock_recvfrom(client, 10)) == (b"%d" % number, to)
        for number, client in reversed([*enumerate(writers)]):
            assert await wait(loop.sock_recvfrom(client, 10)) == (b"%d" % number, to)
        await close(there)

    run(main())


def test_addresses_are_what_pythons_sockets_say(
    run: Run, place: Callable[[], socket.socket]
) -> None:
    async def main() -> None:
        transport, protocol = await endpoint(sock=place())
        sender, witness = place(), place()
        for receiver in (transport.get_extra_info("sockname"), witness.getsockname()):
            sender.sendto(b"x", receiver)
        _, seen = await wait(protocol.received.get())
        loop: Any = asyncio.get_running_loop()
        _, expected = await wait(loop.sock_recvfrom(witness, 10))
        assert seen == expected == sender.getsockname()
        assert type(seen) is type(expected)
        await close(transport)

    run(main())


def test_any_kind_of_socket_that_keeps_borders_will_do(run: Run) -> None:
    async def main() -> None:
        netlink = getattr(socket, "AF_NETLINK", None)
        try:
            sock = socket.socket(netlink or -1, socket.SOCK_RAW, 0)
        except OSError as error:
            pytest.skip(f"no routing messages here: {error}")
        sock.setblocking(False)
        sock.bind((0, 0))
        # By its maker, since older asyncios let nothing but UDP through the front door.
        loop: Any = asyncio.get_running_loop()
        protocol = Recorder()
        transport = loop._make_datagram_transport(sock, protocol)
        # RTM_GETLINK, as a request for all of them.
        request = struct.pack("=IHHIIBxxxiII", 32, 18, 0x301, 1, 0, 0, 0, 0, 0)
        transport.sendto(request, (0, 0))
        data, sender = await wait(protocol.received.get())
        assert sender == (0, 0)
        assert struct.unpack_from("=IHHII", data)[3] == 1
        assert transport.get_extra_info("sockname") == sock.getsockname()
        await close(transport)

    run(main())


def test_a_socket_class_of_ones_own_sends_and_receives(run: Run) -> None:
    class Rot(socket.socket):
        def sendto(self, data: Any, *rest: Any) -> int:
            return super().sendto(bytes(data)[::-1], *rest)

        def recvfrom(self, *args: Any) -> Any:
            data, sender = super().recvfrom(*args)
            return data.upper(), sender

    async def main() -> None:
        sock = Rot(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        transport, protocol = await endpoint(sock=sock)
        other, received = await endpoint()
        transport.sendto(b"abc", other.get_extra_info("sockname"))
        assert (await wait(received.received.get()))[0] == b"cba"
        other.sendto(b"def", transport.get_extra_info("sockname"))
        assert (await wait(protocol.received.get()))[0] == b"DEF"
        await close(transport, other)

    run(main())


# ---- addresses given to sendto() ----


def test_a_connected_endpoint_takes_no_other_address(run: Run) -> None:
    async def main() -> None:
        there, server = await endpoint()
        address = there.get_extra_info("sockname")
        here, _ = await endpoint(remote_addr=address)
        assert here.get_extra_info("peername") == address
        here.sendto(b"1")
        here.sendto(b"2", None)
        here.sendto(b"3", address)
        here.sendto(b"4", addr=(address[0], int(str(address[1]))))
        message = re.escape(f"Invalid address: must be None or {address}")
        with pytest.raises(ValueError, match=f"^{message}$"):
            here.sendto(b"5", ("127.0.0.1", 9))
        assert [(await wait(server.received.get()))[0] for _ in range(4)] == [
            b"1",
            b"2",
            b"3",
            b"4",
        ]
        await close(here, there)

    run(main())


def test_with_broadcast_the_address_is_kept_but_the_socket_not_connected(run: Run) -> None:
    async def main() -> None:
        there, server = await endpoint()
        address = there.get_extra_info("sockname")
        here, _ = await endpoint(remote_addr=address, allow_broadcast=True)
        assert here.get_extra_info("peername") is None
        sock = here.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) == 1
        here.sendto(b"to all")
        assert (await wait(server.received.get()))[0] == b"to all"
        with pytest.raises(ValueError, match="Invalid address"):
            here.sendto(b"to one", ("127.0.0.1", 9))
        await close(here, there)

    run(main())


def test_a_connected_socket_may_be_given_any_address(run: Run) -> None:
    """Its owner has connected it: asyncio knows nothing of that, and refuses no address."""

    async def main() -> None:
        there, server = await endpoint()
        sock = bare()
        sock.connect(there.get_extra_info("sockname"))
        here, _ = await endpoint(sock=sock)
        here.sendto(b"1")
        here.sendto(b"2", ("127.0.0.1", 9))
        assert [(await wait(server.received.get()))[0] for _ in range(2)] == [b"1", b"2"]
        await close(here, there)

    run(main())


def test_host_names_are_resolved(run: Run) -> None:
    async def main() -> None:
        there, server = await endpoint()
        here, _ = await endpoint()
        port = there.get_extra_info("sockname")[1]
        for host in ("localhost", "127.1", "127.0.0.1"):
            here.sendto(host.encode(), (host, port))
            assert (await wait(server.received.get()))[0] == host.encode()
        await close(here, there)

    run(main())


@pytest.mark.parametrize(
    "address",
    [
        None,
        "127.0.0.1",
        ("127.0.0.1",),
        ("127.0.0.1", "9"),
        ("127.0.0.1", 9.5),
        ("127.0.0.1", -1),
        ("127.0.0.1", 65536),
        ("127.0.0.1", 1 << 80),
        ("127.0.0.1", 9, 0),
        ["127.0.0.1", 9],
        (127, 9),
        ("", 0),
        ("\udc80", 9),
        ("::1", 9),
        ("x" * 300, 9),
    ],
    ids=repr,
)
def test_what_is_no_address_is_what_pythons_sockets_say(run: Run, address: Any) -> None:
    """An OSError is told to the protocol; anything else is a mistake and ends the transport."""
    with bare() as sock:
        expected: BaseException | None = None
        try:
            sock.sendto(b"x", address)
        except Exception as error:
            expected = error

    async def main() -> None:
        reports = collect_reports()
        transport, protocol = await endpoint()
        transport.sendto(b"x", address)
        if isinstance(expected, OSError):
            seen = protocol.errors.get_nowait()
            assert not reports
            transport.close()
        else:
            seen = await wait(protocol.lost)
            assert [report["message"] for report in reports] == [
                "Fatal write error on datagram transport"
            ]
            assert reports[0]["exception"] is seen
            assert reports[0]["transport"] is transport
            assert reports[0]["protocol"] is protocol
        assert (type(seen), str(seen)) == (type(expected), str(expected))
        await close(transport)

    run(main())


@pytest.mark.parametrize(
    "address", ["", "\0abc", b"\0abc", b"relative", "ö/x", "x" * 200, "a\0b", 7]
)
def test_what_is_no_address_of_a_unix_socket(run: Run, address: Any) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        pytest.raises((OSError, TypeError, ValueError)) as expected,
    ):
        sock.sendto(b"x", address)

    async def main() -> None:
        collect_reports()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        transport, protocol = await endpoint(sock=sock)
        transport.sendto(b"x", address)
        if isinstance(expected.value, OSError):
            seen = protocol.errors.get_nowait()
        else:
            seen = await wait(protocol.lost)
        assert (type(seen), str(seen)) == (type(expected.value), str(expected.value))
        await close(transport)

    run(main())


@pytest.mark.parametrize("data", ["text", 7, None, [b"x"]], ids=repr)
def test_what_is_not_bytes_is_refused(run: Run, data: Any) -> None:
    async def main() -> None:
        transport, _ = await endpoint()
        expected = f"data argument must be a bytes-like object, not '{type(data).__name__}'"
        with pytest.raises(TypeError, match=f"^{re.escape(expected)}$"):
            transport.sendto(data, ("127.0.0.1", 9))
        await close(transport)

    run(main())


def test_a_view_with_gaps_is_a_mistake(run: Run) -> None:
    async def main() -> None:
        collect_reports()
        transport, protocol = await endpoint()
        transport.sendto(memoryview(b"abcdef")[::2], ("127.0.0.1", 9))
        assert isinstance(await wait(protocol.lost), BufferError)

    run(main())
