"""create_connection and its kin: which address is taken, and whose the socket is at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.both_loops import PATIENCE
from support.network import (
    CountingSocket,
    Echo,
    Recorder,
    client_context,
    failing,
    info,
    listening,
    refusing,
    resolve,
    server_context,
    silent,
)

Run = Callable[..., Any]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, two = socket.socketpair()
    yield one, two
    one.close()
    two.close()


async def finish(*protocols: Recorder) -> None:
    for protocol in protocols:
        protocol.transport.close()
        await protocol.lost


async def cancelled(coroutine: Any, turns: int) -> bool:
    """Cancels a call after so many turns; whether that was in time."""
    task = asyncio.ensure_future(coroutine)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    try:
        transport, _ = await task
    except asyncio.CancelledError:
        return True
    transport.close()
    await asyncio.sleep(0)
    return False


def test_the_protocol_knows_its_transport_when_the_call_returns(run: Run) -> None:
    async def main() -> None:
        with listening() as address:
            loop = asyncio.get_running_loop()
            transport, protocol = await loop.create_connection(Recorder, *address)
            assert protocol.calls == ["made"]
            assert protocol.transport is transport
            assert isinstance(transport, asyncio.Transport)
            assert transport.get_extra_info("peername") == address
            assert transport.get_extra_info("socket").getpeername() == address
            await finish(protocol)
            assert protocol.calls == ["made", "lost"]

    run(main())


def test_a_host_name_is_looked_up(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listening() as address:
            _, protocol = await loop.create_connection(
                Recorder, "localhost", address[1], family=socket.AF_INET
            )
            assert protocol.transport.get_extra_info("peername") == address
            await finish(protocol)

    run(main())


@pytest.mark.parametrize("delay", [None, 5.0])
def test_the_addresses_of_a_host_are_tried_in_turn(run: Run, delay: float | None) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with refusing() as deaf, listening() as address:
            resolve(loop, info(deaf), info(address))
            _, protocol = await loop.create_connection(
                Recorder, "a.example", 1, happy_eyeballs_delay=delay
            )
            assert protocol.transport.get_extra_info("peername") == address
            await finish(protocol)

    run(main())


@pytest.mark.parametrize("delay", [None, 0.0])
def test_the_errors_of_all_addresses_are_told(run: Run, delay: float | None) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with refusing() as one, refusing() as two:
            resolve(loop, info(one), info(two))
            with pytest.raises(OSError) as caught:
                await loop.create_connection(Recorder, "a.example", 1, happy_eyeballs_delay=delay)
            assert str(caught.value) == (
                f"Multiple exceptions: [Errno 111] Connect call failed {one}, "
                f"[Errno 111] Connect call failed {two}"
            )
            resolve(loop, info(one), info(one))
            with pytest.raises(ConnectionRefusedError) as caught:
                await loop.create_connection(Recorder, "a.example", 1, happy_eyeballs_delay=delay)
            assert str(caught.value) == f"[Errno 111] Connect call failed {one}"

    run(main())


@pytest.mark.as_since(3, 12)
@pytest.mark.parametrize("delay", [None, 0.0])
def test_all_errors_come_as_a_group_if_wanted(run: Run, delay: float | None) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        with refusing() as one, refusing() as two:
            resolve(loop, info(one), info(two))
            with pytest.raises(ExceptionGroup, match="create_connection failed") as caught:
                await loop.create_connection(
                    Recorder, "a.example", 1, happy_eyeballs_delay=delay, all_errors=True
                )
        assert [str(error) for error in caught.value.exceptions] == [
            f"[Errno 111] Connect call failed {address}" for address in (one, two)
        ]

    run(main())


def test_a_silent_address_does_not_hold_up_the_next_one_for_long(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with silent() as dumb, listening() as address:
            resolve(loop, info(dumb), info(address))
            _, protocol = await loop.create_connection(
                Recorder, "a.example", 1, happy_eyeballs_delay=0.001
            )
            assert protocol.transport.get_extra_info("peername") == address
            await finish(protocol)

    run(main())


@pytest.mark.parametrize("delay", [None, 0.0])
@pytest.mark.parametrize("turns", range(6))
def test_a_cancelled_call_leaves_no_socket(run: Run, delay: float | None, turns: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with silent() as one, silent() as two:
            resolve(loop, info(one), info(two))
            call = loop.create_connection(Recorder, "a.example", 1, happy_eyeballs_delay=delay)
            assert await cancelled(call, turns)

    run(main())


@pytest.mark.saburo_only
@pytest.mark.parametrize("delay", [None, 0.0])
def test_a_call_cancelled_at_any_moment_leaves_no_socket(run: Run, delay: float | None) -> None:
    """asyncio loses the socket that has just won."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listening() as one, listening() as two:
            resolve(loop, info(one), info(two))
            turns = 0
            while await cancelled(
                loop.create_connection(Recorder, "a.example", 1, happy_eyeballs_delay=delay), turns
            ):
                turns += 1
        assert turns > 2

    run(main())


