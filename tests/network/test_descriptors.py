"""add_reader and add_writer: level-triggered, one of each per descriptor, never a stale event."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from support.both_loops import Kind, outcome, run_until, turn

Loop = asyncio.AbstractEventLoop


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, two = socket.socketpair()
    one.setblocking(False)
    two.setblocking(False)
    yield one, two
    one.close()
    two.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_a_reader_is_called_as_long_as_there_is_something_to_read(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, two = pair
    seen: list[bytes] = []
    loop.add_reader(one, lambda: seen.append(one.recv(1)))
    two.send(b"abc")
    run_until(loop, lambda: len(seen) == 3)
    assert seen == [b"a", b"b", b"c"]
    turn(loop, 3)
    assert len(seen) == 3
    assert loop.remove_reader(one) is True
    assert loop.remove_reader(one) is False


def test_a_reader_that_reads_nothing_is_called_every_turn(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, two = pair
    seen: list[int] = []
    loop.add_reader(one, seen.append, 1)
    two.send(b"x")
    turn(loop, 5)
    assert len(seen) >= 4
    loop.remove_reader(one)
    before = len(seen)
    turn(loop, 3)
    assert len(seen) == before


def test_a_writer_is_called_as_long_as_there_is_room(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, two = pair
    sent: list[int] = []

    def write() -> None:
        try:
            sent.append(one.send(b"x" * 4096))
        except BlockingIOError:
            sent.append(0)

    loop.add_writer(one, write)
    run_until(loop, lambda: len(sent) > 2)
    for _ in range(1000):
        turn(loop)
        before = len(sent)
        turn(loop)
        if len(sent) == before:  # full: no longer called
            break
    assert len(sent) == before
    while True:
        try:
            two.recv(1 << 20)
        except BlockingIOError:
            break
    run_until(loop, lambda: len(sent) > before)
    assert loop.remove_writer(one) is True
    assert loop.remove_writer(one) is False


def test_reader_and_writer_of_one_descriptor_are_independent(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, two = pair
    seen: list[str] = []
    loop.add_reader(one, lambda: (seen.append("read"), one.recv(10)))
    loop.add_writer(one, lambda: (seen.append("write"), loop.remove_writer(one)))
    run_until(loop, lambda: seen == ["write"])
    two.send(b"x")
    run_until(loop, lambda: seen == ["write", "read"])
    loop.add_writer(one, lambda: (seen.append("again"), loop.remove_writer(one)))
    loop.remove_reader(one)
    two.send(b"y")
    run_until(loop, lambda: seen[2:] == ["again"])
    turn(loop, 3)
    assert seen == ["write", "read", "again"]


def test_a_second_registration_replaces_the_first(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, two = pair

    class Callback:
        def __call__(self) -> None:
            seen.append("first")

    seen: list[str] = []
    first = Callback()
    gone = weakref.ref(first)
    loop.add_reader(one, first)
    del first
    loop.add_reader(one.fileno(), lambda: (seen.append("second"), one.recv(10)))
    gc.collect()
    assert gone() is None
    two.send(b"x")
    run_until(loop, lambda: bool(seen))
    assert seen == ["second"]
    assert loop.remove_reader(one) is True
    assert loop.remove_reader(one) is False


def test_removing_lets_go_of_the_callback(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    class Callback:
        def __call__(self) -> None:
            pass

    callbacks = [Callback(), Callback()]
    gone = [weakref.ref(callback) for callback in callbacks]
    loop.add_reader(pair[0], callbacks[0])
    loop.add_writer(pair[0], callbacks[1])
    callbacks.clear()
    loop.remove_reader(pair[0])
    loop.remove_writer(pair[0])
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


def test_a_reader_removed_in_the_same_batch_is_not_called(loop: Loop) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    seen: list[int] = []

    def read(me: int) -> None:
        seen.append(me)
        loop.remove_reader(pairs[1 - me][0])

    for number, (one, two) in enumerate(pairs):
        loop.add_reader(one, read, number)
        two.send(b"x")
    turn(loop)
    turn(loop)
    assert len(set(seen)) == 1
    for one, two in pairs:
        loop.remove_reader(one)
        one.close()
        two.close()


def test_the_end_of_the_other_side_is_readable(
    loop: Loop, pair: tuple[socket.socket, socket.socket], pipe: tuple[int, int]
) -> None:
    seen: list[bytes] = []
    one, two = pair
    loop.add_reader(one, lambda: (seen.append(one.recv(10)), loop.remove_reader(one)))
    two.close()
    run_until(loop, lambda: seen == [b""])
    reader, writer = pipe
    loop.add_reader(reader, lambda: (seen.append(os.read(reader, 9)), loop.remove_reader(reader)))
    os.close(writer)
    run_until(loop, lambda: seen == [b"", b""])


def test_the_end_of_the_other_side_is_writable_with_an_error(
    loop: Loop, pipe: tuple[int, int]
) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, b"x" * 65536)
        except BlockingIOError:
            break
    seen: list[str] = []

    def write() -> None:
        try:
            os.write(writer, b"x")
        except BrokenPipeError:
            seen.append("broken")
            loop.remove_writer(writer)

    loop.add_writer(writer, write)
    turn(loop)
    assert seen == []
    os.close(reader)
    run_until(loop, lambda: seen == ["broken"])


def test_a_refused_connection_calls_the_writer(loop: Loop) -> None:
    with socket.socket() as probe, socket.socket() as client:
        probe.bind(("127.0.0.1", 0))
        client.setblocking(False)
        error = client.connect_ex(probe.getsockname())
        if error:
            seen: list[int] = []
            loop.add_writer(client, seen.append, 1)
            run_until(loop, lambda: bool(seen))
            loop.remove_writer(client)


def test_anything_with_a_fileno_will_do(loop: Loop, pipe: tuple[int, int]) -> None:
    class Wrapped:
        def fileno(self) -> int:
            return pipe[0]

    seen: list[bytes] = []
    loop.add_reader(Wrapped(), lambda: seen.append(os.read(pipe[0], 10)))
    os.write(pipe[1], b"x")
    run_until(loop, lambda: seen == [b"x"])
    assert loop.remove_reader(pipe[0]) is True


@pytest.mark.parametrize("wrong", [-1, -100, "text", None, 1.5, object(), 2**40])
def test_what_is_no_descriptor_is_refused_as_in_asyncio(loop: Loop, wrong: Any) -> None:
    reference = asyncio.new_event_loop()

    def outcomes(loop: Loop) -> list[tuple[str, str]]:
        return [
            outcome(lambda: loop.add_reader(wrong, print)),
            outcome(lambda: loop.add_writer(wrong, print)),
            outcome(lambda: loop.remove_reader(wrong)),
            outcome(lambda: loop.remove_writer(wrong)),
        ]

    assert outcomes(loop) == outcomes(reference)
    reference.close()


def test_a_closed_descriptor_is_refused(loop: Loop, pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    with pytest.raises(OSError, match="Bad file descriptor"):
        loop.add_reader(pipe[0], print)
    assert loop.remove_reader(pipe[0]) is False


def test_a_regular_file_is_refused_as_epoll_does(loop: Loop, tmp_path: Any) -> None:
    with open(tmp_path / "file", "w") as file:
        with pytest.raises(PermissionError):
            loop.add_reader(file, print)
        assert loop.remove_reader(file) is False


def test_what_is_refused_is_not_kept(loop: Loop, tmp_path: Any) -> None:
    class Reader:
        def __call__(self) -> None:
            pass

    reader = Reader()
    gone = weakref.ref(reader)
    with open(tmp_path / "file", "w") as file:
        for add in (loop.add_reader, loop.add_writer):
            with pytest.raises(PermissionError):
                add(file, reader)
    del reader
    gc.collect()
    assert gone() is None


def test_a_recycled_descriptor_gets_no_event_of_its_predecessor(kind: Kind, loop: Loop) -> None:
    """Closed without being removed, and the number given to another socket at once."""
    for _ in range(20):
        old, other = socket.socketpair()
        seen: list[str] = []
        loop.add_reader(old, seen.append, "old")
        other.send(b"for the old one")
        number = old.fileno()
        old.close()
        new, peer = socket.socketpair()
        assert new.fileno() == number
        loop.remove_reader(number)
        loop.add_reader(new, lambda new=new, seen=seen: seen.append(f"new {new.recv(10)!r}"))  # type: ignore[misc]
        turn(loop, 3)
        assert seen == []
        peer.send(b"hello")
        run_until(loop, lambda seen=seen: bool(seen))  # type: ignore[misc]
        assert seen == ["new b'hello'"]
        loop.remove_reader(new)
        for each in (other, new, peer):
            each.close()


@pytest.mark.saburo_only
def test_registering_a_recycled_number_works_without_removing_it_first(loop: Loop) -> None:
    """asyncio believes the number is still in its epoll set, and never hears of it again."""
    old, other = socket.socketpair()
    seen: list[str] = []
    loop.add_reader(old, seen.append, "old")
    number = old.fileno()
    old.close()
    new, peer = socket.socketpair()
    assert new.fileno() == number
    loop.add_reader(new, lambda: seen.append(f"new {new.recv(10)!r}"))
    peer.send(b"hello")
    run_until(loop, lambda: bool(seen))
    assert seen == ["new b'hello'"]
    loop.remove_reader(new)
    for each in (other, new, peer):
        each.close()


def test_a_descriptor_closed_while_registered_does_not_stop_the_loop(loop: Loop) -> None:
    one, two = socket.socketpair()
    loop.add_reader(one, print)
    number = one.fileno()
    one.close()
    two.close()
    loop.call_later(0.002, loop.stop)
    loop.run_forever()
    assert loop.remove_reader(number) is True


def test_a_socket_without_a_number_is_known_by_its_identity(loop: Loop) -> None:
    """Who closes first and removes then is not told that -1 is no descriptor."""
    for lose in (socket.socket.close, socket.socket.detach):
        for remove, other in (
            (loop.remove_reader, loop.remove_writer),
            (loop.remove_writer, loop.remove_reader),
        ):
            one, two = socket.socketpair()
            number = one.fileno()
            add = loop.add_reader if remove == loop.remove_reader else loop.add_writer
            add(one, print)
            lose(one)
            assert other(one) is False
            assert remove(one) is True
            assert remove(number) is False
            for again in (remove, other):
                with pytest.raises(ValueError, match="^Invalid file descriptor: -1$"):
                    again(one)
            two.close()
            with contextlib.suppress(OSError):
                os.close(number)


def test_a_closed_socket_is_removed_though_its_number_is_another_file(loop: Loop) -> None:
    old, other = socket.socketpair()
    number = old.fileno()
    loop.add_reader(old, print)
    old.close()
    new, peer = socket.socketpair()
    assert new.fileno() == number
    assert loop.remove_reader(old) is True
    assert loop.remove_reader(new) is False
    seen: list[bytes] = []
    loop.add_reader(new, lambda: seen.append(new.recv(10)))
    peer.send(b"hello")
    run_until(loop, lambda: bool(seen))
    assert loop.remove_reader(new) is True
    for each in (other, new, peer):
        each.close()


@pytest.mark.saburo_only
def test_a_closed_socket_does_not_remove_whoever_has_its_number(loop: Loop) -> None:
    """asyncio still has the old socket beside the number, and stops watching the new one."""
    old, other = socket.socketpair()
    loop.add_reader(old, print)
    number = old.fileno()
    old.close()
    new, peer = socket.socketpair()
    assert new.fileno() == number
    loop.add_reader(new, print)
    with pytest.raises(ValueError, match="^Invalid file descriptor: -1$"):
        loop.remove_reader(old)
    assert loop.remove_reader(new) is True
    for each in (other, new, peer):
        each.close()


def test_a_closed_file_and_a_number_are_not_known_by_identity(loop: Loop) -> None:
    reader, writer = os.pipe()
    with open(writer, "wb"):
        file = os.fdopen(reader, "rb")
        loop.add_reader(file, print)
        file.close()
        with pytest.raises(ValueError, match="^Invalid file object: "):
            loop.remove_reader(file)
        assert loop.remove_reader(reader) is True
        assert loop.remove_reader(reader) is False


def test_a_watched_socket_is_kept_until_nobody_watches_it(loop: Loop) -> None:
    one, two = socket.socketpair()
    number, gone = one.fileno(), weakref.ref(one)
    seen: list[bytes] = []
    loop.add_reader(one, lambda: seen.append(os.read(number, 10)))
    loop.add_writer(number, print)
    loop.remove_writer(number)
    del one
    gc.collect()
    two.send(b"hello")
    run_until(loop, lambda: bool(seen))
    assert seen == [b"hello"]
    held = gone()
    assert held is not None
    assert loop.remove_reader(number) is True
    held.close()
    del held
    assert gone() is None
    two.close()


def test_a_closed_loop_keeps_no_socket(loop: Loop) -> None:
    one, two = socket.socketpair()
    gone = weakref.ref(one)
    loop.add_reader(one, print)
    loop.close()
    assert loop.remove_reader(one) is False
    one.close()
    assert loop.remove_reader(one) is False
    assert loop.remove_reader(-1) is False
    del one
    gc.collect()
    assert gone() is None
    two.close()


def test_duplicates_of_a_descriptor_are_registered_apart(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, two = pair
    copy = one.dup()
    seen: list[str] = []
    loop.add_reader(one, lambda: (seen.append("one"), loop.remove_reader(one)))
    loop.add_reader(copy, lambda: (seen.append("copy"), loop.remove_reader(copy)))
    two.send(b"x")
    run_until(loop, lambda: len(seen) == 2)
    assert sorted(seen) == ["copy", "one"]
    copy.close()


def test_a_thousand_descriptors_at_once(loop: Loop) -> None:
    import resource

    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(1000, (soft - 100) // 2)
    pairs = [socket.socketpair() for _ in range(count)]
    seen: set[int] = set()

    def read(number: int) -> None:
        seen.add(number)
        loop.remove_reader(pairs[number][0])

    for number, (one, two) in enumerate(pairs):
        loop.add_reader(one, read, number)
        two.send(b"x")
    run_until(loop, lambda: len(seen) == count)
    for one, two in pairs:
        one.close()
        two.close()


def test_descriptors_do_not_starve_callbacks_nor_the_reverse(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, two = pair
    reads, calls = [0], [0]

    def read() -> None:
        reads[0] += 1

    def call() -> None:
        calls[0] += 1
        loop.call_soon(call)

    loop.add_reader(one, read)
    two.send(b"x")
    loop.call_soon(call)
    run_until(loop, lambda: reads[0] > 50 and calls[0] > 50)
    assert min(reads[0], calls[0]) * 3 >= max(reads[0], calls[0]) - 10
    loop.remove_reader(one)


def test_input_arrives_while_a_program_spins_on_sleep_zero(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Programs await sleep(0) and expect the input to have moved."""
    one, two = pair

    async def main() -> int:
        seen: list[bytes] = []
        loop.add_reader(one, lambda: seen.append(one.recv(10)))
        two.send(b"x")
        turns = 0
        while not seen:
            await asyncio.sleep(0)
            turns += 1
        loop.remove_reader(one)
        return turns

    assert loop.run_until_complete(main()) <= 3


