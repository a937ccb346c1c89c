"""What is written from and read into: objects with bytes of all shapes, and objects with none."""

from __future__ import annotations

import array
import asyncio
import mmap
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest
from support.both_loops import Kind, comparable
from support.network import Recorder

Run = Callable[..., Any]


def released() -> memoryview:
    view = memoryview(b"tea")
    view.release()
    return view


def read_only_mmap() -> mmap.mmap:
    return mmap.mmap(-1, 8, access=mmap.ACCESS_READ)


# What cannot be filled, and whatever else its error would be without the socket module's words.
UNFILLABLE: dict[str, Callable[[], Any]] = {
    "bytes": lambda: b"12345678",
    "read-only view": lambda: memoryview(b"12345678"),
    "read-only mmap": read_only_mmap,
    "not in a row": lambda: memoryview(bytearray(16))[::2],
    "released": released,
    "text": lambda: "text",
    "list": lambda: [1, 2],
    "None": lambda: None,
    "number": lambda: 5,
}


def words(error: BaseException) -> tuple[str, str]:
    return type(error).__name__, comparable(str(error))


@pytest.mark.parametrize("name", UNFILLABLE)
@pytest.mark.parametrize("early", [True, False], ids=["early", "late"])
def test_recv_into_refuses_as_the_socket_does(run: Run, name: str, early: bool) -> None:
    async def main() -> None:
        one, two = socket.socketpair()
        with one, two:
            one.setblocking(False)
            two.send(b"early" if early else b"")
            loop = asyncio.get_running_loop()
            buffer = UNFILLABLE[name]()
            with pytest.raises(TypeError) as expected:
                one.recv_into(buffer)
            with pytest.raises(TypeError) as raised:
                await loop.sock_recv_into(one, buffer)
            assert words(raised.value) == words(expected.value)

    run(main())


@pytest.mark.parametrize("name", sorted(UNFILLABLE.keys() - {"None", "number", "released"}))
def test_a_protocol_that_lends_what_cannot_be_filled(run: Run, name: str) -> None:
    class Lender(Recorder, asyncio.BufferedProtocol):
        def get_buffer(self, sizehint: int) -> Any:
            return UNFILLABLE[name]()

        def buffer_updated(self, nbytes: int) -> None:
            raise AssertionError(nbytes)

    async def main() -> BaseException | None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, _context: None)
        one, two = socket.socketpair()
        with two:
            _, protocol = await loop.connect_accepted_socket(lambda: Lender(), one)
            two.send(b"tea")
            return await protocol.lost

    one, two = socket.socketpair()
    with one, two, pytest.raises(TypeError) as expected:
        one.recv_into(UNFILLABLE[name]())
    error = run(main())
    assert error is not None
    assert words(error) == words(expected.value)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio joins the lines before")
@pytest.mark.parametrize("bad", ["text", 5, object(), ["nested"], ("pair",)], ids=repr)
def test_a_line_that_has_no_bytes_is_refused_in_asyncios_words(
    run: Run, kind: Kind, bad: Any
) -> None:
    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        one, two = socket.socketpair()
        with two:
            two.setblocking(False)
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=one)
            text = f"memoryview: a bytes-like object is required, not '{type(bad).__name__}'"
            with pytest.raises(TypeError) as raised:
                transport.writelines([b"one", bad, b"two"])
            assert str(raised.value) == text
            # What is false is passed over, whatever it is.
            odd: list[Any] = [b"three", None, bytearray(b"four"), [], b""]
            transport.writelines(odd)
            transport.close()
            return await loop.sock_recv(two, 100)

    # asyncio of 3.15 keeps what stood before it.
    kept = b"one" if sys.version_info >= (3, 15) and not kind.is_saburo else b""
    assert run(main()) == kept + b"threefour"


@pytest.mark.saburo_only  # from 3.12 on asyncio sends what it has become
def test_what_is_written_may_change_afterwards(run: Run) -> None:
    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        one, two = socket.socketpair()
        with two:
            two.setblocking(False)
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=one)
            # What is under way first makes those behind it wait.
            transport.write(bytes(4_000_000))
            whole = bytearray(b"tea")
            numbers = array.array("H", [1, 2])
            transport.write(whole)
            transport.write(memoryview(numbers).cast("B"))
            whole[:] = b"XXX"
            numbers[0] = 9
            transport.close()
            received = bytearray()
            while more := await loop.sock_recv(two, 1 << 20):
                received += more
            return bytes(received.lstrip(b"\0"))

    assert run(main()) == b"tea" + array.array("H", [1, 2]).tobytes()