@pytest.mark.saburo_only
def test_two_that_win_at_once_are_one_winner_and_one_closed_socket(run: Run) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        both = loop.create_future()
        tried = []

        async def sock_connect(sock: socket.socket, address: Any) -> None:
            sock.setblocking(True)
            sock.connect(address)
            tried.append(sock)
            if len(tried) == 2:
                both.set_result(None)
            await both

        loop.sock_connect = sock_connect
        with listening() as one, listening() as two:
            resolve(loop, info(one), info(two))
            _, protocol = await loop.create_connection(
                Recorder, "a.example", 1, happy_eyeballs_delay=0
            )
            assert protocol.transport.get_extra_info("peername") == one
            assert [sock.fileno() == -1 for sock in tried] == [False, True]
            await finish(protocol)

    run(main())


@pytest.mark.saburo_only
def test_an_error_that_is_no_oserror_ends_the_race(run: Run) -> None:
    """asyncio says that it timed out."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with silent() as dumb:
            resolve(loop, info(dumb), info(("127.0.0.1", 99999)))
            with pytest.raises(OverflowError, match="port must be 0-65535"):
                await loop.create_connection(Recorder, "a.example", 1, happy_eyeballs_delay=0)

    run(main())


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"interleave": 1}, [1, 4, 2, 5, 3]),
        ({"interleave": 2}, [1, 2, 4, 3, 5]),
        ({"interleave": 9}, [1, 2, 3, 4, 5]),
        ({"happy_eyeballs_delay": 0}, [1, 4, 2, 5, 3]),
        ({"happy_eyeballs_delay": 0, "interleave": 0}, [1, 2, 3, 4, 5]),
    ],
)
def test_families_are_interleaved_as_told(
    run: Run, options: dict[str, Any], order: list[int]
) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        tried = []

        async def sock_connect(sock: socket.socket, address: Any) -> None:
            tried.append(address[1])
            raise ConnectionRefusedError

        loop.sock_connect = sock_connect
        infos = [info(("127.0.0.1", port)) for port in (1, 2, 3)]
        infos += [info(("::1", port, 0, 0), socket.AF_INET6) for port in (4, 5)]
        resolve(loop, *infos)
        with pytest.raises(ConnectionRefusedError):
            await loop.create_connection(Recorder, "a.example", 1, **options)
        assert tried == order

    run(main())


def test_a_connection_comes_from_the_local_address(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listening() as address:
            _, protocol = await loop.create_connection(
                Recorder, *address, local_addr=("127.0.0.7", 0)
            )
            assert protocol.transport.get_extra_info("sockname")[0] == "127.0.0.7"
            await finish(protocol)

    run(main())


@pytest.mark.as_since(3, 13)
def test_local_addresses_of_no_use_are_told(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listening() as address, refusing() as taken:
            with pytest.raises(OSError) as caught:
                await loop.create_connection(Recorder, *address, local_addr=taken)
            assert str(caught.value) == (
                f"[Errno 98] error while attempting to bind on address {taken}: "
                "[errno 98] address already in use"
            )
            with pytest.raises(OSError) as caught:
                await loop.create_connection(Recorder, *address, local_addr=("::1", 0))
            assert str(caught.value) == (
                "no matching local address with family=<AddressFamily.AF_INET: 2> found"
            )

    run(main())


def test_the_next_local_address_is_tried(run: Run) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        with listening() as address, refusing() as taken:
            answers = iter([[info(address)], [info(taken), info(("127.0.0.7", 0))]])

            async def getaddrinfo(*_args: object, **_options: object) -> Any:
                return next(answers)

            loop.getaddrinfo = getaddrinfo
            _, protocol = await loop.create_connection(
                Recorder, "a.example", 1, local_addr=("b.example", 1)
            )
            assert protocol.transport.get_extra_info("sockname")[0] == "127.0.0.7"
            await finish(protocol)

    run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])
def test_the_peer_has_the_name_the_kernel_gives_it(run: Run, host: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server(("", 0), family=family) as listener:
            _, protocol = await loop.create_connection(Recorder, host, listener.getsockname()[1])
            accepted, address = listener.accept()
            accepted.close()
            sock = protocol.transport.get_extra_info("socket")
            assert protocol.transport.get_extra_info("peername") == sock.getpeername()
            assert protocol.transport.get_extra_info("sockname") == address
            await finish(protocol)

    run(main())


def test_whoever_replaces_socket_sees_every_socket(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those do who keep tests off the network."""

    class Forbidden(socket.socket):
        def __new__(cls, *_args: Any, **_options: Any) -> Any:
            raise LookupError("no network in tests")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listening() as address, monkeypatch.context() as patch:
            patch.setattr(socket, "socket", Forbidden)
            with pytest.raises(LookupError, match="no network in tests"):
                await loop.create_connection(Recorder, *address)

    run(main())