def test_closing_the_loop_lets_go_of_registrations(
    new_loop: Any, pair: tuple[socket.socket, socket.socket]
) -> None:
    class Callback:
        def __call__(self) -> None:
            pass

    callback = Callback()
    gone = weakref.ref(callback)
    loop = new_loop()
    loop.add_reader(pair[0], callback)
    loop.add_writer(pair[0], callback)
    del callback
    loop.close()
    gc.collect()
    assert gone() is None
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.add_reader(pair[0], print)


def test_a_failing_reader_is_reported_and_stays(
    loop: Loop, reports: list[dict[str, Any]], pair: tuple[socket.socket, socket.socket]
) -> None:
    one, two = pair

    def fail() -> None:
        one.recv(1)
        raise LookupError

    loop.add_reader(one, fail)
    two.send(b"xy")
    run_until(loop, lambda: len(reports) == 2)
    assert loop.remove_reader(one) is True


def test_a_reader_may_close_the_loops_other_registrations(loop: Loop) -> None:
    pairs = [socket.socketpair() for _ in range(10)]
    seen: list[int] = []

    def read(number: int) -> None:
        seen.append(number)
        for one, two in pairs:
            loop.remove_reader(one)
            one.close()
            two.close()

    for number, (one, two) in enumerate(pairs):
        loop.add_reader(one, read, number)
        two.send(b"x")
    turn(loop, 3)
    assert len(seen) == 1


def test_a_cycle_through_a_watched_object_is_collected(kind: Kind, pipe: tuple[int, int]) -> None:
    class File:
        loop: Any

        def fileno(self) -> int:
            return pipe[0]

    loop = kind.new_loop()
    file = File()
    file.loop = loop
    loop.add_reader(file, print)
    seen = weakref.ref(file)
    loop.close()
    del loop, file
    gc.collect()
    assert seen() is None
