"""create_datagram_endpoint: which socket is made, bound and connected, and who keeps it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.network import CountingSocket, failing

Run = Callable[..., Any]
LOCAL = ("127.0.0.1", 0)


class Recorder(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.data: list[tuple[bytes, Any]] = []
        self.transport: Any = None
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("made")
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.data.append((data, addr))

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")
        self.lost.set_result(exc)


async def endpoint(*args: Any, **options: Any) -> Recorder:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Recorder, *args, **options)
    assert protocol.transport is transport
    return protocol


def option(protocol: Recorder, name: int) -> bool:
    sock = protocol.transport.get_extra_info("socket")
    return bool(sock.getsockopt(socket.SOL_SOCKET, name))


async def finish(*protocols: Recorder) -> None:
    for protocol in protocols:
        protocol.transport.close()
        await protocol.lost
        assert protocol.calls == ["made", "lost"]


def test_bound_and_connected(run: Run) -> None:
    async def main() -> None:
        there = await endpoint(LOCAL)
        address = there.transport.get_extra_info("sockname")
        here = await endpoint(("127.0.0.5", 0), address)
        assert here.transport.get_extra_info("peername") == address
        here.transport.sendto(b"tea")
        while not there.data:
            await asyncio.sleep(0)
        assert there.data == [(b"tea", here.transport.get_extra_info("sockname"))]
        there.transport.sendto(b"two cups", there.data[0][1])
        while not here.data:
            await asyncio.sleep(0)
        assert here.data == [(b"two cups", address)]
        await finish(here, there)

    run(main())


@pytest.mark.as_since(3, 12)
def test_it_is_a_datagram_transport(run: Run) -> None:
    async def main() -> None:
        here = await endpoint(LOCAL)
        assert isinstance(here.transport, asyncio.DatagramTransport)
        await finish(here)

    run(main())


def test_both_addresses_are_of_one_family(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def getaddrinfo(host: Any, port: Any, **_options: object) -> Any:
            found = {
                "a.example": [(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")],
                "b.example": [(socket.AF_INET, "127.0.0.6")],
            }[host]
            return [(family, 2, 17, "", (literal, port)) for family, literal in found]

        loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]
        here = await endpoint(("a.example", 0), ("b.example", 9))
        assert here.transport.get_extra_info("sockname")[0] == "127.0.0.1"
        assert here.transport.get_extra_info("peername") == ("127.0.0.6", 9)
        await finish(here)
        with pytest.raises(ValueError, match="^can not get address information$"):
            await endpoint(("::1", 0), ("b.example", 9))

    run(main())


def test_the_first_address_that_works_is_taken(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def getaddrinfo(host: Any, port: Any, **_options: object) -> Any:
            families = [(socket.AF_INET6, "2001:db8::1"), (socket.AF_INET, "127.0.0.1")]
            return [(family, 2, 17, "", (literal, port)) for family, literal in families]

        loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]
        here = await endpoint(("a.example", 0))
        assert here.transport.get_extra_info("sockname")[0] == "127.0.0.1"
        taken = here.transport.get_extra_info("sockname")[1]
        with pytest.raises(OSError) as caught:
            await endpoint(("a.example", taken))
        assert caught.value.errno == 99  # the first error, not the last
        await finish(here)

    run(main())


def test_a_broadcast_socket_is_not_connected(run: Run) -> None:
    async def main() -> None:
        there = await endpoint(LOCAL)
        address = there.transport.get_extra_info("sockname")
        here = await endpoint(remote_addr=address, allow_broadcast=True)
        assert option(here, socket.SO_BROADCAST)
        assert here.transport.get_extra_info("peername") is None
        here.transport.sendto(b"tea")  # there all the same
        with pytest.raises(ValueError, match="Invalid address: must be None or"):
            here.transport.sendto(b"tea", ("127.0.0.1", 9))
        while not there.data:
            await asyncio.sleep(0)
        await finish(here, there)

    run(main())


def test_ports_are_shared_if_wanted(run: Run) -> None:
    async def main() -> None:
        one = await endpoint(LOCAL, reuse_port=True)
        address = one.transport.get_extra_info("sockname")
        two = await endpoint(address, reuse_port=True)
        with pytest.raises(OSError, match="Address already in use"):
            await endpoint(address)
        await finish(one, two)

    run(main())


def test_a_family_alone_is_a_socket_that_the_kernel_binds(run: Run) -> None:
    async def main() -> None:
        there = await endpoint(LOCAL)
        here = await endpoint(family=socket.AF_INET)
        here.transport.sendto(b"tea", there.transport.get_extra_info("sockname"))
        while not there.data:
            await asyncio.sleep(0)
        await finish(here, there)

    run(main())


def test_a_socket_that_is_given(run: Run) -> None:
    async def main() -> None:
        sock = socket.socket(type=socket.SOCK_DGRAM)
        sock.bind(LOCAL)
        here = await endpoint(sock=sock)
        assert here.transport.get_extra_info("sockname") == sock.getsockname()
        await finish(here)
        assert sock.fileno() == -1

    run(main())


@pytest.mark.parametrize("turns", [1, 2])
@pytest.mark.parametrize("given", [False, True])
def test_a_cancelled_call_closes_its_socket_once(run: Run, given: bool, turns: int) -> None:
    async def main() -> None:
        sock = CountingSocket(type=socket.SOCK_DGRAM)
        sock.bind(LOCAL)
        call = endpoint(sock=sock) if given else endpoint(LOCAL)
        task = asyncio.create_task(call)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        if given:
            assert (sock.fileno(), sock.closes) == (-1, 1)
        sock.close()

    run(main())


@pytest.mark.saburo_only
def test_a_failing_protocol_factory_leaves_no_socket(run: Run) -> None:
    """asyncio forgets to close it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(ZeroDivisionError):
            await loop.create_datagram_endpoint(failing, LOCAL)
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            with pytest.raises(ZeroDivisionError):
                await loop.create_datagram_endpoint(failing, sock=sock)
            assert sock.fileno() != -1

    run(main())


@pytest.mark.saburo_only
def test_a_socket_in_use_is_refused_and_stays_in_use(run: Run) -> None:
    async def main() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.bind(LOCAL)
            here = await endpoint(sock=sock)
            with pytest.raises(RuntimeError, match="is used by transport"):
                await endpoint(sock=sock)
            here.transport.sendto(b"tea", sock.getsockname())
            while not here.data:
                await asyncio.sleep(0)
            await finish(here)

    run(main())


def test_unix_sockets_are_paths(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "there")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as before:
            before.bind(path)  # and is left there
        there = await endpoint(path, family=socket.AF_UNIX)
        here = await endpoint(
            f"\0saburo-test-{os.getpid()}", remote_addr=path, family=socket.AF_UNIX
        )
        here.transport.sendto(b"tea")
        while not there.data:
            await asyncio.sleep(0)
        await finish(here, there)

    run(main())


def test_debug_mode_tells_of_endpoints(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        here = await endpoint(LOCAL)
        there = await endpoint(remote_addr=here.transport.get_extra_info("sockname"))
        told = [record.message for record in caplog.records]
        local = f"Datagram endpoint local_addr={LOCAL!r} remote_addr=None created: ("
        assert any(text.startswith(local) for text in told)
        assert any(text.startswith("Datagram endpoint remote_addr=('127") for text in told)
        await finish(here, there)

    caplog.set_level(logging.DEBUG, "asyncio")
    run(main(), debug=True)
