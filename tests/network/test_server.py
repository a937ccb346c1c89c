"""create_server, create_unix_server, and the life of a Server from its first turn to its last."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import resource
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.network import (
    Echo,
    Recorder,
    client_context,
    failing,
    refusing,
    resolve,
    server_context,
)

Run = Callable[..., Any]
LOCAL = ("127.0.0.1", 0)


class Hosts:
    """A protocol factory that remembers whom it has made."""

    def __init__(self, kind: type[Recorder] = Recorder) -> None:
        self.kind = kind
        self.guests: list[Recorder] = []

    def __call__(self) -> Recorder:
        self.guests.append(self.kind())
        return self.guests[-1]

    async def come(self, count: int) -> None:
        while len([guest for guest in self.guests if guest.calls]) < count:
            await asyncio.sleep(0)


async def visit(address: Any) -> Recorder:
    connect: Any = asyncio.get_running_loop().create_connection
    _, protocol = await connect(Recorder, *address[:2])
    found: Recorder = protocol
    return found


async def leave(*guests: Recorder) -> None:
    for guest in guests:
        guest.transport.close()
        await guest.lost


def test_a_server_takes_connections(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, *LOCAL)
        assert isinstance(server, asyncio.Server)
        assert server.get_loop() is loop
        assert server.is_serving()
        (listener,) = server.sockets
        assert type(listener).__name__ == "TransportSocket"
        assert repr(server) == f"<Server sockets=({listener!r},)>"
        client = await visit(listener.getsockname())
        client.transport.write(b"tea")
        while client.data != b"tea":
            await asyncio.sleep(0)
        await leave(client)
        server.close()
        server.close()
        assert not server.is_serving()
        assert server.sockets == ()
        assert repr(server) == "<Server sockets=()>"
        await server.wait_closed()

    run(main())


@pytest.mark.as_since(3, 13)
def test_a_server_is_over_when_it_is_closed_and_its_last_connection_gone(run: Run) -> None:
    async def main() -> None:
        hosts = Hosts()
        server = await asyncio.get_running_loop().create_server(hosts, *LOCAL)
        before = asyncio.create_task(server.wait_closed())
        client = await visit(server.sockets[0].getsockname())
        await hosts.come(1)
        server.close()
        during = asyncio.create_task(server.wait_closed())
        impatient = asyncio.create_task(server.wait_closed())
        await asyncio.sleep(0)
        impatient.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not before.done()
        assert not during.done()
        client.transport.close()
        await asyncio.gather(before, during)
        await server.wait_closed()
        assert hosts.guests[0].calls == ["made", "eof", "lost"]

    run(main())


@pytest.mark.as_since(3, 13)
@pytest.mark.parametrize("method", ["close_clients", "abort_clients"])
def test_clients_can_be_sent_away(run: Run, method: str) -> None:
    async def main() -> None:
        hosts = Hosts()
        server: Any = await asyncio.get_running_loop().create_server(hosts, *LOCAL)
        address = server.sockets[0].getsockname()
        clients = [await visit(address) for _ in range(3)]
        await hosts.come(3)
        hosts.guests[0].transport.write(b"tea" * 1_000_000)
        getattr(server, method)()
        await asyncio.gather(*(client.lost for client in clients))
        assert len(clients[0].data) == 3_000_000 or method == "abort_clients"
        # Others may come afterwards.
        await leave(await visit(address))
        server.close()
        await server.wait_closed()

    run(main())


@pytest.mark.as_since(3, 14)
def test_serve_forever_ends_with_its_task_and_sends_everybody_away(run: Run) -> None:
    async def main() -> None:
        hosts = Hosts()
        server = await asyncio.get_running_loop().create_server(hosts, *LOCAL)
        forever = asyncio.create_task(server.serve_forever())
        client = await visit(server.sockets[0].getsockname())
        await hosts.come(1)
        with pytest.raises(RuntimeError, match="is already being awaited on serve_forever"):
            await server.serve_forever()
        forever.cancel()
        with pytest.raises(asyncio.CancelledError):
            await forever
        assert not server.is_serving()
        assert hosts.guests[0].calls == ["made", "lost"]
        await client.lost
        with pytest.raises(RuntimeError, match=r"^server <Server sockets=\(\)> is closed$"):
            await server.serve_forever()

    run(main())


def test_closing_ends_serve_forever(run: Run) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Recorder, *LOCAL)
        forever = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        server.close()
        with pytest.raises(asyncio.CancelledError):
            await forever
        await server.wait_closed()

    run(main())


def test_a_server_starts_when_it_is_told(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Recorder, *LOCAL, start_serving=False)
        address = server.sockets[0].getsockname()
        assert not server.is_serving()
        with pytest.raises(ConnectionRefusedError):
            await visit(address)
        await server.start_serving()
        await server.start_serving()
        assert server.is_serving()
        await leave(await visit(address))
        server.close()
        await server.wait_closed()

    run(main())


@pytest.mark.saburo_only
def test_a_closed_server_does_not_start(run: Run) -> None:
    """asyncio stumbles over its missing sockets, and says that it serves."""

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Recorder, *LOCAL)
        server.close()
        with pytest.raises(RuntimeError, match=r"^server <Server sockets=\(\)> is closed$"):
            await server.start_serving()
        assert not server.is_serving()

    run(main())


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.saburo_only
def test_a_cancelled_call_leaves_nothing_that_serves(run: Run, tmp_path: Path, turns: int) -> None:
    """asyncio leaves a server that nobody can close."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = tmp_path / "socket"
        given = socket.socket()
        given.bind(LOCAL)
        servers = []
        for call in (
            loop.create_server(Recorder, *LOCAL),
            loop.create_server(Recorder, sock=given),
            loop.create_unix_server(Recorder, path),
        ):
            task = asyncio.ensure_future(call)
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                servers.append(await task)
        assert path.exists() == (turns > 1)
        if turns < 2:
            assert given.fileno() != -1  # its owner has it still
            given.close()
        for server in servers:
            server.close()
        assert not path.exists()

    run(main())


