"""How a connection with TLS begins, and what keeps it from beginning."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from support.both_loops import Kind
from support.certificates import certificates
from support.tls_peer import Peer, Recorder, begin, both_sides, both_versions, close, connect

Run = Callable[..., Any]


# ---- what a connection knows ----


@both_versions
@both_sides
def test_a_connection_knows_all_about_its_tls(
    run: Run, version: ssl.TLSVersion, server_side: bool
) -> None:
    async def main() -> None:
        context = (certificates().server if server_side else certificates().client)(version=version)
        transport, protocol, peer = await connect(
            server_side=server_side, context=context, version=version
        )
        assert protocol.calls == ["made"]
        assert protocol.transport is transport
        assert isinstance(transport, asyncio.Transport)
        tls = transport.get_extra_info("ssl_object")
        assert isinstance(tls, ssl.SSLObject)
        assert tls.server_side == server_side
        assert tls.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
        assert transport.get_extra_info("sslcontext") is context
        assert transport.get_extra_info("cipher") == tls.cipher()
        assert transport.get_extra_info("compression") is None
        assert transport.get_extra_info("compression", "default") is None
        certificate = transport.get_extra_info("peercert")
        if server_side:
            assert certificate is None
        else:
            assert ("DNS", "localhost") in certificate["subjectAltName"]
            assert transport.get_extra_info("peercert") is certificate
        # Of the transport below.
        sock = transport.get_extra_info("socket")
        assert sock.fileno() >= 0
        assert sock.family == socket.AF_UNIX
        assert transport.get_extra_info("sockname") == sock.getsockname()
        assert transport.get_extra_info("peername") == ""
        assert transport.get_extra_info("nothing") is None
        assert transport.get_extra_info("nothing", "default") == "default"
        await close(transport, protocol, peer)
        # The one below is gone, TLS is remembered.
        assert transport.get_extra_info("socket", "default") == "default"
        assert transport.get_extra_info("ssl_object") is tls
        assert transport.get_extra_info("sslcontext") is context
        assert transport.get_extra_info("peercert") == certificate

    run(main())


def test_a_connection_knows_nothing_before_the_handshake(run: Run) -> None:
    async def main() -> None:
        begun, peer = begin()
        await asyncio.sleep(0)
        protocol: Any = None
        while protocol is None:
            await asyncio.sleep(0)
            transports = [t for t in [waiting_transport(begun)] if t is not None]
            if transports:
                (transport,) = transports
                protocol = transport.get_protocol()
        assert transport.get_extra_info("sslcontext") is not None
        for name in ("ssl_object", "peercert", "cipher", "compression"):
            assert transport.get_extra_info(name, "default") == "default"
        assert protocol.calls == []
        await asyncio.gather(begun, peer.handshake())
        assert protocol.calls == ["made"]
        await close(transport, protocol, peer)

    run(main())


def waiting_transport(task: asyncio.Task[Any]) -> Any:
    """The transport that create_connection is waiting with."""
    coroutine: Any = task.get_coro()
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is None:
            return None
        found = frame.f_locals.get("transport")
        if found is not None:
            return found
        coroutine = coroutine.cr_await
    return None


# ---- ALPN, SNI, certificates of clients, sessions ----


@both_sides
def test_alpn_is_negotiated(run: Run, server_side: bool) -> None:
    async def main() -> None:
        server, client = certificates().server(), certificates().client()
        server.set_alpn_protocols(["h2", "http/1.1"])
        client.set_alpn_protocols(["spdy", "http/1.1", "h2"])
        contexts = (server, client) if server_side else (client, server)
        transport, protocol, peer = await connect(
            server_side=server_side, context=contexts[0], peers_context=contexts[1]
        )
        assert transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        await close(transport, protocol, peer)

    run(main())


def test_the_sni_callback_may_change_the_context(run: Run) -> None:
    async def main() -> None:
        first, second = certificates().server(certificates().other_host), certificates().server()
        asked = []

        def choose(tls: Any, name: str | None, context: ssl.SSLContext) -> None:
            asked.append((type(tls), name, context is first))
            tls.context = second

        first.sni_callback = choose
        transport, protocol, peer = await connect(server_side=True, context=first)
        assert asked == [(ssl.SSLObject, "localhost", True)]
        assert transport.get_extra_info("sslcontext") is first
        assert transport.get_extra_info("ssl_object").context is second
        await close(transport, protocol, peer)

    run(main())


def test_an_sni_callback_that_refuses_ends_the_handshake(run: Run) -> None:
    async def main() -> None:
        context = certificates().server()
        context.sni_callback = lambda *_args: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        with pytest.raises(ssl.SSLError):
            await connect(server_side=True, context=context)

    run(main())


@both_versions
def test_a_client_proves_who_it_is(run: Run, version: ssl.TLSVersion) -> None:
    async def main() -> None:
        transport, protocol, peer = await connect(
            server_side=True,
            context=certificates().server(ask_client=True, version=version),
            peers_context=certificates().client(with_certificate=True, version=version),
        )
        certificate = transport.get_extra_info("peercert")
        assert ("email", "saburo@example.org") in certificate["subjectAltName"]
        await close(transport, protocol, peer)
        transport, protocol, peer = await connect(
            context=certificates().client(with_certificate=True, version=version),
            peers_context=certificates().server(ask_client=True, version=version),
        )
        assert peer.tls.getpeercert() == certificate
        await close(transport, protocol, peer)

    run(main())


def test_a_server_refuses_a_client_without_a_certificate(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(ssl.SSLError) as caught:
            await connect(server_side=True, context=certificates().server(ask_client=True))
        assert caught.value.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"

    run(main())


def test_a_client_hears_of_its_missing_certificate_after_the_handshake(run: Run) -> None:
    """In TLS 1.3 the client is through first; the alert comes where data would."""

    async def main() -> None:
        begun, peer = begin(peers_context=certificates().server(ask_client=True))
        results = await asyncio.gather(begun, peer.handshake(), return_exceptions=True)
        (transport, protocol), refused = results
        assert isinstance(refused, ssl.SSLError)
        error = await protocol.lost
        assert isinstance(error, ssl.SSLError)
        assert error.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
        assert protocol.calls == ["made", ("lost", "SSLError")]
        assert transport.is_closing()
        peer.close()

    run(main())


class Resuming(ssl.SSLContext):
    """A context that takes up an earlier session; asyncio has no other way to say so."""

    session: ssl.SSLSession | None = None

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        kwargs["session"] = self.session
        return super().wrap_bio(*args, **kwargs)


@both_versions
def test_a_client_resumes_a_session(run: Run, version: ssl.TLSVersion) -> None:
    async def main() -> None:
        server = certificates().server(version=version)
        client = Resuming(ssl.PROTOCOL_TLS_CLIENT)
        certificates().authority.configure_trust(client)
        client.minimum_version = client.maximum_version = version
        for resumed in (False, True, True):
            transport, protocol, peer = await connect(context=client, peers_context=server)
            tls = transport.get_extra_info("ssl_object")
            assert tls.session_reused == resumed
            assert peer.tls.session_reused == resumed
            await peer.write(b"the ticket comes before this")
            await protocol.arrived(28)
            client.session = tls.session
            await close(transport, protocol, peer)

    run(main())


@both_versions
def test_a_server_resumes_a_session(run: Run, version: ssl.TLSVersion) -> None:
    async def main() -> None:
        server, client = (
            certificates().server(version=version),
            certificates().client(version=version),
        )
        session = None
        for resumed in (False, True, True):
            ours, theirs = socket.socketpair()
            peer = Peer(theirs, client, server_side=False, session=session)
            (transport, protocol), _ = await asyncio.gather(
                asyncio.get_running_loop().connect_accepted_socket(Recorder, ours, ssl=server),
                peer.handshake(),
            )
            assert transport.get_extra_info("ssl_object").session_reused == resumed
            transport.write(b"the ticket comes before this")
            await peer.read()
            session = peer.tls.session
            await close(transport, protocol, peer)

    run(main())


class Counting(ssl.SSLObject):
    """Has methods of its own for everything."""

    def do_handshake(self) -> None:
        self.handshakes = getattr(self, "handshakes", 0) + 1
        super().do_handshake()

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        self.reads = getattr(self, "reads", 0) + 1
        return super().read(len, buffer) if buffer is not None else super().read(len)

    def write(self, data: Any) -> int:
        self.writes = getattr(self, "writes", 0) + 1
        return super().write(data)

    def unwrap(self) -> Any:
        self.unwraps = getattr(self, "unwraps", 0) + 1
        return super().unwrap()


@pytest.mark.parametrize("size", [10, 100_000])
def test_an_ssl_object_of_the_programs_own_class_is_used(run: Run, size: int) -> None:
    async def main() -> None:
        context = certificates().client()
        context.sslobject_class = Counting
        transport, protocol, peer = await connect(context=context)
        tls = transport.get_extra_info("ssl_object")
        assert isinstance(tls, Counting)
        assert tls.handshakes > 1
        transport.write(b"x" * size)
        assert await peer.read_exactly(size) == b"x" * size
        await peer.write(b"y" * size)
        assert await protocol.arrived(size) == b"y" * size
        assert tls.reads > 0
        assert tls.writes > 0
        transport.close()
        assert await peer.read() == b""
        await peer.unwrap()
        assert await protocol.lost is None
        assert tls.unwraps > 0
        peer.close()

    run(main())


def test_a_client_without_a_context_gets_the_default_one(run: Run) -> None:
    async def main() -> None:
        begun, peer = begin(context=True)  # type: ignore[arg-type]
        results = await asyncio.gather(begun, peer.handshake(), return_exceptions=True)
        assert isinstance(results[0], ssl.SSLCertVerificationError)  # nobody knows our authority
        assert isinstance(results[1], ssl.SSLError | EOFError)
        peer.close()

    run(main())


# ---- what keeps it from beginning ----


REFUSED: dict[str, tuple[str, str, Callable[[], dict[str, Any]]]] = {
    "wrong host": (
        "SSLCertVerificationError",
        "Hostname mismatch, certificate is not valid for 'localhost'.",
        lambda: {"peers_context": certificates().server(certificates().other_host)},
    ),
    "expired": (
        "SSLCertVerificationError",
        "certificate has expired",
        lambda: {"peers_context": certificates().server(certificates().expired)},
    ),
    "unknown authority": (
        "SSLCertVerificationError",
        "self-signed certificate in certificate chain",
        lambda: {"context": certificates().client(trusting=certificates().stranger)},
    ),
    "no common version": (
        "SSLError",
        "",
        lambda: {
            "context": certificates().client(version=ssl.TLSVersion.TLSv1_2),
            "peers_context": certificates().server(version=ssl.TLSVersion.TLSv1_3),
        },
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_client_refuses(run: Run, why: str, caplog: Any) -> None:
    name, message, options = REFUSED[why]

    async def main() -> None:
        factory_calls = []

        def factory() -> Recorder:
            factory_calls.append(Recorder())
            return factory_calls[-1]

        begun, peer = begin(factory, **options())
        refused, _ = await asyncio.gather(begun, peer.handshake(), return_exceptions=True)
        assert isinstance(refused, ssl.SSLError)
        assert type(refused).__name__ == name
        if message:
            assert getattr(refused, "verify_message", message) in (
                message,
                "unable to get local issuer certificate",
            )
        (protocol,) = factory_calls
        await asyncio.sleep(0)
        assert protocol.calls == []  # never told of anything
        peer.close()

    run(main())
    assert [r for r in caplog.records if r.levelno > logging.INFO] == []


def failing_with(talk: Callable[[Peer], Any], **options: Any) -> Any:
    """What becomes of a handshake when the peer talks like that."""

    async def main() -> Any:
        protocols: list[Recorder] = []

        def factory() -> Recorder:
            protocols.append(Recorder())
            return protocols[-1]

        begun, peer = begin(factory, **options)
        while not protocols:
            await asyncio.sleep(0)
        await talk(peer)
        error: Any = (await asyncio.gather(begun, return_exceptions=True))[0]
        assert isinstance(error, Exception)
        peer.close()
        await asyncio.sleep(0)
        assert protocols[0].calls == []
        return error

    return main()


async def reset(peer: Peer) -> None:
    await peer.receive(1)
    peer.sock.close()


@both_sides
def test_garbage_ends_the_handshake(run: Run, server_side: bool) -> None:
    async def talk(peer: Peer) -> None:
        await peer.loop.sock_sendall(
            peer.sock, b"\x00\x01garbage, and more of it than a header\n" * 9
        )

    error = run(failing_with(talk, server_side=server_side))
    assert isinstance(error, ssl.SSLError)
    assert error.reason in (
        "WRONG_VERSION_NUMBER",
        "RECORD_LAYER_FAILURE",
        "PACKET_LENGTH_TOO_LONG",
    )


def test_plain_http_to_a_tls_port_ends_the_handshake(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        await peer.loop.sock_sendall(peer.sock, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

    error = run(failing_with(talk, server_side=True))
    assert isinstance(error, ssl.SSLError)
    assert error.reason == "HTTP_REQUEST"


@both_sides
def test_a_peer_that_leaves_in_mid_handshake(run: Run, server_side: bool) -> None:
    async def talk(peer: Peer) -> None:
        if server_side:
            with pytest.raises(ssl.SSLWantReadError):
                peer.tls.do_handshake()
            hello = peer.outgoing.read()
            await peer.loop.sock_sendall(peer.sock, hello[: len(hello) // 2])
        else:
            await peer.receive()
        peer.sock.shutdown(socket.SHUT_WR)

    error = run(failing_with(talk, server_side=server_side))
    assert type(error) is ConnectionResetError
    assert str(error) == ""


@both_sides
def test_a_peer_that_vanishes_before_the_handshake(run: Run, server_side: bool) -> None:
    async def talk(peer: Peer) -> None:
        peer.sock.close()

    error = run(failing_with(talk, server_side=server_side))
    assert isinstance(error, ConnectionResetError | BrokenPipeError)


@both_sides
def test_a_handshake_has_a_time_limit(run: Run, server_side: bool) -> None:
    async def talk(peer: Peer) -> None:
        pass

    error = run(failing_with(talk, server_side=server_side, ssl_handshake_timeout=0.05))
    assert type(error) is ConnectionAbortedError
    assert str(error) == (
        "SSL handshake is taking longer than 0.05 seconds: aborting the connection"
    )


def test_the_time_limit_is_told_as_it_was_given(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        pass

    class Tenth(float):
        def __str__(self) -> str:
            return "a few"

        __format__ = lambda self, _spec: "a few"  # noqa: E731

    error = run(failing_with(talk, ssl_handshake_timeout=Tenth(0.01)))
    assert "longer than a few seconds" in str(error)


@pytest.mark.parametrize("limit", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
@pytest.mark.parametrize("seconds", [0, -1.5])
@both_sides
def test_a_time_limit_must_be_positive(
    run: Run, limit: str, seconds: float, server_side: bool
) -> None:
    async def main() -> None:
        limits: dict[str, Any] = {limit: seconds}
        begun, peer = begin(server_side=server_side, **limits)
        with pytest.raises(
            ValueError, match=f"^{limit} should be a positive number, got {seconds}$"
        ):
            await begun
        peer.ours.close()
        peer.close()

    run(main())


@both_sides
def test_a_cancelled_handshake_closes_the_connection(run: Run, server_side: bool) -> None:
    async def main() -> None:
        begun, peer = begin(server_side=server_side)
        if not server_side:
            await peer.receive(1)
        else:
            for _ in range(5):
                await asyncio.sleep(0)
        begun.cancel()
        with pytest.raises(asyncio.CancelledError):
            await begun
        for _ in range(3):
            await asyncio.sleep(0)
        peer.ours.close()  # where the loop has given it back
        with pytest.raises(EOFError):
            while True:
                await peer.receive()
        peer.close()

    run(main())


def test_a_connection_may_be_aborted_before_the_handshake_is_over(run: Run) -> None:
    async def main() -> None:
        begun, peer = begin()
        await peer.receive(1)
        transport = waiting_transport(begun)
        protocol = transport.get_protocol()
        transport.abort()
        assert transport.is_closing()
        # asyncio's answer: no error, and a transport that is closed.
        assert (await begun)[0] is transport
        assert protocol.calls == []
        peer.close()

    run(main())


def test_a_connection_may_be_closed_before_the_handshake_is_over(run: Run) -> None:
    async def main() -> None:
        begun, peer = begin()
        await peer.receive(1)
        transport = waiting_transport(begun)
        transport.close()
        assert (await begun)[0] is transport
        peer.close()

    run(main())


def test_an_error_in_connection_made_reaches_whoever_connects(run: Run) -> None:
    class Failing(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            raise LookupError("no")

    async def main() -> list[Any]:
        reports: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: reports.append(context)
        )
        begun, peer = begin(Failing)
        results = await asyncio.gather(begun, peer.handshake(), return_exceptions=True)
        assert isinstance(results[0], LookupError)
        peer.close()
        await asyncio.sleep(0)
        return reports

    (report,) = run(main())
    assert report["message"] == "Fatal error: protocol.buffer_updated() call failed."
    assert isinstance(report["exception"], LookupError)


# ---- servers ----


def test_a_server_goes_on_after_bad_handshakes(run: Run, kind: Kind) -> None:
    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        reports: list[Any] = []
        loop.set_exception_handler(lambda _loop, context: reports.append(context))
        protocols: list[Recorder] = []

        def factory() -> Recorder:
            protocols.append(Recorder())
            return protocols[-1]

        server = await loop.create_server(
            factory, "127.0.0.1", 0, ssl=certificates().server(), ssl_handshake_timeout=5
        )
        address = server.sockets[0].getsockname()
        for garbage in (b"", b"x", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"):
            with socket.create_connection(address) as sock:
                sock.setblocking(False)
                await loop.sock_sendall(sock, garbage)
                if garbage[:3] != b"GET":
                    sock.shutdown(socket.SHUT_WR)
                while await loop.sock_recv(sock, 1000):
                    pass
        reader, writer = await asyncio.open_connection(
            *address, ssl=certificates().client(), server_hostname="localhost"
        )
        assert [protocol.calls for protocol in protocols[:-1]] == [[]] * 4
        writer.close()
        assert await reader.read() == b""
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return reports

    assert run(main()) == []  # a client's mistakes are not the server's


@pytest.mark.saburo_only
def test_a_crowd_is_let_in_a_few_at_a_time(run: Run) -> None:
    """asyncio answers all who have spoken in one turn, which everybody else waits for."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        turns = 0
        answered: list[int] = []

        def tick() -> None:
            nonlocal turns
            turns += 1
            loop.call_soon(tick)

        context = certificates().server()
        context.sni_callback = lambda *_: answered.append(turns)
        crowd = [begin(server_side=True, context=context) for _ in range(100)]
        for _, peer in crowd:
            with pytest.raises(ssl.SSLWantReadError):
                peer.tls.do_handshake()
            hello = peer.outgoing.read()
            assert peer.sock.send(hello) == len(hello)
        tick()
        made = await asyncio.gather(
            *(begun for begun, _ in crowd), *(peer.handshake() for _, peer in crowd)
        )
        assert len(answered) == 100
        # Later turns may answer more, for as long as all else takes: here, the clients themselves.
        assert answered.count(answered[0]) == 16
        for (_, peer), (transport, protocol) in zip(crowd, made[:100], strict=True):
            await close(transport, protocol, peer)

    run(main())


