"""Stand-ins: asyncio's own transports behind the loop's private makers, until native ones come.

The makers have asyncio's names and signatures, those of Python 3.15 on every version. The rule:
whoever sets up a connection knows the makers and nothing of what is behind them, so that each
stand-in can go when its native class has come.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import selectors
import socket
import warnings
import weakref
from asyncio import constants, selector_events, sslproto, trsock, unix_events

from . import _saburo
from ._report import Reporting, logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from contextvars import Context
    from typing import Any, TypeAlias, TypeVarTuple

    from _typeshed import FileDescriptorLike

    from ._server import Server

    _Ts = TypeVarTuple("_Ts")
    _ProtocolFactory: TypeAlias = Callable[[], asyncio.BaseProtocol]
    _Waiter: TypeAlias = asyncio.Future[None] | None

# What the process or the system is out of when accept() fails with it; waiting helps.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class StandIns(Reporting):
    """The makers of transports, and who uses which descriptor."""

    # Transports by descriptor; one that is closing no longer counts. This one stays empty: it is
    # what loops have whose __init__ was not called.
    _transports: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()  # noqa: RUF012
    _listeners: dict[socket.socket, _Listener]
    _polled: _Polled
    # What asyncio's transports show in their repr comes from here; None once the loop is closed.
    _selector: _Polled | None

    def _prepare_standins(self) -> None:
        self._transports = weakref.WeakValueDictionary()
        self._listeners = {}
        self._selector = self._polled = _Polled()

    def _close(self) -> None:
        super()._close()
        self._selector = None

    def _make_socket_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: _Waiter = None,
        *,
        extra: dict[str, Any] | None = None,
        server: Server | None = None,
        context: Context | None = None,
    ) -> asyncio.Transport:
        """A transport over a connected stream socket.

        Schedules `connection_made`, then `waiter`'s result. All callbacks run in `context`, None
        being the caller's.
        """
        self._ensure_fd_no_transport(sock)
        return _SelectorSocketTransport(self, sock, protocol, waiter, extra, server, context)

    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext | None,
        waiter: _Waiter = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: Server | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        call_connection_made: bool = True,
        context: Context | None = None,
    ) -> asyncio.Transport:
        """The same with TLS; `waiter` gets its result, or the error, after the handshake."""
        self._ensure_fd_no_transport(rawsock)
        tls = self._make_ssl_protocol(
            protocol,
            sslcontext,
            waiter,
            server_side=server_side,
            server_hostname=server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
            call_connection_made=call_connection_made,
        )
        _SelectorSocketTransport(self, rawsock, tls, None, extra, server, context)
        transport: asyncio.Transport = tls._app_transport
        return transport

    def _make_ssl_protocol(
        self,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext | None,
        waiter: _Waiter,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        call_connection_made: bool = True,
    ) -> Any:
        """What speaks TLS between a transport, whose protocol it is, and `protocol`."""
        return sslproto.SSLProtocol(
            self,  # type: ignore[arg-type]  # every instance is a saburo.Loop
            protocol,
            sslcontext,  # type: ignore[arg-type]  # None: a default one is made
            waiter,  # type: ignore[arg-type]
            server_side,
            server_hostname,
            call_connection_made,
            ssl_handshake_timeout=ssl_handshake_timeout,  # type: ignore[arg-type]
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )

    def _make_datagram_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        address: Any = None,
        waiter: _Waiter = None,
        extra: dict[str, Any] | None = None,
    ) -> asyncio.DatagramTransport:
        self._ensure_fd_no_transport(sock)
        make: Any = _SelectorDatagramTransport
        transport: asyncio.DatagramTransport = make(self, sock, protocol, address, waiter, extra)
        return transport

    def _make_read_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: _Waiter = None,
        extra: dict[str, Any] | None = None,
    ) -> asyncio.ReadTransport:
        transport: asyncio.ReadTransport = vars(unix_events)["_UnixReadPipeTransport"](
            self, pipe, protocol, waiter, extra
        )
        return transport

    def _make_write_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: _Waiter = None,
        extra: dict[str, Any] | None = None,
    ) -> asyncio.WriteTransport:
        transport: asyncio.WriteTransport = vars(unix_events)["_UnixWritePipeTransport"](
            self, pipe, protocol, waiter, extra
        )
        return transport

    def _start_serving(
        self,
        protocol_factory: _ProtocolFactory,
        sock: socket.socket,
        sslcontext: ssl.SSLContext | None = None,
        server: Server | None = None,
        backlog: int = 100,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        context: Context | None = None,
    ) -> None:
        """Accepts connections of a listening socket, each in a copy of `context`."""
        listener = _Listener(self, protocol_factory, sock, server, backlog, context)
        if sslcontext is not None:
            listener.make_transport = functools.partial(
                self._make_ssl_transport,
                sslcontext=sslcontext,
                server_side=True,
                ssl_handshake_timeout=ssl_handshake_timeout,
                ssl_shutdown_timeout=ssl_shutdown_timeout,
            )
        listener.start()
        self._listeners[sock] = listener

    def _stop_serving(self, sock: socket.socket) -> None:
        """Accepts no more, and closes the socket."""
        listener = self._listeners.pop(sock, None)
        if listener is not None:
            listener.stop()
        sock.close()

    def _leave_socket(self, sock: socket.socket) -> None:
        """Ends the transport over `sock`, which stays open: it is its owner's again."""
        transport = self._transports.get(sock.fileno())
        if transport is not None:
            transport._leave_socket()

    def _ensure_fd_no_transport(self, fd: FileDescriptorLike) -> None:
        """Raises RuntimeError if a transport uses the descriptor, ValueError if it is none."""
        if isinstance(fd, int):
            number = fd
        else:
            try:
                number = int(fd.fileno())
            except (AttributeError, TypeError, ValueError):
                raise ValueError(f"Invalid file object: {fd!r}") from None
        transport = self._transports.get(number)
        if transport is not None and not transport.is_closing():
            raise RuntimeError(f"File descriptor {fd!r} is used by transport {transport!r}")

    def add_reader(
        self, fd: FileDescriptorLike, callback: Callable[[*_Ts], Any], *args: *_Ts
    ) -> None:
        if self._transports:
            self._ensure_fd_no_transport(fd)
        super().add_reader(fd, callback, *args)

    def add_writer(
        self, fd: FileDescriptorLike, callback: Callable[[*_Ts], Any], *args: *_Ts
    ) -> None:
        if self._transports:
            self._ensure_fd_no_transport(fd)
        super().add_writer(fd, callback, *args)

    def remove_reader(self, fd: FileDescriptorLike) -> bool:
        if self._transports:
            self._ensure_fd_no_transport(fd)
        return super().remove_reader(fd)

    def remove_writer(self, fd: FileDescriptorLike) -> bool:
        if self._transports:
            self._ensure_fd_no_transport(fd)
        return super().remove_writer(fd)

    def _wait_readable(self, fd: FileDescriptorLike) -> _saburo.Future[None]:
        self._ensure_sock_is_free(fd)
        return super()._wait_readable(fd)

    def _wait_writable(self, fd: FileDescriptorLike) -> _saburo.Future[None]:
        self._ensure_sock_is_free(fd)
        return super()._wait_writable(fd)

    def _wait_writable_for_transport(self, sock: socket.socket) -> _saburo.Future[None]:
        """For a transport's own socket; the transport cancels the wait when it is closed."""
        return super()._wait_writable(sock)

    def _ensure_sock_is_free(self, fd: FileDescriptorLike) -> None:
        """For the `sock_*` methods, whose error shows the number and not the socket."""
        if self._transports:
            self._ensure_fd_no_transport(fd if isinstance(fd, int) else fd.fileno())

    # The names below are what asyncio's transports ask of their loop.

    def _add_reader(
        self,
        fd: int,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> None:
        if context is not None:
            args, callback = (callback, *args), context.run
        super().add_reader(fd, callback, *args)
        self._polled.add(fd, selectors.EVENT_READ)

    def _add_writer(
        self,
        fd: int,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> None:
        if context is not None:
            args, callback = (callback, *args), context.run
        super().add_writer(fd, callback, *args)
        self._polled.add(fd, selectors.EVENT_WRITE)

    def _remove_reader(self, fd: int) -> bool:
        self._polled.remove(fd, selectors.EVENT_READ)
        return super().remove_reader(fd)

    def _remove_writer(self, fd: int) -> bool:
        self._polled.remove(fd, selectors.EVENT_WRITE)
        return super().remove_writer(fd)


_SocketTransport: Any = vars(selector_events)["_SelectorSocketTransport"]
_DatagramTransport: Any = vars(selector_events)["_SelectorDatagramTransport"]


class _SelectorSocketTransport(_SocketTransport):  # type: ignore[misc]
    """asyncio's, on every version with what Python 3.15's does: a context, and clients by name."""

    # In place of asyncio's `_server`, which older versions do not tell who comes and goes.
    _attached_to: Server | None = None
    _sock: Any
    _empty_waiter: Any

    def __init__(
        self,
        loop: StandIns,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: _Waiter,
        extra: dict[str, Any] | None,
        server: Server | None,
        context: Context | None,
    ) -> None:
        _send_without_delay(sock)
        if server is not None:
            server._attach(self)
            self._attached_to = server
        seen = loop if context is None else _InContext(loop, context)
        super().__init__(seen, sock, protocol, waiter, extra)

    def _leave_socket(self) -> None:
        self.abort()
        if self._sock is not None:
            self._sock = _NotOurs()

    def _force_close(self, exc: BaseException | None) -> None:
        if not self._conn_lost:
            # Of its own accord it does so only if something is left to write.
            self._loop._remove_writer(self._sock_fd)
        super()._force_close(exc)

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        try:
            if self._empty_waiter is not None and self._empty_waiter.done():
                self._empty_waiter = None  # asyncio would set it once more
            super()._call_connection_lost(exc)
        finally:
            self._detach()

    def _detach(self) -> None:
        server, self._attached_to = self._attached_to, None
        if server is not None:
            server._detach(self)

    def __del__(self, _warn: Any = warnings.warn) -> None:
        super().__del__(_warn)
        self._detach()


class _SelectorDatagramTransport(_DatagramTransport, asyncio.DatagramTransport):  # type: ignore[misc]
    """asyncio's, on every version a DatagramTransport."""

    _sock: Any

    def _leave_socket(self) -> None:
        self.abort()
        if self._sock is not None:
            self._sock = _NotOurs()


class _NotOurs:
    """In a transport's hands, a socket that its owner has back."""

    def close(self) -> None:
        pass


class _InContext:
    """The loop as a transport sees it whose callbacks all run in one context."""

    __slots__ = ("_context", "_loop")

    def __init__(self, loop: StandIns, context: Context) -> None:
        self._loop = loop
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> _saburo.Handle:
        return self._loop.call_soon(callback, *args, context=self._context)

    def _add_reader(
        self, fd: int, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> None:
        self._loop._add_reader(fd, callback, *args, context=self._context)

    def _add_writer(
        self, fd: int, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> None:
        self._loop._add_writer(fd, callback, *args, context=self._context)


class _Listener:
    """Accepts what there is, until there is no more; out of descriptors, it rests for a while."""

    def __init__(
        self,
        loop: StandIns,
        protocol_factory: _ProtocolFactory,
        sock: socket.socket,
        server: Server | None,
        backlog: int,
        context: Context | None,
    ) -> None:
        self.loop = loop
        self.protocol_factory = protocol_factory
        self.sock = sock
        self.server = server
        self.backlog = backlog
        self.context = context
        self.make_transport: Callable[..., asyncio.Transport] = loop._make_socket_transport
        # Set while it rests. Whether that was said is kept until a connection comes in again.
        self.rest: asyncio.TimerHandle | None = None
        self.exhaustion_reported = False

    def start(self) -> None:
        self.rest = None
        self.loop._add_reader(self.sock.fileno(), self.accept)

    def stop(self) -> None:
        if self.rest is not None:
            self.rest.cancel()
        self.loop._remove_reader(self.sock.fileno())

    def accept(self) -> None:
        for _ in range(self.backlog + 1):
            try:
                connection, peer = self.sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self.rest_for_a_while(error)
                return
            self.exhaustion_reported = False
            if self.loop.get_debug():
                logger.debug("%r got a new connection from %r: %r", self.server, peer, connection)
            connection.setblocking(False)
            if self.context is None:
                self.serve(connection, peer, None)
            else:
                context = self.context.copy()
                context.run(self.serve, connection, peer, context)
            if self.sock.fileno() < 0:
                return  # a callback has closed the server

    def rest_for_a_while(self, error: OSError) -> None:
        """The kernel would go on saying that there is a connection, in every turn."""
        if not self.exhaustion_reported:
            self.exhaustion_reported = True
            self.loop.call_exception_handler(
                {
                    "message": "socket.accept() out of system resource",
                    "exception": error,
                    "socket": trsock.TransportSocket(self.sock),
                }
            )
        self.loop._remove_reader(self.sock.fileno())
        self.rest = self.loop.call_later(constants.ACCEPT_RETRY_DELAY, self.start)

    def serve(self, connection: socket.socket, peer: Any, context: Context | None) -> None:
        protocol: asyncio.BaseProtocol | None = None
        waiter: asyncio.Future[None] = self.loop.create_future()
        try:
            protocol = self.protocol_factory()
            transport = self.make_transport(
                connection,
                protocol,
                waiter=waiter,
                extra={"peername": peer},
                server=self.server,
                context=context,
            )
        except BaseException as error:
            connection.close()
            if isinstance(error, SystemExit | KeyboardInterrupt):
                raise
            self.report(error, protocol, None)
        else:
            waiter.add_done_callback(functools.partial(self.made, protocol, transport))

    def made(
        self,
        protocol: asyncio.BaseProtocol,
        transport: asyncio.Transport,
        waiter: asyncio.Future[None],
    ) -> None:
        error = None if waiter.cancelled() else waiter.exception()
        if error is not None:
            transport.close()
            self.report(error, protocol, transport)

    def report(
        self,
        error: BaseException,
        protocol: asyncio.BaseProtocol | None,
        transport: asyncio.Transport | None,
    ) -> None:
        """Clients' errors are of interest in debug mode only, as in asyncio."""
        if not self.loop.get_debug():
            return
        context: dict[str, Any] = {
            "message": "Error on transport creation for incoming connection",
            "exception": error,
        }
        if protocol is not None:
            context["protocol"] = protocol
        if transport is not None:
            context["transport"] = transport
        self.loop.call_exception_handler(context)


class _Polled:
    """Which descriptors are polled for what: asyncio's transports show it in their repr."""

    def __init__(self) -> None:
        self._events: dict[int, int] = {}

    def add(self, fd: int, event: int) -> None:
        self._events[fd] = self._events.get(fd, 0) | event

    def remove(self, fd: int, event: int) -> None:
        left = self._events.pop(fd, 0) & ~event
        if left:
            self._events[fd] = left

    def get_key(self, fd: int) -> selectors.SelectorKey:
        return selectors.SelectorKey(fd, fd, self._events[fd], None)


def _send_without_delay(sock: socket.socket) -> None:
    """TCP_NODELAY, also where the socket's protocol is 0: for a stream of bytes, that is TCP."""
    if (
        sock.family in (socket.AF_INET, socket.AF_INET6)
        and sock.type == socket.SOCK_STREAM
        and sock.proto in (0, socket.IPPROTO_TCP)
    ):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
