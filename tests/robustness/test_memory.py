"""Memory runs out: MemoryError, or a closed connection and a report; the process never ends.

Each script runs in a process of its own whose address space is limited, and says what became of it.
"""

from __future__ import annotations

import sys
import textwrap

import pytest
from support.both_loops import Kind

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits its address space as Linux does"
)

HEAD = """
    import asyncio, os, resource, socket, sys

    hard = resource.getrlimit(resource.RLIMIT_AS)[1]

    def limit(mebibytes):
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        most = used + int(mebibytes * 2**20)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))

    def relax():
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))

    def end(said):
        # Without finalizing: some of these have left no memory for that.
        os.write(1, said.encode())
        os._exit(0)

    def without_end(step):
        limit(16)
        try:
            while True:
                step()
        except MemoryError:
            end("MemoryError")

    def use_up():
        kept = []
        try:
            while True:
                kept.append(bytearray(1 << 16))
        except MemoryError:
            # What small objects need is given back.
            del kept[-4:]
        return kept

    async def connected(protocol=asyncio.Protocol):
        here, there = socket.socketpair()
        here.setblocking(False)
        there.setblocking(False)
        transport, _ = await loop.create_connection(protocol, sock=here)
        return transport, there

    loop = new_loop()
    streams = sys.modules[os.environ["STREAMS"]]
    def raises(call):
        try:
            call()
        except MemoryError:
            end("MemoryError")
        end("nothing")
"""

RAISING = {
    "callbacks": "without_end(lambda: loop.call_soon(print))",
    "posts": "without_end(lambda: loop.call_soon_threadsafe(print))",
    "timers": "without_end(lambda: loop.call_later(100, print))",
    "callbacks of a future": """
        future = loop.create_future()
        without_end(lambda: future.add_done_callback(print))""",
    "large pieces that are kept": """
        async def main():
            transport, there = await connected()
            without_end(lambda: transport.write(bytes(10_000)))
        loop.run_until_complete(main())""",
    "bytes for a reader": """
        reader = streams.StreamReader(limit=2**40, loop=loop)
        data = bytes(100 << 20)
        limit(50)
        raises(lambda: reader.feed_data(data))""",
    "a reader's bytes in one": """
        reader = streams.StreamReader(limit=2**40, loop=loop)
        reader.feed_data(bytes(100 << 20))
        reader.feed_eof()
        limit(50)
        raises(lambda: loop.run_until_complete(reader.read()))""",
    "a reader's bytes as a bytearray": """
        reader = streams.StreamReader(limit=2**40, loop=loop)
        reader.feed_data(bytes(60 << 20))
        buffer = reader._buffer
        buffer += bytes(60 << 20)
        limit(50)
        raises(lambda: loop.run_until_complete(reader.read()))""",
}