# Addresses


def test_several_hosts_each_once(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        hosts = ["127.0.0.2", "127.0.0.1", "::1", "127.0.0.2"]
        async with await loop.create_server(Recorder, hosts, 0) as server:
            bound = [sock.getsockname() for sock in server.sockets]
            assert sorted(name[0] for name in bound) == ["127.0.0.1", "127.0.0.2", "::1"]
            for name in bound:
                await leave(await visit(name))
            server.close()

    run(main())


@pytest.mark.saburo_only
def test_sockets_come_in_the_order_of_the_hosts(run: Run) -> None:
    """In asyncio they come in any order."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        hosts = [f"127.0.0.{number}" for number in (5, 3, 9, 1, 7)]
        async with await loop.create_server(Recorder, hosts, 0) as server:
            assert [sock.getsockname()[0] for sock in server.sockets] == hosts

    run(main())


@pytest.mark.parametrize("host", [None, ""])
def test_no_host_is_all_interfaces_in_both_families(run: Run, host: str | None) -> None:
    async def main() -> None:
        with refusing() as taken:
            port = taken[1]
        loop = asyncio.get_running_loop()
        async with await loop.create_server(Recorder, host, port) as server:
            assert {sock.getsockname()[:2] for sock in server.sockets} == {
                ("0.0.0.0", port),
                ("::", port),
            }

    run(main())


@pytest.mark.as_since(3, 13)
def test_a_port_in_use_is_told_and_leaves_no_socket(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(LOCAL) as listener:
            port = listener.getsockname()[1]
            with pytest.raises(OSError) as caught:
                await loop.create_server(Recorder, ["127.0.0.2", "127.0.0.1"], port)
        assert str(caught.value) == (
            f"[Errno 98] error while attempting to bind on address ('127.0.0.1', {port}): "
            "[errno 98] address already in use"
        )

    run(main())


@pytest.mark.as_since(3, 13)
def test_addresses_of_another_machine_are_passed_over_if_one_is_ours(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with await loop.create_server(Recorder, ["192.0.2.1", "127.0.0.1"], 0) as server:
            assert [sock.getsockname()[0] for sock in server.sockets] == ["127.0.0.1"]
        assert "('192.0.2.1', 0)" in caplog.text
        with pytest.raises(OSError) as caught:
            await loop.create_server(Recorder, "192.0.2.1", 0)
        assert str(caught.value) == "could not bind on any address out of [('192.0.2.1', 0)]"

    caplog.set_level(logging.WARNING, "asyncio")
    run(main(), debug=True)


def test_a_host_without_addresses(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        resolve(loop)
        with pytest.raises(OSError) as caught:
            await loop.create_server(Recorder, "a.example", 0)
        assert str(caught.value) == "getaddrinfo('a.example') returned empty list"

    run(main())


def test_ports_are_shared_if_wanted(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with await loop.create_server(Recorder, *LOCAL, reuse_port=True) as one:
            port = one.sockets[0].getsockname()[1]
            async with await loop.create_server(Recorder, "127.0.0.1", port, reuse_port=True):
                with pytest.raises(OSError, match="address already in use"):
                    await loop.create_server(Recorder, "127.0.0.1", port)

    run(main())


@pytest.mark.parametrize("reuse", [None, True, False])
def test_addresses_are_used_again_unless_unwanted(run: Run, reuse: bool | None) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with await loop.create_server(Recorder, *LOCAL, reuse_address=reuse) as server:
            value = server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
            assert bool(value) == (reuse is not False)

    run(main())


@pytest.mark.as_since(3, 13)
def test_connections_are_kept_alive_if_wanted(run: Run) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        hosts = Hosts()
        async with await loop.create_server(hosts, *LOCAL, keep_alive=True) as server:
            client = await visit(server.sockets[0].getsockname())
            await hosts.come(1)
            accepted = hosts.guests[0].transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            await leave(client)
            server.close()

    run(main())


def test_a_socket_that_is_given_is_served(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        listener = socket.socket()
        listener.bind(LOCAL)
        async with await loop.create_server(Recorder, sock=listener) as server:
            assert listener.getblocking() is False
            await leave(await visit(listener.getsockname()))
            server.close()
        assert listener.fileno() == -1

    run(main())


# Connections


@pytest.mark.saburo_only
def test_a_failing_protocol_factory_does_not_end_the_server(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        failures = iter([True, False])
        made: list[Recorder] = []

        def factory() -> Recorder:
            if next(failures):
                raise LookupError("no protocol today")
            made.append(Recorder())
            return made[-1]

        server = await loop.create_server(factory, *LOCAL)
        address = server.sockets[0].getsockname()
        first = await visit(address)
        while not first.calls[1:]:
            await asyncio.sleep(0)
        await first.lost
        second = await visit(address)
        while not made:
            await asyncio.sleep(0)
        await leave(second)
        server.close()
        await server.wait_closed()

    run(main())
    assert "no protocol today" not in caplog.text


@pytest.mark.saburo_only
def test_a_failing_protocol_factory_is_told_in_debug_mode(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        heard: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _loop, context: heard.append(context))
        server = await loop.create_server(failing, *LOCAL)
        client = await visit(server.sockets[0].getsockname())
        while not heard:
            await asyncio.sleep(0)
        (context,) = heard
        assert context["message"] == "Error on transport creation for incoming connection"
        assert isinstance(context["exception"], ZeroDivisionError)
        context.clear()
        server.close()
        await leave(client)
        await server.wait_closed()

    run(main(), debug=True)


def test_garbage_for_a_handshake_ends_that_connection_and_no_other(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, *LOCAL, ssl=server_context())
        address = server.sockets[0].getsockname()
        client = await visit(address)
        client.transport.write(b"garbage, and no handshake at all" * 10)
        await client.lost
        _, client = await loop.create_connection(
            Recorder, *address, ssl=client_context(), server_hostname="localhost"
        )
        client.transport.write(b"tea")
        while client.data != b"tea":
            await asyncio.sleep(0.001)
        await leave(client)
        server.close()
        await server.wait_closed()

    run(main())


@pytest.mark.saburo_only
def test_closing_in_the_middle_of_what_comes_in(run: Run) -> None:
    """Connections that are in the queue still are nobody's; none is left open here."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: list[Recorder] = []

        class Closing(Recorder):
            def __init__(self) -> None:
                super().__init__()
                made.append(self)
                server.close()

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                transport.close()

        server = await loop.create_server(Closing, *LOCAL)
        address = server.sockets[0].getsockname()
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                sock = stack.enter_context(socket.socket())
                sock.setblocking(False)
                sock.connect_ex(address)
            while not made:
                await asyncio.sleep(0)
            await asyncio.gather(*(guest.lost for guest in made if guest.calls))
            await server.wait_closed()

    run(main())


@contextlib.contextmanager
def out_of_descriptors() -> Iterator[None]:
    """The process may not open anything more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.saburo_only
def test_without_descriptors_a_server_rests_says_so_once_and_goes_on(run: Run) -> None:
    """asyncio says it a hundred times, and starts a closed server again."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        heard: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _loop, context: heard.append(context))
        hosts = Hosts()
        server = await loop.create_server(hosts, *LOCAL)
        with socket.socket() as one, socket.socket() as two:
            one.connect(server.sockets[0].getsockname())
            two.connect(server.sockets[0].getsockname())
            with out_of_descriptors():
                while not heard:
                    await asyncio.sleep(0)
                # It is asked again in a second, and says nothing new.
                await asyncio.sleep(1.1)
            await hosts.come(2)
        (context,) = heard
        assert context["message"] == "socket.accept() out of system resource"
        assert context["exception"].errno == 24
        assert type(context["socket"]).__name__ == "TransportSocket"
        await asyncio.gather(*(guest.lost for guest in hosts.guests))
        # Resting, it can be closed, and is not woken any more.
        with socket.socket() as one:
            one.connect(server.sockets[0].getsockname())
            with out_of_descriptors():
                while len(heard) < 2:
                    await asyncio.sleep(0)
            server.close()
            await server.wait_closed()
            await asyncio.sleep(1.1)
        assert len(heard) == 2

    run(main())


@pytest.mark.as_since(3, 15)
def test_each_connection_has_a_copy_of_the_context_the_server_was_made_in(run: Run) -> None:
    var = contextvars.ContextVar("var", default="none")

    class Remembering(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.seen = [var.get()]
            var.set("factory")

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.seen.append(var.get())
            var.set("made")

        def data_received(self, data: bytes) -> None:
            self.seen.append(var.get())
            var.set("data")

        def connection_lost(self, exc: Exception | None) -> None:
            self.seen.append(var.get())
            super().connection_lost(exc)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        var.set("before")
        hosts = Hosts(Remembering)
        server = await loop.create_server(hosts, *LOCAL)
        var.set("after")
        for number in range(2):
            client = await visit(server.sockets[0].getsockname())
            client.transport.write(b"tea")
            await hosts.come(number + 1)
            await leave(client)
            await hosts.guests[number].lost
        server.close()
        await server.wait_closed()
        for guest in hosts.guests:
            assert guest.seen == ["before", "factory", "made", "data"]  # type: ignore[attr-defined]

    run(main())


# Unix


def test_a_socket_left_at_the_path_is_replaced(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as before:
            before.bind(str(path))
        async with await loop.create_unix_server(Recorder, path):
            _, client = await loop.create_unix_connection(Recorder, str(path))
            await leave(client)

    run(main())


@pytest.mark.parametrize("thing", ["file", "folder"])
def test_anything_else_at_the_path_stays(run: Run, tmp_path: Path, thing: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = tmp_path / "thing"
        path.touch() if thing == "file" else path.mkdir()
        with pytest.raises(OSError) as caught:
            await loop.create_unix_server(Recorder, str(path))
        assert str(caught.value) == f"[Errno 98] Address {str(path)!r} is already in use"
        assert path.exists()

    run(main())


@pytest.mark.as_since(3, 13)
def test_the_socket_is_removed_when_the_server_is_closed(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        path = str(tmp_path / "socket")
        server = await loop.create_unix_server(Recorder, path)
        assert stat.S_ISSOCK(os.stat(path).st_mode)
        server.close()
        assert not os.path.exists(path)

        server = await loop.create_unix_server(Recorder, path, cleanup_socket=False)
        server.close()
        assert os.path.exists(path)

        server = await loop.create_unix_server(Recorder, path)
        os.unlink(path)
        with socket.socket(socket.AF_UNIX) as another:
            another.bind(path)
            server.close()
            assert os.path.exists(path)

        sock = socket.socket(socket.AF_UNIX)
        os.unlink(path)
        sock.bind(path)
        server = await loop.create_unix_server(Recorder, sock=sock)
        os.unlink(path)
        server.close()  # gone already

    run(main())


@pytest.mark.saburo_only
def test_the_socket_is_removed_from_where_it_was_made(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio looks for it in the folder that is current when the server is closed."""

    async def main() -> None:
        monkeypatch.chdir(tmp_path)
        server = await asyncio.get_running_loop().create_unix_server(Recorder, "socket")
        monkeypatch.chdir("/")
        server.close()
        assert not (tmp_path / "socket").exists()

    run(main())


def test_abstract_sockets_are_no_files(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        name = f"\0saburo-test-{os.getpid()}"
        async with await loop.create_unix_server(Recorder, name) as server:
            _, client = await loop.create_unix_connection(Recorder, name)
            await leave(client)
            server.close()

    run(main())


def test_debug_mode_tells_of_servers(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with await loop.create_server(Recorder, *LOCAL) as server:
            assert f"{server!r} is serving" in caplog.text

    caplog.set_level(logging.INFO, "asyncio")
    run(main(), debug=True)