@pytest.mark.saburo_only
def test_a_client_that_says_nothing_costs_no_handshake(run: Run) -> None:
    """asyncio begins at once, and OpenSSL takes memory for messages that may never come."""

    async def main() -> None:
        context = certificates().server()
        context.sslobject_class = Counting
        transport, protocol, peer = await connect(server_side=True, context=context)
        # One for what the client says first, one for its answer.
        assert transport.get_extra_info("ssl_object").handshakes == 2
        await close(transport, protocol, peer)

    run(main())


@pytest.mark.saburo_only
def test_a_server_with_tls_makes_no_socket_object(run: Run, monkeypatch: Any) -> None:
    """The connection is the engine's until somebody asks for its socket."""
    objects: list[socket.socket] = []

    class Counted(socket.socket):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            objects.append(self)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: list[Recorder] = []

        def factory() -> Recorder:
            made.append(Recorder())
            return made[-1]

        server = await loop.create_server(factory, "127.0.0.1", 0, ssl=certificates().server())
        address = server.sockets[0].getsockname()
        monkeypatch.setattr(socket, "socket", Counted)
        client, _ = await loop.create_connection(
            Recorder, *address, ssl=certificates().client(), server_hostname="localhost"
        )
        while not made or made[0].calls != ["made"]:
            await asyncio.sleep(0)
        assert not [each for each in objects if each.getsockname() == address]
        transport = made[0].transport
        assert transport.get_extra_info("peername") == client.get_extra_info("sockname")
        assert transport.get_extra_info("socket").getsockname() == address
        transport.abort()
        client.abort()
        server.close()
        await server.wait_closed()

    run(main())


