"""anyio's backend on our loop: its groups, cancel scopes, sockets, TLS, processes and threads.

anyio runs the loop itself, so these ask for `run_anyio` instead of `run`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from anyio import from_thread, to_process, to_thread
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener, TLSStream
from support.both_loops import Kind

from .certificates import Certificates

MEGABYTES = os.urandom(5_000_000)

RunAnyio = Callable[[Callable[[], Awaitable[Any]]], Any]


@pytest.fixture
def run_anyio(kind: Kind) -> RunAnyio:
    def run(main: Callable[[], Awaitable[Any]]) -> Any:
        async def on_the_right_loop() -> Any:
            loop = asyncio.get_running_loop()
            assert type(loop).__module__.startswith("saburo") == kind.is_saburo
            return await main()

        result = anyio.run(on_the_right_loop, backend_options={"loop_factory": kind.new_loop})
        gc.collect()
        return result

    return run


async def echo(stream: anyio.abc.ByteStream) -> None:
    async with stream:
        async for chunk in stream:
            await stream.send(chunk)


async def send_and_receive(stream: anyio.abc.ByteStream, data: bytes) -> bytes:
    received = BufferedByteReceiveStream(stream)
    async with anyio.create_task_group() as group:
        group.start_soon(stream.send, data)
        return await received.receive_exactly(len(data))
    raise AssertionError


def test_groups_and_cancel_scopes(run_anyio: RunAnyio) -> None:
    async def main() -> None:
        ended = []

        async def forever(name: str) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                ended.append(name)

        async def fail() -> None:
            raise LookupError("on purpose")

        with pytest.raises(ExceptionGroup) as group:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(forever, "one")
                tasks.start_soon(forever, "two")
                await anyio.lowlevel.checkpoint()
                tasks.start_soon(fail)
        assert [type(error) for error in group.value.exceptions] == [LookupError]
        assert sorted(ended) == ["one", "two"]

        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught

        with anyio.move_on_after(0.01) as outer:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.05)
                ended.append("shielded")
            await anyio.sleep_forever()
        assert outer.cancelled_caught
        assert ended[-1] == "shielded"

        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.01):
                await anyio.Event().wait()

        async def started(*, task_status: anyio.abc.TaskStatus[str]) -> None:
            task_status.started("here")
            await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            assert await tasks.start(started) == "here"
            tasks.cancel_scope.cancel()

    run_anyio(main)


def test_streams_of_objects_locks_and_limits(run_anyio: RunAnyio) -> None:
    async def main() -> None:
        send, receive = anyio.create_memory_object_stream[int](3)
        lock, at_once = anyio.Lock(), anyio.CapacityLimiter(2)

        async def produce(own: anyio.abc.ObjectSendStream[int], first: int) -> None:
            async with own, at_once:
                for number in range(first, 100, 10):
                    async with lock:
                        await own.send(number)

        async with anyio.create_task_group() as tasks:
            for first in range(10):
                tasks.start_soon(produce, send.clone(), first)
            send.close()
            async with receive:
                seen = [number async for number in receive]
        assert sorted(seen) == list(range(100))

    run_anyio(main)


def test_tcp(run_anyio: RunAnyio) -> None:
    async def main() -> None:
        listener = await anyio.create_tcp_listener(local_host="localhost")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, echo)
            async with await anyio.connect_tcp("localhost", port) as stream:
                assert await send_and_receive(stream, MEGABYTES) == MEGABYTES
                await stream.send_eof()
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()

            async def ask(number: int) -> None:
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    data = b"%d" % number * 1000
                    assert await send_and_receive(stream, data) == data

            async with anyio.create_task_group() as clients:
                for number in range(50):
                    clients.start_soon(ask, number)

            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                with anyio.move_on_after(0.02):
                    await stream.receive()
                assert await send_and_receive(stream, b"still there") == b"still there"
            with pytest.raises(anyio.ClosedResourceError):
                await stream.send(b"x")
            tasks.cancel_scope.cancel()
        with pytest.raises(OSError, match="All connection attempts failed"):
            await anyio.connect_tcp("127.0.0.1", 1)

    run_anyio(main)


def test_tls(run_anyio: RunAnyio, certificates: Certificates) -> None:
    async def main() -> None:
        tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = tcp.extra(anyio.abc.SocketAttribute.local_port)
        listener = TLSListener(tcp, certificates.server(), standard_compatible=False)
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, echo)
            async with await anyio.connect_tcp(
                "127.0.0.1",
                port,
                ssl_context=certificates.client(),
                tls_standard_compatible=False,
                tls_hostname="localhost",
            ) as stream:
                assert isinstance(stream, TLSStream)
                assert await send_and_receive(stream, MEGABYTES) == MEGABYTES
            tasks.cancel_scope.cancel()

    run_anyio(main)


def test_unix_and_udp_sockets(run_anyio: RunAnyio, tmp_path: Path) -> None:
    async def main() -> None:
        listener = await anyio.create_unix_listener(tmp_path / "socket")
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, echo)
            async with await anyio.connect_unix(tmp_path / "socket") as stream:
                assert await send_and_receive(stream, MEGABYTES) == MEGABYTES
                reader, writer = os.pipe()
                await stream.send_fds(b"x", [writer])
                os.close(reader)
                os.close(writer)
            tasks.cancel_scope.cancel()

        async with await anyio.create_udp_socket(local_host="127.0.0.1") as here:
            port = here.extra(anyio.abc.SocketAttribute.local_port)
            async with await anyio.create_connected_udp_socket("127.0.0.1", port) as there:
                await there.send(b"ping")
                data, address = await here.receive()
                assert data == b"ping"
                await here.sendto(b"pong", *address)
                assert await there.receive() == b"pong"

        one, two = socket.socketpair()
        with one, two:
            await anyio.wait_writable(one)
            one.send(b"x")
            await anyio.wait_readable(two)

    run_anyio(main)


def test_processes(run_anyio: RunAnyio) -> None:
    async def main() -> None:
        done = await anyio.run_process(["cat"], input=MEGABYTES)
        assert done.stdout == MEGABYTES
        failed = await anyio.run_process("echo oops >&2; exit 3", check=False)
        assert (failed.returncode, failed.stderr) == (3, b"oops\n")

        async with await anyio.open_process(["cat"]) as process:
            assert process.stdin
            assert process.stdout
            await process.stdin.send(b"hello")
            assert await process.stdout.receive() == b"hello"
            await process.stdin.aclose()
            assert await process.wait() == 0

        process = await anyio.open_process([sys.executable, "-c", "input()"])
        process.terminate()
        assert await process.wait() == -signal.SIGTERM
        await process.aclose()

        with anyio.move_on_after(0.05) as scope:
            await anyio.run_process(["sleep", "1000"])
        assert scope.cancelled_caught

    run_anyio(main)


def test_threads_both_ways(run_anyio: RunAnyio) -> None:
    async def main() -> None:
        async def on_the_loop(number: int) -> int:
            await anyio.sleep(0.001)
            return number + 1

        def in_a_thread(number: int) -> int:
            return from_thread.run(on_the_loop, number) + from_thread.run_sync(abs, -1)

        async def ask(number: int) -> None:
            assert await to_thread.run_sync(in_a_thread, number) == number + 2

        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(ask, number)
        assert await to_process.run_sync(os.getppid) == os.getpid()

    run_anyio(main)


def test_a_portal_from_outside(kind: Kind) -> None:
    async def loop() -> str:
        return type(asyncio.get_running_loop()).__module__

    async def group_of_tasks() -> anyio.abc.TaskGroup:
        return anyio.create_task_group()

    options = {"loop_factory": kind.new_loop}
    with from_thread.start_blocking_portal(backend_options=options) as portal:
        assert portal.call(loop).startswith("saburo") == kind.is_saburo
        assert portal.start_task_soon(anyio.sleep, 0.001).result() is None
        group = portal.call(group_of_tasks)
        with portal.wrap_async_context_manager(group) as tasks:
            portal.call(tasks.start_soon, anyio.sleep, 0.001)


def test_signals(run_anyio: RunAnyio) -> None:
    async def main() -> None:
        with anyio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as signals:
            os.kill(os.getpid(), signal.SIGUSR2)
            async for number in signals:
                assert number == signal.SIGUSR2
                break

    run_anyio(main)