def test_an_answer_that_takes_its_time_is_waited_for(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            with contextlib.ExitStack() as stack:
                for _ in range(2):
                    early = stack.enter_context(socket.socket())
                    early.setblocking(False)
                    early.connect_ex(listener.getsockname())
                task = asyncio.ensure_future(
                    loop.create_connection(Recorder, *listener.getsockname())
                )
                for _ in range(5):
                    await asyncio.sleep(0.001)
                assert not task.done()
                for _ in range(2):
                    listener.accept()[0].close()
                # The kernel tries again in a second.
                _, protocol = await task
                await finish(protocol)

    run(main())


@pytest.mark.as_since(3, 14)
def test_failures_leave_no_cycles(run: Run) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        with refusing() as one, refusing() as two:
            resolve(loop, info(one), info(two))
            for options in ({}, {"happy_eyeballs_delay": 0}):
                with contextlib.suppress(OSError):
                    await loop.create_connection(Recorder, "a.example", 1, **options)

    async def watched() -> None:
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await main()
            gc.collect()
            assert not [each for each in gc.garbage if isinstance(each, OSError)]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    run(watched())


# Sockets that are given


@pytest.mark.parametrize("way", ["connection", "unix_connection", "accepted", "tls"])
@pytest.mark.parametrize("turns", [1, 2, 5])
def test_a_cancelled_call_closes_a_given_socket_once(
    run: Run, pair: tuple[socket.socket, socket.socket], way: str, turns: int
) -> None:
    """The loop took it over when it was given. It is closed by its object, whose owner can tell."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        one, two = CountingSocket(fileno=pair[0].detach()), pair[1]
        protocols: list[Recorder] = []

        def factory() -> Recorder:
            protocols.append(Recorder())
            return protocols[-1]

        call: Any
        if way == "connection":
            call = loop.create_connection(factory, sock=one)
        elif way == "unix_connection":
            call = loop.create_unix_connection(factory, sock=one)
        elif way == "accepted":
            call = loop.connect_accepted_socket(factory, one)
        else:
            call = loop.create_connection(
                factory, sock=one, ssl=client_context(), server_hostname="localhost"
            )
        assert await cancelled(call, turns) or way != "tls"
        if way == "tls":
            two.close()  # else it would wait for the goodbye
        async with asyncio.timeout(PATIENCE):
            while one.fileno() != -1:
                await asyncio.sleep(0.001)
        assert (one.fileno(), one.closes) == (-1, 1)
        for protocol in protocols:
            assert protocol.calls in ([], ["made", "lost"])

    run(main())


@pytest.mark.saburo_only
def test_a_socket_in_use_is_refused_and_stays_in_use(
    run: Run, pair: tuple[socket.socket, socket.socket]
) -> None:
    """asyncio closes it under the transport that has it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        one, two = pair
        _, protocol = await loop.create_connection(Recorder, sock=one)
        for call in (
            loop.create_connection(Recorder, sock=one),
            loop.create_unix_connection(Recorder, sock=one),
            loop.connect_accepted_socket(Recorder, one),
        ):
            with pytest.raises(RuntimeError, match="is used by transport"):
                await call
        two.send(b"tea")
        two.close()
        await protocol.lost
        assert protocol.data == b"tea"

    run(main())


@pytest.mark.saburo_only
@pytest.mark.parametrize("given", [False, True])
def test_a_failing_protocol_factory_closes_the_socket(run: Run, given: bool) -> None:
    """As in asyncio from 3.15 on, also a socket that was given."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listening() as address:
            sock = socket.create_connection(address) if given else None
            with pytest.raises(ZeroDivisionError):
                if sock is None:
                    await loop.create_connection(failing, *address)
                else:
                    await loop.create_connection(failing, sock=sock)
            assert sock is None or sock.fileno() == -1

    run(main())


@pytest.mark.saburo_only
def test_nothing_waits_to_be_put_together(run: Run) -> None:
    """TCP_NODELAY, whichever way the connection has come about; asyncio leaves some out."""

    def is_set(protocol: Recorder) -> bool:
        sock = protocol.transport.get_extra_info("socket")
        return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        protocols: list[Recorder] = []

        def factory() -> Recorder:
            protocols.append(Recorder())
            return protocols[-1]

        listener = socket.socket()  # whose protocol is 0
        listener.bind(("127.0.0.1", 0))
        async with await loop.create_server(factory, sock=listener) as server:
            address = listener.getsockname()
            await loop.create_connection(factory, *address)
            given = socket.socket()
            given.setblocking(False)
            await loop.sock_connect(given, address)
            await loop.create_connection(factory, sock=given)
            while len(protocols) < 4:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert all(map(is_set, protocols))
            await finish(*protocols)
            server.close()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            with socket.create_connection(listener.getsockname()):
                accepted, _ = listener.accept()
                _, protocol = await loop.connect_accepted_socket(Recorder, accepted)
                assert is_set(protocol)
                await finish(protocol)

    run(main())


def test_an_accepted_socket_is_served(run: Run, pair: tuple[socket.socket, socket.socket]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        one, two = pair
        _, server = await loop.connect_accepted_socket(Echo, one)
        _, client = await loop.create_connection(Recorder, sock=two)
        client.transport.write(b"tea")
        while client.data != b"tea":
            await asyncio.sleep(0)
        await finish(client)
        await server.lost
        assert server.calls == ["made", "eof", "lost"]

    run(main())


def test_an_accepted_socket_is_served_with_tls(
    run: Run, pair: tuple[socket.socket, socket.socket]
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        one, two = pair
        (_, server), (_, client) = await asyncio.gather(
            loop.connect_accepted_socket(Echo, one, ssl=server_context()),
            loop.create_connection(
                Recorder, sock=two, ssl=client_context(), server_hostname="localhost"
            ),
        )
        assert client.transport.get_extra_info("cipher")
        client.transport.write(b"tea")
        while client.data != b"tea":
            await asyncio.sleep(0.001)
        await finish(client)
        await server.lost

    run(main())


def test_a_failed_handshake_closes_the_socket(
    run: Run, pair: tuple[socket.socket, socket.socket]
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        one, two = pair
        two.send(b"garbage, and no handshake at all" * 10)
        with pytest.raises(OSError) as caught:  # an SSLError is one
            await loop.create_connection(
                Recorder, sock=one, ssl=client_context(), server_hostname="localhost"
            )
        assert type(caught.value).__name__ == "SSLError"
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert one.fileno() == -1

    run(main())


# Unix


@pytest.mark.parametrize("form", [str, os.fsencode, Path])
def test_a_path_may_be_text_bytes_or_a_path(
    run: Run, tmp_path: Path, form: Callable[[Any], Any]
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = form(tmp_path / "socket")
        async with await loop.create_unix_server(Echo, path) as server:
            _, client = await loop.create_unix_connection(Recorder, path)
            client.transport.write(b"tea")
            while client.data != b"tea":
                await asyncio.sleep(0)
            await finish(client)
            server.close()

    run(main())


def test_nobody_at_the_path(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(FileNotFoundError):
            await loop.create_unix_connection(Recorder, str(tmp_path / "nothing"))
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(tmp_path / "deaf"))
            with pytest.raises(ConnectionRefusedError):
                await loop.create_unix_connection(Recorder, str(tmp_path / "deaf"))

    run(main())


@pytest.mark.parametrize("turns", range(4))
def test_a_cancelled_unix_connection_leaves_no_socket(run: Run, tmp_path: Path, turns: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "socket"))
            listener.listen()
            await cancelled(loop.create_unix_connection(Recorder, str(tmp_path / "socket")), turns)
            await asyncio.sleep(0)

    run(main())


def test_debug_mode_tells_of_connections(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listening() as address:
            _, protocol = await loop.create_connection(Recorder, *address)
            await finish(protocol)
            sock = socket.create_connection(address)
            _, protocol = await loop.connect_accepted_socket(Recorder, sock)
            await finish(protocol)
            told = [record.message for record in caplog.records]
            assert any(f"connected to {address[0]}:{address[1]}: (" in text for text in told)
            assert any(" handled: (" in text for text in told)

    caplog.set_level(logging.DEBUG, "asyncio")
    run(main(), debug=True)