@pytest.mark.saburo_only
def test_a_context_that_fails_loses_the_connection_alone(run: Run) -> None:
    """On asyncio the traceback of the report keeps the connection open."""

    class Failing(ssl.SSLObject):
        @classmethod
        def _create(cls, *args: Any, **options: Any) -> Any:
            raise ZeroDivisionError("not this one")

    async def main() -> list[dict[str, Any]]:
        loop = asyncio.get_running_loop()
        reports: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _loop, report: reports.append(report))
        context = certificates().server()
        context.sslobject_class = Failing
        server = await loop.create_server(Recorder, "127.0.0.1", 0, ssl=context)
        for _ in range(2):
            with socket.create_connection(server.sockets[0].getsockname()) as sock:
                sock.setblocking(False)
                assert await loop.sock_recv(sock, 1) == b""
        server.close()
        await server.wait_closed()
        return reports

    reports = run(main(), debug=True)
    assert [type(report["exception"]) for report in reports] == [ZeroDivisionError] * 2
    assert {type(report["protocol"]) for report in reports} == {Recorder}


def test_in_debug_mode_bad_handshakes_are_reported(run: Run, caplog: Any) -> None:
    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        reports: list[Any] = []
        loop.set_exception_handler(lambda _loop, context: reports.append(context))
        server = await loop.create_server(Recorder, "127.0.0.1", 0, ssl=certificates().server())
        with socket.create_connection(server.sockets[0].getsockname()) as sock:
            sock.setblocking(False)
            await loop.sock_sendall(sock, b"GET / HTTP/1.1\r\n\r\n")
            while await loop.sock_recv(sock, 1000):
                pass
        server.close()
        await server.wait_closed()
        while not reports:
            await asyncio.sleep(0)
        return reports

    with caplog.at_level(logging.DEBUG, "asyncio"):
        (report,) = run(main(), debug=True)
    assert report["message"] == "Error on transport creation for incoming connection"
    assert isinstance(report["exception"], ssl.SSLError)
    assert set(report) == {"message", "exception", "protocol", "transport"}
    messages = [record.getMessage() for record in caplog.records]
    assert any(message.endswith(": SSL handshake failed") for message in messages)