@pytest.mark.parametrize("what", RAISING)
def test_a_call_for_which_there_is_no_memory_raises(
    kind: Kind, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMS", "saburo" if kind.is_saburo else "asyncio")
    finished = kind.run_script(textwrap.dedent(HEAD) + textwrap.dedent(RAISING[what]))
    assert (finished.returncode, finished.stdout) == (0, "MemoryError"), finished.stderr


OWN = {
    "a look through the callbacks of a future": """
        future = loop.create_future()
        for _ in range(400_000):
            future.add_done_callback(print)
        limit(1)
        kept = use_up()
        raises(lambda: future.remove_done_callback(len))""",
    "small pieces to be sent": """
        async def main():
            transport, there = await connected()
            data = bytes(1000)
            without_end(lambda: transport.write(data))
        loop.run_until_complete(main())""",
    "small pieces that may change": """
        async def main():
            transport, there = await connected()
            data = bytearray(1000)
            without_end(lambda: transport.write(data))
        loop.run_until_complete(main())""",
    "a large piece that may change": """
        async def main():
            transport, there = await connected()
            data = bytearray(100 << 20)
            limit(50)
            raises(lambda: transport.write(data))
        loop.run_until_complete(main())""",
    "many pieces": """
        async def main():
            transport, there = await connected()
            data = bytearray(100 << 20)
            limit(50)
            raises(lambda: transport.writelines([data, b"x"]))
        loop.run_until_complete(main())""",
    "tasks": """
        async def main(): await asyncio.sleep(100)
        def begin():
            global coro  # kept: CPython has no memory for the warning that it was never awaited
            coro = main()
            loop.create_task(coro)
        async def start():
            without_end(begin)
        loop.run_until_complete(start())""",
    "all tasks": """
        async def main():
            tasks = [loop.create_task(asyncio.sleep(100)) for _ in range(100_000)]
            limit(1)
            kept = use_up()
            raises(asyncio.all_tasks)
        loop.run_until_complete(main())""",
    "datagrams to be sent": """
        async def main():
            here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            here.setblocking(False)
            transport, _ = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, sock=here)
            data = bytes(100)
            without_end(lambda: transport.sendto(data))
        loop.run_until_complete(main())""",
    "jobs of the pool": """
        import threading
        stop = threading.Event()
        for _ in range(40):
            loop.run_in_executor(None, stop.wait)
        without_end(lambda: loop.run_in_executor(None, print))""",
}
"""Where asyncio keeps what it was given, by its version, or meets other trouble."""


@pytest.mark.saburo_only
@pytest.mark.parametrize("what", OWN)
def test_a_call_that_asyncio_has_other_trouble_with_raises(
    kind: Kind, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMS", "saburo")
    finished = kind.run_script(textwrap.dedent(HEAD) + textwrap.dedent(OWN[what]))
    assert (finished.returncode, finished.stdout) == (0, "MemoryError"), finished.stderr


@pytest.mark.parametrize("call", ["call_soon(print)", "call_later(100, print)"])
def test_a_loop_is_closed_without_memory(
    kind: Kind, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMS", "asyncio")
    body = f"""
        limit(16)
        try:
            while True:
                loop.{call}
        except MemoryError:
            pass
        kept = use_up()
        try:
            loop.close()
        except MemoryError:
            pass  # asyncio's, now and then
        del kept
        end("alive")
    """
    finished = kind.run_script(textwrap.dedent(HEAD) + textwrap.dedent(body))
    assert (finished.returncode, finished.stdout) == (0, "alive"), finished.stderr


@pytest.mark.saburo_only
def test_timers_that_are_due_together_need_no_memory_for_all_of_them(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio raises MemoryError out of the run."""
    monkeypatch.setenv("STREAMS", "saburo")
    body = """
        expected = misplaced = 0

        def fire(number):
            global expected, misplaced
            misplaced += number != expected
            expected += 1

        when = loop.time()
        for number in range(200_000):
            loop.call_at(when, fire, number)
        loop.call_at(when, loop.stop)
        limit(1)
        kept = use_up()
        loop.run_forever()
        end(f"{expected} {misplaced}")
    """
    finished = kind.run_script(textwrap.dedent(HEAD) + textwrap.dedent(body))
    assert (finished.returncode, finished.stdout) == (0, "200000 0"), finished.stderr


def test_a_peer_that_sends_without_end_loses_its_connection(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMS", "saburo" if kind.is_saburo else "asyncio")
    body = """
        reports = []
        loop.set_exception_handler(lambda _, context: reports.append(context))

        async def main():
            here, there = socket.socketpair()
            here.setblocking(False)
            there.setblocking(False)
            reader, writer = await streams.open_connection(sock=here, limit=2**40)
            limit(16)

            async def send():
                data = bytes(1 << 16)
                while True:
                    await loop.sock_sendall(there, data)

            sending = asyncio.ensure_future(send())
            try:
                await reader.readuntil(b"x")
            except MemoryError:
                pass
            try:
                await sending
            except OSError:
                pass
            relax()
            assert isinstance(reports[0]["exception"], MemoryError), reports
            end(reports[0]["message"])

        loop.run_until_complete(main())
    """
    finished = kind.run_script(textwrap.dedent(HEAD) + textwrap.dedent(body))
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("Fatal "), finished.stdout


def test_without_memory_to_receive_a_connection_is_lost(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMS", "saburo" if kind.is_saburo else "asyncio")
    body = """
        reports = []
        loop.set_exception_handler(lambda _, context: reports.append(context))

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport):
                self.lost = loop.create_future()
            def data_received(self, data):
                end("received")
            def connection_lost(self, error):
                self.lost.set_result(error)

        async def main():
            here, there = socket.socketpair()
            here.setblocking(False)
            transport, protocol = await loop.create_connection(Protocol, sock=here)
            limit(1)
            kept = []
            try:
                while True:
                    kept.append(bytearray(1 << 16))
            except MemoryError:
                del kept[-1:]
            there.send(b"x")
            error = await protocol.lost
            del kept
            relax()
            assert isinstance(error, MemoryError), error
            end(reports[0]["message"])

        loop.run_until_complete(main())
    """
    finished = kind.run_script(textwrap.dedent(HEAD) + textwrap.dedent(body))
    said = "Fatal read error on socket transport"
    assert (finished.returncode, finished.stdout) == (0, said), finished.stderr
