"""examples/chat.py: all in the room hear the same in the same order, and the slow are cut off."""

from __future__ import annotations

import contextlib
import json
import signal
import socket

import pytest
from support.both_loops import Kind
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .conftest import Start
from .programs import EXAMPLES, Program, python

CHAT = EXAMPLES / "chat.py"


@pytest.fixture
def room(kind: Kind, start: Start) -> Program:
    return start(python(kind, CHAT, "serve", "--port", "0"))


def address(room: Program) -> str:
    return room.expect(r"open at (ws://\S+)")[1]


def close(room: Program, number: signal.Signals = signal.SIGTERM) -> None:
    assert room.end(number) == 0
    assert room.output.endswith("the room is closed\n")
    room.check()


def hear(member: ClientConnection) -> tuple[str, str]:
    said = json.loads(member.recv())
    return said["from"], said["text"]


def test_two_members_talk_in_a_room_of_their_own(kind: Kind, start: Start) -> None:
    program = start(python(kind, CHAT))
    assert program.end() == 0
    assert program.output.splitlines() == [
        "Jiro heard:",
        "    * Jiro joined",
        "    <Ichiro> Hello, Jiro!",
        "    <Jiro> Hello! Where is Saburo?",
        "    <Ichiro> Gone. He waits least, so he is done first.",
        "Ichiro heard:",
        "    * Ichiro joined",
        "    * Jiro joined",
        "    <Ichiro> Hello, Jiro!",
        "    <Jiro> Hello! Where is Saburo?",
        "    <Ichiro> Gone. He waits least, so he is done first.",
        "    * Jiro left",
    ]


def test_a_server_and_two_clients_in_processes_of_their_own(
    kind: Kind, start: Start, room: Program
) -> None:
    url = address(room)
    one = start(python(kind, CHAT, "join", "Ichiro", "--url", url))
    one.expect("Ichiro joined")
    two = start(python(kind, CHAT, "join", "Jiro", "--url", url))
    one.expect("Jiro joined")
    two.send("hello\n\n  and again  \n")
    one.expect("^<Jiro> hello$")
    one.expect("^<Jiro> and again$")
    assert two.end() == 0  # which closes its stdin, as Ctrl-D does
    one.expect("Jiro left")
    close(room, signal.SIGINT)
    one.process.wait()  # its stdin is open, and a thread waits for it
    assert one.end() == 0
    for program in one, two:
        program.check()


def test_fifty_members_hear_everything_in_the_same_order(room: Program) -> None:
    url = address(room)
    heard = []
    with contextlib.ExitStack() as stack:
        # No limit: this client hears no goodbye behind messages that it has no room for.
        members = [stack.enter_context(connect(url, max_queue=None)) for _ in range(50)]
        for number, member in enumerate(members):
            member.send(str(number))
            assert hear(member) == ("", f"{number} joined")
        for number, member in enumerate(members):
            member.send(f"hello from {number}")
        for number, member in enumerate(members):
            later = [hear(member) for _ in range(49 - number)]
            assert later == [("", f"{other} joined") for other in range(number + 1, 50)]
            heard.append([hear(member) for _ in range(50)])
    assert sorted(heard[0]) == sorted((str(n), f"hello from {n}") for n in range(50))
    assert all(each == heard[0] for each in heard)
    close(room)


def test_a_name_is_taken_until_its_owner_has_left(kind: Kind, start: Start, room: Program) -> None:
    url = address(room)
    with connect(url) as first:
        first.send("Saburo")
        hear(first)
        second = start(python(kind, CHAT, "join", "Saburo", "--url", url))
        assert second.end() == 1
        assert second.output == "chat: out of the room: that name is taken\n"
    with connect(url) as third:
        third.send("Saburo")
        assert hear(third) == ("", "Saburo joined")
    close(room)


def test_who_does_not_read_is_cut_off_and_the_others_hear_all(room: Program) -> None:
    url = address(room)
    slow = socket.create_connection(tuple_of(url))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.sendall(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        b"\x81\x84\0\0\0\0slow"  # a whole frame of text, under a mask of zeros
    )
    with connect(url) as quick:
        quick.send("quick")
        while hear(quick) != ("", "quick joined"):
            pass
        text = "x" * 50_000
        said = 0
        while True:
            quick.send(text)
            said += 1
            who, what = hear(quick)
            if (who, what) == ("", "slow left"):
                break
            assert (who, what) == ("quick", text)
            assert said < 2000
        quick.close()
    slow.close()
    close(room)


def test_a_room_that_is_not_there_is_said_in_one_line(kind: Kind, start: Start) -> None:
    program = start(python(kind, CHAT, "join", "Saburo", "--url", "ws://127.0.0.1:1"))
    assert program.end() == 1
    (line,) = program.output.splitlines()
    assert line.startswith("chat: cannot join ws://127.0.0.1:1: ")


def test_the_room_ends_for_all_when_it_closes(room: Program) -> None:
    with connect(address(room)) as member:
        member.send("Saburo")
        hear(member)
        room.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            member.recv()
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1001  # "going away"
    assert room.end() == 0
    room.check()


def tuple_of(url: str) -> tuple[str, int]:
    host, port = url.removeprefix("ws://").split(":")
    return host, int(port)