@both_sides
def test_in_debug_mode_the_handshake_is_logged(run: Run, server_side: bool, caplog: Any) -> None:
    async def main() -> None:
        await close(*await connect(server_side=server_side))

    with caplog.at_level(logging.DEBUG, "asyncio"):
        run(main(), debug=True)
    messages = [record.getMessage() for record in caplog.records]
    assert any(message.endswith(" starts SSL handshake") for message in messages)
    (took,) = (message for message in messages if "SSL handshake took" in message)
    assert took.endswith(" ms")


def test_in_debug_mode_a_failed_verification_is_logged(run: Run, caplog: Any) -> None:
    async def main() -> None:
        begun, peer = begin(context=certificates().client(trusting=certificates().stranger))
        await asyncio.gather(begun, peer.handshake(), return_exceptions=True)
        peer.close()

    with caplog.at_level(logging.DEBUG, "asyncio"):
        run(main(), debug=True)
    (record,) = (r for r in caplog.records if "SSL handshake failed" in r.getMessage())
    assert record.getMessage().endswith(": SSL handshake failed on verifying the certificate")
    assert record.exc_info is not None
    assert record.exc_info[0] is ssl.SSLCertVerificationError


@both_sides
def test_a_handshake_one_byte_at_a_time(run: Run, server_side: bool) -> None:
    async def main() -> None:
        begun, peer = begin(server_side=server_side)
        send = peer.loop.sock_sendall

        async def dripping(sock: Any, data: bytes) -> None:
            for byte in data:
                await send(sock, bytes([byte]))
                await asyncio.sleep(0)

        loop: Any = peer.loop
        loop.sock_sendall = dripping
        try:
            (transport, protocol), _ = await asyncio.gather(begun, peer.handshake())
        finally:
            del loop.sock_sendall
        await peer.write(b"through")
        assert await protocol.arrived(7) == b"through"
        await close(transport, protocol, peer)

    run(main())
